"""A Lean file as text: its imports, its body, where its code is, and its bytes to give back unchanged."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prover.errors import UserError
from prover.files import read_file

MAX_BYTES = 8 * 2**20
"""Larger files are refused: nothing that a person wrote."""

_WORD = r"(?:«[^»\n]+»|[^\W\d][\w'!?₀-₉]*)"
_NAME = re.compile(rf"{_WORD}(?:\.{_WORD})*")
_CHAR = re.compile(r"'(?:\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)|[^\\'\n])'")
_RAW = re.compile(r'r(#*)"')


@dataclass(frozen=True)
class LeanText:
    """A source file, read once.

    `body` is what Lean is given: line ends are `\\n` as Lean itself makes them, and the header (`module`, `prelude`,
    imports, and the comments among them) is blanked out byte for byte, so lines, columns and byte offsets are those of
    `text`.
    """

    path: str
    text: str
    """The whole file with `\\n` line ends."""
    body: str
    imports: tuple[str, ...]
    header_bytes: int
    """Where the header ends, in UTF-8 bytes of `text`."""
    crlf: frozenset[int]
    """Offsets in `text`'s UTF-8 bytes of the line feeds that were `\\r\\n`."""

    def line(self, offset: int) -> int:
        """1-based line of a byte offset in `text`."""
        return self.text.encode().count(b"\n", 0, offset) + 1

    def to_bytes(self, edits: Sequence[tuple[int, int, str]]) -> bytes:
        """The file's own bytes with [start, stop) replaced for each edit, offsets in `text`'s bytes.

        Inserted lines end as most of the file's lines do; everything else is as it was.
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
    """1-based line of a character."""
    return text.count("\n", 0, index) + 1


def read(path: Path) -> LeanText:
    """Read a `.lean` file. Raises UserError, naming file and line, where it cannot be Lean source."""
    name = str(path)
    if path.is_dir():
        raise UserError(f"{name}: is a folder; name a .lean file in it")
    data = read_file(path, MAX_BYTES)
    return parse(data, name)


def parse(data: bytes, name: str = "<source>") -> LeanText:
    """As `read`, from bytes."""
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
    """(imports, index where the header ends: 0 where there is none)."""
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
    """Names after `import`, up to the end of the line, and where they end. The first may stand on a later line."""
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
    """A module's name without its marks « and ». Raises UserError for one whose file could be anywhere but in a source folder."""
    parts = [a or b for a, b in re.findall(r"«([^«»]*)»|([^.«»]+)", written)]
    marked = ".".join(f"«{p}»" if f"«{p}»" in written else p for p in parts)
    if marked != written or any("." in p for p in parts) or not names_module(".".join(parts)):
        raise UserError(
            f"{where}: {written!r} is no module's name: its parts are words with dots between them, and none is a path"
        )
    return ".".join(parts)


def names_module(name: str) -> bool:
    """Whether a name, without marks, can only mean a file below a source folder."""
    return all(part.strip() and not re.search(r"[/\\:\0\n\r]", part) for part in name.split("."))


def _word(text: str, at: int) -> tuple[str, int]:
    found = _NAME.match(text, at)
    return (found.group(), found.end()) if found else ("", at)


def _skip_blank(text: str, at: int, name: str) -> int:
    """Past white space and comments."""
    while at < len(text):
        if text[at].isspace():
            at += 1
        elif text.startswith("--", at):
            at = _line_end(text, at)
        elif text.startswith("/-", at) and not text.startswith(("/--", "/-!"), at):
            at = _comment_end(text, at, name)
        else:
            break
    return at


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _comment_end(text: str, at: int, name: str | None) -> int:
    """Past a block comment, which may hold others. Without an end: an error of file `name`, else the text's end."""
    depth = 0
    i = at
    while i < len(text):
        if text.startswith("/-", i):
            depth += 1
            i += 2
        elif text.startswith("-/", i):
            depth -= 1
            i += 2
            if not depth:
                return i
        else:
            i += 1
    if name is not None:
        raise UserError(f"{name}:{line_at(text, at)}: this comment is never closed")
    return len(text)


def code_words(text: str) -> Iterator[tuple[str, int]]:
    """(identifier or keyword, index) of every word of code: not in comments, strings or character literals."""
    at = 0
    while at < len(text):
        c = text[at]
        if c == "-" and text.startswith("--", at):
            at = _line_end(text, at)
        elif c == "/" and text.startswith("/-", at):
            at = _comment_end(text, at, None)
        elif c == '"':
            at = _string_end(text, at + 1)
        elif c == "r" and (raw := _RAW.match(text, at)):
            end = text.find('"' + raw.group(1), raw.end())
            at = len(text) if end < 0 else end + 1 + len(raw.group(1))
        elif c == "'" and (char := _CHAR.match(text, at)):
            at = char.end()
        elif found := _NAME.match(text, at):
            yield found.group(), at
            at = found.end()
        else:
            at += 1


def _string_end(text: str, at: int) -> int:
    while at < len(text):
        if text[at] == "\\":
            at += 2
        elif text[at] == '"':
            return at + 1
        else:
            at += 1
    return at
