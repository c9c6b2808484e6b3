"""Makes variants of theorems that resist a search, to learn on: special cases, parts, mutations, goals that the search met, and lemmas.

A variant has the context of its theorem: everything before it, and nothing after it. Variants are made at random from the theorem and
from its other variants, so that some are close to it and some are far simpler (Hubert et al., Nature 2025, test-time RL).
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from curricula.conjectures.bench import MAX_STATEMENT, Bench, Place
from curricula.conjectures.filters import Novelty, false, false_for_truth_values
from curricula.conjectures.goals import generalisations, goals_met
from curricula.conjectures.relatives import relatives
from curricula.conjectures.samples import Samples
from curricula.conjectures.signature import Signature
from curricula.conjectures.statements import Statement
from curricula.conjectures.statements import stated as stated_with
from curricula.conjectures.terms import Terms, equations
from curricula.library import split_of
from prover.console import one_line
from prover.lean.declarations import declared_names
from prover.lean.server import LeanDied, LeanError, statement_source
from prover.lean.theorem import Theorem
from prover.solve.batch import Target
from prover.solve.data_sets import numbered
from prover.solve.executor import LocalExecutor
from prover.solve.learning import Stated, stated

CHUNK = 16
"""Maximum number of proposals in one query to Lean."""
GENERATIONS = 8
"""Minimum number of chunks. A chunk is made from the variants of earlier chunks. Without a minimum, few variants would all be made from the
theorem itself and be nearly as hard."""
MOST_LOOKED_AT = 5
"""Maximum number of proposals per wanted variant."""
TARGET = "target"
"""The kind of a target itself."""
TERM_CALLS = 64
"""Lean calls for the values of small terms."""


@dataclass(frozen=True)
class Variant:
    """A theorem to learn on, and where it comes from."""

    theorem: Theorem
    kind: str
    """The kind of change, or TARGET."""
    target: str
    """Name of the theorem that it is a variant of."""
    parent: str = ""
    """Name of the theorem or variant that it was made from."""


def training_name(name: str, taken: Collection[str] = ()) -> str:
    """The name, with a number if necessary, so that its hash is in the training split and it is not in `taken`."""
    names = itertools.chain([name], (numbered(name, n) for n in itertools.count(2)))
    return next(n for n in names if n not in taken and split_of(n) == "train")


class Maker:
    """Makes the theorems of a run. Each has its own name, which is in the training split."""

    def __init__(self, executor: LocalExecutor, most: int, seed: int = 0) -> None:
        """`most`: maximum number of variants of each target."""
        self.executor, self.most, self.seed = executor, most, seed
        self.until = float("inf")
        """Time (time.monotonic) after which no further proposals are examined."""
        self.found: list[Variant] = []
        self.names: set[str] = set()
        self.left_out: dict[str, str] = {}
        """Task key -> the reason why it has no variants, or cannot be learned on."""
        self.targets: dict[str, tuple[str, Stated]] = {}
        """Task key -> (name in the run, the task as a theorem)."""
        self.lean_calls: dict[str, int] = {}
        """A target's name in the run -> Lean calls for its variants."""

    async def add(self, target: Target) -> None:
        """Add a target and its variants."""
        task = target.task
        found = await stated(task, self.executor)
        if isinstance(found, str):
            self.left_out[task.key] = found
            return
        here = found.theorem
        taken = self.names | declared_names(here.context)
        name = training_name(here.name, taken)
        self.names.add(name)
        self.targets[task.key] = name, found
        theorem = replace(here, name=name, source=task.area or here.source)
        self.found.append(Variant(theorem, TARGET, name))
        try:
            made = await self._variants(theorem, target.searched)
        except (LeanError, LeanDied, ValueError) as error:
            self.left_out[task.key] = f"no variants: {one_line(str(error))}"
            return
        named: dict[int, str] = {}
        for i, (text, kind, parent) in enumerate(made):
            named[i] = training_name(f"variant_{len(self.found)}", self.names | taken)
            self.names.add(named[i])
            known = name if parent is None else named[parent]
            variant = replace(theorem, name=named[i], statement=text, column=None)
            self.found.append(Variant(variant, kind, name, known))

    async def _variants(self, theorem: Theorem, searched: bytes) -> list[tuple[str, str, int | None]]:
        """(statement, kind, index of the variant that it was made from or None) of each variant. Raises LeanError and ValueError."""
        bench = Bench(self.executor, Place("variants", theorem.context, theorem.imports, theorem.before))
        try:
            text = bench.place.file(statement_source(replace(theorem, context=""))).text
            signature, _ = await bench.signature(text)
            if not signature.known or not signature.known[-1].open:
                raise ValueError(f"the statement has more than {MAX_STATEMENT} parts")
            growth = _Growth(bench, signature, random.Random(f"variants {self.seed} {theorem.name}"))
            goals = await generalisations(bench, signature, goals_met([searched]))
            growth.propose("met by a search", [s for _, s in goals])
            terms = Terms(signature, self.seed)
            growth.propose("small terms", await equations(bench, terms, growth.usable, TERM_CALLS))
            with suppress(LeanError, LeanDied):  # keeps the variants made before the error
                await growth.grow(self.most, self.until)
            return growth.made
        finally:
            self.lean_calls[theorem.name] = bench.spent
            bench.close()


