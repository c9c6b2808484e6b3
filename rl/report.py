"""`turnstile report RUN`: one self-contained page about a run: curves, phases, learning, proofs and failures."""

from __future__ import annotations

import html
from collections import Counter
from pathlib import Path

import plotly.graph_objects as go

from rl import config as config_module
from rl import measure
from rl.ledger import Attempt, Ledger

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem;color:#1b1f24;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem}table{border-collapse:collapse;width:100%;font-size:.9rem}
td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}
pre{background:#f6f8fa;padding:.6rem;overflow-x:auto;font-size:.85rem;margin:.2rem 0}.wide{overflow-x:auto}
input{font:inherit;padding:.3rem;width:100%;box-sizing:border-box}
"""


def report_page(folder: Path) -> str:
    """The page. Raises UserError when `folder` is not a run."""
    ledger = Ledger.open(folder, readonly=True)
    config = config_module.load(folder / "config.toml") if (folder / "config.toml").exists() else None
    phases: dict[str, list[Attempt]] = {}
    for a in ledger.attempts():
        phases.setdefault(a.phase, []).append(a)
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Turnstile: {html.escape(folder.name)}</title><style>{_STYLE}</style>",
        f"<h1>⊢ {html.escape(folder.name)}</h1>",
        _curves(phases, config.eval.calls if config else 64),
        _phases(phases),
        _learning(ledger),
        _proofs(list(ledger.proofs())),
        _failures(phases),
    ]
    ledger.close()
    return "\n".join(parts)


def _curves(phases: dict[str, list[Attempt]], calls: int) -> str:
    figure = go.Figure()
    for phase, attempts in phases.items():
        if phase.startswith(("held-out", "eval")):
            s = measure.summarise(attempts, calls, len(attempts))
            x = [int(b) for b in s["curve"]]
            y = [100 * n / max(s["total"], 1) for n in s["curve"].values()]
            band = [measure.wilson(n, s["total"]) for n in s["curve"].values()]
            figure.add_scatter(
                x=x, y=y, name=phase, mode="lines+markers",
                error_y={
                    "type": "data", "array": [100 * h - v for (_, h), v in zip(band, y, strict=True)],
                    "arrayminus": [v - 100 * low for (low, _), v in zip(band, y, strict=True)],
                },
            )  # fmt: skip
    figure.update_layout(
        xaxis={"type": "log", "title": "Lean calls a theorem"}, yaxis={"title": "solved, %", "rangemode": "tozero"},
        margin={"t": 20, "l": 50, "r": 10}, legend={"orientation": "h", "y": -0.25}, template="plotly_white",
    )  # fmt: skip
    return "<h2>Solved on held-out theorems</h2>" + figure.to_html(include_plotlyjs=True, full_html=False)


def _phases(phases: dict[str, list[Attempt]]) -> str:
    rows = []
    for phase, attempts in phases.items():
        counts = Counter(a.outcome for a in attempts)
        calls = sum(a.lean_calls for a in attempts)
        cells = [phase, len(attempts), *(counts.get(o, 0) for o in ("proved", "exhausted", "budget", "rejected", "error"))]
        rows.append("".join(f"<td>{html.escape(str(c))}" for c in [*cells, calls, round(calls / max(counts["proved"], 1), 1)]))
    head = "".join(
        f"<th>{h}"
        for h in ("phase", "theorems", "proved", "exhausted", "budget", "rejected", "error", "Lean calls", "calls a proof")
    )
    return f"<h2>Phases</h2><div class=wide><table><tr>{head}" + "".join(f"<tr>{r}" for r in rows) + "</table></div>"


def _learning(ledger: Ledger) -> str:
    rows = [(p, n, v) for p, n, v, _ in ledger.measurements() if n in ("policy_loss", "value_loss", "accuracy", "examples")]
    if not rows:
        return ""
    body = "".join(f"<tr><td>{html.escape(p)}<td>{html.escape(n)}<td>{v:.3f}" for p, n, v in rows)
    return f"<h2>Learning</h2><div class=wide><table><tr><th>round<th>metric<th>value{body}</table></div>"


def _proofs(proofs: list[Attempt]) -> str:
    """Every proof, the longest first, with a filter."""
    proofs.sort(key=lambda a: -len(a.script or ""))
    rows = "".join(
        f"<tr class=proof><td>{html.escape(a.theorem.name)}<td>{a.calls_to_solve}"
        f"<td><pre>{html.escape(a.script or '')}</pre>"
        for a in proofs
    )
    script = (
        "<script>document.getElementById('filter').oninput=e=>{for(const r of document.querySelectorAll('.proof'))"
        "r.hidden=!r.textContent.toLowerCase().includes(e.target.value.toLowerCase())}</script>"
    )
    return (
        f"<h2>{len(proofs)} proofs, each audited</h2><input id=filter placeholder='filter by name or tactic'>"
        f"<div class=wide><table><tr><th>theorem<th>Lean calls<th>proof{rows}</table></div>{script}"
    )


def _failures(phases: dict[str, list[Attempt]]) -> str:
    refused = [a for attempts in phases.values() for a in attempts if a.outcome in ("rejected", "error")]
    if not refused:
        return "<h2>Refused or failed</h2><p>None."
    rows = "".join(
        f"<tr><td>{html.escape(a.theorem.name)}<td>{html.escape(a.phase)}<td>{html.escape(a.outcome)}"
        f"<td>{html.escape(a.reason[:300])}<td><pre>{html.escape(a.script or '')}</pre>"
        for a in refused[:200]
    )
    head = "<th>theorem<th>phase<th>outcome<th>reason<th>proof"
    return f"<h2>Refused or failed: {len(refused)}</h2><div class=wide><table><tr>{head}{rows}</table></div>"
