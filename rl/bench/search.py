"""Searches compared per Lean call: `turnstile bench search`.

Same theorems, same policy, same seeds; only the search differs. One search with the largest budget gives the whole
curve: a theorem counts as solved at a budget when the search had a proof within so many Lean calls. All searches on a
theorem share Lean's answers (`answers`), which changes no result and saves most of the time; how busy Lean and the
models are is therefore measured apart, without that (`overlap`). Proofs are not audited here: every search's proofs
come from the same policy.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from prover.errors import UserError
from prover.lean.answer_cache import Lean
from prover.lean.pool import LeanPool
from prover.lean.runtime import find_runtime
from prover.lean.server import LeanDied, LeanError, Limits
from prover.lean.steps import SEARCH_HEARTBEATS
from prover.lean.theorem import Theorem
from prover.models.base import Policy, Value
from prover.models.manifest import read_manifest
from prover.models.mixture import EXPLORER_WEIGHT, ExploringPolicy
from prover.models.ranker import TacticRanker
from prover.models.size_value import SizeValue
from prover.models.tactic_templates import FLOOR, Explorer
from prover.premises.index import LibraryIndex
from prover.premises.retrieve import PremiseSource
from prover.search import Budget, Search, SearchConfig
from rl.bench.answers import Answers, NoLean
from rl.bench.curves import Line, curves
from rl.bench.overlap import no_overlap, overlap
from rl.bench.remembered import Recorded, Remembered, remembered_premises
from rl.bench.variants import SEARCHES, Variant, variants

PREMISES = 6
LIMITS = Limits(heartbeats=SEARCH_HEARTBEATS)


@dataclass(frozen=True)
class Comparison:
    """What to compare, on what."""

    theorems: Sequence[Theorem]
    index: LibraryIndex
    checkpoint: Path | None = None
    """A trained model's folder: the policy is the model mixed with the explorer. None: the explorer alone."""
    searches: Sequence[str] = ()
    """As `variants` reads them; empty: all that the policy allows."""
    budgets: Sequence[int] = (16, 64, 256, 1024)
    seeds: Sequence[int] = (0, 1, 2)
    record: Path | None = None
    """A folder that keeps answers and results: what it has is not done again."""
    recorded: bool = False
    """Ask Lean nothing: searches see only tactics whose answers `record` holds. A world smaller than the real one, shaped
    like it, in which many settings can be compared in minutes; what does well there is to be measured for real. Theorems
    without a proof in the record are left out."""
    minutes: float | None = None
    """Begin no theorem later than this. The totals are of the theorems that were done."""
    overlap_theorems: int = 12
    processes: int = 2
    concurrent: int = 4
    """Theorems under way at once, so that each Lean process has work."""
    say: Callable[[str], None] = field(default=lambda text: None)


class Models:
    """The policy and the values of a comparison."""

    def __init__(self, index: LibraryIndex, checkpoint: Path | None) -> None:
        self.index = index
        self.trained: Any = None
        self._ranker: TacticRanker | None = None
        self._explorers: dict[int, Explorer] = {}
        self.tag = "explorer"
        if checkpoint is not None:
            from prover.models.transformer import LanguageModelPolicy, ModelFolderError

            try:
                self.trained = LanguageModelPolicy.load(checkpoint, threads=1)
            except ModelFolderError as e:
                raise UserError(f"--checkpoint {e}") from None
            weights = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
            self.tag = f"model {weights[:16]}"
            beside = read_manifest(checkpoint).ranker_file
            self._ranker = TacticRanker.load(beside) if beside else None

    @property
    def base(self) -> SearchConfig:
        """Settings that go with the policy: one walk at a time, so that a search repeats itself."""
        trained = self.trained is not None
        return SearchConfig(in_flight=1, suggestions=32 if trained else 64, model_thread=trained)

    def policy(self, seed: int, trained: Any) -> Policy:
        if seed not in self._explorers:
            self._explorers[seed] = Explorer(self.index, seed, PREMISES, self._ranker)
        explorer = self._explorers[seed]
        if trained is None:
            return explorer
        return ExploringPolicy(trained, explorer)

    def value(self, kind: str, trained: Any) -> Value | None:
        return {"none": None, "model": trained, "size": SizeValue()}[kind]


