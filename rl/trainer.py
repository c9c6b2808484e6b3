"""The main loop: measure what knows nothing, search and learn in rounds, measure what was learned.

Every step of it is a phase; every attempt of a phase goes to the ledger at once. A run that ends early, for whatever reason,
goes on where it was: a phase skips what the ledger has.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
from filelock import FileLock, Timeout

from curricula.library import DEMONSTRATION_MODULES, assert_disjoint, library_set
from prover.errors import UserError
from prover.lean.runtime import find_runtime
from prover.lean.server import statement_source
from prover.lean.theorem import Theorem
from prover.premises.index import library_index
from rl import config as config_module
from rl import measure, replay
from rl.actors import AuditActor, Found, LearnerActor, ModelServer, Prover, Task, ledger_examples
from rl.algorithms.template_prior import learn_weights
from rl.config import RunConfig
from rl.ledger import Attempt, Ledger
from rl.tracking import Tracker


class Trainer:
    """A run in its folder. `run` does what is left to do; a new Trainer on the same folder goes on."""

    def __init__(self, config: RunConfig, quiet: bool = False) -> None:
        self.config = config
        self.folder = config.folder
        self.runtime = find_runtime()
        index = library_index()
        t = config.theorems
        modules = t.modules or DEMONSTRATION_MODULES
        self.train_set = library_set(index, "train", modules, t.per_module, t.limit)
        self.held_out = library_set(index, "held-out", modules, t.held_out_per_module, t.held_out_limit)
        assert_disjoint(self.train_set, self.held_out)
        fresh = not (self.folder / "ledger.sqlite").exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"{self.folder}: another process is working on this run") from None
        self.ledger = Ledger(self.folder / "ledger.sqlite")
        if fresh:
            (self.folder / "config.toml").write_text(config_module.dump(config), encoding="utf-8")
        self.tracker = Tracker(self.folder, config.name, asdict(config), quiet)
        self.began = time.monotonic() - (self.ledger.get("seconds") or 0.0)

    @classmethod
    def resume(cls, folder: Path, quiet: bool = False) -> Trainer:
        """Go on with the run in `folder`. Raises UserError if there is none or another version made it."""
        if not (folder / "ledger.sqlite").exists():
            raise UserError(f"{folder}: no run here (no ledger.sqlite); runs are folders under runs/")
        Ledger(folder / "ledger.sqlite", readonly=True).close()
        saved = config_module.load(folder / "config.toml")
        return cls(config_module.replace(saved, runs=str(folder.parent), name=folder.name), quiet)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Do everything that is left to do. Gives the summary that is also in `summary.json`."""
        c = self.config
        self.tracker.say(
            f"[bold]turnstile[/bold] run [cyan]{self.folder}[/cyan] on {self.runtime.name}: learn on "
            f"{len(self.train_set)} library theorems, measure on {len(self.held_out)} held out"
        )
        self._start_actors()
        try:
            if c.eval.baselines:
                self._measure("portfolio", "nothing learned: the fixed portfolio")
                self._measure("explorer", "nothing learned: the explorer's search")
            for r in range(1, c.learn.rounds + 1):
                if r > 3 and self.elapsed > 60 * c.max_minutes:
                    self.tracker.say(f"round {r} left out: {self.elapsed / 60:.0f} minutes are used")
                    break
                self._round(r)
            self._measure("model", "what was learned: the trained prover")
            return self._finish()
        finally:
            self.ledger.set("seconds", self.elapsed)
            self._stop_actors()

    @property
    def elapsed(self) -> float:
        """Seconds that this run took so far, over all its starts."""
        return time.monotonic() - self.began

    def _round(self, r: int) -> None:
        c = self.config.learn
        policy, calls = ("explorer", c.first_calls) if r == 1 else ("model", c.calls)
        tasks = [
            Task(t, policy, calls, self.config.prover.explorer_weight, c.harvest, learn=True, value=self._value)
            for t in self._worth_trying(r)
        ]
        self._attempts(f"round {r}", f"round {r} of {c.rounds}: search by the {policy}", tasks)
        if self.ledger.get(f"learned {r}") is None:
            self._learn(r)

    def _worth_trying(self, r: int) -> list[Theorem]:
        """The theorems of a round: all in the first; later the unsolved, and of the solved those that took search.

        A theorem solved within two calls teaches nothing new; one that took many may get a better proof.
        """
        if r == 1:
            return self.train_set
        easy = set()
        for phase in range(1, r):
            for a in self.ledger.attempts(f"round {phase}"):
                if a.outcome == "proved" and (a.calls_to_solve or 0) <= 2:
                    easy.add(a.theorem.name)
        return [t for t in self.train_set if t.name not in easy]

    @property
    def _value(self) -> bool:
        return self.config.prover.use_value

    def _learn(self, r: int) -> None:
        policy, value = replay.draw(self.ledger)
        if not policy:
            raise UserError("the explorer proved no training theorem: give it more Lean calls (learn.first_calls)")
        c = self.config.learn
        self.tracker.say(
            f"round {r}: learning {len(policy)} (goal, tactic) pairs and {len(value)} values, {c.seconds:.0f} s …"
        )
        metrics, folder, version = ray.get(self.learner.learn.remote(policy, value, c.seconds))
        ray.get(self.server.load.remote(folder, version))
        weights = learn_weights(data for _, data in self.ledger.examples("policy"))
        ray.get([p.learned.remote(weights) for p in self.provers])
        self.ledger.set(f"learned {r}", {"folder": folder, "version": version, "weights": weights})
        self.ledger.measure(f"round {r}", metrics)
        self.tracker.log({"round": r, "pairs": len(policy), **{f"learner/{k}": v for k, v in metrics.items()}})
        self.tracker.say(
            f"round {r}: loss {metrics.get('policy_loss', 0):.2f} nats a tactic token, "
            f"{metrics.get('epochs', 0):.1f} epochs, {metrics.get('tokens_per_second', 0):.0f} tokens/s"
        )

    def _measure(self, policy: str, label: str) -> None:
        c = self.config
        calls = min(c.eval.calls, 6) if policy == "portfolio" else c.eval.calls
        tasks = [
            Task(t, policy, calls, c.prover.eval_explorer_weight, value=self._value) for t in self.held_out
        ]
        self._attempts(f"held-out {policy}", label, tasks)
        summary = self._summary(policy)
        self.tracker.log({f"held_out/{policy}/{b}": s / summary["total"] for b, s in summary["curve"].items()})

    def _summary(self, policy: str) -> dict[str, Any]:
        attempts = list(self.ledger.attempts(f"held-out {policy}"))
        return measure.summarise(attempts, self.config.eval.calls, len(self.held_out))

    # -- attempts ----------------------------------------------------------------------------------------------------

    def _attempts(self, phase: str, label: str, tasks: Iterable[Task]) -> None:
        """Attempt every task that the ledger does not have yet, several to a prover, each audited and recorded at once."""
        done = self.ledger.done(phase)
        todo = [t for t in tasks if t.theorem.name not in done]
        # Neighbours share imports, so a Lean process needs few environments at a time.
        todo.sort(key=lambda t: t.theorem.imports)
        if not todo:
            return
        solved = sum(a.outcome == "proved" for a in self.ledger.attempts(phase))
        share = -(-len(todo) // len(self.provers))
        queues = [todo[i * share : (i + 1) * share] for i in range(len(self.provers))]
        searching: dict[Any, tuple[int, Task]] = {}
        auditing: dict[Any, tuple[Task, Found]] = {}
        retried: set[str] = set()

        def feed(i: int) -> None:
            queue = queues[i] or max(queues, key=len)  # an idle prover helps the busiest
            if queue:
                task = queue.pop(0)
                searching[self.provers[i].attempt.remote(task)] = (i, task)

        with self.tracker.progress() as progress:
            bar = progress.add_task(label, total=len(todo) + len(done), completed=len(done), solved=solved)
            for i in range(len(self.provers)):
                for _ in range(self.config.prover.concurrent):
                    feed(i)
            while searching or auditing:
                ready, _ = ray.wait([*searching, *auditing], num_returns=1)
                ref = ready[0]
                if ref in searching:
                    i, task = searching.pop(ref)
                    try:
                        found = ray.get(ref)
                    except ray.exceptions.RayError as e:
                        self._replace_prover(i)
                        found = Found(task.theorem, "error", 0, None, 0.0, reason=f"prover died: {e}")
                    if found.outcome == "error" and task.theorem.name not in retried and not found.reason.startswith("open"):
                        retried.add(task.theorem.name)
                        queues[i].append(task)
                        feed(i)
                        continue
                    feed(i)
                    if found.script is not None:
                        auditing[self.auditor.audit.remote(task.theorem, found.script)] = (task, found)
                        continue
                    self._record(phase, task, found, found.outcome, found.reason)
                else:
                    task, found = auditing.pop(ref)
                    outcome, reason, axioms, used, lean = self._verdict(ref)
                    self._record(phase, task, found, outcome, reason, axioms, used, lean)
                    solved += outcome == "proved"
                progress.update(bar, advance=1, solved=solved)
        self.tracker.say(f"{label}: solved {solved} of {len(todo) + len(done)}")

    def _verdict(self, ref: Any) -> tuple[str, str, tuple[str, ...], tuple[str, ...], str]:
        try:
            v = ray.get(ref)
        except ray.exceptions.RayError as e:
            self.auditor = AuditActor.options(num_cpus=0).remote()
            return "error", f"audit died: {e}", (), (), ""
        outcome = {"proved": "proved", "rejected": "rejected"}.get(v.verdict, "error")
        return outcome, v.reason, v.axioms, v.premises, v.lean

    def _record(
        self,
        phase: str,
        task: Task,
        found: Found,
        outcome: str,
        reason: str,
        axioms: tuple[str, ...] = (),
        used: tuple[str, ...] = (),
        lean: str = "",
    ) -> None:
        attempt = Attempt(
            phase, task.theorem, outcome, found.lean_calls, found.calls_to_solve if outcome == "proved" else None,
            found.seconds, found.script, reason, axioms, used, found.model_version, lean or self.runtime.name, found.stats,
        )  # fmt: skip
        examples = ledger_examples(found, outcome == "proved") if task.learn and outcome != "rejected" else []
        self.ledger.record(attempt, examples)
        self.ledger.set("seconds", self.elapsed)

    # -- actors ------------------------------------------------------------------------------------------------------

    def _start_actors(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_worker_niceness", "0")  # Ray would put workers behind everything else
        if not ray.is_initialized():
            ray.init(
                include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False,
                num_cpus=max(4, os.cpu_count() or 1),
            )
        c = self.config
        learned = [v for r in range(1, c.learn.rounds + 1) if (v := self.ledger.get(f"learned {r}"))]
        self.server = ModelServer.options(num_cpus=0).remote(None, 1)
        self.learner = LearnerActor.options(num_cpus=0).remote(
            str(self.folder / "checkpoints"),
            {**asdict(c.model), "premises": c.prover.premises},
            {
                "learning_rate": c.learn.learning_rate,
                "batch_tokens": c.learn.batch_tokens,
                "value_weight": c.learn.value_weight,
                "threads": c.learn.threads,
            },
            c.seed,
        )
        if learned:
            ray.get(self.learner.resume.remote())
            ray.get(self.server.load.remote(learned[-1]["folder"], learned[-1]["version"]))
        self.auditor = AuditActor.options(num_cpus=0).remote()
        self.provers = [self._prover(i) for i in range(c.prover.provers)]
        ray.get([p.ready.remote() for p in self.provers])
        if learned:
            ray.get([p.learned.remote(learned[-1].get("weights", {})) for p in self.provers])

    def _prover(self, i: int) -> Any:
        c = self.config
        return Prover.options(num_cpus=0, max_concurrency=4 * c.prover.concurrent + 4).remote(c.prover, c.seed + i, self.server)

    def _replace_prover(self, i: int) -> None:
        try:
            ray.get(self.provers[i].counters.remote(), timeout=5)
        except Exception:
            self.provers[i] = self._prover(i)
            learned = [v for r in range(1, self.config.learn.rounds + 1) if (v := self.ledger.get(f"learned {r}"))]
            if learned:
                self.provers[i].learned.remote(learned[-1].get("weights", {}))

    def _stop_actors(self) -> None:
        closing = [p.close.remote() for p in self.provers] + [self.auditor.close.remote()]
        ray.wait(closing, num_returns=len(closing), timeout=10)
        self.tracker.close()
        ray.shutdown()
        self._lock.release()

    # -- the end -----------------------------------------------------------------------------------------------------

    def _finish(self) -> dict[str, Any]:
        """Write the summary and the proofs; say how it went and what to look at next."""
        names = [("portfolio", "portfolio"), ("explorer", "explorer"), ("trained", "model")]
        summary: dict[str, Any] = {
            label: self._summary(policy) for label, policy in names if self.ledger.done(f"held-out {policy}")
        }
        summary["seconds"] = round(self.elapsed, 1)
        summary["lean"] = self.runtime.name
        summary["name"] = self.config.name
        rejected = sum(a.outcome == "rejected" for a in self.ledger.attempts())
        summary["rejected"] = rejected
        write_atomically(self.folder / "summary.json", json.dumps(summary, indent=1) + "\n")
        proofs = list(self.ledger.proofs())
        write_atomically(self.folder / "proofs.lean", proofs_source(proofs, self.runtime.name))
        self.tracker.table(measure.table([(label, summary[label]) for label, _ in names if label in summary]))
        self.tracker.say(
            f"{len(proofs)} theorems proved and audited in {self.elapsed / 60:.1f} minutes; {rejected} proofs refused by "
            f"the audit.\nNext: [bold]turnstile verify {self.folder}[/bold] checks every proof again, "
            f"{self.folder}/proofs.lean has them to read, {self.folder}/wandb the curves."
        )
        return summary


def write_atomically(path: Path, text: str) -> None:
    """The whole text or nothing."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, path)


def proofs_source(proofs: Iterable[Attempt], lean: str) -> str:
    """The proofs to read. `turnstile verify RUN` judges them from the ledger, each on its own imports."""
    parts = [f"/- Proofs found by Turnstile, each audited by {lean}.\n   `turnstile verify` checks them again. -/\n"]
    for a in sorted(proofs, key=lambda a: (a.theorem.imports, a.theorem.name)):
        imports = " ".join(a.theorem.imports)
        if a.theorem.library is not None:
            body = "\n".join("  " + line for line in (a.script or "").split("\n"))
            bound = a.stats.get("bound") or []
            intro = f"  intro {' '.join(bound)}\n" if bound else ""
            parts.append(
                f"-- {a.theorem.source}; imports {imports}\n"
                f"example : type_of% @{a.theorem.library} := by\n{intro}{body}\n"
            )
        else:
            parts.append(f"-- imports {imports}\n{statement_source(a.theorem, a.script or '')}")
    return "\n".join(parts)
