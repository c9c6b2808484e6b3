"""A cache of Lean's answers to one theorem's (state, tactic) pairs, for several searches or rollouts. It can be stored on disk.

An answer depends only on state and tactic, except after a wall-clock timeout, so attempts that are compared or repeated can share
answers. An attempt sees an ordinary environment and counts its own Lean calls.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import msgspec

from prover.files import write_whole
from prover.lean.server import LeanError
from prover.lean.theorem import Goal, ProofState, StepResult, StepStatus, Theorem
from prover.models.base import Suggestion

FORMAT = 1

_NOT_THE_TACTIC = ("the server was closed", "the state could not be replayed")
"""Prefixes of crash messages that are unrelated to the tactic. Such answers are not cached."""


class Lean(Protocol):
    """The environment behind the cache, e.g. a LeanPool."""

    async def open(self, theorem: Theorem) -> ProofState: ...

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]: ...

    async def free(self, states: Sequence[ProofState]) -> None: ...


class _State(msgspec.Struct, array_like=True):
    key: str
    goals: tuple[Goal, ...]
    origin: tuple[int, str, int] | None
    """(index of the parent state, tactic, index among the resulting states); None for the theorem's first state."""


class _Answer(msgspec.Struct, array_like=True):
    status: StepStatus
    states: tuple[int, ...]
    order: tuple[tuple[int, int], ...]
    message: str
    lean_s: float


class _Record(msgspec.Struct):
    format: int
    states: list[_State]
    answers: list[tuple[int, str, _Answer]]
    suggestions: dict[str, list[tuple[str, float, str]]]
    values: dict[str, tuple[float, ...]]


@dataclass(slots=True)
class _CachedState:
    """A state as searches see it, with its index as id, and Lean's own state if that is open."""

    state: ProofState
    origin: tuple[int, str, int] | None
    lean: ProofState | None = None


