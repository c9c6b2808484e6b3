"""The training, held-out and validation theorems of a run, from the library and from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curricula.in_place import has_theorems
from curricula.library import DEMONSTRATION_MODULES, Split, library_set, split_of
from curricula.near_copies import near_copies, shingles_up_to_names
from curricula.sets import lean_theorems, open_splits, read_set
from curricula.worlds.spec import PREFIX as WORLD
from curricula.worlds.spec import world_of
from prover.errors import UserError
from prover.lean.theorem import Theorem
from prover.premises.index import LibraryIndex
from prover.solve.data_sets import SUFFIXES, is_data_set, load_theorems
from prover.solve.theorem_rows import fields_of
from rl.config import TheoremsConfig


@dataclass(frozen=True)
class Theorems:
    """A run's theorems by split. Names are unique across splits, and no training theorem nearly repeats one of another split
    (see curricula/near_copies.py): up to the names of bound variables, or, in the library, of all short names."""

    train: list[Theorem]
    held_out: list[Theorem]
    validation: list[Theorem]
    near_copies: int = 0
    """Theorems left out of training because they nearly repeat a held-out or validation theorem."""
    unused: int = 0
    """Training theorems of sets with a split of their own that the hash of their names keeps out of training."""
    withheld: frozenset[str] = frozenset()
    """Held-out and validation theorems of such sets whose names' hash would put them into the training split."""

    @property
    def evaluated(self) -> list[Theorem]:
        return [*self.held_out, *self.validation]


def theorems_of(config: TheoremsConfig, index: LibraryIndex, validation: int) -> Theorems:
    """The configured theorems, with `validation` theorems of the validation split. Raises UserError for an unreadable file, for
    duplicate names and for an empty training split."""
    mine = file_theorems(config.files, fields_of(config.fields))
    # A set with a split of its own trains only on theorems in both training splits, because examples of others are refused everywhere.
    unused = {t.name for t, split in mine if split == "train" and split_of(t.name) != "train"}
    withheld = frozenset(t.name for t, split in mine if split != "train" and split_of(t.name) == "train")
    modules = config.modules or (() if mine else DEMONSTRATION_MODULES)

    def of(split: Split, per_module: int | None, limit: int | None) -> list[Theorem]:
        library = library_set(index, split, modules, per_module)
        found = [*(t for t, s in mine if s == split and t.name not in unused), *library]
        return found[:limit]

    found = Theorems(
        of("train", config.per_module, config.limit),
        of("held-out", config.held_out_per_module, config.held_out_limit),
        of("validation", None, validation) if validation else [],
        unused=len(unused),
        withheld=withheld,
    )
    every = [t.name for ts in (found.train, found.held_out, found.validation) for t in ts]
    if len(set(every)) < len(every):
        twice = next(n for i, n in enumerate(every) if n in every[:i])
        raise UserError(f"{twice}: two theorems of this run have this name; rename one of them")
    if unknown := sorted(set(config.targets) - {t.name for t in found.train}):
        raise UserError(f"theorems.targets: {unknown[0]} is not one of the training theorems")
    if not found.train:
        raise UserError("theorems: the training split, 70 % of the names by hash, is empty; add theorems")
    apart = _apart(found, index)
    if not apart.train:
        raise UserError("theorems: every training theorem nearly repeats a held-out or validation one; add others")
    if near := sorted(set(config.targets) - {t.name for t in apart.train}):
        raise UserError(
            f"theorems.targets: {near[0]} nearly repeats a held-out or validation theorem; remove that theorem"
        )
    return apart


def _apart(found: Theorems, index: LibraryIndex) -> Theorems:
    """Without the training theorems that nearly repeat one of another split."""
    copies = near_evaluated(found.train, statements(found.evaluated, index), index)
    left = [t for t in found.train if t.name not in copies]
    return replace(found, train=left, near_copies=len(copies))


def statements(theorems: Sequence[Theorem], index: LibraryIndex) -> dict[str, dict[str, str]]:
    """Statements by name: `library` has those of the library's theorems, and `all` those of all."""
    known = index.by_name() if any(t.library for t in theorems) else {}
    types = {t.name: known[t.library].type for t in theorems if t.library and t.library in known}
    return {"library": types, "all": types | {t.name: t.statement for t in theorems if t.statement}}


def near_evaluated(
    theorems: Sequence[Theorem], evaluated: Mapping[str, Mapping[str, str]], index: LibraryIndex
) -> frozenset[str]:
    """Names of the theorems that nearly repeat an evaluated one. `evaluated`: the `statements` of those."""
    own = statements(theorems, index)
    by_shape = near_copies(own["library"], evaluated["library"])
    return frozenset(by_shape) | frozenset(near_copies(own["all"], evaluated["all"], shingles_up_to_names))


def file_theorems(files: Sequence[str], fields: Mapping[str, str] | None = None) -> list[tuple[Theorem, Split]]:
    """The theorems of data sets, `.lean` files, Lake projects, worlds and theorem sets as TOML (see curricula/sets.py), with their
    splits. Raises UserError."""
    found: list[tuple[Theorem, Split]] = []
    for file in files:
        path = Path(file)
        if path.suffix == ".toml":
            found += open_splits(read_set(path))
            continue
        if file.startswith(WORLD):
            theorems = [w.theorem for w in world_of(file)]
        elif has_theorems(path):
            theorems = lean_theorems(path)
        elif is_data_set(path):
            theorems = load_theorems(path, fields=fields)
        else:
            raise UserError(
                f"theorems.files: {file}: not found or not supported; name a .lean file, a Lake project, world:NAME, a data set "
                f"({', '.join(SUFFIXES)}) or a theorem set (.toml)"
            )
        found.extend((t, split_of(t.name)) for t in theorems)
    return found
