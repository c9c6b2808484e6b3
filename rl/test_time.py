"""Learning at test time: a training run on theorems that a search left open and on variants of them, until they are proved.

The method is AlphaProof's test-time RL (Hubert et al., Nature 2025). `turnstile prove --learn` uses it; `learn_to_prove` does the same
for theorems in Python. It is an ordinary training run: `turnstile report` and `turnstile train --resume` read its folder.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from curricula.variants import TARGET, Variant, made
from prover.console import one_line, plain, say
from prover.errors import UserError
from prover.files import cache_dir, write_whole
from prover.jsonl import jsonl_rows
from prover.lean.theorem import Theorem
from prover.models.elementary import Actions
from prover.models.manifest import find_checkpoint, read_manifest
from prover.solve.batch import Target, task_of
from prover.solve.learning import Learned, Learner, LearnOptions
from prover.solve.ledger import Attempt, Ledger
from prover.solve.session import workers_for
from prover.solve.theorem_rows import theorem_of_row, usable_context
from rl import config as config_module
from rl.config import EvalConfig, RunConfig, TheoremsConfig
from rl.start import sizes_of

THEOREMS = "theorems.jsonl"
"""The file in the run's folder with the targets and variants: a data set."""
ROUNDS = 100
"""More rounds than a run has time for, because the time limit or the last proof ends it."""
MOST_VARIANTS = 400
"""Maximum number of variants of each target."""
LEAST_VARIANTS = 10
"""Minimum number of variants of each target, before the maximum."""
VARIANTS_PER_MINUTE = 15
"""Variants of all targets together for each minute of learning."""
MAKING = 0.2
"""Share of the time for making variants."""
CYCLES = 12
"""A round's training takes at most this fraction of the time: 1 / CYCLES."""
GROWTH = 16
"""Maximum Lean calls of a target's try, as a multiple of those that the search had."""
EARLIER = 0.5
"""Share of the examples that come from the run that learning starts from."""
MODELS = ("vllm:", "hf:", "openai:", "http://", "https://")


def learner(options: LearnOptions) -> Learner:
    """The learner of `turnstile prove --learn`. Raises UserError for options that do not describe one."""
    return TargetLearner(options)


