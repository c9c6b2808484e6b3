"""Reading wandb's offline files back with wandb's own reader, `wandb leet inspect`."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    """The records of a kind (`history`, `alert`, `run` …) of every wandb file of a run folder, in order."""
    files = sorted(run.glob("wandb/offline-run-*/*.wandb"))
    return [r[kind] for path in files for r in _rows(path, path.stat().st_mtime_ns) if r["type"] == kind]


@cache
def _rows(path: Path, changed_ns: int) -> list[dict[str, Any]]:
    """All records of a file. wandb takes a second to start."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    done = subprocess.run(command, text=True, capture_output=True, timeout=500, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def history(run: Path) -> list[dict[str, Any]]:
    """What was logged, a line a moment, without wandb's own fields."""
    return [{k: v for k, v in r["item"].items() if not k.startswith("_")} for r in records(run, "history")]
