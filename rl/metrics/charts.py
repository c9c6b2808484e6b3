"""The report's figures: plotly charts as HTML fragments. The page includes plotly.js once."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from prover.solve.ledger import Attempt
from rl.metrics import calibration, curves
from rl.metrics.intervals import wilson

_INK = ("#1f6feb", "#1a7f37", "#bc4c00", "#8250df", "#cf222e", "#57606a", "#0a7ea4", "#9a6700")

HEIGHT = 300
"""Height of a chart in pixels."""

HEADS = ("provable", "stated", "steps", "error", "timeout", "progress", "closes", "premise")
"""Heads of the assessor, as rl/algorithms/assessing.py measures them."""

PANELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Solved of those attempted, %", ("solve/",)),
    ("Theorems proved", ("proofs/new", "proofs/known")),
    ("pass@k without search", ("pass_at_k/",)),
    ("Tactics per proof", ("proofs/mean_length",)),
    ("Lean calls per proof", ("cost/lean_calls_per_proof", "cost/lean_calls_per_new_proof")),
    ("Entropy of the policy, nats", ("model/entropy",)),
    ("Loss, nats per target", ("learner/policy_loss", "learner/value_loss", "learner/loss")),
    ("Accuracy", ("learner/accuracy", "learner/value_accuracy")),
    ("Value", ("value/calibration_error", "value/auc")),
    ("Share proved, estimated and audited", ("assessor/expected", "assessor/proved")),
    ("Assessor: AUC", tuple(f"assessor/{head}_auc" for head in HEADS)),
    ("Assessor: calibration error", tuple(f"assessor/{head}_ece" for head in HEADS)),
    ("Rewards", ("reward/",)),
    ("Proofs rejected by the audit", ("audit/rejected", "audit/errors")),
    ("Versions behind", ("staleness/",)),
    ("Use of time", ("lean/utilisation", "model/utilisation", "search/own_share", "search/idle_share", "system/share")),
    (
        "Lean steps, model tokens and learner tokens per second",
        ("lean/steps_per_second", "model/tokens_per_second", "learner/tokens_per_second"),
    ),
    ("Queues", ("queue/",)),
)
"""(title, metrics) of the charts over rounds. A metric is a name, or a prefix that ends in a slash."""


def over_rounds(figures: Mapping[int, Mapping[str, float]]) -> list[tuple[str, go.Figure]]:
    """A chart for every panel with data."""
    names = list(dict.fromkeys(n for f in figures.values() for n in f))
    out = []
    for title, wanted in PANELS:
        drawn = [n for n in names if any(n == w or (w.endswith("/") and n.startswith(w)) for w in wanted)]
        if title.startswith("Solved"):
            figure = _solved(figures, [n.removesuffix("/rate") for n in drawn if n.endswith("/all/rate")])
        else:
            figure = go.Figure()
            for name in drawn:
                _add_line(figure, name, [(r, f[name]) for r, f in figures.items() if name in f])
        if figure.data:
            whole = {"tickmode": "array", "tickvals": list(figures)} if len(figures) <= 8 else {"tickformat": "d"}
            out.append((title, _laid_out(figure, "round").update_xaxes(whole)))
    return out


def side_by_side(
    runs: Mapping[str, Mapping[int, Mapping[str, float]]], names: Sequence[str]
) -> list[tuple[str, go.Figure]]:
    """A chart over the rounds for every metric of `names` that each of the `runs` (name → figures) has, with a line per run."""
    out = []
    for metric in names:
        figure = go.Figure()
        for name, figures in runs.items():
            if points := [(r, f[metric]) for r, f in figures.items() if metric in f]:
                _add_line(figure, name, points)
        if len(figure.data) == len(runs):  # pyright: ignore[reportArgumentType]
            out.append((metric, _laid_out(figure, "round").update_xaxes({"tickformat": "d"})))
    return out


def _solved(figures: Mapping[int, Mapping[str, float]], series: Sequence[str]) -> go.Figure:
    figure = go.Figure()
    for name in series:
        keys = [f"{name}/{x}" for x in ("rate", "low", "high")]
        rates = {r: tuple(f[key] for key in keys) for r, f in figures.items() if all(key in f for key in keys)}
        _add_rates(figure, name.split("/")[1], rates)
    return figure


def by_calls(phases: Mapping[str, Sequence[Attempt]], calls: int, results: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Solve rate by Lean calls, from the run's own measurements on held-out theorems and from its evaluations."""
    figure = go.Figure()
    by_label: dict[str, dict[int, tuple[float, ...]]] = {}
    for phase, attempts in phases.items():
        s = curves.summarise(attempts, calls, len(attempts))
        by_label[phase] = {int(b): (n / s["total"], *wilson(n, s["total"])) for b, n in s["curve"].items()}
    for r in results:
        label = f"{r['name']} on {r['test']['set']}"
        by_label[label] = {int(b): (c["rate"], c["low"], c["high"]) for b, c in r["all"]["curve"].items()}
    for label, rates in by_label.items():
        _add_rates(figure, label, rates)
    figure = _laid_out(figure, "Lean calls per theorem", "solved, %")
    # On a narrow screen the legend has one line per curve.
    height = HEIGHT + 20 * len(by_label)
    return figure.update_layout(xaxis={"type": "log", "tickvals": curves.budgets(max(calls, 64))}, height=height)


