"""Lean's answers to one theorem's (state, tactic) pairs, asked once and given to every search that asks again.

What Lean answers depends on the state and the tactic alone, so that searches compared with each other, or repeated with
other settings, can share answers. A search sees an ordinary environment; its Lean calls are counted by itself, as ever.
The one exception is a step killed by the wall clock: whoever asks later gets the first answer.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from prover.files import write_whole
from prover.lean.answer_cache import Lean
from prover.lean.server import LeanError
from prover.lean.theorem import Goal, ProofState, StepResult, StepStatus, Theorem
from prover.models.base import Suggestion

FORMAT = 1

_NOT_THE_TACTIC = ("the server was closed", "the state could not be replayed")
"""How the messages of crashes begin that say nothing of the tactic: it is asked again."""


class _State(msgspec.Struct, array_like=True):
    key: str
    goals: tuple[Goal, ...]
    origin: tuple[int, str, int] | None
    """(index of a state, tactic, index among what that gave); None: the theorem itself."""


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
class _Held:
    """A state as searches know it (its id is its index here), and Lean's own, if Lean holds it now."""

    state: ProofState
    origin: tuple[int, str, int] | None
    lean: ProofState | None = None


class Answers:
    """An environment for searches on one theorem. Opens the theorem in Lean only once something new is asked.

    States equal in key and text are one: what Lean or a model says of one holds for the other. `suggestions` and
    `values` are what models said, kept here so that it is stored along (see `models.Remembered`).
    """

    def __init__(self, theorem: Theorem, lean: Lean) -> None:
        self.theorem = theorem
        self.asked = 0
        """Steps that Lean made for this, replays among them."""
        self.suggestions: dict[str, list[Suggestion]] = {}
        self.values: dict[str, tuple[float, ...]] = {}
        self._lean = lean
        self._held: list[_Held] = []
        self._index: dict[tuple[str, tuple[Goal, ...]], int] = {}
        self._answers: dict[tuple[int, str], StepResult] = {}
        self._stored = 0
        self._asking: dict[tuple[int, str], asyncio.Task[StepResult]] = {}
        self._surplus: list[ProofState] = []

    @property
    def changed(self) -> bool:
        """Whether anything came after `load`."""
        return self._size() > self._stored

    def _size(self) -> int:
        return len(self._answers) + len(self.suggestions) + len(self.values)

    async def root(self) -> ProofState:
        """The theorem's first state. Raises LeanError where Lean refuses the theorem."""
        if not self._held:
            state = await self._lean.open(self.theorem)
            self._add(state, None).lean = state
        return self._held[0].state

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        """As LeanPool.step."""
        return [await self._one(state.id, t) for t in tactics]

    def knows(self, state: ProofState, tactic: str) -> bool:
        """Whether Lean's answer is here already."""
        return (state.id, tactic) in self._answers

    def holds_proof(self) -> bool:
        """Whether the answers that are here prove the theorem."""
        solved: set[int] = set()
        grew = True
        while grew:
            found = {i for (i, _), r in self._answers.items() if r.ok and all(s.id in solved for s in r.states)}
            grew = found > solved
            solved = found
        return 0 in solved

    async def free(self, states: Sequence[ProofState]) -> None:
        """Nothing: the next search may want them. `close` frees."""

    async def close(self) -> None:
        """Free everything in Lean."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        mine = [h.lean for h in self._held if h.lean is not None] + self._surplus
        for held in self._held:
            held.lean = None
        self._surplus = []
        if mine:
            await self._lean.free(mine)

    async def _one(self, index: int, tactic: str) -> StepResult:
        known = self._answers.get((index, tactic))
        if known is not None:
            return known
        task = self._asking.get((index, tactic))
        if task is None:
            task = self._asking[index, tactic] = asyncio.create_task(self._ask(index, tactic))
            task.add_done_callback(lambda _: self._asking.pop((index, tactic), None))
        return await asyncio.shield(task)

    async def _ask(self, index: int, tactic: str) -> StepResult:
        result = await self._step(index, tactic)
        states: list[ProofState] = []
        for i, lean in enumerate(result.states):
            held = self._add(lean, (index, tactic, i))
            if held.lean is None:
                held.lean = lean
            elif held.lean is not lean:
                self._surplus.append(lean)
            states.append(held.state)
        answer = replace(result, states=tuple(states))
        if result.status != "crash" or not result.message.startswith(_NOT_THE_TACTIC):
            self._answers[index, tactic] = answer
        return answer

    async def _step(self, index: int, tactic: str) -> StepResult:
        lean = await self._obtain(index)
        self.asked += 1
        (result,) = await self._lean.step(lean, (tactic,))
        return result

    async def _obtain(self, index: int) -> ProofState:
        """Lean's own of a state, made again where this comes from a file. Raises RuntimeError where that fails."""
        chain = [index]
        while self._held[chain[-1]].lean is None and (origin := self._held[chain[-1]].origin) is not None:
            chain.append(origin[0])
        top = self._held[chain.pop()]
        if top.lean is None:
            top.lean = await self._lean.open(self.theorem)
        at = top.lean
        for i in reversed(chain):
            held = self._held[i]
            if held.lean is not None:  # meanwhile obtained by somebody else
                at = held.lean
                continue
            assert held.origin is not None
            _, tactic, place = held.origin
            self.asked += 1
            (result,) = await self._lean.step(at, (tactic,))
            if len(result.states) <= place or result.states[place].shared != held.state.shared:
                await self._lean.free(result.states)
                raise RuntimeError(f"{self.theorem.name}: `{tactic}` does not give again what it gave")
            held.lean = at = result.states[place]
            self._surplus += [s for j, s in enumerate(result.states) if j != place]
        return at

    def _add(self, state: ProofState, origin: tuple[int, str, int] | None) -> _Held:
        index = self._index.setdefault((state.key, state.goals), len(self._held))
        if index == len(self._held):
            self._held.append(_Held(replace(state, id=index), origin))
        return self._held[index]

    # -- on disk -----------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write all answers, in one gzipped MessagePack file."""
        record = _Record(
            FORMAT,
            [_State(h.state.key, h.state.goals, h.origin) for h in self._held],
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
        """Know what `save` wrote; a file that cannot be read is as none, since everything can be asked again."""
        try:
            data: Any = msgspec.msgpack.decode(gzip.decompress(path.read_bytes()), type=_Record)
        except (OSError, EOFError, msgspec.MsgspecError):
            return
        if data.format != FORMAT:
            return
        for s in data.states:
            self._add(ProofState(-1, s.key, s.goals), s.origin)
        states = [h.state for h in self._held]
        for i, tactic, a in data.answers:
            result = StepResult(a.status, tuple(states[j] for j in a.states), a.order, a.message, a.lean_s)
            self._answers[i, tactic] = result
        self.suggestions = {k: [Suggestion(*s) for s in v] for k, v in data.suggestions.items()}
        self.values = data.values
        self._stored = self._size()


class NoLean:
    """An environment for answers that are all there: opens nothing, answers nothing."""

    async def open(self, theorem: Theorem) -> ProofState:
        raise LeanError("no Lean: only what is recorded is used")

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        raise LeanError("no Lean: only what is recorded is used")

    async def free(self, states: Sequence[ProofState]) -> None:
        """Nothing is held."""
