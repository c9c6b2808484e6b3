"""The training loop: evaluate baselines, search and train in rounds, evaluate the trained prover.

Each step is a phase, and each attempt is recorded in the ledger at once. A resumed run skips the recorded attempts. Randomness
depends only on the seed and the position in the run.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from curricula.sampler import Assignment, CurriculumSampler, Try
from prover import logs
from prover.errors import UserError
from prover.files import write_whole
from prover.lean.runtime import find_runtime
from prover.lean.theorem import Theorem
from prover.premises.index import library_index
from prover.solve.ledger import Attempt, Ledger
from prover.solve.negation import negation
from rl import config as config_module
from rl import rewards, run_summary, training_examples
from rl.actors.dispatch import Finished, attempt_of, judge
from rl.actors.fleet import Fleet
from rl.algorithms.gradient_settings import PRESETS, settings_of
from rl.attempt import Task
from rl.candidate import BASELINES
from rl.changes import changed
from rl.config import RunConfig
from rl.learning import Learning
from rl.metrics import compute, rounds
from rl.metrics.alerts import alerts
from rl.metrics.round_metrics import RoundMetrics, row_of
from rl.metrics.tracking import Tracker
from rl.plan import needs
from rl.theorem_splits import theorems_of
from rl.versions import versions

T = TypeVar("T")


class Trainer:
    """A training run in its folder. `run` does the remaining work; a new Trainer on the same folder resumes it."""

    def __init__(self, config: RunConfig, quiet: bool = False, changes: Sequence[str] = ()) -> None:
        """`changes`: those since the run was last started, to be recorded."""
        self.config, self.changes = config_module.check(config), changes
        self.folder = config.folder
        self.runtime = find_runtime()
        self.index = library_index()
        theorems = theorems_of(config.theorems, self.index, config.eval.validation)
        self.train_set, self.held_out, self.validation = theorems.train, theorems.held_out, theorems.validation
        if missing := needs(config, theorems)["missing"]:
            raise UserError(missing[0])
        self._near_copies = theorems.near_copies
        fresh = not (self.folder / "ledger.sqlite").exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"{self.folder}: another process is working on this run; wait for it or stop it") from None
        if fresh or changes:  # before the ledger: a run that is killed here starts anew
            write_whole(self.folder / "config.toml", config_module.dump(config).encode())
        self.ledger = Ledger(self.folder / "ledger.sqlite")
        if changes:
            self.ledger.set("changes", [*(self.ledger.get("changes") or []), *changes])
        logs.to_file(self.folder / "logs" / "driver.log")
        self.versions = versions(self.runtime.name)
        self.ledger.set("versions", self.versions)
        self.tracker = Tracker(self.folder, config, self.versions, self.ledger.logged(), quiet)
        self.fleet = Fleet(config, self.folder, self.tracker.say)
        self.learning = Learning(config, self.folder, self.ledger, self.index, self.fleet, self.tracker.say)
        self.best: dict[str, int] = {}
        """Tactics in the shortest audited proof of each theorem."""
        for a in self.ledger.attempts():
            if a.outcome == "proved" and "steps" in a.stats and not a.phase.startswith("eval "):
                self.best[a.theorem.name] = min(a.stats["steps"], self.best.get(a.theorem.name, a.stats["steps"]))
        self.began = time.monotonic() - (self.ledger.get("seconds") or 0.0)

    @classmethod
    def resume(cls, folder: Path, quiet: bool = False, settings: tuple[str, ...] = ()) -> Trainer:
        """Resume the run in `folder`. `settings`: changes of its configuration, as for `config.override`.

        Raises UserError if there is no run, its format is not supported, or a setting may not change.
        """
        if not (folder / "ledger.sqlite").exists():
            raise UserError(f"{folder}: no run here (no ledger.sqlite); name a folder under runs/")
        learned = 0
        if Ledger.begun(folder / "ledger.sqlite"):
            ledger = Ledger(folder / "ledger.sqlite", readonly=True)
            learned = ledger.learned()
            ledger.close()
        saved = config_module.load(folder / "config.toml")
        saved = replace(saved, runs=str(folder.parent), name=folder.name)
        wanted = config_module.override(saved, settings)
        return cls(wanted, quiet, changed(saved, wanted, learned))

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Do the remaining work. Returns the summary, which is also in `summary.json`. Raises UserError."""
        c = self.config
        self.tracker.say(
            f"[bold]turnstile[/bold] run [cyan]{self.folder}[/cyan] on {self.runtime.name}: train on "
            f"{len(self.train_set)} theorems, evaluate on {len(self.held_out)} held-out theorems"
        )
        for change in self.changes:
            self.tracker.say(f"changed: {change}")
        if self._near_copies:
            self.tracker.say(
                f"{self._near_copies} theorems that nearly repeat an evaluated one are left out of training"
            )
        try:
            self.fleet.start()
            self.learning.restore()
            learned = self.ledger.learned()
            if (version := self.fleet.resume()) < learned:
                raise UserError(
                    f"{self.folder}/checkpoints: the newest checkpoint is of round {version}, but the run has trained {learned} "
                    "rounds; restore the folder, and on a cluster store it where every machine can read it"
                )
            if c.eval.baselines:
                for baseline, what in BASELINES.items():
                    if baseline == "shuffled" and c.prover.actions == "elementary":
                        continue  # their weights are equal: the explorer is this baseline
                    self._measure(baseline, f"baseline: {what}")
            if c.eval.validation:
                self._validate(0)
            for r in range(1, c.learn.rounds + 1):
                begun = self.ledger.done(f"round {r}") or self.ledger.get(f"learned {r}") is not None
                if r > 1 and self.elapsed > 60 * c.max_minutes and not begun:
                    self.tracker.say(
                        f"round {r} skipped: the time limit max_minutes is reached ({self.elapsed / 60:.0f} min)"
                    )
                    break
                self._round(r)
            self._keep_earlier_measurements()
            self._measure("model", "trained prover")
            if c.eval.rollouts:
                self._sample()
            return run_summary.finish(c, self.ledger, self.tracker, len(self.held_out), self.elapsed, self.runtime.name)
        finally:
            self.ledger.set("seconds", self.elapsed)
            self.fleet.close()
            self.tracker.close()
            self._lock.release()

    @property
    def elapsed(self) -> float:
        """Seconds of work on this run, summed over its starts."""
        return time.monotonic() - self.began

    def _round(self, r: int) -> None:
        if self.ledger.get(f"learned {r}") is None:
            self._collect_and_learn(r)
        self._validate(r)
        if self._log(f"round {r}", r, row_of(r, self.ledger)):
            for alert in alerts(rounds.history(rounds.figures(self.ledger))):
                self.tracker.alert(alert)

    def _log(self, key: str, r: int, row: dict[str, float]) -> bool:
        """Log a row of round `r` in the ledger and the tracker, unless there is a row of this key. Returns whether it was new."""
        place = {"round": r, "seconds": round(self.elapsed, 1), "lean_calls": self.ledger.training_calls()}
        step = self.ledger.log(key, place | row)
        if step is not None:
            self.tracker.log(place | row, step)
        return step is not None

    def _collect_and_learn(self, r: int) -> None:
        c = self.config.learn
        known = {
            a.theorem.name for e in range(1, r) for a in self.ledger.attempts(f"round {e}") if a.outcome == "proved"
        }
        measured = RoundMetrics(r, self.fleet, self.ledger, known)
        first = r == 1 and not self.config.serve.start
        policy = "explorer" if first else "model"
        by = policy if first or c.collect == "search" else "model rollouts"
        tasks = [self._task(r, m, policy) for m in self._assignments(r)]
        self._attempts(f"round {r}", f"round {r} of {c.rounds}: {by}", tasks, r)
        self._replace_equal_groups(r, len(tasks))
        measured.collected()
        measured.learned(self.learning.learn(r))
        self.ledger.set(f"learned {r}", {"version": r})

    def _replace_equal_groups(self, r: int, groups: int) -> None:
        """Dynamic sampling (DAPO; Yu et al. 2025, section 3.2): sample further theorems while fewer than `groups` groups have unequal
        rewards, the round's Lean calls last, and there are theorems that the round did not try."""
        c = self.config
        if not c.serve.start or c.learn.algorithm not in PRESETS:
            return
        if not settings_of(c.learn.algorithm, c.gradient).dynamic_sampling:
            return
        phase = f"round {r}"
        while True:
            tried = list(self.ledger.attempts(phase))
            missing = groups - sum(a.stats.get("signal", False) for a in tried)
            names = {a.theorem.name for a in tried}
            rest = [t for t in self.train_set if t.name not in names]
            left = c.learn.calls * len(self.train_set) - sum(a.lean_calls for a in tried)
            if missing <= 0 or left <= 0 or not rest:
                return
            chosen = random.Random(f"{c.seed}/{r}/{len(tried)}").sample(rest, min(missing, len(rest)))
            tasks = [self._task(r, Assignment(t, c.learn.calls, "prove", 0.5), "model") for t in chosen]
            self._attempts(phase, f"round {r}: {len(chosen)} theorems in place of groups of equal rewards", tasks, r)

    def _assignments(self, r: int) -> list[Assignment]:
        """The assignments of a round: all theorems in the first round, later those that the sampler plans from earlier rounds."""
        c = self.config
        if r == 1:
            return [Assignment(t, c.learn.first_calls, "prove", 0.5) for t in self.train_set]
        sampler = CurriculumSampler(self.train_set, c.matchmaker, c.seed)
        for earlier in range(1, r):
            sampler.observe(
                Try(
                    a.theorem.name,
                    earlier,
                    a.outcome,
                    a.calls_to_solve,
                    a.stats.get("side", "prove"),
                    a.stats.get("calls_allowed", 0),
                )
                for a in self.ledger.attempts(f"round {earlier}")
            )
        return sampler.plan(r, c.learn.calls * len(self.train_set))

    def _task(self, r: int, assignment: Assignment, policy: str) -> Task:
        c = self.config
        sampled = c.learn.collect != "search" and policy == "model"
        rollouts = c.learn.group if sampled else 0
        against = negation(assignment.theorem) if assignment.side == "disprove" else None
        # Once per theorem, because Lean would answer the same again.
        harvest = 0 if assignment.theorem.name in self.best else c.learn.harvest
        return Task(
            assignment.theorem,
            policy,
            assignment.lean_calls,
            c.prover.explorer_weight,
            harvest,
            learn=True,
            value=self.learning.value,
            rollouts=0 if against else rollouts,
            max_tactics=c.learn.max_tactics,
            turns=0 if against else self._turns,
            draw=r - 1,
            negated=against,
        )

    @property
    def _turns(self) -> int:
        """Whole proofs in a conversation; 0 if the model says tactics."""
        return self.config.learn.turns if self.config.learn.collect == "proofs" else 0

    def _evaluation(self, theorem: Theorem, policy: str, calls: int, rollouts: int = 0, draw: int = 0) -> Task:
        """An attempt to measure a policy. `rollouts`: 0 for a search, or for as many whole proofs as Lean calls."""
        c = self.config
        turns = self._turns if policy == "model" else 0
        return Task(
            theorem,
            policy,
            calls,
            c.prover.eval_explorer_weight,
            value=self.learning.value,
            rollouts=rollouts or (calls if turns else 0),
            max_tactics=c.learn.max_tactics,
            turns=turns,
            draw=draw,
        )

    def _validate(self, r: int) -> None:
        """Evaluate the model of round `r` on the validation theorems; in round 0 what the run starts with."""
        c = self.config
        n = c.eval.validation_rollouts
        policy = "model" if r or c.serve.start else "explorer"
        calls = c.eval.validation_calls
        tasks = [self._evaluation(t, policy, calls, n if policy == "model" else 0, draw=r) for t in self.validation]
        phase = f"validation round {r}"
        self._attempts(phase, f"validation after round {r}" if r else "validation before training", tasks)
        if n and tasks and policy == "model":
            self._log_pass_rates(phase, "validation", n, r)

    def _sample(self) -> None:
        """Evaluate the model without search: rollouts on the held-out theorems."""
        c = self.config
        tasks = [self._evaluation(t, "model", c.eval.calls, c.eval.rollouts) for t in self.held_out]
        self._attempts("rollouts held-out", "trained model without search", tasks)
        self._log_pass_rates("rollouts held-out", "held-out", c.eval.rollouts, self.ledger.learned())

    def _log_pass_rates(self, phase: str, name: str, rollouts: int, r: int) -> None:
        rates = run_summary.pass_rates(self.ledger, phase, name, rollouts)
        self._log(f"{phase} after round {r}", r, rates)
        said = ", ".join(f"{key.rsplit('/', 1)[-1]} {100 * rate:.1f} %" for key, rate in rates.items())
        self.tracker.say(f"{phase}: {said}")

    def _keep_earlier_measurements(self) -> None:
        """Rename the final measurements of an earlier end of this run, if rounds were added since."""
        for phase in ("held-out model", "rollouts held-out"):
            version = max((a.model_version for a in self.ledger.attempts(phase)), default=0)
            if 0 < version < self.ledger.learned():
                self.ledger.rename(phase, f"{phase} of round {version}")

    def _measure(self, policy: str, label: str) -> None:
        if not self.held_out:
            return
        c = self.config
        tasks = [self._evaluation(t, policy, c.eval.calls) for t in self.held_out]
        self._attempts(f"held-out {policy}", label, tasks)
        summary = run_summary.held_out(self.ledger, policy, c, len(self.held_out))
        r, name = (self.ledger.learned(), "trained") if policy == "model" else (0, policy)
        row = {f"held_out/{name}": summary["solved"] / summary["total"]}
        if policy == "model":
            row |= compute.solve_rates(self.ledger.attempts("held-out model"), "held-out")
            # The baselines again, so that their curves reach as far as the trained prover's.
            for b in BASELINES:
                if self.ledger.done(f"held-out {b}"):
                    found = run_summary.held_out(self.ledger, b, c, len(self.held_out))
                    row[f"held_out/{b}"] = found["solved"] / found["total"]
        self._log(f"held-out {name} after round {r}", r, row)
        for calls, solved in summary["curve"].items():
            row = {compute.BY_CALLS: int(calls), f"held_out_by_calls/{name}": solved / summary["total"]}
            self._log(f"held-out {name} after round {r}, {calls} calls", r, row)

    # -- attempts ----------------------------------------------------------------------------------------------------

    def _attempts(self, phase: str, label: str, tasks: Sequence[Task], r: int = 1) -> None:
        """Attempt the tasks that the ledger lacks. Each is audited and recorded at once."""
        done = self.ledger.done(phase)
        todo = [t for t in tasks if t.theorem.name not in done]
        # Sorted by imports, so that each Lean process loads few environments.
        todo.sort(key=lambda t: t.theorem.imports)
        solved = sum(a.outcome == "proved" for a in self.ledger.attempts(phase))
        if not todo:
            return
        with self.tracker.progress() as progress:
            bar = progress.add_task(label, total=len(todo) + len(done), completed=len(done), solved=solved)
            for finished in self.fleet.run(todo):
                attempt = self.record(phase, finished, r)
                solved += attempt.outcome == "proved"
                progress.update(bar, advance=1, solved=solved)
        self.tracker.say(f"{label}: solved {solved} of {len(todo) + len(done)}")

    def record(self, phase: str, finished: Finished, r: int) -> Attempt:
        """Record a finished task in the ledger, with its outcome, rewards and examples."""
        task, found = finished.task, finished.found
        outcome, _, script, verdict = judge(finished)
        proved = outcome == "proved"
        size = found.stats.get("steps")
        if found.rollouts and proved:
            size = min(training_examples.size_of(row) for row in found.rollouts if row["script"] == script)
        weights = rewards.weights(self.config.rewards, r)
        best = self.best.get(task.theorem.name)
        rows: list[training_examples.Row] = []
        if found.rollouts and task.learn:
            audited = {s: v.verdict for s, v in finished.verdicts.items()}
            rows, parts = training_examples.rollout_rows(found, audited, weights, task.lean_calls, best)
        elif outcome == "error":
            parts = {}  # neither a success nor a failure
        else:
            calls = found.calls_to_solve if proved and found.calls_to_solve else found.lean_calls
            parts = rewards.score(
                rewards.AttemptResult(
                    proved, size, best, calls, max(1, task.lean_calls), found.stats.get("closed", 0.0)
                ),
                weights,
            )
            if task.learn and outcome != "rejected" and task.negated is None:
                rows = training_examples.rows(
                    found,
                    proved,
                    sum(parts.values()) / weights["proved"],
                    self.config.learn,
                    verdict.premises if verdict else (),
                )
        if proved and size is not None:
            self.best[task.theorem.name] = min(size, best or size)
        stats = {**found.stats, "calls_allowed": task.lean_calls} | ({"steps": size} if size is not None else {})
        stats |= {"rewards": {n: round(x / weights[n], 4) for n, x in parts.items()}} if task.learn else {}
        if found.rollouts:
            accepted = {s for s, v in finished.verdicts.items() if v.verdict == "proved"}
            stats |= {"correct": sum(row["script"] in accepted for row in found.rollouts)}
            if task.learn:
                stats |= {"signal": training_examples.has_signal(rows)}
        stats |= {"side": "disprove"} if task.negated is not None else {}
        attempt = attempt_of(phase, finished, self.runtime.name, stats)
        self.ledger.record(attempt, [(kind, {**data, "round": r}) for kind, data in rows])
        self.ledger.set("seconds", self.elapsed)
        return attempt