def reliability(found: Sequence[calibration.Prediction]) -> go.Figure:
    """Observed against predicted value. A calibrated value is on the diagonal."""
    bins = calibration.reliability(found)
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": "#bbb", "dash": "dot"}, showlegend=False)
    figure.add_scatter(
        x=[b.predicted for b in bins],
        y=[b.observed for b in bins],
        mode="markers+lines",
        showlegend=False,
        marker={"size": [6 + min(b.count, 400) ** 0.5 for b in bins], "color": _INK[0]},
        text=[f"{b.count} goals" for b in bins],
        hoverinfo="x+y+text",
    )
    return _laid_out(figure, "value predicted", "value observed")


def steps_error(found: Sequence[calibration.Prediction]) -> go.Figure:
    """Error of the value, in tactics, by tactics to go."""
    rows = calibration.error_by_steps(found)
    x = [f"{e.steps}{'+' if e.steps == calibration.STEPS_SHOWN else ''}" for e in rows]
    figure = go.Figure()
    text = [f"{e.count} goals" for e in rows]
    figure.add_bar(x=x, y=[e.absolute for e in rows], name="absolute", marker={"color": _INK[0]}, text=text)
    figure.add_bar(x=x, y=[e.bias for e in rows], name="predicted minus true", marker={"color": _INK[2]})
    return _laid_out(figure, "tactics to go", "error in tactics")


def to_html(figure: go.Figure, number: int) -> str:
    """An HTML fragment. Figure 0 includes plotly.js. The box has a fixed height, without which a responsive chart has none."""
    chart = figure.to_html(
        include_plotlyjs=number == 0,
        full_html=False,
        config={"responsive": True, "displayModeBar": False},
        div_id=f"chart-{number}",
    )
    return f"<div style='height:{figure.layout.height or HEIGHT}px'>{chart}</div>"  # pyright: ignore[reportAttributeAccessIssue]


def _add_line(figure: go.Figure, name: str, points: Sequence[tuple[float, float]], **more: Any) -> None:
    """Add a line through points, in the next colour."""
    figure.add_scatter(
        x=[x for x, _ in points],
        y=[y for _, y in points],
        name=_label(name),
        mode="lines+markers",
        line={"color": _INK[len(figure.data) % len(_INK)]},  # pyright: ignore[reportArgumentType]
        **more,
    )


def _add_rates(figure: go.Figure, name: str, rates: Mapping[int, tuple[float, ...]]) -> None:
    """Add a line in percent with error bars. `rates`: x → (rate, low, high)."""
    bars = {
        "type": "data",
        "symmetric": False,
        "thickness": 1,
        "array": [100 * (high - rate) for rate, _, high in rates.values()],
        "arrayminus": [100 * (rate - low) for rate, low, _ in rates.values()],
    }
    _add_line(figure, name, [(x, 100 * rate) for x, (rate, _, _) in rates.items()], error_y=bars)


def _laid_out(figure: go.Figure, x: str, y: str = "") -> go.Figure:
    return figure.update_layout(
        margin={"t": 10, "l": 45, "r": 10, "b": 40},
        template="plotly_white",
        height=HEIGHT,
        xaxis={"title": x},
        yaxis={"title": y, "rangemode": "tozero"},
        legend={"orientation": "h", "y": -0.25},
    )


def _label(text: str) -> str:
    """Escape a name: plotly interprets HTML in names, and names of theorem sets are untrusted."""
    return html.escape(text, quote=False)
