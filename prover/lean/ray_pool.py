"""RayLeanPool: LeanPool's interface over Ray actors, so that Lean runs on every machine of a cluster.

Each actor holds one Lean process and replaces it as LeanPool does. When an actor itself is lost, with its machine, another
takes its place, and its open states are made again from their theorems when they are next used.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, WorkerCrashedError

from prover.lean.pool import LeanPool
from prover.lean.replay import Handles, Made
from prover.lean.steps import LeanDied, LeanError, Limits
from prover.lean.theorem import ProofState, StepResult, Theorem

_incarnations = itertools.count(1)
ACTOR_LOST = (RayActorError, WorkerCrashedError, NodeDiedError, OutOfMemoryError)
"""What Ray raises for an actor that is gone: it died, or its machine did, or Ray ended it since memory was short."""
_ATTEMPTS = 3
"""How often an actor is replaced for one request."""


class LeanActor:
    """A pool of one Lean process in a Ray actor. States are named by their ids there."""

    def __init__(self, limits: Limits | None, constants: bool, terse: bool) -> None:
        self.pool = LeanPool(1, limits=limits, constants=constants, terse=terse)

    async def start(self) -> None:
        await self.pool.start()

    async def open(self, theorem: Theorem) -> ProofState:
        return await self.pool.open(theorem)

    async def load(self, source: str, imports: Sequence[str], file: str) -> list[tuple[dict[str, Any], ProofState]]:
        return await self.pool.load(source, imports, file)

    async def step(self, state: int, tactics: Sequence[str]) -> list[StepResult]:
        return await self.pool.step(ProofState(state, "", ()), tactics)

    async def free(self, states: Sequence[int]) -> None:
        await self.pool.free([ProofState(state, "", ()) for state in states])

    async def close(self) -> None:
        await self.pool.close()

    async def counted(self) -> tuple[int, float]:
        """Steps, and seconds inside Lean on them."""
        return self.pool.steps, self.pool.lean_s


@dataclass(slots=True, eq=False)
class _Place:
    """Where an actor runs, or its successor."""

    actor: Any
    incarnation: int
    lock: asyncio.Lock
    """Held while a lost actor is replaced or its states are made again."""
    open: int = 0


class RayLeanPool:
    """`size` actors with a Lean process each. Use as an async context manager; Ray must be initialised.

    The interface is LeanPool's. A step whose actor is lost answers `crash`; the state stays usable.
    """

    def __init__(
        self,
        size: int = 2,
        limits: Limits | None = None,
        constants: bool = False,
        terse: bool = False,
        cpus_per_actor: float = 1.0,
    ) -> None:
        if size < 1:
            raise ValueError("a pool needs at least one process")
        self._arguments = (limits, constants, terse)
        self._options = {"num_cpus": cpus_per_actor, "max_concurrency": 1000}
        self._size = size
        self.places: list[_Place] = []
        self._home: dict[int, _Place] = {}
        self.handles = Handles()
        self._roots: set[int] = set()

    async def __aenter__(self) -> RayLeanPool:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Start every actor and its process at once."""
        self.places = [_Place(self._actor(), next(_incarnations), asyncio.Lock()) for _ in range(self._size)]
        await asyncio.gather(*(place.actor.start.remote() for place in self.places))

    def _actor(self) -> Any:
        return ray.remote(**self._options)(LeanActor).remote(*self._arguments)

    async def close(self) -> None:
        """End every process and actor."""
        await asyncio.gather(*(place.actor.close.remote() for place in self.places), return_exceptions=True)
        for place in self.places:
            ray.kill(place.actor)
        self.places = []

    async def _replace(self, place: _Place, lost: int) -> None:
        """Another actor in the place of the incarnation `lost`, unless there is one already."""
        async with place.lock:
            if place.incarnation != lost:
                return
            for _ in range(_ATTEMPTS):
                place.actor = self._actor()
                try:
                    await place.actor.start.remote()
                except ACTOR_LOST:  # this one too, before it was up
                    continue
                place.incarnation = next(_incarnations)
                return
            raise LeanDied(f"{_ATTEMPTS} Ray actors in a row were lost while they started")

    def _choose(self) -> _Place:
        return min(self.places, key=lambda place: place.open)

    async def open(self, theorem: Theorem) -> ProofState:
        """As LeanPool.open."""
        [(_, state)] = await self._opened({"theorem": theorem})
        return state

    async def load(
        self, source: str, imports: Sequence[str] = ("Init",), file: str = "<source>"
    ) -> list[tuple[dict[str, Any], ProofState]]:
        """As LeanPool.load."""
        return await self._opened({"load": (source, tuple(imports), file)})

    async def _opened(self, request: dict[str, Any]) -> list[tuple[dict[str, Any], ProofState]]:
        place = self._choose()
        place.open += 1  # counted before the answer, or all of many would choose one place
        try:
            for attempt in itertools.count(1):
                incarnation = place.incarnation
                try:
                    found = await self._ask(place, request)
                    break
                except ACTOR_LOST:
                    await self._replace(place, incarnation)
                    if attempt == _ATTEMPTS:
                        raise LeanDied(f"the Ray actor was lost {_ATTEMPTS} times while it opened a theorem") from None
        finally:
            place.open -= 1
        made = Made(request, remotes=[state.id for _, state in found], generation=incarnation)
        opened = [(hole, self._state(place, made, i, state)) for i, (hole, state) in enumerate(found)]
        self._roots.update(state.id for _, state in opened)
        place.open += len(opened)
        return opened

    async def _ask(self, place: _Place, request: dict[str, Any]) -> list[tuple[dict[str, Any], ProofState]]:
        if "theorem" in request:
            return [({}, await place.actor.open.remote(request["theorem"]))]
        return await place.actor.load.remote(*request["load"])

    def _state(self, place: _Place, made: Made, index: int, state: ProofState) -> ProofState:
        """The actor's state under an id of ours: two actors may use the same."""
        handle = self.handles.new(made, index)
        self._home[handle] = place
        return replace(state, id=handle)

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        """As LeanPool.step."""
        place = self._home.get(state.id)
        handle = self.handles.get(state.id)
        if place is None or handle is None or handle.freed:
            return [StepResult("error", message="the state was freed") for _ in tactics]
        incarnation = place.incarnation
        try:
            if handle.made.generation != incarnation:
                await self._bring_back(place, state.id)
                incarnation = place.incarnation
            results = await place.actor.step.remote(handle.remote, list(tactics))
        except ACTOR_LOST as e:
            why = f"the Ray actor was lost: {str(e).splitlines()[0]}"
            try:
                await self._replace(place, incarnation)
            except LeanDied as died:
                why = str(died)
            return [StepResult("crash", message=why) for _ in tactics]
        except LeanError as e:
            return [StepResult("crash", message=f"the state could not be replayed: {e}") for _ in tactics]
        return [
            self._received(place, state.id, tactic, result, incarnation)
            for tactic, result in zip(tactics, results, strict=True)
        ]

    def _received(self, place: _Place, parent: int, tactic: str, result: StepResult, incarnation: int) -> StepResult:
        made = Made(None, parent, tactic, remotes=[s.id for s in result.states], generation=incarnation)
        return replace(result, states=tuple(self._state(place, made, i, s) for i, s in enumerate(result.states)))

    async def _bring_back(self, place: _Place, state: int) -> None:
        """Make a state of a lost actor again in its successor, its ancestors first."""
        async with place.lock:
            for made in self.handles.chain(state, place.incarnation):
                if made.request is not None:
                    again = [s.id for _, s in await self._ask(place, made.request)]
                else:
                    [result] = await place.actor.step.remote(self.handles[made.parent].remote, [made.tactic])
                    again = [s.id for s in result.states]
                if len(again) != len(made.remotes):
                    raise LeanError("making it again gave other states")
                made.remotes, made.generation = again, place.incarnation

    async def free(self, states: Sequence[ProofState]) -> None:
        """As LeanPool.free."""
        by_place: dict[int, tuple[_Place, list[int]]] = {}
        for state in states:
            handle = self.handles.get(state.id)
            place = self._home.pop(state.id, None)
            if handle is None or handle.freed or place is None:
                continue
            handle.freed = True
            if handle.made.generation == place.incarnation:
                by_place.setdefault(id(place), (place, []))[1].append(handle.remote)
            if state.id in self._roots:
                self._roots.discard(state.id)
                place.open -= 1
            self.handles.forget(state.id, place.incarnation)
        for place, mine in by_place.values():
            place.actor.free.remote(mine)  # nobody waits for it

    async def counted(self) -> tuple[int, float]:
        """Steps, and seconds inside Lean on them, over all actors that live."""
        each = await asyncio.gather(*(place.actor.counted.remote() for place in self.places))
        return sum(steps for steps, _ in each), sum(seconds for _, seconds in each)
