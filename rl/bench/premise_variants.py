"""The variants that `bench premises` compares."""

from __future__ import annotations

from dataclasses import dataclass, replace

from prover.premises.retrieve import LEARNED, RETRIEVERS


@dataclass(frozen=True)
class PremiseVariant:
    """A column of the comparison."""

    name: str
    retriever: str | None
    """None: no premises."""
    trained: bool = False
    """Whether the retriever uses the run's weights."""
    model: bool = False
    """Whether the policy is a mixture of the run's model and the explorer."""
    fresh: bool = False
    """Whether the model sees made-up names for the library's names."""
    questions: str = ""
    """Questions to Lean, as in SearchConfig."""
    local: bool = True
    """Whether the search sees the theorem's surroundings."""


FRESH = ", fresh names"


def retrievers(has_weights: bool) -> list[tuple[str, str, bool]]:
    """(label, name, whether it uses the run's weights) of each retriever."""
    found = [(r + (" untrained" if r in LEARNED else ""), r, False) for r in RETRIEVERS]
    return found + [(f"{r} trained", r, True) for r in LEARNED if has_weights]


def variants(has_model: bool, has_weights: bool, questions: str = "") -> list[PremiseVariant]:
    """The variants that a run's folder supports. `questions`: if not empty, adds a variant that asks Lean these questions."""
    found = [PremiseVariant("explorer, no premises", None)]
    found += [PremiseVariant(f"explorer, {label}", r, trained) for label, r, trained in retrievers(has_weights)]
    if has_model:
        best = "hybrid" if has_weights else "symbols"
        with_model = [
            PremiseVariant("trained, no premises", None, model=True),
            PremiseVariant(f"trained, {best}", best, has_weights, True),
        ]
        found += with_model + [replace(v, name=v.name + FRESH, fresh=True) for v in with_model]
        if has_weights:
            found.append(PremiseVariant("trained, symbols", "symbols", model=True))
    if questions:
        found.append(PremiseVariant(f"explorer, symbols, asking {questions}", "symbols", questions=questions))
    return found
