"""Progress and metrics of a run in the terminal and in wandb."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from prover.files import existing
from rl.config import RunConfig
from rl.metrics.alerts import Alert
from rl.metrics.compute import BY_CALLS, undocumented

_log = logging.getLogger(__name__)


def progress(console: Console) -> Progress:
    """A progress bar with phase, counts, time left and the number solved (the task's field `solved`)."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("solved {task.fields[solved]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=not sys.stderr.isatty(),
        refresh_per_second=4,
    )


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard output. The first row is the header."""
    if not rows:
        return
    table = Table(*rows[0], header_style="bold")
    for row in rows[1:]:
        table.add_row(*(escape(cell) for cell in row))
    console = Console(file=sys.stdout)
    # A fixed width keeps cells whole in files and pipes.
    console.width = console.width if sys.stdout.isatty() else 140
    console.print(table)


class Tracker:
    """Progress on standard error, metrics in wandb (offline unless the user is logged in)."""

    def __init__(
        self,
        folder: Path,
        config: RunConfig,
        versions: Mapping[str, str],
        logged: Sequence[tuple[int, dict[str, float]]] = (),
        quiet: bool = False,
    ) -> None:
        """`logged`: (step, row) of everything that the run has logged. Rows that wandb lost when the run was killed are logged again."""
        self.console = Console(stderr=True, quiet=quiet)
        self._unknown: set[str] = set()
        os.environ.setdefault("WANDB_SILENT", "true")
        if "WANDB_MODE" not in os.environ and not _logged_in():
            os.environ["WANDB_MODE"] = "offline"
        if not os.access(existing(Path.home() / ".cache"), os.W_OK):
            os.environ.setdefault("WANDB_CACHE_DIR", str(folder / "wandb" / "cache"))
        earlier = list(folder.glob("wandb/offline-run-*/*.wandb"))
        import wandb

        def start(id: str) -> Any:
            return wandb.init(
                project="turnstile",
                name=config.name,
                dir=str(folder),
                config={**asdict(config), "versions": dict(versions)},
                # wandb's own variables take precedence.
                tags=None if "WANDB_TAGS" in os.environ else tags(config, versions),
                group=os.environ.get("WANDB_RUN_GROUP") or group(config),
                resume="allow",
                id=id,
                settings=wandb.Settings(console="off", x_disable_meta=True, silent=True),
            )

        try:
            self._wandb = start(_run_id(folder))
        except Exception as e:  # metrics are in the ledger too, so tracking must not end a run
            # A wandb service that outlived a killed run still holds its id, so use another one.
            self.say(f"wandb: {e}; the curves continue in a new wandb run of this folder")
            self._wandb = start(f"{_run_id(folder)}-{int(time.time())}")
        self._wandb.define_metric("*", step_metric="round")
        self._wandb.define_metric(BY_CALLS)
        self._wandb.define_metric("held_out_by_calls/*", step_metric=BY_CALLS)
        # A server knows which steps it has; offline, the files do.
        there = _steps(earlier) if self._wandb.offline else range(self._wandb.step)
        for step, row in logged:
            if step not in there:
                self.log(row, step)

    def say(self, text: str) -> None:
        """Print a line on standard error."""
        self.console.print(text, highlight=False)
        _log.info("%s", Text.from_markup(text).plain)

    def log(self, values: dict[str, Any], step: int) -> None:
        """Log metrics as wandb's step `step`. Warns once about each name that docs/metrics.md does not list."""
        unknown = set(undocumented(values)) - self._unknown
        if unknown:
            self._unknown |= unknown
            self.say(f"metrics without a description in rl/metrics/compute.py: {', '.join(sorted(unknown))}")
        self._wandb.log(values, step=step, commit=True)

    def alert(self, alert: Alert) -> None:
        """Show an alert in the terminal and send it to wandb."""
        self.console.print(f"[bold red]{alert.title}.[/bold red] {escape(alert.text)}", highlight=False)
        self._wandb.alert(title=alert.title, text=alert.text, level="WARN")

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Print a table. The first row is the header."""
        if not self.console.quiet:  # quiet: standard output belongs to one JSON document
            print_table(rows)

    def close(self) -> None:
        self._wandb.finish()


def tags(config: RunConfig, versions: Mapping[str, str]) -> list[str]:
    """wandb tags of a run: algorithm, source of attempts, model, Lean."""
    start = (config.serve.start or config.model.start).rstrip("/").rpartition("/")[2] or "from scratch"
    return [config.learn.algorithm, config.learn.collect, start[:64], versions["lean"][:64]]


def group(config: RunConfig) -> str:
    """wandb group of a run. Runs that differ only in seed, name, placement or time limit have the same group."""
    place = {"name", "runs", "seed", "ray", "max_minutes"}
    data = {k: v for k, v in asdict(config).items() if k not in place}
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    return f"{config.learn.algorithm}-{digest[:8]}"


def _steps(files: Sequence[Path]) -> set[int]:
    """The steps in wandb's offline files, as wandb's own reader finds them. The end of a killed run's file may be missing."""
    found: set[int] = set()
    for file in files:
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
        done = subprocess.run(command, capture_output=True, text=True)
        for line in done.stdout.splitlines():
            if '"type":"history"' in line:
                found.add(json.loads(line)["history"]["step"]["num"])
    return found


def _logged_in() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return "api.wandb.ai" in (Path.home() / ".netrc").read_text()
    except OSError:
        return False


def _run_id(folder: Path) -> str:
    """One wandb id per run folder, so that a resumed run continues the same wandb run."""
    path = folder / "wandb-id"
    if not path.exists():
        import secrets

        path.write_text(secrets.token_hex(4))
    return path.read_text().strip()
