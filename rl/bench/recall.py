"""Recall of each retriever on the premises that audited proofs used, and its time per goal."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prover.lean.names import names_in
from prover.lean.pool import LeanPool
from prover.lean.server import LeanDied, LeanError
from prover.lean.theorem import ProofState, Theorem
from prover.premises.dense import DenseWeights
from prover.premises.index import LibraryIndex
from prover.premises.retrieve import make_retriever, top_premises
from prover.premises.symbols import INTERNAL, is_plumbing
from prover.search.lean_queries import answers, premises_in
from rl.bench.premise_searches import LIMITS, retrievers

CUTS = (1, 8, 32)


def named(script: str, names: Iterable[str]) -> list[str]:
    """The `names` that occur in a script as whole identifiers."""
    identifiers = names_in(script)
    return [n for n in names if n in identifiers]


@dataclass(frozen=True)
class Wanted:
    """Library theorems that audited proofs of a theorem use."""

    theorem: Theorem
    term: set[str] = field(default_factory=set)
    """Used in a proof's term, without pure logic and internals of decision procedures."""
    named: set[str] = field(default_factory=set)
    """Those also named in the script."""


def wanted_premises(
    index: LibraryIndex, found: Iterable[tuple[Theorem, str, Sequence[str]]], run: Path | None
) -> dict[str, Wanted]:
    """Wanted premises by theorem, for theorems that have any. `found`: audited proofs as (theorem, script, premises in the term), in
    addition to those of the run."""
    proofs = list(found)
    if run is not None and (run / "ledger.sqlite").exists():
        from prover.solve.ledger import Ledger

        proofs += [
            (a.theorem, a.script, a.used)
            for a in Ledger.open(run, readonly=True).attempts()
            if a.outcome == "proved" and a.script is not None and a.theorem.library is not None
        ]
    relevant = {
        p.name
        for m in index.modules.values()
        for p in (m.theorems if proofs else ())
        if not p.name.startswith(INTERNAL) and not all(is_plumbing(c) for c in p.constants)
    }
    wanted: dict[str, Wanted] = {}
    for theorem, script, used in proofs:
        if term := relevant & set(used):
            mine = wanted.setdefault(theorem.name, Wanted(theorem))
            mine.term.update(term)
            mine.named.update(named(script, term))
    return wanted


def rank_premises(
    index: LibraryIndex, weights: DenseWeights | None, goals: dict[str, tuple[str, ...]], theorems: Iterable[Theorem]
) -> tuple[dict[str, dict[str, list[str]]], dict[str, float]]:
    """The best premises by retriever and theorem, best first, and the median milliseconds per goal by retriever.

    Milliseconds are processor time of this thread, independent of other programs, after a warm-up goal.
    """
    kinds = retrievers(weights is not None)
    by_imports: dict[tuple[str, ...], dict[str, Theorem]] = {}
    for t in theorems:
        if t.name in goals:
            by_imports.setdefault(t.imports, {})[t.name] = t
    best: dict[str, dict[str, list[str]]] = {label: {} for label, *_ in kinds}
    times: dict[str, list[float]] = {label: [] for label, *_ in kinds}
    # A retriever takes a second to make, so it is made once per set of imports. None is kept in memory.
    for imports, mine in by_imports.items():
        for label, name, trained in kinds:
            retriever = make_retriever(name, index, index.reachable(imports), weights if trained else None)
            top_premises(retriever, goals[next(iter(mine))], max(CUTS))
            for theorem in mine:
                began = time.thread_time()
                best[label][theorem] = [p.name for p in top_premises(retriever, goals[theorem], max(CUTS))]
                times[label].append(time.thread_time() - began)
    return best, {label: round(1000 * sorted(ts)[len(ts) // 2], 3) for label, ts in times.items() if ts}


def recall_at(best: Mapping[str, Mapping[str, Sequence[str]]], wanted: Mapping[str, set[str]]) -> dict[str, Any]:
    """Share of the wanted premises among the best, by retriever and cut (None if none is wanted), and their number `of`."""
    shares: dict[str, Any] = {}
    for label, found in best.items():
        mine = {name: used for name, used in wanted.items() if name in found}
        total = sum(map(len, mine.values()))
        hits = {k: sum(len(used & set(found[name][:k])) for name, used in mine.items()) for k in CUTS}
        shares[label] = {**{str(k): round(n / total, 4) if total else None for k, n in hits.items()}, "of": total}
    return shares


async def opened(theorems: Iterable[Theorem]) -> AsyncIterator[tuple[LeanPool, Theorem, ProofState]]:
    """Yields (Lean, theorem, first state) for each theorem that Lean opens, and frees the state afterwards."""
    async with LeanPool(1, limits=LIMITS, constants=True) as pool:
        for theorem in theorems:
            with suppress(LeanError, LeanDied):
                root = await pool.open(theorem)
                yield pool, theorem, root
                await pool.free([root])


async def first_goals(
    theorems: Sequence[Theorem], questions: Sequence[str] = ()
) -> tuple[dict[str, tuple[str, ...]], dict[str, list[str]]]:
    """(the constants of each theorem's first state; the premises in Lean's suggestions there for `questions`), by theorem name."""
    found: dict[str, tuple[str, ...]] = {}
    suggested: dict[str, list[str]] = {}
    async for pool, theorem, root in opened(sorted(theorems, key=lambda t: t.imports)):
        found[theorem.name] = tuple(c for g in root.goals for c in g.constants)
        if questions:
            said = [text for r in await pool.step(root, list(questions)) for text in r.said]
            suggested[theorem.name] = premises_in(answers(said), root)
    return found, suggested
