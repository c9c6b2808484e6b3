"""Metrics: pure functions from attempts and counters to named numbers. docs/metrics.md lists the names.

Names are paths; `{…}` in `METRICS` stands for one part. Functions omit metrics without data, so that a curve never shows a zero
that was not measured.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from statistics import fmean

from prover.lean.theorem import Theorem
from prover.solve.ledger import Attempt
from rl.metrics.intervals import wilson

BY_CALLS = "held_out_by_calls/lean_calls"
METRICS: dict[str, str] = {
    "round": "x axis: the round of the other metrics; 0 before training",
    "seconds": "x axis: seconds of work on the run until then, summed over its starts",
    "lean_calls": "x axis: Lean calls of all rounds until then",
    "solve/{split}/{set}/rate": "share of attempted theorems with an audited proof; `set` is a library module, a file, or `all`",
    "solve/{split}/{set}/low": "lower end of its 95 % Wilson interval",
    "solve/{split}/{set}/high": "upper end of its 95 % Wilson interval",
    "solve/{split}/{set}/of": "theorems attempted",
    "held_out/{searcher}": "share of held-out theorems solved within `eval.calls` Lean calls: the baselines in round 0 and at the end, "
    "`trained` at the end",
    "held_out_by_calls/lean_calls": "x axis of `held_out_by_calls/{searcher}`: Lean calls allowed per theorem",
    "held_out_by_calls/{searcher}": "share of held-out theorems solved within `held_out_by_calls/lean_calls` Lean calls",
    "pass_at_k/{split}/{k}": "probability that one of k rollouts without search proves a theorem; unbiased, mean over theorems",
    "outcome/{outcome}": "attempts by outcome: proved, disproved, exhausted, budget, rejected, error",
    "proofs/length/{tactics}": "audited proofs by number of tactics: 1, 2, 3-4, 5-8, 9-",
    "proofs/mean_length": "mean number of tactics in an audited proof",
    "proofs/new": "theorems proved for the first time in this run",
    "proofs/known": "theorems proved again",
    "lean/steps_per_second": "tactics run by all Lean processes per second of wall time",
    "lean/utilisation": "share of the Lean processes' time spent running tactics",
    "lean/restarts": "Lean processes replaced in the round",
    "lean/memory_mb": "current memory of all Lean processes",
    "model/tokens_per_second": "characters / 4 of the goals and tactics of trained searches, including the explorer's tactics, per second of wall time",
    "model/queries_per_second": "goals answered by the model servers per second of wall time",
    "model/utilisation": "share of wall time in which a model server computed, mean over servers",
    "model/entropy": "entropy, in nats, of the policy's distribution over the tactics that the model proposed; mean over goals, then attempts",
    "search/own_share": "share of attempts' time spent in the search itself; it may overlap Lean and model",
    "search/idle_share": "share of attempts' time in which neither Lean nor the model worked for them",
    "system/share": "share of a round's wall time outside Lean, the model and training: the idle time of searches, and the learning phase "
    "without training",
    "staleness/mean": "versions between the oldest weights that an attempt used and those that learning from it starts with, mean over "
    "attempts; 0 if `learn.max_staleness` is 0",
    "staleness/max": "the same, maximum",
    "idle/engines": "share of the wall time since the previous version in which a model server did not compute, mean over servers",
    "idle/learner": "share of the same time in which nothing was trained",
    "queue/{queue}": "maximum queue length in the round: audits (proofs under audit), model (pending queries of one prover)",
    "audit/rejected": "proofs that the audit rejected",
    "audit/rejection_rate": "rejected proofs as a share of those judged",
    "audit/errors": "proofs that the audit could not judge",
    "cost/lean_calls": "Lean calls of all attempts",
    "cost/lean_calls_per_proof": "Lean calls per proved theorem",
    "cost/lean_calls_per_new_proof": "Lean calls per theorem proved for the first time",
    "reward/{reward}": "mean of a reward over the attempts of a round, before its weight",
    "value/predictions": "goals whose value can be compared with an outcome",
    "value/calibration_error": "expected calibration error of the value; 0 is best",
    "value/auc": "probability that a proved goal had a higher value than one that stayed open; 0.5 is chance",
    "value/bias/{steps}": "predicted minus true steps-to-go of goals with this many tactics to go",
    "value/error/{steps}": "absolute error of the same",
    "assessor/expected": "mean probability, before the attempts of a round, that its theorems are proved within their Lean calls",
    "assessor/proved": "share of the same attempts with an audited proof",
    "assessor/attempts": "number of these attempts",
    "assessor/{head}_auc": "probability that the assessor ranks a case with the event of a head above one without it, on training theorems "
    "that it does not learn from; 0.5 is chance. Heads: `provable`, `stated`, `steps`, `error`, `timeout`, `progress`, `closes`, `premise` "
    "(rl/algorithms/assessing.py)",
    "assessor/{head}_ece": "expected calibration error of the same; 0 is best",
    "assessor/{head}_of": "number of these cases",
    "assessor/goals": "goals that the assessor learned from",
    "assessor/tactics": "tactics tried on these goals",
    "assessor/premises": "premises of these goals whose use is known",
    "assessor/loss": "its loss, nats per goal",
    "learner/{metric}": "metrics of the learner's last call; the section *The learner's metrics* lists them",
}
"""Name patterns and their meanings, in the order of docs/metrics.md."""

_LENGTHS = ((1, "1"), (2, "2"), (4, "3-4"), (8, "5-8"), (math.inf, "9-"))


def undocumented(names: Iterable[str]) -> list[str]:
    """The names that match no pattern of `METRICS`. A part in braces is any text without a slash."""
    known = re.compile("|".join(re.sub(r"\\{.*?\\}", "[^/]+", re.escape(p)) for p in METRICS))
    return [n for n in names if not known.fullmatch(n)]


def documentation() -> str:
    """The table of docs/metrics.md."""
    return "\n".join(["| name | meaning |", "|---|---|", *(f"| `{n}` | {text} |" for n, text in METRICS.items())])


def set_of(theorem: Theorem) -> str:
    """The set of a theorem in metric names: its library module or its file's name, without slashes."""
    source = theorem.source.removeprefix("library:")
    if source != theorem.source:
        return source
    return PurePosixPath(re.sub(r":\d+$", "", source)).name or "other"


