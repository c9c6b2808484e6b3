"""The page of `turnstile report` on a batch: solved and unsolved theorems side by side, in one self-contained file.

The data comes from the results file only. Statements and proofs are untrusted text and are escaped; the page has one script.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers.lean import Lean4Lexer

_PAGE = Template(Path(__file__).with_name("gallery.html").read_text(encoding="utf-8"))
_TACTICS = """
aesop all_goals any_goals apply assumption bv_decide by_cases calc cases change clear congr constructor contradiction conv
decide delta dsimp erw exact exfalso exists ext first fun_induction funext generalize grind have induction injection intro
intros left linarith match next nlinarith nofun norm_num obtain omega positivity push_neg rcases refine rename rename_i repeat
replace revert rfl right ring rintro rw rwa show simp simp_all simp_arith simpa sorry specialize split subst suffices symm
trans trivial try unfold use
"""
_lexer, _formatter = Lean4Lexer(stripnl=False, ensurenl=False), HtmlFormatter(nowrap=True)
_lexer.add_filter("highlight", names=_TACTICS.split(), tokentype="Keyword")


def gallery(title: str, asked: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """The page of a batch. `asked` and `rows`: from `prover.solve.results.read_results`, with at least one row."""
    solved = [(i, r) for i, r in enumerate(rows) if r["outcome"] == "proved"]
    other = [(i, r) for i, r in enumerate(rows) if r["outcome"] != "proved"]
    other.sort(key=lambda x: (_ORDER.get(x[1]["outcome"], 9), x[0]))
    searches = {i: r["outline"] for i, r in enumerate(rows) if r.get("outline")}
    lean = next((r["lean"] for r in rows if r.get("lean")), "")
    facts = [
        f"policy {asked['policy']}",
        f"{asked['budget']} Lean calls a theorem at most",
        f"seed {asked['seed']}",
        lean,
        f"{sum(r['lean_calls'] for r in rows)} Lean calls in all",
    ]
    title = f"{len(solved)} of {len(rows)} proved"
    return _PAGE.substitute(
        title=html.escape(f"Turnstile: {title}"),
        headline=html.escape(title),
        facts=html.escape(" · ".join(f for f in facts if f)),
        bar=_bar(rows),
        chips=_chips(rows),
        areas=_areas(rows),
        solved_count=len(solved),
        other_count=len(other),
        solved="".join(_card(i, r) for i, r in solved),
        other="".join(_card(i, r) for i, r in other),
        searches=json.dumps(searches, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
    )


_ORDER = {"disproved": 0, "rejected": 1, "error": 2, "exhausted": 3, "budget": 4, "data": 5}
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


def _code(text: str) -> str:
    return highlight(text, _lexer, _formatter).rstrip("\n")


def _card(number: int, row: dict[str, Any]) -> str:
    outcome = str(row["outcome"])
    remarks = row.get("remarks", [])
    badges = f"<span class='badge {_word(outcome)}' title='{html.escape(_MEANING.get(outcome, ''))}'>{html.escape(outcome)}</span>"
    badges += "".join(f"<span class='badge odd'>{html.escape(r['text'])}</span>" for r in remarks)
    where = row.get("area") or ""
    where += f":{row['line']}" if row.get("line") and not where.endswith(f":{row['line']}") else ""
    proof = f"<pre class=proof>{_code(row['proof'])}</pre>" if row.get("proof") else ""
    reason = f"<p class=reason>{html.escape(row['reason'])}</p>" if row.get("reason") else ""
    spent = f"{row['lean_calls']} Lean calls, {row['seconds']:.1f} s"
    spent += f", {html.escape(row['prover'])}" if row.get("prover") else ""
    search = f"<button type=button data-search={number}>search tree</button>" if row.get("outline") else ""
    kinds = " ".join(_word(r["kind"]) for r in remarks)
    goal = f"<pre class=goal>{_code(row['goal'])}</pre>" if row.get("goal") else ""
    return (
        f"<article class=card data-outcome='{_word(outcome)}' data-kinds='{kinds}' data-area='{html.escape(row.get('area') or '')}'>"
        f"<h3>{html.escape(row['name'])}</h3><p class=where>{html.escape(where)}</p><p>{badges}</p>{goal}{proof}{reason}"
        f"<footer>{spent}{search}</footer></article>"
    )


def _word(text: str) -> str:
    """Text as a class name or attribute: letters and digits only."""
    return "".join(c for c in text if c.isalnum())


def _bar(rows: Sequence[dict[str, Any]]) -> str:
    counts = Counter(str(r["outcome"]) for r in rows)
    order = sorted(counts, key=lambda o: -1 if o == "proved" else _ORDER.get(o, 9))
    return "".join(
        f"<i class={_word(o)} style='flex:{counts[o]}' title='{counts[o]} {html.escape(o)}'></i>" for o in order
    )


def _chips(rows: Sequence[dict[str, Any]]) -> str:
    """Filters with counts: outcomes, then remarks."""
    outcomes = Counter(str(r["outcome"]) for r in rows)
    kinds = Counter(m["kind"] for r in rows for m in r.get("remarks", []))
    out = "".join(
        f"<label class=chip><input type=checkbox name=outcome value='{_word(o)}'>{html.escape(o)} <b>{n}</b></label>"
        for o, n in outcomes.most_common()
    )
    return out + "".join(
        f"<label class='chip odd'><input type=checkbox name=kind value='{_word(k)}'>{html.escape(k)} <b>{n}</b></label>"
        for k, n in kinds.most_common()
    )


def _areas(rows: Sequence[dict[str, Any]]) -> str:
    tried = Counter(r.get("area") or "" for r in rows)
    solved = Counter(r.get("area") or "" for r in rows if r["outcome"] == "proved")
    return "".join(
        f"<option value='{html.escape(a)}'>{html.escape(a or 'no area')} ({solved[a]}/{n})</option>"
        for a, n in sorted(tried.items())
    )
