"""Lean's report on a text: what each command declared. From the reports on a reference and a candidate: the obligations.

These are pure functions on data, which do not parse Lean source.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from prover.lean.names import is_component

NameParts = tuple[str | int, ...]
"""The components of a Lean name, which may contain dots."""

EXAMPLE = "Lean.Parser.Command.example"
TYPES = tuple(
    f"Lean.Parser.Command.{kind}" for kind in ("structure", "inductive", "classInductive", "coinductive", "deriving")
)
"""Kinds of declarations whose generated constants are obligations too."""
TAKEN_BACK = "taken.back"
"""Kind of a declaration's head if its command removed the declaration again."""


class LeanMessage(msgspec.Struct, frozen=True):
    """An error from Lean."""

    file: str
    line: int
    column: int
    m: str
    stopped: bool = False
    """Whether Lean stopped at a limit and found no error."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.m.strip()}"


class Head(msgspec.Struct, frozen=True):
    """A declaration according to its syntax."""

    kind: str
    name: NameParts
    """As written; empty if it has none."""
    value: int
    """Byte offset of its value."""


class Command(msgspec.Struct, frozen=True):
    """A command of a text, and the constants that it added."""

    number: int
    line: int
    kind: str
    """Kind of its syntax, after all `… in`."""
    heads: tuple[Head, ...]
    nothing: tuple[Head, ...]
    """Heads without a constant."""
    new: tuple[NameParts, ...]
    written: tuple[NameParts, ...]
    """Those of `new` that Lean recorded as declaration names."""
    unsafe: tuple[NameParts, ...]
    examples: tuple[NameParts, ...]
    code: tuple[str, ...]
    """Kinds of syntax in it that may run code."""
    errors: tuple[LeanMessage, ...]
    stopped: str
    """The reason why its elaboration did not finish; empty if it did."""
    types: tuple[str, ...] = ()
    """Types of `written`, then of `examples`, for display, if requested."""
    syntax: bool = False
    """Whether it defines syntax, as `notation` and `macro` do."""

    def type_of(self, name: NameParts) -> str:
        """The type of one of its declarations, for display; empty if unknown."""
        return next((t for n, t in zip((*self.written, *self.examples), self.types, strict=False) if n == name), "")


class Report(msgspec.Struct, frozen=True):
    """Lean's report on a text. `entries`: its constants as data, for the checker."""

    errors: tuple[LeanMessage, ...]
    """Errors before the text or in its header."""
    commands: tuple[Command, ...]
    entries: list[Any]
    header: tuple[str, ...] = ()
    """Modules that the text's header imports."""
    unread: int | None = None
    """Line of the first code after `#exit`, which Lean does not read."""


class Declaration(NamedTuple):
    """A declaration of a text."""

    name: NameParts
    """Its full name. The name of an example ends in an arbitrary number."""
    command: Command
    example: bool = False
    generated: bool = False
    """Generated for a type that the command declares, such as a field's default or a derived instance."""


def user_name(parts: NameParts) -> tuple[str | int, ...]:
    """The name as its author wrote it. A private name loses its module."""
    numbers = [i for i, part in enumerate(parts) if isinstance(part, int)]
    return parts[numbers[0] + 1 :] if parts[:1] == ("_private",) and numbers else parts


def shown(parts: NameParts) -> str:
    """The name for display."""
    return ".".join(f"«{p}»" if isinstance(p, str) and not is_component(p) else str(p) for p in user_name(parts))


def declared(report: Report) -> list[Declaration]:
    """The named declarations and examples of a text, in its order, without generated constants."""
    found: list[Declaration] = []
    for command in report.commands:
        found += [Declaration(name, command) for name in _named(command) if name]
        found += [Declaration(name, command, example=True) for name in command.examples]
    return found


def _named(command: Command) -> list[NameParts]:
    if not command.heads:  # not Lean's own syntax for declarations: use all names that Lean recorded
        return [] if command.syntax else list(command.written)
    names: list[NameParts] = []
    for head in sorted(command.heads, key=lambda h: -len(h.name)):
        if head.name and (found := name_of(head, [n for n in command.new if n not in names])) is not None:
            names.append(found)
    unnamed = any(not head.name and head.kind != EXAMPLE for head in command.heads)
    if unnamed:  # an instance, which Lean named
        others = [n for n in command.written or command.new if n not in names]
        names += [n for n in others if not any(n != m and n[: len(m)] == m for m in [*others, *names])]
    return sorted(names, key=command.new.index)


def name_of(head: Head, new: Iterable[NameParts]) -> NameParts | None:
    """The constant in `new` that a head declares: its name, possibly in namespaces."""
    own = head.name[1:] if head.name[:1] == ("_root_",) else head.name
    ending = [n for n in new if user_name(n)[-len(own) :] == own]
    return min(ending, key=len, default=None)


class Obligation(NamedTuple):
    """A declaration of the reference, and the candidate's constants that may satisfy it, most likely first."""

    asked: Declaration
    offered: tuple[NameParts, ...]

    def message(self) -> dict[str, Any]:
        return {"asked": self.asked.name, "offered": self.offered}


def obligations(reference: Report, candidate: Report) -> tuple[list[Obligation], list[Declaration]]:
    """(obligations from the reference, other declarations of the candidate).

    The declaration with the same full name satisfies a named one. An example is satisfied by an example in the same namespace
    after the same named declaration of the reference; these are offered in order.
    """
    asked, there = declared(reference), declared(candidate)
    asked += _made_for_types(reference, {d.name for d in asked})
    wanted = {d.name for d in asked if not d.example}
    places = _places(there, wanted)
    found: list[Obligation] = []
    for declaration, place in _places(asked, wanted):
        if declaration.example:
            offered = tuple(d.name for d, p in places if d.example and p == place)
        else:
            offered = (declaration.name,)
        found.append(Obligation(declaration, offered))
    return found, [d for d in there if d.example or d.name not in wanted]


def _made_for_types(report: Report, named: set[NameParts]) -> list[Declaration]:
    """Constants generated for types, except proofs, whose names are numbered and which are interchangeable."""
    names: list[NameParts] = [tuple(entry[1:]) for entry in report.entries if entry[0] == "n"]
    proofs: set[NameParts] = {names[entry[2]] for entry in report.entries if entry[:2] == ["d", "theorem"]}
    commands = [c for c in report.commands if c.kind in TYPES or any(head.kind in TYPES for head in c.heads)]
    return [Declaration(n, c, generated=True) for c in commands for n in c.new if n not in named and n not in proofs]


def _places(
    declarations: Sequence[Declaration], wanted: set[NameParts]
) -> list[tuple[Declaration, tuple[NameParts, NameParts]]]:
    """Each with (its namespace, the last wanted name before it)."""
    out: list[tuple[Declaration, tuple[NameParts, NameParts]]] = []
    last: NameParts = ()
    for d in declarations:
        out.append((d, (d.name[:-2], last)))
        if d.name in wanted:
            last = d.name
    return out
