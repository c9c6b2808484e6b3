"""Requests and answers that are longer than the pipes between Lean and this process."""

from __future__ import annotations

import asyncio
import time

import pytest

from prover.lean.theorem import Theorem

pytestmark = pytest.mark.lean

T = Theorem("t", "(p q r : Prop) (h : p ∧ q) (k : r) : (q ∧ p) ∧ r")


def test_a_large_request_does_not_fill_the_pipe(loop, server):
    """Requests of every size around the pipe's and the buffers' sizes arrive whole."""
    state = loop.run(server.open(T))
    sizes = [1000, 4096, 8192, 65_000, 65_536, 65_537, 131_072, 200_000, 1_000_000]
    for size in sizes:
        for extra in range(0, 4):
            (result,) = loop.run(server.step(state, ["exact ⟨⟨h.2, h.1⟩, k⟩ --" + "x" * (size - 100 - extra)]))
            assert result.solved, size
    loop.run(server.free([state]))


def test_answers_wait_in_a_full_pipe(loop, server):
    """Nobody reads while Lean answers with megabytes: nothing is lost, torn, or out of order."""
    state = loop.run(server.open(T))

    async def go() -> list:
        steps = asyncio.create_task(
            server.step(state, [f'have x{i} : "{"y" * 200_000}" = "" ∨ p := Or.inr h.1' for i in range(16)])
        )
        await asyncio.sleep(0.2)
        time.sleep(3.0)  # blocks this loop, and with it the reader
        return await steps

    results = loop.run(go())
    assert len(results) == 16
    for i, result in enumerate(results):
        (left,) = result.states
        assert f"x{i} :" in left.text and len(left.text) > 200_000
    loop.run(server.free([state, *(s for r in results for s in r.states)]))


def test_every_length_of_a_line(loop, server):
    state = loop.run(server.open(T))
    results = loop.run(asyncio.wait_for(each(server, state), 200))
    assert all(r.solved for r in results)
    loop.run(server.free([state]))


async def each(server, state):
    out = []
    for n in range(1100):  # one message each: their lengths pass every multiple of a small buffer
        out += await server.step(state, ["exact ⟨⟨h.2, h.1⟩, k⟩ --" + "x" * n])
    return out
