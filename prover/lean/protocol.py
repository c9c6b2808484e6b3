"""Messages on the pipe to the proof server.

A request is a JSON object with an `id`, on one line. An answer is one line after the process's secret prefix: `{"q": request,
"s": status, …}` for each step when it is done, then `{"id": id, …}` for the command.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import msgspec

from prover.lean.theorem import Goal, HypothesisKind, ProofState, StepResult


class GoalMessage(msgspec.Struct):
    t: str
    """Text."""
    r: tuple[str, ...] = ()
    """Names given to unnamed hypotheses, as `rename_i` does."""
    c: tuple[str, ...] = ()
    """Constants."""
    k: tuple[HypothesisKind, ...] = ()


class StateMessage(msgspec.Struct):
    id: int
    key: str
    goals: list[GoalMessage]


class Answer(msgspec.Struct):
    """Any answer. Only the fields of its kind are set, and its text may have more."""

    id: int | None = None
    q: int | None = None
    s: str = ""
    m: str = ""
    us: int = 0
    states: list[StateMessage] = []
    order: tuple[tuple[int, int], ...] = ()
    said: tuple[str, ...] = ()
    ready: str | None = None
    error: str | None = None
    at: int | None = None
    """Number of the part that the command has reached."""


decode = msgspec.json.Decoder(Answer).decode


def encode(message: dict[str, Any]) -> bytes:
    # ASCII only: no line separator of Unicode can end the line.
    return json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


_CONTINUED = re.compile(r" *\n +")


@functools.lru_cache(maxsize=4096)
def split_hypotheses(text: str) -> tuple[tuple[tuple[str, str], ...], str]:
    """(name, type) of each hypothesis in a printed goal, and its target. Cached, because a search sees the same text often."""
    before, _, after = f"\n{text}".partition("\n⊢")
    hypotheses: list[tuple[str, str]] = []
    for line in _CONTINUED.sub(" ", before).split("\n"):
        names, colon, type_ = line.partition(" : ")
        if colon and not line.startswith("case "):
            hypotheses += [(name, type_.partition(" := ")[0].strip()) for name in names.split()]
    return tuple(hypotheses), " ".join(part.strip() for part in after.split("\n"))


def goal(message: GoalMessage) -> Goal:
    return Goal(message.t, *split_hypotheses(message.t), message.c, message.r, message.k)


def step_result(answer: Answer, states: tuple[ProofState, ...]) -> StepResult:
    status = answer.s if answer.s in ("ok", "timeout", "memory") else "error"
    return StepResult(status, states, answer.order, answer.m, answer.us / 1e6, answer.said)  # type: ignore[arg-type]