def solve_rates(attempts: Iterable[Attempt], split: str, by_set: bool = True) -> dict[str, float]:
    """`solve/...`, by set and for `all`. Attempts with outcome `error` count as not solved."""
    solved: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for a in attempts:
        for name in (set_of(a.theorem), "all") if by_set else ("all",):
            total[name] += 1
            solved[name] += a.outcome == "proved"
    out: dict[str, float] = {}
    for name in sorted(total):
        low, high = wilson(solved[name], total[name])
        where = f"solve/{split}/{name}"
        out |= {f"{where}/rate": solved[name] / total[name], f"{where}/low": low, f"{where}/high": high}
        out[f"{where}/of"] = float(total[name])
    return out


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """1 - C(n-c, k) / C(n, k), the unbiased estimate from n samples of which c are correct (Chen et al. 2021, eq. 1).

    Raises ValueError unless 1 <= k <= samples and 0 <= correct <= samples.
    """
    if not 1 <= k <= samples or not 0 <= correct <= samples:
        raise ValueError(f"pass@{k} cannot be estimated from {correct} of {samples} samples")
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


def pass_rates(
    counts: Sequence[tuple[int, int]], split: str, ks: Sequence[int] = (1, 2, 4, 8, 16, 32)
) -> dict[str, float]:
    """`pass_at_k/...` from (samples, correct) of each theorem, for each k up to the smallest number of samples."""
    least = min((n for n, _ in counts), default=0)
    return {
        f"pass_at_k/{split}/{k}": sum(pass_at_k(n, c, k) for n, c in counts) / len(counts) for k in ks if k <= least
    }


def proof_steps(attempt: Attempt) -> int:
    """Tactics in an attempt's proof, or lines of its script if that was not recorded."""
    return int(attempt.stats.get("steps") or len((attempt.script or "").strip().splitlines()))


def of_attempts(attempts: Sequence[Attempt], known: Collection[str]) -> dict[str, float]:
    """Outcomes, proofs, cost, search and model metrics of a round's attempts. `known`: theorems proved before."""
    if not attempts:
        return {}
    out = {f"outcome/{o}": float(n) for o, n in Counter(a.outcome for a in attempts).items()}
    proved = [a for a in attempts if a.outcome == "proved"]
    names = {a.theorem.name for a in proved}
    out["proofs/new"], out["proofs/known"] = float(len(names - set(known))), float(len(names & set(known)))
    lengths = [proof_steps(a) for a in proved]
    for n, count in Counter(next(label for most, label in _LENGTHS if n <= most) for n in lengths).items():
        out[f"proofs/length/{n}"] = float(count)
    if lengths:
        out["proofs/mean_length"] = sum(lengths) / len(lengths)
    calls = sum(a.lean_calls for a in attempts)
    out["cost/lean_calls"] = float(calls)
    if names:
        out["cost/lean_calls_per_proof"] = calls / len(names)
    if new := names - set(known):
        out["cost/lean_calls_per_new_proof"] = calls / len(new)
    searches = [a for a in attempts if "own_s" in a.stats and "neither_s" in a.stats]  # rollouts have neither
    searching = sum(a.seconds for a in searches)
    if searching > 0:
        out["search/own_share"] = sum(a.stats["own_s"] for a in searches) / searching
        out["search/idle_share"] = sum(a.stats["neither_s"] for a in searches) / searching
    entropies = [a.stats["entropy"] for a in attempts if a.stats.get("entropy") is not None]
    if entropies:
        out["model/entropy"] = sum(entropies) / len(entropies)
    return out | audits(attempts) | expected(attempts)


