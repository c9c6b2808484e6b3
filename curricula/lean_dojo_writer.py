"""Writes extracted proofs in the format of LeanDojo Benchmark 4: `corpus.jsonl`, `metadata.json`, and the splits `random` and
`novel_premises` with `train.json`, `val.json` and `test.json`.

The library's sources are not part of every Lean, so `library/` has a listing of each library module: its declarations with their
types. The positions of library premises refer to these listings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from curricula.library import Split, split_of
from curricula.novel_premises import novel_premises
from prover.files import write_whole
from prover.premises.index import LibraryIndex
from prover.solve.extraction import FileRecord, Pos, StepRecord

FILES: dict[Split, str] = {"train": "train.json", "validation": "val.json", "held-out": "test.json"}
LIBRARY = "library"
"""Folder of the listings of library modules."""
Place = tuple[str, Pos, Pos]
"""File, start and end of a declaration."""


def own_places(records: Iterable[FileRecord]) -> dict[str, Place]:
    """The place of each declaration of the files, by full name."""
    return {d.full_name: (r.file, d.start, d.end) for r in records for d in r.declarations}


def place_of(name: str, places: Mapping[str, Place]) -> Place | None:
    """The place where a constant is declared, or None. A constructor or field is at the declaration of its type."""
    while name:
        if (found := places.get(name)) is not None:
            return found
        name = name.rpartition(".")[0]
    return None


def write_benchmark(folder: Path, records: Sequence[FileRecord], index: LibraryIndex, url: str, commit: str) -> None:
    """Write or replace the benchmark of these files. `url` and `commit` name the files' repository."""
    folder.mkdir(parents=True, exist_ok=True)
    library = index.reachable(tuple(m for r in records for m in r.imports))
    corpus, places = _library(folder, index, library)
    places |= own_places(records)
    corpus += _own(records, library)
    write_whole(folder / "corpus.jsonl", "".join(_line(row) for row in corpus).encode())
    rows: dict[str, dict[str, Any]] = {}
    premises: dict[str, list[str]] = {}
    for r in records:
        for d in r.declarations:
            if d.kind != "theorem" or d.sorry or d.full_name in rows:
                continue
            steps = [s for s in d.steps if s.kind == "tactic"]
            premises[d.full_name] = [name for s in d.steps for name, _, _ in s.uses]
            row = {"url": url, "commit": commit, "file_path": r.file, "full_name": d.full_name}
            row |= {"theorem_statement": d.code, "start": d.start, "end": d.end}
            # Like LeanDojo, without focusing dots, which contain the steps under them.
            rows[d.full_name] = row | {"traced_tactics": [_tactic(s, places) for s in steps if "·" not in s.text]}
    for strategy, splits in {
        "random": {name: split_of(name) for name in rows},
        "novel_premises": novel_premises(premises),
    }.items():
        (folder / strategy).mkdir(exist_ok=True)
        for split, file in FILES.items():
            chosen = [row for name, row in rows.items() if splits[name] == split]
            write_whole(folder / strategy / file, json.dumps(chosen, ensure_ascii=False).encode())
    metadata = {
        "creation_time": str(datetime.now(UTC)),
        "from_repo": {"url": url, "commit": commit},
        "lean": index.lean,
        "num_theorems": len(rows),
    }
    write_whole(folder / "metadata.json", json.dumps(metadata, indent=2).encode())


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _tactic(step: StepRecord, places: Mapping[str, Place]) -> dict[str, Any]:
    """A row for a traced tactic. Marks only constants whose declaration has a known place, as LeanDojo does."""
    uses = [(name, place_of(name, places)) for name, _, _ in step.uses]
    used = [
        {"full_name": name, "def_path": place[0], "def_pos": place[1], "def_end_pos": place[2]}
        for name, place in uses
        if place is not None
    ]
    return {
        "tactic": step.text,
        "annotated_tactic": [_without(step.annotated, [place is not None for _, place in uses]), used],
        "state_before": step.state_before,
        "state_after": step.state_after,
    }


def _without(annotated: str, known: Sequence[bool]) -> str:
    """The text without the marks of premises that are not known."""
    first, *parts = annotated.split("<a>")
    marked = (f"<a>{p}" if keep else p.replace("</a>", "", 1) for p, keep in zip(parts, known, strict=True))
    return "".join([first, *marked])


def _library(
    folder: Path, index: LibraryIndex, modules: Iterable[str]
) -> tuple[list[dict[str, Any]], dict[str, Place]]:
    """(corpus rows of library modules, each after its imports; the places of their declarations). Writes the listings."""
    rows: list[dict[str, Any]] = []
    places: dict[str, Place] = {}
    chosen = [m for m in sorted(modules) if m in index.modules]
    known = {m: [i for i in index.modules[m].imports if i in index.modules] for m in chosen}
    for module in TopologicalSorter(known).static_order():
        info = index.modules[module]
        path = _path(module)
        listing: list[str] = []
        premises: list[dict[str, Any]] = []
        for p in (*info.theorems, *info.others):
            code = f"{p.kind} {p.name} : {p.type}".split("\n")
            start = (len(listing) + 1, 1)
            listing += code
            end = (len(listing), len(code[-1]) + 1)
            places[p.name] = (path, start, end)
            premises.append({"full_name": p.name, "code": "\n".join(code), "start": start, "end": end, "kind": p.kind})
        rows.append({"path": path, "imports": [_path(m) for m in known[module]], "premises": premises})
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, "".join(f"{line}\n" for line in listing).encode())
    return rows, places


def _own(records: Sequence[FileRecord], library: Iterable[str]) -> list[dict[str, Any]]:
    """Corpus rows of the files, each after its imports."""
    by_module = {r.module: r for r in records}
    shipped = set(library)
    rows: list[dict[str, Any]] = []
    own = {r.module: [m for m in r.imports if m in by_module] for r in records}
    for module in TopologicalSorter(own).static_order():
        record = by_module[module]
        imports = [by_module[m].file for m in own[module]]
        imports += [_path(m) for m in record.imports if m in shipped]
        premises = [
            {"full_name": d.full_name, "code": d.code, "start": d.start, "end": d.end, "kind": d.kind}
            for d in record.declarations
            if " " not in d.full_name and d.code
        ]
        rows.append({"path": record.file, "imports": imports, "premises": premises})
    return rows


def _path(module: str) -> str:
    """The listing of a library module."""
    return f"{LIBRARY}/{module.replace('.', '/')}.lean"
