"""What Lean reports of a text: which command declared what. And from two such reports, what the first asks of the second.

Pure functions over data: no name is read out of Lean source here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

NameParts = tuple[str | int, ...]
"""A Lean name, component by component, so that one may hold a dot."""

EXAMPLE = "Lean.Parser.Command.example"
TYPES = tuple(
    f"Lean.Parser.Command.{kind}" for kind in ("structure", "inductive", "classInductive", "coinductive", "deriving")
)
"""Kinds of declarations of which all that elaboration makes is asked for."""
TAKEN_BACK = "taken.back"
"""Kind of the head of a declaration that its command took back."""


class LeanMessage(msgspec.Struct, frozen=True):
    """An error of Lean's."""

    file: str
    line: int
    column: int
    m: str


class Head(msgspec.Struct, frozen=True):
    """A declaration as its syntax shows it."""

    kind: str
    name: NameParts
    """As it is written; empty where it has none."""
    value: int
    """Byte at which its value begins."""


class Command(msgspec.Struct, frozen=True):
    """A command of a text, and the constants that it left behind."""

    number: int
    line: int
    kind: str
    """Of its syntax, behind all `… in`."""
    heads: tuple[Head, ...]
    nothing: tuple[Head, ...]
    """Heads of which there is no constant."""
    new: tuple[NameParts, ...]
    written: tuple[NameParts, ...]
    """Those of `new` that Lean noted down as a declaration's name."""
    unsafe: tuple[NameParts, ...]
    examples: tuple[NameParts, ...]
    code: tuple[str, ...]
    """Kinds of syntax in it that may run code."""
    errors: tuple[LeanMessage, ...]
    stopped: str
    """Why it was not elaborated to its end; empty: it was."""
    types: tuple[str, ...] = ()
    """Of `written` and then `examples`, for people, where they were asked for."""

    syntax: bool = False
    """Whether it defines syntax, as `notation` and `macro` do."""

    def type_of(self, name: NameParts) -> str:
        """The type of something that it declares, for people; empty: unknown."""
        return next((t for n, t in zip((*self.written, *self.examples), self.types, strict=False) if n == name), "")


class Report(msgspec.Struct, frozen=True):
    """Lean's report of a text. `entries`: its constants as data, for the checker."""

    errors: tuple[LeanMessage, ...]
    """Of what stands before the text, or of its header."""
    commands: tuple[Command, ...]
    entries: list[Any]
    header: tuple[str, ...] = ()
    """Modules that the text's header imports."""
    unread: int | None = None
    """Line of the first code that Lean does not read, behind `#exit`."""


class Declaration(NamedTuple):
    """Something that a text declares."""

    name: NameParts
    """Its full name. Examples have a number behind theirs, which says nothing."""
    command: Command
    example: bool = False
    generated: bool = False
    """Made by elaboration for a type that the command declares: a field's default, a derived instance."""


def user_name(parts: NameParts) -> tuple[str | int, ...]:
    """The name as its author wrote it: a private one without its module."""
    numbers = [i for i, part in enumerate(parts) if isinstance(part, int)]
    return parts[numbers[0] + 1 :] if parts[:1] == ("_private",) and numbers else parts


def shown(parts: NameParts) -> str:
    """A name for people."""
    return ".".join(f"«{p}»" if isinstance(p, str) and _needs_marks(p) else str(p) for p in user_name(parts))


def _needs_marks(part: str) -> bool:
    return not part or not (part[0].isalpha() or part[0] == "_") or any(c in part for c in ". «»\n\t-+*/")


def declared(report: Report) -> list[Declaration]:
    """What the text declares by name, and its examples, in its order; not what elaboration makes besides."""
    found: list[Declaration] = []
    for command in report.commands:
        found += [Declaration(name, command) for name in _named(command) if name]
        found += [Declaration(name, command, example=True) for name in command.examples]
    return found


def _named(command: Command) -> list[NameParts]:
    if not command.heads:  # syntax that is not Lean's own for declarations: whatever Lean noted down
        return [] if command.syntax else list(command.written)
    names: list[NameParts] = []
    for head in sorted(command.heads, key=lambda h: -len(h.name)):
        if head.name and (found := name_of(head, [n for n in command.new if n not in names])) is not None:
            names.append(found)
    unnamed = any(not head.name and head.kind != EXAMPLE for head in command.heads)
    if unnamed:  # an instance, which Lean gave a name
        others = [n for n in command.written or command.new if n not in names]
        names += [n for n in others if not any(n != m and n[: len(m)] == m for m in [*others, *names])]
    return sorted(names, key=command.new.index)


def name_of(head: Head, new: Iterable[NameParts]) -> NameParts | None:
    """The constant that a head declares: its name with the namespaces that are open there."""
    own = head.name[1:] if head.name[:1] == ("_root_",) else head.name
    ending = [n for n in new if user_name(n)[-len(own) :] == own]
    return min(ending, key=len, default=None)


class Obligation(NamedTuple):
    """A declaration of the reference, and the candidate's constants that may meet it, likeliest first."""

    asked: Declaration
    offered: tuple[NameParts, ...]

    def message(self) -> dict[str, Any]:
        return {"asked": self.asked.name, "offered": self.offered}


def obligations(reference: Report, candidate: Report) -> tuple[list[Obligation], list[Declaration]]:
    """(what the reference asks for, what the candidate declares besides).

    A named declaration is met by that of the same full name. An example is met by an example of the same namespace that stands
    behind the same named declaration of the reference; those there are offered in their order.
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
    """But for proofs: their names count how many there are, and one is as good as another."""
    names = [tuple(entry[1:]) for entry in report.entries if entry[0] == "n"]
    proofs = {names[entry[2]] for entry in report.entries if entry[:2] == ["d", "theorem"]}
    commands = [c for c in report.commands if c.kind in TYPES or any(head.kind in TYPES for head in c.heads)]
    return [Declaration(n, c, generated=True) for c in commands for n in c.new if n not in named and n not in proofs]


def _places(
    declarations: Sequence[Declaration], wanted: set[NameParts]
) -> list[tuple[Declaration, tuple[NameParts, NameParts]]]:
    """Each with (its namespace, the wanted name that stands last before it)."""
    out: list[tuple[Declaration, tuple[NameParts, NameParts]]] = []
    last: NameParts = ()
    for d in declarations:
        out.append((d, (d.name[:-2], last)))
        if d.name in wanted:
            last = d.name
    return out
