"""Theories: types, functions and lemmas with proofs, read from the text files in `theories/`.

A file consists of blocks: a line, then indented lines. Their order matters.

- `use FILE NAME …`: the types, functions and lemmas of these names in another file, which come first.
- `type SORT`: an inductive type, then its constructors with the sorts of their arguments.
- `def NAME : SORT → … → SORT`: a function, then its equations.
- `lean NAME` or `lean NAME : SORT → … → SORT`: Lean source that defines a predicate or an operation, after the functions.
- `theorem NAME BINDERS : TYPE`: a lemma, then its proof, a tactic script.
- `sort SORT = TYPE`: a sort that is another type in Lean.
- `variables`: the variables of each sort. `names`: other names of identifiers.
- `swap NAME …`: operations whose two arguments can be swapped, together.
- `elsewhere NAME …`: operations that another world has too. Those of `use` count as such.

Terms have all parentheses: `(add a (succ b))`. `Development` renders them as Lean source.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from prover.lean.brackets import cut

FOLDER = Path(__file__).parent / "theories"
_WORD = re.compile(r"[A-Za-z_]\w*")
Signature = tuple[tuple[str, ...], str]
"""Sorts of an operation's arguments, and of its result."""
Words = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Lemma:
    """A theorem with its proof."""

    name: str
    statement: str
    """Binders, colon, type."""
    proof: str
    """A tactic script."""

    @cached_property
    def steps(self) -> int:
        """Number of tactics; each rewrite in `rw [a, b]` counts as one."""
        tactics = [line.partition("=>")[2] if "=>" in line else line for line in self.proof.splitlines()]
        rewrites = re.findall(r"rw \[(.*?)\]", self.proof)
        return sum(bool(t.strip()) for t in tactics) + sum(r.count(",") for r in rewrites)

    @cached_property
    def words(self) -> set[str]:
        """The words of its proof: names of the lemmas that it uses, and others."""
        return set(_WORD.findall(self.proof))

    @cached_property
    def statement_words(self) -> set[str]:
        return set(_WORD.findall(self.statement))

    @cached_property
    def variables(self) -> tuple[str, ...]:
        return tuple(v for group in re.findall(r"\(([\w ]+) : ", self._parts[0]) for v in group.split())

    @cached_property
    def _parts(self) -> tuple[str, str]:
        binders, colon, type_ = cut(self.statement, ":")
        if not colon:
            raise ValueError(f"no colon after the binders: {self.statement}")
        return binders, type_.strip()

    @property
    def type(self) -> str:
        return self._parts[1]


@dataclass
class Theory:
    """The contents of a file, each kind in its order."""

    types: dict[str, Words] = field(default_factory=dict)
    """Inductive types: constructors, with the sorts of their arguments."""
    functions: dict[str, list[str]] = field(default_factory=dict)
    """Functions, with their defining equations."""
    definitions: list[str] = field(default_factory=list)
    """Lean source after the functions."""
    lemmas: list[Lemma] = field(default_factory=list)
    operations: dict[str, Signature] = field(default_factory=dict)
    borrowed: set[str] = field(default_factory=set)
    """Operations that other worlds have too. No theorem is about these alone, because it may be held out in the other world."""
    lean_types: dict[str, str] = field(default_factory=dict)
    """Lean type of each sort whose name in Lean differs."""
    variables: Words = field(default_factory=dict)
    """Variables of each sort."""
    names: Words = field(default_factory=dict)
    """Other names of identifiers."""
    swaps: list[tuple[str, ...]] = field(default_factory=list)

    def use(self, other: Theory, names: Collection[str]) -> None:
        """Begin with the types, functions and lemmas of these names in another theory."""
        self.types |= {sort: cases for sort, cases in other.types.items() if sort in names}
        self.functions |= {name: equations for name, equations in other.functions.items() if name in names}
        self.lemmas += [x for x in other.lemmas if x.name in names]
        used = [*(c for cases in self.types.values() for c in cases), *self.functions]
        self.operations |= {name: other.operations[name] for name in used if name in other.operations}
        self.borrowed |= self.operations.keys()

    def add(self, keyword: str, rest: str, body: list[str]) -> None:
        """Add a block: the first word of its line, the rest of the line, and the other lines."""
        name, _, after = rest.partition(" ")
        match keyword:
            case "use":
                self.use(read_theory(name), after.split())
            case "type":
                self.types[name] = _words(body)
                self.operations |= {c: (args, name) for c, args in self.types[name].items()}
            case "def":
                self.operations[name] = _signature(after)
                self.functions[name] = body
            case "lean":
                self.definitions += body
                if after:
                    self.operations[name] = _signature(after)
            case "theorem":
                self.lemmas.append(Lemma(name, after, "\n".join(body)))
            case "sort":
                self.lean_types[name] = after.removeprefix("= ")
            case "variables":
                self.variables = _words(body)
            case "names":
                self.names = _words(body)
            case "swap":
                self.swaps.append(tuple(rest.split()))
            case "elsewhere":
                self.borrowed |= set(rest.split())
            case _:
                raise ValueError(f"unknown keyword {keyword!r}")


def read_theory(name: str) -> Theory:
    """The theory in the file of that name."""
    theory = Theory()
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    for block in re.split(r"\n+(?=\S)", text.strip()):
        head, *lines = block.splitlines()
        keyword, _, rest = head.partition(" ")
        theory.add(keyword, rest, [line.removeprefix("  ") for line in lines])
    return theory


def _words(lines: list[str]) -> Words:
    """First word of each line -> the other words."""
    return {first: tuple(others) for first, *others in map(str.split, lines)}


def _signature(text: str) -> Signature:
    *args, result = text.removeprefix(": ").split(" → ")
    return tuple(args), result
