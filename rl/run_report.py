"""`turnstile report RUN`: a self-contained page about a run with curves, calibration, proofs and failures, readable on a phone.

Statements, proofs and messages are untrusted text, so all of it is escaped.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from prover.solve.ledger import Attempt, Ledger
from rl import config as config_module
from rl import evaluate
from rl.candidate import BASELINES
from rl.config import RunConfig
from rl.metrics import alerts, calibration, charts, compute, rounds

SHOWN = 12
"""Proofs or failures of one kind shown in full."""
LISTED = 500
"""Proofs in the list at the end."""

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:72rem;padding:.7rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem;margin:.3rem 0}h2{font-size:1.2rem;margin:2rem 0 .3rem}h3{font-size:1rem;margin:.8rem 0 0;font-weight:600}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr));gap:.6rem}.grid>div{min-width:0}
.facts{color:#57606a}.alert{border-left:4px solid #cf222e;background:#fff5f5;padding:.4rem .7rem;margin:.4rem 0}
table{border-collapse:collapse;font-size:.9rem}td,th{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #ddd;
vertical-align:top}th{white-space:nowrap}.wide{overflow-x:auto}pre{background:#f6f8fa;padding:.6rem;overflow-x:auto;font-size:.85rem;margin:.2rem 0}
details{margin:.2rem 0}summary{cursor:pointer;overflow-wrap:anywhere}
input{font:inherit;padding:.4rem;width:100%;box-sizing:border-box}
"""
_FILTER = """<script>document.getElementById('filter').oninput=e=>{const q=e.target.value.toLowerCase();
for(const r of document.querySelectorAll('.proof'))r.hidden=!r.textContent.toLowerCase().includes(q)}</script>"""


def report_page(folder: Path) -> str:
    """The HTML page. Raises UserError if `folder` is not a run."""
    ledger = Ledger.open(folder, readonly=True)
    try:
        config = config_module.load(folder / "config.toml") if (folder / "config.toml").exists() else None
        phases: dict[str, list[Attempt]] = {}
        for a in ledger.attempts():
            phases.setdefault(a.phase, []).append(a)
        figures = rounds.figures(ledger)
        found = evaluate.results(ledger)
        proofs = list(ledger.proofs())
        versions, changes = ledger.get("versions") or {}, ledger.get("changes") or []
    finally:
        ledger.close()
    measured = {p: a for p, a in phases.items() if p.startswith("held-out")}
    drawing = Drawing()
    lean = ", ".join(sorted({a.lean for rows in phases.values() for a in rows if a.lean}))
    attempted = sum(map(len, phases.values()))
    parts = [
        head(folder.resolve().name),
        f"<p class=facts>{len(proofs)} theorems proved and audited in {attempted} attempts; {escaped(lean) or 'no Lean yet'}.",
        _alerts(figures),
    ]
    if measured or found:
        calls = config.eval.calls if config else 64
        parts.append("<h2>Solved by Lean calls</h2>" + drawing(charts.by_calls(measured, calls, found)))
    curves = charts.over_rounds(figures)
    if curves:
        body = "".join(f"<div><h3>{escaped(title)}</h3>{drawing(figure)}</div>" for title, figure in curves)
        parts.append(f"<h2>Over the rounds</h2><div class=grid>{body}</div>")
    parts += [table_of("Rounds", rounds.table(figures)), _calibration(phases, drawing), _phases(phases)]
    parts += [_interesting(phases, proofs), _failures(phases), _setup(config, versions, changes), _proofs(proofs)]
    return "\n".join(p for p in parts if p)


def head(title: str) -> str:
    """The beginning of a page."""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>Turnstile: {escaped(title)}</title><style>{STYLE}</style><h1>⊢ {escaped(title)}</h1>"
    )


class Drawing:
    """Converts figures to HTML and counts them, because only the first includes plotly.js."""

    def __init__(self) -> None:
        self.drawn = 0

    def __call__(self, figure: charts.go.Figure) -> str:
        self.drawn += 1
        return charts.to_html(figure, self.drawn - 1)


def escaped(text: object) -> str:
    """Text in HTML."""
    return html.escape(str(text))


def _alerts(figures: rounds.Figures) -> str:
    """The alerts of each round, newest first."""
    past = rounds.history(figures)
    said = [a for n in range(len(past), 0, -1) for a in alerts.alerts(past[:n])]
    shown = "".join(f"<p class=alert><b>{escaped(a.title)}.</b> {escaped(a.text)}" for a in said[:SHOWN])
    more = f"<p class=facts>and {len(said) - SHOWN} earlier ones" if len(said) > SHOWN else ""
    return shown + more


def table_of(title: str, rows: Sequence[Sequence[str]]) -> str:
    """A heading and a table, whose first row is its head; empty without other rows."""
    if len(rows) < 2:
        return ""
    head = "".join(f"<th>{escaped(c)}" for c in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escaped(c)}" for c in row) for row in rows[1:])
    return f"<h2>{escaped(title)}</h2><div class=wide><table><tr>{head}{body}</table></div>"


def _calibration(phases: dict[str, list[Attempt]], drawing: Drawing) -> str:
    found = calibration.predictions(a for rows in phases.values() for a in rows)
    if not found:
        return ""
    error = calibration.calibration_error(calibration.reliability(found))
    return (
        f"<h2>Calibration of the value</h2><p class=facts>{len(found)} goals, expected calibration error {error:.3f}. "
        "Goals that the search did not expand have no outcome and are not shown.<div class=grid>"
        f"<div><h3>Reliability</h3>{drawing(charts.reliability(found))}</div>"
        f"<div><h3>Error by tactics to go</h3>{drawing(charts.steps_error(found))}</div></div>"
    )


