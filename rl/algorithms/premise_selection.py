"""Training the retriever on what proofs used, after ReProver (Yang et al. 2023): softmax over the premises that helped, those
that were tried and did not (hard negatives), those that the symbolic retriever would have offered, and those of other goals.

A premise helped when the audited proof's own term uses it, or when a tactic that starts a proof names it and the same tactic
without it does not. It is a hard negative where a tactic that names it failed and none that names it helped.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prover.lean.names import IDENTIFIER
from prover.premises.dense import DenseRetriever, DenseWeights, bags, premise_features, rarity, symbol_features
from prover.premises.index import LibraryIndex
from prover.premises.symbols import SymbolRetriever
from prover.search.examples import Example

KIND = "premises"
"""Of the ledger's examples that this makes."""


def harvest_premises(
    examples: Iterable[Example], proved: bool, imports: Sequence[str], used: Sequence[str] = ()
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, data) for the ledger, of a training theorem's search. `used`: premises in the audited proof's term; they count for
    its first goal. Nothing without a proof: a premise that failed on an open goal may yet be the right one."""
    if not proved:
        return
    for i, e in enumerate(examples):
        if not e.solved or not e.constants:
            continue
        good, bad = credit(e, used if i == 0 else ())
        if good:
            yield KIND, {"constants": e.constants, "imports": list(imports), "good": good, "bad": bad}


def credit(e: Example, used: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Premises that helped and premises that did not."""
    offered = set(e.premises)
    worked = {t for t, _ in e.best}
    said_in_proof = {n for t in worked for n in _names(t)}
    good = {n for n in used if n in said_in_proof}
    for tactic in worked:
        names = [n for n in _names(tactic) if n in offered]
        # Where one of several did the work, the proof's term says which (`used`), not the tactic.
        if len(names) == 1 and without(tactic, names[0]) not in worked:
            good.add(names[0])
    failed = {n for t, _ in e.errors for n in _names(t) if n in offered}
    return sorted(good), sorted(failed - good - said_in_proof)


def without(tactic: str, name: str) -> str:
    """A tactic without a list that has only this name: `simp [p]` is `simp`."""
    return re.sub(rf"\s*\[(?:← )?{re.escape(name)}\]", "", tactic)


def _names(tactic: str) -> set[str]:
    return {m[0] for m in IDENTIFIER.finditer(tactic)}


@dataclass(frozen=True)
class SelectionConfig:
    """How to train."""

    seconds: float = 20.0
    epochs: int = 40
    """At most."""
    batch: int = 32
    """Goals."""
    offered: int = 24
    """Of the symbolic retriever's best, so many stand beside what was tried."""
    learning_rate: float = 3e-3
    stay: float = 0.02
    """Weight of the squared distance of both matrices from where they began, against overfitting."""
    threads: int = 1
    seed: int = 0


def train_retriever(
    rows: Iterable[Mapping[str, Any]],
    index: LibraryIndex,
    config: SelectionConfig | None = None,
    start: DenseWeights | None = None,
) -> tuple[DenseWeights, dict[str, float]]:
    """Weights trained on the ledger's examples of kind `premises`, and metrics: `examples`, `loss` (nats an example, of the last
    epoch), `epochs`. Without a usable example: `start` itself."""
    import torch

    c = config or SelectionConfig()
    rng = random.Random(c.seed)
    first = start or DenseWeights.initial(c.seed)
    data = _prepare(rows, index, c)
    metrics: dict[str, float] = {"examples": len(data)}
    if not data:
        return first, metrics
    torch.manual_seed(c.seed)
    torch.set_num_threads(c.threads)
    wholes, parts = (torch.nn.Parameter(torch.from_numpy(t.copy())) for t in np.split(first.table, 2))
    goal = torch.nn.Parameter(torch.from_numpy(first.goal.copy()))
    premise = torch.nn.Parameter(torch.from_numpy(first.premise.copy()))
    scales = torch.nn.Parameter(torch.tensor([first.scale, first.symbolic]).log())
    began = [goal.detach().clone(), premise.detach().clone()]
    optimizer = torch.optim.Adam(
        [
            # Whole constants slowly: by them alone every training goal could be learned by heart.
            {"params": [wholes], "lr": c.learning_rate * 0.03},
            {"params": [parts], "lr": c.learning_rate},
            {"params": [goal, premise], "lr": c.learning_rate * 0.3},
            {"params": [scales], "lr": c.learning_rate * 3},
        ]
    )

    def embed(matrix: Any, features: Sequence[tuple[dict[int, float], np.ndarray]]) -> Any:
        ids, weights, starts = (torch.from_numpy(x) for x in bags(features))
        bag = torch.nn.functional.embedding_bag(
            ids, torch.cat([wholes, parts]), starts, per_sample_weights=weights, mode="sum"
        )
        return torch.nn.functional.normalize(bag @ matrix, dim=1, eps=1e-6)

    deadline = time.thread_time() + c.seconds
    losses: list[float] = []
    epoch = 0
    while epoch < c.epochs and time.thread_time() < deadline:
        rng.shuffle(data)
        losses = []
        for at in range(0, len(data), c.batch):
            batch = data[at : at + c.batch]
            loss = torch.zeros(())
            # One bag a batch on each side: the gradient of the table is as large as the table, whatever was looked up.
            # Half the goals are shown without whole constants, so that what is learned of their parts serves unseen ones.
            blind = [rng.random() < 0.5 for _ in batch]
            queries = embed(goal, [(e.goal[b], e.idf) for e, b in zip(batch, blind, strict=True)])
            candidates = embed(premise, [(f[b], e.idf) for e, b in zip(batch, blind, strict=True) for f in e.premises])
            names = [n for e in batch for n in e.names]
            helped = torch.tensor([g for e in batch for g in e.good])
            products = queries @ candidates.T * scales[0].exp()
            end = 0
            for i, e in enumerate(batch):
                begin, end = end, end + len(e.names)
                own = products[i, begin:end] + scales[1].exp() * torch.from_numpy(e.symbolic)
                # Another goal's premise is a negative only where this one might have been offered it, and did not want it.
                mine = set(e.names)
                free = torch.tensor([n in e.reachable and n not in mine for n in names]) & helped
                logits = torch.cat([own, products[i][free]])
                loss = loss + torch.logsumexp(logits, 0) - torch.logsumexp(own[helped[begin:end]], 0)
            away = sum(((m - b) ** 2).sum() for m, b in zip((goal, premise), began, strict=True))
            loss = loss / len(batch) + c.stay * away
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
    )
    metrics |= {"loss": sum(losses) / max(len(losses), 1), "epochs": epoch, "scale": scale, "symbolic": symbolic}
    return trained, metrics


