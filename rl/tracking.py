"""What a person sees of a run: the terminal, wandb, and the end's table."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
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


class Tracker:
    """Progress on standard error, metrics in wandb (offline unless the user is logged in)."""

    def __init__(self, folder: Path, name: str, config: dict[str, Any], quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self._progress: Progress | None = None
        os.environ.setdefault("WANDB_SILENT", "true")
        if "WANDB_MODE" not in os.environ and not _logged_in():
            os.environ["WANDB_MODE"] = "offline"
        import wandb

        self._wandb = wandb.init(
            project="turnstile", name=name, dir=str(folder), config=config, resume="allow", id=_run_id(folder),
            settings=wandb.Settings(console="off", x_disable_meta=True, silent=True),
        )  # fmt: skip

    def say(self, text: str) -> None:
        """A line for the person who watches."""
        self.console.print(text, highlight=False)

    def log(self, values: dict[str, Any]) -> None:
        """Metrics of one moment."""
        self._wandb.log(values)

    def progress(self) -> Progress:
        """A progress display: phase, bar, counts, time left, what was solved."""
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("solved {task.fields[solved]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=not sys.stderr.isatty(),
            refresh_per_second=4,
        )

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """A table; the first row is its head."""
        if not rows or self.console.quiet:  # quiet: standard output belongs to one JSON document
            return
        table = Table(*rows[0], header_style="bold")
        for row in rows[1:]:
            table.add_row(*row)
        Console(file=sys.stdout, width=max(self.console.width, 140)).print(table)

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
    """One id a run folder, so that a resumed run goes on in the same wandb run."""
    path = folder / "wandb-id"
    if not path.exists():
        import secrets

        path.write_text(secrets.token_hex(4))
    return path.read_text().strip()
