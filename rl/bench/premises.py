"""Solve rates without premises and with each retriever, trained and untrained, and each retriever's recall.

Every variant searches the same theorems with the same seed and limits. Variants of the explorer differ only in their premises: none,
or those of a retriever, untrained or trained. The trained prover uses a wider search, with its ranker and, if its run had one, its
value; it is measured with and without premises. A theorem is solved if the audit accepts its proof.

Recall at k is the share of the wanted premises among a retriever's k best for the theorem's first goal. The wanted premises are the
library theorems in the terms of audited proofs (of all variants and of the run), without pure logic (`Eq.trans`, `of_eq_true`) and
internals of decision procedures (`Lean.Omega.…`). Those named in the script are also counted separately. Recall is biased towards
retrievers that helped to find the proofs.

Theorems of the held-out split and theorems of modules that no training uses are separate sets. Under fresh names
(prover/models/fresh_names.py) the names are unseen too, although some usable lemmas come from training modules. A search without
premises also lacks the goal's own functions, which the templates unfold.
"""

from __future__ import annotations

import asyncio
import fnmatch
import hashlib
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from curricula.in_place import has_theorems
from curricula.library import library_set
from prover.errors import UserError
from prover.files import check_writable
from prover.lean.runtime import find_runtime
from prover.lean.theorem import Theorem
from prover.models.manifest import find_checkpoint, read_manifest, run_configuration
from prover.premises.dense import DenseWeights
from prover.premises.index import LibraryIndex, library_index
from prover.search.lean_queries import parse_questions
from prover.solve.ledger import Attempt
from rl.bench import Quick, call_budgets
from rl.bench.local_premises import bench_local_premises
from rl.bench.premise_figures import compared, curve, gains
from rl.bench.premise_searches import PremiseVariant, TrainedParts, attempted, variants
from rl.bench.recall import first_goals, rank_premises, recall_at, wanted_premises

HELD_OUT_MODULES = (
    "Init.Data.List.Erase",
    "Init.Data.List.MinMax",
    "Init.Data.List.Range",
    "Init.Data.Nat.Dvd",
    "Init.Data.Nat.MinMax",
    "Init.Data.Int.Bitwise.Lemmas",
    "Init.Data.Vector.Lemmas",
    "Init.Data.Array.Find",
    "Init.Data.Array.Count",
    "Init.Data.Rat.Lemmas",
)
"""Modules that no stage and no theorem set uses."""


def unseen_modules(run: Path | None) -> tuple[str, ...]:
    """The HELD_OUT_MODULES that a run, given by its folder or a checkpoint, did not train on. Raises UserError if it trained on all."""
    used = next((m for f in _folders(run) if (m := run_configuration(f).get("theorems", {}).get("modules"))), ())
    left = tuple(m for m in HELD_OUT_MODULES if not any(fnmatch.fnmatchcase(m, pattern) for pattern in used))
    if not left:
        raise UserError(
            f"--checkpoint {run}: the run trained on every module that should be unseen: {', '.join(HELD_OUT_MODULES)}"
        )
    return left