@dataclass(frozen=True)
class _Prepared:
    """One goal with its candidates."""

    goal: tuple[dict[int, float], dict[int, float]]
    """Features, with and without whole constants."""
    names: list[str]
    premises: list[tuple[dict[int, float], dict[int, float]]]
    good: list[bool]
    symbolic: np.ndarray
    """[candidates] the symbolic score, which the hybrid adds."""
    idf: np.ndarray
    reachable: frozenset[str]


def _prepare(rows: Iterable[Mapping[str, Any]], index: LibraryIndex, c: SelectionConfig) -> list[_Prepared]:
    places: dict[tuple[str, ...], tuple[SymbolRetriever, dict[str, int], np.ndarray, frozenset[str]]] = {}
    merged: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[set[str], set[str]]] = {}
    for row in rows:
        good, bad = merged.setdefault((tuple(row["imports"]), tuple(row["constants"])), (set(), set()))
        good.update(row["good"])
        bad.update(row["bad"])
    found = []
    for (imports, constants), (good, bad) in merged.items():
        if imports not in places:
            modules = index.reachable(imports)
            premises = [p for m, info in index.modules.items() if m in modules for p in info.theorems]
            at = {p.name: i for i, p in enumerate(premises)}
            places[imports] = (SymbolRetriever(premises), at, rarity(premises), frozenset(at))
        symbols, at, idf, reachable = places[imports]
        score = symbols.score(constants)
        offered = [int(i) for i in np.argsort(-score, kind="stable")[: c.offered]]
        yes = [at[n] for n in sorted(good) if n in at]
        no = [at[n] for n in sorted(bad - good) if n in at][: c.offered]
        if not yes:
            continue
        chosen = list(dict.fromkeys([*yes, *no, *offered]))
        found.append(
            _Prepared(
                (symbol_features(constants), symbol_features(constants, 0.0)),
                [symbols.premises[i].name for i in chosen],
                [(premise_features(symbols.premises[i]), premise_features(symbols.premises[i], 0.0)) for i in chosen],
                [i in yes for i in chosen],
                score[chosen].astype(np.float32),
                idf,
                reachable,
            )
        )
    return found


def recall(
    rows: Iterable[Mapping[str, Any]], index: LibraryIndex, weights: DenseWeights, k: int = 8, symbols: bool = True
) -> float:
    """Share of the premises that helped which stand among the `k` best of the hybrid (or of the dense retriever alone)."""
    made: dict[tuple[str, ...], DenseRetriever] = {}
    hits = total = 0
    for row in rows:
        imports = tuple(row["imports"])
        if imports not in made:
            modules = index.reachable(imports)
            premises = [p for m, info in index.modules.items() if m in modules for p in info.theorems]
            made[imports] = DenseRetriever(premises, weights, SymbolRetriever(premises) if symbols else None)
        retriever = made[imports]
        best = np.argsort(-retriever.score(row["constants"]), kind="stable")[:k]
        names = {retriever.premises[int(i)].name for i in best}
        hits += len(names & set(row["good"]))
        total += len(row["good"])
    return hits / total if total else 0.0
