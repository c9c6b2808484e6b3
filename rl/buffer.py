"""Prioritised replay over the ledger's examples, bounded in memory and on disk.

Examples that do not fit into memory stay on disk and may be drawn later. `trim` merges duplicates after every round and deletes
the examples of lowest priority. Examples of rejected proofs and of theorems outside the training split are excluded here, when
examples are read, and in rl/training_examples.py, when they are made.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import math
import random
from collections.abc import Collection
from typing import Any

from curricula.library import HeldOutLeak, assert_for_training
from prover.solve.ledger import ExampleRow, Ledger
from rl.algorithms.assessing import KIND as ASSESSED
from rl.config import ReplayConfig

LIGHTEST, HEAVIEST = 0.25, 4.0
"""Bounds of an example's weight."""


def draw(
    ledger: Ledger,
    kind: str,
    config: ReplayConfig | None = None,
    version: int = 0,
    seed: int = 0,
    last: int | None = None,
    without: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Up to `capacity` examples of a kind, oldest first, each with a `weight` (mean 1).

    With `prioritised`, the sample is drawn without replacement in proportion to priority ** exponent (Efraimidis & Spirakis 2006)
    and weighted in the same proportion, so that priorities also matter if everything fits. Otherwise both are uniform, and always for
    the assessor, because priorities would distort its probabilities. `last`: the newest round to draw from, if later ones are under
    way. `without`: theorems whose examples are skipped. Raises HeldOutLeak for an example of a theorem that is outside the training
    split, or that the run withholds.
    """
    config = config or ReplayConfig()
    rng = random.Random(f"replay/{seed}/{version}/{kind}")
    prioritised = config.prioritised and kind != ASSESSED
    siblings = ledger.example_counts(kind)
    held = withheld(ledger)
    kept: list[tuple[float, int, float, dict[str, Any]]] = []
    for i, row in enumerate(ledger.example_rows(kind)):
        if row.outcome == "rejected" or (last is not None and row.data.get("round", 0) > last):
            continue
        if row.theorem in without:
            continue
        check_for_training(row.theorem, held)
        p = priority(row, siblings[row.theorem], version, config) ** config.exponent if prioritised else 1.0
        item = (math.log(max(rng.random(), 1e-12)) / p, i, p, row.data)
        if len(kept) < config.capacity:
            heapq.heappush(kept, item)
        else:
            heapq.heappushpop(kept, item)
    kept.sort(key=lambda item: item[1])
    mean = sum(p for _, _, p, _ in kept) / len(kept) if kept else 1.0
    return [{**data, "weight": min(HEAVIEST, max(LIGHTEST, p / mean))} for _, _, p, data in kept]


def withheld(ledger: Ledger) -> frozenset[str]:
    """The run's held-out and validation theorems whose names' hash would put them into the training split (rl/theorem_splits.py)."""
    return frozenset(ledger.get("withheld") or ())


def check_for_training(name: str, held: Collection[str]) -> None:
    """Raise HeldOutLeak for a theorem outside the training split, or among those withheld."""
    assert_for_training(name)
    if name in held:
        raise HeldOutLeak(f"{name} is held out by its set and must not be used for training")


def priority(row: ExampleRow, siblings: int, version: int, config: ReplayConfig) -> float:
    """difficulty * freshness / sqrt(siblings).

    Difficulty is log2(1 + Lean calls to the proof), at least 1, and 1 without a proof. Freshness halves every `half_life` model
    versions after the attempt. `siblings` is the number of examples of the same theorem. Without it, long proofs and often proved
    theorems would crowd out the rest.
    """
    difficulty = max(1.0, math.log2(1 + row.calls_to_solve)) if row.calls_to_solve is not None else 1.0
    freshness = 0.5 ** (max(0, version - row.model_version) / config.half_life)
    return difficulty * freshness / math.sqrt(max(1, siblings))


def trim(ledger: Ledger, config: ReplayConfig, version: int) -> int:
    """Reduce every kind to at most `on_disk` examples and return the number deleted.

    Keeps the newest of equal examples of a theorem, ignoring round and reward, then deletes the examples of lowest priority, oldest
    first. Of the rollouts of the round before `version`, keeps the proofs. Deterministic in the ledger and `version`, so repeating it
    changes nothing.
    """
    gone = _keep_proofs(ledger, version - 1)
    for kind in ledger.example_kinds():
        prioritised = config.prioritised and kind != ASSESSED
        siblings = ledger.example_counts(kind)
        newest: dict[bytes, int] = {}
        ranked: dict[int, float] = {}
        merged: list[int] = []
        for row in ledger.example_rows(kind):
            same = newest.get(key := _content(row))
            if same is not None:
                merged.append(same)
                del ranked[same]
            newest[key] = row.id
            ranked[row.id] = priority(row, siblings[row.theorem], version, config) if prioritised else 1.0
        surplus = sorted(ranked, key=lambda i: (ranked[i], i))[: max(0, len(ranked) - config.on_disk)]
        ledger.forget_examples([*merged, *surplus])
        gone += len(merged) + len(surplus)
    return gone


def _keep_proofs(ledger: Ledger, r: int) -> int:
    """Reduce the rollouts of round `r` to its proofs, and return the number of examples deleted. A policy gradient reads all rollouts of
    a round only once, and the proofs to imitate them later. Their tokens would fill the disk: a round of 4,096 whole proofs has 0.5 GB."""
    kept: dict[int, dict[str, Any]] = {}
    for row in ledger.example_rows("rollouts", f"round {r}"):
        kept[row.id] = {**row.data, "rollouts": [x for x in row.data["rollouts"] if x.get("ended") == "proved"]}
    gone = [i for i, data in kept.items() if not data["rollouts"]]
    ledger.rewrite_examples({i: data for i, data in kept.items() if data["rollouts"]})
    ledger.forget_examples(gone)
    return len(gone)


def _content(row: ExampleRow) -> bytes:
    data = {k: v for k, v in row.data.items() if k not in ("round", "reward")}
    return hashlib.sha256(json.dumps([row.theorem, data], sort_keys=True).encode()).digest()
