"""Selects the `sorry`s of a file that a command names (`--only`, `FILE.lean:LINE`), and lists those that no command can try."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prover.errors import UserError
from prover.lean.declarations import KEYWORDS, Declarations
from prover.lean.names import without_marks
from prover.lean.sorries import FileSorries, Hole
from prover.lean.text import LeanText, code_words, index_at, line_at

_MACRO_WORDS = "macro macro_rules notation elab elab_rules syntax infix infixl infixr prefix postfix"
_MACROS = tuple(_MACRO_WORDS.split())
_LISTED = 12
"""Most names or lines in a message."""


def select(text: LeanText, holes: Sequence[Hole], only: Sequence[str], line: int | None) -> list[int]:
    """Numbers of the `sorry`s with these names and on this line; all if nothing is named. Raises UserError for a name or line without
    a `sorry`.

    A name is that of a declaration, with or without its namespace, or the name of one `sorry` in answers (`NAME#2`).
    """
    chosen = list(range(len(holes)))
    if not holes and (line is not None or only):
        raise UserError(f"{text.path}: has no `sorry`; leave out {'the line' if line is not None else '--only'}")
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
        bare = without_marks(name)
        found = [i for i in chosen if bare in map(without_marks, (holes[i].name, _declared(holes[i])))]
        found = found or [i for i in chosen if without_marks(_declared(holes[i])).endswith(f".{bare}")]
        if not found:
            known = _listed(list(dict.fromkeys(_declared(holes[i]) for i in chosen)))
            raise UserError(f"--only {name}: {text.path} has no `sorry` in {name}; it has some in {known}")
        named.update(found)
    return sorted(named)


def _declared(hole: Hole) -> str:
    return hole.name.rpartition("#")[0] or hole.name


def _declaration_line(text: LeanText, hole: Hole) -> int:
    """Line of the last keyword of a declaration before a `sorry`."""
    at = Declarations(text.body).last(KEYWORDS, index_at(text.body, hole.start))
    return line_at(text.body, at) if at is not None else hole.line


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return (", ".join(items[:_LISTED]) or "none") + more


def unreached(text: LeanText, every: FileSorries) -> list[dict[str, Any]]:
    """The `sorry`s that no proof can replace: those in a macro or from one, such as `admit`, and those that Lean never elaborates, as in
    a field's default tactic or an unused alternative of `first`. `used`: whether a declaration rests on it."""
    starts = {hole.start for hole in every.holes}
    macro = False
    name = ""
    lines: dict[str, int] = {}
    found: list[dict[str, Any]] = []
    words = list(code_words(text.text))
    line, at = 1, 0
    for number, (word, i) in enumerate(words):
        line, at = line + text.text.count("\n", at, i), i
        if word in KEYWORDS or word in _MACROS:
            macro = word in _MACROS
            name = words[number + 1][0] if not macro and number + 1 < len(words) else ""
            lines.setdefault(name, line)
        elif word == "sorry" and len(text.text[:i].encode()) not in starts:
            reason = "it is part of a macro" if macro else "Lean never elaborates it"
            found.append({"line": line, "name": name, "reason": reason, "used": False})
    reason = "a macro, such as `admit`, stands for it; write `sorry` itself"
    for decl in every.hidden:
        parts = decl.split(".")
        known = next((n for i in range(len(parts)) if (n := lines.get(".".join(parts[i:])))), None)
        found.append({"line": known, "name": decl, "reason": reason, "used": True})
    return sorted(found, key=lambda f: f["line"] or 0)
