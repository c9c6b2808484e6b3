"""Whole proofs as trajectories: sampled from a model, checked with one Lean call each, and retried with Lean's error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from prover.lean.theorem import ProofState, Theorem
from prover.models.base import Sampled
from prover.search import Environment
from prover.solve.whole_proof import prompt_values, proof_script, steps


class Draft(NamedTuple):
    """One sample of a model."""

    answer: str | None
    """The proof in the answer; None if it has none, or if it was cut off."""
    sampled: Sampled
    cut: bool = False
    """Whether it was cut off at the token limit."""


Call = Callable[[dict[str, Any], int], Awaitable[tuple[list[Draft], int]]]
"""(values of the template, number of samples) -> (the drafts, version of the weights)."""


class Writer:
    """A model that writes whole proofs."""

    def __init__(self, call: Call) -> None:
        self.version = 0
        """Version of the weights that gave the last answer."""
        self._call = call

    async def write(self, values: dict[str, Any], n: int) -> list[Draft]:
        """Returns `n` drafts. Exceptions of the model pass through."""
        drafts, self.version = await self._call(values, n)
        return drafts


async def whole_proofs(
    theorem: Theorem, root: ProofState, env: Environment, writer: Any, n: int, turns: int
) -> tuple[list[dict[str, Any]], int, int | None]:
    """`n` conversations about a theorem, each of at most `turns` proofs. `root` stays open. `writer`: has `write` as in Writer.

    Returns (rows as in prover.solve.job.Trace.rollouts with `size`, Lean calls, the number of the first call that proved it). A retry's
    prompt holds the failed proof and Lean's error, which are not the model's tokens and are not trained on.
    """
    checks: dict[str, asyncio.Task[tuple[str, str]]] = {}
    """Script -> its check, which may not have ended."""
    first: int | None = None

    async def judged(script: str, call: int) -> tuple[str, str]:
        nonlocal first
        (result,) = await env.step(root, (script,))
        await env.free(result.states)
        open_goals = "\n\n".join(s.text for s in result.states)
        ended = "proved" if result.solved else "crash" if result.status == "crash" else "error"
        if result.solved:
            first = min(call, first or call)
        return ended, result.message or f"it leaves goals unproved:\n{open_goals}"

    async def check(script: str) -> tuple[str, str]:
        """(`proved`, `error`, or `crash` if Lean could not judge it; Lean's error). Equal proofs are checked once."""
        if script not in checks:
            checks[script] = asyncio.ensure_future(judged(script, len(checks) + 1))
        return await checks[script]

    values = prompt_values(theorem, root)
    drafts = await writer.write(values, n)

    async def conversation(draft: Draft) -> dict[str, Any]:
        calls = [draft.sampled]
        for turn in range(turns):
            script = proof_script(draft.answer) if draft.answer else ""
            if not script:
                return _row(None, calls, "unfinished" if draft.cut else "malformed", 0)
            ended, error = await check(script)
            if ended == "proved":
                return _row(script, calls, ended, len(steps(script)))
            if ended == "crash":
                return _row(None, calls, ended, 0)
            if turn + 1 < turns:
                (draft,) = await writer.write({**values, "tried": script, "error": error}, 1)
                calls.append(draft.sampled)
        return _row(None, calls, "error", 0)

    rows = await asyncio.gather(*(conversation(d) for d in drafts))
    return list(rows), len(checks), first


def _row(script: str | None, calls: list[Sampled], ended: str, size: int) -> dict[str, Any]:
    return {
        "script": script,
        "decisions": [],
        "size": size,
        "calls": [(c.prompt, c.answer, c.logprobs) for c in calls],
        "ended": ended,
        "closed": float(script is not None),
    }
