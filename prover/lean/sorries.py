"""Open every `sorry` of a `.lean` file as a task, in the context where Lean elaborates it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prover.lean.declared import LeanMessage
from prover.lean.project import SourceModule
from prover.lean.server import LeanError, LeanServer
from prover.lean.text import LeanText, code_words, index_at, line_at
from prover.lean.theorem import ProofState


@dataclass(frozen=True)
class Hole:
    """A `sorry` in a file."""

    name: str
    """Name of its declaration, with `#2`, `#3` … for further holes in the same declaration."""
    line: int
    column: int
    """In characters, from 0."""
    start: int
    """Start and stop in UTF-8 bytes of the text with `\\n` line ends."""
    stop: int
    tactic: bool
    """Whether it is a tactic, not a term."""
    goals: tuple[str, ...]
    """Its goals as Lean prints them; several if Lean elaborates it several times, as after `<;>`."""
    proposition: bool
    """Whether its goals are propositions. Data cannot be checked."""


@dataclass(frozen=True)
class FileSorries:
    """The `sorry`s of a file, in source order, and its errors."""

    holes: list[Hole]
    errors: tuple[LeanMessage, ...] = ()
    hidden: tuple[str, ...] = ()
    """Names of declarations with a `sorry` that no proof can replace, because it comes from a macro such as `admit`."""


async def load_file(
    server: LeanServer, text: LeanText, imports: Sequence[str] | None = None, before: Sequence[SourceModule] = ()
) -> tuple[FileSorries, list[list[ProofState]]]:
    """Every `sorry` of a file in source order, and its states on the server.

    `imports`: compiled modules (None: the file's imports); `before`: imports given as source. Raises LeanError with file, line
    and column if a module before the file has an error.
    """
    names = text.imports if imports is None else imports
    found, errors = await server.load_with_errors(text.body, names, text.path, before)
    if (elsewhere := next((e for e in errors if e.file != text.path), None)) is not None:
        await server.free([state for _, state in found])
        raise LeanError(str(elsewhere))
    data = text.text.encode()
    places: dict[tuple[int, int], list[tuple[dict[str, Any], ProofState]]] = {}
    unused: list[ProofState] = []
    hidden: dict[str, None] = {}
    for hole, state in found:
        place = (hole.get("start", -1), hole.get("stop", -1))
        # A `sorry` from a macro has no position in the file, or that of other text.
        if hole.get("synthetic") or data[max(place[0], 0) : place[1]] != b"sorry":
            unused.append(state)
            hidden[public(hole["decl"].replace("[anonymous]", ""))] = None
            continue
        known = places.setdefault(place, [])
        if any(s.shared == state.shared for _, s in known):
            unused.append(state)
        else:
            known.append((hole, state))
    if unused:
        await server.free(unused)
    holes: list[Hole] = []
    seen: Counter[str] = Counter()
    for start, stop in sorted(places):
        here = places[start, stop]
        shown = _shown_decl(text, start, here[0][0]["decl"])
        seen[shown] += 1
        kinds = [(await server.step(s, ("show (_ : Prop)",)))[0] for _, s in here]
        await server.free([c for kind in kinds for c in kind.states])
        holes.append(
            Hole(
                shown if seen[shown] == 1 else f"{shown}#{seen[shown]}",
                text.line(start),
                len(data[data.rfind(b"\n", 0, start) + 1 : start].decode()),
                start,
                stop,
                here[0][0]["tactic"],
                tuple(s.text for _, s in here),
                all(k.ok for k in kinds),
            )
        )
    states = [[state for _, state in places[place]] for place in sorted(places)]
    return FileSorries(holes, tuple(errors), tuple(hidden)), states


def _shown_decl(text: LeanText, start: int, decl: str) -> str:
    """The declaration around a byte offset, for display."""
    decl = "" if decl == "[anonymous]" else decl
    if decl.split(".")[-1] == "_example":
        at = index_at(text.text, start)
        last = [i for word, i in code_words(text.text) if i < at and word == "example"][-1:] or [at]
        return f"example at line {line_at(text.text, last[0])}"
    return public(decl) or f"line {text.line(start)}"


def public(decl: str) -> str:
    """`_private.Module.0.name` without its prefix."""
    return decl.split(".0.", 1)[1] if decl.startswith("_private.") and ".0." in decl else decl
