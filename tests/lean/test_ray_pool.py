"""LeanPool's interface over real Ray actors, and the effect of losing one."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import psutil
import pytest
import ray

from prover.lean.ray_pool import RayLeanPool
from prover.lean.server import LeanError
from prover.lean.theorem import Theorem

pytestmark = pytest.mark.lean

SWAP = Theorem("swap", "(p q : Prop) (h : p ∧ q) : q ∧ p")


@pytest.fixture(scope="module")
def cluster():
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


def test_the_interface_of_a_pool_and_the_loss_of_an_actor(cluster, loop):
    async def go() -> None:
        async with RayLeanPool(2, cpus_per_actor=0.5) as pool:
            with pytest.raises(LeanError):
                await pool.open(Theorem("bad", ": no such thing"))
            roots = await asyncio.gather(*(pool.open(SWAP) for _ in range(4)))
            assert len({root.id for root in roots}) == 4
            assert [place.open for place in pool.places] == [2, 2]
            results = await asyncio.gather(*(pool.step(root, ["constructor", "exact ⟨h.2, h.1⟩"]) for root in roots))
            children = []
            for split, closed in results:
                assert closed.solved and [s.text.split("⊢ ")[1] for s in split.states] == ["q", "p"]
                children.append(split.states)
            [(hole, state)] = await pool.load("theorem t : 1 = 1 := by sorry\n")
            assert hole["decl"] == "t" and (await pool.step(state, ["rfl"]))[0].solved

            ray.kill(pool.places[0].actor)
            after = await asyncio.gather(*(pool.step(left, ["exact h.2"]) for left, _ in children))
            assert sorted(r.status for [r] in after) == ["crash", "crash", "ok", "ok"]
            again = await asyncio.gather(*(pool.step(left, ["exact h.2", "exact h.1"]) for left, _ in children))
            assert [[r.status for r in pair] for pair in again] == [["ok", "error"]] * 4

            await pool.free([*roots, state, *(s for pair in children for s in pair)])
            assert [place.open for place in pool.places] == [0, 0] and not pool.handles
            assert (await pool.step(roots[0], ["rfl"]))[0].message == "the state was freed"

    loop.run(go(), 400)


@pytest.mark.slow
def test_no_answer_is_lost_or_doubled_under_kills(cluster, loop):
    """Lean processes and whole actors are killed while six users work: each step has one answer, right or `crash`."""
    rng = random.Random(5)

    async def user(pool: RayLeanPool, root, counts: Counter[str]) -> None:
        for _ in range(12):
            (split, wrong) = await pool.step(root, ["constructor", "exact foo"])
            assert split.status in ("ok", "crash") and wrong.status in ("error", "crash")
            counts.update([split.status, wrong.status])
            if not split.ok:
                continue
            ids = [s.id for s in split.states]
            assert len(set(ids)) == 2
            results = await asyncio.gather(*(pool.step(s, ["exact h.2", "exact h.1"]) for s in split.states))
            for pair, good in zip(results, [["ok", "error"], ["error", "ok"]], strict=True):
                assert [r.status in (g, "crash") for r, g in zip(pair, good, strict=True)] == [True, True]
                counts.update(r.status for r in pair)
            await pool.free(split.states)

    async def killer(pool: RayLeanPool, counts: Counter[str], killed: list[str]) -> None:
        for what in ["lean", "lean", "actor", "lean", "actor"]:
            answered = counts.total()
            while counts.total() < answered + 40:  # what is killed whenever it starts answers nobody
                await asyncio.sleep(0.02)
            if what == "actor":
                ray.kill(rng.choice(pool.places).actor)
            else:
                for process in psutil.Process().children(recursive=True):
                    if "Server.lean" in " ".join(process.cmdline()):
                        process.kill()
            killed.append(what)

    async def go() -> None:
        async with RayLeanPool(2, cpus_per_actor=0.5) as pool:
            roots = await asyncio.gather(*(pool.open(SWAP) for _ in range(6)))
            counts: Counter[str] = Counter()
            killed: list[str] = []
            killing = asyncio.create_task(killer(pool, counts, killed))
            while not killing.done():
                await asyncio.gather(*(user(pool, root, counts) for root in roots))
            await killing
            for root in roots:
                await pool.step(root, ["skip"])  # the last kill may be noticed only now
                assert (await pool.step(root, ["exact ⟨h.2, h.1⟩"]))[0].solved
            # Of each of two Lean processes one step is lost; of an actor, what six users had with it at the time.
            assert counts["crash"] <= 2 * killed.count("lean") + 6 * 4 * killed.count("actor")
            assert counts["ok"] + counts["error"] > counts["crash"]
            await pool.free([*roots])
            assert [place.open for place in pool.places] == [0, 0]
            print(dict(counts), Counter(killed))

    loop.run(go(), 400)
