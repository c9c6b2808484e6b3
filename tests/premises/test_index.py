"""The index of an environment: what Lean exports, its cache, and its cost at the size of Mathlib."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prover.errors import UserError
from prover.lean.runtime import LeanRuntime
from prover.lean.surroundings import Declaration, Surroundings
from prover.premises import index as premise_index
from prover.premises.index import build, environment_index, library_index, load_cached
from prover.premises.library import LibraryIndex, ModuleInfo
from prover.premises.local import LocalPremises
from prover.premises.premise import Premise
from tests.premises.synthetic import DECLARATIONS, mathlib_sized

NAT = Premise("Nat.é", "A", "Eq", ("f", "g"), 2, False, ("Nat", "Eq"), "∀ n, f n = g n", ("simp", "deprecated"))
DEF = Premise("f", "A", "Nat", ("[anonymous]", "[anonymous]"), 1, True, ("Nat",), "Nat → Nat", (), "definition")
LAST = Premise("a", "C", "Iff", ("f", "f"), 0, True, ())


def small() -> LibraryIndex:
    modules = {"A": ModuleInfo((), (NAT,), (DEF,)), "B": ModuleInfo(("A",), ()), "C": ModuleInfo(("B", "B"), (LAST,))}
    return LibraryIndex("some Lean", modules)


def test_a_saved_index_comes_back(tmp_path):
    small().save(tmp_path / "folder" / "index", files={})
    index = LibraryIndex.load(tmp_path / "folder" / "index")
    assert index.lean == "some Lean" and list(index.modules) == ["A", "B", "C"] and len(index) == 3
    assert [(i.imports, *i.theorems, *i.others) for i in index.modules.values()] == [
        ((), NAT, DEF),
        (("A",),),
        (("B", "B"), LAST),
    ]
    assert dict(index.by_name()) == {"Nat.é": NAT, "a": LAST} and "f" not in index.by_name()
    assert index.row("f") == 1 and index.row("g") is None and index.row("") is None and index.row("z") is None
    assert list(index.select(["A"], deprecated=False, kinds=("theorem", "definition"))) == [DEF]
    assert index.reachable(("C", "unknown")) == {"A", "B", "C"}


@pytest.mark.parametrize("keep", [0, 10, 60, 0.5, 0.9])
def test_a_broken_file_is_no_index(tmp_path, keep):
    path = tmp_path / "index"
    small().save(path, files={})
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(ValueError):
        LibraryIndex.load(path)


class FakeServer:
    """Stands for native Lean with a project's compiled modules, which the embedded Lean cannot import."""

    def __init__(self, folder: Path) -> None:
        self.runtime = LeanRuntime("native", "0", (), {"LEAN_PATH": str(folder)})
        self.limits = None
        self.modules = {"Init": [], "Mine.A": ["Init"], "Mine.B": ["Init"], "Mine.C": ["Mine.A"]}
        self.exported: list[str] = []

    async def command(
        self, cmd: str, imports: list[str], module: str = "", chosen: list[list[Any]] | None = None
    ) -> dict[str, Any]:
        if cmd == "modules":
            reached = {m: needs for m, needs in self.modules.items() if m == "Init" or "Init" not in imports}
            return {"modules": [[m, needs] for m, needs in reached.items()]}
        await asyncio.sleep(0)
        if chosen is None:
            self.exported.append(module)
            return {"module": [[3, f"{module}.t", "theorem"], [5, f"{module}.T.casesOn", "definition"]]}
        assert chosen == [[3, f"{module}.t", "theorem"]], "what Lean generated is not printed"
        return {"module": [[f"{module}.t", "Eq", ["Nat", "Nat"], 0, True, ["Nat"], "x = x", [], "theorem"]]}


@pytest.fixture
def project(tmp_path, monkeypatch) -> FakeServer:
    monkeypatch.setenv("TURNSTILE_CACHE", str(tmp_path / "cache"))
    for m in "ABC":
        (tmp_path / "lib" / "Mine").mkdir(parents=True, exist_ok=True)
        (tmp_path / "lib" / "Mine" / f"{m}.olean").write_text(m)
    return FakeServer(tmp_path / "lib")


