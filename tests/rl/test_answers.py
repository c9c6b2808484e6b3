"""Shared answers: each question is asked once. A fake Lean counts what it is asked and what is freed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from prover.lean.theorem import ProofState, StepResult, Theorem
from rl.answers import Answers

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
        found: dict[str, Any] = {
            "closed": StepResult("crash", message="the server was closed"),
            "wrong": StepResult("error"),
        }
        return [
            found.get(t) or StepResult("ok", (ProofState(10 * state.id + len(self.asked), t, ()),)) for t in tactics
        ]

    async def free(self, states: Sequence[ProofState]) -> None:
        self.freed += [s.id for s in states]


def test_asked_once_and_freed_in_the_end() -> None:
    async def work() -> None:
        lean = Counting()
        shared = Answers(THEOREM, lean)
        root = await shared.root()
        one, other = await asyncio.gather(shared.step(root, ["a", "b"]), shared.step(root, ["b", "wrong"]))
        assert one[1] is other[0] and sorted(lean.asked) == ["a", "b", "wrong"]
        await shared.free([root, *one[0].states])
        assert (await shared.step(root, ["wrong", "a"]))[1] is one[0] and shared.asked == 3
        for _ in range(2):
            assert (await shared.step(root, ["closed"]))[0].status == "crash"
        assert lean.asked.count("closed") == 2 and lean.freed == []
        await shared.close()
        assert len(lean.freed) == 3 and lean.freed.count(root.id) == 1  # and the states after `a` and `b`

    asyncio.run(work())


def test_a_cancelled_waiter_leaves_the_answer_to_the_others() -> None:
    async def work() -> None:
        lean = Counting()
        given = ProofState(7, "not opened here", ())
        shared = Answers(THEOREM, lean, given)
        root = await shared.root()
        hasty = asyncio.create_task(shared.step(root, ["a"]))
        patient = asyncio.create_task(shared.step(root, ["a"]))
        await asyncio.sleep(0)
        hasty.cancel()
        assert (await patient)[0].ok and lean.asked == ["a"]
        await shared.close()
        assert given.id not in lean.freed and len(lean.freed) == 1

    asyncio.run(work())
