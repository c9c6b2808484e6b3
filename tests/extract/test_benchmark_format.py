"""The written benchmark has LeanDojo Benchmark 4's fields, and passes the checks that ReProver's data code makes when it reads them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import networkx
import pytest

from curricula.commands.extract import extract
from prover.lean.leandojo.dojo import package
from rl.learner.pairs import load_pairs

pytestmark = pytest.mark.lean


class Corpus:
    """ReProver's view of `corpus.jsonl`: a graph of files, each after its imports, with premises at positions."""

    def __init__(self, path: Path) -> None:
        self.pos = package().Pos
        self.graph = networkx.DiGraph()
        for line in path.read_text().splitlines():
            row = json.loads(line)
            assert set(row) == {"path", "imports", "premises"} and not self.graph.has_node(row["path"])
            for p in row["premises"]:
                assert {"full_name", "code", "start", "end", "kind"} == set(p) and p["code"] != ""
                assert self.pos(*p["start"]) <= self.pos(*p["end"])
            self.graph.add_node(row["path"], premises=row["premises"])
            for imported in row["imports"]:
                assert self.graph.has_node(imported)
                self.graph.add_edge(row["path"], imported)
        assert networkx.is_directed_acyclic_graph(self.graph)

    def premise_at(self, path: str, position: list[int]) -> dict[str, Any] | None:
        at = self.pos(*position)
        for p in self.graph.nodes[path]["premises"]:
            if self.pos(*p["start"]) <= at <= self.pos(*p["end"]):
                return p
        return None

    def accessible(self, path: str, position: list[int]) -> set[str]:
        """Names of premises in imported files, or earlier in the same file."""
        own = [p for p in self.graph.nodes[path]["premises"] if self.pos(*p["end"]) <= self.pos(*position)]
        imported = [p for f in networkx.descendants(self.graph, path) for p in self.graph.nodes[f]["premises"]]
        return {p["full_name"] for p in [*own, *imported]}


def test_reprover_can_read_the_benchmark(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert extract(str(project), out=out, workers=1, url="https://example.org/demo", commit="0" * 40) == 0
    folder = out / "benchmark"
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["from_repo"] == {"url": "https://example.org/demo", "commit": "0" * 40}
    corpus = Corpus(folder / "corpus.jsonl")
    assert "Demo/Basic.lean" in corpus.graph and len(corpus.graph) > 100
    for strategy in ("random", "novel_premises"):
        theorems = [
            t for s in ("train", "val", "test") for t in json.loads((folder / strategy / f"{s}.json").read_text())
        ]
        assert sorted(t["full_name"] for t in theorems) == sorted(
            f"Demo.{n}" for n in ("double_eq", "double_zero", "double_add", "le_double", "one", "two")
        )
        provenances = 0
        for t in theorems:
            assert {"url", "commit", "file_path", "full_name", "start", "end", "traced_tactics"} <= set(t)
            assert corpus.pos(*t["start"]) < corpus.pos(*t["end"])
            accessible = corpus.accessible(t["file_path"], t["start"])
            for tactic in t["traced_tactics"]:
                assert set(tactic) == {"tactic", "annotated_tactic", "state_before", "state_after"}
                annotated, used = tactic["annotated_tactic"]
                assert annotated.replace("<a>", "").replace("</a>", "") == tactic["tactic"]
                assert len(re.findall(r"(?<=<a>).+?(?=</a>)", annotated)) == len(used)
                assert "⊢" in tactic["state_before"] and "<a>" not in tactic["state_before"]
                for u in used:
                    assert set(u) == {"full_name", "def_path", "def_pos", "def_end_pos"}
                    found = corpus.premise_at(u["def_path"], u["def_pos"])
                    assert found is not None and found["full_name"] == u["full_name"] in accessible
                    provenances += 1
        assert provenances >= 5
    listing = (folder / "library/Init/Data/Nat/Basic.lean").read_text().splitlines()
    assert any(line.startswith("theorem Nat.mul_add : ") for line in listing)
    pairs = load_pairs(folder / "random/train.json")  # `turnstile tune` learns from it
    assert all("⊢" in p.state for p in pairs) if pairs else True