async def bench_search(c: Comparison) -> dict[str, Any]:
    """Keys: those of `curves`, `utilisation` and `orchestration_share` by search name (see `overlap`; empty where it was not
    measured), `lean_steps` that answered the searches' calls, and what was compared. UserError for searches that cannot be."""
    models = Models(c.index, c.checkpoint)
    chosen = _chosen(c, models)
    if c.recorded:
        if c.record is None or not (c.record / "answers").is_dir():
            raise UserError("--recorded uses what an earlier run kept: give its --record FOLDER")
        run = _Run(c, models, chosen, NoLean(), find_runtime().name)
        await run.all()
        return {**run.figures(), **no_overlap()}
    async with LeanPool(c.processes, limits=LIMITS, constants=True, terse=True) as pool:
        run = _Run(c, models, chosen, pool, pool.runtime.name)
        await run.all()
        busy = no_overlap()
        if c.overlap_theorems:
            sample = c.theorems[: c.overlap_theorems]
            busy = await overlap(sample, models, chosen, pool, PremiseSource(c.index, PREMISES), max(c.budgets))
    return {**run.figures(), **busy}


def _chosen(c: Comparison, models: Models) -> list[Variant]:
    names = c.searches or [s for s in SEARCHES if models.trained is not None or s != "puct_value"]
    chosen = variants(names, models.base)
    if models.trained is None and any(v.value == "model" for v in chosen):
        raise UserError("a search with the model's value needs a model: give --checkpoint FOLDER, or say puct_size")
    return chosen


