"""Learns the assessors (prover/models/assessor.py) from every tactic that searches of training theorems tried, and measures them.

Each goal that a search expanded gives a row, whether it was solved or not. Its label is a cost: the Lean calls after which it was solved,
or a lower bound if it was not solved. A solved goal of an audited proof also tells which of its premises its tactics name. One theorem in HELD_OUT, by the hash of its name, is not trained on. Its goals measure how well each
head separates (AUC) and how well its probabilities are calibrated (expected calibration error).
"""

from __future__ import annotations

import itertools
import random
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from prover.lean.names import names_in
from prover.lean.theorem import Goal, Theorem
from prover.models.assessor import (
    CALL_BINS,
    CLOSES,
    ERROR,
    LATER,
    OUTCOMES,
    PROGRESS,
    SHAPES,
    STEP_BINS,
    TIMEOUT,
    WIDTH,
    Assessor,
    call_bin,
)
from prover.models.premise_features import premise_candidates
from prover.models.ranker import BUCKETS, Candidate, Reader, goal_features
from prover.premises.index import Premise
from prover.premises.local import LocalCandidate
from prover.search.examples import UNJUDGED, Example
from prover.solve.statements import goal_of
from rl.algorithms.expert_iteration import NEGATIVE_VISITS, trusts_solved
from rl.algorithms.tactic_ranking import first_goal
from rl.examples import row_weight
from rl.reliability import auc, bins_of, calibration_error

KIND = "assessed"
"""Kind of these rows in the ledger."""
HELD_OUT = 8
"""One theorem in this many is held out for calibration."""
_LIMITS = frozenset({"timeout", "memory"})
_FITTING = 0.6
"""Share of the time for fitting. The rest is for reading the rows."""