def learn_to_prove(
    theorems: Sequence[Theorem],
    minutes: float,
    *,
    policy: str = "explorer",
    out: str | Path | None = None,
    settings: str | Path | RunConfig | None = None,
    variants: int = 0,
    budget: int = 64,
    resume: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Learn on theorems and their variants until all are proved, without a search before.

    Args:
        theorems: the theorems, with distinct names and statements in source.
        minutes: wall-clock limit.
        policy: what learning starts from: the folder of a run, `explorer` or `portfolio` (from nothing).
        out: folder of the run. Default: a new one in the cache.
        settings: a configuration, a TOML file or a stage, for learning from nothing.
        variants: maximum number of variants of a theorem. 0: 15 per minute for all theorems together, at least 10 and at most 400 of each.
        budget: Lean calls. The targets' tries get at most 16 times as many.
        resume: continue the run in `out`.
        seed: random seed.

    Returns:
        `folder`, `rounds`, `lean_calls`, `variants`, `variants_proved`, `interrupted`, `reason` (of an early end, or empty), and `targets`,
        each with `name`, `proved` (an audited proof, or None), `round`, `left_out` (why it was not learned on, or empty) and
        `variants_proved`: `name`, `kind`, `parent`, `statement` and `proof` of each.

    Raises UserError for bad input.
    """
    own = Path(settings) if isinstance(settings, str) else settings
    options = LearnOptions(
        minutes,
        policy,
        Path(out) if out is not None else None,
        resume,
        own if isinstance(own, Path) else None,
        variants,
        budget,
        seed=seed,
    )
    if not minutes > 0 or not theorems:
        raise UserError(
            f"minutes={minutes:g}: must be more than 0" if theorems else "theorems: there are none to prove"
        )
    own_learner = TargetLearner(options, own if isinstance(own, RunConfig) else None)
    learned = own_learner.learn([Target(task_of(i, t), 0) for i, t in enumerate(theorems)])
    return {**learned.document, "interrupted": learned.interrupted}


def start_from(policy: str, settings: RunConfig | None) -> RunConfig:
    """The settings of a run that learns from a policy, except theorems and limits. Raises UserError for a policy that cannot learn."""
    names = [name.strip() for name in policy.split(",") if name.strip()]
    if served := next((n for n in names if n.startswith(MODELS)), None):
        raise UserError(
            f"--learn: {served} is a served model and cannot learn; name the folder of a run, explorer or portfolio"
        )
    runs = [n for n in names if n != "portfolio" and n.split("?")[0] != "explorer"]
    if len(runs) > 1:
        raise UserError(f"--learn: {' and '.join(runs)} are several models; name one of them to start from")
    if not runs:
        actions: Actions = "elementary" if any("actions=elementary" in n for n in names) else "full"
        plainly = RunConfig()
        bounded = replace(plainly.prover, actions=actions, strict=actions == "elementary")
        return settings or replace(plainly, prover=bounded)
    if settings is not None:
        raise UserError(f"--learn-settings: learning uses the settings of {runs[0]}; omit this option")
    manifest = read_manifest(find_checkpoint(Path(runs[0])))
    if manifest.run is None:
        raise UserError(
            f"--learn: {runs[0]} is not in the folder of a run, whose settings are needed; name such a folder"
        )
    config, checkpoint = config_module.load(manifest.run / "config.toml"), str(manifest.folder.absolute())
    if manifest.template:
        serve = replace(config.serve, start=checkpoint, template=manifest.template)
        return replace(config, serve=serve)
    model = replace(config.model, **sizes_of(manifest.folder), start=checkpoint)
    return replace(config, model=model, replay=replace(config.replay, start_share=EARLIER))


def run_config(
    base: RunConfig, folder: Path, targets: Sequence[str], minutes: float, options: LearnOptions
) -> RunConfig:
    """The configuration of a run in `folder`, whose theorems are in THEOREMS there."""
    learn, match, ray = base.learn, base.matchmaker, base.ray
    most = max(1.0, 60 * minutes / CYCLES)
    address = options.ray if options.ray is not None and options.ray != "local" else ""
    provers = options.workers or (base.prover.provers if address else workers_for(0, 16))
    return replace(
        base,
        name=folder.name,
        runs=str(folder.parent),
        seed=options.seed,
        max_minutes=minutes,
        theorems=TheoremsConfig(
            files=(str(folder / THEOREMS),), targets=tuple(targets), target_calls=2 * options.budget
        ),
        prover=replace(base.prover, provers=provers, rule=options.rule or base.prover.rule),
        learn=replace(
            learn,
            rounds=ROUNDS,
            keep=2,
            extracted="",
            # The first proofs to learn from cost the explorer more calls than a trained model.
            first_calls=learn.calls if base.has_model else max(learn.first_calls, options.budget),
            seconds=min(learn.seconds, most),
            ranker_seconds=min(learn.ranker_seconds, most / 2),
            assessor_seconds=min(learn.assessor_seconds, most / 4),
        ),
        matchmaker=replace(match, max_calls=max(match.max_calls, GROWTH * options.budget)),
        ray=replace(ray, address=address, elastic=ray.elastic and bool(address)),
        eval=EvalConfig(baselines=False),
    )


class TargetLearner:
    """Learns on targets, in the folder of a run."""

    def __init__(self, options: LearnOptions, settings: RunConfig | None = None) -> None:
        """`settings`: used if `options.settings` names no file. Raises UserError for options that do not describe a run."""
        self.options = options
        if options.settings is not None:
            settings = config_module.load(options.settings)
        self.start = start_from(options.policy, settings)
        self.resumed = False
        if options.out is not None and options.out.exists():
            if not options.out.is_dir():
                raise UserError(f"--learn-out {options.out}: is a file; name a folder")
            self.resumed = options.resume and (options.out / "ledger.sqlite").exists()
            if not self.resumed and not options.resume and any(options.out.iterdir()):
                raise UserError(
                    f"--learn-out {options.out}: is not empty; continue with --resume, or name another folder"
                )
            if self.resumed and not (options.out / THEOREMS).is_file():
                raise UserError(f"--learn-out {options.out}: is another run; name a folder that --learn wrote")

    def learn(self, targets: Sequence[Target]) -> Learned:
        """Learn until all targets are proved, or the time is over. Ctrl-C ends it earlier. Raises UserError if the folder cannot be created;
        other errors end learning, and `reason` of the result's document has them."""
        began = time.monotonic()
        folder = self._folder()
        run = _Targets(folder)
        interrupted, reason = False, ""
        try:
            if not self.resumed:
                run.make(targets, self.options)
            if names := run.names(targets):
                self._train(folder, names, self.options.minutes - (time.monotonic() - began) / 60)
        except KeyboardInterrupt:
            interrupted = True
        except UserError as error:
            reason = one_line(str(error))
            say(f"turnstile: learning ended: {reason}")
        learned = run.learned(targets, interrupted)
        learned.document["reason"] = reason
        return learned

    def _folder(self) -> Path:
        if (folder := self.options.out) is None:
            place = cache_dir() / "learned"
            place.mkdir(parents=True, exist_ok=True)
            folder = Path(mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=place))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--learn-out {folder}: cannot create the folder: {error.strerror}") from None
        return folder.absolute()

    def _train(self, folder: Path, names: Sequence[str], minutes: float) -> None:
        from rl.loop import Trainer  # takes seconds to import
        from rl.plan import plan

        if self.resumed:
            with Ledger.open(folder, readonly=True) as ledger:
                spent = (ledger.get("seconds") or 0.0) / 60
            trainer = Trainer.resume(folder, settings=(f"max_minutes={spent + minutes}",))
        else:
            config = run_config(self.start, folder, names, max(0.0, minutes), self.options)
            plan(config)
            trainer = Trainer(config)
        trainer.run()


