"""Theorem sets from Lean's own library: every theorem of a module, reproved from the module's imports.

A theorem of module M is opened with only the imports of M, so neither it nor anything after it is available. The lemmas that
`omega` and `grind` need are added if they do not depend on M. Theorems that repeat a statement of the imports are skipped. The split
is a hash of the name alone, so it never changes.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from prover.errors import UserError
from prover.lean.theorem import Theorem
from prover.premises.index import LibraryIndex

Split = Literal["train", "validation", "held-out"]

DEMONSTRATION_MODULES = (
    "Init.Data.List.Lemmas",
    "Init.Data.List.TakeDrop",
    "Init.Data.List.Find",
    "Init.Data.Nat.Lemmas",
    "Init.Data.Int.Order",
    "Init.Data.Int.DivMod.Lemmas",
    "Init.Data.Option.Lemmas",
    "Init.Data.Array.Lemmas",
    "Init.Data.BitVec.Lemmas",
    "Init.Data.Bool",
    "Init.Data.Fin.Lemmas",
    "Init.Data.List.Sublist",
    "Init.Data.Nat.Basic",
)
"""The training modules of `make train`: lists, numbers, options, arrays and bit vectors."""

SUPPORT = ("Init.Omega", "Init.Grind")
"""Modules with lemmas that tactics need for their proofs. Most modules import them late or not at all."""


def split_of(name: str) -> Split:
    """train 70 %, validation 10 %, held-out 20 %, by SHA-256 of the name, with or without `_root_`."""
    x = (
        int.from_bytes(hashlib.sha256(f"turnstile split 1 {name.removeprefix('_root_.')}".encode()).digest()[:8], "big")
        / 2**64
    )
    return "train" if x < 0.7 else "validation" if x < 0.8 else "held-out"


def _order(name: str) -> bytes:
    return hashlib.sha256(f"turnstile order {name}".encode()).digest()


def support(index: LibraryIndex, module: str) -> tuple[str, ...]:
    """Modules of SUPPORT that a module's theorems may use in addition to its imports: those that do not import the module.

    The audit does not rely on this. It rejects a theorem that its imports already contain.
    """
    known = index.reachable(index.modules[module].imports)
    return tuple(s for s in SUPPORT if s in index.modules and s not in known and module not in index.reachable((s,)))


def module_theorems(index: LibraryIndex, module: str) -> list[Theorem]:
    """Every theorem of a module that can be stated with its imports, in the module's order. `*` in the name matches any text.

    Raises UserError if there is no such module.
    """
    if "*" in module:
        chosen = [m for m in index.modules if fnmatch.fnmatchcase(m, module)]
        found = [t for m in chosen for t in _module(index, m)]
        if not found:
            raise UserError(f"library modules {module}: no module with theorems in this Lean's Init and Std matches")
        return found
    info = index.modules.get(module)
    if info is None:
        close = [m for m in index.modules if module.lower() in m.lower()][:3]
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise UserError(f"library module {module}: not in this Lean's Init or Std{hint}")
    return _module(index, module)


def _module(index: LibraryIndex, module: str) -> list[Theorem]:
    info = index.modules[module]
    imports = info.imports + support(index, module)
    # An alias of an imported theorem needs no proof.
    own = {(p.type, p.constants) for p in info.theorems}
    known = {
        says
        for m in index.reachable(imports)
        for p in index.modules[m].theorems
        if (says := (p.type, p.constants)) in own and p.type
    }
    return [
        Theorem(p.name, library=p.name, imports=imports, source=f"library:{module}")
        for p in info.theorems
        if p.below and (p.type, p.constants) not in known
    ]


def areas(index: LibraryIndex, depth: int = 3) -> list[dict[str, Any]]:
    """The library by area, the first `depth` parts of a module's name: numbers of modules, of theorems, and of theorems that can be
    stated with their module's imports (`below`), also by split."""
    rows: dict[str, dict[str, Any]] = {}
    for module, info in sorted(index.modules.items()):
        area = ".".join(module.split(".")[:depth])
        row = rows.setdefault(
            area, {"area": area, "modules": 0, "theorems": 0, "below": 0, "train": 0, "validation": 0, "held-out": 0}
        )
        row["modules"] += 1
        row["theorems"] += len(info.theorems)
        for p in info.theorems:
            if p.below:
                row["below"] += 1
                row[split_of(p.name)] += 1
    return list(rows.values())


def library_set(
    index: LibraryIndex,
    split: Split | None,
    modules: Sequence[str] = DEMONSTRATION_MODULES,
    per_module: int | None = None,
    limit: int | None = None,
    keep: Callable[[str], bool] | None = None,
) -> list[Theorem]:
    """Theorems of a split (None: all) whose names `keep` accepts, at most `per_module` of each module, in a fixed shuffled order."""
    chosen: list[Theorem] = []
    for module in modules:
        mine = [t for t in module_theorems(index, module) if split in (None, split_of(t.name))]
        mine = [t for t in mine if keep is None or keep(t.name)]
        mine.sort(key=lambda t: _order(t.name))
        chosen.extend(mine[:per_module])
    chosen.sort(key=lambda t: _order(t.name))
    return chosen[:limit]


def mentions_new_constants(index: LibraryIndex, trained: Iterable[Theorem]) -> Callable[[str], bool]:
    """A predicate on names: whether a library theorem's statement mentions a constant that no statement of `trained` mentions.

    Lemmas about such a constant did not help with any training goal, so they are new as premises too.
    """
    constants = {p.name: p.constants for m in index.modules.values() for p in m.theorems}
    seen = {c for t in trained for c in constants.get(t.name, ())}
    return lambda name: not seen.issuperset(constants[name])


class HeldOutLeak(ValueError):
    """A theorem outside the training split was about to be learned from."""


def assert_for_training(name: str) -> None:
    """Raise HeldOutLeak for a theorem outside the training split, from the library or from a file."""
    if split_of(name) != "train":
        raise HeldOutLeak(f"{name} is in the {split_of(name)} split and must not be used for training")
