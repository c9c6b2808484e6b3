"""Output of commands: answers on standard output, progress on standard error."""

from __future__ import annotations

import json
import sys
from typing import Any


def one_line(message: str, limit: int = 600) -> str:
    """A message as a single line."""
    text = " ".join(message.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def plain(text: str) -> str:
    """The text on one line, with control characters escaped."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in one_line(text))


def say(text: str) -> None:
    """Print a line on standard error."""
    print(text, file=sys.stderr, flush=True)


def answer(document: Any, indent: int | None = 2) -> None:
    """Print a JSON document on standard output, on one line if `indent` is None."""
    print(json.dumps(document, ensure_ascii=False, indent=indent), flush=True)