def collect_assessed(
    examples: Sequence[Example], proved: bool, theorem: Theorem
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, data) for the ledger, from a training theorem's search. `proved`: the audit accepted its proof. Yields nothing if the search
    claims a proof that was not accepted."""
    for e in examples if trusts_solved(examples, proved) else ():
        failed, closing = dict(e.errors), {t for t, size in e.best if size == 1}
        outcomes: dict[str, list[str]] = {}
        for t in dict.fromkeys(e.tried):
            if (kind := _outcome(failed.get(t), t in closing)) is not None:
                outcomes.setdefault(OUTCOMES[kind], []).append(t)
        if outcomes:
            data = {"theorem": theorem.name, "state": e.text, "constants": e.constants, "premises": e.premises}
            data |= {"outcomes": outcomes, "steps": e.steps, "calls": e.total_visits, "root": e.depth == 0}
            if e.solved and proved:
                data |= _premises_used(e) | {"local": msgspec.to_builtins(e.local)}
            yield KIND, data | ({"statement": theorem.statement} if e.depth == 0 and theorem.statement else {})


def _premises_used(e: Example) -> dict[str, list[str]]:
    """`used`: premises that are the only one named by some tactic that starts a proof. `unclear`: the others that such tactics name, of which
    a list such as `simp [a, b]` may need only some."""
    offered = {*e.premises, *(c.premise.name for c in e.local)}
    named = [names_in(t) & offered for t, _ in e.best]
    used = {p for names in named if len(names) == 1 for p in names}
    return {"used": sorted(used), "unclear": sorted(set().union(*named) - used)}


def _outcome(error: str | None, closes: bool) -> int | None:
    """The index in OUTCOMES, or None for a tactic that Lean did not judge."""
    if error in UNJUDGED:
        return None
    if error is not None:
        return TIMEOUT if error in _LIMITS else ERROR
    return CLOSES if closes else PROGRESS


@dataclass(frozen=True)
class AssessingConfig:
    """Training settings of the assessors."""

    seconds: float = 10.0
    """Processor time, reading the rows included, so that a busy machine learns the same."""
    goals: int = 6000
    """Maximum number of goals."""
    epochs: int = 12
    """Maximum number of epochs."""
    batch: int = 64
    """Goals per batch."""
    learning_rate: float = 0.01
    forget: float = 0.2
    """Dropout probability of a feature."""
    decay: float = 1e-3
    """Weight decay per step."""
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Row:
    state: str
    goal: Goal
    features: tuple[int, ...]
    tactics: list[Candidate]
    outcomes: list[int]
    calls: int
    steps: int | None
    """None: not proved."""
    weight: float
    """0: only the premises of the row count."""
    root: bool
    """Whether the goal is a whole theorem, so that all calls of the search count for it."""
    premises: list[Candidate] = field(default_factory=list[Candidate])
    used: list[bool] = field(default_factory=list[bool])
    """Whether a proof of the goal starts with each of the premises."""
    premise_weight: float = 0.0


def is_held_out(theorem: str) -> bool:
    """Whether a training theorem is held out: it measures the assessors and does not train them."""
    return zlib.crc32(f"assessor {theorem}".encode()) % HELD_OUT == 0


def train_assessor(
    rows: Iterable[Mapping[str, Any]], known: Mapping[str, Premise], config: AssessingConfig | None = None
) -> tuple[Assessor | None, dict[str, float]]:
    """Train the assessors from scratch on the ledger's rows of kind `assessed`.

    Returns the model, and metrics: numbers of `goals`, `tactics` and `premises` trained on, `loss` (nats per goal), and `HEAD_auc`, `HEAD_ece` and
    `HEAD_of` on goals of held-out theorems (`measure`). The model is None without rows to train on, or if there is no time.
    """
    c = config or AssessingConfig()
    deadline = time.thread_time() + c.seconds
    rng = random.Random(c.seed)
    rows = list(rows)
    parts: tuple[list[_Row], list[_Row]] = [], []
    read_until = deadline - _FITTING * c.seconds
    # Few goals are solved, and their premises are quickly read. A uniform sample of all goals follows, for the probabilities of the other
    # heads.
    solved = [row for row in rows if "used" in row]
    for row, read in (
        *((row, _read_premises) for row in rng.sample(solved, min(len(solved), c.goals))),
        *((row, _read) for row in rng.sample(rows, min(len(rows), c.goals))),
    ):
        if time.thread_time() > read_until:
            break
        parts[is_held_out(row["theorem"])].extend(read(row, known))
    train, measured = parts
    seen = {r.state for r in train}
    measured = [r for r in measured if r.state not in seen]  # the same subgoal of another theorem
    counts = {"goals": sum(r.weight > 0 for r in train), "tactics": sum(len(r.tactics) for r in train)}
    metrics = {k: float(n) for k, n in {**counts, "premises": sum(len(r.premises) for r in train)}.items()}
    if not counts["goals"]:
        return None, metrics
    model, loss = _fit(train, c, rng, deadline)
    if model is None:
        return None, metrics
    return model, metrics | {"loss": loss} | measure(model, measured)


def _read(row: Mapping[str, Any], known: Mapping[str, Premise]) -> Iterator[_Row]:
    """The row's goal. For a whole theorem also the goal read from its statement, with the same label, because the matchmaker has only
    the statement before the first attempt."""
    goal = first_goal(row["state"], row["constants"])
    reader = Reader(goal, row["premises"], known)
    said = [(t, OUTCOMES.index(kind)) for kind, tactics in row["outcomes"].items() for t in tactics]
    tactics, outcomes = [reader.read(t) for t, _ in said], [k for _, k in said]
    whole = _Row(
        row["state"],
        goal,
        goal_features(goal),
        tactics,
        outcomes,
        row["calls"],
        row["steps"],
        row_weight(row),
        row["root"],
    )
    yield whole
    stated = goal_of(row["statement"]) if row.get("statement") else None
    if stated is not None:
        yield replace(whole, state=stated.text, goal=stated, features=goal_features(stated), tactics=[], outcomes=[])


def _read_premises(row: Mapping[str, Any], known: Mapping[str, Premise]) -> Iterator[_Row]:
    """The premises of the row's goal, without those whose use is unclear."""
    goal = first_goal(row["state"], row["constants"])
    local = msgspec.convert(row["local"], list[LocalCandidate])
    library = [known[p] for p in row["premises"] if p in known]
    offered = {p: c for p, c in premise_candidates(goal, local, library).items() if p not in row["unclear"]}
    if offered:
        used = [p in row["used"] for p in offered]
        features = goal_features(goal)
        yield _Row(
            row["state"], goal, features, [], [], 1, None, 0.0, False, list(offered.values()), used, row_weight(row)
        )


