"""The page of `turnstile report` on a batch: solved and unsolved theorems side by side, in one self-contained file.

The data comes from the results file only. Statements and proofs are untrusted text and are escaped; the page has one script.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers.lean import Lean4Lexer

from prover.pages import templates

_TACTICS = """
aesop all_goals any_goals apply assumption bv_decide by_cases calc cases change clear congr constructor contradiction conv
decide delta dsimp erw exact exfalso exists ext first fun_induction funext generalize grind have induction injection intro
intros left linarith match next nlinarith nofun norm_num obtain omega positivity push_neg rcases refine rename rename_i repeat
replace revert rfl right ring rintro rw rwa show simp simp_all simp_arith simpa sorry specialize split subst suffices symm
trans trivial try unfold use
"""
_lexer, _formatter = Lean4Lexer(stripnl=False, ensurenl=False), HtmlFormatter(nowrap=True)
_lexer.add_filter("highlight", names=_TACTICS.split(), tokentype="Keyword")
_PAGES = templates(Path(__file__).parent)
_MEANING = {
    "proved": "the audit accepted a proof",
    "disproved": "the audit accepted a proof of the negation",
    "rejected": "a proof was found and the audit rejected it",
    "error": "Lean rejected the statement, or failed",
    "exhausted": "nothing is left to try",
    "budget": "the Lean calls ran out",
    "data": "the sorry is data, not a proposition",
    "found": "a proof was found and is not audited yet",
    "refuted": "the negation was proved and is not audited yet",
}
"""Outcomes, in the order of the page."""
_ORDER = {outcome: i for i, outcome in enumerate(list(_MEANING)[:-2])}


def gallery(asked: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """The page of a batch. `asked` and `rows`: from `prover.solve.results.read_results`, with at least one row."""
    counts = Counter(r["outcome"] for r in rows)
    numbered = sorted(enumerate(rows), key=lambda x: _ORDER.get(x[1]["outcome"], 9))
    return _PAGES.get_template("gallery.html").render(
        asked=asked,
        rows=rows,
        lean=next((r["lean"] for r in rows if r.get("lean")), ""),
        sections={
            "solved": ("Proved", [x for x in numbered if x[1]["outcome"] == "proved"]),
            "other": ("Not proved", [x for x in numbered if x[1]["outcome"] != "proved"]),
        },
        bar=sorted(counts.items(), key=lambda c: _ORDER.get(c[0], 9)),
        outcomes=counts.most_common(),
        kinds=Counter(m["kind"] for r in rows for m in r.get("remarks", [])).most_common(),
        tried=Counter(r.get("area") or "" for r in rows),
        solved=Counter(r.get("area") or "" for r in rows if r["outcome"] == "proved"),
        searches={i: r["outline"] for i, r in enumerate(rows) if r.get("outline")},
        meaning=_MEANING,
        code=lambda text: Markup(highlight(text, _lexer, _formatter).rstrip("\n")),
    )