def _phases(phases: dict[str, list[Attempt]]) -> str:
    kinds = ("proved", "disproved", "exhausted", "budget", "rejected", "error")
    rows = [["phase", "theorems", *kinds, "Lean calls", "calls a proof"]]
    for phase, attempts in phases.items():
        counts = Counter(a.outcome for a in attempts)
        calls = sum(a.lean_calls for a in attempts)
        cost = f"{calls / counts['proved']:.1f}" if counts["proved"] else ""
        rows.append([phase, str(len(attempts)), *(str(counts[k]) for k in kinds), str(calls), cost])
    return table_of("Phases", rows)


def _setup(config: RunConfig | None, versions: Mapping[str, str], changes: Sequence[str]) -> str:
    """Configuration, seed, versions, and what was changed when the run was resumed."""
    if config is None:
        return ""
    rows = [["", ""], ["seed", str(config.seed)], *([name, version] for name, version in versions.items())]
    rows += [["changed when resumed", change] for change in changes]
    settings = escaped(config_module.dump(config))
    return table_of("Configuration", rows) + f"<details><summary>all settings</summary><pre>{settings}</pre></details>"


def _interesting(phases: dict[str, list[Attempt]], proofs: Sequence[Attempt]) -> str:
    """Proofs worth reading: long ones, expensive ones, and those of held-out theorems that no baseline proved."""
    kinds: list[tuple[str, list[Attempt]]] = [
        ("Longest, in tactics", sorted(proofs, key=compute.proof_steps, reverse=True)),
        ("Most Lean calls", sorted(proofs, key=lambda a: a.calls_to_solve or 0, reverse=True)),
    ]
    baselines = [_solved(phases.get(f"held-out {b}", ())) for b in BASELINES]
    trained = {a.theorem.name: a for a in phases.get("held-out model", ()) if a.outcome == "proved"}
    only = [a for n, a in trained.items() if not any(n in b for b in baselines)]
    if any(phases.get(f"held-out {b}") for b in BASELINES):
        kinds.insert(0, ("Held-out theorems that only the trained prover solved", only))
    body = "".join(_details(title, rows, lambda a: a.script or "") for title, rows in kinds if rows)
    return f"<h2>Proofs worth reading</h2>{body}" if body else ""


def _failures(phases: dict[str, list[Attempt]]) -> str:
    """Rejected proofs, errors, and held-out theorems that a baseline proved and the trained prover did not."""
    everything = [a for rows in phases.values() for a in rows]
    solved = _solved(phases.get("held-out model", ()))
    lost = [
        a
        for b in BASELINES
        for a in phases.get(f"held-out {b}", ())
        if a.outcome == "proved" and a.theorem.name not in solved and phases.get("held-out model")
    ]
    kinds = [
        ("Rejected by the audit", [a for a in everything if a.outcome == "rejected"]),
        (
            "Not judged by the audit: out of time or memory",
            [a for a in everything if a.outcome == "error" and a.script],
        ),
        ("Errors", [a for a in everything if a.outcome == "error" and not a.script]),
        ("Solved by a baseline but not by the trained prover (the baseline's proof)", lost),
    ]
    body = "".join(
        _details(f"{title}: {len(rows)}", rows, lambda a: "\n".join(x for x in (a.reason[:600], a.script) if x))
        for title, rows in kinds
        if rows
    )
    return f"<h2>Failures worth reading</h2>{body or '<p>None.'}"


def _solved(attempts: Iterable[Attempt]) -> set[str]:
    return {a.theorem.name for a in attempts if a.outcome == "proved"}


def _details(title: str, rows: Sequence[Attempt], text: Callable[[Attempt], str]) -> str:
    return f"<h3>{escaped(title)}</h3>" + "".join(
        f"<details><summary><b>{escaped(a.theorem.name)}</b> <span class=facts>{escaped(_facts(a))}</span></summary>"
        f"{_statement(a)}<pre>{escaped(text(a))}</pre></details>"
        for a in rows[:SHOWN]
    )


def _facts(a: Attempt) -> str:
    size = f"{compute.proof_steps(a)} tactics, " if a.outcome == "proved" else ""
    return f"{size}{a.calls_to_solve or a.lean_calls} Lean calls, {a.phase}"


def _statement(a: Attempt) -> str:
    t = a.theorem
    return f"<pre>{escaped(t.statement)}</pre>" if t.statement else f"<p class=facts>{escaped(t.source)}"


def _proofs(proofs: list[Attempt]) -> str:
    """All proofs by name, with a filter."""
    rows = "".join(
        f"<tr class=proof><td>{escaped(a.theorem.name)}<td>{a.calls_to_solve}<td><pre>{escaped(a.script or '')}</pre>"
        for a in sorted(proofs, key=lambda a: a.theorem.name)[:LISTED]
    )
    more = f" (the first {LISTED} by name; all are in proofs.lean)" if len(proofs) > LISTED else ""
    return (
        f"<h2>{len(proofs)} audited proofs{more}</h2><input id=filter placeholder='filter by name or tactic'>"
        f"<div class=wide><table><tr><th>theorem<th>Lean calls<th>proof{rows}</table></div>{_FILTER}"
    )
