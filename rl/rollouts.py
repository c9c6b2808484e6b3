"""Search-free rollouts: whole attempts sampled from the policy, tactic by tactic, for policy gradients and for pass@k.

The rollouts of a group share the answers that Lean gave: the same tactic in the same state is asked once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prover.lean.answer_cache import SharedAnswers
from prover.lean.theorem import ProofNode, ProofState, renamed_in
from prover.models.base import Query


@dataclass(frozen=True)
class Decision:
    """A tactic that the policy drew in a state."""

    state: str
    premises: tuple[str, ...]
    tactic: str
    logprob: float
    """Of the whole tactic under the policy that drew it, natural."""


@dataclass(frozen=True)
class Rollout:
    """One sampled attempt."""

    decisions: tuple[Decision, ...]
    proof: ProofNode | None
    """Not audited."""
    ended: str
    """`proved`, `error` (Lean refused a tactic), `length` or `silent` (the policy offered nothing)."""
    closed: float
    """Share of the goals worked on that were closed."""


async def rollouts(
    root: ProofState,
    environment: Any,
    policy: Any,
    premises: Callable[[ProofState], Sequence[str]],
    n: int,
    max_tactics: int = 12,
    first: int = 1,
) -> tuple[list[Rollout], int]:
    """`n` independent rollouts from `root`, which stays open; and the Lean calls they took together.

    `environment`: `step` and `free` as LeanPool's. `policy`: `suggest`, a coroutine or not, which must draw one tactic for a query
    with `attempt` > 0, another one for another `attempt`. The rollouts ask as attempts `first`, `first` + 1 …: from the same
    numbers and weights come the same rollouts. A rollout works on one goal after another, first goal first, and ends at the
    first tactic that Lean refuses.
    """
    shared = SharedAnswers(environment)
    try:
        found = await asyncio.gather(*(_one(root, shared, policy, premises, max_tactics, first + i) for i in range(n)))
    finally:
        await shared.close()
    return list(found), shared.lean_calls


async def _one(
    root: ProofState,
    shared: SharedAnswers,
    policy: Any,
    premises: Callable[[ProofState], Sequence[str]],
    max_tactics: int,
    attempt: int,
) -> Rollout:
    decisions: list[Decision] = []
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
        decisions.append(Decision(state.text, offered, drawn.tactic, drawn.logprob))
        (result,) = await shared.step(state, (drawn.tactic,))
        if not result.ok:
            ended = "error"
            return None
        met += len(result.states)
        children = []
        for child in result.states:
            node = await prove(child)
            if node is None:
                return None
            children.append(node)
        closed += 1
        return ProofNode(drawn.tactic, tuple(children), result.order, len(state.goals), renamed_in(state))

    proof = await prove(root)
    return Rollout(tuple(decisions), proof, ended, closed / met)
