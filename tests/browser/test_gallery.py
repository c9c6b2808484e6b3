"""The gallery of a batch in a browser: side by side, filtered, with an opened tree, on a desktop and a phone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prover.pages.gallery import gallery
from prover.solve.remarks import duplicates
from prover.solve.results import batch_results, read_results
from tests.browser.conftest import PHONE, fits

HOSTILE = "</script><img src=x onerror=alert(1)> ⊢ a < b & c"
OUTLINE = {
    "goals": [
        [
            "n m : Nat\n⊢ n + m = m + n ∧ True",
            "solved",
            [["constructor", "solved", "", [1, 2]], ["rfl", "error", HOSTILE, []]],
        ],
        ["n m : Nat\n⊢ n + m = m + n", "solved", [["omega", "solved", "", []]]],
        ["⊢ True", "solved", [["trivial", "solved", "", []], ["intro h", "open", "", [-1]]]],
    ],
    "left_out": 2,
}


def row(number: int, outcome: str, **more: Any) -> dict[str, Any]:
    proof = "intro h\nexact ⟨h.2, h.1⟩" if outcome in ("proved", "rejected", "disproved") else ""
    return {
        "key": f"{number} t{number}",
        "try": 0,
        "name": f"List.some_theorem_with_a_long_name_{number}",
        "line": None,
        "outcome": outcome,
        "proof": proof,
        "reason": "",
        "lean_calls": 3 + number % 60,
        "seconds": 0.4,
        "prover": "portfolio",
        "remarks": [],
        "goal": f"p q : Prop\nh : p ∧ q\n⊢ q ∧ p ∨ {number} = 0",
        "area": f"library:Init.Data.Area{number % 3}",
        "outline": OUTLINE,
        **more,
    }


def results(folder: Path, count: int = 24) -> Path:
    outcomes = ("proved", "exhausted", "budget", "proved", "rejected")
    rows = [row(i, outcomes[i % 5]) for i in range(count)]
    odd = {
        "kind": "vacuous",
        "detail": "omega",
        "script": "",
        "text": "vacuous: its hypotheses contradict each other (`omega`)",
    }
    rows[0]["remarks"] = [odd]
    rows.append(
        row(
            9001,
            "disproved",
            remarks=[{"kind": "false", "detail": "", "script": "", "text": "false: its negation is proved"}],
        )
    )
    rows.append(
        row(9002, "proved", name=HOSTILE, goal=HOSTILE, proof=f'exact "{HOSTILE}"', area="hostile's.lean", line=7)
    )
    rows.append(row(9003, "exhausted", goal="⊢ " + "f (g x) + " * 60 + "0 = 1", reason="x" * 300))
    head = {"turnstile_results": 2, "input": "0", "policy": "portfolio", "budget": 64, "seed": 0}
    path = folder / "results.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in [head, *rows]))
    return path


def page_of(folder: Path, count: int = 24) -> Path:
    path = folder / "gallery.html"
    found = batch_results(results(folder, count).parent)
    assert found is not None
    asked, rows = read_results(found)
    duplicates(rows)
    path.write_text(gallery(asked, rows))
    return path


def visible(page: Any, section: str) -> int:
    return page.locator(f"#{section} .card:visible").count()


def test_side_by_side_and_filtered(opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened(page_of(tmp_path))
    page.shot("gallery-desk")
    left, right = page.locator("#solved").bounding_box(), page.locator("#other").bounding_box()
    assert left["x"] + left["width"] <= right["x"] and left["y"] == right["y"]
    assert (visible(page, "solved"), visible(page, "other")) == (11, 16)
    assert page.locator("h1").inner_text() == "⊢ 11 of 27 proved"

    page.locator("label", has_text="vacuous").click()
    assert (visible(page, "solved"), visible(page, "other")) == (1, 0)
    page.locator("label", has_text="vacuous").click()
    page.locator("label", has_text="rejected").click()
    page.locator("label", has_text="disproved").click()
    assert (visible(page, "solved"), visible(page, "other")) == (0, 5)
    assert page.locator("#other .count").inner_text() == "5"
    page.shot("gallery-filtered")
    for text in ("rejected", "disproved"):
        page.locator("label", has_text=text).click()
    page.locator("#area").select_option("library:Init.Data.Area1")
    assert (visible(page, "solved"), visible(page, "other")) == (2, 7)
    page.locator("#area").select_option("*")
    page.locator("#text").fill("long_name_13 PROVED")
    assert (visible(page, "solved"), visible(page, "other")) == (1, 0)
    page.locator("#text").fill("nothing like it")
    assert (visible(page, "solved"), visible(page, "other")) == (0, 0)


def test_proofs_are_highlighted_and_texts_are_only_text(opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened(page_of(tmp_path))
    colours = page.evaluate(
        "[...document.querySelectorAll('#solved pre.proof span')].map(s => getComputedStyle(s).color)"
    )
    assert len(set(colours)) >= 2
    words = page.locator("#solved .card").first.locator("pre.proof .k").all_text_contents()
    assert words == ["intro", "exact"]
    assert page.locator("img").count() == 0
    assert HOSTILE in page.locator("#solved h3").all_text_contents()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_readable_on_a_phone(dark: bool, opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened(page_of(tmp_path), PHONE, dark)
    page.shot(f"gallery-phone-{'dark' if dark else 'light'}")
    assert fits(page)
    left, right = page.locator("#solved").bounding_box(), page.locator("#other").bounding_box()
    assert left["y"] + left["height"] <= right["y"]
    sizes = page.evaluate(
        "[...document.querySelectorAll('.card *')].map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 11
    page.locator("#other .card").last.scroll_into_view_if_needed()
    assert fits(page)


@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
def test_a_search_tree_a_click_away(phone: bool, opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened(page_of(tmp_path), *([PHONE] if phone else []))
    page.locator("#solved .card button").first.click()
    tree = page.locator("#tree")
    assert page.locator("dialog").is_visible()
    assert "constructor" in tree.inner_text() and "omega" in tree.inner_text()
    assert "2 more goals are left out" in tree.inner_text() and HOSTILE in tree.inner_text()
    assert page.locator("#head").inner_text() == page.locator("#solved h3").first.inner_text()
    page.shot(f"gallery-tree-{'phone' if phone else 'desk'}")
    page.locator("#close").click()
    assert not page.locator("dialog").is_visible()


FILTER = """() => { const from = performance.now(), box = document.getElementById("text"); box.value = "long_name_1234";
  box.dispatchEvent(new Event("input", {bubbles: true})); document.body.offsetHeight; return performance.now() - from; }"""
"""Type into the filter; returns the milliseconds until the page is laid out again."""


def test_two_thousand_theorems(opened: Callable[..., Any], tmp_path: Path) -> None:
    path = page_of(tmp_path, 2000)
    assert path.stat().st_size < 8e6
    page = opened(path)
    page.evaluate(FILTER)
    assert visible(page, "solved") + visible(page, "other") == 1


@pytest.mark.slow
def test_two_thousand_theorems_are_filtered_at_once(opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened(page_of(tmp_path, 2000))
    assert page.evaluate(FILTER) < 2000
