"""Prepares the learning of a round: draws the language model's examples from the ledger, and trains the ranker, retriever and assessor."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from prover import plugins
from prover.errors import UserError
from prover.lean.theorem import Theorem
from prover.models.assessor import Assessor
from prover.models.ranker import TacticRanker
from prover.premises.dense import DenseWeights
from prover.premises.imported import imported, known_theorems
from prover.premises.index import LibraryIndex, Premise
from prover.search import SearchConfig
from prover.solve.ledger import Ledger
from rl import buffer
from rl.algorithms import expert_iteration, grpo, td_lambda
from rl.algorithms.assessing import KIND as ASSESSED
from rl.algorithms.assessing import AssessingConfig, train_assessor
from rl.algorithms.dpo import preference_pairs
from rl.algorithms.gradient_settings import PRESETS, settings_of
from rl.algorithms.infilling import infill_examples
from rl.algorithms.premise_selection import SelectionConfig, train_retriever
from rl.algorithms.tactic_ranking import RankingConfig, train_ranker
from rl.config import ALGORITHMS, DPO, OWN_ALGORITHMS, RunConfig
from rl.examples import PreferencePair, ValueExample
from rl.extracted import extracted_examples, extracted_theorems
from rl.learned import Learned
from rl.start import start_of
from rl.theorem_splits import near_evaluated
from rl.trajectory import Trajectory, from_rows, shortest_proofs, staleness

T = TypeVar("T")
START_LEAST = 2000
"""Minimum number of examples of each kind that a round draws from the run that it starts from, if that has as many. The first rounds have
few of their own, and each round trains the ranker from scratch."""
_KINDS = {Trajectory: "trajectories", PreferencePair: "pairs of tactics"}


class Learning:
    """Prepares the rounds of a run. `models` are the newest ranker, retriever and assessor."""

    def __init__(
        self, config: RunConfig, folder: Path, ledger: Ledger, index: LibraryIndex, say: Callable[[str], None]
    ) -> None:
        self.config, self.folder, self.ledger, self.index, self.say = config, folder, ledger, index, say
        start = start_of(config)
        self.earlier = (
            Ledger.open(start.run, readonly=True) if start and start.run and config.replay.start_share else None
        )
        """The ledger of the run that this one starts from."""
        self._compared: dict[str, bool] = {}
        """Theorem of that run -> whether it nearly repeats an evaluated one of this run."""
        self.models = Learned(
            self._newest("rankers", TacticRanker.load, start and start.ranker_file),
            self._newest("retrievers", DenseWeights.load, start and start.retriever_file),
            self._newest("assessors", Assessor.load, start and start.assessor_file),
        )

    @property
    def human(self) -> list[Any]:
        """Policy examples besides those of the attempts: in each round of expert iteration, and in the first of other algorithms."""
        if not (folder := self.config.learn.extracted):
            return []
        return extracted_examples(Path(folder), self._extracted_withheld, self.config.learn.infill)

    @cached_property
    def _extracted_withheld(self) -> frozenset[str]:
        """Theorems of `learn.extracted` that must not be trained on."""
        theorems = extracted_theorems(Path(self.config.learn.extracted))
        return buffer.withheld(self.ledger) | self._near_evaluated(theorems)

    def _near_evaluated(self, theorems: Sequence[Theorem]) -> frozenset[str]:
        """Names of the theorems that nearly repeat a held-out or validation theorem of this run."""
        evaluated = self.ledger.get("evaluated")
        return near_evaluated(theorems, evaluated, self.index) if evaluated else frozenset()

    @property
    def _samples_trajectories(self) -> bool:
        """Whether the policy learns from trajectories, by a policy gradient."""
        return bool(self.config.serve.start) and self.config.learn.algorithm in PRESETS

    def prepare(self, r: int) -> tuple[list[Any], list[Any], dict[str, float]]:
        """Train ranker, retriever and assessor on the examples up to round `r`. Returns (policy examples, value examples, metrics). Raises
        UserError without examples."""
        c = self.config.learn
        policy, value = self._examples(r)
        if not policy:
            if self._samples_trajectories:
                raise UserError(f"round {r}: no trajectory was sampled; see {self.folder}/logs")
            raise UserError("the explorer proved no training theorem and no subgoal of one; raise learn.first_calls")
        kind = _KINDS.get(type(policy[0]), "(goal, tactic) pairs")
        self.say(f"round {r}: training on {len(policy)} {kind} and {len(value)} values for {c.seconds:.0f} s …")
        if self.config.retrains(r):
            self.say(f"round {r}: training starts again from the first weights (learn.retrain_every)")
        began = time.monotonic()
        learned = {f"ranker_{k}": v for k, v in self._learn_ranker(r).items()}
        learned |= {f"retriever_{k}": v for k, v in self._learn_retriever(r).items()}
        learned |= {f"assessor/{k}": v for k, v in self._learn_assessor(r).items()}
        if isinstance(policy[0], Trajectory):
            learned |= staleness(policy, r - 1)
        return policy, value, {"pairs": float(len(policy)), **learned, "training_seconds": time.monotonic() - began}

    def _newest(self, kind: str, load: Callable[[Path], T], start: Path | None) -> T | None:
        """The newest model of a kind in this run, or else the start's."""
        rounds = range(1, self.config.learn.rounds + 1)
        found = [self._file(kind, r) for r in rounds if self.ledger.get(f"learned {r}") is not None]
        found = [p for p in found if p.exists()]
        newest = found[-1] if found else start
        return load(newest) if newest is not None else None

    def _file(self, kind: str, r: int) -> Path:
        return self.folder / kind / f"{r:06d}.npz"

    def _draw(self, kind: str, r: int) -> list[dict[str, Any]]:
        replay = self.config.replay
        if self.config.retrains(r):  # the new weights have seen none of the examples
            replay = replace(replay, half_life=math.inf)
        own = buffer.draw(self.ledger, kind, replay, r - 1, self.config.seed, r)
        if self.earlier is None:
            return own
        wanted = max(START_LEAST, round(len(own) * replay.start_share / (1 - replay.start_share)))
        held, replay = buffer.withheld(self.ledger) | self._earlier_near(), replace(replay, capacity=wanted)
        return [*buffer.draw(self.earlier, kind, replay, 0, self.config.seed + r, without=held), *own]

    def _earlier_near(self) -> frozenset[str]:
        """Theorems of the run that this one starts from that nearly repeat an evaluated one of this run."""
        assert self.earlier is not None
        new = [t for t in self.earlier.example_theorems() if t.name not in self._compared]
        self._compared |= {t.name: False for t in new} | dict.fromkeys(self._near_evaluated(new), True)
        return frozenset(name for name, near in self._compared.items() if near)

    def _learn_ranker(self, r: int) -> dict[str, float]:
        """Train the ranker from scratch on all tactics tried on solved goals."""
        c = self.config
        if not c.prover.use_ranker:
            return {}
        config = RankingConfig(
            seconds=c.learn.ranker_seconds, threads=c.learn.threads, fresh_names=c.learn.fresh_names, seed=c.seed
        )
        return self._keep("ranker", r, train_ranker(self._draw("tried", r), self._known(r), config))

    def _learn_assessor(self, r: int) -> dict[str, float]:
        """Train the assessor from scratch on all tactics tried."""
        c = self.config.learn
        if not c.assessor_seconds:
            return {}
        config = AssessingConfig(seconds=c.assessor_seconds, threads=c.threads, seed=self.config.seed)
        return self._keep("assessor", r, train_assessor(self._draw(ASSESSED, r), self._known(r), config))

    def _keep(self, kind: str, r: int, trained: tuple[Any, dict[str, float]]) -> dict[str, float]:
        """Use and save a model of round `r`, if there was enough to train one. Returns the metrics."""
        model, metrics = trained
        if model is not None:
            self.models = self.models._replace(**{kind: model})
            model.save(self._file(f"{kind}s", r))
        return metrics

    def _known(self, r: int) -> Mapping[str, Premise]:
        """The theorems that the searches of round `r` could use."""
        for imports in {a.theorem.imports for a in self.ledger.attempts(f"round {r}")}:
            imported(imports, self.index)
        return known_theorems(self.index)

    def _learn_retriever(self, r: int) -> dict[str, float]:
        """Train the retriever from scratch on the premises of audited proofs."""
        if self.config.prover.retriever not in ("dense", "hybrid"):
            return {}
        config = SelectionConfig(seconds=self.config.learn.retriever_seconds, seed=self.config.seed)
        return self._keep("retriever", r, train_retriever(self._draw("premises", r), self.index, config))

    def _trajectories(self, r: int) -> list[Trajectory]:
        """The trajectories sampled in round `r`, and proofs of earlier rounds to imitate. Raises HeldOutLeak for a theorem outside the
        training split."""
        rows = list(self.ledger.example_rows("rollouts", f"round {r}"))
        held = buffer.withheld(self.ledger)
        for row in rows:
            buffer.check_for_training(row.theorem, held)
        found = from_rows(row.data for row in rows)
        if settings_of(self.config.learn.algorithm, self.config.gradient).imitation:
            found += shortest_proofs(self._earlier_rollouts(r, held))
        return found

    def _earlier_rollouts(self, r: int, held: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        for row in self.ledger.example_rows("rollouts"):
            if row.data["round"] < r and row.outcome != "rejected":
                buffer.check_for_training(row.theorem, held)
                yield row.theorem, row.data

    def _examples(self, r: int) -> tuple[list[Any], list[Any]]:
        """(policy examples, value examples) of a round from the configured algorithms."""
        c = self.config.learn
        policy: list[Any] = []
        if self._samples_trajectories:
            return self._trajectories(r), self._values(r)
        if c.algorithm == "grpo" and r > 1:
            policy = grpo.search_examples(_of_round(self._draw("group", r), r)) if c.collect == "search" else []
            policy += grpo.rollout_examples(_of_round(self._draw("rollouts", r), r))
        elif c.algorithm == DPO:
            policy = list(preference_pairs(self._draw("tried", r), self.config.dpo.pairs, self.config.seed))
        elif c.algorithm not in OWN_ALGORITHMS and r > 1:
            policy = list(plugins.load(ALGORITHMS, c.algorithm)(lambda kind: self._draw(kind, r), r))
        if not policy:
            policy = list(expert_iteration.policy_examples(self._draw("policy", r), c.targets))
        if c.infill:
            policy += infill_examples(self._draw("infill", r), c.infill, len(policy), f"{self.config.seed}/{r}")
        if r == 1 or c.algorithm == "expert_iteration":
            policy += self.human
        return policy, self._values(r)

    def _values(self, r: int) -> list[ValueExample]:
        if not self.config.learns_value:
            return []
        if self.config.learn.value == "td_lambda":
            return td_lambda.value_examples(self._draw("td", r), SearchConfig().discount)
        return expert_iteration.value_examples(self._draw("value", r))


def _of_round(rows: Sequence[dict[str, Any]], r: int) -> list[dict[str, Any]]:
    """On-policy rows: those collected in round `r`."""
    return [row for row in rows if row["round"] == r]
