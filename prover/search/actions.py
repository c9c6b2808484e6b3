"""Restricts the scripts sent to Lean to a set of moves, whether they come from a policy, a library search or a check of a proof.

A script is parsed without Lean. Every step must begin with a word of the set, also after `<;>`, in brackets, after a bullet and in
the alternatives of `cases … with`. Terms may contain anything but `by`, which would begin another script. A script that cannot be
parsed with certainty is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from prover.lean.brackets import closing
from prover.lean.theorem import ProofState, StepResult
from prover.models.elementary import Actions

_ELEMENTARY = """
apply assumption by_cases case cases change clear congr constructor contradiction delta done exact exfalso exists
focus funext generalize have induction injection intro intros left let next nofun nomatch obtain rcases refine
rename_i revert rfl right rintro rotate_left rotate_right rw rwa show skip specialize split subst suffices symm unfold
"""
ELEMENTARY = frozenset(_ELEMENTARY.split())
"""The words that may begin a step: tactics for the steps that a textbook proof writes out."""

_HEAD = re.compile(r"[^\W\d][\w'.!?]*")
_OPEN, _CLOSE = "([{⟨⟦‹", ")]}⟩⟧›"
_UNREADABLE = re.compile(
    r'["«`]|--|/-|(?<!\w)(?:decreasing_by|termination_by|by_elab|run_tac|set_option)(?!\w)|\blet\s+rec\b'
)
"""Text whose end or meaning depends on more than brackets, and words that begin a script within a term."""
_BY = re.compile(r"by(?![\w'!?])")
_IDENTIFIER_BEFORE = re.compile(r"(?<![^\s()\[\]{}⟨⟩,.:=←⊢])[A-Za-z_][A-Za-z0-9_']*\Z")
_SEPARATOR = re.compile(r"<;>|;|\n")
_PIPES = re.compile(r"<\||\|>|\|\|")
_WITH = re.compile(r"(?<!\w)with(?!\w)")
_PATTERNS = ("rcases", "rintro", "obtain")


def permitted(script: str, actions: Actions) -> bool:
    """Whether every step of a script is one of the actions."""
    if actions == "full":
        return True
    if _UNREADABLE.search(script) or any(
        not _IDENTIFIER_BEFORE.search(script[: m.start()]) for m in _BY.finditer(script)
    ):
        return False
    return _block(script)


def _block(script: str) -> bool:
    steps = _split(script)
    return steps is not None and any(steps) and all(_step(s) for s in steps if s)


def _split(script: str) -> list[str] | None:
    """The steps between separators outside brackets, without white space. None for unbalanced brackets."""
    flat = _flat(script)
    if flat is None:
        return None
    ends = [(m.start(), m.end()) for m in _SEPARATOR.finditer(flat)]
    starts = [0, *(end for _, end in ends)]
    return [script[a:b].strip() for a, b in zip(starts, [*(start for start, _ in ends), len(script)], strict=True)]


def _flat(text: str) -> str | None:
    """The text with `(` for each bracket and each character inside brackets, so that a search finds only text outside. None for
    unbalanced brackets."""
    open_: list[str] = []
    out: list[str] = []
    for c in text:
        if c in _CLOSE and (not open_ or _OPEN.index(open_.pop()) != _CLOSE.index(c)):
            return None
        out.append("(" if open_ or c in _OPEN + _CLOSE else c)
        if c in _OPEN:
            open_.append(c)
    return None if open_ else "".join(out)


def _step(step: str) -> bool:
    step = step.lstrip("·. ")
    if not step:
        return True
    flat = _flat(step)
    if flat is None:
        return False
    if step[0] == "(":
        return set(flat) == {"("} and step.count("(") > 0 and closing(step) == len(step) - 1 and _block(step[1:-1])
    if step[0] == "|":
        return _alternative(step)
    head = _HEAD.match(step)
    if head is None or head[0] not in ELEMENTARY:
        return False
    if head[0] in ("case", "next"):
        return _after_arrow(step)
    if head[0] == "focus":
        return _block(step[head.end() :])
    if head[0] in ("cases", "induction"):
        found = _WITH.search(flat)
        if found is not None:
            after = step[found.end() :].strip()
            return not set(flat[: found.start()]) & {"|", ">"} and (
                not after or (after[0] == "|" and _alternative(after))
            )
    rest = _PIPES.sub("  ", flat[head.end() :])
    if "|" in rest:
        return head[0] in _PATTERNS and "=>" not in rest
    return True


def _alternative(text: str) -> bool:
    """`| pattern => step`, with nothing after it that could be another alternative."""
    return "|" not in _PIPES.sub("  ", (_flat(text) or "||")[1:]) and _after_arrow(text)


def _after_arrow(text: str) -> bool:
    """Whether the script after the first `=>` is permitted. It may start on a later line, or be empty."""
    at = (_flat(text) or "").find("=>")
    return at >= 0 and (not text[at + 2 :].strip() or _block(text[at + 2 :]))


class BoundedEnvironment:
    """An environment that answers moves outside the actions with an error, without a Lean call."""

    def __init__(self, env: Any, actions: Actions) -> None:
        self._env = env
        self._actions: Actions = actions

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        allowed = [t for t in tactics if permitted(t, self._actions)]
        results = iter(await self._env.step(state, allowed) if allowed else ())
        known = set(allowed)
        refused = StepResult("error", message=f"not one of the {self._actions} actions")
        return [next(results) if t in known else refused for t in tactics]

    async def free(self, states: Sequence[ProofState]) -> None:
        await self._env.free(states)


def bounded(env: Any, actions: Actions, strict: bool) -> Any:
    """The environment; with `strict`, wrapped to refuse all other actions."""
    return BoundedEnvironment(env, actions) if strict and actions != "full" else env
