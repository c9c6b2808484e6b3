"""Declarations and proof steps of a `.lean` file, as Lean's info trees report them (Turnstile/Extract.lean).

A step is a tactic in a sequence of tactics, or a term that is a whole proof. Its states are printed as LeanServer prints them, and
the state before it stays open on the server, so that `prover.lean.extract_replay` can run the step again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from prover.lean import protocol
from prover.lean.declared import Head, LeanMessage, NameParts, name_of, shown
from prover.lean.project import SourceModule
from prover.lean.server import LeanError, LeanServer
from prover.lean.text import LeanText, edited
from prover.lean.theorem import ProofState

Span = tuple[int, int]
"""Start and stop in UTF-8 bytes of LeanText.text."""
_THEOREM = ("Lean.Parser.Command.theorem", "group")
"""Kinds of declarations that state a theorem: `theorem`, and commands of its shape that a library defines, such as `lemma`."""
_COMMAND = "Lean.Parser.Command."


class Declaration(msgspec.Struct, frozen=True):
    """A declaration of a file."""

    kind: str
    """Its keyword: `theorem` (also for `lemma`), `definition`, `instance`, `structure` …"""
    parts: NameParts = msgspec.field(name="name")
    """As written; empty if it has none."""
    whole: Span
    """With its doc comment and modifiers, without `open … in` before it."""
    declared_name: Span | None = msgspec.field(name="name_span")
    """With universes."""
    signature: Span | None
    value: Span | None
    """From `:=` or the first `|` on."""
    body: Span | None
    """The term after `:=`. None without one, as in a definition by equations."""
    tactics: bool
    """Whether the body is `by …`."""
    suffix: bool
    """Whether something follows the body, such as `where` or `termination_by`."""
    sorry: bool
    """Whether the word `sorry` stands in its value."""
    settings: tuple[Span, ...]
    """The commands before `in`, such as `open Nat`, the outermost first."""
    inside: bool
    """Whether it is part of a larger command, such as `mutual`."""
    full_name: str = ""
    """`example at line 3` without a name."""
    name: str = msgspec.field(default="", name="written")
    """As written, without universes; empty if it has none."""

    @property
    def is_theorem(self) -> bool:
        return self.kind == "theorem" and self.signature is not None and bool(self.name)


class _Command(msgspec.Struct, frozen=True):
    items: tuple[Declaration, ...]
    new: tuple[NameParts, ...]


class _Hole(msgspec.Struct, frozen=True):
    tactic: bool
    start: int
    stop: int
    uses: tuple[tuple[str, int, int], ...]
    error: str = ""
    states: tuple[protocol.StateMessage, ...] = ()
    order: tuple[tuple[int, int], ...] = ()
    after: tuple[protocol.GoalMessage, ...] = ()
    assigned: tuple[str, ...] = ()


class _Answer(msgspec.Struct, frozen=True):
    errors: tuple[LeanMessage, ...]
    commands: tuple[_Command, ...]
    holes: tuple[_Hole, ...]
    premises: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Step:
    """A step of a proof."""

    declaration: Declaration | None
    span: Span
    tactic: bool
    """Whether it is a tactic, not a term."""
    before: tuple[str, ...]
    """The goals before it, in Lean's order."""
    after: tuple[str, ...]
    renamed: tuple[str, ...]
    """Goal.renamed of the first goal before it."""
    uses: tuple[tuple[str, Span], ...]
    """Constants that its text names, with their positions."""
    assigned: tuple[str, ...]
    """Theorems in the terms that it gave its goals."""
    states: tuple[ProofState, ...]
    """The groups of goals before it, open on the server."""
    order: tuple[tuple[int, int], ...]
    """As StepResult.order, for `states`."""


@dataclass(frozen=True)
class Extraction:
    """The declarations of a file and the steps of its proofs, in its order."""

    declarations: tuple[Declaration, ...]
    steps: tuple[Step, ...]
    modules: dict[str, str]
    """The imported module of each constant that a step mentions; empty for constants of the project."""
    unprinted: int
    """Number of steps whose states Lean could not print."""