def made(server: FakeServer, *imports: str) -> LibraryIndex:
    server.exported.clear()
    return asyncio.run(build(server, imports))  # type: ignore[arg-type]


def test_only_changed_modules_and_what_imports_them_are_exported(project, tmp_path):
    index = made(project, "Mine.C", "Mine.B")
    assert project.exported == ["Init", "Mine.A", "Mine.B", "Mine.C"]
    assert list(index.by_name()) == ["Init.t", "Mine.A.t", "Mine.B.t", "Mine.C.t"] and len(index) == 4
    wanted = (project.runtime.name, ("Mine.C", "Mine.B"), (str(tmp_path / "lib"),))
    assert load_cached(*wanted) is not None
    (tmp_path / "lib" / "Mine" / "A.olean").write_text("another A")
    assert load_cached(*wanted) is None
    made(project, "Mine.C", "Mine.B")
    assert project.exported == ["Mine.A", "Mine.C"]
    assert load_cached(*wanted) is not None
    project.modules["Mine.D"] = ["Mine.C"]
    (tmp_path / "lib" / "Mine" / "D.olean").touch()
    made(project, "Mine.D")
    assert project.exported == ["Mine.D"]


def test_two_processes_share_many_modules(project, monkeypatch):
    class Second(FakeServer):
        def __init__(self, *_: object) -> None:
            super().__init__(Path(project.runtime.env["LEAN_PATH"]))
            seconds.append(self)

        async def __aenter__(self) -> Second:
            return self

        async def __aexit__(self, *_: object) -> None:
            closed.append(self)

    seconds: list[Second] = []
    closed: list[Second] = []
    monkeypatch.setattr(premise_index, "LeanServer", Second)
    monkeypatch.setattr(premise_index, "_ALONE", 3)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    index = made(project, "Mine.C", "Mine.B")
    (second,) = closed
    assert project.exported == ["Init", "Mine.B"] and second.exported == ["Mine.A", "Mine.C"]
    assert list(index.modules) == ["Init", "Mine.A", "Mine.B", "Mine.C"] and len(index) == 4
    (Path(project.runtime.env["LEAN_PATH"]) / "Mine/A.olean").write_text("another A")
    made(project, "Mine.C", "Mine.B")
    assert seconds == [second], "what is left is for one process"


def test_one_process_exports_where_a_second_cannot_start(project, monkeypatch):
    class Fails:
        def __init__(self, *_: object) -> None:
            pass

        async def __aenter__(self) -> None:
            raise UserError("Lean did not start: no memory")

        async def __aexit__(self, *_: object) -> None:
            raise AssertionError("it never started")

    monkeypatch.setattr(premise_index, "LeanServer", Fails)
    monkeypatch.setattr(premise_index, "_ALONE", 3)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert len(made(project, "Mine.C", "Mine.B")) == 4 and len(project.exported) == 4


def test_a_module_must_be_where_lean_finds_it(project, tmp_path):
    (tmp_path / "lib" / "Mine" / "B.olean").unlink()
    with pytest.raises(UserError, match=r"Mine\.B: no compiled file"):
        made(project, "Mine.B")
    (tmp_path / "lib" / "Init.olean").touch()
    with pytest.raises(UserError, match="stands before a module of Lean"):
        made(project, "Init")


# Run in a process of its own, which has loaded nothing yet.
MEASURE = """
import json, os, statistics, sys, time
from pathlib import Path
from prover.lean.surroundings import Declaration, Surroundings
from prover.premises.library import LibraryIndex
from prover.premises.retrieve import make_retriever, top_premises

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

before, began = resident(), time.process_time()
index = LibraryIndex.load(Path(sys.argv[1]))
retriever = make_retriever("symbols", index)
loaded = time.process_time() - began
some = index.select()[:: len(index) // 100]
goals = [a.constants + b.constants for a, b in zip(some, some[1:])]
times = []
for goal in goals:
    began = time.process_time()
    found = top_premises(retriever, goal, 16)
    times.append(1000 * (time.process_time() - began))
    assert found
print(json.dumps({"load_s": loaded, "ms": statistics.median(times), "mb": resident() - before, "rows": len(index)}))
"""


