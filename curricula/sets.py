"""Theorem sets by name: what `turnstile sets` lists and `turnstile prove set:NAME` opens. A set is a TOML file.

```toml
name = "turnstile-basics"
title = "Logic, numbers and lists, graded"
kind = "lean"                 # or "library", or "jsonl"
files = ["Theorems/Logic.lean"]   # from lean_project/, or from the TOML file's own folder
# modules = ["Init.Data.List.Lemmas"], split = "held-out", per_module = 10      for kind = "library"
# imports = ["Mathlib"]                                                         for kind = "jsonl"
# new_to = "library-train"     for kind = "library": only theorems that speak of something no theorem of that set speaks of
# fresh_names = true           `turnstile eval` shows a checkpoint made-up words for the library's names
lean = "4.28.0"
licence = "Apache-2.0"
```
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from curricula.library import Split, library_set, speaks_of_new
from prover.errors import UserError
from prover.files import MAX_SETTINGS_BYTES, read_file
from prover.lean.runtime import project_dir
from prover.lean.text import code_words, read
from prover.lean.theorem import Theorem
from prover.premises.index import LibraryIndex

FOLDER = Path(__file__).parent / "sets"
Kind = Literal["library", "lean", "jsonl"]


@dataclass(frozen=True)
class TheoremSet:
    """A set as its TOML file describes it."""

    name: str
    title: str
    kind: Kind
    lean: str
    licence: str
    folder: Path
    files: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    split: Split | None = None
    per_module: int | None = None
    limit: int | None = None
    imports: tuple[str, ...] = field(default=())
    new_to: str = ""
    fresh_names: bool = False

    def path_of(self, file: str) -> Path:
        """Where one of its files is. Raises UserError where it is not."""
        places = [self.folder / file, project_dir() / file]
        for place in places:
            if place.is_file():
                return place
        raise UserError(f"set {self.name}: {file} is neither in {places[0].parent} nor in {places[1].parent}")


def sets() -> list[TheoremSet]:
    """Every set that comes with this installation, by name."""
    return [read_set(p) for p in sorted(FOLDER.glob("*.toml"))]


def load_set(name: str) -> TheoremSet:
    """A set by name, or by the path of its TOML file. Raises UserError."""
    if name.endswith(".toml"):
        return read_set(Path(name))
    known = sorted(p.stem for p in FOLDER.glob("*.toml"))
    if name not in known:
        raise UserError(f"no set {name!r}; there are {', '.join(known)}, or give the path of a .toml file")
    return read_set(FOLDER / f"{name}.toml")


def read_set(path: Path) -> TheoremSet:
    """Read a TOML file. Raises UserError, naming file and field."""
    try:
        data = tomllib.loads(read_file(path, MAX_SETTINGS_BYTES).decode())
    except (ValueError, RecursionError) as e:
        raise UserError(f"{path}: not TOML: {e}") from None
    for key in ("name", "title", "lean", "licence"):
        if not isinstance(data.get(key), str) or not data[key]:
            raise UserError(f"{path}: `{key}` must be a text")
    if data.get("kind") not in get_args(Kind):
        raise UserError(f"{path}: `kind` must be one of {', '.join(get_args(Kind))}, not {data.get('kind')!r}")
    if data.get("split") not in (None, *get_args(Split)):
        raise UserError(f"{path}: `split` must be one of {', '.join(get_args(Split))}, not {data['split']!r}")
    if not isinstance(data.get("fresh_names", False), bool):
        raise UserError(f"{path}: `fresh_names` must be true or false")
    if (other := data.get("new_to", "")) and (data["kind"] != "library" or not (FOLDER / f"{other}.toml").is_file()):
        raise UserError(f'{path}: `new_to` is for kind = "library" and names a set that comes along, not {other!r}')
    for key in ("per_module", "limit"):
        if (n := data.get(key)) is not None and (type(n) is not int or n < 1):
            raise UserError(f"{path}: `{key}` must be a whole number of at least 1, not {n!r}")
    known = set(TheoremSet.__dataclass_fields__) - {"folder"}
    if unknown := sorted(set(data) - known):
        raise UserError(f"{path}: `{unknown[0]}` is no field of a set; there are {', '.join(sorted(known))}")
    lists: dict[str, tuple[str, ...]] = {}
    for key in ("files", "modules", "imports"):
        value = data.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(x, str) for x in value):
            raise UserError(f"{path}: `{key}` must be a list of texts")
        lists[key] = tuple(value)
    wanted = "modules" if data["kind"] == "library" else "files"
    if not lists[wanted]:
        raise UserError(f"{path}: a set of kind {data['kind']!r} needs `{wanted}`")
    return TheoremSet(folder=path.parent, **lists, **data)


def open_set(chosen: TheoremSet) -> list[Theorem]:
    """Its theorems. Not for Lean files, whose tasks Lean itself finds (see prover.lean.sorries) one file at a time."""
    if chosen.kind == "library":
        from prover.premises.index import library_index

        return _library(library_index(), chosen)
    if chosen.kind == "lean":
        return [t for f in chosen.files for t in lean_theorems(chosen.path_of(f))]
    from prover.solve.jsonl_theorems import load_jsonl

    return [t for f in chosen.files for t in load_jsonl(chosen.path_of(f), chosen.imports)][: chosen.limit]


def _library(index: LibraryIndex, chosen: TheoremSet) -> list[Theorem]:
    if not chosen.new_to:
        return library_set(index, chosen.split, chosen.modules, chosen.per_module, chosen.limit)
    keep = speaks_of_new(index, _library(index, load_set(chosen.new_to)))
    return library_set(index, chosen.split, chosen.modules, chosen.per_module, chosen.limit, keep)


def lean_theorems(path: Path) -> list[Theorem]:
    """The theorems of a file of a plain kind: each `theorem NAME STATEMENT := by sorry`, needing only what is `open`ed or
    defined before the first. For other files see prover.lean.sorries."""
    text = read(path)
    body = text.body
    starts = [i for w, i in code_words(body) if w == "theorem"]
    context = _commands_only(body[: starts[0]]) if starts else ""
    found = []
    for start, stop in zip(starts, [*starts[1:], len(body)], strict=True):
        from prover.solve.jsonl_theorems import theorem_of_row

        line = body.count("\n", 0, start) + 1
        declared = body[start:stop]
        end = declared.rfind("sorry")
        if end < 0:
            raise UserError(f"{path}:{line}: this theorem has no `sorry`")
        row: dict[str, Any] = {"statement": declared[:end] + "sorry"}
        t = theorem_of_row(row, f"{path}:{line}")
        found.append(Theorem(t.name, t.statement, imports=text.imports, context=context, source=f"{path}:{line}"))
    return found


def _commands_only(text: str) -> str:
    """What stands before the first theorem, without its doc comment."""
    at = text.rfind("/--")
    return (text[:at] if at >= 0 and text.rstrip().endswith("-/") else text).strip()


def size_of(chosen: TheoremSet) -> int | None:
    """How many theorems a set has; None where that is not known without building the library's index first."""
    if chosen.kind == "library":
        from prover.lean.runtime import find_runtime
        from prover.premises.index import load_cached

        index = load_cached(find_runtime().name)
        if index is None:
            return None
        return len(_library(index, chosen))
    if chosen.kind == "lean":
        return sum(sum(w == "sorry" for w, _ in code_words(read(chosen.path_of(f)).body)) for f in chosen.files)
    return len(open_set(chosen))
