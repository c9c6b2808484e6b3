"""Holes of recorded proofs, closed by a policy that reads the goal after the hole, and by the same policy without it.

The recorder finds proofs, and this benchmark cuts holes into them. A hole is a goal of a proof and a goal further down, with the tactics
between them left out. Two searches with the same policy try to close it with the same number of Lean calls. Both may stop at the goal
after the hole, but only one tells the policy about it. The policy is the model alone, without explorer and value, which do not read the
goal after.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from tyro.conf import Positional

from prover.console import say
from prover.errors import UserError
from prover.lean.pool import LeanPool
from prover.lean.server import LeanDied, LeanError, Limits
from prover.lean.steps import SEARCH_HEARTBEATS
from prover.lean.theorem import ProofNode, ProofState, Theorem
from prover.premises.index import library_index
from prover.premises.retrieve import PremiseSource
from prover.search import Budget, Search
from prover.search.infill import InfillEnvironment, InfillPolicy
from prover.solve.attempt import Prover
from prover.solve.policies import provers_named
from rl.answers import Answers
from rl.bench.curves import difference
from rl.metrics.curves import sign_test
from rl.metrics.intervals import bounds, wilson_of_rates
from rl.theorem_splits import file_theorems

ARMS = ("told", "plain")


@dataclass(frozen=True)
class InfillBench:
    """Settings."""

    theorems: Sequence[Theorem]
    policy: Prover
    recorder: Prover
    """Finds the proofs that are cut."""
    source: PremiseSource
    """Premises for provers without a source of their own."""
    calls: int
    longest: int
    record_calls: int
    seed: int


@dataclass(frozen=True)
class Hole:
    """Tactics left out of a proof."""

    before: ProofState
    after: ProofState
    size: int
    """Number of tactics between the two goals, including those that prove the other goals on the way."""


@dataclass(frozen=True)
class Closed:
    """A hole and how each arm of ARMS ended."""

    theorem: str
    size: int
    calls: dict[str, int | None]
    """Lean calls until the hole was closed; None: it stayed open."""
    reached: dict[str, bool]
    """Whether the search reached the goal after the hole. If not, a closed hole's goal before was proved directly."""


def bench_infilling(
    theorems: Annotated[tuple[str, ...], Positional],
    /,
    *,
    policy: str,
    recorder: str = "explorer",
    calls: int = 8,
    longest: int = 4,
    record_calls: int = 128,
    seed: int = 0,
) -> dict[str, Any]:
    """Figures: numbers of theorems, and `figures` for all holes and by size of hole. Raises UserError.

    Args:
        theorems: as in `theorems.files`: worlds, .lean files, Lake projects, data sets, theorem sets.
        policy: a policy that learned infilling, as for `turnstile prove`. Only its model is used.
        recorder: the prover whose proofs are cut, as for `turnstile prove`.
        calls: Lean calls per hole.
        longest: maximum number of tactics in a hole. A proof gets one hole of each size that it has.
        record_calls: Lean calls of the recorder's search for a proof.
        seed: random seed.
    """
    if min(calls, longest, record_calls) < 1:
        raise UserError("--calls, --longest and --record-calls must be at least 1")
    provers = [provers_named(text, seed) for text in (policy, recorder)]
    if any(len(named) > 1 or named[0].writer is not None for named in provers):
        raise UserError("--policy and --recorder: name one prover each, which answers with tactics")
    found = [t for t, _ in file_theorems(theorems)]
    source = PremiseSource(library_index())
    b = InfillBench(found, provers[0][0], provers[1][0], source, calls, longest, record_calls, seed)
    return asyncio.run(_measured(b))


async def _measured(b: InfillBench) -> dict[str, Any]:
    began = time.monotonic()
    found: list[Closed] = []
    recorded = failed = 0
    async with LeanPool(1, limits=Limits(heartbeats=SEARCH_HEARTBEATS), constants=True) as pool:
        for i, theorem in enumerate(b.theorems, 1):
            answers = Answers(theorem, pool)
            try:
                closed = await _theorem(b, theorem, answers)
            except (LeanError, LeanDied, RuntimeError) as error:
                say(f"{theorem.name}: {error}")
                failed += 1
                continue
            finally:
                await answers.close()
            recorded += closed is not None
            found += closed or ()
            say(f"{i}/{len(b.theorems)}  {theorem.name}: {_told(closed)}")
        lean = pool.runtime.name
    return {
        "policy": b.policy.name,
        "recorder": b.recorder.name,
        "lean": lean,
        "calls": b.calls,
        "theorems": len(b.theorems),
        "failed": failed,
        "recorded": recorded,
        "all": figures(found),
        **{f"holes of {k}": figures([c for c in found if c.size == k]) for k in range(1, b.longest + 1)},
        "seconds": round(time.monotonic() - began, 1),
    }


def _told(closed: Sequence[Closed] | None) -> str:
    if closed is None:
        return "no proof"
    told, plain = (sum(c.calls[arm] is not None for c in closed) for arm in ARMS)
    return f"{len(closed)} holes, {told} closed when told, {plain} otherwise"


