"""Theorems in their place: each with the text before it as context, and without anything after it. Lean's parser finds them."""

from __future__ import annotations

import re

from prover.lean.extract import Declaration, ExtractServer
from prover.lean.project import Imports
from prover.lean.text import LeanText, code_words
from prover.lean.theorem import Theorem


async def theorems_in_place(server: ExtractServer, text: LeanText, imports: Imports) -> list[Theorem]:
    """The theorems of a file, except those inside of larger commands such as `mutual`.

    Raises LeanError if the file has an error, which could change what later theorems mean.
    """
    found = await server.extract(text, imports.shipped, imports.sources(), steps=False)
    return [t for d in found.declarations if (t := theorem_of(text, d, imports)) is not None]


def theorem_of(text: LeanText, declaration: Declaration, imports: Imports) -> Theorem | None:
    """A declaration as a theorem in place; None if it is none, or if the text cannot be cut before it.

    Its name is the full one, `_root_.A.t` for `t` in a namespace `A`. Doc comments, attributes and `private` are left out: they do not
    change the statement. A setting such as `open Nat in` becomes a command of the context.
    """
    d = declaration
    if not d.is_theorem or d.inside or d.signature is None:
        return None
    data = text.body.encode()
    start = min([d.whole[0], *(a for a, _ in d.settings)])
    context = data[:start].decode().rstrip()
    lines = [context, *(data[a:b].decode() for a, b in d.settings)]
    parts = re.findall(r"«[^»]*»|[^.«]+", d.name)
    if len(parts) > 1 and parts[0] != "_root_":  # as Lean elaborates `theorem A.t`
        lines.append(f"namespace {'.'.join(parts[:-1])}")
    if universes := _new_universes(data, d, context):
        lines.append(f"universe {' '.join(universes)}")
    statement = data[d.signature[0] : d.signature[1]].decode()
    return Theorem(
        d.full_name if d.full_name == parts[-1] else f"_root_.{d.full_name}",
        statement,
        imports=imports.shipped,
        context="\n".join(line for line in lines if line.strip()),
        source=f"{text.path}:{text.line(d.declared_name[0] if d.declared_name else start)}",
        before=tuple(imports.sources()),
    )


def _new_universes(data: bytes, d: Declaration, context: str) -> list[str]:
    """The universes of `foo.{u, v}` that no `universe` command before it names. A theorem's name has none."""
    if d.declared_name is None:
        return []
    written = data[d.declared_name[0] : d.declared_name[1]].decode().partition(".{")[2].rstrip("}")
    known: set[str] = set()
    words = [word for word, _ in code_words(context)]
    for i, word in enumerate(words):
        if word in ("universe", "universes"):
            known.update(words[i + 1 : i + 10])
    return [u for u in written.replace(",", " ").split() if u not in known]


def proof_in_place(text: LeanText, declaration: Declaration) -> str | None:
    """The declaration's own proof as a tactic script; None if it is not a single term."""
    if declaration.body is None or declaration.suffix:
        return None
    data = text.body.encode()
    start, stop = declaration.body
    written = data[start:stop].decode()
    column = len(data[data.rfind(b"\n", 0, start) + 1 : start].decode())
    if not declaration.tactics:
        return "exact (\n" + " " * column + written + ")"
    lines = (" " * (column + 2) + written[2:]).split("\n")  # keeps the columns, which carry meaning
    while lines and not lines[0].strip():
        lines.pop(0)
    common = min((len(line) - len(line.lstrip(" ")) for line in lines if line.strip()), default=0)
    return "\n".join(line[common:] for line in lines)
