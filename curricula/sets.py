"""Named theorem sets, which `turnstile sets` lists and `turnstile prove set:NAME` opens. A set is a TOML file:

```toml
name = "turnstile-basics"
title = "Logic, numbers and lists, graded"
kind = "lean"                 # or "library", "jsonl", "world"
files = ["Theorems/Logic.lean"]   # from lean_project/, or from the TOML file's own folder; also folders of Lake projects
# split = "held-out", split_by = "novel_premises"       for kind = "lean"; split_by is "name", "file" or "novel_premises"
# modules = ["Init.Data.List.Lemmas"], split = "held-out", per_module = 10      for kind = "library"
# imports = ["Mathlib"]            for kind = "jsonl", which also reads JSON, Parquet and folders of such files
# fields = ["statement=autoformalization"]      for kind = "jsonl": as `turnstile prove --fields`
# files = ["world:logic?count=100&seed=1"]      for kind = "world": see docs/worlds.md
# new_to = "library-train"     for kind = "library": only theorems that mention a constant no theorem of that set mentions
# fresh_names = true           `turnstile eval` shows a checkpoint made-up names for the library's names
lean = "4.28.0"
licence = "Apache-2.0"
```
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from curricula.in_place import SplitBy, has_theorems, theorems_in_place
from curricula.library import Split, library_set, mentions_new_constants, split_of
from curricula.settings import convert, read_toml
from curricula.worlds.spec import PREFIX as WORLD
from curricula.worlds.spec import world_of
from prover.errors import UserError
from prover.lean.source import PINNED, project_dir
from prover.lean.text import LeanText, code_words, masked, read
from prover.lean.theorem import Theorem
from prover.premises.index import LibraryIndex
from prover.solve.data_sets import SUFFIXES, is_data_set, load_theorems
from prover.solve.theorem_rows import fields_of, theorem_of_row

FOLDER = Path(__file__).parent / "sets"
Kind = Literal["library", "lean", "jsonl", "world"]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
_READ: dict[Kind, tuple[str, ...]] = {
    "library": ("modules", "split", "per_module", "new_to"),
    "lean": ("files", "split", "split_by"),
    "jsonl": ("files", "imports", "fields"),
    "world": ("files",),
}
"""The settings that only sets of a kind have, besides those of every set."""
_INSTEAD: dict[tuple[Kind, str], str] = {
    ("world", "split"): ' and name the split in `files`, as in "world:logic?split=held-out"',
    ("jsonl", "split"): ", and give the theorems of the split a file of their own",
}
"""What to do besides removing a setting that a set's kind does not have."""


@dataclass(frozen=True)
class TheoremSet:
    """The contents of a set's TOML file."""

    name: Text
    title: Text
    kind: Kind
    lean: Text
    licence: Text
    folder: Path = Path()
    """The TOML file's folder. Not a setting of the file."""
    files: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    split: Split | None = None
    split_by: SplitBy = "name"
    per_module: Positive | None = None
    limit: Positive | None = None
    imports: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    new_to: str = ""
    fresh_names: bool = False

    def path_of(self, file: str) -> Path:
        """The path of one of its files. Raises UserError if there is no such file."""
        places = [self.folder / file, project_dir() / file]
        for place in places:
            if place.exists():
                return place
        raise UserError(
            f"set {self.name}: {file} is neither in {places[0].parent} nor in {places[1].parent}; correct `files`"
        )


def sets() -> list[TheoremSet]:
    """The installed sets, by name."""
    return [read_set(p) for p in sorted(FOLDER.glob("*.toml"))]


def load_set(name: str, fields: Sequence[str] = ()) -> TheoremSet:
    """A set by name, by `world:NAME?…`, or by the path of its TOML file, of its data, of a `.lean` file or of a Lake project. `fields`: as
    `turnstile prove --fields`, for data only. Raises UserError."""
    path = Path(name)
    fields_of(fields)
    proofs = has_theorems(path)
    if path.suffix != ".toml" and path.exists() and not proofs and is_data_set(path):
        about = "unknown"
        return TheoremSet(path.stem, str(path), "jsonl", about, about, Path.cwd(), files=(name,), fields=tuple(fields))
    if fields:
        raise UserError(
            f"--fields is for data sets ({', '.join(SUFFIXES)}); in a .toml file, write fields = {[*fields]}"
        )
    if name.startswith(WORLD):
        return TheoremSet(name, "Theorems of a world", "world", PINNED, "Apache-2.0", files=(name,))
    if name.endswith(".toml"):
        return read_set(path)
    known = sorted(p.stem for p in FOLDER.glob("*.toml"))
    if name not in known and proofs:
        if path.suffix == ".lean":
            read(path)  # raises if there is no such file
        return TheoremSet(path.stem, f"The theorems of {name}", "lean", PINNED, "", files=(str(path.absolute()),))
    if name not in known:
        if path.suffix in SUFFIXES and not path.exists():
            raise UserError(f"{name}: no such file")
        raise UserError(
            f"no set {name!r}; available: {', '.join(known)}, world:NAME, or the path of a .toml or .lean file, of a Lake project or of a data set "
            f"({', '.join(SUFFIXES)})"
        )
    return read_set(FOLDER / f"{name}.toml")


