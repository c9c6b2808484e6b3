"""The proofs of a batch or a run as Lean source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from prover.lean.declarations import declared_names, scope_ends
from prover.lean.server import statement_source
from prover.lean.theorem import Theorem
from prover.solve.negation import negation


def proofs_source(theorems: Sequence[Theorem], tasks: Sequence[dict[str, Any]]) -> str:
    """The proved theorems as Lean source, each with its context. A library theorem shows only the script, unless its row has the names that its
    statement binds (`bound`).

    A theorem that declares a name again, itself or in its context, gets its own namespace.
    """
    out: list[str] = []
    declared: set[str] = set()
    for number, (theorem, task) in enumerate(zip(theorems, tasks, strict=True), 1):
        if task["outcome"] not in ("proved", "disproved"):
            continue
        shown = (negation(theorem) if task["outcome"] == "disproved" else theorem) or theorem
        if shown.statement is None:
            body = "\n".join("  " + x if x else "" for x in task["proof"].split("\n"))
            bound = task.get("bound")
            claim = "" if bound is None else f"example : type_of% @{shown.library} := "
            intro = f"  intro {' '.join(bound)}\n" if bound else ""
            needs = ", ".join(shown.imports)
            out.append(f"-- {shown.library} (from below: imports {needs})\n{claim}by\n{intro}{body}\n")
            continue
        needs = [m for m in shown.imports if m != "Init"]
        head = f"-- needs: import {', '.join(needs)}\n" if needs else ""
        names = declared_names(f"{shown.context}\ntheorem {shown.name} :")
        again = bool(names & declared)
        declared |= names
        if again and shown.name.startswith("_root_."):
            shown = replace(shown, name=f"_root_.Proof{number}.{shown.name.removeprefix('_root_.')}")
        source = statement_source(replace(shown, context=""), task["proof"])
        if shown.context.strip() or again:
            begin, end = (f"namespace Proof{number}", f"end Proof{number}") if again else ("section", "end")
            ends = "".join(f"{line}\n" for line in [*scope_ends(shown.context), end])
            source = f"{begin}\n{shown.context.rstrip()}\n\n{source}\n{ends}"
        out.append(head + source)
    return "\n".join(out)
