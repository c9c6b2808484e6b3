"""Search-free rollouts: attempts sampled from the policy tactic by tactic, for policy gradients and pass@k.

The rollouts of a group share Lean's answers: each tactic runs once per state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prover.lean.theorem import ProofNode, ProofState, Theorem, renamed_in
from prover.models.base import Query, Sampled
from rl.answers import Answers


@dataclass(frozen=True)
class Decision:
    """A tactic sampled in a state."""

    state: str
    premises: tuple[str, ...]
    tactic: str
    logprob: float
    """Natural log-probability of the whole tactic under the sampling policy."""
    sampled: Sampled | None = None
    """Its tokens, if the policy reports them."""


@dataclass(frozen=True)
class Rollout:
    """One sampled attempt."""

    decisions: tuple[Decision, ...]
    steps: tuple[int | None, ...]
    """For each decision's state: the number of tactics that proved it; None if it stayed open."""
    proof: ProofNode | None
    """Not audited."""
    ended: str
    """`proved`, `error` (a tactic failed), `crash` (Lean could not judge a tactic), `length` (too many tactics), `unfinished` (an answer
    was cut off), `malformed` (an answer has no tactic) or `silent` (the policy suggested nothing)."""
    closed: float
    """Share of the visited goals that were closed."""


async def rollouts(
    theorem: Theorem,
    root: ProofState,
    environment: Any,
    policy: Any,
    premises: Callable[[ProofState], Sequence[str]],
    n: int,
    max_tactics: int = 12,
    first: int = 1,
) -> tuple[list[Rollout], int]:
    """`n` independent rollouts from `root`, the theorem's state, which stays open, and their total number of Lean calls.

    `environment` has `step` and `free` as in LeanPool. `policy.suggest`, a coroutine or a plain function, must sample one tactic
    for a query with `attempt` > 0, independently for each `attempt`. Rollout i uses `attempt = first + i`, so equal numbers and
    weights give equal rollouts. A rollout works on the first open goal and ends at the first tactic that fails.
    """
    answers = Answers(theorem, environment, root)
    try:
        found = await asyncio.gather(*(_one(answers, policy, premises, max_tactics, first + i) for i in range(n)))
    finally:
        await answers.close()
    return list(found), answers.asked


async def _one(
    answers: Answers, policy: Any, premises: Callable[[ProofState], Sequence[str]], max_tactics: int, attempt: int
) -> Rollout:
    decisions: list[Decision] = []
    steps: list[int | None] = []
    met, closed = 1, 0
    ended = "proved"

    async def prove(state: ProofState) -> ProofNode | None:
        nonlocal met, closed, ended
        if len(decisions) >= max_tactics:
            ended = "length"
            return None
        offered = tuple(premises(state))
        answer = policy.suggest([Query(state, offered, attempt=attempt)], 1)
        suggestions = (await answer if asyncio.iscoroutine(answer) else answer)[0]
        if not suggestions:
            ended = "silent"
            return None
        drawn = suggestions[0]
        at = len(decisions)
        steps.append(None)
        decisions.append(Decision(state.text, offered, drawn.tactic, drawn.logprob, drawn.sampled))
        if not drawn.tactic:
            ended = "unfinished" if drawn.cut else "malformed"
            return None
        (result,) = await answers.step(state, (drawn.tactic,))
        if not result.ok:
            ended = "crash" if result.status == "crash" else "error"
            return None
        met += len(result.states)
        children = []
        for child in result.states:
            node = await prove(child)
            if node is None:
                return None
            children.append(node)
        closed += 1
        steps[at] = len(decisions) - at  # its tactics and those below it, depth first
        return ProofNode(drawn.tactic, tuple(children), result.order, len(state.goals), renamed_in(state))

    proof = await prove(await answers.root())
    return Rollout(tuple(decisions), tuple(steps), proof, ended, closed / met)
