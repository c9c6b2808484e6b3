"""Finds declarations in source text: where they begin, where their values begin, and the commands before them."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from prover.lean.brackets import PAIRS, plain_names
from prover.lean.text import code_words, literal_ends, masked

THEOREMS = ("theorem", "lemma", "example")
DEFINITIONS = ("def", "abbrev")
KEYWORDS = (*THEOREMS, *DEFINITIONS, "instance", "structure", "inductive", "class", "axiom", "opaque")
_MODIFIERS = frozenset(
    ("private", "protected", "public", "nonrec", "noncomputable", "unsafe", "partial", "scoped", "local", "meta")
)
_SCOPED = re.compile(r"\b(?:open|set_option|variable|omit|include|universe|attribute)\b")
_HEAD = re.compile(r"\w+\s*(?P<name>(?:«[^»]*»|[^\s({\[⦃:.«]|\.(?!\{))+)?(?:\.\{(?P<universes>[^}]*)\})?")
_SORRY = re.compile(r":=\s*(?:by\s+)?sorry(?![\w.'!?])")
_SCOPE_NAME = re.compile(r"[ \t]+((?:«[^»\n]*»|[^\W\d][\w'!?]*)(?:\.(?:«[^»\n]*»|[^\W\d][\w'!?]*))*)")
_SCOPES = ("namespace", "section", "mutual", "end")
_COMMANDS = frozenset((*KEYWORDS, *_MODIFIERS, "open", "set_option", "variable", "omit", "include", "universe"))

MAX_ATTRIBUTES = 10_000
"""Limit on an attribute list, in characters."""
MAX_COMMANDS = 20
"""Limit on the number of commands such as `open X in` before a declaration."""


class Head(NamedTuple):
    """The name and the universes of a declaration, and the index after them. `root`: whether the name begins with `_root_.`."""

    name: str
    universes: tuple[str, ...]
    end: int
    name_end: int
    root: bool = False

    @property
    def written(self) -> str:
        """The name as in the source."""
        return f"_root_.{self.name}" if self.root else self.name


class Declarations:
    """Lean source text, without its imports, and the places of its declarations."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.code = masked(text)
        """The text with blanks for comments and strings, at the same indices."""
        self.words = list(code_words(text))
        self._starts: dict[tuple[str, ...], list[int]] = {}

    def starts(self, keywords: tuple[str, ...]) -> list[int]:
        """Indices of these keywords, in order. A field such as `(x).class` is not a keyword."""
        if keywords not in self._starts:
            found = [at for word, at in self.words if word in keywords and self.code[at - 1 : at] != "."]
            self._starts[keywords] = found
        return self._starts[keywords]

    def last(self, keywords: tuple[str, ...], end: int) -> int | None:
        """Index of the last of these keywords before `end`."""
        starts = self.starts(keywords)
        count = bisect_left(starts, end)
        return starts[count - 1] if count else None

    def begins_line(self, at: int) -> bool:
        """Whether only modifiers, attributes and commands with `in` stand before `at` in its line."""
        before = self.code[self.code.rfind("\n", 0, at) + 1 : at].split()
        return not before or before[-1].endswith("]") or before[-1] in _MODIFIERS or before[-1] == "in"

    def head(self, at: int) -> Head:
        """The head of the declaration whose keyword is at `at`."""
        found = _HEAD.match(self.code, at)
        assert found is not None
        universes = tuple(re.findall(r"[^\s,]+", found["universes"] or ""))
        name = found["name"] or ""
        return Head(name.removeprefix("_root_."), universes, found.end(), found.end("name"), name.startswith("_root_."))

    @cached_property
    def _stops(self) -> frozenset[int]:
        return frozenset(self.starts(KEYWORDS))

    @cached_property
    def _bindings(self) -> frozenset[int]:
        return frozenset(self.starts(("let", "have", "letI", "haveI", "let_fun")))

    @cached_property
    def _literal_ends(self) -> frozenset[int]:
        """Where `code` has blanks that are part of the code."""
        return literal_ends(self.text)

    @cached_property
    def _plain(self) -> str:
        return plain_names(self.code)

    def value(self, at: int, end: int | None = None) -> int | None:
        """Index of the `:=` of the declaration at `at`: the first outside brackets that does not belong to a `let` or `have`
        in its type. None if the declaration has none before `end`."""
        closing: list[str] = []
        bound = 0
        for i in range(at, len(self._plain) if end is None else end):
            c = self._plain[i]
            if i in self._stops and i > at:  # inside a bracket too, if that is never closed
                return None
            if c in PAIRS:
                closing.append(PAIRS[c])
            elif closing and c == closing[-1]:
                closing.pop()
            elif closing:
                continue
            elif i in self._bindings:
                bound += 1
            elif c == ":" and self.code.startswith(":=", i):
                if not bound:
                    return i
                bound -= 1
        return None

    def end_of_sorry(self, at: int) -> int | None:
        """Index after a declaration whose whole value is `sorry`. None for other declarations."""
        value = self.value(at)
        found = _SORRY.match(self.code, value) if value is not None else None
        return found.end() if found is not None else None

    def begin(self, at: int) -> tuple[int, list[str]]:
        """(index after the last code before the declaration at `at`, commands that only apply to it).

        What lies between the index and `at` belongs to the declaration: comments, attributes, modifiers, and `open X in`,
        which is among the commands as `open X`.
        """
        code, end, commands = self.code, at, list[str]()
        while True:
            while end and code[end - 1].isspace() and end not in self._literal_ends:
                end -= 1
            last = re.search(r"\w+\Z", code[max(0, end - 20) : end])
            word = last[0] if last is not None else ""
            if word in _MODIFIERS:
                end -= len(word)
            elif code[end - 1 : end] == "]" and (start := self._attribute(end)) is not None:
                end = start
            elif word == "in" and len(commands) < MAX_COMMANDS and (start := self._command(end - 2)) is not None:
                commands.insert(0, self.text[start : end - 2].strip())
                end = start
            else:
                return end, commands

    def _attribute(self, end: int) -> int | None:
        """Start of the attribute list that ends at `end`."""
        depth = 0
        for i in range(end - 1, max(0, end - MAX_ATTRIBUTES), -1):
            depth += (self.code[i] == "]") - (self.code[i] == "[")
            if depth == 0:
                return i - 1 if self.code[i - 1] == "@" else None
        return None

    def _command(self, end: int) -> int | None:
        """Start of the command, in the same line, whose `in` is at `end`."""
        line = self.code.rfind("\n", 0, end) + 1
        found = list(_SCOPED.finditer(self.code, line, end))
        return found[-1].start() if found else None


