"""The page of one search in a browser, with up to 5,000 goals, and the page that `turnstile prove --tree` writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import DESK, PHONE, fits
from tests.cli.conftest import turnstile as turnstile
from tests.search.test_search_tree_page import page as search_page


def panel(page: Any) -> str:
    return page.locator("#panel").inner_text()


def test_five_thousand_goals_are_drawn_and_answer(opened: Callable[..., Any], tmp_path: Path) -> None:
    text, search = search_page(4200, "breadth")
    assert len(search.graph.nodes) > 5000
    path = tmp_path / "tree.html"
    path.write_text(text)
    page = opened(path)
    page.wait_for_selector("#chart .slice")
    page.shot("tree-5000")
    assert page.locator("#chart .slice").count() > 20
    assert "goal 0" in panel(page)
    # A click on a slice of the second level shows it, and goes deeper.
    page.locator("#chart .slice").nth(2).click()
    page.wait_for_function("!document.getElementById('head').textContent.startsWith('goal 0,')")
    page.shot("tree-5000-clicked")
    assert "<never>" in panel(page) or "goal" in panel(page)
    assert page.locator("b", has_text="t <1>").count() == 1


def test_on_a_phone(opened: Callable[..., Any], tmp_path: Path) -> None:
    text, _ = search_page(200)
    path = tmp_path / "tree.html"
    path.write_text(text)
    page = opened(path, PHONE)
    page.wait_for_selector("#chart .slice")
    page.shot("tree-phone")
    assert fits(page)
    chart, side = page.locator("#chart").bounding_box(), page.locator("#panel").bounding_box()
    assert chart["width"] > 300 and chart["height"] > 250
    assert side["y"] >= chart["y"] + chart["height"] - 1


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_long_messages_stay_on_the_page(size: dict[str, int], opened: Callable[..., Any], tmp_path: Path) -> None:
    text, _ = search_page(30)
    path = tmp_path / "tree.html"
    message = "unsolved_goal_" * 200
    assert "no \\u0026 " in text
    path.write_text(text.replace("no \\u0026 ", message).replace("t &lt;1&gt;", "Long.name_" * 60))
    page = opened(path, size)
    assert message in panel(page)
    assert fits(page)
    assert page.evaluate("(p => p.scrollWidth <= p.clientWidth)(document.getElementById('panel'))")
    page.shot(f"tree-long-{size['width']}")


def test_up_and_down(opened: Callable[..., Any], tmp_path: Path) -> None:
    text, _ = search_page(200)
    path = tmp_path / "tree.html"
    path.write_text(text)
    page = opened(path)
    root = page.locator("#chart .slice").first.inner_text()
    page.locator("#chart .slice").nth(1).click()
    assert page.locator("#head").inner_text().startswith("tactic")
    assert page.locator("#chart .slice").first.inner_text() == page.locator("#text").inner_text()
    assert page.locator("#path button").all_inner_texts() == [root]
    page.locator("#chart .slice").first.click()  # the topmost slice leads up
    assert page.locator("#chart .slice").first.inner_text() == root
    assert page.locator("#path button").count() == 0
    page.set_viewport_size({"width": 800, "height": 700})
    # The chart is drawn anew for the new size, sooner or later, and then ends before the panel.
    page.wait_for_function(
        """() => { const rights = [...document.querySelectorAll("#chart .slice")].map(s => s.getBoundingClientRect().right);
          return innerWidth === 800 && Math.max(...rights) <= document.getElementById("panel").getBoundingClientRect().x + 1; }"""
    )


@pytest.mark.lean
def test_prove_writes_a_tree(opened: Callable[..., Any], turnstile: Callable, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    done = turnstile(
        "prove",
        "--statement",
        "(p q : Prop) (h : p ∧ q) : q ∧ p",
        "--tree",
        out,
        "--json",
        "--workers",
        1,
        "--results",
        tmp_path / "results.jsonl",
    )
    assert done.code == 0
    page = opened(out)
    page.wait_for_selector("#chart .slice")
    page.shot("tree-prove")
    assert "h : p ∧ q" in page.locator("#text").inner_text()
    tactic = json.loads(done.out)["tasks"][0]["proof"]
    assert tactic in panel(page)

    assert turnstile("report", tmp_path / "results.jsonl").code == 0
    page = opened(tmp_path / "results.html")
    page.locator("#solved button").click()
    outline = json.loads((tmp_path / "results.jsonl").read_text().splitlines()[1])["outline"]
    ((_, _, tactics), *_) = outline["goals"]
    (found,) = (tactic for tactic, kind, *_ in tactics if kind == "solved")  # the proof may be a shorter one
    assert found in page.locator("#tree").inner_text()
    page.shot("gallery-prove")