class _Targets:
    """The targets and variants of a run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / THEOREMS
        self.rows: list[dict[str, Any]] = [row for row, _ in jsonl_rows(path)] if path.is_file() else []
        self.left_out: dict[str, str] = {}
        """Task key -> the reason why the run does not learn on it, or why it has no variants."""

    def make(self, targets: Sequence[Target], options: LearnOptions) -> None:
        by_time = min(MOST_VARIANTS, max(LEAST_VARIANTS, round(VARIANTS_PER_MINUTE * options.minutes / len(targets))))
        maker = asyncio.run(made(targets, options.variants or by_time, options.seed, 60 * MAKING * options.minutes))
        self.left_out = dict(maker.left_out)
        tasks = {maker.targets[t.task.key][0]: t for t in targets if t.task.key in maker.targets}
        self.rows = []
        for variant in maker.found:
            row = _row(variant)
            if (target := tasks.get(variant.theorem.name)) is not None:
                row |= {"task": _fingerprint(target), "first": maker.targets[target.task.key][1].before}
                row["lean_calls"] = maker.lean_calls.get(row["name"], 0)
            if _reads_back(row, variant.theorem):
                self.rows.append(row)
            elif target is not None:
                self.left_out[target.task.key] = "its statement cannot be written as a row of a data set"
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows)
        write_whole(self.folder / THEOREMS, text.encode("utf-8", "replace"))
        for key, why in self.left_out.items():
            say(f"turnstile: {plain(key)}: {plain(why)}")
        say(
            f"turnstile: {len(self.rows) - len(tasks)} variants of {len(tasks)} theorems are in {plain(str(self.folder))}"
        )

    def names(self, targets: Sequence[Target]) -> list[str]:
        """Names of the targets in the run."""
        return [row["name"] for t in targets if (row := self._row_of(t)) is not None]

    def _row_of(self, target: Target) -> dict[str, Any] | None:
        known = _fingerprint(target)
        return next((row for row in self.rows if row.get("task") == known), None)

    def learned(self, targets: Sequence[Target], interrupted: bool) -> Learned:
        """The proofs of targets and variants in the run's ledger."""
        attempts: list[Attempt] = []
        lean_calls, learned = sum(row.get("lean_calls", 0) for row in self.rows), 0
        if (self.folder / "ledger.sqlite").exists():
            with Ledger.open(self.folder, readonly=True) as ledger:
                attempts = [a for a in ledger.attempts() if a.phase.startswith("round ")]
                lean_calls, learned = lean_calls + ledger.training_calls(), ledger.learned()
        proofs: dict[str, Attempt] = {}
        for attempt in attempts:
            if attempt.outcome == "proved" and attempt.script is not None:
                proofs.setdefault(attempt.theorem.name, attempt)
        variants = [row for row in self.rows if row["kind"] != TARGET]
        proved = [{**_shown(row), "proof": proofs[row["name"]].script} for row in variants if row["name"] in proofs]
        figures = {"variants": len(variants), "variants_proved": len(proved), "lean_calls": lean_calls}
        found: dict[str, tuple[str, dict[str, Any]]] = {}
        rows = []
        for target in targets:
            key, row = target.task.key, self._row_of(target)
            attempt = proofs.get(row["name"]) if row is not None else None
            entry = {"name": target.task.theorem.name, "proved": None, "round": None}
            if row is not None and attempt is not None and attempt.script is not None:
                script = "\n".join(line for line in (row["first"], attempt.script) if line)
                number = int(attempt.phase.removeprefix("round "))
                found[key] = script, {"folder": str(self.folder), "round": number, **figures}
                entry |= {"proved": script, "round": number}
            here = [{k: v for k, v in p.items() if k != "target"} for p in proved if row and p["target"] == row["name"]]
            why = self.left_out.get(key, "" if row else "it is not in this folder")
            rows.append({**entry, "left_out": why, "variants_proved": here})
        document = {"folder": str(self.folder), "rounds": learned, **figures, "targets": rows}
        return Learned(found, document, interrupted)


