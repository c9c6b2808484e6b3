"""Proposes generalisations of goals that searches met and could not close."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from curricula.conjectures.bench import MAX_STATEMENT, Bench
from curricula.conjectures.mutations import abstracted
from curricula.conjectures.signature import Signature
from curricula.conjectures.statements import Statement, opened, stated
from prover.errors import UserError
from prover.files import read_file
from prover.lean.theorem import Goal
from prover.search.store import open_goals
from prover.solve.saved_searches import MAX_BYTES, unpack

MOST_GOALS = 40
"""Maximum number of goals that are generalised. Goals that more searches met come first."""
PER_SEARCH = 12
"""Maximum number of goals per search."""


def goals_met(searches: Iterable[bytes]) -> list[Goal]:
    """The open goals of packed searches (prover.solve.saved_searches). Goals that more searches met come first."""
    met: Counter[str] = Counter()
    goals: dict[str, Goal] = {}
    for packed in searches:
        try:
            found = open_goals(unpack(packed)[1])
        except ValueError:
            continue
        for _, goal in found[:PER_SEARCH]:
            met[goal.text] += 1
            goals.setdefault(goal.text, goal)
    return [goals[text] for text, _ in met.most_common(MOST_GOALS)]


def read_searches(folder: Path) -> list[bytes]:
    """The searches in the folder that `turnstile prove` keeps beside a results file. Raises UserError."""
    if not folder.is_dir():
        raise UserError(
            f"--searches {folder}: no such folder; name RESULTS.jsonl.searches of a run of `turnstile prove`"
        )
    return [read_file(path, MAX_BYTES) for path in sorted(folder.glob("*.search"))]


async def generalisations(bench: Bench, signature: Signature, goals: Iterable[Goal]) -> list[tuple[str, Statement]]:
    """Each goal as statements: without its hypotheses, with them, and with a part replaced by a variable."""
    found: list[tuple[str, Statement]] = []
    for type_ in await bench.types_of([goal.statement for goal in goals]):
        if type_ is None:
            continue
        statement = opened(type_)
        if statement.size <= MAX_STATEMENT:
            found += [("met by a search", s) for s in _general(signature, statement)]
    return found


def _general(signature: Signature, statement: Statement) -> Iterator[Statement]:
    facts = {v for v in statement.variables if signature.is_proposition(v.type)}
    hypotheses = [h.type for h in statement.hypotheses if h in facts]
    bare = stated(statement.conclusion, (), statement.variables)
    if not facts.intersection(bare.variables):
        yield bare
        yield from abstracted(signature, bare)
    if hypotheses:
        yield stated(statement.conclusion, hypotheses, statement.variables)
