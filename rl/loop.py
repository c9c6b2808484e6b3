"""The training loop: evaluate baselines, search and train in rounds (pipeline.py), evaluate the trained prover.

Each step is a phase, and each attempt is recorded in the ledger at once. A resumed run skips the recorded attempts. Randomness
depends only on the seed and the position in the run.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from shlex import quote
from typing import Any

from filelock import FileLock, Timeout
from ray.exceptions import OutOfMemoryError

from prover import logs
from prover.console import one_line
from prover.errors import UserError
from prover.files import write_whole
from prover.lean.runtime import find_runtime
from prover.lean.theorem import Theorem
from prover.premises.index import library_index
from prover.solve.ledger import Ledger
from rl import config as config_module
from rl import run_summary
from rl.actors.fleet import Fleet
from rl.actors.preparation import newest_models, start_preparation
from rl.actors.recorder import start_recorder
from rl.attempt import Task
from rl.candidate import BASELINES
from rl.changes import changed
from rl.config import RunConfig
from rl.curriculum import Curriculum, whole_proofs
from rl.metrics import compute, rounds
from rl.metrics.alerts import alerts
from rl.metrics.round_metrics import RoundMetrics, row_of
from rl.metrics.tracking import Tracker, progress
from rl.pipeline import Pipeline
from rl.plan import needs
from rl.start import start_of
from rl.theorem_splits import statements, theorems_of

PACKAGES = ("turnstile-prover", "torch", "transformers", "ray", "vllm")


class Trainer:
    """A training run in its folder. `run` does the remaining work; a new Trainer on the same folder resumes it."""

    def __init__(self, config: RunConfig, quiet: bool = False, changes: Sequence[str] = ()) -> None:
        """`quiet`: print nothing. `changes`: changed settings since the last start, which are recorded. Raises UserError for a configuration
        that cannot work, missing resources, and a folder in which another process works."""
        self.config, self.changes = config_module.check(config), changes
        self.folder = config.folder
        self.runtime = find_runtime()
        self.index = library_index()
        theorems = theorems_of(config.theorems, self.index, config.eval.validation)
        self.train_set, self.held_out, self.validation = theorems.train, theorems.held_out, theorems.validation
        start_of(config)
        if missing := needs(config, theorems)["missing"]:
            raise UserError(missing[0])
        self._left_out = {
            "that nearly repeat an evaluated one are left out of training": theorems.near_copies,
            "of the sets' training splits are not used: the hash of their names keeps them out": theorems.unused,
        }
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
        self.ledger.set("withheld", sorted(theorems.withheld))
        self.ledger.set("evaluated", statements(theorems.evaluated, self.index))
        self.tracker = Tracker(self.folder, config, self.versions, self.ledger.logged(), quiet)
        self.fleet = Fleet(config, self.folder, self.tracker.say)
        self.best = self.ledger.best_sizes()
        """Tactics in the shortest audited proof of each theorem."""
        self._training_calls = self.ledger.training_calls()
        self.curriculum = Curriculum(config, self.train_set, self.ledger)
        self._finished = 0
        """The newest version that is validated and logged."""
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
            with Ledger.open(folder, readonly=True) as ledger:
                learned = ledger.learned()
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
        for why, n in self._left_out.items():
            if n:
                self.tracker.say(f"{n} theorems {why}")
        try:
            self._start()
            learned = self.ledger.learned()
            # With validation, a trained version that is not served yet is trained again: the served one is still being measured.
            limit = learned if c.learn.max_staleness and c.eval.validation else None
            if (version := self.fleet.resume(limit)) < learned:
                raise UserError(
                    f"{self.folder}/checkpoints: the newest checkpoint is of round {version}, but the run has trained {learned} "
                    "rounds; restore the folder, and on a cluster store it where every machine can read it"
                )
            if c.eval.baselines:
                for baseline, what in BASELINES.items():
                    if baseline == "shuffled" and c.prover.actions == "elementary":
                        continue  # equal template weights make this baseline the same as the explorer
                    self._measure(baseline, f"baseline: {what}")
            if c.eval.validation:
                self._validate(0)
            last = learned
            self._finished = max((int(row["round"]) for row in self.ledger.rounds()), default=0)
            for r in range(learned + 1, c.learn.rounds + 1):
                self.pipeline.wait(self.pipeline.needed(r), self._finish_rounds)
                if self._end:
                    break
                begun = self.ledger.done(f"round {r}")
                if r > 1 and self.elapsed > 60 * c.max_minutes and not begun:
                    self.tracker.say(
                        f"round {r} skipped: the time limit max_minutes is reached ({self.elapsed / 60:.0f} min)"
                    )
                    break
                if not self._collect(r):
                    self.tracker.say(f"the run ends in round {r}: {self._end}")
                    break
                last = r
            self.pipeline.wait(last, self._finish_rounds)
            self._keep_earlier_measurements()
            self._measure("model", "trained prover")
            if c.eval.rollouts:
                self._sample()
            return run_summary.finish(c, self.ledger, self.tracker, len(self.held_out), self.elapsed, self.runtime.name)
        except OutOfMemoryError as error:  # replacing actors did not help
            raise UserError(
                f"Ray ended a part of the run because memory ran out ({one_line(str(error), 200)}); lower prover.provers or the model's "
                f"size, and continue with `turnstile train --resume {quote(str(self.folder))}`"
            ) from error
        finally:
            self.ledger.set("seconds", self.elapsed)
            self.fleet.close()
            self.tracker.close()
            self._lock.release()

    def _start(self) -> None:
        self.fleet.start()
        ledger = self.folder / "ledger.sqlite"
        self.recorder = start_recorder(self.config, ledger, self.runtime.name, logs.for_actor(self.folder, "recorder"))
        preparation = start_preparation(self.config, ledger, logs.for_actor(self.folder, "preparation"))
        self.fleet.beside += [self.recorder, preparation]
        self.fleet.models = newest_models(preparation)
        self.pipeline = Pipeline(self.config, self.ledger, self.fleet, preparation, self.tracker.say)

    @property
    def elapsed(self) -> float:
        """Seconds of work on this run, summed over its starts."""
        return time.monotonic() - self.began

    @property
    def _value(self) -> bool:
        """Whether searches use the value: only once a version that has learned it is served."""
        return self.config.learns_value and (self.pipeline.learned > 0 or bool(self.config.model.start))

    @property
    def _end(self) -> str:
        """The reason why a run for targets (`theorems.targets`) ends now; empty if it goes on."""
        targets = self.config.theorems.targets
        if targets and all(name in self.best for name in targets):
            return "all targets are proved"
        return (
            "the time limit max_minutes is reached" if targets and self.elapsed > 60 * self.config.max_minutes else ""
        )

    def _collect(self, r: int) -> bool:
        """Collect round `r` and give it to the pipeline. Returns False, without learning from the round, if the run ends in it."""
        c = self.config
        self.curriculum.read(r)
        measured = RoundMetrics(r, self.fleet, self.ledger, self.curriculum.known)
        first = r == 1 and not c.has_model
        policy = "explorer" if first else "model"
        by = policy if first or c.learn.collect == "search" else "model rollouts"
        tasks = self.curriculum.tasks(r, policy, self.best, self._value)
        self._attempts(f"round {r}", f"round {r} of {c.learn.rounds}: {by}", tasks, r)
        while not self._end and (
            more := self.curriculum.in_place_of_equal_groups(r, len(tasks), self.best, self._value)
        ):
            label = f"round {r}: {len(more)} theorems in place of groups of equal rewards"
            self._attempts(f"round {r}", label, more, r)
        if self._end:
            return False
        measured.collected()
        self.pipeline.add(r, measured)
        return True

    def _finish_rounds(self) -> None:
        """Validate the served version and log its round, and serve the next one if it is trained."""
        while self._finished < self.pipeline.learned:
            self._finished = r = self._finished + 1
            if r == self.pipeline.learned:  # only the newest version is served and can be validated
                self._validate(r)
            if self._log(f"round {r}", r, row_of(r, self.ledger)):
                for alert in alerts(rounds.history(rounds.of_rows(self.ledger.rounds()))):
                    self.tracker.alert(alert)
            self.pipeline.held = False
            self.pipeline.serve()

    def _log(self, key: str, r: int, row: dict[str, float]) -> bool:
        """Log a row of round `r` in the ledger and the tracker, unless there is a row of this key. Returns whether it was new."""
        place = {"round": r, "seconds": round(self.elapsed, 1), "lean_calls": self._training_calls}
        step = self.ledger.log(key, place | row)
        if step is not None:
            self.tracker.log(place | row, step)
        return step is not None

    def _evaluation(self, theorem: Theorem, policy: str, calls: int, rollouts: int = 0, draw: int = 0) -> Task:
        """A task that measures a policy. `rollouts`: 0 for a search, or, for a model of whole proofs, for as many proofs as Lean calls."""
        c = self.config
        turns = whole_proofs(c) if policy == "model" else 0
        return Task(
            theorem,
            policy,
            calls,
            c.prover.eval_explorer_weight,
            value=self._value,
            rollouts=rollouts or (calls if turns else 0),
            max_tactics=c.learn.max_tactics,
            turns=turns,
            draw=draw,
        )

    def _validate(self, r: int) -> None:
        """Evaluate the model of round `r` on the validation theorems; in round 0 the run's start model or the explorer."""
        c = self.config
        n = c.eval.validation_rollouts
        policy = "model" if r or c.has_model else "explorer"
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
            # Log the baselines again, so that their curves end where the trained prover's does.
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
        solved = sum(outcome == "proved" for _, outcome, *_ in self.ledger.tries(phase))
        if not todo:
            return
        with progress(self.tracker.console) as display:
            bar = display.add_task(label, total=len(todo) + len(done), completed=len(done), solved=solved)
            saved = 0.0
            for finished in self.fleet.run(
                todo, lambda f, examples: self.recorder.record.remote(phase, r, f, examples)
            ):
                name, recorded = finished.task.theorem.name, finished.recorded
                solved += recorded.outcome == "proved"
                self._training_calls += finished.found.lean_calls if phase.startswith("round ") else 0
                if recorded.size is not None:
                    self.best[name] = min(recorded.size, self.best.get(name, recorded.size))
                display.update(bar, advance=1, solved=solved)
                if self.elapsed > saved + 1.0:
                    self.ledger.set("seconds", saved := self.elapsed)
                if self._end:
                    break
        self.tracker.say(f"{label}: solved {solved} of {len(todo) + len(done)}")


def versions(lean: str) -> dict[str, str]:
    """Version by name: Lean, Python and the packages that are installed. `lean`: the runtime's name."""
    found = {"lean": lean, "python": platform.python_version()}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found["turnstile" if name == "turnstile-prover" else name] = metadata.version(name)
    return found
