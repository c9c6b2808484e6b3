"""The public Python API: prove, verify, search, train and evaluate.

The code is in the packages `prover` (one theorem or a batch: Lean, search, models, audit), `curricula` (theorem sets and what to try
next) and `rl` (training and evaluation). This package names what other programs need. Importing it is cheap: each name loads its
package when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prover.errors import UserError as UserError
    from prover.lean.theorem import Theorem as Theorem
    from prover.lean.theorem import Verdict as Verdict
    from prover.search import SearchConfig as SearchConfig
    from prover.solve.job import Found as Found
    from rl.config import RunConfig as RunConfig
    from turnstile.api import evaluate as evaluate
    from turnstile.api import prove as prove
    from turnstile.api import search as search
    from turnstile.api import theorems as theorems
    from turnstile.api import train as train
    from turnstile.api import verify as verify

_PLACES = {
    **dict.fromkeys(("evaluate", "prove", "search", "theorems", "train", "verify"), "turnstile.api"),
    **dict.fromkeys(("Theorem", "Verdict"), "prover.lean.theorem"),
    "Found": "prover.solve.job",
    "RunConfig": "rl.config",
    "SearchConfig": "prover.search",
    "UserError": "prover.errors",
}
"""Name -> the module that defines it."""
__all__ = sorted(_PLACES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return found


def __dir__() -> list[str]:
    return [*globals(), *__all__]