def measured(path: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    print(done.stdout)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def mathlib(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mathlib") / "index"
    mathlib_sized().save(path, files={})
    return path


@pytest.mark.slow
def test_the_size_of_mathlib_costs_little(mathlib):
    """Processor time, with the retriever that searches use."""
    cost = measured(mathlib)
    assert cost["rows"] == DECLARATIONS
    assert cost["load_s"] < 2.0 and cost["mb"] < 1000 and cost["ms"] < 5.0, cost


@pytest.mark.slow
def test_a_file_of_a_thousand_theorems_is_added_at_once():
    """Processor time of the ranking that each theorem of a long file gets of what stands before it."""
    shapes = list(library_index().select())[:1000]
    declared = tuple(
        Declaration(f"own_{p.name}", "theorem", p.head, p.sides, p.explicit, p.constants, (), False, (), None)
        for p in shapes
    )
    surroundings = [Surroundings(declared[:n]) for n in range(991, 1001)]
    began = time.process_time()
    found = [LocalPremises(s).lemmas(shapes[-1].constants, 16) for s in surroundings]
    ms = 1000 * (time.process_time() - began) / len(surroundings)
    print(f"{ms:.1f} ms of processor time")
    assert f"own_{shapes[-1].name}" in found[-1] and ms < 50.0


@pytest.mark.slow
def test_all_processes_share_the_file(mathlib):
    """The arrays are views of the mapped file, so that no process has a copy."""
    index = LibraryIndex.load(mathlib)
    for array in (index.names.block, index.constants, index.postings, index.heads):
        while isinstance(array.base, np.ndarray) and not isinstance(array, np.memmap):
            array = array.base
        assert isinstance(array, np.memmap)


@pytest.mark.lean
def test_kinds_are_told_apart():
    index = library_index()
    kinds = {
        "Nat.add_comm": "theorem",
        "List.map": "definition",
        "List": "definition",
        "List.cons": "constructor",
        "List.instAppend": "instance",
        "instAddNat": "instance",
        "Nat.gcd": "definition",
    }
    found = {name: next(index.premises([row])).kind for name in kinds if (row := index.row(name)) is not None}
    assert found == kinds
    assert index.row("Nat.rec") is None and index.row("List.casesOn") is None and index.row("propext") is None


@pytest.mark.lean
def test_an_unknown_import_is_named():
    for name in ("No.Such.Module", "../x"):
        with pytest.raises(UserError, match="the premises of"):
            environment_index(("Init", name))

    async def where_a_loop_runs() -> None:
        environment_index(("Init", "No.Such.Module"))

    with pytest.raises(UserError, match="the premises of"):
        asyncio.run(where_a_loop_runs())


@pytest.mark.lean
@pytest.mark.slow
def test_all_of_init_std_and_lean():
    index, library = environment_index(("Init", "Std", "Lean")), library_index()
    assert {"Lean.Meta.Basic", "Lean.Elab.Tactic.Omega.Frontend"} <= set(index.modules) > set(library.modules)
    assert len(index) > len(library) > 50_000
    assert list(index.modules["Init.Data.List.Lemmas"].theorems) == list(
        library.modules["Init.Data.List.Lemmas"].theorems
    )
    row = index.row("Lean.Meta.inferType")
    assert row is not None and next(index.premises([row])).type == "Lean.Expr → Lean.MetaM Lean.Expr"
    path = premise_index._path(index.lean, ("Init", "Std", "Lean"), ())
    cost = measured(path)
    assert cost["load_s"] < 2.0 and cost["mb"] < 1000 and cost["ms"] < 5.0, cost
