"""The main loop: measure what knows nothing, search and learn in rounds, measure what was learned.

Every step of it is a phase; every attempt of a phase goes to the ledger at once. A run that ends early, for whatever reason,
goes on where it was: a phase skips what the ledger has, and what was random in it is a function of the seed and its place.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from curricula.sampler import Match, Matchmaker, Try
from prover import logs
from prover.errors import UserError
from prover.files import write_whole
from prover.lean.runtime import find_runtime
from prover.premises.index import library_index
from prover.solve.ledger import Attempt, Ledger
from prover.solve.negation import negation
from rl import config as config_module
from rl import rewards, training_examples
from rl.actors.dispatch import Finished, attempt_of, judge
from rl.actors.fleet import Fleet
from rl.attempt import Task
from rl.candidate import BASELINES
from rl.config import RunConfig
from rl.files import proofs_source
from rl.learning import Learning
from rl.metrics import compute, curves
from rl.metrics.round_metrics import RoundMetrics, announce
from rl.metrics.tracking import Tracker
from rl.theorem_splits import theorems_of

T = TypeVar("T")


class Trainer:
    """A run in its folder. `run` does what is left to do; a new Trainer on the same folder goes on."""

    def __init__(self, config: RunConfig, quiet: bool = False) -> None:
        self.config = config_module.check(config)
        self.folder = config.folder
        self.runtime = find_runtime()
        self.index = library_index()
        theorems = theorems_of(config.theorems, self.index, config.eval.validation)
        self.train_set, self.held_out, self.validation = theorems.train, theorems.held_out, theorems.validation
        fresh = not (self.folder / "ledger.sqlite").exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"{self.folder}: another process is working on this run") from None
        if fresh:  # before the ledger, by which a run is known: what is killed here begins anew
            write_whole(self.folder / "config.toml", config_module.dump(config).encode())
        self.ledger = Ledger(self.folder / "ledger.sqlite")
        logs.to_file(self.folder / "logs" / "driver.log")
        self.tracker = Tracker(self.folder, config.name, asdict(config), quiet)
        self.fleet = Fleet(config, self.folder, self.tracker.say)
        self.learning = Learning(config, self.folder, self.ledger, self.index, self.fleet, self.tracker.say)
        self.best: dict[str, int] = {}
        """Tactics in the shortest audited proof of each theorem."""
        for a in self.ledger.attempts():
            if a.outcome == "proved" and "steps" in a.stats and not a.phase.startswith("eval "):
                self.best[a.theorem.name] = min(a.stats["steps"], self.best.get(a.theorem.name, a.stats["steps"]))
        self.began = time.monotonic() - (self.ledger.get("seconds") or 0.0)

    @classmethod
    def resume(cls, folder: Path, quiet: bool = False) -> Trainer:
        """Go on with the run in `folder`. Raises UserError if there is none or another version made it."""
        if not (folder / "ledger.sqlite").exists():
            raise UserError(f"{folder}: no run here (no ledger.sqlite); runs are folders under runs/")
        if Ledger.begun(folder / "ledger.sqlite"):
            Ledger(folder / "ledger.sqlite", readonly=True).close()
        saved = config_module.load(folder / "config.toml")
        return cls(replace(saved, runs=str(folder.parent), name=folder.name), quiet)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Do everything that is left to do. Gives the summary that is also in `summary.json`."""
        c = self.config
        self.tracker.say(
            f"[bold]turnstile[/bold] run [cyan]{self.folder}[/cyan] on {self.runtime.name}: learn on "
            f"{len(self.train_set)} theorems, measure on {len(self.held_out)} held out"
        )
        try:
            self.fleet.start()
            self.learning.restore()
            learned = max(
                (r for r in range(1, c.learn.rounds + 1) if self.ledger.get(f"learned {r}") is not None), default=0
            )
            if (version := self.fleet.resume()) < learned:
                raise UserError(
                    f"{self.folder}/checkpoints: the run has learned {learned} rounds, and the newest checkpoint that the learner finds "
                    f"there is of {version}; bring the folder back, and on a cluster have it where every machine sees it"
                )
            if c.eval.baselines:
                for baseline, what in BASELINES.items():
                    self._measure(baseline, f"nothing learned: {what}")
            for r in range(1, c.learn.rounds + 1):
                begun = self.ledger.done(f"round {r}") or self.ledger.get(f"learned {r}") is not None
                if r > 3 and self.elapsed > 60 * c.max_minutes and not begun:
                    self.tracker.say(f"round {r} left out: {self.elapsed / 60:.0f} minutes are used")
                    break
                self._round(r)
            self._measure("model", "what was learned: the trained prover")
            if c.eval.rollouts:
                self._sample()
            return self._finish()
        finally:
            self.ledger.set("seconds", self.elapsed)
            self.fleet.close()
            self.tracker.close()
            self._lock.release()

    @property
    def elapsed(self) -> float:
        """Seconds that this run took so far, over all its starts."""
        return time.monotonic() - self.began

    def _round(self, r: int) -> None:
        if self.ledger.get(f"learned {r}") is None:
            self._collect_and_learn(r)
        self._validate(r)
        announce(r, self.ledger, self.tracker)

    def _collect_and_learn(self, r: int) -> None:
        c = self.config.learn
        known = {
            a.theorem.name for e in range(1, r) for a in self.ledger.attempts(f"round {e}") if a.outcome == "proved"
        }
        measured = RoundMetrics(r, self.fleet, self.ledger, known)
        first = r == 1 and not self.config.serve.start
        policy = "explorer" if first else "model"
        by = policy if first or c.collect == "search" else "model's rollouts"
        tasks = [self._task(r, m, policy) for m in self._matches(r)]
        self._attempts(f"round {r}", f"round {r} of {c.rounds}: by the {by}", tasks, r)
        measured.collected()
        measured.learned(self.learning.learn(r))
        self.ledger.set(f"learned {r}", {"version": r})

    def _matches(self, r: int) -> list[Match]:
        """What to try in a round: everything in the first, then what the matchmaker says of the rounds before this one."""
        c = self.config
        if r == 1:
            return [Match(t, c.learn.first_calls, "prove", 0.5) for t in self.train_set]
        matchmaker = Matchmaker(self.train_set, c.matchmaker, c.seed)
        for earlier in range(1, r):
            matchmaker.observe(
                Try(a.theorem.name, earlier, a.outcome, a.calls_to_solve, a.stats.get("side", "prove"))
                for a in self.ledger.attempts(f"round {earlier}")
            )
        return matchmaker.plan(r, c.learn.calls * len(self.train_set))

    def _task(self, r: int, match: Match, policy: str) -> Task:
        c = self.config
        rollouts = c.learn.group if r > 1 and c.learn.collect == "rollouts" else 0
        against = negation(match.theorem) if match.side == "disprove" else None
        # Once a theorem: another time it would ask Lean the same again.
        harvest = 0 if match.theorem.name in self.best else c.learn.harvest
        return Task(
            match.theorem,
            policy,
            match.lean_calls,
            c.prover.explorer_weight,
            harvest,
            learn=True,
            value=self.learning.value,
            rollouts=0 if against else rollouts,
            max_tactics=c.learn.max_tactics,
            draw=r - 1,
            negated=against,
        )

    def _validate(self, r: int) -> None:
        """Measure what round `r` learned on theorems that nothing is learned from."""
        c = self.config
        weight, calls = c.prover.eval_explorer_weight, c.eval.validation_calls
        tasks = [Task(t, "model", calls, weight, value=self.learning.value) for t in self.validation]
        self._attempts(f"validation round {r}", f"after round {r}: validation", tasks)

    def _sample(self) -> None:
        """Measure the model without search: rollouts of the held-out theorems."""
        c = self.config
        tasks = [
            Task(t, "model", c.eval.calls, rollouts=c.eval.rollouts, max_tactics=c.learn.max_tactics)
            for t in self.held_out
        ]
        self._attempts("rollouts held-out", "what was learned: the model alone, without search", tasks)
        self.tracker.log(self._pass_rates())

    def _pass_rates(self) -> dict[str, float]:
        sampled = list(self.ledger.attempts("rollouts held-out"))
        # A theorem that could not be opened has no rollouts and is not proved by any.
        return compute.pass_rates([(self.config.eval.rollouts, a.stats.get("correct", 0)) for a in sampled], "held-out")

    def _measure(self, policy: str, label: str) -> None:
        if not self.held_out:
            return
        c = self.config
        weight = c.prover.eval_explorer_weight
        tasks = [Task(t, policy, c.eval.calls, weight, value=self.learning.value) for t in self.held_out]
        self._attempts(f"held-out {policy}", label, tasks)
        summary = self._summary(policy)
        self.tracker.log({f"held_out/{policy}/{b}": s / summary["total"] for b, s in summary["curve"].items()})
        if policy == "model":
            self.tracker.log(compute.solve_rates(self.ledger.attempts("held-out model"), "held-out"))

    def _summary(self, policy: str) -> dict[str, Any]:
        attempts = list(self.ledger.attempts(f"held-out {policy}"))
        return curves.summarise(attempts, self.config.eval.calls, len(self.held_out))

    # -- attempts ----------------------------------------------------------------------------------------------------

    def _attempts(self, phase: str, label: str, tasks: Sequence[Task], r: int = 1) -> None:
        """Attempt every task that the ledger does not have yet, each audited and recorded at once."""
        done = self.ledger.done(phase)
        todo = [t for t in tasks if t.theorem.name not in done]
        # Neighbours share imports, so a Lean process needs few environments at a time.
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
        """Judge a finished task, give it its rewards, and append it to the ledger with what it teaches."""
        task, found = finished.task, finished.found
        outcome, _, script, verdict = judge(finished)
        proved = outcome == "proved"
        size = found.stats.get("steps")
        if found.rollouts and proved:
            size = min(len(row["decisions"]) for row in found.rollouts if row["script"] == script)
        weights = rewards.weights(self.config.rewards, r)
        best = self.best.get(task.theorem.name)
        rows: list[training_examples.Row] = []
        if found.rollouts and task.learn:
            audited = {s: v.verdict for s, v in finished.verdicts.items()}
            rows, parts = training_examples.rollout_rows(found, audited, weights, task.lean_calls, best)
        elif outcome == "error":
            parts = {}  # nothing is known of it: neither a success nor a failure
        else:
            calls = found.calls_to_solve if proved and found.calls_to_solve else found.lean_calls
            parts = rewards.score(
                rewards.Ended(proved, size, best, calls, max(1, task.lean_calls), found.stats.get("closed", 0.0)),
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
        stats |= {"side": "disprove"} if task.negated is not None else {}
        attempt = attempt_of(phase, finished, self.runtime.name, stats)
        self.ledger.record(attempt, [(kind, {**data, "round": r}) for kind, data in rows])
        self.ledger.set("seconds", self.elapsed)
        return attempt

    def _paired(self) -> dict[str, dict[str, float]]:
        """The trained prover against the explorer, theorem by theorem, at each budget; said for those that it is about."""
        found: dict[str, dict[str, float]] = {}
        trained, explorer = (list(self.ledger.attempts(f"held-out {p}")) for p in ("model", "explorer"))
        for calls in curves.budgets(self.config.eval.calls):
            only, other, p = curves.paired(trained, explorer, calls)
            found[str(calls)] = {"only_trained": only, "only_explorer": other, "p": round(p, 5)}
        said = "; ".join(f"{f['only_trained']:.0f} and {f['only_explorer']:.0f} at {b}" for b, f in found.items())
        self.tracker.say(f"Theorems that only the trained prover solved, and only the explorer, by Lean calls: {said}.")
        return found

    def _finish(self) -> dict[str, Any]:
        """Write the summary and the proofs; say how it went and what to look at next."""
        names = [*((b, b) for b in BASELINES), ("trained", "model")]
        summary: dict[str, Any] = {
            label: self._summary(policy) for label, policy in names if self.ledger.done(f"held-out {policy}")
        }
        summary["seconds"] = round(self.elapsed, 1)
        summary["lean"] = self.runtime.name
        summary["name"] = self.config.name
        claimed = Counter(a.outcome for a in self.ledger.attempts() if a.script is not None)
        summary["rejected"], summary["unjudged"] = claimed["rejected"], claimed["error"]
        if self.config.eval.rollouts:
            summary["pass_at_k"] = {name.rsplit("/", 1)[-1]: rate for name, rate in self._pass_rates().items()}
        proofs = list(self.ledger.proofs())
        write_whole(self.folder / "proofs.lean", proofs_source(proofs, self.runtime.name).encode())
        self.tracker.table(curves.table([(label, summary[label]) for label, _ in names if label in summary]))
        if "explorer" in summary and "trained" in summary:
            summary["paired"] = self._paired()
        write_whole(self.folder / "summary.json", (json.dumps(summary, indent=1) + "\n").encode())
        self.tracker.say(
            f"{len(proofs)} theorems proved and audited in {self.elapsed / 60:.1f} minutes; {claimed['rejected']} proofs refused by "
            f"the audit, {claimed['error']} that it could not judge.\nNext: [bold]turnstile verify {self.folder}[/bold] checks every proof again, "
            f"{self.folder}/proofs.lean has them to read, {self.folder}/wandb the curves."
        )
        return summary
