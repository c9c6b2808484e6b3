"""The options and the test of an evaluation, and its results in a ledger. rl/evaluation.py makes the attempts.

Results are comparable if their tests are equal: theorems, Lean calls, limits, Lean, policy wrapper. The prover (weights, search
settings, explorer share) may differ.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import stdev
from typing import Any

import tyro

from prover.errors import UserError
from prover.lean.server import Limits
from prover.lean.theorem import Theorem
from prover.search import SearchConfig
from prover.solve.ledger import Attempt, Ledger
from rl.candidate import Candidate, digest
from rl.config import ProverConfig
from rl.metrics import curves
from rl.metrics.intervals import percent


@dataclass(frozen=True)
class EvalOptions:
    """Evaluate a prover on a theorem set. Results are stored in a ledger, and attempts are not repeated."""

    prover: tyro.conf.Positional[str]
    """`portfolio`, `shuffled`, `explorer`, or the folder of a checkpoint or of a run (its newest checkpoint)."""
    theorems: tyro.conf.Positional[str]
    """a set's name (see `turnstile sets`), `world:…`, or the path of a .toml or .lean file, a Lake project or a data set."""
    budget: int = 64
    """Lean calls per theorem."""
    rollouts: int = 0
    """sample this many proofs of each theorem instead of a search, for pass@k."""
    seeds: int = 1
    """number of seeds, from 0."""
    limit: int | None = None
    """maximum number of theorems."""
    fields: tuple[str, ...] = ()
    """PART=FIELD …: the fields of a data set, as in `turnstile prove --fields`."""
    run: Path | None = None
    """the run folder whose ledger stores the results. Default: the checkpoint's run, else runs/eval."""
    beside: tuple[Path, ...] = ()
    """other run folders, whose results on the same test are shown too."""
    processes: int = 2
    """Lean processes that search."""
    ray: str | None = None
    """address of a Ray cluster that does the work (`auto`: the one this machine is in; `local`: one started here)."""
    fresh_names: bool = False
    """show a checkpoint made-up names for the library's names, to test reasoning without memory. The set
    `library-new` implies this, and mentions constants that were not in training."""
    set: tuple[str, ...] = ()
    """settings of the prover that override those of its run, e.g. prover.actions=elementary prover.rule=best_first."""
    json: bool = False
    """print the figures as one JSON document."""

    def check(self) -> None:
        """Raise UserError for numbers out of range."""
        for name in ("budget", "seeds", "limit", "processes"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise UserError(f"--{name} must be at least 1, not {number}")


@dataclass(frozen=True)
class Test:
    """Conditions of an evaluation. Results of equal tests are comparable."""

    __test__ = False  # tells pytest that this is not a test class

    set: str
    theorems: str
    """Hash of the theorems, independent of their order."""
    count: int
    lean_calls: int
    heartbeats: int
    step_seconds: float
    lean: str
    wrapper: str = ""
    rollouts: int = 0
    """Samples of each theorem without search, for pass@k. 0: one search of `lean_calls`."""


def make_test(
    label: str,
    theorems: Sequence[Theorem],
    lean_calls: int,
    limits: Limits,
    lean: str,
    wrapper: str = "",
    rollouts: int = 0,
) -> Test:
    """The test on these theorems. Raises UserError for an empty set, repeated names or no Lean calls."""
    if not theorems:
        raise UserError(f"{label}: no theorems to evaluate; choose another set")
    if lean_calls < 1:
        raise UserError("--budget must be at least 1 Lean call per theorem")
    rows = sorted(repr(t.content) for t in theorems)
    if len({t.name for t in theorems}) < len(theorems):
        raise UserError(f"{label}: two theorems have the same name; rename one, because results are stored by name")
    seconds = float(limits.seconds)
    return Test(label, _hash(rows), len(theorems), lean_calls, limits.heartbeats, seconds, lean, wrapper, rollouts)


def _hash(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, ensure_ascii=False, sort_keys=True).encode()).hexdigest()[:12]


def key_of(test: Test, prover: Candidate) -> str:
    """Hash of everything a result depends on except the seed. Independent of file locations."""
    settings = asdict(prover)
    del settings["name"], settings["checkpoint"]
    if not prover.config.assess:
        settings["assessor"] = ""
    if not prover.config.use_ranker:
        settings["ranker"] = ""
    for kind in ("ranker", "retriever", "assessor", "template"):  # a template is a name or a file
        if Path(settings[kind]).is_file():
            settings[kind] = digest([Path(settings[kind])])
    for kind in ("assessor", "template"):
        if not settings[kind]:
            del settings[kind]  # keeps the keys of results from before this field existed
    search = settings["config"]
    standard = asdict(ProverConfig())
    # Keeps the keys of results from before these fields existed.
    for field in ("actions", "strict", "rule", "temperature", "root_breadth", "assess"):
        if search[field] == standard[field]:
            del search[field]
    # Settings without effect on results, or set by the test.
    for field in ("provers", "concurrent", "heartbeats", "step_seconds", "explorer_weight"):
        search.pop(field, None)
    conditions = asdict(test)
    if not test.rollouts:
        del conditions["rollouts"]  # keeps the keys of results from before this field existed
    return _hash([conditions, prover.kind, settings, asdict(SearchConfig())])


