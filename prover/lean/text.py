"""Lexer for Lean source files: header, imports, comments, literals and words, with exact byte offsets for edits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, AnyStr

from prover.errors import UserError
from prover.files import read_file

MAX_BYTES = 8 * 2**20
"""Size limit of source files, in bytes."""

_WORD = r"(?:«[^»\n]+»|[^\W\d][\w'!?₀-₉]*)"
_NAME = re.compile(rf"{_WORD}(?:\.{_WORD})*")
_TOKEN = re.compile(
    rf"""
    (?P<comment>--[^\n]*|/-)
    |(?P<string>r(?P<hashes>\#*)".*?(?:"(?P=hashes)|\Z)|"(?:[^"\\]|\\.)*+"?)
    |(?P<char>'(?:\\(?:x[0-9a-fA-F]{{2}}|u[0-9a-fA-F]{{4}}|[^\n])|[^\\'\n])')
    |(?P<word>{_NAME.pattern})
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_DELIMITER = re.compile(r"/-|-/")


Edit = tuple[int, int, str]
"""(start, stop, text): replaces the range [start, stop) by the text."""
LAST_DOC = re.compile(r"/--(?:(?!-/).)*-/\s*\Z", re.DOTALL)
"""A doc comment at the end of a text, which cannot be elaborated alone."""


@dataclass(frozen=True)
class LeanText:
    """A source file, read once.

    `body` is the text that Lean elaborates. Line ends are `\\n`, and each byte of the header (`module`, `prelude`, imports
    and the comments between them) is a space, so that lines, columns and byte offsets equal those of `text`.
    """

    path: str
    text: str
    """The whole file with `\\n` line ends."""
    body: str
    imports: tuple[str, ...]
    header_bytes: int
    """End of the header, as a UTF-8 byte offset in `text`."""
    crlf: frozenset[int]
    """UTF-8 byte offsets in `text` of the line feeds that were `\\r\\n` in the file."""

    def line(self, offset: int) -> int:
        """1-based line of a byte offset in `text`."""
        return self.text.encode().count(b"\n", 0, offset) + 1

    def to_bytes(self, edits: Sequence[Edit]) -> bytes:
        """The file's bytes after edits of bytes of `text`.

        Inserted lines get the line end that most of the file's lines have. Raises ValueError if edits overlap.
        """
        data = self.text.encode()
        newline = b"\r\n" if len(self.crlf) * 2 > data.count(b"\n") else b"\n"
        out: list[bytes] = []
        at = 0
        for start, stop, new in [*sorted(edits), (len(data), len(data), "")]:
            if start < at:
                raise ValueError("edits overlap")
            out += [self._original(data, at, start), new.encode().replace(b"\n", newline)]
            at = stop
        return b"".join(out)

    def _original(self, data: bytes, start: int, stop: int) -> bytes:
        if not self.crlf:
            return data[start:stop]
        return b"".join(b"\r\n" if i in self.crlf else data[i : i + 1] for i in range(start, stop))


def line_at(text: str, index: int) -> int:
    """1-based line of a character index."""
    return text.count("\n", 0, index) + 1


def edited(text: AnyStr, edits: Iterable[tuple[int, int, AnyStr]]) -> AnyStr:
    """The text after edits of characters, or bytes, in separate ranges."""
    parts: list[Any] = []
    at = 0
    for start, stop, new in sorted(edits):
        parts += [text[at:start], new]
        at = stop
    parts.append(text[at:])
    return text[:0].join(parts)


def index_at(text: str, offset: int) -> int:
    """Character index of a UTF-8 byte offset."""
    return len(text.encode()[:offset].decode())


def read(path: Path) -> LeanText:
    """Read a `.lean` file. Raises UserError with file and line if it cannot be Lean source."""
    name = str(path)
    if path.is_dir():
        raise UserError(f"{name}: is a folder; name a .lean file in it")
    data = read_file(path, MAX_BYTES)
    return parse(data, name)


def parse(data: bytes, name: str = "<source>") -> LeanText:
    """Like `read`, from bytes."""
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{name}:1: starts with a byte order mark, which Lean refuses: save it as plain UTF-8")
    try:
        whole = data.decode()
    except UnicodeDecodeError as e:
        line, column = data.count(b"\n", 0, e.start) + 1, e.start - data.rfind(b"\n", 0, e.start)
        raise UserError(f"{name}:{line}: byte {column} is not UTF-8") from None
    if "\0" in whole:
        raise UserError(f"{name}:{line_at(whole, whole.index(chr(0)))}: has a NUL character: not Lean source")
    if (lone := re.search(r"\r(?!\n)", whole)) is not None:
        line = line_at(whole, lone.start())
        raise UserError(f"{name}:{line}: has a carriage return without a line feed, which Lean refuses")
    text = whole.replace("\r\n", "\n")
    returns: list[int] = []
    if "\r" in whole:
        offset = 0
        for part in data.split(b"\n")[:-1]:
            cr = part.endswith(b"\r")
            offset += len(part) - cr
            if cr:
                returns.append(offset)
            offset += 1
    imports, end = _header(text, name)
    blank = re.sub(r"[^\n]", lambda m: " " * len(m.group().encode()), text[:end])
    return LeanText(name, text, blank + text[end:], imports, len(text[:end].encode()), frozenset(returns))


def _header(text: str, name: str) -> tuple[tuple[str, ...], int]:
    """The imported modules, and the index where the header ends (0 without a header)."""
    imports: list[str] = []
    at = end = 0
    prelude = False
    while True:
        at = _skip_blank(text, at, name)
        first, after = _word(text, at)
        if first in ("module", "prelude") and not imports:
            prelude = prelude or first == "prelude"
            at = end = after
            continue
        while first in ("public", "meta"):
            second, then = _word(text, _skip_blank(text, after, name))
            if second not in ("public", "meta", "import"):
                break
            first, after = second, then
        if first != "import":
            break
        names, at = _imported(text, after, f"{name}:{line_at(text, at)}", name)
        imports += names
        end = at
    return tuple(dict.fromkeys(imports if prelude else ["Init", *imports])), end


def _imported(text: str, at: int, where: str, name: str) -> tuple[list[str], int]:
    """The module names after `import` and the index where they end. Only the first may be on a later line."""
    found: list[str] = []
    first, after = _word(text, _skip_blank(text, at, name))
    if first == "all":
        first, after = _word(text, _skip_blank(text, after, name))
    if first in ("", "import", "public", "prelude", "module"):
        raise UserError(f"{where}: `import` without a module name")
    while first:
        found.append(module_name(first, where))
        at = after
        while text.startswith(" ", after):
            after += 1
        first, after = _word(text, after)
    return found, at


def module_name(written: str, where: str) -> str:
    """A module name without « and ». Raises UserError if its file could lie outside the source folders."""
    parts = [a or b for a, b in re.findall(r"«([^«»]*)»|([^.«»]+)", written)]
    marked = ".".join(f"«{p}»" if f"«{p}»" in written else p for p in parts)
    if marked != written or any("." in p for p in parts) or not names_module(".".join(parts)):
        raise UserError(
            f"{where}: {written!r} is not a module name: write words separated by dots, without path separators"
        )
    return ".".join(parts)


def names_module(name: str) -> bool:
    """Whether a name without « and » can only refer to a file below a source folder."""
    return all(part.strip() and not re.search(r"[/\\:\0\n\r]", part) for part in name.split("."))


def _word(text: str, at: int) -> tuple[str, int]:
    found = _NAME.match(text, at)
    return (found.group(), found.end()) if found else ("", at)


def _skip_blank(text: str, at: int, name: str) -> int:
    """The next index that is neither white space nor in a comment. Doc comments count as code."""
    while at < len(text):
        if text[at].isspace():
            at += 1
        elif text.startswith("--", at):
            at = end if (end := text.find("\n", at)) >= 0 else len(text)
        elif text.startswith("/-", at) and not text.startswith(("/--", "/-!"), at):
            if (end := _comment_end(text, at)) is None:
                raise UserError(f"{name}:{line_at(text, at)}: this comment is never closed")
            at = end
        else:
            break
    return at


def _comment_end(text: str, at: int) -> int | None:
    """The end of the (nested) block comment at `at`, or None if it is not closed."""
    depth = 0
    for delimiter in _COMMENT_DELIMITER.finditer(text, at):
        depth += 1 if delimiter[0] == "/-" else -1
        if depth == 0:
            return delimiter.end()
    return None


def _tokens(text: str) -> Iterator[tuple[str, int, int]]:
    """(kind, start, end) of every comment, string, character literal and word. Unclosed ones end with the text."""
    at = 0
    while found := _TOKEN.search(text, at):
        at = found.end()
        if found[0] == "/-":
            at = _comment_end(text, found.start()) or len(text)
        yield str(found.lastgroup), found.start(), at


def code_words(text: str) -> Iterator[tuple[str, int]]:
    """(identifier or keyword, index) of every word outside comments, strings and character literals."""
    for kind, start, end in _tokens(text):
        if kind == "word":
            yield text[start:end], start


def literal_ends(text: str) -> frozenset[int]:
    """The indices after strings and character literals."""
    return frozenset(end for kind, _, end in _tokens(text) if kind in ("string", "char"))


def masked(text: str) -> str:
    """The text with comments, strings and character literals replaced by spaces; offsets and line breaks stay."""
    out: list[str] = []
    at = 0
    for kind, start, end in _tokens(text):
        if kind != "word":
            out += [text[at:start], re.sub(r"[^\n]", " ", text[start:end])]
            at = end
    return "".join([*out, text[at:]])