class ExtractServer(LeanServer):
    """A LeanServer that also reports declarations and steps."""

    async def extract(
        self, text: LeanText, imports: Sequence[str], before: Sequence[SourceModule] = (), steps: bool = True
    ) -> Extraction:
        """The declarations of a file and, if `steps`, the steps of its proofs. Free the steps' states in the end.

        Raises LeanError with `file:line:column: message` when the file or a module has an error.
        """
        request: dict[str, Any] = {"cmd": "extract", "source": text.body, "imports": list(imports), "file": text.path}
        request |= {"steps": steps, "before": [module.message() for module in before]}
        raw = await self.command(**request)
        answer = msgspec.convert(raw, _Answer)
        if answer.errors:
            raise LeanError(str(answer.errors[0]))
        declarations = tuple(d for command in answer.commands for d in _declarations(command, text))
        states = iter([state for _, state in self._adopt(request, raw)])
        opened = [tuple(next(states) for _ in hole.states) for hole in answer.holes]
        found = [_step(hole, groups, declarations) for hole, groups in zip(answer.holes, opened, strict=True) if groups]
        found.sort(key=lambda s: (s.span[0], -s.span[1]))
        return Extraction(declarations, tuple(found), dict(answer.premises), sum(not groups for groups in opened))

    def _opened(self, answer: dict[str, Any]) -> list[dict[str, Any]]:
        """Each group of goals of a step as a hole of its own, because an origin numbers single states."""
        return [{**hole, "states": [state]} for hole in super()._opened(answer) for state in hole["states"]]


def _declarations(command: _Command, text: LeanText) -> list[Declaration]:
    found: list[Declaration] = []
    data = text.text.encode()
    left = list(command.new)
    for item in sorted(command.items, key=lambda i: -len(i.parts)):
        kind = "theorem" if item.kind in _THEOREM else item.kind.removeprefix(_COMMAND)
        name = name_of(Head(item.kind, item.parts, 0), left) if item.parts else None
        if name is not None:
            left.remove(name)
        full_name = shown(name) if name is not None else f"{kind} at line {text.line(item.whole[0])}"
        span = item.declared_name or (0, 0)
        written = data[span[0] : span[1]].decode().partition(".{")[0].strip()
        found.append(msgspec.structs.replace(item, kind=kind, full_name=full_name, name=written))
    return sorted(found, key=lambda d: d.whole)


def _step(hole: _Hole, states: tuple[ProofState, ...], declarations: tuple[Declaration, ...]) -> Step:
    goals = [states[group].goals[i] for group, i in hole.order]
    around = next((d for d in declarations if d.whole[0] <= hole.start and hole.stop <= d.whole[1]), None)
    return Step(
        around,
        (hole.start, hole.stop),
        hole.tactic,
        tuple(g.text for g in goals),
        tuple(g.t for g in hole.after),
        goals[0].renamed,
        tuple((name, (start, stop)) for name, start, stop in hole.uses),
        hole.assigned,
        states,
        hole.order,
    )


def step_text(data: bytes, span: Span, marks: Sequence[Span] = ()) -> str:
    """The text of a step as a tactic of its own: lines after the first lose the indentation of the first.

    `marks`: parts, in order and apart, to put between `<a>` and `</a>`, as LeanDojo marks premises.
    """
    before = data[: span[0]].decode()
    column = len(before) - before.rfind("\n") - 1
    marked = [(start, stop, b"<a>%b</a>" % data[start:stop]) for start, stop in marks]
    first, *rest = edited(data[: span[1]], marked)[span[0] :].decode().split("\n")
    indent = min((len(line) - len(line.lstrip(" ")) for line in rest if line.strip()), default=0)
    # If the tactic does not begin its line, later lines may be indented less than it. They must stay to the right of the tactic.
    cut, add = (column, "") if indent >= column else (indent, "  ")
    return "\n".join([first, *(add + line[cut:] if line.strip() else "" for line in rest)])


def as_tactic(text: str) -> str:
    """A term as the tactic that gives it."""
    return f"exact {text}" if "\n" not in text else "exact (\n  " + text.replace("\n", "\n  ") + ")"