def _fit(data: list[_Row], c: AssessingConfig, rng: random.Random, deadline: float) -> tuple[Assessor | None, float]:
    """(the trained model, its mean loss per goal in the last epoch). None if there was no time for an epoch."""
    import torch

    torch.set_num_threads(c.threads)
    heads = _Heads(data, c)
    optimizer = torch.optim.Adam(heads.weights.values(), lr=c.learning_rate)
    loss_sum, epochs = 0.0, 0
    while epochs < c.epochs and time.thread_time() < deadline:
        rng.shuffle(data)
        loss_sum = 0.0
        time_left = (deadline - time.thread_time()) / (_FITTING * c.seconds)
        for group in optimizer.param_groups:
            group["lr"] = c.learning_rate * max(0.0, min(1 - epochs / c.epochs, time_left))
        for at in range(0, len(data), c.batch):
            batch = data[at : at + c.batch]
            loss = heads.loss(batch)
            optimizer.zero_grad()
            (loss / len(batch)).backward()
            optimizer.step()
            with torch.no_grad():
                for p in heads.weights.values():
                    p.mul_(1 - c.decay)
            loss_sum += float(loss.detach())
        epochs += 1
    return (heads.assessor(), loss_sum / len(data)) if epochs else (None, 0.0)


class _Heads:
    """The weights in training, and the loss of a batch."""

    def __init__(self, data: Sequence[_Row], c: AssessingConfig) -> None:
        import torch

        generator = torch.Generator().manual_seed(c.seed)
        scale = dict.fromkeys(SHAPES, 0.1) | {"goal": 0.5, "hidden": 0.3, "bias": 0.0, "premise_bias": 0.0}
        self.weights = {
            n: torch.nn.Parameter(torch.randn(s, generator=generator) * scale[n]) for n, s in SHAPES.items()
        }
        # Buckets that no feature of a table has stay zero, so that unknown features add no noise.
        goals, tactics = [r.features for r in data], [t.features for r in data for t in r.tactics]
        premises = [p.features for r in data for p in r.premises]
        features = {"goal": goals, "tactic": tactics, "bias": tactics, "premise": premises, "premise_bias": premises}
        self._seen = {name: torch.zeros(BUCKETS, 1) for name in features}
        for name, bags in features.items():
            self._seen[name][[i for bag in bags for i in bag]] = 1.0
        self._knows_premises = bool(premises)
        self._forget = c.forget
        self._noise = np.random.default_rng(c.seed)

    def loss(self, batch: Sequence[_Row]) -> Any:
        """The sum over the goals, in nats."""
        import torch

        cross_entropy = torch.nn.functional.cross_entropy
        binary_cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits
        w = self.weights
        g = self._bag(w["goal"] * self._seen["goal"], [r.features for r in batch], "mean")
        h = torch.relu(self._affine(g, "hidden"))
        weight = torch.tensor([r.weight for r in batch])
        # -log of the probability of the bins that agree with the search; 0 where all agree.
        loss = (weight * _censored_loss(self._affine(h, "calls"), [_possible_calls(r) for r in batch])).sum()
        loss = loss + (weight * _censored_loss(self._affine(h, "steps"), [_possible_steps(r) for r in batch])).sum()
        if any(r.tactics for r in batch):
            of = torch.tensor([i for i, r in enumerate(batch) for _ in r.tactics])
            vectors, bias = self._candidates("tactic", "bias", [t for r in batch for t in r.tactics])
            related = (g @ w["relation"]).view(len(batch), len(OUTCOMES), WIDTH)[of]
            score = bias + torch.einsum("nw,nkw->nk", vectors, related) + self._affine(h, "accepts")[of]
            labels = torch.tensor([k for r in batch for k in r.outcomes])
            loss = loss + (weight[of] * cross_entropy(score, labels, reduction="none")).sum()
        if any(r.premises for r in batch):
            weight = torch.tensor([r.premise_weight for r in batch])
            of = torch.tensor([i for i, r in enumerate(batch) for _ in r.premises])
            vectors, bias = self._candidates("premise", "premise_bias", [p for r in batch for p in r.premises])
            related = (g @ w["premise_relation"])[of]
            score = (bias + self._affine(h, "used")[of])[:, 0] + (vectors * related).sum(1)
            labels = torch.tensor([float(u) for r in batch for u in r.used])
            loss = loss + (weight[of] * binary_cross_entropy(score, labels, reduction="none")).sum()
        return loss

    def assessor(self) -> Assessor:
        """The weights for inference, which sums all features; training summed those that dropout kept. Without examples of premises, none
        is preferred to another."""
        final = {
            n: (p * self._seen[n] if n in self._seen else p).detach().numpy().astype(np.float32)
            for n, p in self.weights.items()
        }
        if not self._knows_premises:
            final |= {n: np.zeros_like(final[n]) for n in LATER}
        for name in ("tactic", "bias", "premise", "premise_bias"):
            final[name] *= 1 - self._forget
        return Assessor(**final)

    def _candidates(self, name: str, bias: str, candidates: Sequence[Candidate]) -> tuple[Any, Any]:
        """[candidates, WIDTH] vectors and [candidates, …] biases."""
        import torch

        features = [c.features for c in candidates]
        joint = torch.cat([self.weights[name], self.weights[bias]], 1) * self._seen[name]
        joint = self._bag(joint, features, "sum")
        return joint[:, :WIDTH], joint[:, WIDTH:]

    def _bag(self, table: Any, bags: list[tuple[int, ...]], mode: str) -> Any:
        import torch

        ids = np.fromiter(itertools.chain.from_iterable(bags), np.int64)
        kept = self._noise.random(len(ids)) > self._forget
        whose = np.repeat(np.arange(len(bags)), [len(b) for b in bags])[kept]
        starts = torch.from_numpy(np.searchsorted(whose, np.arange(len(bags))))
        return torch.nn.functional.embedding_bag(torch.from_numpy(ids[kept]), table, starts, mode=mode)

    def _affine(self, x: Any, name: str) -> Any:
        return x @ self.weights[name][:-1] + self.weights[name][-1]


