"""States as recipes: how each was made, so that it can be made again in another process.

A handle is what a user of the server holds. Behind it stands the tactic that made it and the handle that the tactic was run
on, down to the command that opened the theorem; and what the state is called in the process that now has it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_numbers = itertools.count(1)


@dataclass(slots=True, eq=False)
class Made:
    """States that came of one tactic, or of opening a theorem or a source: they come back together."""

    request: dict[str, Any] | None = None
    """The command that opened them; None: `tactic` on the state `parent` made them."""
    parent: int = 0
    tactic: str = ""
    handles: list[int] = field(default_factory=list)
    remotes: list[int] = field(default_factory=list)
    """What the states are called in the process of `generation`, by index."""
    theorems: list[int] = field(default_factory=list)
    generation: int = -1


@dataclass(slots=True)
class Handle:
    """A state as its user knows it."""

    made: Made
    index: int
    children: int = 0
    """How many states were made from it that are still known."""
    freed: bool = False

    @property
    def remote(self) -> int:
        return self.made.remotes[self.index]


class Handles(dict[int, Handle]):
    """Every state that is open, or that an open one was made from."""

    def new(self, made: Made, index: int) -> int:
        """A handle for one of the states in `made`."""
        number = next(_numbers)
        made.handles.append(number)
        self[number] = Handle(made, index)
        if made.request is None and (parent := self.get(made.parent)) is not None:
            parent.children += 1
        return number

    def chain(self, handle: int, generation: int) -> list[Made]:
        """What has to be made again for a state to be in that process, in order. A freed ancestor is in none."""
        chain: list[Made] = []
        while handle and (self[handle].made.generation != generation or (chain and self[handle].freed)):
            chain.append(self[handle].made)
            handle = chain[-1].parent
        return chain[::-1]

    def wanted(self, made: Made) -> list[int]:
        """What of it somebody has open, as the process that it was made in knows it."""
        return [made.remotes[i] for i, h in enumerate(made.handles) if h in self and not self[h].freed]

    def unwanted(self, made: Made) -> Iterator[int]:
        """What came back with it and nobody has open."""
        for i, handle in enumerate(made.handles):
            if handle not in self or self[handle].freed:
                yield made.remotes[i]

    def forget(self, handle: int, generation: int) -> list[int]:
        """Drop a freed handle and every freed ancestor that nothing else was made from.

        Gives the theorems that nobody needs now in the process of `generation`.
        """
        while handle:
            known = self.get(handle)
            if known is None or not known.freed or known.children:
                return []
            del self[handle]
            made = known.made
            if made.request is not None:
                last = not any(other in self for other in made.handles)
                return made.theorems if last and made.generation == generation else []
            handle = made.parent
            if handle in self:
                self[handle].children -= 1
        return []
