"""Which `sorry`s of a file a command names (`--only`, `FILE.lean:LINE`), and which ones no command can try."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prover.errors import UserError
from prover.lean.sorries import FileSorries, Hole
from prover.lean.text import LeanText, code_words

_DECLARATIONS = (
    "theorem",
    "lemma",
    "def",
    "abbrev",
    "example",
    "instance",
    "structure",
    "class",
    "inductive",
    "opaque",
)
_MACROS = (
    "macro",
    "macro_rules",
    "notation",
    "elab",
    "elab_rules",
    "syntax",
    "infix",
    "infixl",
    "infixr",
    "prefix",
    "postfix",
)
_LISTED = 12
"""Most names or lines in a message."""


def select(text: LeanText, holes: Sequence[Hole], only: Sequence[str], line: int | None) -> list[int]:
    """Numbers of the `sorry`s with these names and on this line; all if nothing is named. Raises UserError for what does not exist.

    A name is that of a declaration, with or without its namespace, or the name of one `sorry` in answers (`NAME#2`).
    """
    chosen = list(range(len(holes)))
    if line is not None:
        own = [i for i in chosen if holes[i].line == line]
        chosen = own or [i for i in chosen if _declaration_line(text, holes[i]) <= line <= holes[i].line]
        if not chosen:
            lines = _listed(list(dict.fromkeys(str(h.line) for h in holes)))
            raise UserError(f"{text.path}:{line}: no `sorry` there; the file has one at line {lines}")
    if not only:
        return chosen
    named: set[int] = set()
    for name in only:
        found = [i for i in chosen if name in (holes[i].name, _declared(holes[i]))]
        found = found or [i for i in chosen if _declared(holes[i]).endswith(f".{name}")]
        if not found:
            known = _listed(list(dict.fromkeys(_declared(holes[i]) for i in chosen)))
            raise UserError(f"--only {name}: {text.path} has no `sorry` in {name}; it has some in {known}")
        named.update(found)
    return sorted(named)


def _declared(hole: Hole) -> str:
    return hole.name.rpartition("#")[0] or hole.name


def _declaration_line(text: LeanText, hole: Hole) -> int:
    """Line of the last keyword of a declaration before a `sorry`."""
    at = len(text.text.encode()[: hole.start].decode())
    starts = [i for word, i in code_words(text.text) if i < at and word in _DECLARATIONS]
    return text.text.count("\n", 0, starts[-1]) + 1 if starts else hole.line


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return (", ".join(items[:_LISTED]) or "none") + more


def unreached(text: LeanText, every: FileSorries) -> list[dict[str, Any]]:
    """The `sorry`s that no proof can replace: those that macros write, and those that Lean never elaborates, as in a field's
    default tactic or an unused alternative of `first`."""
    starts = {hole.start for hole in every.holes}
    found = [
        {
            "line": h.line,
            "name": h.decl,
            "reason": f"`{h.text}` is a macro that stands for `sorry`; write `sorry` itself",
        }
        for h in every.hidden
    ]
    command, name = "", ""
    words = list(code_words(text.text))
    for number, (word, i) in enumerate(words):
        if word in _DECLARATIONS or word in _MACROS:
            command = word
            name = words[number + 1][0] if word in _DECLARATIONS and number + 1 < len(words) else ""
        elif word == "sorry" and (at := len(text.text[:i].encode())) not in starts:
            macro = command in _MACROS
            reason = "part of a macro, and not a goal" if macro else "Lean never elaborates it"
            found.append({"line": text.line(at), "name": command if macro else name, "reason": reason})
    return sorted(found, key=lambda f: f["line"])
