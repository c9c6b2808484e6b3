"""Processes that are killed, stopped or send garbage: every step gets exactly one answer, and states are replayed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from prover.errors import UserError
from prover.lean.pool import LeanPool
from prover.lean.process import LeanProcess
from prover.lean.runtime import LeanRuntime, find_runtime
from prover.lean.sandbox.seal import Seal
from prover.lean.server import LeanDied, LeanServer, Limits
from prover.lean.theorem import Theorem

FAKE = Path(__file__).with_name("fake_lean.py")
T = Theorem("t", "(p q r : Prop) (h : p ∧ q) (k : r) : (q ∧ p) ∧ r")


def fake(**env: str) -> LeanRuntime:
    seal = Seal().writing("/")  # `once DIR` makes a file
    return LeanRuntime("native", "fake", (sys.executable, "-u", str(FAKE)), env, seal)


def fake_server(seconds: float = 60.0, **env: str) -> LeanServer:
    return LeanServer(fake(**env), Limits(seconds=seconds, open_seconds=60.0))


# -- a fake Lean, for what the real one does not do on demand: see fake_lean.py ---------------------------------------------


@pytest.mark.parametrize(
    "tactic, status",
    [
        ("go", "ok"),
        ("solve", "ok"),
        ("fail", "error"),
        ("noise", "ok"),
        ("wrong-nonce", "ok"),
        ("flood", "ok"),
        ("twice", "ok"),
        ("stranger", "ok"),
        ("late", "ok"),
        ("die", "crash"),
        ("half", "crash"),
        ("torn", "crash"),
        ("hang", "timeout"),
        ("deaf", "timeout"),
        ("mute", "crash"),
    ],
)
@pytest.mark.parametrize("place", [0, 3, 39])
def test_one_bad_step_among_good_ones(loop, tactic, status, place):
    """A fault affects its own step only; all others are answered once and in order."""

    async def go() -> None:
        async with fake_server(2.0 if status == "timeout" else 60.0) as server:
            state = await server.open(T)
            tactics = [f"go {i}" for i in range(40)]
            tactics[place] = tactic
            results = await server.step(state, tactics)
            if tactic == "late":  # nobody can tell whether Lean had begun with the next one
                assert [r.status for r in results].count("crash") <= 1
                return
            assert [r.status for r in results] == ["ok"] * place + [status] + ["ok"] * (39 - place)
            assert len({s.id for r in results for s in r.states}) == sum(len(r.states) for r in results)
            assert "forged" not in "".join(r.message for r in results)
            after = await server.step(results[-1 if place < 39 else 0].states[0], ["go", "solve"])
            assert [r.status for r in after] == ["ok", "ok"]
            assert len(server.queue) == 0

    loop.run(go())


def test_a_death_during_the_replay_is_not_the_step(loop, tmp_path):
    """When the process dies during a replay, the state is replayed again."""

    async def go() -> None:
        async with fake_server() as server:
            state = await server.open(T)
            (one,) = await server.step(state, [f"once {tmp_path}/a"])
            assert one.status == "crash"
            (one,) = await server.step(state, [f"once {tmp_path}/a"])
            (two,) = await server.step(one.states[0], ["go"])
            os.remove(tmp_path / "a")  # the replay of `once` will die too, the first time
            assert server.pid
            os.kill(server.pid, signal.SIGKILL)
            await asyncio.sleep(0.2)
            others = server.step(state, [f"go {i}" for i in range(50)])
            mine = server.step(two.states[0], ["go", "solve"])
            answers = await asyncio.gather(others, mine)
            assert [r.status for r in answers[1]] == ["ok", "ok"]
            assert {r.status for r in answers[0]} == {"ok"}

    loop.run(go())


def test_a_state_that_cannot_come_back(loop):
    """A state that kills the process at every replay is given up; other steps continue."""

    async def go() -> None:
        async with fake_server() as server:
            state = await server.open(T)
            (one,) = await server.step(state, ["go"])
            server.handles[one.states[0].id].origin.tactic = "die"
            await server.restart()
            lost, kept = await asyncio.gather(server.step(one.states[0], ["go"] * 3), server.step(state, ["go"] * 3))
            assert [r.status for r in lost] == ["crash"] * 3
            assert [r.status for r in kept] == ["ok"] * 3

    loop.run(go())


def test_commands_survive_the_death_of_a_step(loop):
    async def go() -> None:
        async with fake_server() as server:
            state = await server.open(T)
            results = await asyncio.gather(
                server.step(state, ["go", "die", "go"]), *(server.open(T) for _ in range(10))
            )
            assert [r.status for r in results[0]] == ["ok", "crash", "ok"]
            assert len({s.id for s in results[1:]}) == 10

    loop.run(go())


def test_cancelled_steps_leave_nothing(loop):
    async def go() -> None:
        async with fake_server(seconds=2.0) as server:
            state = await server.open(T)
            known = len(server.handles)
            for _ in range(5):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(server.step(state, ["go", "hang", *["go"] * 60]), 0.3)
            (after,) = await server.step(state, ["go"])
            assert after.ok
            await server.free(after.states)
            assert len(server.handles) == known

    loop.run(go())


@pytest.mark.parametrize("moment", ["before the answer", "after the answer"])
def test_a_cancelled_open_frees_its_states(loop, monkeypatch, moment):
    """The fake opens one state of theorem 0, with the number 1."""

    async def go() -> None:
        async with fake_server() as server:
            sent: list[dict] = []
            write = LeanProcess.write
            monkeypatch.setattr(LeanProcess, "write", lambda self, m: (sent.append(m), write(self, m)))
            opening = asyncio.create_task(server.open(T))
            while not any(m["cmd"] == "load" for m in sent):
                await asyncio.sleep(0)
            if moment == "after the answer":
                while server.queue.sent:
                    await asyncio.sleep(0)
            opening.cancel()
            with suppress(asyncio.CancelledError):
                await opening
            while not (freed := [m for m in sent if m["cmd"] == "free"]):
                await asyncio.sleep(0.01)
            assert [(m["states"], m["thms"]) for m in freed] == [([1], [0])]
            assert len(server.handles) == 0

    loop.run(go())


def test_memory_of_a_wrapped_process_is_that_of_its_tree(loop):
    """A shell stands for bubblewrap: the process that was started has little memory, and its child has more."""
    script = f'{sys.executable} -c "x = bytearray(300 << 20); exec(open({str(FAKE)!r}).read())"; true'

    async def go() -> None:
        runtime = LeanRuntime("native", "fake", ("/bin/sh", "-c", script), {}, Seal().without_layers("system calls"))
        async with LeanServer(runtime) as server:
            assert server.own_mb() > 300

    loop.run(go())


def test_a_process_that_cannot_start(loop):
    async def go() -> None:
        with pytest.raises(UserError, match="no library here"):
            await fake_server(FAKE_START="dead").start()
        with pytest.raises(UserError, match="did not start"):
            await LeanServer(LeanRuntime("native", "fake", ("/no/such/lean",))).start()

    loop.run(go())


@pytest.mark.lean
def test_a_cancelled_start_leaves_no_process(loop):
    async def go() -> None:
        process = LeanProcess(find_runtime())
        start = asyncio.create_task(process.start(60.0))
        while process.pid is None:
            await asyncio.sleep(0.01)
        pid = process.pid
        start.cancel()
        with suppress(asyncio.CancelledError):
            await start
        assert process.pid is None and not Path(f"/proc/{pid}").exists()

    loop.run(go())


def test_a_process_that_cannot_be_started_again(loop):
    """Waiting and later requests are answered: nothing hangs."""

    async def go() -> None:
        server = fake_server()
        await server.start()
        state = await server.open(T)
        server.runtime = LeanRuntime("native", "fake", ("/no/such/lean",))
        results = await server.step(state, ["go", "die", "go"])
        assert [r.status for r in results] == ["ok", "crash", "crash"]
        assert [r.status for r in await server.step(state, ["go"])] == ["crash"]
        with pytest.raises(LeanDied):
            await server.open(T)
        await server.free([state])
        await server.close()

    loop.run(go())


def test_random_faults(loop):
    """Two thousand steps with random faults, sent by ten users at once."""
    rng = random.Random(7)
    faults = ["noise", "wrong-nonce", "twice", "stranger", "die", "half", "torn", "late", "mute"]

    async def user(server: LeanServer, counts: Counter[str]) -> None:
        state = await server.open(T)
        for _ in range(25):
            tactics = ["go" if rng.random() < 0.97 else rng.choice(faults) for _ in range(8)]
            results = await server.step(state, tactics)
            assert len(results) == 8
            counts.update(r.status for r in results)
            pairs = list(zip(tactics, results, strict=True))
            # What kills Lean when it is replayed is no state to go on from.
            await server.free([s for t, r in pairs if t != "go" for s in r.states])
            fresh = [s for t, r in pairs if t == "go" for s in r.states]
            if fresh:
                await server.free([state])
                state = rng.choice(fresh)
                await server.free([s for s in fresh if s is not state])

    async def go() -> None:
        async with fake_server() as server:
            counts: Counter[str] = Counter()
            await asyncio.gather(*(user(server, counts) for _ in range(10)))
            assert sum(counts.values()) == 2000
            assert counts["crash"] <= server.counters.restarts  # a death costs at most one answer
            assert counts["ok"] > 1800

    loop.run(go(), 250)


# -- real Lean ------------------------------------------------------------------------------------------------------------


@pytest.mark.lean
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
@pytest.mark.parametrize("when", ["before", "in flight", "after"])
def test_signals_at_each_point_of_a_step(loop, how, when):
    async def go() -> None:
        async with LeanServer(limits=Limits(seconds=4.0 if how == signal.SIGSTOP else 60.0)) as server:
            state = await server.open(T)
            (first,) = await server.step(state, ["constructor"])
            left = first.states[0]
            assert server.pid
            if when == "before":
                os.kill(server.pid, how)
            steps = asyncio.create_task(server.step(left, ["simp_all", "constructor", "exact ⟨h.2, h.1⟩", "exact k"]))
            if when == "in flight":
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                os.kill(server.pid, how)
            results = await steps
            if when == "after":
                os.kill(server.pid, how)
            good = ["ok", "ok", "ok", "error"]
            assert sum(r.status != g for r, g in zip(results, good, strict=True)) <= (when != "after")
            again = await server.step(left, ["exact ⟨h.2, h.1⟩", "exact k", "constructor"])
            assert sum(r.status != g for r, g in zip(again, ["ok", "error", "ok"], strict=True)) <= (when == "after")
            third = await server.step(left, ["exact ⟨h.2, h.1⟩", "exact k"])
            assert [r.status for r in third] == ["ok", "error"]
            assert third[0].solved

    loop.run(go(), 120)


@pytest.mark.lean
def test_many_steps_under_random_kills(loop):
    rng = random.Random(3)

    async def killer(server: LeanServer, stop: asyncio.Event) -> int:
        kills = 0
        while not stop.is_set():
            # Let it answer something in between: a process that is killed whenever it starts cannot answer anybody.
            steps = server.counters.steps
            while server.counters.steps < steps + 15 and not stop.is_set():
                await asyncio.sleep(0.02)
            await asyncio.sleep(rng.uniform(0.0, 0.1))
            for _ in range(rng.choice([1, 1, 2])):  # sometimes the next one too, while it starts or replays
                if server.pid:
                    with suppress(ProcessLookupError):  # it ended just now, and the server has yet to see it
                        os.kill(server.pid, signal.SIGKILL)
                        kills += 1
                await asyncio.sleep(rng.uniform(0.1, 1.0))
        return kills

    async def user(server: LeanServer, state) -> Counter[str]:
        counts: Counter[str] = Counter()
        for _ in range(8):
            (split,) = await server.step(state, ["constructor"])
            counts[split.status] += 1
            if not split.ok:
                continue
            results = await server.step(split.states[0], ["constructor", "exact ⟨h.2, h.1⟩", "exact k"])
            for result, good in zip(results, ["ok", "ok", "error"], strict=True):
                assert result.status in (good, "crash")
                counts[result.status] += 1
            (right,) = await server.step(split.states[1], ["exact k"])
            assert right.solved or right.status == "crash"
            counts[right.status] += 1
            await server.free([*split.states, *(s for r in results for s in r.states)])
        return counts

    async def go() -> None:
        async with LeanServer(limits=Limits(seconds=60.0)) as server:
            state = await server.open(T)
            stop = asyncio.Event()
            killing = asyncio.create_task(killer(server, stop))
            counts = sum(await asyncio.gather(*(user(server, state) for _ in range(6))), Counter())
            stop.set()
            kills = await killing
            assert kills >= 1
            assert counts["crash"] <= kills  # a kill costs at most one answer
            assert counts["ok"] + counts["error"] > 100
            assert len(server.handles) == 1

    loop.run(go(), 240)


@pytest.mark.lean
def test_a_pool_works_on_while_one_is_replaced(loop):
    async def go() -> None:
        async with LeanPool(2, limits=Limits(seconds=60.0)) as pool:
            states = [await pool.open(T) for _ in range(4)]
            homes = [next(server for server in pool.servers if server.handles.get(s.id)) for s in states]
            assert Counter(map(id, homes)).most_common(1)[0][1] == 2  # spread evenly
            victim, other = homes[0], next(h for h in homes if h is not homes[0])
            assert victim.pid
            os.kill(victim.pid, signal.SIGKILL)
            alive = other.pid
            theirs = [s for s, h in zip(states, homes, strict=True) if h is other]
            ours = [s for s, h in zip(states, homes, strict=True) if h is victim]
            jobs = [pool.step(s, ["constructor", "exact k"]) for s in [*theirs, *ours]]
            results = await asyncio.gather(*jobs)
            assert other.pid == alive and other.counters.restarts == 0 and victim.counters.restarts == 1
            assert sum(r.status == "crash" for rs in results for r in rs) <= 1
            assert all(r.status in ("ok", "error") for rs in results[:2] for r in rs)
            for state in states:
                assert (await pool.step(state, ["exact ⟨⟨h.2, h.1⟩, k⟩"]))[0].solved
            await pool.free([*states, *(s for rs in results for r in rs for s in r.states)])
            (gone,) = await pool.step(states[0], ["skip"])
            assert gone.status == "error"
            assert all(len(server.handles) == 0 for server in pool.servers)

    loop.run(go(), 200)
