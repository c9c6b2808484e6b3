"""The page that draws a search is self-contained, complete, safe and small."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

from prover.lean.theorem import Goal, ProofState, StepResult
from prover.models.base import Query, Suggestion
from prover.pages.tree import tree_page
from prover.search import Budget, Search, SearchConfig


class Tree:
    """Goals that branch; one tactic closes a goal, below depth `closes`. Texts are hostile to HTML."""

    made = 0

    def __init__(self, closes: int) -> None:
        self.closes = closes

    def state(self, depth: int) -> ProofState:
        self.made += 1
        return ProofState(self.made, f"{self.made}", (Goal(f"h : </script><b>\n⊢ a < {depth}", target=f"a < {depth}"),))

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        depth = int(state.goals[0].target[4:])
        i = int(tactics[0].split()[-1])
        if i == 0:
            return [StepResult("error", message="no & <never>")]
        if depth > self.closes and i == 3:
            return [StepResult("ok")]
        states = tuple(self.state(depth + 1) for _ in range(1 + i % 2))
        return [StepResult("ok", states, tuple((j, 0) for j in range(len(states))))]

    async def free(self, states: Sequence[ProofState]) -> None:
        pass

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return [[Suggestion(f"simp <;> omega {i}", -0.3 * i) for i in range(6)] for _ in queries]


def page(calls: int | None, selection: str = "puct", limit: int = 5000, closes: int = 99) -> tuple[str, Search]:
    async def run() -> Search:
        world = Tree(closes)
        config = SearchConfig(selection=selection, in_flight=1, model_thread=False)
        search = Search(world.state(0), world, world, config=config)
        await search.run(Budget(lean_calls=calls))
        await search.close()
        return search

    search = asyncio.run(run())
    return tree_page(search.graph, "t <1>", limit), search


def embedded(text: str, id: str) -> Any:
    match = re.search(rf'<script type="application/json" id="{id}">(.*?)</script>', text, re.DOTALL)
    assert match is not None
    return json.loads(match[1])


def check_chart(text: str) -> list[tuple[str, ...]]:
    """The slices: id, parent, label, kind and size of each."""
    ids, parents, labels, kinds, values = zip(*embedded(text, "slices"), strict=True)
    assert set(kinds) <= {"proof", "solved", "open", "failed", "untried"}
    assert len(set(ids)) == len(ids) == len(parents) == len(values)
    assert set(parents) <= {"", *ids} and parents.count("") == 1
    below = dict.fromkeys(ids, 0)
    for p, v in zip(parents, values, strict=True):
        if p:
            below[p] += v
    assert all(below[i] < v or below[i] == 0 for i, v in zip(ids, values, strict=True))
    assert set(ids) == set(embedded(text, "details"))
    return [ids, parents, labels, kinds, values]


def test_a_page_holds_the_search_and_its_proof() -> None:
    text, search = page(None, closes=2)
    _, _, labels, kinds, _ = check_chart(text)
    proof = search.result().proof
    assert proof is not None
    assert kinds.count("proof") == 2 * proof.size
    root = embedded(text, "details")["g0"]
    assert len(root["rows"]) == 6
    assert any(r[1] == "error" and r[5] == "no & <never>" for r in root["rows"])
    assert "simp <;> omega 1" in labels
    assert "t &lt;1&gt;" in text and text.count("</script>") == 3 and "<never>" not in text
    assert not re.search(r'<(script|link)[^>]*(src|href)="http', text)


def test_a_usual_search_makes_a_small_page() -> None:
    text, _ = page(64)
    assert len(text) < 120_000


def test_a_large_search_is_cut_to_the_most_visited() -> None:
    text, search = page(3000, "breadth", limit=500)
    ids = check_chart(text)[0]
    goals = [i for i in ids if i.startswith("g")]
    assert 500 <= len(goals) <= 520 and len(search.graph.nodes) > 2000
    assert "least visited goals are omitted" in text


def test_five_thousand_goals_make_a_page_of_a_few_megabytes() -> None:
    text, search = page(4200, "breadth")
    assert len(search.graph.nodes) > 5000
    check_chart(text)
    assert len(text) < 12e6
