"""Policy and Value: all that a search asks of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from prover.lean.theorem import ProofState


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A tactic that a policy proposes, with its natural log-probability under that policy."""

    tactic: str
    logprob: float
    source: str = ""
    """Which policy proposed it, for reports (`explorer`, `portfolio`, `model`)."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a model is asked about: a state, the premises offered for it, and how often it was asked before."""

    state: ProofState
    premises: tuple[str, ...] = ()
    """Full names of library constants that the tactic may use, best first."""
    attempt: int = 0
    """How many times this state was expanded already: a deterministic policy goes on where it stopped."""
    types: tuple[str, ...] = ()
    """What the premises say, for models that show it, where that is not what the library's index has under these names."""


class Policy(Protocol):
    """May also have `count_tokens(query, suggestions) -> int`, and so may a Value: see `count_tokens`."""

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        """Up to `n` distinct tactics for each query, best first. An empty list: nothing (more) to offer."""
        ...


@dataclass(frozen=True, slots=True)
class ValueEstimate:
    """A distribution over steps-to-go: `probs[i]` for a proof of i+1 more steps; the last bin is `that many or never`."""

    probs: tuple[float, ...]

    @property
    def steps(self) -> float:
        """Expected steps-to-go."""
        return sum((i + 1) * p for i, p in enumerate(self.probs))


class Value(Protocol):
    def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        """An estimate for each query."""
        ...


def count_tokens(model: Policy | Value, query: Query, suggestions: Sequence[Suggestion] = ()) -> int:
    """Tokens that a model read and wrote for these answers: as it counts them itself, else characters / 4."""
    count = getattr(model, "count_tokens", None)
    if count is not None:
        return count(query, suggestions)
    return estimate_tokens(query, suggestions)


def estimate_tokens(query: Query, suggestions: Sequence[Suggestion] = ()) -> int:
    """Tokens where nobody counts them: characters / 4."""
    return (len(query.state.text) + sum(len(s.tactic) for s in suggestions)) // 4
