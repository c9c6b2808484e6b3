"""Conjectures for one file from end to end: its goals, the search for lemmas, their savings, and the library that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from curricula.conjectures.bench import Bench, Place
from curricula.conjectures.discover import Discovery, Limits
from curricula.conjectures.goals import goals_met
from curricula.conjectures.measure import Costs, GoalSet, Measured, costs, measured, resting_on
from curricula.conjectures.statements import opened
from curricula.conjectures.worlds import found_again, read_textbook
from prover.console import one_line, say
from prover.errors import UserError
from prover.lean.declarations import declared_names, scope_ends
from prover.lean.project import Project, explain_import, imports_of
from prover.lean.server import LeanDied, LeanError
from prover.lean.text import LeanText, parse
from prover.solve.executor import LocalExecutor
from prover.solve.job import SourceFile
from prover.solve.lemmas import Lemma, block, place_of, without_unused
from prover.solve.session import stoppable, until


@dataclass(frozen=True)
class Plan:
    """The limits and settings for one file."""

    limits: Limits
    seed: int = 0
    goals: int = 8
    """Goals on which savings are measured; 0: none."""
    goal_calls: int = 64
    searches: tuple[bytes, ...] = ()
    """Searches of earlier runs, whose open goals are generalised."""
    world: str = ""
    """A world whose textbook the lemmas are compared with."""


@dataclass(frozen=True)
class Outcome:
    """The lemmas of a file."""

    document: dict[str, Any]
    """The fields for `--json`."""
    library: str
    """The definitions before the goals, and the kept lemmas with proofs, as a file."""


async def conjectured(
    executor: LocalExecutor, text: LeanText, plan: Plan, earlier: Sequence[Lemma] = (), project: Project | None = None
) -> Outcome:
    """Find lemmas for a file. `earlier`: a library to start from; those lemmas are audited again.

    Raises UserError if the file has an error before its first `sorry`, or if Lean cannot read it.
    """
    imports = imports_of(text, project)
    file = SourceFile(text, imports.shipped, tuple(imports.sources()))
    try:
        every = await executor.sorries(file)
        if every.errors:
            raise UserError(f"{one_line(str(every.errors[0]), 200)}; correct the errors first")
        at = place_of(text, every.holes)
        bench = Bench(executor, Place(text.path, _up_to(text.body, at).strip(), file.imports, file.before))
        numbers = tuple(i for i, hole in enumerate(every.holes) if hole.proposition)[: plan.goals]
        goals = GoalSet(file, at, numbers, plan.goal_calls)
        without = await costs(executor, goals, save=True)
        return await _found(bench, plan, earlier, goals, without)
    except LeanError as error:
        raise UserError(explain_import(one_line(str(error)), text.path)) from None
    except LeanDied as error:
        raise UserError(f"{text.path}: Lean stopped: {one_line(str(error))}") from None


async def _found(bench: Bench, plan: Plan, earlier: Sequence[Lemma], goals: GoalSet, without: Costs) -> Outcome:
    text = goals.file.text
    signature, examples = await bench.signature(text)
    met = goals_met([*plan.searches, *(f.saved for f in without.found if f.saved)])
    taken = declared_names(text.body)
    discovery = Discovery(bench, signature, plan.limits, plan.seed, met, [opened(e.type) for e in examples], taken)
    for lemma in earlier:
        await discovery.start_with(lemma)
    found: Measured | None = None

    async def measure() -> None:
        nonlocal found
        found = await measured(bench.executor, goals, discovery.lemmas, without)

    with stoppable() as stop:
        try:
            await until(stop, discovery.run())
        finally:
            bench.close()
        if goals.numbers and not stop.is_set():
            await until(stop, measure())
        interrupted = stop.is_set()
    lemmas = discovery.lemmas
    kept = await _audited(bench, goals, _kept(lemmas, found), found)
    document = {
        "lemmas": [_row(x, found) for x in kept],
        "retired": [_row(x, found) for x in lemmas if x not in kept],
        "conjectures": discovery.counts,
        "calls": {"finding": bench.spent, "by_step": dict(bench.calls), "measuring": found.calls if found else 0},
        "goals": _goals(goals, found),
        "interrupted": interrupted,
    }
    if plan.world and not interrupted:
        book, stated = await read_textbook(bench, plan.world)
        document["textbook"] = found_again(book, stated, list(discovery.statements.values()))
    return Outcome(document, _library(goals, kept, found))


def _kept(lemmas: Sequence[Lemma], found: Measured | None) -> list[Lemma]:
    """The lemmas that save something, and those that their proofs need. All of them if nothing was measured."""
    if found is None:
        return list(lemmas)
    return without_unused(lemmas, [name for name, worth in found.worths.items() if worth.pays])


def _row(lemma: Lemma, found: Measured | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": lemma.name,
        "statement": lemma.statement,
        "proof": lemma.script,
        "origin": lemma.origin,
        "calls": lemma.calls,
    }
    if found is not None:
        w = found.worths[lemma.name]
        row |= {"saves_alone": w.alone, "saves_last": w.last, "redundancy": round(w.redundancy, 3), "uses": w.uses}
        row["worth"] = round(w.worth, 1)
    return row


def _goals(goals: GoalSet, found: Measured | None) -> dict[str, Any]:
    if found is None:
        return {"total": 0}
    return {
        "total": len(goals.numbers),
        "budget": goals.budget,
        "solved_without": found.without.solved,
        "solved_with": found.together.solved,
        "calls_without": sum(found.without.calls),
        "calls_with": sum(found.together.calls),
    }


def _library(goals: GoalSet, lemmas: Sequence[Lemma], found: Measured | None) -> str:
    """The file up to the goals, the lemmas, and the ends of open scopes."""
    if not lemmas:
        return ""
    text = goals.file.text
    noted = [replace(x, origin=_provenance(x, found)) for x in lemmas]
    parts = [_up_to(text.text, goals.at).rstrip(), block(noted), *scope_ends(_up_to(text.body, goals.at))]
    return "\n\n".join(parts).lstrip("\n") + "\n"


def _up_to(text: str, offset: int) -> str:
    """The text before an offset in UTF-8 bytes."""
    return text.encode()[:offset].decode()


def _provenance(lemma: Lemma, found: Measured | None) -> str:
    about = f"Conjectured ({lemma.origin}) and proved in {lemma.calls} Lean calls."
    if found is None:
        return about
    w, goals = found.worths[lemma.name], len(found.without.found)
    if not w.pays:
        return f"{about} Other lemmas need it."
    return f"{about} Saves {w.saved} calls on {goals} goals; {w.uses} of their proofs use it."


async def _audited(bench: Bench, goals: GoalSet, lemmas: Sequence[Lemma], found: Measured | None) -> list[Lemma]:
    """The lemmas that the audit accepts, with all those that their proofs use."""
    kept, path, auditor = list(lemmas), goals.file.text.path, bench.executor.auditor
    while kept:
        body = parse(_library(goals, kept, found).encode(), path).body
        verdicts = await auditor.audit_source(body, goals.file.imports, file=path, before=goals.file.before)
        refused = {v.name.split(".")[-1] for v in verdicts if v.verdict != "proved"}
        if not refused:
            break
        if refused.isdisjoint(x.name for x in kept):
            names = ", ".join(sorted(refused))
            raise UserError(f"{path}: the audit rejects {names} of the file itself; correct it first")
        for lemma in [x for x in kept if x.name in refused]:
            say(f"turnstile: {lemma.name} is left out: the audit rejects its proof")
            gone = resting_on(kept, lemma)
            kept = [x for x in kept if x not in gone]
    return kept
