"""A later try continues the search of an earlier one, and tactics that cost a whole time limit are not repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prover.lean.server import LeanServer, Limits
from prover.lean.steps import SEARCH_HEARTBEATS, SEARCH_SECONDS
from prover.lean.theorem import Goal, ProofState, StepResult, Theorem
from prover.solve.attempt import attempt
from prover.solve.attempt_environment import MAX_FATAL_STEPS, AttemptEnvironment, CostlyTactics
from prover.solve.executor import LocalExecutor
from prover.solve.policies import provers_named
from prover.solve.saved_searches import SavedSearches, pack, unpack

THEOREM = Theorem("t", "(p q : Prop) (h : p ∧ q) : q ∧ p")


class Recorded:
    """Lean, with a list of what was asked at the root."""

    def __init__(self, server: LeanServer) -> None:
        self.server = server
        self.at_root: list[str] = []
        self.root = ""

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        self.at_root += [t for t in tactics if state.key == self.root]
        return await self.server.step(state, tactics)

    async def free(self, states: Sequence[ProofState]) -> None:
        await self.server.free(states)


@pytest.mark.lean
def test_a_search_goes_on_where_it_ended() -> None:
    async def work() -> None:
        async with LeanServer() as server:
            env, provers = Recorded(server), provers_named("explorer", 0)
            root = await server.open(THEOREM)
            env.root = root.key
            first = await attempt(THEOREM, root, env, provers, 2, saved=b"")
            assert (first.outcome, first.lean_calls, len(env.at_root)) == ("budget", 2, 2)
            again = await server.open(THEOREM)  # of another process, as far as the search knows
            second = await attempt(THEOREM, again, env, provers, 60, saved=first.saved)
            assert second.outcome == "found" and second.lean_calls <= 60
            searched = env.at_root[: first.lean_calls + second.lean_calls]
            assert len(set(searched)) == len(searched), "no tactic is tried twice"
            other = await server.open(Theorem("u", ": 1 = 1"))
            anew = await attempt(THEOREM, other, env, provers, 60, saved=first.saved)
            assert anew.outcome == "found", "a search of another theorem is not continued"
            damaged = await attempt(THEOREM, again, env, provers, 60, saved=pack("explorer", b"nonsense"))
            assert damaged.outcome == "found"
            alone = await attempt(THEOREM, again, env, provers, 2)
            assert alone.outcome == "budget" and not alone.saved

    asyncio.run(work())


class Endless:
    """Every tactic leaves another goal, so that each search ends at its budget. Real Lean is not needed for that."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        self.asked += tactics
        return [StepResult("ok", (self._state(len(self.asked)),), ((0, 0),)) for _ in tactics]

    async def free(self, states: Sequence[ProofState]) -> None:
        pass

    @staticmethod
    def _state(number: int) -> ProofState:
        return ProofState(number, f"k{number}", (Goal(f"⊢ P{number}", (), f"P{number}"),))


@pytest.mark.parametrize("changed", [{}, {"selection": "breadth"}, {"seed": 7}])
def test_a_search_with_other_settings_begins_anew(changed: dict[str, Any]) -> None:
    async def work() -> None:
        (prover,) = provers_named("portfolio", 0)
        env, root = Endless(), ProofState(0, "k", (Goal("⊢ P", (), "P"),))
        first = await attempt(THEOREM, root, env, [prover], 2, saved=b"")
        assert (first.outcome, len(env.asked)) == ("budget", 2)
        other = replace(prover, config=replace(prover.config, **changed))
        await attempt(THEOREM, root, env, [other], 2, saved=first.saved)
        assert (env.asked[2] == env.asked[0]) == bool(changed)

    asyncio.run(work())


@pytest.mark.lean
def test_steps_of_searches_have_tight_limits() -> None:
    (prover,) = provers_named("portfolio", 0)
    (server,) = LocalExecutor([prover], 1).pool.servers
    assert server.limits == Limits(2 * SEARCH_HEARTBEATS, SEARCH_SECONDS)
    (server,) = LocalExecutor([prover, replace(prover, writer=object())], 1).pool.servers
    assert server.limits == Limits(), "a whole proof is one step"


@pytest.mark.parametrize("kept", [True, False])
def test_searches_are_kept_beside_the_results(kept: bool, tmp_path: Path) -> None:
    results = tmp_path / "r.jsonl" if kept else None
    searches = SavedSearches(results)
    assert searches.get("a/../b") == b""
    searches.put("a/../b", pack("explorer", b"bytes"))
    assert unpack(searches.get("a/../b")) == ("explorer", b"bytes")
    assert [p.name for p in tmp_path.iterdir()] == (["r.jsonl.searches"] if kept else [])
    assert (SavedSearches(results).get("a/../b") != b"") == kept
    searches.put("a/../b", b"")
    assert searches.get("a/../b") == b""
    assert unpack(b"garbage") == ("", b"")


def state(number: int, target: str) -> ProofState:
    return ProofState(number, f"key {number}", (Goal("", (), target),))


class Scripted:
    """An environment whose answers a test chooses, because real Lean does not reach its time limit on demand."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.freed: list[int] = []

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        self.asked += tactics
        said: dict[str, Any] = {
            "omega": StepResult("timeout", message="over 3 s"),
            "simp": StepResult("timeout", message="(deterministic) timeout at `whnf`"),
            "grind": StepResult("memory", message="over 6000 MB"),
        }
        return [next((r for word, r in said.items() if word in t.split()), StepResult("error")) for t in tactics]

    async def free(self, states: Sequence[ProofState]) -> None:
        self.freed += [s.id for s in states]


def test_costly_tactics_are_not_repeated() -> None:
    async def work() -> None:
        inner = Scripted()
        env = AttemptEnvironment(inner, state(0, "A"), CostlyTactics())
        (first,) = await env.step(state(0, "A"), ("omega",))
        (second,) = await env.step(state(1, "A"), ("intro h <;> omega",))
        assert first.message == "over 3 s" and second.status == "timeout" and "not tried" in second.message
        await env.step(state(1, "A"), ("rfl", "simp", "norm_num; simp"))
        assert inner.asked == ["omega", "rfl", "simp", "norm_num; simp"], "a limit of heartbeats is cheap"
        await env.step(state(2, "B"), ("omega",))
        assert inner.asked[-1] == "omega", "another target may be easier"
        for i in range(MAX_FATAL_STEPS + 2):
            await env.step(state(i, f"C{i}"), ("grind [f, g]" if i == 0 else "grind",))
        assert inner.asked.count("grind") == MAX_FATAL_STEPS - 1
        await env.step(state(0, "A"), ("exact k omega", "exact j omega"))
        assert inner.asked[-2:] == ["exact k omega", "exact j omega"], "another term is another tactic"
        await env.step(state(0, "D"), ("first | rfl | grind", "first | simp | grind", "grind"))
        assert inner.asked[-2:] == ["first | rfl | grind", "first | simp | grind"], (
            "another alternative may be the costly one"
        )
        await env.free([state(0, "A"), state(7, "A")])
        assert inner.freed == [7], "the root stays open"

    asyncio.run(work())
