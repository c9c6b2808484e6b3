"""A line of the report of `turnstile doctor`. Imports nothing, because doctor also runs where packages are missing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    ok: bool
    found: str
    todo: str = ""
    """What to do if it is missing or could be better."""
    needed: bool = True
    """Whether Turnstile fails without it."""
