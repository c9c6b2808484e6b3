"""Learns to rank tactics from every tactic tried, including failures.

On solved goals, tactics that start a proof should rank before those that only left open goals, and these before
errors. The loss is listwise (Cao et al. 2007): a softmax over the tried tactics of a goal, after some failures are revealed to the
ranker and removed, so that it learns what to try first and what to try next. A second softmax, without the tactics that start a
proof, orders the rest. Goals without a proof imply no order and are skipped. Solved subgoals of theorems that were not proved are
examples too, for the reason that expert_iteration.py gives.

Some goals are shown with made-up library names, different for each goal. There the ranker can only learn what holds in any
library, such as how a lemma's shape fits the goal's and where a lemma stands in the list.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prover.lean.protocol import split_hypotheses
from prover.lean.theorem import Goal, ProofState
from prover.models.base import Query
from prover.models.fresh_names import NameObfuscator
from prover.models.ranker import BUCKETS, WIDTH, Candidate, Reader, TacticRanker, goal_features
from prover.premises.index import Premise
from prover.search.examples import Example
from rl.algorithms.expert_iteration import trusts_solved
from rl.examples import row_weight

KIND = "tried"
"""Kind of these examples in the ledger."""


def collect_tried(examples: Sequence[Example], proved: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, data) for the ledger, from a training theorem's search. `proved`: the audit accepted its proof. Yields nothing if the search
    claims a proof that was not accepted."""
    for e in examples if trusts_solved(examples, proved) else ():
        worked, unjudged = [t for t, _ in e.best], e.unjudged
        tried = [t for t in e.tried if t not in unjudged]
        if e.solved and worked and len(tried) > len(worked):
            yield (
                KIND,
                {
                    "state": e.text,
                    "constants": e.constants,
                    "premises": e.premises,
                    "worked": worked,
                    "tried": tried,
                    "errors": e.failures,
                },
            )


@dataclass(frozen=True)
class RankingConfig:
    """Training settings of the ranker."""

    seconds: float = 30.0
    """Processor time, so that a busy machine learns the same."""
    epochs: int = 20
    """Maximum number of epochs."""
    batch: int = 16
    """Goals per batch."""
    learning_rate: float = 0.01
    forget: float = 0.1
    """Dropout probability of a feature."""
    decay: float = 1e-4
    """Weight decay per step."""
    fresh_names: float = 0.3
    """Probability that a goal is shown with made-up names."""
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Goal:
    features: tuple[int, ...]
    tried: list[Candidate]


@dataclass(frozen=True, slots=True)
class _Row:
    plain: _Goal
    disguised: tuple[_Goal, ...]
    """The same goal with made-up names, different in each."""
    levels: list[int]
    """ERROR, PROGRESS or WORKED for each tactic."""
    weight: float
    """As in rl.examples.row_weight."""


ERROR, PROGRESS, WORKED = 0, 1, 2
PROGRESS_SHARE = 0.3
"""Weight of the second softmax, which ranks progress before errors."""
DISGUISES = 2
"""Vocabularies of made-up names per goal."""


_FAILURE_COUNTS = (0, 0, 1, 2, 3, 4, 6, 8, 12)
"""Numbers of failures revealed before the ranking, drawn uniformly."""


def train_ranker(
    rows: Iterable[Mapping[str, Any]], known: Mapping[str, Premise], config: RankingConfig | None = None
) -> tuple[TacticRanker | None, dict[str, float]]:
    """Train a ranker from scratch on the ledger's examples of kind `tried`.

    Returns the ranker, and metrics: `goals`, `tried`, `loss` (nats per goal), `epochs`. The ranker is None without usable examples, or
    if there is no time.
    """
    import torch

    c = config or RankingConfig()
    data = _prepare(rows, known, DISGUISES if c.fresh_names else 0)
    deadline = time.thread_time() + c.seconds
    metrics = {"goals": float(len(data)), "tried": float(sum(len(r.levels) for r in data))}
    if not data:
        return None, metrics
    rng = random.Random(c.seed)
    generator = torch.Generator().manual_seed(c.seed)
    torch.set_num_threads(c.threads)
    goal, tactic, failed = (
        torch.nn.Parameter(torch.randn(BUCKETS, WIDTH, generator=generator) * size) for size in (0.3, 0.1, 0.0)
    )
    bias = torch.nn.Parameter(torch.zeros(BUCKETS, 1))
    # Buckets without a true name stay zero, so that unknown names add no noise.
    used = torch.zeros(BUCKETS, 1)
    used[[i for r in data for f in (r.plain.features, *(t.features for t in r.plain.tried)) for i in f]] = 1.0
    optimizer = torch.optim.Adam([goal, tactic, bias, failed], lr=c.learning_rate)

    def bag(table: torch.Tensor, rows: list[tuple[int, ...]], mode: str) -> torch.Tensor:
        kept = [[i for i in r if rng.random() > c.forget] or list(r) for r in rows]
        starts = np.cumsum([0, *(len(r) for r in kept[:-1])])
        ids = torch.tensor([i for r in kept for i in r])
        return torch.nn.functional.embedding_bag(ids, table, torch.from_numpy(starts), mode=mode)

    epoch = 0
    loss_sum = 0.0
    while epoch < c.epochs and time.thread_time() < deadline:
        rng.shuffle(data)
        loss_sum = 0.0
        for at in range(0, len(data), c.batch):
            chosen = data[at : at + c.batch]
            batch = [rng.choice(r.disguised) if rng.random() < c.fresh_names else r.plain for r in chosen]
            goals = bag(goal * used, [g.features for g in batch], "mean")
            joint = bag(torch.cat([tactic, bias], 1) * used, [t.features for g in batch for t in g.tried], "sum")
            loss = torch.zeros(())
            end = 0
            for i, g in enumerate(batch):
                begin, end = end, end + len(g.tried)
                vectors = joint[begin:end, :WIDTH]
                score = vectors @ goals[i] + joint[begin:end, WIDTH]
                levels = torch.tensor(chosen[i].levels)
                revealed = _sample_failures(score.detach(), levels == WORKED, rng.choice(_FAILURE_COUNTS), generator)
                if len(revealed):
                    sum_failed = failed[torch.tensor([g.tried[j].skeleton for j in revealed.tolist()])].sum(0)
                    score = (score + vectors @ sum_failed).index_fill(0, revealed, -1e9)
                loss = loss + chosen[i].weight * _listwise_loss(score, levels, revealed)
            optimizer.zero_grad()
            (loss / len(batch)).backward()
            for group in optimizer.param_groups:
                group["lr"] = c.learning_rate * (1 - epoch / c.epochs)
            optimizer.step()
            with torch.no_grad():
                for p in (goal, tactic, bias, failed):
                    p.mul_(1 - c.decay)
            loss_sum += float(loss.detach())
        epoch += 1
    if not epoch:
        return None, metrics
    metrics |= {"loss": loss_sum / len(data), "epochs": float(epoch)}
    learned = (
        p.detach().numpy().astype(np.float32).copy()
        for p in (goal * used, tactic * used, (bias * used)[:, 0], failed * used)
    )
    return TacticRanker(*learned), metrics


