"""The output of `turnstile prove`: a table, a JSON document, annotations for GitHub, or diagnostics for editors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

from prover.console import answer, one_line, plain, say
from prover.solve import instances

Form = Literal["text", "json", "github", "lsp"]
SEVERITIES = {"error": 1, "warning": 2, "notice": 3}
"""GitHub's names and the numbers of the Language Server Protocol."""


def show(document: dict[str, Any], form: Form) -> None:
    """Print the answer. As text, its source goes to standard output."""
    if form == "json":
        answer(document)
        return
    if form == "github":
        for note in _notes(document):
            print(github(*note), flush=True)
    elif form == "lsp":
        answer(_diagnostics(document))
    else:
        _table(document)
    say(f"{document['proved']} of {document['total']} proved in {document['seconds']:.1f} s by {document['lean']}")
    if form == "text" and "lean_utilisation" in document:
        peak = document["memory_mb"]["peak"]  # 0 with --ray: other machines' memory is not measured
        memory = f"; its processes used at most {peak / 1024:.1f} GiB" if peak else ""
        say(f"Lean was busy {document['lean_utilisation']:.0%} of the time{memory}")


def _table(document: dict[str, Any]) -> None:
    if "source" in document:
        sys.stdout.flush()
        sys.stdout.buffer.write(document["source"].encode())
        sys.stdout.buffer.flush()
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1))
    for title in ("line", "name", "outcome", "Lean calls", "proof or reason", "remarks"):
        table.add_column(title, overflow="fold")
    for task in document["tasks"]:
        # The proof of a negation by an instance does not show the instance, but the reason does.
        reason = task["outcome"] == "rejected" or (task["outcome"] == "disproved" and task["prover"] == instances.NAME)
        shown = task["reason"] if reason else task["proof"] or task["reason"]
        last = plain(shown.replace("\n", " ↵ "))
        colour = {"proved": "green", "disproved": "magenta"}.get(task["outcome"], "yellow")
        place = [task["file"], task["line"]] if "file" in task else [task["line"]]
        table.add_row(
            ":".join(str(part) for part in place if part),
            Text(plain(task["name"])),
            Text(task["outcome"], colour),
            str(task["lean_calls"]),
            Text(last[:100]),
            Text(plain("; ".join(r["text"] for r in task["remarks"]))),
        )
    # Columns are cut or wrapped only if a terminal limits the width.
    Console(stderr=True, width=None if sys.stderr.isatty() else 10_000).print(table)
    for left in document.get("unreached", ()):
        line = f"line {left['line']}" if left["line"] else ""
        where = ": ".join(part for part in (left.get("file", ""), line, left["name"]) if part)
        say(plain(f"{where}: a `sorry` that cannot be tried: {left['reason']}"))


def _notes(document: dict[str, Any]) -> list[tuple[str, str, int, int, str, str]]:
    """(severity, file, line, column, title, message) of each task, of each `sorry` that cannot be tried and of each error; lines and
    columns from 1, or 0 if unknown."""
    found: list[tuple[str, str, int, int, str, str]] = []
    for task in document["tasks"]:
        proved = task["outcome"] == "proved"
        severity, about = ("notice", task["proof"]) if proved else ("warning", task["reason"])
        message = f"{task['outcome']} in {task['lean_calls']} Lean calls" + (f": {about}" if about else "")
        found.append((severity, task.get("file") or document["input"], task["line"] or 0, 0, task["name"], message))
    for left in document.get("unreached", ()):
        where = left.get("file") or document["input"]
        found.append(("warning", where, left["line"] or 0, 0, left["name"], f"cannot be tried: {left['reason']}"))
    for error in document.get("errors", ()):
        found.append(("error", error["file"], error["line"], error["column"] + 1, "error", error["message"]))
    for entry in document.get("files", ()):
        if entry["reason"]:
            found.append(("error", entry["file"], 0, 0, "skipped", entry["reason"]))
    return found


def _diagnostics(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The notes on each file, as the Language Server Protocol has them."""
    files: dict[str, list[dict[str, Any]]] = {}
    for severity, file, line, column, title, message in _notes(document):
        at = {"line": max(line - 1, 0), "character": max(column - 1, 0)}
        files.setdefault(Path(file).absolute().as_uri(), []).append(
            {
                "range": {"start": at, "end": {"line": at["line"] + 1, "character": 0}},
                "severity": SEVERITIES[severity],
                "source": "turnstile",
                "message": f"{title}: {message}",
            }
        )
    return [{"uri": uri, "diagnostics": found} for uri, found in files.items()]


def github(severity: str, file: str, line: int, column: int, title: str, message: str) -> str:
    """A workflow command of GitHub Actions, escaped so that names and Lean's messages cannot end it."""
    place = {"file": file, "line": str(line or 1), **({"col": str(column)} if column else {}), "title": title}
    properties = ",".join(f"{key}={_escaped(one_line(value), ':,')}" for key, value in place.items())
    return f"::{severity} {properties}::{_escaped(message.strip())}"


def _escaped(text: str, also: str = "") -> str:
    return "".join(f"%{ord(c):02X}" if c in "%\r\n" + also else c if c.isprintable() else "?" for c in text)