class _Run:
    """Every search on every theorem, what was done before left out."""

    def __init__(self, c: Comparison, models: Models, chosen: Sequence[Variant], lean: Lean, lean_name: str) -> None:
        self.c, self.models, self.chosen, self.lean, self.lean_name = c, models, chosen, lean, lean_name
        self.source = PremiseSource(c.index, PREMISES)
        self.lines: list[Line] = []
        self.failed = 0
        """Theorems that Lean did not open, or on which its processes kept dying."""
        self.asked = 0
        self.seconds = 0.0
        self._digests = {v.name: self._digest(v) for v in chosen}
        self._done: dict[tuple[str, str, int], Line] = {}
        if c.record is not None and not c.recorded:
            c.record.mkdir(parents=True, exist_ok=True)
            self._done = {(x.theorem, x.settings, x.seed): x for x in _stored(c.record / "results.jsonl")}

    def _digest(self, v: Variant) -> str:
        what = (self.lean_name, self.models.tag, LIMITS, PREMISES, EXPLORER_WEIGHT, FLOOR, v.config, v.value)
        return hashlib.sha256(repr((*what, max(self.c.budgets))).encode()).hexdigest()[:16]

    def figures(self) -> dict[str, Any]:
        """What `bench_search` gives, but for how busy things were."""
        figures = curves(self.lines, self.c.budgets)
        return {
            **figures,
            "policy": str(self.c.checkpoint or "explorer"),
            "lean": self.lean_name,
            "recorded": self.c.recorded,
            "left_out": len(self.c.theorems) - figures["theorems"] - self.failed,
            "failed": self.failed,
            "lean_calls": sum(x.calls for x in self.lines),
            "lean_steps": self.asked,
            "seconds": round(self.seconds, 1),
        }

    async def all(self) -> None:
        began = time.monotonic()
        todo = iter(enumerate(self.c.theorems, 1))
        await asyncio.gather(*(self._work(todo, began) for _ in range(self.c.concurrent)))
        self.seconds = time.monotonic() - began

    async def _work(self, todo: Iterator[tuple[int, Theorem]], began: float) -> None:
        for i, theorem in todo:
            if self.c.minutes is not None and time.monotonic() - began > 60 * self.c.minutes:
                return
            kept = self._answers_file(theorem)
            if self.c.recorded and not _provable(theorem, kept):
                continue
            lines = await self._theorem(theorem, kept)
            if lines is None:
                self.failed += 1
                continue
            self.lines += lines
            minutes = (time.monotonic() - began) / 60
            solved = sum(x.solved_at is not None for x in lines)
            self.c.say(f"{i}/{len(self.c.theorems)}  {theorem.name}: {solved} of {len(lines)}  ({minutes:.1f} min)")

    async def _theorem(self, theorem: Theorem, kept: Path | None) -> list[Line] | None:
        """All searches on one theorem; None where Lean fails. Results are kept once all are there."""
        wanted = [(v, s) for s in self.c.seeds for v in self.chosen]
        lines: list[Line] = []
        fresh: list[Line] = []
        answers = Answers(theorem, self.lean)
        premises = remembered_premises(self.source.for_theorem(theorem.imports))
        trained = Remembered(self.models.trained, answers, self.models.tag) if self.models.trained is not None else None
        try:
            for v, seed in wanted:
                known = self._done.get((theorem.name, self._digests[v.name], seed))
                if known is not None:
                    lines.append(msgspec.structs.replace(known, search=v.name))
                    continue
                if kept is not None and not fresh:
                    answers.load(kept)
                line = await self._search(theorem, answers, v, seed, trained, premises)
                if line is None:
                    return None
                lines.append(line)
                fresh.append(line)
        finally:
            self.asked += answers.asked
            if kept is not None and answers.changed and not self.c.recorded:
                answers.save(kept)
            await answers.close()
        if fresh and self.c.record is not None and not self.c.recorded:
            with (self.c.record / "results.jsonl").open("ab") as f:
                f.write(b"".join(msgspec.json.encode(x) + b"\n" for x in fresh))
        return lines

    async def _search(
        self, theorem: Theorem, answers: Answers, v: Variant, seed: int, trained: Any, premises: Any
    ) -> Line | None:
        try:
            root = await _patiently(answers.root)
        except (LeanError, LeanDied) as e:
            self.c.say(f"{theorem.name}: {e}")
            return None
        policy = self.models.policy(seed, trained)
        if self.c.recorded:
            policy = Recorded(policy, answers)
        value = self.models.value(v.value, trained)
        search = Search(root, answers, policy, value, config=replace(v.config, seed=seed), premises=premises)
        try:
            result = await search.run(Budget(lean_calls=max(self.c.budgets)))
        finally:
            await search.close()
        if result.outcome == "error":
            self.c.say(f"{theorem.name}: {result.message}")
            return None
        steps = result.proof.size if result.proof is not None else None
        return Line(
            theorem.name,
            v.name,
            seed,
            self._digests[v.name],
            result.outcome,
            result.lean_calls,
            result.lean_calls_to_solve,
            steps,
        )

    def _answers_file(self, theorem: Theorem) -> Path | None:
        if self.c.record is None:
            return None
        name = hashlib.sha256(f"{self.lean_name} {LIMITS} {theorem}".encode()).hexdigest()[:24]
        return self.c.record / "answers" / f"{name}.msgpack.gz"


def _provable(theorem: Theorem, kept: Path | None) -> bool:
    """Whether a record holds a proof: where it holds none, no search can find one in it."""
    answers = Answers(theorem, NoLean())
    if kept is not None:
        answers.load(kept)
    return answers.holds_proof()


async def _patiently(open_: Callable[[], Any], chances: int = 3) -> Any:
    """Opening costs nothing but time: a process that died of something else is not the theorem's fault."""
    for chance in range(1, chances + 1):
        try:
            return await open_()
        except LeanDied:
            if chance == chances:
                raise


def _stored(path: Path) -> Iterator[Line]:
    """Results of earlier runs; a line cut off by a kill is left out."""
    if not path.exists():
        return
    for raw in path.read_bytes().splitlines():
        try:
            yield msgspec.json.decode(raw, type=Line)
        except msgspec.MsgspecError:
            continue
