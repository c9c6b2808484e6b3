"""Trains the retriever on the premises that proofs used, after ReProver (Yang et al. 2023).

The loss is a softmax over the premises that helped, hard negatives, the symbolic retriever's best, and premises of other goals in
the batch. A premise helped if the audited proof's term uses it, or if a tactic that starts a proof names it and the same tactic
without it does not. A hard negative is named by a failed tactic and by none that helped.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from prover.lean.names import names_in
from prover.lean.theorem import Theorem
from prover.premises.dense import DenseWeights, bags, premise_features, rarity, symbol_features
from prover.premises.imported import imported
from prover.premises.index import LibraryIndex
from prover.premises.library import Premises
from prover.premises.local import LocalCandidate
from prover.premises.locality import FEATURES, INITIAL, Place, locality, namespace_of, shared
from prover.premises.symbols import SymbolRetriever
from prover.search.examples import Example

KIND = "premises"
"""Kind of these examples in the ledger."""


def collect_premises(
    examples: Iterable[Example], proved: bool, theorem: Theorem, used: Sequence[str] = ()
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, data) for the ledger, from a training theorem's search. `used`: premises in the audited proof's term, credited to its
    first goal. Yields nothing without an audited proof (`proved`), because a premise that failed on an open goal may still be right."""
    if not proved:
        return
    for i, e in enumerate(examples):
        if not e.solved or not e.constants:
            continue
        good, bad = credit(e, used if i == 0 else ())
        if good:
            row: dict[str, Any] = {"constants": e.constants, "imports": list(theorem.imports), "good": good, "bad": bad}
            row["theorem"] = theorem.library or theorem.name
            if e.local:
                row["local"] = msgspec.to_builtins(e.local)
            yield KIND, row