class _Growth:
    """A random tree of variants below one statement."""

    def __init__(self, bench: Bench, signature: Signature, rng: random.Random) -> None:
        self.bench, self.signature, self.rng = bench, signature, rng
        self.samples = Samples(signature)
        self.usable = [k.statement for k in signature.known if not k.open]
        self.made: list[tuple[str, str, int | None]] = []
        self._waiting: list[tuple[int | None, dict[str, Iterator[Statement] | list[Statement]]]] = []
        """(a variant or None for the target, its proposals by kind). The first draw of a kind turns its proposals into a shuffled list."""
        last = signature.known[-1].statement
        facts = [h.type for h in last.hypotheses if signature.is_proposition(h.type)]
        self.target = stated_with(last.conclusion, facts, last.variables)
        self.novelty = Novelty(self.usable, [last, self.target])
        self._add(None, self.target)

    def _add(self, variant: int | None, statement: Statement) -> None:
        self._waiting.append((variant, dict(relatives(self.signature, statement, self.usable))))

    def propose(self, kind: str, statements: list[Statement]) -> None:
        """Add proposals made from the target."""
        self._waiting.append((None, {kind: statements}))

    async def grow(self, most: int, until: float) -> None:
        """Examine proposals until there are `most` variants, MOST_LOOKED_AT * `most` were examined, none is left, or the time is over."""
        looked_at, chunk_size = 0, min(CHUNK, max(1, most // GENERATIONS))
        while len(self.made) < most and looked_at < MOST_LOOKED_AT * most and time.monotonic() < until:
            chunk = list(itertools.islice(self._draw(), chunk_size))
            if not chunk:
                return
            looked_at += len(chunk)
            texts = await self.bench.written([s for *_, s in chunk])
            for (parent, kind, statement), text in zip(chunk, texts, strict=True):
                if text is None or len(self.made) >= most:
                    continue
                if not await false(self.bench, self.samples, statement, self.rng):
                    self._add(len(self.made), statement)
                    self.made.append((text, kind, parent))

    def _draw(self) -> Iterator[tuple[int | None, str, Statement]]:
        """Yields new proposals, each of a random variant and a random kind."""
        while self._waiting:
            at = self.rng.randrange(len(self._waiting))
            variant, kinds = self._waiting[at]
            if not kinds:
                self._waiting.pop(at)
                continue
            kind = self.rng.choice(list(kinds))
            statements = kinds[kind]
            if not isinstance(statements, list):
                statements = kinds[kind] = list(statements)
                self.rng.shuffle(statements)
            if not statements:
                del kinds[kind]
                continue
            statement = statements.pop()
            if statement.size <= MAX_STATEMENT and self.novelty.new(statement):
                self.novelty.forms.add(statement.form)
                if not false_for_truth_values(self.samples, statement):
                    yield variant, kind, statement


async def made(targets: Sequence[Target], most: int, seed: int, seconds: float) -> Maker:
    """The targets and at most `most` variants of each, in about `seconds`, which the targets share."""
    async with LocalExecutor((), 1) as executor:
        maker = Maker(executor, most, seed)
        began = time.monotonic()
        for i, target in enumerate(targets):
            maker.until = began + seconds * (i + 1) / len(targets)
            await maker.add(target)
        return maker