def _censored_loss(score: Any, possible: list[np.ndarray]) -> Any:
    """[goals] nats: -log of the probability of the possible bins."""
    import torch

    allowed = torch.from_numpy(np.stack(possible))
    return torch.logsumexp(score, 1) - torch.logsumexp(score.masked_fill(~allowed, -1e9), 1)


def _possible_calls(r: _Row) -> np.ndarray:
    """[CALL_BINS], which bins the cost may be in: its own if the goal was proved, else all above the calls spent on it."""
    bins = np.arange(CALL_BINS)
    if r.steps is not None:
        return bins == call_bin(r.calls)
    return (2.0**bins > r.calls) | (bins == CALL_BINS - 1)


def _possible_steps(r: _Row) -> np.ndarray:
    bins = np.arange(STEP_BINS)
    return bins == min(r.steps, STEP_BINS) - 1 if r.steps is not None else bins >= 0


def measure(model: Assessor, rows: Iterable[_Row]) -> dict[str, float]:
    """`HEAD_auc`, `HEAD_ece` and `HEAD_of` (number of cases) of each head on these goals. Each head predicts an event:

    `provable`: a theorem is proved within NEGATIVE_VISITS Lean calls. Other goals do not count, because a search abandons the least
    promising ones earlier. `stated`: the same, from the statement alone. `steps`: a proved goal needs more than one tactic. `error`,
    `timeout`, `progress`, `closes`: a tactic has this outcome. `premise`: a proof of a proved goal starts with a tactic that names
    this premise alone. A head without cases has no metrics, and one without both outcomes no AUC.
    """
    events: dict[str, list[tuple[float, bool]]] = {}

    def note(head: str, p: float, happened: bool) -> None:
        events.setdefault(head, []).append((p, happened))

    for r in rows:
        offered = {str(i): p for i, p in enumerate(r.premises)}
        for p, happened in zip(model.uses(r.goal, offered).values(), r.used, strict=True):
            note("premise", p, happened)
        if not r.weight:
            continue
        a = model.assess(r.goal)
        if r.root and (r.steps is not None or r.calls >= NEGATIVE_VISITS):
            head = "provable" if r.tactics else "stated"
            note(head, a.provable(NEGATIVE_VISITS), r.steps is not None and r.calls <= NEGATIVE_VISITS)
        if r.steps is not None and r.tactics:
            note("steps", 1 - float(a.steps[0]), r.steps > 1)
        for ps, k in zip(model.outcomes(r.goal, r.tactics), r.outcomes, strict=True):
            for kind, name in enumerate(OUTCOMES):
                note(name, float(ps[kind]), kind == k)
    out: dict[str, float] = {}
    for head, found in events.items():
        out[f"{head}_of"] = float(len(found))
        out[f"{head}_ece"] = calibration_error(bins_of([(p, float(h)) for p, h in found]))
        yes, no = ([p for p, h in found if h is happened] for happened in (True, False))
        if yes and no:
            out[f"{head}_auc"] = auc(yes, no)
    return out
