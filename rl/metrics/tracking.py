"""Progress and metrics of a run in the terminal and in wandb."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
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
from rl.metrics.alerts import Alert
from rl.metrics.compute import undocumented

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

    def __init__(self, folder: Path, name: str, config: dict[str, Any], quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self._unknown: set[str] = set()
        os.environ.setdefault("WANDB_SILENT", "true")
        if "WANDB_MODE" not in os.environ and not _logged_in():
            os.environ["WANDB_MODE"] = "offline"
        if not os.access(existing(Path.home() / ".cache"), os.W_OK):
            os.environ.setdefault("WANDB_CACHE_DIR", str(folder / "wandb" / "cache"))
        import wandb

        def start(id: str) -> Any:
            return wandb.init(
                project="turnstile",
                name=name,
                dir=str(folder),
                config=config,
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

    def say(self, text: str) -> None:
        """Print a line on standard error."""
        self.console.print(text, highlight=False)
        _log.info("%s", Text.from_markup(text).plain)

    def log(self, values: dict[str, Any]) -> None:
        """Log metrics. Warns once about each name that docs/metrics.md does not list."""
        unknown = set(undocumented(values)) - self._unknown
        if unknown:
            self._unknown |= unknown
            self.say(f"metrics without a description in rl/metrics/compute.py: {', '.join(sorted(unknown))}")
        self._wandb.log(values)

    def alert(self, alert: Alert) -> None:
        """Show an alert in the terminal and send it to wandb."""
        self.console.print(f"[bold red]{alert.title}.[/bold red] {escape(alert.text)}", highlight=False)
        self._wandb.alert(title=alert.title, text=alert.text, level="WARN")

    def progress(self) -> Progress:
        """A progress bar on this console."""
        return progress(self.console)

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Print a table. The first row is the header."""
        if not self.console.quiet:  # quiet: standard output belongs to one JSON document
            print_table(rows)

    def close(self) -> None:
        self._wandb.finish()


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