class Answers:
    """An environment for attempts at one theorem. Opens the theorem in Lean only for the first step that is not cached.

    States with equal key and text are identified. `suggestions` and `values` are the models' predictions, stored with the answers (see
    rl.bench.models.CachedModel).
    """

    def __init__(self, theorem: Theorem, lean: Lean | None, root: ProofState | None = None) -> None:
        """`lean`: None if only stored answers are available; other steps then fail. `root`: the first state, if it is open in Lean. The
        cache does not free it."""
        self.theorem = theorem
        self.asked = 0
        """Steps made by Lean, including replays."""
        self.suggestions: dict[str, list[Suggestion]] = {}
        self.values: dict[str, tuple[float, ...]] = {}
        self._lean: Any = lean
        self._states: list[_CachedState] = []
        self._index: dict[tuple[str, tuple[Goal, ...]], int] = {}
        self._answers: dict[tuple[int, str], StepResult] = {}
        self._stored = 0
        self._asking: dict[tuple[int, str], asyncio.Task[StepResult]] = {}
        self._surplus: list[ProofState] = []
        self._given = root
        if root is not None:
            self._add(root, None).lean = root

    @property
    def changed(self) -> bool:
        """Whether anything was added since `load`."""
        return self._size() > self._stored

    def _size(self) -> int:
        return len(self._answers) + len(self.suggestions) + len(self.values)

    async def root(self) -> ProofState:
        """The theorem's first state. Raises LeanError if Lean rejects the theorem."""
        if not self._states:
            if self._lean is None:
                raise LeanError("Lean is off, and no answers are stored")
            state = await self._lean.open(self.theorem)
            self._add(state, None).lean = state
        return self._states[0].state

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        """Run tactics on a state, as LeanPool.step does."""
        return [await self._one(state.id, t) for t in tactics]

    def knows(self, state: ProofState, tactic: str) -> bool:
        """Whether Lean's answer is cached."""
        return (state.id, tactic) in self._answers

    def holds_proof(self) -> bool:
        """Whether the cached answers prove the theorem."""
        solved: set[int] = set()
        grew = True
        while grew:
            found = {i for (i, _), r in self._answers.items() if r.ok and all(s.id in solved for s in r.states)}
            grew = found > solved
            solved = found
        return 0 in solved

    async def free(self, states: Sequence[ProofState]) -> None:
        """Do nothing, because the next search may need the states. `close` frees them."""

    async def close(self) -> None:
        """Free all states in Lean."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        mine = [s.lean for s in self._states if s.lean is not None and s.lean is not self._given] + self._surplus
        for cached in self._states:
            cached.lean = None
        self._surplus = []
        if mine:
            await self._lean.free(mine)

    async def _one(self, index: int, tactic: str) -> StepResult:
        known = self._answers.get((index, tactic))
        if known is not None:
            return known
        if self._lean is None:
            return StepResult("error", message="no answer is stored")
        task = self._asking.get((index, tactic))
        if task is None:
            task = self._asking[index, tactic] = asyncio.create_task(self._ask(index, tactic))
            task.add_done_callback(lambda _: self._asking.pop((index, tactic), None))
        return await asyncio.shield(task)

    async def _ask(self, index: int, tactic: str) -> StepResult:
        parent = await self._obtain(index)
        self.asked += 1
        (result,) = await self._lean.step(parent, (tactic,))
        states: list[ProofState] = []
        for i, lean in enumerate(result.states):
            cached = self._add(lean, (index, tactic, i))
            if cached.lean is None:
                cached.lean = lean
            elif cached.lean is not lean:
                self._surplus.append(lean)
            states.append(cached.state)
        answer = replace(result, states=tuple(states))
        if result.status != "crash" or not result.message.startswith(_NOT_THE_TACTIC):
            self._answers[index, tactic] = answer
        return answer

    async def _obtain(self, index: int) -> ProofState:
        """Lean's own state, replayed from the nearest open ancestor if necessary. Raises RuntimeError if a replay differs."""
        chain = [index]
        while self._states[chain[-1]].lean is None and (origin := self._states[chain[-1]].origin) is not None:
            chain.append(origin[0])
        top = self._states[chain.pop()]
        at: ProofState = top.lean or await self._lean.open(self.theorem)
        top.lean = at
        for i in reversed(chain):
            cached = self._states[i]
            if cached.lean is not None:  # opened by a concurrent replay
                at = cached.lean
                continue
            assert cached.origin is not None
            _, tactic, place = cached.origin
            self.asked += 1
            (result,) = await self._lean.step(at, (tactic,))
            if len(result.states) <= place or result.states[place].shared != cached.state.shared:
                await self._lean.free(result.states)
                raise RuntimeError(f"{self.theorem.name}: replaying `{tactic}` gave a different result")
            cached.lean = at = result.states[place]
            self._surplus += [s for j, s in enumerate(result.states) if j != place]
        return at

    def _add(self, state: ProofState, origin: tuple[int, str, int] | None) -> _CachedState:
        index = self._index.setdefault((state.key, state.goals), len(self._states))
        if index == len(self._states):
            self._states.append(_CachedState(replace(state, id=index), origin))
        return self._states[index]

    # -- on disk -----------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write all answers to a gzipped MessagePack file."""
        record = _Record(
            FORMAT,
            [_State(s.state.key, s.state.goals, s.origin) for s in self._states],
            [
                (i, t, _Answer(r.status, tuple(s.id for s in r.states), r.order, r.message[:200], r.lean_s))
                for (i, t), r in self._answers.items()
            ],
            {k: [(s.tactic, s.logprob, s.source) for s in v] for k, v in self.suggestions.items()},
            self.values,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, gzip.compress(msgspec.msgpack.encode(record), 5))

    def load(self, path: Path) -> None:
        """Load the answers that `save` wrote. Ignores an unreadable file, because everything can be asked again."""
        try:
            data: Any = msgspec.msgpack.decode(gzip.decompress(path.read_bytes()), type=_Record)
        except (OSError, EOFError, msgspec.MsgspecError):
            return
        if data.format != FORMAT:
            return
        for s in data.states:
            self._add(ProofState(-1, s.key, s.goals), s.origin)
        states = [s.state for s in self._states]
        for i, tactic, a in data.answers:
            result = StepResult(a.status, tuple(states[j] for j in a.states), a.order, a.message, a.lean_s)
            self._answers[i, tactic] = result
        self.suggestions = {k: [Suggestion(*s) for s in v] for k, v in data.suggestions.items()}
        self.values = data.values
        self._stored = self._size()