def _listwise_loss(score: Any, levels: Any, revealed: Any) -> Any:
    """The loss of a goal's ranking, in nats. `score`, `levels`: [tactics]. `revealed`: indices of tactics removed as failed."""
    import torch

    worked = levels == WORKED
    loss = torch.logsumexp(score, 0) - torch.logsumexp(score[worked], 0)
    shown = ~worked
    shown[revealed] = False
    progress = shown & (levels == PROGRESS)
    if progress.any():  # else nothing would bound the scores of errors from below
        loss = loss + PROGRESS_SHARE * (torch.logsumexp(score[shown], 0) - torch.logsumexp(score[progress], 0))
    return loss


def _sample_failures(score: Any, worked: Any, count: int, generator: Any) -> Any:
    """Indices of up to `count` failed tactics, sampled in proportion to softmax(score) (Gumbel-top-k), as a search would try them."""
    import torch

    failed = (~worked).nonzero()[:, 0]
    count = min(count, len(failed))
    if not count:
        return failed[:0]
    gumbel = -torch.log(-torch.log(torch.rand(len(failed), generator=generator).clamp(1e-9, 1 - 1e-7)))
    return failed[(score[failed] + gumbel).topk(count).indices]


def levels_by_goal(rows: Iterable[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], dict[str, int]]]:
    """For each goal, the first of its rows with the largest weight, and for each tactic tried on it the best level that it reached
    (ERROR, PROGRESS or WORKED)."""
    merged: dict[str, tuple[Mapping[str, Any], dict[str, int]]] = {}
    for row in rows:
        heaviest, tried = merged.get(row["state"], (row, {}))
        merged[row["state"]] = (max(heaviest, row, key=row_weight), tried)
        levels = dict.fromkeys(row["tried"], PROGRESS) | dict.fromkeys(row.get("errors", row["tried"]), ERROR)
        levels |= dict.fromkeys(row["worked"], WORKED)
        for t, level in levels.items():
            tried[t] = max(level, tried.get(t, ERROR))
    return list(merged.values())


def _prepare(rows: Iterable[Mapping[str, Any]], known: Mapping[str, Premise], disguises: int) -> list[_Row]:
    """One row per goal that has tactics that worked and tactics that did not."""
    found = []
    for i, (row, tried) in enumerate(levels_by_goal(rows)):
        if min(tried.values()) < WORKED:
            goal = first_goal(row["state"], row["constants"])
            query = Query(ProofState(0, "", (goal,)), tuple(row["premises"]))
            reader = Reader(goal, query.premises, known)
            plain = _Goal(goal_features(goal), [reader.read(t) for t in tried])
            made_up = (_disguised(query, tried, known, NameObfuscator(1 + i * disguises + j)) for j in range(disguises))
            found.append(_Row(plain, tuple(made_up), list(tried.values()), row_weight(row)))
    return found


def _disguised(query: Query, tried: Iterable[str], known: Mapping[str, Premise], obfuscator: NameObfuscator) -> _Goal:
    shown = obfuscator.obfuscate(query)
    goal = shown.state.goals[0]
    reader = Reader(
        goal, shown.premises, obfuscator.obfuscate_premises([known[p] for p in query.premises if p in known])
    )
    return _Goal(goal_features(goal), [reader.read(obfuscator.obfuscate_tactic(t, query)) for t in tried])


def first_goal(text: str, constants: Iterable[str]) -> Goal:
    """The first goal of a state's text, on which tactics act."""
    first = text.split("\n\n", 1)[0]
    hypotheses, target = split_hypotheses(first)
    return Goal(first, hypotheses, target, tuple(constants))