def bench_premises(
    *,
    quick: Quick = False,
    checkpoint: Path | None = None,
    theorems: int = 300,
    split: Literal["held-out", "validation", "train"] = "held-out",
    set: Path | None = None,
    only: str = "",
    questions: str = "",
    budgets: str = "16,64,256",
    processes: int = 1,
    record: Path | None = None,
    minutes: float | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Prints the keys of docs/benchmark.md, for theorems of the library (see `measured`) or of a file (see local_premises.py).

    Results are stored in --record, from which a run resumes. --quick uses 18 theorems and up to 64 calls.

    Args:
        checkpoint: a run's folder, whose model and retriever are evaluated too.
        theorems: number of theorems of the split. Half as many are added from modules that no stage trains on.
        split: split of the theorems. Tune on validation, report held-out.
        set: a .lean file or Lake project with proofs, whose theorems are proved in place, with and without their surroundings.
        only: variants by name or part of a name, separated by `;`, e.g. `no premises;explorer, symbols`.
        questions: add a variant that asks Lean for suggestions: some of exact?, apply?, rw?, simp?, simp_all?, grind?.
        budgets: Lean calls, comma-separated.
        processes: Lean processes.
        record: the ledger that stores the attempts, an SQLite file. Default: beside --out.
        minutes: start no theorem later than this. The figures cover the finished theorems.
    """
    calls = call_budgets(budgets, quick)
    if theorems < 1 or processes < 1:
        raise UserError("--theorems and --processes must be at least 1")
    record = record or (out.with_suffix(".sqlite") if out else None)
    if record is not None:
        if record == out:
            raise UserError(f"--record {record}: must not be the file of --out")
        check_writable(record)
    index = library_index()
    n = 12 if quick else theorems
    if set is not None:
        if not has_theorems(set):
            raise UserError(f"--set {set}: must be a .lean file or a Lake project")
        weights = learned_weights(checkpoint)
        return {"set": str(set), **bench_local_premises(index, set, weights, calls, record, minutes, n, processes)}
    of_split = library_set(index, split, per_module=28, limit=n)
    unseen = library_set(index, None, unseen_modules(checkpoint), per_module=28, limit=n // 2)
    named = tuple(x.strip() for x in only.split(";") if x.strip())
    figures = measured(index, of_split, unseen, checkpoint, calls, record, minutes, named, processes, questions)
    return {"split": split, **figures}


def measured(
    index: LibraryIndex,
    theorems: Sequence[Theorem],
    unseen: Sequence[Theorem],
    run: Path | None = None,
    budgets: Sequence[int] = (16, 64, 256),
    record: Path | None = None,
    minutes: float | None = None,
    only: Sequence[str] = (),
    processes: int = 1,
    questions: str = "",
) -> dict[str, Any]:
    """Run the benchmark. `theorems`: of the held-out split; `unseen`: of unseen modules. `record`: a ledger that stores the
    attempts, from which a run resumes. `minutes`: no theorem starts later than this. `only`: variants by name or part of a name. `questions`:
    see `variants`.

    Keys: `solved` (set → variant → budget → {solved, total, low, high}), `recall` and `recall_named` (set → retriever → cut →
    share, `of` this many premises), `proofs_with_premises`, `trained_against_untrained` (see `compared`), `gain` (see `gains`),
    `ms_a_goal` by retriever (see `rank_premises`), `lean_ms_a_call`.
    """
    learned = _learned(run)
    if run is not None and learned.weights is None and learned.checkpoint is None:
        raise UserError(
            f"{run}: has neither model.safetensors nor retrievers/; give a run's folder or one of its checkpoints"
        )
    possible = variants(learned.checkpoint is not None, learned.weights is not None, questions)
    chosen = _select(possible, only)
    # Alternate between the sets, so that a partial run covers both.
    order = [t for pair in zip_longest(theorems, unseen) for t in pair if t is not None]
    attempts, ms_a_call = asyncio.run(
        attempted(index, learned, chosen, order, max(budgets), record, minutes, processes)
    )
    sets = {"held-out theorems": theorems, "held-out modules": unseen}
    results = {label: attempts.results(ts) for label, ts in sets.items()}
    results = {label: found for label, found in results.items() if any(found.values())}
    solved = {label: {v: curve(mine, budgets) for v, mine in found.items()} for label, found in results.items()}
    every = [a for done in attempts.done.values() for a in done.values()]
    return {
        "run": str(run) if run else None,
        "trained_retriever": learned.weights is not None,
        "lean": find_runtime().name,
        "solved": solved,
        "trained_against_untrained": {label: compared(chosen, found, budgets) for label, found in results.items()},
        "gain": {label: gains(curves) for label, curves in solved.items()},
        **_recall(index, learned.weights, every, run, sets, questions),
        "lean_ms_a_call": ms_a_call,
    }


def _select(possible: Sequence[PremiseVariant], only: Sequence[str]) -> list[PremiseVariant]:
    exact = {v.name for v in possible} & set(only)
    parts = [o for o in only if o not in exact]
    chosen = [v for v in possible if not only or v.name in exact or any(o in v.name for o in parts)]
    if not chosen:
        raise UserError(f"no variant has {' or '.join(only)} in its name")
    return chosen


def _recall(
    index: LibraryIndex,
    weights: DenseWeights | None,
    attempts: Sequence[Attempt],
    run: Path | None,
    sets: dict[str, Sequence[Theorem]],
    questions: str,
) -> dict[str, Any]:
    """`proofs_with_premises`, `recall`, `recall_named` and `ms_a_goal`."""
    by_name = {t.name: t for ts in sets.values() for t in ts}
    proofs = [(by_name[a.theorem.name], a.script, a.used) for a in attempts if a.outcome == "proved" and a.script]
    wanted = wanted_premises(index, proofs, run)
    groups = {label: [wanted[t.name] for t in ts if t.name in wanted] for label, ts in sets.items()}
    out: dict[str, Any] = {"proofs_with_premises": {label: len(found) for label, found in groups.items()}}
    # A trained retriever has seen the answers of the theorems that the run proved in training.
    groups["the run's other theorems"] = [w for name, w in wanted.items() if name not in by_name]
    theorems = [w.theorem for found in groups.values() for w in found]
    asked = parse_questions(questions)
    goals, suggested = asyncio.run(first_goals(theorems, asked)) if theorems else ({}, {})
    best, out["ms_a_goal"] = rank_premises(index, weights, goals, theorems)
    if asked:
        best[f"Lean's {questions}"] = suggested
    found = {label: group for label, group in groups.items() if group}
    out["recall"] = {k: recall_at(best, {w.theorem.name: w.term for w in group}) for k, group in found.items()}
    out["recall_named"] = {k: recall_at(best, {w.theorem.name: w.named for w in group}) for k, group in found.items()}
    return out


def learned_weights(run: Path | None) -> DenseWeights | None:
    """The newest retriever of a run, given by its folder or a checkpoint. Raises UserError if there is none."""
    if run is None:
        return None
    if (path := _retriever(run)) is None:
        raise UserError(f"{run}: has no retrievers/; give a run with a learned retriever, or no --checkpoint")
    return DenseWeights.load(path)


def _learned(run: Path | None) -> TrainedParts:
    """The newest model and retriever of a run, given by its folder or a checkpoint, with hashes of their files."""
    if run is None:
        return TrainedParts()
    retriever = _retriever(run)
    files, checkpoint = [retriever], None
    if any(run.rglob("model.safetensors")):
        checkpoint = find_checkpoint(run)
        files += [checkpoint / "model.safetensors", read_manifest(checkpoint).ranker_file]
    hashes = [hashlib.sha256(f.read_bytes()).hexdigest() if f is not None else "" for f in files]
    return TrainedParts(checkpoint, DenseWeights.load(retriever) if retriever else None, hashes)


def _retriever(run: Path) -> Path | None:
    found = (sorted((folder / "retrievers").glob("[0-9]*.npz")) for folder in _folders(run))
    return next((files[-1] for files in found if files), None)


def _folders(run: Path | None) -> tuple[Path, ...]:
    """The folders that may be the run's: `run` itself, or the folder of the run if `run` is one of its checkpoints."""
    return () if run is None else (run, run.resolve().parent.parent)
