"""Metrics of each round, read from the ledger, for the report, the terminal's table and the alerts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from prover.solve.ledger import Attempt, Ledger
from rl.metrics import calibration, compute
from rl.metrics.alerts import RoundFigures
from rl.metrics.intervals import percent

Figures = dict[int, dict[str, float]]
"""Round → metric → value, names as in docs/metrics.md."""

VERIFIED_REWARDS = frozenset({"proved"})
"""Rewards that the audit verifies. There are no alerts about these."""


def round_of(phase: str) -> int | None:
    """The round of a phase such as `round 3` or `validation round 3`."""
    found = re.search(r"\bround (\d+)\b", phase)
    return int(found[1]) if found else None


def split_of_phase(phase: str) -> str:
    """The text before `round` (`validation`, `held-out`), or `train` if there is none."""
    before = re.split(r"\bround \d+", phase)[0].strip()
    return before.split()[0] if before else "train"


def figures(ledger: Ledger) -> Figures:
    """Metrics computed from each round's attempts, overridden by the run's own measurements.

    Measurements without a slash are the learner's: `policy_loss` becomes `learner/policy_loss`.
    """
    by_round: dict[int, dict[str, list[Attempt]]] = {}
    for a in ledger.attempts():
        r = round_of(a.phase)
        if r is not None:
            by_round.setdefault(r, {}).setdefault(split_of_phase(a.phase), []).append(a)
    out: Figures = {}
    known: set[str] = set()
    for r in sorted(by_round):
        row: dict[str, float] = {}
        for split, attempts in by_round[r].items():
            row |= compute.solve_rates(attempts, split, by_set=False)
        training = by_round[r].get("train", [])
        row |= compute.of_attempts(training, known)
        row |= calibration.metrics(calibration.predictions([a for rows in by_round[r].values() for a in rows]))
        known |= {a.theorem.name for a in training if a.outcome == "proved"}
        out[r] = row
    for phase, name, value, _ in ledger.measurements():
        r = round_of(phase)
        if r is not None and value is not None:
            out.setdefault(r, {})[name if "/" in name else f"learner/{name}"] = value
    return dict(sorted(out.items()))


def of_rows(rows: Iterable[Mapping[str, float]]) -> Figures:
    """The figures from the rounds' logged rows. The cost does not depend on the number of attempts."""
    return {int(row["round"]): dict(row) for row in rows}


def history(found: Mapping[int, Mapping[str, float]]) -> list[RoundFigures]:
    """The rounds as input of `alerts`. Uses the solve rate on validation or held-out theorems if every round has one."""
    split = next(
        (s for s in ("validation", "held-out") if found and all(f"solve/{s}/all/of" in f for f in found.values())),
        "train",
    )
    out = []
    for r, f in sorted(found.items()):
        of = f.get(f"solve/{split}/all/of", 0.0)
        rejected, rate = f.get("audit/rejected", 0.0), f.get("audit/rejection_rate", 0.0)
        judged = rejected / rate if rate else sum(f.get(f"outcome/{o}", 0.0) for o in ("proved", "disproved"))
        rewards = {n.removeprefix("reward/"): v for n, v in f.items() if n.startswith("reward/")}
        out.append(
            RoundFigures(
                r,
                round(f.get(f"solve/{split}/all/rate", 0.0) * of),
                round(of),
                round(rejected),
                round(judged),
                f.get("model/entropy"),
                {n: v for n, v in rewards.items() if n not in VERIFIED_REWARDS},
                f.get("assessor/expected"),
                round(f.get("assessor/proved", 0.0) * f.get("assessor/attempts", 0.0)),
                round(f.get("assessor/attempts", 0.0)),
            )
        )
    return out


_COLUMNS = (
    ("tried", "solve/train/all/of", "{:.0f}"),
    ("new proofs", "proofs/new", "{:.0f}"),
    ("calls per new proof", "cost/lean_calls_per_new_proof", "{:.0f}"),
    ("tactics per proof", "proofs/mean_length", "{:.1f}"),
    ("policy loss", "learner/policy_loss", "{:.2f}"),
    ("entropy", "model/entropy", "{:.2f}"),
    ("value error", "value/calibration_error", "{:.2f}"),
    ("rejected", "audit/rejected", "{:.0f}"),
    ("not judged", "audit/errors", "{:.0f}"),
)


def table(found: Mapping[int, Mapping[str, float]]) -> list[list[str]]:
    """A header, then one row per round. Omits columns without data, and `not judged` if all proofs were judged."""
    if not found:
        return []
    columns = [c for c in _COLUMNS if any(c[1] in f and (c[1] != "audit/errors" or f[c[1]]) for f in found.values())]
    validated = any("solve/validation/all/rate" in f for f in found.values())
    rows = [["round", "solved %", *["validation %"] * validated, *(title for title, _, _ in columns)]]
    for r, f in sorted(found.items()):
        cells = [form.format(f[name]) if name in f else "" for _, name, form in columns]
        shown = [_rate(f, "solve/validation/all")] * validated
        rows.append([str(r), _rate(f, "solve/train/all"), *shown, *cells])
    return rows


def _rate(f: Mapping[str, float], where: str) -> str:
    """`41.2 [38, 44]`, or an empty string without data."""
    names = [f"{where}/{x}" for x in ("rate", "low", "high")]
    return percent(*(f[n] for n in names)) if all(n in f for n in names) else ""
