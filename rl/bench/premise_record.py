"""What a comparison of premises found so far: a line a theorem and variant, gone on from."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prover.errors import UserError
from prover.lean.theorem import Theorem


@dataclass
class Result:
    """Of one search."""

    theorem: Theorem
    variant: str
    calls: int | None
    """Lean calls to the proof."""
    spent: int
    script: str | None = None
    used: list[str] = field(default_factory=list)
    verdict: str = ""
    settings: str = ""
    """Names all that the result depends on but theorem and variant (see `premises._Bench.settings`)."""


def write(record: Path | None, results: Sequence[Result]) -> None:
    """Append; on the disk when this returns."""
    if record is None:
        return
    rows = [
        {
            "theorem": r.theorem.name,
            "variant": r.variant,
            "calls": r.calls,
            "spent": r.spent,
            "script": r.script,
            "used": r.used,
            "verdict": r.verdict,
            "settings": r.settings,
        }
        for r in results
    ]
    with record.open("ab") as f:
        f.write("".join(json.dumps(row) + "\n" for row in rows).encode())
        f.flush()
        os.fsync(f.fileno())


def read(record: Path | None, theorems: Sequence[Theorem]) -> list[Result]:
    """What is there of these theorems, each theorem, variant and settings once; half a line that a kill left is cut off."""
    if record is None or not record.exists():
        return []
    known = {t.name: t for t in theorems}
    found: dict[tuple[str, str, str], Result] = {}
    whole, _, torn = record.read_bytes().rpartition(b"\n")
    for n, line in enumerate(whole.split(b"\n") if whole else (), 1):
        try:
            row = json.loads(line)
            name = row.pop("theorem")
            if name in known:
                result = Result(known[name], **row)
                found.setdefault((name, result.variant, result.settings), result)
        except (ValueError, TypeError, KeyError):
            raise UserError(f"{record}:{n}: not a row of this benchmark; give another file, or remove it") from None
    if torn:  # a kill left half a line
        os.truncate(record, len(whole) + bool(whole))
    return list(found.values())