def read_set(path: Path) -> TheoremSet:
    """Read a TOML file. Raises UserError with file and field."""
    found = replace(convert(read_toml(path), TheoremSet, f"{path}: "), folder=path.parent)
    if found.new_to and (found.kind != "library" or not (FOLDER / f"{found.new_to}.toml").is_file()):
        raise UserError(f'{path}: new_to needs kind = "library" and the name of an installed set, not {found.new_to!r}')
    for name in dict.fromkeys(name for names in _READ.values() for name in names):
        if name not in _READ[found.kind] and getattr(found, name) != getattr(TheoremSet, name):
            instead = _INSTEAD.get((found.kind, name), "")
            raise UserError(f"{path}: a set of kind {found.kind!r} does not use `{name}`; remove it{instead}")
    wanted = "modules" if found.kind == "library" else "files"
    if not getattr(found, wanted):
        raise UserError(f"{path}: a set of kind {found.kind!r} needs `{wanted}`")
    return found


def open_set(chosen: TheoremSet) -> list[Theorem]:
    """The theorems of a set."""
    if chosen.kind == "library":
        from prover.premises.index import library_index

        return _library(library_index(), chosen)
    if chosen.kind == "lean":
        every = [t for f in chosen.files for t in lean_theorems(chosen.path_of(f), chosen.split, chosen.split_by)]
        return every[: chosen.limit]
    if chosen.kind == "world":
        return [w.theorem for f in chosen.files for w in world_of(f)][: chosen.limit]
    fields = fields_of(chosen.fields)
    return [t for f in chosen.files for t in load_theorems(chosen.path_of(f), chosen.imports, fields)][: chosen.limit]


def open_splits(chosen: TheoremSet) -> list[tuple[Theorem, Split]]:
    """The theorems of a set with their splits: the set's `split` if it has one, else by its `split_by`. `limit` applies to each split of a
    set with another `split_by` than `name`, and else to the whole set."""
    if chosen.kind == "lean" and chosen.split is None and chosen.split_by != "name":
        splits: tuple[Split, ...] = get_args(Split)
        return [(t, s) for s in splits for t in open_set(replace(chosen, split=s))]
    if chosen.split is not None and chosen.kind in ("lean", "library"):
        return [(t, chosen.split) for t in open_set(chosen)]
    return [(t, split_of(t.name)) for t in open_set(chosen)]


def _library(index: LibraryIndex, chosen: TheoremSet) -> list[Theorem]:
    keep = mentions_new_constants(index, _library(index, load_set(chosen.new_to))) if chosen.new_to else None
    return library_set(index, chosen.split, chosen.modules, chosen.per_module, chosen.limit, keep)


def lean_theorems(path: Path, split: Split | None = None, by: SplitBy = "name") -> list[Theorem]:
    """The theorems of a `.lean` file or Lake project, or one split of them.

    Theorems of a plain file, in which all proofs are `sorry`, are read from its text (plain_theorems). Lean finds those of other files,
    with their context (curricula/in_place.py). Raises UserError.
    """
    if split is None and path.is_file() and (plain := plain_theorems(read(path))) is not None:
        return plain
    return theorems_in_place(str(path), split, by)


def plain_theorems(text: LeanText) -> list[Theorem] | None:
    """The theorems of a file that has only theorems after its first one, all with the proof `sorry`; None for other files."""
    body, code = text.body, masked(text.body)
    starts = [i for w, i in code_words(body) if w == "theorem"]
    context = _commands_only(body[: starts[0]]) if starts else ""
    found: list[Theorem] = []
    for start, stop in zip(starts, [*starts[1:], len(body)], strict=False):
        end = code.rfind("sorry", start, stop)
        if end < 0 or code[end + len("sorry") : stop].strip() or re.search(r"\n\S", code[start:end]):
            return None
        where = f"{text.path}:{body.count(chr(10), 0, start) + 1}"
        indent = " " * (start - body.rfind("\n", 0, start) - 1)  # keeps the columns of the first line
        t = theorem_of_row({"statement": indent + body[start:end] + "sorry"}, where)
        found.append(replace(t, imports=text.imports, context=context))
    return found or None


def _commands_only(text: str) -> str:
    """The text before the first theorem, without the theorem's doc comment."""
    at = text.rfind("/--")
    return (text[:at] if at >= 0 and text.rstrip().endswith("-/") else text).strip()


def size_of(chosen: TheoremSet) -> int | None:
    """Number of theorems of a set; None if it needs the library's index and that is not built."""
    if chosen.kind == "library":
        from prover.lean.runtime import find_runtime
        from prover.premises.index import load_cached

        index = load_cached(find_runtime().name)
        return len(_library(index, chosen)) if index is not None else None
    return len(open_set(chosen))
