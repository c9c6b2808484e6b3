"""Premises of a theorem whose imports reach further than Init and Std."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

import turnstile
from prover.lean.runtime import LeanRuntime
from prover.lean.server import LeanDied
from prover.lean.theorem import Theorem
from prover.premises import imported as module
from prover.premises import index as premise_index
from prover.premises.imported import imported, imported_soon, index_roots, known_theorems
from prover.premises.index import library_index
from prover.premises.library import LibraryIndex, ModuleInfo, Premises
from prover.premises.premise import Premise
from prover.premises.retrieve import PremiseSource

MINIMUM = "Lean.Elab.Tactic.Omega.List.nonzeroMinimum"
BELOW = Theorem(
    "below",
    f"(xs : List Nat) (a : Nat) (h : a ∈ xs) (w : a ≠ 0) : {MINIMUM} xs ≤ a",
    imports=("Init", "Lean.Elab.Tactic.Omega.MinNatAbs"),
)


@pytest.mark.lean
def test_a_lemma_of_an_imported_module_proves_a_theorem():
    found = turnstile.search(BELOW, policy="explorer", budget=128)
    assert found.outcome == "proved" and f"{MINIMUM}_le" in found.script


@pytest.mark.lean
def test_the_index_has_exactly_what_the_imports_load():
    library = library_index()
    assert imported(("Init",), library).index is library
    found = imported(BELOW.imports, library)
    assert found.modules == library.reachable(("Init",)) | {"Lean.Elab.Tactic.Omega.MinNatAbs"}
    assert f"{MINIMUM}_le" in known_theorems(library) and f"{MINIMUM}_le" not in library.by_name()
    assert "Nat.add_comm" in known_theorems(library) and MINIMUM not in known_theorems(library)


@pytest.mark.lean
def test_looking_a_theorem_up_reads_no_list_of_names(monkeypatch: Any):
    known = known_theorems(library_index())
    monkeypatch.setattr(Premises, "names", None)
    assert known and "Nat.add_comm" in known and "Nat.no_such_theorem" not in known


@pytest.mark.lean
def test_a_theorem_without_an_index_of_its_imports_gets_the_library(caplog: pytest.LogCaptureFixture):
    library = library_index()
    with caplog.at_level(logging.WARNING):
        found = imported(("Init", "No.Such.Module"), library)
    assert found.index is library and found.modules == library.modules.keys()
    assert "only Init and Std" in caplog.text and "No" in caplog.text


def test_a_lean_that_dies_during_an_export_costs_no_attempt(monkeypatch: Any, caplog: pytest.LogCaptureFixture):
    calls = 0

    def dies(imports: tuple[str, ...]) -> LibraryIndex:
        nonlocal calls
        calls += 1
        raise LeanDied("out of memory")

    monkeypatch.setattr(module, "_opened", {})
    monkeypatch.setattr(module, "environment_index", dies)
    library = LibraryIndex("0", {"Init": ModuleInfo((), ())})
    for _ in range(2):
        assert asyncio.run(imported_soon(("Init", "Lean"), library)).index is library
    assert calls == 1 and "out of memory" in caplog.text


def test_files_of_a_project_share_the_index_of_a_package(tmp_path: Path):
    graph = {
        "Init": [],
        "Lib.A": ["Init"],
        "Lib.B": ["Lib.A"],
        "Other.Deep": ["Init"],
        "Mine.Basic": ["Lib.B"],
        "Mine": ["Mine.Basic", "Other.Deep"],
    }
    own = ("Mine", "Mine.Basic")
    assert set(index_roots(graph, own, [str(tmp_path)])) == {"Lib.B", "Other.Deep"}
    (tmp_path / "Lib.olean").touch()
    assert set(index_roots(graph, own, ["", str(tmp_path)])) == {"Lib", "Other.Deep"}
    (tmp_path / "Mine.olean").touch()
    assert set(index_roots({**graph, "Std": ["Init"]}, own, [str(tmp_path)])) == {"Lib", "Other.Deep", "Std"}


class NativeLean:
    """Stands for native Lean with a compiled package and a compiled project, which the embedded Lean cannot import."""

    GRAPH = {"Init": [], "Lib.A": ["Init"], "Lib.B": ["Lib.A"], "Lib": ["Lib.B"], "Mine": ["Lib.A"]}

    def __init__(self, runtime: LeanRuntime, limits: object = None) -> None:
        self.runtime = runtime

    async def __aenter__(self) -> NativeLean:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def command(self, cmd: str, imports: list[str], module: str = "", chosen: Any = None) -> dict[str, Any]:
        if cmd == "module" and chosen is None:
            return {"module": [[0, f"{module}.t", "theorem"]]}
        if cmd == "module":
            return {"module": [[f"{module}.t", "Eq", ["f", "f"], 0, True, ["f"], "f = f", [], "theorem"]]}
        reached: dict[str, list[str]] = {}
        stack = [m for m in imports if m in self.GRAPH]
        while stack:
            m = stack.pop()
            reached[m] = self.GRAPH[m]
            stack += self.GRAPH[m]
        return {"modules": [[m, needs] for m, needs in self.GRAPH.items() if m in reached]}


def test_a_package_is_searched_for_premises_and_the_project_itself_is_not(tmp_path: Path, monkeypatch: Any):
    package, own = tmp_path / ".lake" / "packages" / "lib", tmp_path / ".lake" / "build"
    for folder, name in ((package, "Lib"), (package, "Lib/A"), (package, "Lib/B"), (own, "Mine")):
        (folder / f"{name}.olean").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.olean").touch()
    runtime = LeanRuntime("native", "0", (), {"LEAN_PATH": f"{own}:{package}"})
    monkeypatch.setenv("TURNSTILE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_opened", {})
    for place in (module, premise_index):
        monkeypatch.setattr(place, "find_runtime", lambda: runtime)
        monkeypatch.setattr(place, "LeanServer", NativeLean)
    library = LibraryIndex(
        "0", {"Init": ModuleInfo((), [Premise("Init.t", "Init", "Eq", ("f", "f"), 0, True, ("f",))])}
    )
    found = imported(("Mine",), library)
    assert found.modules == {"Init", "Lib.A"} and list(found.index.modules) == ["Init", "Lib.A", "Lib.B", "Lib"]
    index, retriever = PremiseSource(library).retriever(("Mine",))
    assert index is found.index and [p.name for p in retriever.premises] == ["Init.t", "Lib.A.t"]
    assert "Lib.A.t" in known_theorems(library)
