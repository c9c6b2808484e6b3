"""Goals of a world, with and without conjectured lemmas, at equal total Lean calls.

Goals that a world states without lemmas are searched twice with the same number of Lean calls: once without lemmas, and once with
lemmas that a part of the calls finds. The lemmas are found from the world's definitions alone, without the goals.

With `keep` the goals are also searched with a few of these lemmas, chosen by rules that correspond to rewards of conjectures
(curricula/conjectures/selection.py), and with lemmas that only mutate known statements.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from curricula.conjectures.bench import Bench, Place
from curricula.conjectures.discover import Discovery, Limits
from curricula.conjectures.measure import Costs, GoalSet, costs, measured
from curricula.conjectures.selection import at_random, by_compression, by_novelty
from curricula.conjectures.statements import Statement
from curricula.conjectures.worlds import development, found_again, read_textbook, world_file
from prover.console import say
from prover.errors import UserError
from prover.files import check_writable, write_whole
from prover.lean.declarations import declared_names
from prover.lean.text import LeanText, parse
from prover.solve.executor import LocalExecutor
from prover.solve.job import SourceFile
from prover.solve.lemmas import Lemma, place_of, without_unused
from prover.solve.policies import provers_named
from rl.bench import Quick
from rl.metrics.curves import sign_test

OTHER_GOALS = 1000
"""Added to a seed for the goals on which lemmas are measured."""
Key = tuple[str, int, int, int, int, str]
"""World, seed, goals, Lean calls, calls for one search for a lemma's proof, and the Lean."""


class ConjectureResult(msgspec.Struct, frozen=True):
    """One world and seed."""

    key: Key
    without: list[bool]
    """Goals proved without lemmas."""
    with_lemmas: list[bool]
    lemmas: list[str]
    spent: dict[str, int]
    """Lean calls: `without`, `finding` and `with_lemmas`."""
    seconds: dict[str, float]
    textbook: dict[str, int]
    """Numbers of textbook lemmas that are found again, that follow by rewriting, and that are missing."""
    keep: int = 0
    kept: dict[str, list[bool]] = {}
    """Rule -> whether each goal is proved with the `keep` lemmas of the rule and those that their proofs need."""


@dataclass(frozen=True)
class ConjectureBench:
    """Settings, as the options of bench_conjectures."""

    worlds: Sequence[str]
    seeds: int
    goals: int
    calls: int
    each: int
    keep: int
    record: Path | None

    def key(self, world: str, seed: int, lean: str) -> Key:
        return (world, seed, self.goals, self.calls, self.each, lean)


def bench_conjectures(
    *,
    quick: Quick = False,
    worlds: tuple[Literal["peano", "sequences"], ...] = ("peano", "sequences"),
    seeds: int = 3,
    goals: int = 8,
    calls: int = 320,
    each: int = 16,
    keep: int = 0,
    record: Path | None = None,
) -> dict[str, Any]:
    """Figures by world and in total: `goals`, those proved `without` and `with` lemmas, `only_with`, `only_without`, `p` of the exact sign test
    on the same goals, Lean calls, seconds, and the share of a textbook's lemmas that is found.

    --quick uses one seed of one world, 2 goals and 48 calls.

    Args:
        worlds: worlds with definitions and lemmas.
        seeds: number of seeds, each with its own goals.
        goals: goals per world and seed.
        calls: Lean calls for all goals of a world and seed. With lemmas, up to half of the calls find the lemmas.
        each: Lean calls for one search for the proof of a lemma.
        keep: also with so many of the lemmas, chosen by what they save, by novelty or at random, and with mutations alone. 0: not compared.
        record: a .jsonl file with one row per world and seed, from which a run resumes.
    """
    if min(seeds, goals, each) < 1 or keep < 0 or calls < 2 * goals:
        raise UserError(
            "--seeds, --goals and --each must be at least 1, --keep at least 0, and --calls at least twice --goals"
        )
    if not worlds:
        raise UserError("--worlds: name peano, sequences, or both")
    if record is not None:
        check_writable(record)
    size = (worlds[:1], 1, 2, 48) if quick else (worlds, seeds, goals, calls)
    return figures(asyncio.run(_results(ConjectureBench(*size, each, keep, record))))


