"""Find lemmas that shorten other proofs: conjecture, filter, prove, audit, and measure what each saves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from prover.console import answer, plain, say
from prover.errors import UserError

if TYPE_CHECKING:
    from curricula.conjectures.work import Outcome, Plan
    from prover.lean.project import Project
    from prover.lean.text import LeanText


def conjecture(
    target: Annotated[str, tyro.conf.Positional],
    *,
    out: Path,
    budget: int = 2000,
    each: int = 32,
    goals: int = 8,
    goal_budget: int = 64,
    searches: Path | None = None,
    policy: str = "explorer",
    seed: int = 0,
    json: bool = False,
) -> int:
    """Find lemmas for a file, a project or a world, and write those that save Lean calls as a Lean file.

    The lemmas go before the first `sorry`. If the output exists, the library starts with its lemmas. Lemmas that save nothing on the
    goals are retired. `turnstile prove FILE --lemmas OUT` uses the library.

    Args:
        target: FILE.lean, the folder of a Lake project, or a world (`peano`, `sequences`).
        out: the library to write; for a project, a folder.
        budget: Lean calls for finding lemmas. Measuring what they save takes further calls.
        each: Lean calls of one search for the proof of a conjecture that no induction proves.
        goals: number of the target's goals on which savings are measured. 0: keep all lemmas and measure nothing.
        goal_budget: Lean calls for each of these goals, in each measurement.
        searches: the folder RESULTS.jsonl.searches of `turnstile prove --results`, whose open goals suggest lemmas.
        policy: as in `turnstile prove`.
        seed: random seed.
        json: print one JSON document.
    """
    from curricula.conjectures.discover import Limits
    from curricula.conjectures.goals import read_searches
    from curricula.conjectures.work import Plan
    from prover.lean.project import Project, is_project
    from prover.solve.policies import provers_named

    _check(budget, each, goals, goal_budget)
    provers = provers_named(policy, seed)
    kept = tuple(read_searches(searches)) if searches is not None else ()
    plan = Plan(Limits(budget, each), seed, goals, goal_budget, kept)
    if Path(target).is_dir():
        if not is_project(Path(target)):
            raise UserError(f"{target}: is a folder without a lakefile; name a Lake project, a .lean file or a world")
        if out.exists() and not out.is_dir():
            raise UserError(f"{out}: is a file; for a project, --out names a folder")
        documents = asyncio.run(_project(Project(Path(target)), out, plan, provers))
    else:
        text = _text(target, goals, seed)
        plan = replace(plan, world="" if Path(target).exists() else text.path.removesuffix(".lean"))
        documents = [asyncio.run(_one(text, out, plan, provers))]
    document = {"target": target, "out": str(out), "seed": seed, "budget": budget, "policy": policy, "files": documents}
    if json:
        answer(document)
    else:
        for d in documents:
            _show(d)
    if documents and documents[-1]["interrupted"]:
        return 130
    return 0 if any(d["lemmas"] for d in documents) else 1


def _check(budget: int, each: int, goals: int, goal_budget: int) -> None:
    for name, number, least in (
        ("budget", budget, 1),
        ("each", each, 1),
        ("goals", goals, 0),
        ("goal-budget", goal_budget, 1),
    ):
        if number < least:
            raise UserError(f"--{name} {number}: must be at least {least}")


def _text(target: str, goals: int, seed: int) -> LeanText:
    from curricula.conjectures.worlds import WORLDS, world_file
    from prover.lean.text import read

    name = target.removeprefix("world:")
    if not Path(target).exists() and (name in WORLDS or target.startswith("world:")):
        return world_file(name, max(1, goals), seed)
    if not target.endswith(".lean"):
        raise UserError(f"{target}: name a .lean file, a Lake project, or a world ({', '.join(WORLDS)})")
    return read(Path(target))


async def _project(project: Project, out: Path, plan: Plan, provers: Sequence[Any]) -> list[dict[str, Any]]:
    from prover.solve.project import project_files

    files = project_files(project)
    say(f"turnstile: {len(files)} files with a `sorry`")
    share = max(1, plan.limits.total // len(files))
    plan = replace(plan, limits=replace(plan.limits, total=share))
    documents = []
    for text in files:
        target = out / Path(text.path).relative_to(project.folder)
        documents.append(await _one(text, target, plan, provers, project))
        if documents[-1]["interrupted"]:
            break
    return documents


async def _one(
    text: LeanText, out: Path, plan: Plan, provers: Sequence[Any], project: Project | None = None
) -> dict[str, Any]:
    from curricula.conjectures.work import conjectured
    from prover.files import check_writable, write_whole
    from prover.lean.text import read
    from prover.solve.executor import LocalExecutor
    from prover.solve.lemmas import read_lemmas

    earlier = read_lemmas(read(out)) if out.exists() else []
    if project is None:
        check_writable(out)
    async with LocalExecutor(provers, 1) as executor:
        outcome: Outcome = await conjectured(executor, text, plan, earlier, project)
    if outcome.library:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, outcome.library.encode())
    return {"file": text.path, "out": str(out) if outcome.library else None, **outcome.document}


def _show(document: dict[str, Any]) -> None:
    lemmas, goals, calls = document["lemmas"], document["goals"], document["calls"]
    for lemma in lemmas:
        print(plain(f"{lemma['name']} {lemma['statement']}"))
    say(f"turnstile: {plain(document['file'])}: {len(lemmas)} lemmas kept, {len(document['retired'])} retired")
    say(f"turnstile: {calls['finding']} Lean calls to find them, {calls['measuring']} to measure what they save")
    if goals["total"]:
        say(
            f"turnstile: goals solved at {goals['budget']} calls each: {goals['solved_without']} of {goals['total']} without the "
            f"lemmas in {goals['calls_without']} calls, {goals['solved_with']} with them in {goals['calls_with']} calls"
        )
    if (book := document.get("textbook")) is not None:
        say(
            f"turnstile: of {sum(map(len, book.values()))} textbook lemmas, {len(book['found'])} are found and "
            f"{len(book['follows'])} follow by rewriting"
        )
    if document["out"]:
        say(f"turnstile: written to {plain(document['out'])}")
