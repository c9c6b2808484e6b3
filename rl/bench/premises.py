"""What premises are worth: `turnstile bench premises`.

Every variant searches the same theorems with the same seed and limits. The explorer's differ only in what they are offered: no premises,
those of one retriever or another, untrained or trained. The learned prover is another search: wider, with its ranker and, where its run had one, its value. With a run's folder the learned prover is measured too, with and without.
A theorem counts as solved when the audit accepts the proof. Recall at k is the share of the library theorems in audited proofs
(of every variant, and of the run) that stand among the k best for the theorem's first goal: of those in the proof's term, without
pure logic (`Eq.trans`, `of_eq_true`) and the internals of decision procedures (`Lean.Omega.…`), and apart of those that the script names too. Theorems whose names are held out, and theorems
of modules that no training touches, are reckoned apart. What a variant finds is in the measure of all, so recall favours no
retriever but those that helped to find proofs over those that did not take part.

The "new" split is the second set under fresh names (prover/models/fresh_names.py): theorems of modules that no training touched, and names
that nobody has seen; of the lemmas that they may use, some are of modules that training had. Without premises a search lacks the
goal's own functions too, which the templates unfold. `gain` says what premises gain the trained prover there, and what of it is lost.
"""

from __future__ import annotations

import asyncio
import fnmatch
import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prover.errors import UserError
from prover.lean.answer_cache import SharedAnswers
from prover.lean.audit import Auditor
from prover.lean.pool import LeanPool
from prover.lean.runtime import find_runtime
from prover.lean.server import LeanDied, LeanError
from prover.lean.theorem import Theorem
from prover.models.fresh_names import FreshNamesPolicy, NameObfuscator
from prover.models.manifest import find_checkpoint, read_manifest, run_configuration
from prover.models.mixture import EXPLORER_WEIGHT, ExploringPolicy
from prover.models.ranker import TacticRanker
from prover.models.tactic_templates import Explorer
from prover.premises.dense import DenseWeights
from prover.premises.index import LibraryIndex
from prover.premises.retrieve import RETRIEVERS, PremiseSource
from prover.search import Budget, Search, SearchConfig, checker
from prover.search.lean_queries import parse_questions
from prover.search.script import checked_script
from rl.bench.premise_record import Result, read, write
from rl.bench.recall import LIMITS, first_goals, rank_premises, recall_at, wanted_premises
from rl.metrics.intervals import paired_difference, wilson

OFFERED = 16
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
"""Modules that no stage and no theorem set has."""


def unseen_modules(run: Path | None) -> tuple[str, ...]:
    """Those of HELD_OUT_MODULES that a run, given by its folder or one of its checkpoints, did not train on. UserError if it had all."""
    folders = () if run is None else (run, run.resolve().parent.parent)
    had = next((m for f in folders if (m := run_configuration(f).get("theorems", {}).get("modules"))), ())
    left = tuple(m for m in HELD_OUT_MODULES if not any(fnmatch.fnmatchcase(m, pattern) for pattern in had))
    if not left:
        raise UserError(
            f"--checkpoint {run}: it trained on every module that is to be unseen: {', '.join(HELD_OUT_MODULES)}"
        )
    return left


@dataclass(frozen=True)
class Variant:
    """One column of the comparison."""

    name: str
    retriever: str | None
    """None: no premises."""
    trained: bool = False
    """Whether the retriever has the run's weights."""
    model: bool = False
    """Whether the run's model proposes, mixed with the explorer."""
    fresh: bool = False
    """Whether the model sees made-up words for the library's names."""
    questions: str = ""
    """What Lean itself is asked, as SearchConfig has it."""


FRESH = ", fresh names"


def variants(has_model: bool, has_weights: bool, questions: str = "") -> list[Variant]:
    """The comparison that a run's folder allows. `questions`: one variant more, that asks Lean these."""
    found = [Variant("explorer, no premises", None)]
    found += [Variant(f"explorer, {r}" + (" untrained" if r in ("dense", "hybrid") else ""), r) for r in RETRIEVERS]
    if has_weights:
        found += [Variant(f"explorer, {r} trained", r, True) for r in ("dense", "hybrid")]
    if has_model:
        best = "hybrid" if has_weights else "symbols"
        with_model = [
            Variant("trained, no premises", None, model=True),
            Variant(f"trained, {best}", best, has_weights, True),
        ]
        found += with_model + [replace(v, name=v.name + FRESH, fresh=True) for v in with_model]
        if has_weights:
            found.append(Variant("trained, symbols", "symbols", model=True))
    if questions:
        found.append(Variant(f"explorer, symbols, asking {questions}", "symbols", questions=questions))
    return found