def statement_in(source: str, at: int, end: int | None) -> tuple[str, int | None]:
    """The statement between `at` and `end`, and its column if it has several lines (Theorem.column)."""
    text = source[at:end]
    statement, begin = text.strip(), at + len(text) - len(text.lstrip())
    return statement, begin - (source.rfind("\n", 0, begin) + 1) if "\n" in statement else None


def context_before(source: Declarations, at: int, text: str | None = None) -> str:
    """The text before the declaration at `at`, as whole commands. Before the last declaration, `open X in` is `open X`. `text`: the
    text of `source` after `without_lines`."""
    end, commands = source.begin(at)
    before = source.text[:end] if text is None else text[:end].rstrip()
    return "\n".join([before, *commands]).strip("\n ")


OTHER_COMMANDS = (
    r"(?:variable|universe|namespace|section|end|open|export|attribute|set_option|local|scoped|notation|macro|syntax|infix[lr]?|prefix"
    r"|postfix|elab)\b"
)
"""Regular expression for the first word of a command that declares nothing."""
_COMMAND_LINE = re.compile(f"^{OTHER_COMMANDS}", re.MULTILINE)


def without_lines(source: Declarations, lines: Collection[int]) -> str:
    """The text with blanks in place of the declarations that contain these lines (from 1). Other lines and columns do not change."""
    begins = {source.begin(at)[0] for at in source.starts(KEYWORDS) if source.begins_line(at)}
    commands = {m.start() for m in _COMMAND_LINE.finditer(source.code)}
    parts: list[str] = []
    line = 1
    for begin, stop in pairwise(sorted({0, *begins, *commands, len(source.text)})):
        part = source.text[begin:stop]
        first = line + part[: len(part) - len(part.lstrip())].count("\n")
        if begin in begins and any(first <= n <= first + part.strip().count("\n") for n in lines):
            part = re.sub(r"[^\n]", " ", part)
        parts.append(part)
        line += part.count("\n")
    return "".join(parts)


def declared_names(text: str) -> set[str]:
    """The last components of the names that Lean source declares, without « »."""
    source = Declarations(text)
    return {source.head(at).name.rpartition(".")[2].strip("«»") for at in source.starts(KEYWORDS)} - {""}


def with_universes(context: str, names: Iterable[str]) -> str:
    """The context with a `universe` command for the names that its open scopes do not declare, so that a theorem's name needs no universes."""
    source, scopes = Declarations(context), list[tuple[str, str]]()
    known: list[tuple[str, int]] = []  # (universe, scopes around its command)
    for word, at in source.words:
        if _follow(scopes, source, word, at):
            known = [(u, depth) for u, depth in known if depth <= len(scopes)]
        elif word in ("universe", "universes"):
            line, _, _ = source.code[at + len(word) :].partition("\n")
            known += [(u, len(scopes)) for u in line.split()]
    new = [u for u in names if u not in dict(known)]
    return "\n".join([context, f"universe {' '.join(new)}"]) if new else context


def scope_ends(text: str) -> list[str]:
    """The `end` commands for the sections and namespaces that Lean source leaves open, innermost first."""
    source, scopes = Declarations(text), list[tuple[str, str]]()
    for word, at in source.words:
        _follow(scopes, source, word, at)
    return [f"end {name}".rstrip() for _, name in reversed(scopes)]


def full_names(source: Declarations, keywords: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """(full name, index of the keyword) of each named declaration with one of these keywords."""
    scopes: list[tuple[str, str]] = []
    for word, at in source.words:
        if word not in (*_SCOPES, *keywords) or not source.begins_line(at):
            continue
        if not _follow(scopes, source, word, at) and (head := source.head(at)).name:
            spaces = [name for kind, name in scopes if kind == "namespace" and not head.root]
            yield ".".join([*spaces, head.name]), at


def _follow(scopes: list[tuple[str, str]], source: Declarations, word: str, at: int) -> bool:
    """Open or close a scope, (keyword, name), if the word does so. Returns whether it does."""
    if word not in _SCOPES or source.code[at - 1 : at] in (".", "("):  # `.end`, and the syntax `(end A)`
        return False
    found = _SCOPE_NAME.match(source.code, at + len(word))
    # A command may follow in the line.
    names = re.findall(r"«[^»]*»|[^.]+", found[1]) if found is not None and found[1] not in _COMMANDS else [""]
    if word == "end":
        del scopes[max(0, len(scopes) - len(names)) :]
    else:
        scopes += [(word, name) for name in names]
    return True
