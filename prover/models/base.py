"""The interface between search and models: Policy and Value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from prover.lean.theorem import ProofState


@dataclass(frozen=True, slots=True)
class Sampled:
    """The tokens of one model call as the engine read and sampled them."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    """With the end token or the stop string."""
    logprobs: tuple[float, ...]
    """Natural log-probability of each answer token under the model that sampled it, at temperature 1."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A tactic proposed by a policy, with its natural log-probability under that policy."""

    tactic: str
    """Empty: a single sample that contains no tactic, or that was cut off."""
    logprob: float
    source: str = ""
    """Name of the policy, for reports (`explorer`, `portfolio`, `model`)."""
    sampled: Sampled | None = None
    """Its tokens, if the policy samples tokens and one suggestion was requested."""
    cut: bool = False
    """Whether a single sample was cut off at the token limit."""


@dataclass(frozen=True, slots=True)
class Query:
    """Input of a model: a state, its premises, and the number of earlier queries about it."""

    state: ProofState
    premises: tuple[str, ...] = ()
    """Full names of library constants that the tactic may use, best first."""
    attempt: int = 0
    """Number of earlier expansions of this state: a deterministic policy continues its list."""
    types: tuple[str, ...] = ()
    """Types of the premises, for prompts that show them; empty: those in the library's index."""
    towards: str = ""
    """The goal that the tactics should lead to (infilling), as `Goal.text`; empty: to a proof."""


def valid_text(text: str) -> str:
    """The text with `?` for each lone half of a surrogate pair, which JSON allows and UTF-8 does not."""
    return text if text.isascii() else text.encode(errors="replace").decode()


class Policy(Protocol):
    """Proposes tactics. A Policy or Value may also have `count_tokens(query, suggestions) -> int`; see `count_tokens`."""

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        """Up to `n` distinct tactics for each query, best first. An empty list: no further suggestions."""
        ...


@dataclass(frozen=True, slots=True)
class ValueEstimate:
    """A distribution over steps-to-go: `probs[i]` for i+1 more steps. The last bin stands for `not provable`."""

    probs: tuple[float, ...]

    def value(self, discount: float) -> float:
        """The expected discount ** steps in [0, 1], which is 0 for `not provable`."""
        return sum(p * discount ** (i + 1) for i, p in enumerate(self.probs[:-1]))


class Value(Protocol):
    def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        """An estimate for each query."""
        ...


def count_tokens(model: Policy | Value, query: Query, suggestions: Sequence[Suggestion] = ()) -> int:
    """Tokens read and written for these answers, by the model's own `count_tokens` or else by `estimate_tokens`."""
    return getattr(model, "count_tokens", estimate_tokens)(query, suggestions)


def estimate_tokens(query: Query, suggestions: Sequence[Suggestion] = ()) -> int:
    """An estimate of the number of tokens: characters / 4."""
    return (len(query.state.text) + sum(len(s.tactic) for s in suggestions)) // 4


def softmax(row: Sequence[float]) -> tuple[float, ...]:
    top = max(row)
    weights = [math.exp(x - top) for x in row]
    total = sum(weights)
    return tuple(w / total for w in weights)