async def _theorem(b: InfillBench, theorem: Theorem, answers: Answers) -> list[Closed] | None:
    """The holes of a theorem with their results; None without a proof."""
    root = await answers.root()
    env = b.recorder.bounded(answers)  # pyright: ignore[reportArgumentType]
    premises = await (b.recorder.source or b.source).for_theorem(theorem)
    config = replace(b.recorder.config, in_flight=1, seed=b.seed)
    search = Search(root, env, b.recorder.policy, b.recorder.value, config=config, premises=premises)
    try:
        proof = (await search.run(Budget(lean_calls=b.record_calls))).proof
    finally:
        await search.close()
    if proof is None:
        return None
    holes = await cut(root, proof, answers, b.longest, random.Random(f"infilling/{b.seed}/{theorem.name}"))
    premises = await (b.policy.source or b.source).for_theorem(theorem)
    return [await _closed(b, theorem, hole, answers, premises) for hole in holes]


async def cut(root: ProofState, proof: ProofNode, env: Any, longest: int, rng: random.Random) -> list[Hole]:
    """One hole of each size from 1 to `longest`, if the proof has one, at a random place. `env` keeps the states.

    Raises RuntimeError if a tactic of the proof has another result than recorded.
    """
    states: dict[int, ProofState] = {}
    places: list[tuple[ProofState, ProofNode]] = [(root, proof)]
    for state, node in places:  # grows in the loop
        states[id(node)] = state
        (result,) = await env.step(state, (node.tactic,))
        if len(result.states) != len(node.children):
            raise RuntimeError(f"replaying `{node.tactic}` gave a different result")
        places += zip(result.states, node.children, strict=True)
    by_size: dict[int, list[Hole]] = {}
    for before, node in places:
        for below in _below(node):
            after, size = states[id(below)], node.size - below.size
            if 0 < size <= longest and len(after.goals) == 1 and after.shared != before.shared:
                by_size.setdefault(size, []).append(Hole(before, after, size))
    return [rng.choice(by_size[size]) for size in sorted(by_size)]


def _below(node: ProofNode) -> Iterator[ProofNode]:
    waiting = list(node.children)
    while waiting:
        yield (below := waiting.pop())
        waiting += below.children


async def _closed(b: InfillBench, theorem: Theorem, hole: Hole, answers: Answers, premises: Any) -> Closed:
    calls: dict[str, int | None] = {}
    reached: dict[str, bool] = {}
    model = b.policy.loading or b.policy.policy
    for arm in ARMS:
        env = InfillEnvironment(b.policy.bounded(answers), hole.after)  # pyright: ignore[reportArgumentType]
        policy = InfillPolicy(model, hole.after.text) if arm == "told" else model
        config = replace(b.policy.config, in_flight=1, seed=b.seed)
        search = Search(hole.before, env, policy, config=config, premises=premises)
        try:
            result = await search.run(Budget(lean_calls=b.calls))
        finally:
            await search.close()
        if result.outcome == "error":
            raise RuntimeError(result.message)
        calls[arm] = result.lean_calls_to_solve
        reached[arm] = calls[arm] is not None and env.reached(search.graph)
    return Closed(theorem.name, hole.size, calls, reached)


def figures(found: Sequence[Closed]) -> dict[str, Any]:
    """`holes`; by arm those `closed`, the mean rate of theorems with a 95 % interval, and those `reached`; `only_told`, `only_plain`;
    the difference of the rates with its interval; and `p` of the exact sign test.

    Holes of one theorem are not independent. Intervals and the test are therefore over theorems: a theorem counts for the arm that
    closed more of its holes.
    """
    out: dict[str, Any] = {"holes": len(found)}
    rates: dict[str, list[float]] = {}
    names = list(dict.fromkeys(c.theorem for c in found))
    for arm in ARMS:
        rates[arm] = []
        for name in names:
            mine = [c.calls[arm] is not None for c in found if c.theorem == name]
            rates[arm].append(sum(mine) / len(mine))
        closed = sum(c.calls[arm] is not None for c in found)
        out[arm] = {
            "closed": closed,
            "rate": round(sum(rates[arm]) / max(1, len(names)), 4),
            **bounds(wilson_of_rates(rates[arm], 1)),
            "reached": sum(c.reached[arm] for c in found),
        }
    told, plain = (np.array(rates[arm]) for arm in ARMS)
    out["only_told"], out["only_plain"] = (
        sum(c.calls[a] is not None and c.calls[z] is None for c in found) for a, z in (ARMS, ARMS[::-1])
    )
    out["theorems"] = {"told": int((told > plain).sum()), "plain": int((told < plain).sum()), "of": len(names)}
    out["difference"] = difference(told - plain) if names else None
    out["p"] = float(f"{sign_test(out['theorems']['told'], out['theorems']['plain']):.2g}")
    return out
