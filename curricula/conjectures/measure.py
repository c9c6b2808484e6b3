"""Measures what lemmas save: searches goals with and without them, with equal Lean calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prover.lean.text import code_words
from prover.lean.theorem import Theorem
from prover.solve.executor import Executor
from prover.solve.job import Found, Job, Sorry, SourceFile
from prover.solve.lemmas import Lemma, inserted, without_unused


@dataclass(frozen=True)
class GoalSet:
    """Some `sorry`s of a file, and where lemmas go in it."""

    file: SourceFile
    at: int
    """Offset in UTF-8 bytes at which lemmas are inserted: before every one of the goals."""
    numbers: tuple[int, ...]
    """The goals, by their index in source order."""
    budget: int
    """Lean calls for each goal."""


@dataclass(frozen=True)
class Costs:
    """Results of the goals, in their order."""

    found: tuple[Found, ...]
    budget: int

    @property
    def calls(self) -> list[int]:
        """Lean calls of each goal: the whole budget if it is not proved."""
        return [min(f.lean_calls, self.budget) if f.outcome == "found" else self.budget for f in self.found]

    @property
    def solved(self) -> int:
        return sum(f.outcome == "found" for f in self.found)

    def uses(self, name: str) -> int:
        """How many proofs mention a name."""
        return sum(f.outcome == "found" and name in {w for w, _ in code_words(f.script)} for f in self.found)


async def costs(executor: Executor, goals: GoalSet, lemmas: Sequence[Lemma] = (), save: bool = False) -> Costs:
    """Try every goal with these lemmas before it. `save`: keep the searches that reached their budget."""
    file = replace(goals.file, text=inserted(goals.file.text, goals.at, lemmas))
    found = []
    for number in goals.numbers:
        theorem = Theorem("goal", "", imports=file.imports)
        job = Job(theorem, goals.budget, sorry=Sorry(file, number), saved=b"" if save else None)
        found.append(await executor.attempt(job))
    return Costs(tuple(found), goals.budget)


@dataclass(frozen=True)
class Worth:
    """What a lemma saves. All in Lean calls, over all goals."""

    alone: int
    """As the only lemma, with those that its own proof needs."""
    last: int
    """As an addition to all other lemmas."""
    own: int
    """Cost of finding it."""
    uses: int
    """Goals whose proof mentions it when all lemmas are there."""

    @property
    def saved(self) -> int:
        """The larger of both, because a lemma that only helps together with others saves nothing alone."""
        return max(self.alone, self.last)

    @property
    def pays(self) -> bool:
        """Whether it saves anything. Its own cost does not count, because it is spent already."""
        return self.uses > 0 and self.saved > 0

    @property
    def redundancy(self) -> float:
        """The share of what it saves that the other lemmas save as well, in [0, 1]."""
        return min(1.0, max(0.0, 1 - self.last / self.saved)) if self.saved > 0 else 0.0

    @property
    def worth(self) -> float:
        """Lean calls that it saves, less those that other lemmas save too, less its own cost."""
        return self.saved * (1 - self.redundancy) - self.own


@dataclass(frozen=True)
class Measured:
    """Costs of the goals, and the worth of each lemma."""

    without: Costs
    together: Costs
    worths: dict[str, Worth]
    calls: int
    """Lean calls of all measurements."""


async def measured(executor: Executor, goals: GoalSet, lemmas: Sequence[Lemma], without: Costs) -> Measured:
    """The worth of each lemma on the goals. Lemmas that no proof uses save nothing, and are not measured one by one."""
    together = await costs(executor, goals, lemmas)
    calls = sum(without.calls) + sum(together.calls)
    worths: dict[str, Worth] = {}
    for lemma in lemmas:
        uses = together.uses(lemma.name)
        if not uses:
            worths[lemma.name] = Worth(0, 0, lemma.calls, 0)
            continue
        alone = await costs(executor, goals, without_unused(lemmas, {lemma.name}))
        rest = await costs(executor, goals, [x for x in lemmas if x not in resting_on(lemmas, lemma)])
        spent, given = sum(alone.calls), sum(rest.calls)
        calls += spent + given
        worths[lemma.name] = Worth(sum(without.calls) - spent, given - sum(together.calls), lemma.calls, uses)
    return Measured(without, together, worths, calls)


def resting_on(lemmas: Sequence[Lemma], lemma: Lemma) -> list[Lemma]:
    """The lemma and those whose proofs need it."""
    gone = [lemma]
    for other in lemmas:
        if any(other.uses(g.name) for g in gone):
            gone.append(other)
    return gone
