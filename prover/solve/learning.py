"""Learning on theorems that a search left open (`turnstile prove --learn`): the input and the result of a learner.

A learner is an entry point of the group `turnstile.learners`: a function from LearnOptions to a Learner. The project's own is
rl.test_time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from prover.console import one_line, plain, say
from prover.lean.declarations import KEYWORDS, Declarations, context_before
from prover.lean.server import LeanDied, LeanError
from prover.lean.sorries import Hole
from prover.lean.text import LeanText, index_at
from prover.lean.theorem import Goal, Theorem
from prover.solve.batch import Target, Task
from prover.solve.executor import LocalExecutor
from prover.solve.results import Results
from prover.solve.statements import FileTheorems, lean_name
from prover.solve.theorem_rows import without_open_lemmas

LEARNERS = "turnstile.learners"

Searched = tuple[dict[str, Any], bytes]
"""(the answer's fields, the filled file or the proofs)."""


@dataclass(frozen=True)
class LearnOptions:
    """The options of a command that concern a learner."""

    minutes: float
    policy: str = "portfolio"
    """The policy that learning starts from, as in `turnstile prove --policy`."""
    out: Path | None = None
    """The folder of the learning run. None: a new one in the cache."""
    resume: bool = False
    """Whether to continue the run in that folder."""
    settings: Path | None = None
    """A configuration of `turnstile train`, for a new model."""
    variants: int = 0
    """Maximum number of variants of a theorem. 0: computed from `minutes`."""
    budget: int = 64
    """Lean calls that the search had for each theorem."""
    rule: str = ""
    workers: int = 0
    ray: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Learned:
    """The result of learning."""

    proofs: dict[str, tuple[str, dict[str, Any]]]
    """Task key -> (a proof, how it was found: `folder`, `round`, `variants`, `variants_proved`, `lean_calls`)."""
    document: dict[str, Any] = field(default_factory=dict)
    """The field `learned` of the answer."""
    interrupted: bool = False


class Learner(Protocol):
    """Learns on theorems until they are proved, or its time is over."""

    def learn(self, targets: Sequence[Target]) -> Learned: ...


def with_learning(learner: Learner, search: Callable[[], Searched], log: Results) -> Searched:
    """Search, learn on the theorems left open, and search again with the learned proofs in the log, which audits them like its own."""
    document, source = search()
    targets = [t for t in document["open"] if log.rows.get(t.place)]
    if document["interrupted"] or not targets:
        return document, source
    say(f"turnstile: learning on {len(targets)} theorems that the search left open")
    try:
        learned = learner.learn(targets)
    except Exception as error:  # reported once the answer of the search is written
        return {**document, "failure": error}, source
    for target in targets:
        if (found := learned.proofs.get(target.task.key)) is not None:
            script, about = found
            row = {**log.rows[target.place], "outcome": "found", "proof": script, "reason": "", "unjudged": True}
            log.add({**row, "prover": about["folder"], "learned": about})
    if learned.proofs:
        seconds = document["seconds"]
        document, source = search()
        document["seconds"] = round(document["seconds"] + seconds, 2)
    document["learned"] = learned.document
    document["interrupted"] |= learned.interrupted
    _tell(document)
    return document, source


def _tell(document: dict[str, Any]) -> None:
    for task in document["tasks"]:
        if (about := task.get("learned")) is not None and task["outcome"] == "proved":
            say(
                f"turnstile: {plain(task['name'])}: proved in round {about['round']} of learning, with {about['variants_proved']} of "
                f"{about['variants']} variants proved, in {about['lean_calls']} Lean calls"
            )
    if folder := document["learned"].get("folder"):
        rounds = document["learned"].get("rounds", 0)
        trained = f"what was learned is in {plain(folder)}"
        say(f"turnstile: {trained if rounds else f'nothing was trained yet; the run is in {plain(folder)}'}")


@dataclass(frozen=True)
class Stated:
    """A task as a theorem of its own."""

    theorem: Theorem
    before: str = ""
    """The first line of the task's proof, before a proof of the theorem; or empty."""


async def stated(task: Task, executor: LocalExecutor) -> Stated | str:
    """The task as a theorem whose context is the text before it, or the reason why it cannot be stated so.

    Open lemmas before it that nothing mentions are left out: the audit accepts no proof that rests on them.
    """
    if task.sorry is None:
        return Stated(task.theorem) if task.theorem.statement is not None else "its statement is not given as source"
    file, number = task.sorry.file, task.sorry.number
    if file.before:
        return "its file imports other files of its project"
    pool = executor.pool
    try:
        hole = (await executor.sorries(file)).holes[number]
        states, release = await pool.open_sorry(file.text, file.imports, file.before, number)
    except (LeanError, LeanDied) as error:
        return one_line(str(error))
    try:
        if len(states) != 1 or len(states[0].goals) != 1:
            return "it stands for several goals"
        goal = states[0].goals[0]
        for candidate in _candidates(file.text, hole, goal):
            theorem = replace(candidate, imports=file.imports)
            if (state := await executor.seen(theorem)) is not None and state.key == states[0].key:
                return Stated(theorem, f"rename_i {' '.join(goal.renamed)}" if goal.renamed else "")
        return "its goal cannot be stated as a theorem"
    finally:
        release()


def _candidates(text: LeanText, hole: Hole, goal: Goal) -> list[Theorem]:
    """The theorem around a `sorry` that is its whole proof, and the goal of the `sorry` as a theorem."""
    found = FileTheorems(text).at(hole.start)
    theorems = [] if found is None else [found]
    before = text.body[: index_at(text.body, hole.start)]
    source = Declarations(before)
    if starts := [i for i in source.starts(KEYWORDS) if source.begins_line(i)]:
        name, context = lean_name(hole.name.replace("#", "_")), context_before(source, starts[-1])
        theorems.append(Theorem(name, goal.statement, context=context, source=text.path))
    return [
        replace(t, context=without_open_lemmas(t.context, t.statement or ""))
        for t in theorems
        if t.statement is not None
    ]