def credit(e: Example, used: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """(premises that helped, premises that were tried and did not help), each sorted."""
    offered = set(e.premises)
    worked = {t for t, _ in e.best}
    named_in_proof = {n for t in worked for n in names_in(t)}
    good = {n for n in used if n in named_in_proof}
    for tactic in worked:
        names = [n for n in names_in(tactic) if n in offered]
        # If a tactic names several premises, only the proof's term (`used`) shows which one was needed.
        if len(names) == 1 and without(tactic, names[0]) not in worked - {tactic}:
            good.add(names[0])
    failed = {n for t in e.failures for n in names_in(t) if n in offered}
    return sorted(good), sorted(failed - good - named_in_proof)


def without(tactic: str, name: str) -> str:
    """The tactic without a list that contains only this name: `simp [p]` becomes `simp`."""
    return re.sub(rf"\s*\[(?:← )?{re.escape(name)}\]", "", tactic)


@dataclass(frozen=True)
class SelectionConfig:
    """Training settings of the retriever."""

    seconds: float = 20.0
    epochs: int = 40
    """Maximum number of epochs."""
    batch: int = 32
    """Goals per batch."""
    offered: int = 24
    """Candidates from the symbolic retriever, in addition to the premises tried."""
    learning_rate: float = 3e-3
    stay: float = 0.02
    """Weight of the squared distance of both matrices from their initial values, against overfitting."""
    threads: int = 1
    seed: int = 0


def train_retriever(
    rows: Iterable[Mapping[str, Any]], index: LibraryIndex, config: SelectionConfig | None = None
) -> tuple[DenseWeights | None, dict[str, float]]:
    """Train on replay rows of kind `premises`. A goal's loss is multiplied by its largest `weight` (replay priority).

    Returns the weights, and metrics: `examples`, `loss` (nats per example in the last epoch), `epochs`, `scale`, `symbolic`. The weights
    are None without usable examples.
    """
    import torch

    c = config or SelectionConfig()
    rng = random.Random(c.seed)
    data = _prepare(rows, index, c)
    metrics: dict[str, float] = {"examples": len(data)}
    if not data:
        return None, metrics
    first = DenseWeights.initial(c.seed)
    torch.manual_seed(c.seed)
    torch.set_num_threads(c.threads)
    wholes, parts = (torch.nn.Parameter(torch.from_numpy(t.copy())) for t in np.split(first.table, 2))
    goal = torch.nn.Parameter(torch.from_numpy(first.goal.copy()))
    premise = torch.nn.Parameter(torch.from_numpy(first.premise.copy()))
    scales = torch.nn.Parameter(torch.tensor([first.scale, first.symbolic]).log())
    places = torch.nn.Parameter(torch.tensor(INITIAL))
    began = [goal.detach().clone(), premise.detach().clone()]
    optimizer = torch.optim.Adam(
        [
            # A low rate for whole constants, which alone would suffice to memorise every training goal.
            {"params": [wholes], "lr": c.learning_rate * 0.03},
            {"params": [parts], "lr": c.learning_rate},
            {"params": [goal, premise], "lr": c.learning_rate * 0.3},
            {"params": [scales], "lr": c.learning_rate * 3},
            {"params": [places], "lr": c.learning_rate * 30},
        ]
    )

    def embed(matrix: Any, features: Sequence[tuple[dict[int, float], np.ndarray]]) -> Any:
        ids, weights, starts = (torch.from_numpy(x) for x in bags(features))
        bag = torch.nn.functional.embedding_bag(
            ids, torch.cat([wholes, parts]), starts, per_sample_weights=weights, mode="sum"
        )
        return torch.nn.functional.normalize(bag @ matrix, dim=1, eps=1e-6)

    def batch_loss(batch: Sequence[_Prepared]) -> Any:
        # One bag per batch and side, because each bag costs a gradient as large as the table.
        # Half the goals lack whole constants, so that their parts learn to serve unseen constants.
        blind = [rng.random() < 0.5 for _ in batch]
        queries = embed(goal, [(e.goal[b], e.idf) for e, b in zip(batch, blind, strict=True)])
        candidates = embed(premise, [(f[b], e.idf) for e, b in zip(batch, blind, strict=True) for f in e.premises])
        scale, symbolic = scales.exp()
        distance = sum(((m - b) ** 2).sum() for m, b in zip((goal, premise), began, strict=True))
        return _softmax_loss(batch, queries @ candidates.T * scale, symbolic, places) + c.stay * distance

    deadline = time.thread_time() + c.seconds
    losses: list[float] = []
    epoch = 0
    while epoch < c.epochs and time.thread_time() < deadline:
        rng.shuffle(data)
        losses = []
        for at in range(0, len(data), c.batch):
            loss = batch_loss(data[at : at + c.batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        epoch += 1
    scale, symbolic = (float(x) for x in scales.detach().exp())
    trained = DenseWeights(
        torch.cat([wholes, parts]).detach().numpy().copy(),
        goal.detach().numpy().copy(),
        premise.detach().numpy().copy(),
        scale,
        symbolic,
        places.detach().numpy().copy(),
    )
    metrics |= {"loss": sum(losses) / max(len(losses), 1), "epochs": epoch, "scale": scale, "symbolic": symbolic}
    return trained, metrics


def _softmax_loss(batch: Sequence[_Prepared], products: Any, symbolic: Any, places: Any) -> Any:
    """Mean over goals of their weight times -log of the softmax mass of the premises that helped.

    `products`: [goals, all candidates of the batch]; `symbolic`: weight of the symbolic score; `places`: [FEATURES] weights.
    """
    import torch

    names = [n for e in batch for n in e.names]
    helped = torch.tensor([g for e in batch for g in e.good])
    loss = torch.zeros(())
    end = 0
    for i, e in enumerate(batch):
        begin, end = end, end + len(e.names)
        own = products[i, begin:end] + symbolic * torch.from_numpy(e.symbolic) + torch.from_numpy(e.places) @ places
        # Another goal's premise is a negative only if this goal could use it and it is not among its candidates.
        mine = set(e.names)
        free = torch.tensor([n in e.reachable and n not in mine for n in names]) & helped
        logits = torch.cat([own, products[i][free]])
        loss = loss + e.weight * (torch.logsumexp(logits, 0) - torch.logsumexp(own[helped[begin:end]], 0))
    return loss / len(batch)


@dataclass(frozen=True)
class _Prepared:
    """A goal with its candidates."""

    goal: tuple[dict[int, float], dict[int, float]]
    """Features, with and without whole constants."""
    names: list[str]
    premises: list[tuple[dict[int, float], dict[int, float]]]
    good: list[bool]
    symbolic: np.ndarray
    """[candidates], the symbolic score, which the hybrid adds."""
    places: np.ndarray
    """[candidates, FEATURES] of prover.premises.locality."""
    idf: np.ndarray
    reachable: frozenset[str]
    weight: float
    """Replay priority."""


def _prepare(rows: Iterable[Mapping[str, Any]], index: LibraryIndex, c: SelectionConfig) -> list[_Prepared]:
    reach: dict[tuple[str, ...], _Reach] = {}
    merged: dict[tuple[Any, ...], _Goal] = {}
    for row in rows:
        # Rows of earlier runs have no theorem.
        key = (tuple(row["imports"]), tuple(row["constants"]), row.get("theorem", ""))
        goal = merged.setdefault(key, _Goal())
        goal.good.update(row["good"])
        goal.bad.update(row["bad"])
        goal.weight = max(goal.weight, row.get("weight", 1.0))
        goal.local.update({x.premise.name: x for x in msgspec.convert(row.get("local", ()), list[LocalCandidate])})
    found: list[_Prepared] = []
    for (imports, constants, theorem), goal in merged.items():
        if imports not in reach:
            known = imported(imports, index)
            reach[imports] = _Reach(known.index.select(known.modules))
        place = Place.of(theorem, reach[imports].premises.library)
        if (one := _prepared(reach[imports], constants, place, goal, c)) is not None:
            found.append(one)
    return found


@dataclass
class _Goal:
    """A goal of one or more rows: names of premises, theorems of its surroundings by name, and the largest replay priority."""

    good: set[str] = field(default_factory=set[str])
    bad: set[str] = field(default_factory=set[str])
    local: dict[str, LocalCandidate] = field(default_factory=dict[str, LocalCandidate])
    weight: float = 0.0


class _Reach:
    """The library's premises that some imports reach."""

    def __init__(self, premises: Premises) -> None:
        self.premises = premises
        self.symbols = SymbolRetriever(premises)
        self.at = {name: i for i, name in enumerate(premises.names())}
        self.idf = rarity(premises)
        self.names = frozenset(self.at)


def _prepared(
    reach: _Reach, constants: tuple[str, ...], place: Place, goal: _Goal, c: SelectionConfig
) -> _Prepared | None:
    """A goal with candidates of the library and of its surroundings; None if none of them helped."""
    score = reach.symbols.score(constants)
    offered = [int(i) for i in np.argsort(-score, kind="stable")[: c.offered]]
    yes = [reach.at[n] for n in sorted(goal.good) if n in reach.at and n not in goal.local]
    no = [reach.at[n] for n in sorted(goal.bad - goal.good) if n in reach.at][: c.offered]
    chosen = list(dict.fromkeys([*yes, *no, *offered]))
    local = list(goal.local.values())
    good = [*(i in yes for i in chosen), *(x.premise.name in goal.good for x in local)]
    if not any(good):
        return None
    some = Premises(reach.premises.library, reach.premises.rows[chosen])
    premises = [*some, *(x.premise for x in local)]
    where = np.array([x.features for x in local], dtype=np.float32).reshape(len(local), len(FEATURES))
    where[:, FEATURES.index("namespace")] = [shared(place.namespace, namespace_of(x.premise.name)) for x in local]
    return _Prepared(
        (symbol_features(constants), symbol_features(constants, 0.0)),
        [p.name for p in premises],
        [(premise_features(p), premise_features(p, 0.0)) for p in premises],
        good,
        np.array([*score[chosen], *(x.symbolic for x in local)], dtype=np.float32),
        np.concatenate([locality(some, place), where]),
        reach.idf,
        reach.names,
        goal.weight,
    )