def expected(attempts: Iterable[Attempt]) -> dict[str, float]:
    """`assessor/expected`, `assessor/proved` and `assessor/attempts`. Leaves out attempts that could not be judged."""
    found = [
        (a.stats["expected"], a.outcome == "proved") for a in attempts if "expected" in a.stats and a.outcome != "error"
    ]
    if not found:
        return {}
    mean = sum(p for p, _ in found) / len(found)
    return {
        "assessor/expected": mean,
        "assessor/proved": sum(proved for _, proved in found) / len(found),
        "assessor/attempts": float(len(found)),
    }


def tokens_per_second(attempts: Iterable[Attempt], seconds: float) -> dict[str, float]:
    """`model/tokens_per_second` of the attempts made in `seconds` of wall time. Empty without a model."""
    asking = [a.stats["model_tokens"] for a in attempts if a.model_version > 0 and "model_tokens" in a.stats]
    return {"model/tokens_per_second": sum(asking) / seconds} if seconds > 0 and asking else {}


def verdicts(attempts: Iterable[Attempt]) -> Counter[str]:
    """Audited proofs by verdict. Earlier versions recorded one of the verdicts on a theorem's rollouts."""
    counts: Counter[str] = Counter()
    for a in attempts:
        if a.script is not None:
            counts.update(a.stats.get("verdicts") or {"proved" if a.outcome == "disproved" else a.outcome: 1})
    return counts


def audits(attempts: Iterable[Attempt]) -> dict[str, float]:
    """`audit/...`. An attempt with a script and the outcome `error` is one that the audit could not judge."""
    counts = verdicts(attempts)
    judged = counts["proved"] + counts["rejected"]
    out = {"audit/rejected": float(counts["rejected"]), "audit/errors": float(counts["error"])}
    if judged:
        out["audit/rejection_rate"] = counts["rejected"] / judged
    return out


def staleness(attempts: Iterable[Attempt], learned: int) -> dict[str, float]:
    """`staleness/...` of the model's attempts while `learned` was the newest version. Version 0 is a pretrained model, or none: only a
    model's attempts have an entropy or rollouts."""
    asked = [
        a for a in attempts if a.model_version > 0 or a.stats.get("entropy") is not None or a.stats.get("rollouts")
    ]
    behind = [learned - a.model_version for a in asked]
    if not behind:
        return {}
    return {"staleness/mean": sum(behind) / len(behind), "staleness/max": float(max(behind))}


Counts = Mapping[int, Mapping[str, float]]
"""Counters by index of the actor."""


def of_lean(before: Counts, after: Counts, seconds: float) -> dict[str, float]:
    """`lean/...` from the counters of each prover (steps, lean_s, restarts, rss_mb) before and after `seconds` of wall time. Counts of
    a prover that died in between are lost."""
    if seconds <= 0 or not after:
        return {}
    return {
        "lean/steps_per_second": _grown("steps", before, after) / seconds,
        "lean/utilisation": _grown("lean_s", before, after) / (seconds * len(after)),
        "lean/restarts": _grown("restarts", before, after),
        "lean/memory_mb": sum(a["rss_mb"] for a in after.values()),
    }


def of_model(before: Counts, after: Counts, seconds: float) -> dict[str, float]:
    """`model/...` from the counters of each model server (queries, seconds) before and after `seconds` of wall time."""
    if seconds <= 0 or not after:
        return {}
    return {
        "model/queries_per_second": _grown("queries", before, after) / seconds,
        "model/utilisation": _grown("seconds", before, after) / (seconds * len(after)),
    }


def _grown(key: str, before: Counts, after: Counts) -> float:
    """Total increase of a counter. One that decreased belongs to a restarted actor and counts from zero."""
    starts = {i: before.get(i, {}).get(key, 0.0) for i in after}
    return sum(a[key] - starts[i] if a[key] >= starts[i] else a[key] for i, a in after.items())


def system(collecting: float, idle_share: float, learning: float, training: float) -> dict[str, float]:
    """`system/...` of a round. `collecting`, `learning`: seconds of these phases. `idle_share`: `search/idle_share`. `training`: seconds of
    training in the learning phase."""
    whole = collecting + learning
    return {"system/share": (collecting * idle_share + max(0.0, learning - training)) / whole} if whole > 0 else {}


def idle(
    before: Mapping[int, Mapping[str, float]], after: Mapping[int, Mapping[str, float]], seconds: float, training: float
) -> dict[str, float]:
    """`idle/...` between two served versions. `before`, `after`: counters of the model servers. `seconds`: wall time in between.
    `training`: seconds of training in it."""
    if seconds <= 0:
        return {}
    out = {"idle/learner": max(0.0, 1 - training / seconds)}
    if after:
        out["idle/engines"] = max(0.0, 1 - _grown("seconds", before, after) / (seconds * len(after)))
    return out


def rewards(attempts: Iterable[Attempt]) -> dict[str, float]:
    """`reward/...`: the mean of each reward over the attempts that have it."""
    values: dict[str, list[float]] = {}
    for a in attempts:
        for name, x in a.stats.get("rewards", {}).items():
            values.setdefault(name, []).append(x)
    return {f"reward/{name}": fmean(xs) for name, xs in values.items()}
