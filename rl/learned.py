"""The small models that a run learns besides the language model."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from prover.models.assessor import Assessor
from prover.models.fresh_names import NameObfuscator
from prover.models.ranker import TacticRanker
from prover.models.tactic_templates import Explorer
from prover.premises.dense import DenseWeights
from prover.premises.index import LibraryIndex
from rl.config import ProverConfig


class Learned(NamedTuple):
    """The small models of a run; None for those that it does not have."""

    ranker: TacticRanker | None = None
    retriever: DenseWeights | None = None
    assessor: Assessor | None = None

    @staticmethod
    def load(ranker: Path | str | None, retriever: Path | str | None, assessor: Path | str | None) -> Learned:
        """Load the models from files. None or an empty name: no such model. Raises UserError for an invalid file."""
        return Learned(
            TacticRanker.load(Path(ranker)) if ranker else None,
            DenseWeights.load(Path(retriever)) if retriever else None,
            Assessor.load(Path(assessor)) if assessor else None,
        )

    def explorer(
        self, index: LibraryIndex, seed: int, config: ProverConfig, obfuscator: NameObfuscator | None = None
    ) -> Explorer:
        """The explorer to mix with the model, ordered by the ranker unless the run does without it."""
        return Explorer(
            index,
            seed,
            config.premises,
            self.ranker if config.use_ranker else None,
            obfuscator,
            actions=config.actions,
            assessor=self.assessor,
            assess=config.assess,
        )
