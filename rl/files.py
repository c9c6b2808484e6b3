"""The proofs of a run as a readable Lean file."""

from __future__ import annotations

from collections.abc import Iterable

from prover.lean.server import statement_source
from prover.solve.ledger import Attempt


def proofs_source(proofs: Iterable[Attempt], lean: str) -> str:
    """Lean source of the proofs, for reading. `turnstile verify RUN` checks them from the ledger, each with its own imports."""
    parts = [f"/- Proofs found by Turnstile, each audited by {lean}.\n   `turnstile verify` checks them again. -/\n"]
    for a in sorted(proofs, key=lambda a: (a.theorem.imports, a.theorem.name)):
        imports = " ".join(a.theorem.imports)
        if a.theorem.library is not None:
            body = "\n".join("  " + line for line in (a.script or "").split("\n"))
            bound = a.stats.get("bound") or []
            intro = f"  intro {' '.join(bound)}\n" if bound else ""
            parts.append(
                f"-- {a.theorem.source}; imports {imports}\n"
                f"example : type_of% @{a.theorem.library} := by\n{intro}{body}\n"
            )
        else:
            source = statement_source(a.theorem, a.script or "")
            parts.append(
                f"-- imports {imports}\n" + (f"section\n{source}\nend\n" if a.theorem.context.strip() else source)
            )
    return "\n".join(parts)