def phase_of(test: Test, prover: Candidate, seed: int) -> str:
    """The phase in the ledger. Its last word is the key."""
    spent = f"{test.rollouts} rollouts" if test.rollouts else f"{test.lean_calls} calls"
    return f"eval {test.set}, {prover.kind}, {spent}, seed {seed}, {key_of(test, prover)}"


def summary(ledger: Ledger, test: Test, prover: Candidate, seeds: Sequence[int]) -> dict[str, Any]:
    """Figures of an evaluation from the ledger: per seed (see `curves.summarise`), and over all seeds (see `together`)."""
    by_seed = {s: list(ledger.attempts(phase_of(test, prover, s))) for s in seeds}
    figures = {
        "key": key_of(test, prover),
        "prover": asdict(prover),
        "test": asdict(test),
        "by_seed": {str(s): curves.summarise(a, test.lean_calls, test.count) for s, a in by_seed.items()},
        "all": together(list(by_seed.values()), test),
    }
    return figures | ({"pass_at_k": curves.sampled(list(by_seed.values()), test.rollouts)} if test.rollouts else {})


def together(by_seed: Sequence[Sequence[Attempt]], test: Test) -> dict[str, Any]:
    """`rate`, `low`, `high` at the full budget, `curve` (Lean calls → {rate, low, high}), `spread` (standard deviation of the
    rate over seeds; None for one seed), `outcomes`, `lean_calls`, `seeds`. Raises ValueError for an incomplete seed."""
    for attempts in by_seed:
        if len(attempts) != test.count:
            raise ValueError(f"{len(attempts)} of {test.count} theorems attempted")
    curve = {}
    for budget in curves.budgets(test.lean_calls):
        solved, (low, high) = curves.over_seeds(by_seed, budget, test.count)
        curve[str(budget)] = {"rate": solved / (test.count * len(by_seed)), "low": low, "high": high}
    rates = [sum(a.outcome == "proved" for a in attempts) / test.count for attempts in by_seed]
    return {
        **curve[str(test.lean_calls)],
        "curve": curve,
        "spread": stdev(rates) if len(rates) > 1 else None,
        "outcomes": dict(Counter(a.outcome for attempts in by_seed for a in attempts)),
        "lean_calls": sum(a.lean_calls for attempts in by_seed for a in attempts),
        "seeds": len(by_seed),
    }


def results(ledger: Ledger) -> list[dict[str, Any]]:
    """Every evaluation in a ledger over its complete seeds, oldest first: `key`, `name`, `test`, `all`, and `pass_at_k` of rollouts."""
    phases: dict[str, dict[str, list[Attempt]]] = {}
    for a in ledger.attempts():
        if a.phase.startswith("eval "):
            phases.setdefault(a.phase.rsplit(" ", 1)[-1], {}).setdefault(a.phase, []).append(a)
    found = []
    for key, by_phase in phases.items():
        described = ledger.get(f"eval {key}")
        if described is None:
            continue
        test = Test(**described["test"])
        complete = [attempts for attempts in by_phase.values() if len(attempts) == test.count]
        if complete:
            name = described["prover"]["name"]
            rates = {"pass_at_k": curves.sampled(complete, test.rollouts)} if test.rollouts else {}
            found.append({"key": key, "name": name, "test": asdict(test), "all": together(complete, test), **rates})
    return found


def comparison(test: Test, found: Iterable[dict[str, Any]]) -> list[list[str]]:
    """Table of the results of a test: a header with Lean calls, or with k for rollouts, then `percent [low, high]` for each prover."""
    budgets = [str(b) for b in curves.budgets(test.rollouts or test.lean_calls)]
    rows = [["% solved, pass@k" if test.rollouts else "% solved, by Lean calls", *budgets]]
    for r in found:
        if r["test"] != asdict(test):
            continue
        curve = r["pass_at_k"] if test.rollouts else r["all"]["curve"]
        seeds = f", {r['all']['seeds']} seeds" if r["all"]["seeds"] > 1 else ""
        rows.append([f"{r['name']} (of {test.count}{seeds})", *(percent(**curve[b]) for b in budgets)])
    return rows
