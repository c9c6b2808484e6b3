"""Reading wandb's offline files back with wandb's own reader, `wandb leet inspect`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    """The records of a kind (`history`, `alert`, `run` …) of every wandb file of a run folder, in order."""
    found = []
    for path in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        done = subprocess.run(
            [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)],
            text=True,
            capture_output=True,
            timeout=120,
            check=True,
        )
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        found += [r[kind] for r in rows if r["type"] == kind]
    return found


def history(run: Path) -> list[dict[str, Any]]:
    """What was logged, a line a moment, without wandb's own fields."""
    return [{k: v for k, v in r["item"].items() if not k.startswith("_")} for r in records(run, "history")]
