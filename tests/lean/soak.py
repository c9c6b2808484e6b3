"""Many steps on one Lean process: does memory grow, how fast is it, what does the client add?

python -m tests.lean.soak [STEPS]     (50,000 unless told; `make soak`)
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time

from prover.lean.server import LeanServer, Limits
from prover.lean.theorem import Theorem

THEOREMS = [
    (
        "(p q r : Prop) (h : p ∧ q) (k : r) : (q ∧ p) ∧ r",
        ["constructor", "simp_all", "exact ⟨⟨h.2, h.1⟩, k⟩", "exact k"],
    ),
    ("(a b c : Nat) (h : a = b) (k : b = c) : a = c", ["rw [h]", "omega", "subst h", "exact h.trans k", "simp [h]"]),
    ("(n : Nat) : n + 0 = n", ["induction n", "simp", "rfl", "cases n", "exact foo", "decide"]),
    (": ∃ n : Nat, n > 3 ∧ n < 5", ["refine ⟨?n, ?_, ?_⟩", "exact ⟨4, by decide⟩", "constructor", "simp"]),
    ("(xs : List Nat) : xs ++ [] = xs", ["induction xs", "simp", "cases xs", "rfl"]),
]
BATCH = 16


async def soak(steps: int) -> None:
    async with LeanServer(limits=Limits(memory_mb=100_000)) as server:
        started = server.rss_mb()
        warm, warm_at = 0.0, steps // 20
        began = time.monotonic()
        for statement, tactics in itertools.cycle(THEOREMS):
            if server.counters.steps >= steps:
                break
            state = await server.open(Theorem("t", statement))
            for _ in range(20):
                batch = list(itertools.islice(itertools.cycle(tactics), BATCH))
                results = await server.step(state, batch)
                children = [s for r in results for s in r.states]
                if children:
                    deeper = await server.step(children[0], batch)
                    children += [s for r in deeper for s in r.states]
                await server.free(children)
            await server.free([state])
            if not warm and server.counters.steps >= warm_at:
                warm = server.rss_mb()
        seconds = time.monotonic() - began
        done, rss, counts = server.counters.steps, server.rss_mb(), server.counters
        print(f"steps            {done:,} in {seconds:.0f} s: {done / seconds:.0f} a second; {dict(counts.by_status)}")
        print(f"client over Lean {counts.busy_s / counts.lean_s:.3f} (time with something to do over time inside Lean)")
        print(
            f"resident memory  {started:.0f} MB at the start, {warm:.0f} after {warm_at:,} steps, {rss:.0f} at the end"
        )
        print(
            f"growth           {100 * (rss / warm - 1):.1f} % after the first {warm_at:,} steps; {counts.restarts} restarts"
        )
        print(f"handles left     {len(server.handles)}")


if __name__ == "__main__":
    asyncio.run(soak(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000))
