"""Where a theorem stands in the text of a `.lean` file, found without running Lean.

This finds candidates only. Lean has the last word: compare the name of what Lean elaborated with the one asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prover.lean.theorem import Theorem

_HEADER_WORD = re.compile(r"\s*(?:(module|prelude)\b|((?:public\s+|meta\s+)*import)\s+((?:all\s+)?[^\s]+))")
_NAME = r"(?:«[^»]*»|[^\s:({\[⦃|@.]|\.(?!\{))+"
_COMMAND = re.compile(
    r"^[ \t]*(?:@\[[^\]]*\]\s*)*"
    r"(?:(?P<scope>namespace|end|(?:(?:public|noncomputable|meta)\s+|@\[expose\]\s*)*section)\b[ \t]*(?P<label>[^\s]*)"
    rf"|(?:(?:private|protected|public|noncomputable|unsafe|partial|nonrec|scoped|local)\s+)*"
    rf"(?P<kind>theorem|lemma|def|abbrev|instance|example)\b[ \t\n]+(?P<name>{_NAME}))",
    re.MULTILINE,
)
_OPENING, _CLOSING = "([{⟨⦃⟦", ")]}⟩⦄⟧"
_OTHER_PROOF = re.compile(r"\s+(?:where\b|\|\s)")
_TOP_LEVEL = re.compile(r"\n(?=[^\s])")


@dataclass(frozen=True)
class Place:
    """A theorem in source text without its header."""

    imports: tuple[str, ...]
    body: str
    """The text with its header blanked out, so that lines keep their numbers."""
    full_name: str
    statement_ends: tuple[int, ...]
    """Offsets into `body` where the statement may end, likeliest first: only Lean's parser knows."""
    statement_starts: int
    """Offset behind the theorem's name."""

    def theorem(self, source: str) -> Theorem:
        """The theorem as one to prove: everything before it is its context, its attributes left out."""
        command = next(m for m in _COMMAND.finditer(masked(self.body)) if m.end() == self.statement_starts)
        written = self.body[command.start("name") : command.end("name")]
        statement = self.body[self.statement_starts : self.statement_ends[0]].strip()
        context = self.body[: command.start()].strip()
        return Theorem(written, statement, imports=self.imports, context=context, source=source)

    def with_proof(self, proof: str = ":= by\n  sorry", end: int = 0) -> str:
        """The text up to the theorem, with `proof` in place of its own. `end`: which of `statement_ends`."""
        return self.body[: self.statement_ends[end]].rstrip() + " " + proof + "\n"


def masked(text: str) -> str:
    """The text with comments and string literals blanked, all offsets and line breaks kept."""
    out = list(text)
    i, n = 0, len(text)

    def blank(a: int, b: int) -> None:
        for k in range(a, b):
            if out[k] != "\n":
                out[k] = " "

    while i < n:
        two = text[i : i + 2]
        if two == "--":
            stop = text.find("\n", i)
            stop = n if stop < 0 else stop
        elif two == "/-":
            depth, stop = 1, i + 2
            while stop < n and depth:
                pair = text[stop : stop + 2]
                depth += (pair == "/-") - (pair == "-/")
                stop += 2 if pair in ("/-", "-/") else 1
        elif text[i] == '"' and text[i - 1 : i + 2] != "'\"'":
            stop = i + 1
            while stop < n and text[stop] != '"':
                stop += 2 if text[stop] == "\\" else 1
            stop = min(stop + 1, n)
        else:
            i += 1
            continue
        blank(i, stop)
        i = stop
    return "".join(out)


def split_header(text: str) -> tuple[tuple[str, ...], str]:
    """(modules that the file imports, `Init` first unless it says `prelude`; the text with the header blanked out)."""
    plain = masked(text)
    imports: list[str] = []
    prelude = False
    at = 0
    while m := _HEADER_WORD.match(plain, at):
        if m[2]:
            imports.append(m[3].split()[-1])
        prelude = prelude or m[1] == "prelude"
        at = m.end()
    if not prelude and "Init" not in imports:
        imports.insert(0, "Init")
    return tuple(imports), re.sub(r"[^\n]", " ", text[:at]) + text[at:]


def declarations(plain: str) -> Iterator[tuple[str, int]]:
    """(full name, offset behind the name) of every named declaration in masked text, by its namespaces, in order."""
    scopes: list[tuple[str, ...]] = []
    for m in _COMMAND.finditer(plain):
        name, scope = m["name"], m["scope"]
        if name is not None:
            full = (name[7:],) if name.startswith("_root_.") else (*(part for s in scopes for part in s), name)
            yield ".".join(full), m.end()
        elif scope == "namespace":
            scopes.append(tuple(m["label"].split(".")))
        elif scope == "end":
            # `end A.B` may close `namespace A` and `namespace B`; `end B` may close only a part of `namespace A.B`.
            left = len(m["label"].split("."))
            while scopes and left > 0:
                top = scopes.pop()
                if len(top) > left:
                    scopes.append(top[:-left])
                left -= max(1, len(top))
        else:
            scopes.append(())
    return


def find_theorem(text: str, full_name: str) -> Place | None:
    """The first declaration with that full name, or None."""
    imports, body = split_header(text)
    plain = masked(body)
    for name, start in declarations(plain):
        if name == full_name and (ends := tuple(_ends(plain, start))):
            return Place(imports, body, full_name, ends, start)
    return None


def _ends(plain: str, start: int) -> Iterator[int]:
    """Offsets outside all brackets where a proof may begin."""
    stop = m.start() if (m := _TOP_LEVEL.search(plain, start)) else len(plain)
    while stop < len(plain) and plain[stop + 1] in "|:":  # a statement may go on at the margin
        stop = m.start() if (m := _TOP_LEVEL.search(plain, stop + 1)) else len(plain)
    depth = 0
    for i in range(start, stop):
        c = plain[i]
        depth += (c in _OPENING) - (c in _CLOSING)
        if depth == 0 and (plain.startswith(":=", i) or _OTHER_PROOF.match(plain, i, stop)):
            yield i
            if plain[i].isspace():  # one place, however wide
                return
