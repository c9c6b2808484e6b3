"""Learning which tactics work on which goals from everything that was tried, errors included.

Every Lean call of a search says something, not only those that made a proof: on the goals of audited proofs, the tactics
that start a proof shall rank before those that were tried and did not. Softmax over the tried tactics of a goal, as in
learning to rank by lists (Cao et al. 2007), after some of the failed ones are told to the ranker as failed and taken away:
so it learns what to try first, and what to try next. A goal without any proof says nothing about an order and is left out.

A part of what it sees has made-up words for the library's names, other words for other goals: then an order can only be
learned from what holds in any library, such as how a lemma's shape fits the goal's, and where a lemma stands in the list.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping
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

KIND = "tried"
"""Of the ledger's examples that this makes."""


def harvest_tried(examples: Iterable[Example], proved: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, data) for the ledger, of a training theorem's search. Nothing without an audited proof."""
    for e in examples if proved else ():
        worked = [t for t, _ in e.best]
        if e.solved and worked and len(e.tried) > len(worked):
            yield (
                KIND,
                {"state": e.text, "constants": e.constants, "premises": e.premises, "worked": worked, "tried": e.tried},
            )


@dataclass(frozen=True)
class RankingConfig:
    """How to train."""

    seconds: float = 30.0
    """Of processor time, so that a busy machine learns the same."""
    epochs: int = 20
    """At most."""
    batch: int = 16
    """Goals."""
    learning_rate: float = 0.01
    forget: float = 0.1
    """Probability that a feature is not seen, against overfitting."""
    decay: float = 1e-4
    """Share by which all weights shrink at a step."""
    fresh_names: float = 0.3
    """Probability that a goal is seen under made-up names."""
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
    """The same under made-up names, different ones in each."""
    worked: list[bool]


DISGUISES = 2
"""Vocabularies of made-up words that a goal is read in."""


_TOLD = (0, 0, 1, 2, 3, 4, 6, 8, 12)
"""So many failures are told before the next tactic is asked for, drawn alike."""


def train_ranker(
    rows: Iterable[Mapping[str, Any]], known: Mapping[str, Premise], config: RankingConfig | None = None
) -> tuple[TacticRanker | None, dict[str, float]]:
    """A ranker trained from nothing on the ledger's examples of kind `tried`, and metrics: `goals`, `tried`, `loss` (nats a goal),
    `epochs`. None where nothing can be learned, or there is no time to."""
    import torch

    c = config or RankingConfig()
    data = _prepare(rows, known, DISGUISES if c.fresh_names else 0)
    deadline = time.thread_time() + c.seconds
    metrics = {"goals": float(len(data)), "tried": float(sum(len(r.worked) for r in data))}
    if not data:
        return None, metrics
    rng = random.Random(c.seed)
    generator = torch.Generator().manual_seed(c.seed)
    torch.set_num_threads(c.threads)
    goal, tactic, failed = (
        torch.nn.Parameter(torch.randn(BUCKETS, WIDTH, generator=generator) * size) for size in (0.3, 0.1, 0.0)
    )
    bias = torch.nn.Parameter(torch.zeros(BUCKETS, 1))
    # What no true name is hashed to stays nothing: an unknown word must not add noise, neither here nor where it will be read.
    met = torch.zeros(BUCKETS, 1)
    met[[i for r in data for f in (r.plain.features, *(t.features for t in r.plain.tried)) for i in f]] = 1.0
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
            goals = bag(goal * met, [g.features for g in batch], "mean")
            joint = bag(torch.cat([tactic, bias], 1) * met, [t.features for g in batch for t in g.tried], "sum")
            loss = torch.zeros(())
            end = 0
            for i, g in enumerate(batch):
                begin, end = end, end + len(g.tried)
                vectors = joint[begin:end, :WIDTH]
                score = vectors @ goals[i] + joint[begin:end, WIDTH]
                worked = torch.tensor(chosen[i].worked)
                told = _told(score.detach(), worked, rng.choice(_TOLD), generator)
                if len(told):
                    sum_failed = failed[torch.tensor([g.tried[j].skeleton for j in told.tolist()])].sum(0)
                    score = (score + vectors @ sum_failed).index_fill(0, told, -1e9)
                loss = loss + torch.logsumexp(score, 0) - torch.logsumexp(score[worked], 0)
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
        for p in (goal * met, tactic * met, (bias * met)[:, 0], failed * met)
    )
    return TacticRanker(*learned), metrics


def _told(score: Any, worked: Any, count: int, generator: Any) -> Any:
    """Indices of up to `count` failed tactics, the best-scored likelier (Gumbel-top-k): those that would have been tried."""
    import torch

    failed = (~worked).nonzero()[:, 0]
    count = min(count, len(failed))
    if not count:
        return failed[:0]
    luck = -torch.log(-torch.log(torch.rand(len(failed), generator=generator).clamp(1e-9, 1 - 1e-7)))
    return failed[(score[failed] + luck).topk(count).indices]


def _prepare(rows: Iterable[Mapping[str, Any]], known: Mapping[str, Premise], disguises: int) -> list[_Row]:
    """One entry for a goal, with all that was tried on it."""
    merged: dict[str, tuple[Mapping[str, Any], dict[str, bool]]] = {}
    for row in rows:
        _, tried = merged.setdefault(row["state"], (row, {}))
        worked = set(row["worked"])
        for t in [*row["worked"], *row["tried"]]:
            tried[t] = tried.get(t, False) or t in worked
    found = []
    for i, (row, tried) in enumerate(merged.values()):
        if not all(tried.values()):
            goal = first_goal(row["state"], row["constants"])
            query = Query(ProofState(0, "", (goal,)), tuple(row["premises"]))
            reader = Reader(goal, query.premises, known)
            plain = _Goal(goal_features(goal), [reader.read(t) for t in tried])
            made_up = (_disguised(query, tried, known, NameObfuscator(1 + i * disguises + j)) for j in range(disguises))
            found.append(_Row(plain, tuple(made_up), list(tried.values())))
    return found


def _disguised(query: Query, tried: Iterable[str], known: Mapping[str, Premise], obfuscator: NameObfuscator) -> _Goal:
    shown = obfuscator.obfuscate(query)
    goal = shown.state.goals[0]
    reader = Reader(
        goal, shown.premises, obfuscator.obfuscate_premises([known[p] for p in query.premises if p in known])
    )
    return _Goal(goal_features(goal), [reader.read(obfuscator.obfuscate_tactic(t, query)) for t in tried])


def first_goal(text: str, constants: Iterable[str]) -> Goal:
    """The goal that tactics act on, from a state's text."""
    first = text.split("\n\n", 1)[0]
    hypotheses, target = split_hypotheses(first)
    return Goal(first, hypotheses, target, tuple(constants))