def bench_premises(
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
    """`theorems`: held-out ones; `unseen`: those of unseen modules. `record`: a JSONL file that keeps what is done and is gone
    on from. `minutes`: stop starting theorems after so long. `only`: variants by their names or a part of them. `questions`: as in
    `variants`.

    Keys: `solved` (set → variant → budget → {solved, total, low, high}), `recall` and `recall_named` (set → retriever → cut →
    share, `of` so many premises), `proofs_with_premises`, `trained_against_untrained` (see `compared`), `gain` (see `gains`),
    `ms_a_goal` by retriever (see `rank_premises`), `lean_ms_a_call`.
    """
    weights = newest_weights(run)
    if run is not None and weights is None and not _has_model(run):
        raise UserError(
            f"{run}: no model.safetensors and no retrievers/ there; give a run's folder or one of its checkpoints"
        )
    asked = parse_questions(questions)
    possible = variants(_has_model(run), weights is not None, questions)
    whole = {v.name for v in possible} & set(only)
    chosen = [v for v in possible if not only or v.name in whole or any(o in v.name for o in only if o not in whole)]
    if not chosen:
        raise UserError(f"no variant has {' or '.join(only)} in its name")
    bench = _Bench(
        index, weights, run, chosen, max(budgets), read(record, [*theorems, *unseen]), record, minutes, processes
    )
    results = bench.results
    # In turn, so that what is cut short is cut short for both.
    asyncio.run(bench.run([t for pair in _interleave(theorems, unseen) for t in pair]))
    out: dict[str, Any] = {
        "run": str(run) if run else None,
        "trained_retriever": weights is not None,
        "lean": bench.lean,
    }
    sets = {"held-out theorems": theorems, "held-out modules": unseen}
    complete = {t for t in {r.theorem.name for r in results} if all(bench.has(t, v) for v in chosen)}
    out["solved"] = {
        label: {v.name: _curve([r for r in results if r.variant == v.name], names, budgets) for v in chosen}
        for label, ts in sets.items()
        if (names := {t.name for t in ts} & complete)
    }
    out["trained_against_untrained"] = {
        label: compared(chosen, results, {t.name for t in sets[label]} & complete, budgets) for label in out["solved"]
    }
    out["gain"] = {label: gains(curves) for label, curves in out["solved"].items()}
    proofs = [(r.theorem, r.script, r.used) for r in results if r.verdict == "proved" and r.script is not None]
    wanted = wanted_premises(index, proofs, run)
    out["proofs_with_premises"] = {k: sum(t.name in wanted for t in ts) for k, ts in sets.items()}
    out["recall"], out["recall_named"], out["ms_a_goal"] = {}, {}, {}
    mine = {label: [wanted[t.name] for t in ts if t.name in wanted] for label, ts in sets.items()}
    # What the run proved in training: there a trained retriever has seen the answers.
    here = {t.name for ts in sets.values() for t in ts}
    mine["the run's other theorems"] = [w for name, w in wanted.items() if name not in here]
    everybody = {w.theorem.name: w.theorem for found in mine.values() for w in found}
    goals, suggested = asyncio.run(first_goals(list(everybody.values()), asked)) if everybody else ({}, {})
    best, out["ms_a_goal"] = rank_premises(index, weights, goals, everybody.values())
    if asked:
        best[f"Lean's {questions}"] = suggested
    for label, found in mine.items():
        if found:
            out["recall"][label] = recall_at(best, {w.theorem.name: w.term for w in found})
            out["recall_named"][label] = recall_at(best, {w.theorem.name: w.said for w in found})
    out["lean_ms_a_call"] = round(1000 * bench.lean_s / max(bench.steps, 1), 2)
    return out


def _interleave(a: Sequence[Theorem], b: Sequence[Theorem]) -> Iterable[Sequence[Theorem]]:
    for i in range(max(len(a), len(b))):
        yield [*a[i : i + 1], *b[i : i + 1]]


def _has_model(run: Path | None) -> bool:
    return run is not None and any(run.rglob("model.safetensors"))


def newest_weights(run: Path | None) -> DenseWeights | None:
    """Of a run's newest learned retriever; also from one of its checkpoints."""
    found = _retriever(run)
    return DenseWeights.load(found) if found else None


def _retriever(run: Path | None) -> Path | None:
    folders = () if run is None else (run, run.resolve().parent.parent)
    return next((f[-1] for f in (sorted((x / "retrievers").glob("[0-9]*.npz")) for x in folders) if f), None)


def _learned(run: Path | None) -> list[str]:
    """Hashes of what a run learned and is measured here."""
    if run is None:
        return []
    files = [_retriever(run)]
    if _has_model(run):
        checkpoint = find_checkpoint(run)
        files += [checkpoint / "model.safetensors", read_manifest(checkpoint).ranker_file]
    return [hashlib.sha256(f.read_bytes()).hexdigest() if f is not None else "" for f in files]


def _curve(results: Sequence[Result], names: set[str], budgets: Sequence[int]) -> dict[str, Any]:
    calls = [r.calls for r in results if r.theorem.name in names and r.verdict == "proved"]
    curve = {}
    for b in budgets:
        n = sum(c is not None and c <= b for c in calls)
        low, high = wilson(n, len(names))
        curve[str(b)] = {"solved": n, "total": len(names), "low": round(low, 4), "high": round(high, 4)}
    return curve


class _Bench:
    """The searches and audits, one theorem after another, every variant on each."""

    def __init__(
        self,
        index: LibraryIndex,
        weights: DenseWeights | None,
        run: Path | None,
        chosen: Sequence[Variant],
        calls: int,
        kept: Sequence[Result],
        record: Path | None,
        minutes: float | None,
        processes: int,
    ) -> None:
        """`kept`: what a record holds, of which this goes on with what was found under the same settings."""
        self.index, self.run_folder, self.chosen, self.calls = index, run, chosen, calls
        self.record, self.processes = record, processes
        self.until = time.monotonic() + 60 * minutes if minutes is not None else None
        self.lean, self.steps, self.lean_s = "", 0, 0.0
        self.explorer = Explorer(index, 0, OFFERED)
        self.model: Any = None
        self.value = False
        """Whether the run searched with the model's value."""
        self.ranker: TacticRanker | None = None
        self.ranked = self.explorer
        if any(v.model for v in chosen):
            from prover.models.transformer import LanguageModelPolicy

            assert run is not None
            checkpoint = find_checkpoint(run)
            self.value = read_manifest(checkpoint).value
            self.model = LanguageModelPolicy.load(checkpoint, threads=1)
            beside = read_manifest(checkpoint).ranker_file
            self.ranker = TacticRanker.load(beside) if beside else None
            self.ranked = Explorer(index, 0, OFFERED, self.ranker)
        self.sources = {
            v.name: PremiseSource(
                index, OFFERED if v.retriever else 0, v.retriever or "symbols", weights if v.trained else None
            )
            for v in chosen
        }
        if fresh := [v.name for v in chosen if v.fresh]:
            read = NameObfuscator().translation.name
            self.sources |= {name: self.sources[name].renamed(read) for name in fresh}
        what = (find_runtime().name, LIMITS, OFFERED, calls, SearchConfig(), EXPLORER_WEIGHT, _learned(run), self.value)
        self.settings = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
        self.results = [r for r in kept if r.settings == self.settings]
        self._done = {(r.theorem.name, r.variant) for r in self.results}

    def has(self, theorem: str, variant: Variant) -> bool:
        return (theorem, variant.name) in self._done

    async def run(self, theorems: Sequence[Theorem]) -> None:
        todo = [t for t in theorems if not all(self.has(t.name, v) for v in self.chosen)]
        if not todo:
            return
        gate = asyncio.Semaphore(2 * self.processes)
        async with LeanPool(self.processes, limits=LIMITS, constants=True, terse=True) as pool, Auditor() as auditor:
            self.lean = pool.runtime.name
            # Neighbours share imports, so a process needs few environments at a time; blocks, so that a part is a fair sample.
            blocks = [sorted(todo[i : i + 64], key=lambda t: t.imports) for i in range(0, len(todo), 64)]
            tasks = [asyncio.create_task(self._theorem(t, pool, auditor, gate)) for block in blocks for t in block]
            try:
                await asyncio.gather(*tasks)
            finally:
                # Before the pool closes: to a search that goes on, every step would be a crash, and that a result to record.
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            self.steps, self.lean_s = pool.steps, pool.lean_s

    async def _theorem(self, theorem: Theorem, pool: LeanPool, auditor: Auditor, gate: asyncio.Semaphore) -> None:
        async with gate:
            if self.until is not None and time.monotonic() > self.until:
                return
            shared = SharedAnswers(pool, again=("timeout", "memory", "crash"))
            try:
                root = await shared.open(theorem)
            except LeanDied:
                return  # for another time
            except LeanError as e:
                mine = [
                    Result(theorem, v.name, None, 0, verdict=f"open: {e}")
                    for v in self.chosen
                    if not self.has(theorem.name, v)
                ]
            else:
                try:
                    mine = [
                        await self._search(v, root, theorem, shared)
                        for v in self.chosen
                        if not self.has(theorem.name, v)
                    ]
                finally:
                    await shared.close()
            verdicts: dict[str, Any] = {}
            for r in mine:
                if r.script is not None:
                    if r.script not in verdicts:
                        verdicts[r.script] = await auditor.audit(theorem, r.script)
                    said = verdicts[r.script]
                    r.verdict = f"{said.verdict}: {said.reason}"[:300] if said.reason else said.verdict
                    r.used = list(said.premises)
            for r in mine:
                r.settings = self.settings
            self.results += mine
            self._done |= {(r.theorem.name, r.variant) for r in mine}
            write(self.record, mine)

    async def _search(self, v: Variant, root: Any, theorem: Theorem, shared: SharedAnswers) -> Result:
        model: Any = (
            FreshNamesPolicy(self.model, types=self.model.prompter.config.show_types) if v.fresh else self.model
        )
        ranked = Explorer(self.index, 0, OFFERED, self.ranker, obfuscator=model.obfuscator) if v.fresh else self.ranked
        policy: Any = ExploringPolicy(model, ranked) if v.model else self.explorer
        config = SearchConfig(
            in_flight=1, suggestions=32 if v.model else 64, max_expansions=8, model_thread=False, questions=v.questions
        )
        search = Search(
            root,
            shared,
            policy,
            model if v.model and self.value else None,
            config=config,
            premises=self.sources[v.name].for_theorem(theorem.imports),
        )
        try:
            result = await search.run(Budget(lean_calls=self.calls))
            script = await checked_script(result.proof, checker(shared, root)) if result.proof is not None else None
        finally:
            await search.close()
        return Result(theorem, v.name, result.lean_calls_to_solve, result.lean_calls, script)


def gains(curves: dict[str, Any]) -> dict[str, Any]:
    """What premises gain the trained prover at each budget: `true_names` and `fresh_names` as differences of shares solved, and
    `lost`, the part of the former that the latter lacks (None where there is no gain to lose); `times` as many are solved with
    premises as without, under true names. Empty without a model."""
    with_premises = [
        v for v in curves if v.startswith("trained, ") and v + FRESH in curves and v != "trained, no premises"
    ]
    pairs = [(v + end, f"trained, no premises{end}") for v in with_premises for end in ("", FRESH)]
    if len(pairs) != 2 or not all(v in curves for pair in pairs for v in pair):
        return {}
    found: dict[str, Any] = {}
    for budget in curves[pairs[0][0]]:
        true, fresh = (
            (curves[v][budget]["solved"] - curves[none][budget]["solved"]) / curves[v][budget]["total"]
            for v, none in pairs
        )
        found[budget] = {
            "true_names": round(true, 4),
            "fresh_names": round(fresh, 4),
            "lost": round(1 - fresh / true, 4) if true > 0 else None,
            "times": round(curves[pairs[0][0]][budget]["solved"] / without, 2)
            if (without := curves[pairs[0][1]][budget]["solved"])
            else None,
        }
    return found


def compared(
    chosen: Sequence[Variant], results: Sequence[Result], names: set[str], budgets: Sequence[int]
) -> dict[str, Any]:
    """What training adds on the same theorems: the retriever's, all else the same, and the whole learned prover's, with the same premises.

    `trained against untrained` → budget → how many only the one and only the other solves, and the difference of the shares
    solved with its 95 % interval.
    """
    pairs = [
        (v, u)
        for v in chosen
        for u in chosen
        if v.questions == u.questions
        and v.retriever == u.retriever
        and (
            (v.trained, v.model, u.trained, u.model, v.fresh)
            in ((True, False, False, False, False), (u.trained, True, u.trained, False, False))
        )
    ]
    solved: dict[str, dict[str, int]] = {}
    for r in results:
        if r.theorem.name in names and r.verdict == "proved" and r.calls is not None:
            solved.setdefault(r.variant, {})[r.theorem.name] = r.calls
    found: dict[str, Any] = {}
    for v, u in pairs:
        rows = found[f"{v.name} against {u.name}"] = {}
        for budget in budgets:
            first, second = ({n for n, calls in solved.get(x.name, {}).items() if calls <= budget} for x in (v, u))
            a, b = len(first - second), len(second - first)
            low, high = paired_difference(a, b, len(names))
            rows[str(budget)] = {
                "only_trained": a,
                "only_untrained": b,
                "total": len(names),
                "difference": round((a - b) / max(len(names), 1), 4),
                "low": round(low, 4),
                "high": round(high, 4),
            }
    return found