async def _results(c: ConjectureBench) -> list[ConjectureResult]:
    found: list[ConjectureResult] = []
    async with LocalExecutor(provers_named("explorer", 0), 1) as executor:
        rows = _recorded(c.record)
        known = {r.key: r for r in rows if r.keep == c.keep}
        for world in c.worlds:
            for seed in range(c.seeds):
                result = known.get(c.key(world, seed, executor.lean))
                if result is None:
                    result = await _measured(executor, c, world, seed)
                    rows.append(result)
                    if c.record is not None:
                        write_whole(c.record, msgspec.json.Encoder().encode_lines(rows))
                found.append(result)
                say(f"{world}, seed {seed}: {sum(result.without)} without, {sum(result.with_lemmas)} with")
    return found


def _recorded(path: Path | None) -> list[ConjectureResult]:
    """The rows of a record, without a partial last line. Raises UserError for another file."""
    if path is None or not path.exists():
        return []
    whole, end, rest = path.read_bytes().rpartition(b"\n")
    try:
        return msgspec.json.Decoder(ConjectureResult).decode_lines(whole if end else rest)
    except msgspec.MsgspecError as e:
        raise UserError(f"{path}: not a record of this benchmark ({e}); name another file, or remove it") from None


async def _measured(executor: LocalExecutor, c: ConjectureBench, world: str, seed: int) -> ConjectureResult:
    text = world_file(world, c.goals, seed)
    began = time.monotonic()
    without = await _searched(executor, text, (), c.calls // c.goals)
    halfway = time.monotonic()
    library = await _found(executor, c, world, seed)
    together = await _searched(executor, text, library.lemmas, library.left(c))
    ended = time.monotonic()
    spent = {"without": sum(without.calls), "finding": library.calls, "with_lemmas": sum(together.calls)}
    kept: dict[str, list[bool]] = {}
    if c.keep:
        orders, spent["measuring"] = await _orders(executor, c, world, seed, library)
        for rule, order in orders.items():
            few = await _searched(executor, text, without_unused(library.lemmas, order[: c.keep]), library.left(c))
            kept[rule] = _proved(few)
        mutated = await _found(executor, c, world, seed, mutate_only=True)
        kept["mutations"] = _proved(await _searched(executor, text, mutated.lemmas, mutated.left(c)))
    return ConjectureResult(
        c.key(world, seed, executor.lean),
        _proved(without),
        _proved(together),
        [f"{x.name} {x.statement}" for x in library.lemmas],
        spent,
        {"without": round(halfway - began, 1), "with_lemmas": round(ended - halfway, 1)},
        library.textbook,
        c.keep,
        kept,
    )


def _proved(costs: Costs) -> list[bool]:
    return [f.outcome == "found" for f in costs.found]


async def _orders(
    executor: LocalExecutor, c: ConjectureBench, world: str, seed: int, library: Library
) -> tuple[dict[str, list[str]], int]:
    """(rule -> names of the lemmas, the best first; Lean calls). Savings of lemmas are measured on other goals of the world."""
    goals = await _goal_set(executor, world_file(world, c.goals, seed + OTHER_GOALS), c.calls // (2 * c.goals))
    worth = await measured(executor, goals, library.lemmas, await costs(executor, goals))
    orders = {
        "compression": by_compression(worth.worths),
        "novelty": by_novelty(library.statements, library.known),
        "random": at_random(list(library.statements), seed),
    }
    return orders, worth.calls


async def _searched(executor: LocalExecutor, text: LeanText, lemmas: Sequence[Lemma], budget: int) -> Costs:
    return await costs(executor, await _goal_set(executor, text, budget), lemmas)


async def _goal_set(executor: LocalExecutor, text: LeanText, budget: int) -> GoalSet:
    file = SourceFile(text, text.imports)
    holes = (await executor.sorries(file)).holes
    return GoalSet(file, place_of(text, holes), tuple(range(len(holes))), budget)


@dataclass(frozen=True)
class Library:
    """Lemmas found from the definitions of a world."""

    lemmas: list[Lemma]
    statements: dict[str, Statement]
    known: list[Statement]
    """Statements of the definitions of the world."""
    calls: int
    textbook: dict[str, int]

    def left(self, c: ConjectureBench) -> int:
        """Lean calls for each goal that remain after the lemmas are found."""
        return max(1, (c.calls - self.calls) // c.goals)


async def _found(
    executor: LocalExecutor, c: ConjectureBench, world: str, seed: int, mutate_only: bool = False
) -> Library:
    text = parse(development(world).definitions().encode(), f"{world}.lean")
    bench = Bench(executor, Place(text.path, text.body.strip(), text.imports))
    signature, _ = await bench.signature(text)
    limits = Limits(c.calls // 2, min(c.each, c.calls // 2))
    taken = declared_names(text.body)
    discovery = Discovery(bench, signature, limits, seed, taken=taken, mutate_only=mutate_only)
    try:
        lemmas = await discovery.run()
    finally:
        bench.close()
    spent = bench.spent
    again = found_again(*await read_textbook(bench, world), list(discovery.statements.values()))
    counts = {kind: len(names) for kind, names in again.items()}
    return Library(list(lemmas), discovery.statements, [k.statement for k in signature.known], spent, counts)


def figures(results: Sequence[ConjectureResult]) -> dict[str, Any]:
    """Totals by world, and of all worlds."""
    worlds = list(dict.fromkeys(r.key[0] for r in results))
    by = {world: _totals(r for r in results if r.key[0] == world) for world in worlds}
    return by | ({"all": _totals(results)} if len(worlds) > 1 else {})


def _totals(results: Iterable[ConjectureResult]) -> dict[str, Any]:
    rs = list(results)
    without = [x for r in rs for x in r.without]
    with_lemmas = [x for r in rs for x in r.with_lemmas]
    only_with, only_without, p = _paired(with_lemmas, without)
    books = sum(sum(r.textbook.values()) for r in rs)
    return {
        "goals": len(without),
        "without": sum(without),
        "with": sum(with_lemmas),
        "only_with": only_with,
        "only_without": only_without,
        "p": p,
        "calls_without": sum(r.spent["without"] for r in rs),
        "calls_with": sum(r.spent["finding"] + r.spent["with_lemmas"] for r in rs),
        "seconds_without": round(sum(r.seconds["without"] for r in rs), 1),
        "seconds_with": round(sum(r.seconds["with_lemmas"] for r in rs), 1),
        "textbook": round(sum(r.textbook["found"] for r in rs) / books, 3) if books else None,
        **({"kept": _by_rule(rs)} if all(r.kept for r in rs) else {}),
    }


def _paired(first: Sequence[bool], second: Sequence[bool]) -> tuple[int, int, float]:
    """(goals that only the first proves, only the second, p of the exact sign test)."""
    pairs = list(zip(first, second, strict=True))
    only = pairs.count((True, False)), pairs.count((False, True))
    return (*only, float(f"{sign_test(*only):.2g}"))


def _by_rule(results: Sequence[ConjectureResult]) -> dict[str, Any]:
    """For each rule the goals that it proves, and those that `compression` alone and the rule alone prove, with the sign test's p."""
    proved = {rule: [x for r in results for x in r.kept[rule]] for rule in results[0].kept}
    found: dict[str, Any] = {"measuring": sum(r.spent["measuring"] for r in results)}
    for rule, own in proved.items():
        more, less, p = _paired(proved["compression"], own)
        found[rule] = {"proved": sum(own), "only_compression": more, "only_this": less, "p": p}
    return found
