"""The declarations that stand before a theorem: those of its file, and of the sources that the file imports."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import msgspec

Kind = Literal["theorem", "rule", "definition", "constructor", "recursive", "inductive", "instance"]
"""`theorem`: anything whose type is a proposition, such as an axiom of a class. `rule`: a constructor of a predicate. `recursive` and
`inductive` are types, with and without recursion."""


class Number(msgspec.Struct, frozen=True, array_like=True):
    """A number that an instance defines, as in `instance : OfNat T 0 := ⟨zero⟩`."""

    literal: str
    value: str
    type: str
    type_name: str
    """Head symbol of the type."""
    constant: bool
    """Whether the value is a single constant."""

    @property
    def equation(self) -> str:
        """The number's definition as an equation that holds by `rfl`. It replaces a constant by its number, and a number by a
        larger value."""
        number = f"({self.literal} : {self.type})"
        return f"{self.value} = {number}" if self.constant else f"{number} = {self.value}"


class Declaration(msgspec.Struct, frozen=True, array_like=True):
    """A declaration as the proof server reports it. The first fields are those of prover.premises.index.Premise."""

    name: str
    kind: Kind
    head: str
    """Head symbol of the type's conclusion; for an instance, its class."""
    sides: tuple[str, str]
    """Head symbols of the sides of an equation or equivalence; `[anonymous]` otherwise and for variables."""
    explicit: int
    """Number of explicit arguments."""
    constants: tuple[str, ...]
    """Constants of the type."""
    value: tuple[str, ...]
    """Constants of a definition's value."""
    conditional: bool
    """Whether the statement has hypotheses."""
    fields: tuple[str, ...]
    """Fields of a structure, or of an instance's class."""
    number: Number | None

    @property
    def rewrites(self) -> bool:
        return self.head in ("Eq", "Iff")


class Surroundings:
    """Declarations in the order of their file. Pickles as empty, because only policies beside Lean read it."""

    def __init__(self, declarations: tuple[Declaration, ...] = ()) -> None:
        self.declarations = declarations

    def __reduce__(self) -> tuple[Any, ...]:
        return Surroundings, ()

    def __bool__(self) -> bool:
        return bool(self.declarations)

    @cached_property
    def by_name(self) -> dict[str, Declaration]:
        return {d.name: d for d in self.declarations}

    @cached_property
    def theorems(self) -> tuple[Declaration, ...]:
        return tuple(d for d in self.declarations if d.kind == "theorem")


NOTHING = Surroundings()


class FileDeclarations:
    """The declarations of a loaded file by command, as the `load` command answers."""

    def __init__(self, answer: Any = ()) -> None:
        self._parts = msgspec.convert(answer, list[tuple[int, list[Declaration]]])
        self._before: dict[int, Surroundings] = {}

    def before(self, part: int) -> Surroundings:
        """What stands before command number `part`."""
        if part not in self._before:
            earlier = [d for number, here in self._parts if number < part for d in here]
            self._before[part] = Surroundings(tuple(earlier)) if earlier else NOTHING
        return self._before[part]
