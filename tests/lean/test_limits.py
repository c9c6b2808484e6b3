"""Limits of a step and of a process on real Lean: wall clock and memory. A step over a limit answers so, and others go on."""

from __future__ import annotations

import asyncio

import pytest

from prover.lean.server import LeanServer, Limits
from prover.lean.theorem import ProofState, Theorem

pytestmark = pytest.mark.lean

T = Theorem("t", "(p q r : Prop) (h : p ∧ q) (k : r) : (q ∧ p) ∧ r")
CLOSES = "exact ⟨⟨h.2, h.1⟩, k⟩"

UNFOLDING = "have : (List.replicate 1000000000 0).length = 1000000000 := by decide +kernel"
"""The kernel unfolds for hours, and looks at the token as it does."""
ARITHMETIC = "have : 3 ^ 16000000 % 7 = 1 := by decide +kernel"
"""One multiplication of large numbers: Lean looks at nothing until it is done."""
PARSING = "exact " + "id (" * 20_000 + "k" + ")" * 20_000
"""The parser counts no heartbeats."""


async def around(server: LeanServer, state: ProofState, tactic: str) -> tuple[str, str]:
    """Status and message of a step between two others, which must succeed."""
    first, second, third = await server.step(state, [CLOSES, tactic, CLOSES])
    assert first.solved and third.solved
    return second.status, second.message


def test_a_slow_tactic_is_interrupted_and_the_process_lives(loop):
    async def go() -> None:
        async with LeanServer(limits=Limits(heartbeats=0, seconds=1.0)) as server:
            state = await server.open(T)
            (split,) = await server.step(state, ["constructor"])
            pid = server.pid
            for tactic in (
                UNFOLDING,
                f"first | {UNFOLDING} | {CLOSES}",
                f"try ({UNFOLDING})",
                f"all_goals {UNFOLDING}",
            ):
                assert await around(server, state, tactic) == ("timeout", "over 1000 ms"), tactic
            assert server.pid == pid and server.counters.restarts == 0
            assert (await server.step(split.states[1], ["exact k"]))[0].solved

    loop.run(go(), 120)


def test_the_time_of_one_step_is_not_held_against_the_next(loop):
    """The limit holds for each step, not for a batch or for the steps after an interrupted one."""

    async def go() -> None:
        async with LeanServer(limits=Limits(heartbeats=0, seconds=2.0)) as server:
            state = await server.open(T)
            some = "sleep 200"  # twenty of them take longer than one step may
            statuses = [r.status for r in await server.step(state, [some, UNFOLDING, *[some] * 20, UNFOLDING, some])]
            assert statuses == ["ok", "timeout", *["ok"] * 20, "timeout", "ok"]
            assert server.counters.restarts == 0
            again = await server.open(T)  # opening looks at the same token
            assert (await server.step(again, [CLOSES]))[0].solved

    loop.run(go(), 120)


@pytest.mark.parametrize("tactic", [ARITHMETIC, PARSING], ids=["arithmetic", "parsing"])
def test_an_uninterruptible_step_costs_the_process_and_no_state(loop, tactic):
    async def go() -> None:
        async with LeanServer(limits=Limits(heartbeats=0, seconds=3.0)) as server:
            state = await server.open(T)
            (split, _) = await server.step(
                state, ["constructor", ARITHMETIC.replace("16000000", "16").replace("= 1", "= 4")]
            )
            pid = server.pid
            # A busy machine may come to the parser's end of memory before the client comes to kill it.
            assert (await around(server, state, tactic))[0] in (
                ("timeout", "memory") if tactic == PARSING else ("timeout",)
            )
            assert server.pid != pid and server.counters.restarts == 1
            assert [
                (await server.step(s, [t]))[0].solved for s, t in zip(split.states, ["exact ⟨h.2, h.1⟩", "exact k"])
            ] == [True] * 2

    loop.run(go(), 120)


def test_a_step_that_takes_too_much_memory(loop):
    async def go() -> None:
        async with LeanServer(limits=Limits(heartbeats=0, seconds=2.0)) as plain:
            await plain.step(await plain.open(T), [UNFOLDING])
            room = int(plain.own_mb()) + 30
        async with LeanServer(limits=Limits(heartbeats=0, seconds=200.0, step_memory_mb=room)) as server:
            state = await server.open(T)
            status, message = await around(server, state, UNFOLDING)
            assert (status, message) == ("memory", f"over {room} MB")
            assert server.counters.restarts == 1

    loop.run(go(), 300)


def test_out_of_memory_is_reported_as_memory(loop):
    """Numbers of a billion bits and more, until the 32-bit memory of the embedded Lean is full, or native Lean takes too much."""
    hungry = (
        "have : (Nat.rec (motive := fun _ => Nat) 1 (fun _ x => x <<< 1000000000) 100) % 7 = 1 := by decide +kernel"
    )

    async def go() -> None:
        async with LeanServer(limits=Limits(heartbeats=0, seconds=200.0)) as server:
            state = await server.open(T)
            status, message = await around(server, state, hungry)
            # Two gigabytes may be more than a busy machine has left: its kernel then kills a process without a word.
            assert status == "memory" or (status == "crash" and "SIGKILL" in message), message

    loop.run(go(), 300)


def test_a_process_that_has_grown_is_replaced_between_steps(loop):
    async def go() -> None:
        async with LeanServer(limits=Limits(memory_mb=100)) as server:
            state = await server.open(T)
            (split,) = await server.step(state, ["constructor"])
            statuses = {r.status for _ in range(3) for r in await server.step(split.states[0], ["skip"] * 400)}
            assert statuses == {"ok"}  # nobody's step is lost to it
            while not server.counters.restarts:
                await asyncio.sleep(0.05)
            assert (await server.step(split.states[1], ["exact k"]))[0].solved

    loop.run(go(), 120)
