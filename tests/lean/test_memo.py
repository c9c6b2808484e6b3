"""Shared answers: each question is asked once. A fake Lean produces timeouts and deaths on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from prover.lean.answer_cache import SharedAnswers
from prover.lean.theorem import ProofState, StepResult, Theorem

THEOREM = Theorem("t", ": 1 = 1")


class Counting:
    """Answers after a moment; counts what it is asked, and what is freed."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.freed: list[int] = []

    async def open(self, theorem: Theorem) -> ProofState:
        return ProofState(0, theorem.name, ())

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        self.asked += tactics
        await asyncio.sleep(0.01)
        found: dict[str, Any] = {"slow": StepResult("timeout"), "wrong": StepResult("error")}
        return [
            found.get(t) or StepResult("ok", (ProofState(10 * state.id + len(self.asked), t, ()),)) for t in tactics
        ]

    async def free(self, states: Sequence[ProofState]) -> None:
        self.freed += [s.id for s in states]


def test_asked_once_and_freed_in_the_end() -> None:
    async def work() -> None:
        lean = Counting()
        shared = SharedAnswers(lean, again=("timeout",))
        root = await shared.open(THEOREM)
        one, other = await asyncio.gather(shared.step(root, ["a", "b"]), shared.step(root, ["b", "wrong"]))
        assert one[1] is other[0] and sorted(lean.asked) == ["a", "b", "wrong"]
        await shared.free([root, *one[0].states])
        assert (await shared.step(root, ["wrong", "a"]))[1] is one[0] and shared.lean_calls == 3
        for _ in range(2):
            assert (await shared.step(root, ["slow"]))[0].status == "timeout"
        assert lean.asked.count("slow") == 2 and lean.freed == []
        await shared.close()
        assert sorted(lean.freed) == sorted([root.id, *(s.id for r in one for s in r.states)])

    asyncio.run(work())


def test_a_cancelled_waiter_leaves_the_answer_to_the_others() -> None:
    async def work() -> None:
        lean = Counting()
        shared = SharedAnswers(lean)
        root = ProofState(0, "not opened here", ())
        hasty = asyncio.create_task(shared.step(root, ["a"]))
        patient = asyncio.create_task(shared.step(root, ["a"]))
        await asyncio.sleep(0)
        hasty.cancel()
        assert (await patient)[0].ok and lean.asked == ["a"]
        await shared.close()
        assert root.id not in lean.freed and len(lean.freed) == 1

    asyncio.run(work())
