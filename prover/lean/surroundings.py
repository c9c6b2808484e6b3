"""The declarations before a theorem: those of its file, and those of the files of its project that it imports."""

from __future__ import annotations

import functools
import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec

Kind = Literal["theorem", "rule", "definition", "constructor", "recursive", "inductive", "instance", "opaque"]
"""`theorem`: anything whose type is a proposition, such as an axiom of a class. `rule`: a constructor of a predicate. `recursive` and
`inductive` are types, with and without recursion. `opaque`: a constant that nothing unfolds, such as a recursor."""


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


_TACTICS = """
abel aesop bound field_simp fun_prop gcongr group linarith nlinarith noncomm_ring norm_num positivity push_neg ring
ring_nf tauto
"""
LIBRARY_TACTICS = tuple(_TACTICS.split())
"""Tactics of one word that libraries such as Mathlib add. Lean reports which of them exist at a theorem."""


class Surroundings:
    """Declarations in the order of their file. Pickles as empty, because only policies in the process of the Lean client read it."""

    def __init__(
        self, declarations: tuple[Declaration, ...] = (), tactics: tuple[str, ...] = (), imported: int = 0
    ) -> None:
        """`tactics`: those of LIBRARY_TACTICS that exist here, and the file's own tactics, where `{h}` stands for a name. `imported`: how
        many declarations, at the beginning, are of other files."""
        self.declarations = declarations
        self.tactics = tactics
        self.imported = imported

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


@functools.lru_cache(maxsize=8)
def own_modules(lean_path: str) -> tuple[str, ...]:
    """Compiled modules in the folders of LEAN_PATH, without those of packages that Lake downloaded: their theorems are library premises."""
    folders = [Path(f) for f in lean_path.split(os.pathsep) if f]
    own = [f for f in folders if not re.search(r"/(\.lake/|lake-)packages/", f.as_posix())]
    return tuple(
        ".".join(file.relative_to(folder).with_suffix("").parts)
        for folder in own
        for file in sorted(folder.rglob("*.olean"))
    )


class FileDeclarations:
    """The declarations of a loaded file by command, as the `load` command answers."""

    def __init__(self, answer: Any) -> None:
        self._parts = msgspec.convert(answer, list[tuple[int, list[Declaration], list[str]]])
        self._before: dict[int, Surroundings] = {}

    def before(self, part: int) -> Surroundings:
        """The surroundings of command number `part`."""
        if part not in self._before:
            earlier = [p for p in self._parts if p[0] < part]
            declarations = tuple(d for _, here, _ in earlier for d in here)
            tactics = tuple(dict.fromkeys(t for *_, here in earlier for t in here))
            imported = sum(len(here) for number, here, _ in earlier if number == 0)
            self._before[part] = Surroundings(declarations, tactics, imported) if declarations or tactics else NOTHING
        return self._before[part]
