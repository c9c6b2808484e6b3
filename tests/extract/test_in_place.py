"""A theorem in its place is opened and audited with what stands before it, and nothing after it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from curricula.in_place import theorems_in_place
from curricula.sets import load_set, open_set, plain_theorems, read_set
from prover.errors import UserError
from prover.lean.audit import Auditor
from prover.lean.extract import Declaration, ExtractServer
from prover.lean.in_place import theorem_of
from prover.lean.project import imports_of
from prover.lean.source import project_dir
from prover.lean.text import LeanText, parse, read
from prover.lean.theorem import Theorem
from prover.solve.ledger import theorem_from_json, theorem_json
from rl.theorem_splits import file_theorems

PROOFS = Path(__file__).with_name("proofs.lean")


async def with_proofs(server: ExtractServer, file: Path) -> dict[str, tuple[Theorem, str | None]]:
    text = read(file)
    imports = imports_of(text)
    found = await server.extract(text, imports.shipped, imports.sources(), steps=False)
    placed = [(d, t) for d in found.declarations if (t := theorem_of(text, d, imports)) is not None]
    return {d.full_name: (t, proof_in_place(text, d)) for d, t in placed}


def proof_in_place(text: LeanText, declaration: Declaration) -> str | None:
    """The declaration's own proof as a tactic script; None if it is not a single term."""
    if declaration.body is None or declaration.suffix:
        return None
    data = text.body.encode()
    start, stop = declaration.body
    written = data[start:stop].decode()
    column = len(data[data.rfind(b"\n", 0, start) + 1 : start].decode())
    if not declaration.tactics:
        return "exact (\n" + " " * column + written + ")"
    lines = (" " * (column + 2) + written[2:]).split("\n")  # keeps the columns, which carry meaning
    while lines and not lines[0].strip():
        lines.pop(0)
    common = min((len(line) - len(line.lstrip(" ")) for line in lines if line.strip()), default=0)
    return "\n".join(line[common:] for line in lines)


@pytest.mark.lean
def test_human_proofs_are_accepted_in_place(project: Path) -> None:
    async def work() -> None:
        async with ExtractServer() as server, Auditor() as auditor:
            found = await with_proofs(server, project / "Demo/More.lean")
            assert set(found) == {"Demo.double_add", "Demo.le_double"}  # not those of `mutual`
            for theorem, proof in found.values():
                assert [m.module for m in theorem.before] == ["Demo.Basic"]
                await server.free([await server.open(theorem)])
                assert proof is not None and (await auditor.audit(theorem, proof)).verdict == "proved"
                assert theorem_from_json(theorem_json(theorem)) == theorem
            first, _ = found["Demo.double_add"]
            # A later theorem of the file, and the theorem itself, do not exist there.
            for script in ("exact absurd (le_double m) (by simp)", "rw [double_add]"):
                assert (await auditor.audit(first, script)).verdict == "rejected"
            found = await with_proofs(server, PROOFS)
            assert len(found) > 20
            for theorem, _ in list(found.values())[::6]:
                await server.free([await server.open(theorem)])
            for name in (
                "Proofs.le_trans'",
                "Proofs.Tree.mirror_mirror",
                "Proofs.not_exists'",
                "Proofs.Tree.depth_le_size",
            ):
                theorem, proof = found[name]
                assert proof is not None
                verdict = await auditor.audit(theorem, proof)
                assert verdict.verdict == "proved", (name, verdict.reason)

    asyncio.run(work())


