"""The origins of proof states, from which another process can restore them.

Users hold handles. Each handle knows the tactic and the parent handle that made its state, up to the command that opened the
theorem, and the state's id in the current process.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from prover.lean.surroundings import NOTHING, Surroundings

_numbers = itertools.count(1)


@dataclass(slots=True, eq=False)
class Origin:
    """The origin of states that were made together, by one tactic or by opening a theorem or file. They are restored together."""

    request: dict[str, Any] | None = None
    """The command that opened them. None: `tactic` on the state `parent` made them."""
    parent: int = 0
    tactic: str = ""
    handles: list[int] = field(default_factory=list[int])
    remotes: list[int] = field(default_factory=list[int])
    """The states' ids in the process of `generation`, by index."""
    theorems: list[int] = field(default_factory=list[int])
    """Ids of the opened theorems in that process."""
    generation: int = -1
    surroundings: list[Surroundings] = field(default_factory=list[Surroundings])
    """The surroundings of each opened theorem. Empty: those of `parent`."""


@dataclass(slots=True)
class Handle:
    """A state, as its user refers to it."""

    origin: Origin
    index: int
    children: int = 0
    """Number of known states that were made from it."""
    freed: bool = False
    surroundings: Surroundings = NOTHING

    @property
    def remote(self) -> int:
        return self.origin.remotes[self.index]


class Handles(dict[int, Handle]):
    """All open states and their ancestors."""

    def new(self, origin: Origin, index: int) -> int:
        """A handle for the state `index` of `origin`."""
        number = next(_numbers)
        origin.handles.append(number)
        handle = self[number] = Handle(origin, index)
        if origin.surroundings:
            handle.surroundings = origin.surroundings[index]
        if origin.request is None and (parent := self.get(origin.parent)) is not None:
            parent.children += 1
            handle.surroundings = parent.surroundings
        return number

    def chain(self, handle: int, generation: int) -> list[Origin]:
        """The origins to replay, in order, to restore a state in the process `generation`. Freed ancestors are in no process."""
        chain: list[Origin] = []
        while handle and (self[handle].origin.generation != generation or (chain and self[handle].freed)):
            chain.append(self[handle].origin)
            handle = chain[-1].parent
        return chain[::-1]

    def remotes(self, origin: Origin, *, open_: bool) -> list[int]:
        """Ids of its states that are open, or of those that were restored but are not."""
        pairs = zip(origin.remotes, origin.handles, strict=True)
        return [remote for remote, h in pairs if (h in self and not self[h].freed) == open_]

    def forget(self, handle: int, generation: int) -> list[int]:
        """Drop a freed handle and its freed ancestors without other children.

        Returns ids of theorems that are no longer needed in the process of `generation`.
        """
        while handle:
            known = self.get(handle)
            if known is None or not known.freed or known.children:
                return []
            del self[handle]
            origin = known.origin
            if origin.request is not None:
                last = not any(other in self for other in origin.handles)
                return origin.theorems if last and origin.generation == generation else []
            handle = origin.parent
            if handle in self:
                self[handle].children -= 1
        return []