def _row(variant: Variant) -> dict[str, Any]:
    """The row of a data set. `kind`, `target` and `parent` give the origin of a variant. A statement with a column is written as an
    example that has it at this column."""
    t = variant.theorem
    statement = t.statement if t.column is None else f"example\n{' ' * t.column}{t.statement}"
    own = {"name": t.name, "statement": statement, "context": t.context, "imports": list(t.imports)}
    return {**own, "kind": variant.kind, "target": variant.target, "parent": variant.parent}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("name", "kind", "parent", "target", "statement")}


def _fingerprint(target: Target) -> str:
    """Hash of a task's key and statement."""
    task = target.task
    states = task.sorry.file.text.body if task.sorry is not None else replace(task.theorem, source="")
    return hashlib.sha256(repr((task.key, states)).encode()).hexdigest()[:16]


def _reads_back(row: dict[str, Any], theorem: Theorem) -> bool:
    """Whether a data set with this row contains the theorem unchanged, except for a usable context."""
    try:
        found = theorem_of_row(row, "variants")
    except UserError:
        return False
    statement, context = (theorem.statement or "").strip(), theorem.context
    if theorem.column is not None:  # the row is Lean source
        context = usable_context(context, statement)
    return (found.name, found.statement, found.column, found.context.strip(), set(found.imports)) == (
        theorem.name,
        statement,
        theorem.column,
        context.strip(),
        set(theorem.imports),
    )