@pytest.mark.lean
def test_a_project_is_a_theorem_set(project: Path) -> None:
    names = [f"_root_.Demo.{n}" for n in ("double_eq", "double_zero", "double_add", "le_double")]
    every = open_set(load_set(str(project)))
    assert [t.name for t in every] == names == [t.name for t, _ in file_theorems([str(project)])]
    assert [t.source.rpartition("/")[2] for t in every] == [
        "Basic.lean:6",
        "Basic.lean:10",
        "More.lean:6",
        "More.lean:13",
    ]
    assert "double_add" in every[3].context and "double_add" not in every[2].context
    (project.parent / "mine.toml").write_text(
        'name = "mine"\ntitle = "Mine"\nkind = "lean"\nlean = "4.28.0"\nlicence = "MIT"\nfiles = ["project"]\nsplit_by = "file"\n'
    )
    chosen = read_set(project.parent / "mine.toml")
    for by in ("name", "file", "novel_premises"):
        parts = [open_set(replace(chosen, split=s, split_by=by)) for s in ("train", "validation", "held-out")]
        assert sorted(t.name for part in parts for t in part) == sorted(names)
        if by == "file":
            assert all({t.source.rpartition(":")[0] for t in a}.isdisjoint(t.source.rpartition(":")[0] for t in b)
                       for a in parts for b in parts if a is not b)  # fmt: skip


@pytest.mark.lean
def test_equal_names_in_two_namespaces(tmp_path: Path) -> None:
    file = tmp_path / "A.lean"
    file.write_text("".join(f"namespace {n}\ntheorem t : {n.lower()} = {n.lower()} := rfl\nend {n}\n" for n in ("A", "B"))
                    .replace("a = a", "1 = 1").replace("b = b", "2 = 2"))  # fmt: skip
    found = theorems_in_place(str(file))
    assert [t.name for t in found] == ["_root_.A.t", "_root_.B.t"]

    async def work() -> list[str]:
        async with Auditor() as auditor:
            return [(await auditor.audit(t, "rfl")).verdict for t in found]

    assert asyncio.run(work()) == ["proved", "proved"]
    (tmp_path / "B.lean").write_text("theorem t : 1 = 2 := rfl\n")
    with pytest.raises(UserError, match=r"B\.lean:1:21: "):
        theorems_in_place(str(tmp_path / "B.lean"))


@pytest.mark.lean
def test_a_set_is_proved_without_what_comes_after(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import json

    from prover import cli

    with pytest.raises(SystemExit):
        cli.main(["prove", f"set:{project}", "--json", "--workers", "1", "--budget", "8"])
    outcomes: dict[str, Any] = {t["name"]: t["outcome"] for t in json.loads(capfd.readouterr().out)["tasks"]}
    assert set(outcomes) == {f"_root_.Demo.{n}" for n in ("double_eq", "double_zero", "double_add", "le_double")}
    assert outcomes["_root_.Demo.double_zero"] == "proved"


def test_only_a_file_of_sorries_is_plain() -> None:
    assert len(plain_theorems(read(project_dir() / "Theorems/Lists.lean")) or ()) == 19

    def plain(text: str) -> bool:
        return plain_theorems(parse(text.encode())) is not None

    assert plain("def a := 1\n\ntheorem t : a = 1 := by sorry\n\ntheorem u :\n    a = 1 := by sorry -- later\n")
    assert not plain("theorem t : 1 = 1 := rfl\n")
    assert not plain("theorem t : 1 = 1 := rfl\ndef a : Nat := sorry\n")
    assert not plain("theorem t : 1 = 1 := by sorry\ndef a : Nat := 1\ntheorem u : a = 1 := by sorry\n")
    assert not plain("def a := 1\n")


def test_a_theorem_needs_a_place() -> None:
    text = parse(b"theorem t : 1 = 1 := rfl\n")
    d = Declaration(
        "theorem", ("t",), (0, 24), (8, 9), (10, 17), (18, 24), (21, 24), False, False, False, (), False, "t", "t"
    )
    found = theorem_of(text, d, imports_of(text))
    assert found is not None and (found.name, found.statement, found.context) == ("t", ": 1 = 1", "")
    assert proof_in_place(text, d) == "exact (\n" + " " * 21 + "rfl)"
    assert theorem_of(text, structs.replace(d, inside=True), imports_of(text)) is None
    assert proof_in_place(text, structs.replace(d, suffix=True)) is None
