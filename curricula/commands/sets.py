"""List the theorem sets: sizes, splits, Lean version, licence."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import tyro

from prover.console import answer, plain, say
from prover.errors import UserError


def sets(
    name: Annotated[str | None, tyro.conf.Positional] = None,
    *,
    fields: tuple[str, ...] = (),
    areas: bool = False,
    proofs: Path | None = None,
    json: bool = False,
) -> int:
    """List the theorem sets with size, split, Lean version and licence, or the theorems of one.

    Args:
        name: list the theorems of this set: a name, `world:…`, or the path of a .toml or .lean file, a Lake project or a data set.
        fields: PART=FIELD …: the fields of a data set, as in `turnstile prove --fields`.
        proofs: write the theorems of a world (`world:…`) with their proofs as a Lake project into this new folder.
        areas: list the sizes of the whole library (Init and Std) by area and split.
        json: print one JSON document.
    """
    from curricula import sets as known

    if areas:
        return _areas(json)
    if proofs is not None:
        return _proofs(name or "", proofs)
    if name is not None:
        return _theorems(name, fields, json)
    rows = [
        {
            "name": s.name,
            "title": s.title,
            "kind": s.kind,
            "size": known.size_of(s),
            "split": s.split,
            "lean": s.lean,
            "licence": s.licence,
        }
        for s in known.sets()
    ]
    if json:
        answer({"sets": rows})
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 1))
    for title in ("set", "theorems", "split", "Lean", "licence", "title"):
        table.add_column(title)
    for r in rows:
        size = "?" if r["size"] is None else str(r["size"])
        table.add_row(r["name"], size, r["split"] or "", r["lean"], r["licence"], r["title"])
    Console().print(table)
    return 0


def _theorems(name: str, fields: tuple[str, ...], json: bool) -> int:
    from curricula import sets as known

    chosen = known.load_set(name, fields)
    theorems = known.open_set(chosen)
    if json:
        answer(
            {
                "name": chosen.name,
                "theorems": [
                    {"name": t.name, "statement": t.statement, "imports": list(t.imports), "source": t.source}
                    for t in theorems
                ],
            }
        )
        return 0
    for t in theorems:
        print(plain(t.name), plain(" ".join((t.statement or f"(library: {t.source})").split())), sep="  ")
    return 0


def _proofs(name: str, folder: Path) -> int:
    from curricula.worlds.project import write_project
    from curricula.worlds.spec import PREFIX, world_of

    if not name.startswith(PREFIX):
        raise UserError(f"--proofs {folder}: only worlds have proofs; name a set such as world:logic?count=100")
    theorems = world_of(name)
    write_project(theorems, folder)
    say(f"{len(theorems)} theorems with proofs in {folder}; next: turnstile extract {quote(str(folder))} --out PAIRS")
    return 0


def _areas(json: bool) -> int:
    from curricula.library import areas
    from prover.premises.index import library_index

    index = library_index()
    rows = areas(index)
    keys = ("modules", "theorems", "below", "train", "validation", "held-out")
    total = {"area": "all", **{k: sum(r[k] for r in rows) for k in keys}}
    if json:
        answer({"lean": index.lean, "licence": "Apache-2.0", "areas": rows, "all": total})
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 1), caption=f"{index.lean}; below: provable from the module's imports")
    for title in ("area", *keys):
        table.add_column(title, justify="left" if title == "area" else "right")
    for r in [*rows, total]:
        table.add_row(r["area"], *(str(r[k]) for k in keys))
    Console().print(table)
    return 0
