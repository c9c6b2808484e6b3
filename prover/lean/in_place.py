"""A theorem at its place in a file: with the text before it as context, and without anything after it."""

from __future__ import annotations

import re

from prover.lean.declarations import statement_in, with_universes
from prover.lean.extract import Declaration
from prover.lean.project import Imports
from prover.lean.text import LeanText, index_at
from prover.lean.theorem import Theorem


def theorem_of(text: LeanText, declaration: Declaration, imports: Imports) -> Theorem | None:
    """A declaration as a theorem with its context; None if it is not a theorem, or if the text cannot be cut before it.

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
    at, end = d.declared_name or (0, 0)
    universes = data[at:end].decode().partition(".{")[2].rstrip("}").replace(",", " ").split()
    begin, stop = (index_at(text.body, offset) for offset in d.signature)
    statement, column = statement_in(text.body, begin, stop)
    return Theorem(
        d.full_name if d.full_name == parts[-1] else f"_root_.{d.full_name}",
        statement,
        imports=imports.shipped,
        context=with_universes("\n".join(line for line in lines if line.strip()), universes).lstrip("\n"),
        source=f"{text.path}:{text.line(d.declared_name[0] if d.declared_name else start)}",
        before=tuple(imports.sources()),
        column=column,
    )
