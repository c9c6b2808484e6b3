"""Finds lemmas: proposes statements, filters them, proves the rest, and proposes further statements from those proved."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import product

from curricula.conjectures.bench import Bench, statement_of
from curricula.conjectures.expressions import NotExpressible, plain_name
from curricula.conjectures.filters import Novelty, at_once, false
from curricula.conjectures.goals import generalisations
from curricula.conjectures.induction import Related
from curricula.conjectures.laws import laws
from curricula.conjectures.mutations import mutations
from curricula.conjectures.naming import name_for
from curricula.conjectures.order import path_order
from curricula.conjectures.samples import Samples
from curricula.conjectures.signature import Signature
from curricula.conjectures.statements import Statement, opened, swapped
from curricula.conjectures.terms import Terms, equations
from curricula.conjectures.values import Values
from prover.console import say
from prover.lean.server import LeanDied, LeanError
from prover.lean.theorem import Goal, Theorem
from prover.solve.job import Job, Sorry, SourceFile
from prover.solve.lemmas import Lemma

MOST_WEIGHT = 26
"""Maximum number of data parts in a statement."""
CHUNK = 8
"""Number of conjectures that are stated in one text."""
TRIES = 4
"""Maximum number of attempts by induction at one conjecture, each with a larger library."""
SEARCHES = 2
"""Maximum number of searches for one conjecture, when induction proves none. The first has half of the calls."""
_FIRST = {"met by a search": -4, "injective": 4, "constant result": 4, "relation": 4}
"""Changes of a conjecture's weight by kind. The smallest weights are tried first, and equations before others, because proofs by rewriting
use them most."""
TYPED = ("small terms", "injective", "constant result", "relation")
"""Kinds of proposals that are well-typed by construction."""
_AGAIN = 4
"""Added to the weight for each earlier try."""


@dataclass(frozen=True)
class Limits:
    """Lean calls."""

    total: int
    each: int = 32
    """Lean calls of one search for a proof."""


@dataclass
class Conjecture:
    """A proposed statement that is not proved yet."""

    kind: str
    statement: Statement
    weight: int
    tries: int = 0
    searches: int = 0
    names: Sequence[str] | None = None
    """The functions and theorems that the last try could use."""
    calls: int = 0


Attempt = Callable[[Conjecture, SourceFile, int], Awaitable[Lemma | None]]


@dataclass
class Discovery:
    """The state of a run. `lemmas`: the library, in its order."""

    bench: Bench
    signature: Signature
    limits: Limits
    seed: int = 0
    goals: Sequence[Goal] = ()
    """Goals that searches could not close."""
    stated: Sequence[Statement] = ()
    """Statements that must not be conjectured, such as the goals themselves."""
    taken: set[str] = field(default_factory=set)
    """Names of the file's declarations, without their namespaces."""
    mutate_only: bool = False
    """Propose only changes of known statements."""
    lemmas: list[Lemma] = field(default_factory=list)
    statements: dict[str, Statement] = field(default_factory=dict)
    """Statements of the lemmas by name."""
    counts: Counter[str] = field(default_factory=Counter)
    """Number of conjectures by result."""

    def __post_init__(self) -> None:
        self.rng = random.Random(f"turnstile conjecture {self.seed}")
        self.samples = Samples(self.signature)
        self.values = Values(self.samples)
        known = self.signature.known
        self.novelty = Novelty((k.statement for k in known), self.stated, path_order(self.signature))
        self._directed = path_order(self.signature, variables=False)
        self.related = Related(self.signature)
        for k in known:
            if not k.open:
                with suppress(NotExpressible):
                    self.related.add(plain_name(k.name), k.statement)
        self.pending: list[Conjecture] = []
        self.seen: set[str] = set()

    @property
    def done(self) -> bool:
        return self.bench.spent >= self.limits.total

    async def start_with(self, lemma: Lemma) -> None:
        """Add a lemma of an earlier library, if its name is free and the audit accepts it here."""
        place = self.bench.place
        (type_,) = await self.bench.types_of([lemma.statement])
        theorem = replace(lemma.theorem(place.context, place.imports), before=place.before)
        new = lemma.name not in self.taken
        if new and type_ is not None and (await self.bench.executor.audit(theorem, lemma.script)).verdict == "proved":
            return self._add(lemma, opened(type_))
        why = "its name is taken, or it is not proved here"
        say(f"turnstile: {lemma.name} of the earlier library is left out: {why}")

    async def run(self) -> list[Lemma]:
        """Find lemmas until the calls are spent or nothing is left to try."""
        known = [k.statement for k in self.signature.known]
        usable = [k.statement for k in self.signature.known if not k.open]
        if not self.mutate_only:
            most = self.limits.total // 4  # for the values of small terms
            terms = Terms(self.signature, self.seed)
            self._propose(await generalisations(self.bench, self.signature, self.goals[: self.limits.total // 20]))
            self._propose(("small terms", s) for s in await equations(self.bench, terms, usable, most, self.values))
            self._propose(laws(self.signature))
        changed = 0
        while not self.done:
            if chunk := await self._chunk():
                await self._try(chunk, self._prove)
            elif chunk := self._unsearched():
                await self._try(chunk, self._searched)
            elif changed == (changed := len(known) + len(self.statements)):
                break
            else:  # nothing better is left
                self._propose(mutations(self.signature, [*known, *self.statements.values()]))
        return self.lemmas

    # -- filters -----------------------------------------------------------------------------------------------------

    def _weight(self, kind: str, statement: Statement) -> int:
        return sum(1 for p in statement.parts for _ in self.signature.data_parts(p)) + _FIRST.get(kind, 0)

    def _propose(self, proposals: Iterable[tuple[str, Statement]]) -> None:
        for kind, statement in proposals:
            if statement.form not in self.seen and (weight := self._weight(kind, statement)) <= MOST_WEIGHT:
                self.seen.add(statement.form)
                self.pending.append(Conjecture(kind, self._towards_smaller(statement), weight))

    def _towards_smaller(self, statement: Statement) -> Statement:
        """The statement; an equation is turned so that it rewrites towards the smaller side."""
        sides = statement.sides
        if sides is None or not self._directed(*sides):
            return statement
        return Statement(statement.variables, swapped(statement.conclusion))

    async def _chunk(self) -> list[Conjecture]:
        """The next conjectures to try, the smallest first. A conjecture is retried only if there is a new lemma about its functions."""
        ready = [c for c in self.pending if c.tries < TRIES and c.names != self.related.names(c.statement)]
        ready.sort(key=lambda c: (c.weight + _AGAIN * c.tries, c.statement.form))
        chunk: list[Conjecture] = []
        for conjecture in ready:
            if len(chunk) == CHUNK or self.done:
                break
            if await self._may_hold(conjecture):
                chunk.append(conjecture)
        unsure = [c for c in chunk if c.kind not in TYPED and not c.tries]
        texts = await self.bench.printed([c.statement for c in unsure])
        for conjecture, text in zip(unsure, texts, strict=True):
            conjecture.calls += 1
            if not text:
                self._drop(conjecture, "not typed")
        return [c for c in chunk if c in self.pending]

    async def _may_hold(self, conjecture: Conjecture) -> bool:
        """Whether a conjecture is new, and not false for small values. If not, it is dropped."""
        if not self.novelty.new(conjecture.statement):
            self._drop(conjecture, "not new" if conjecture.tries == 0 else "follows from a lemma")
            return False
        if conjecture.tries:
            return True
        holds = self.values.holds(conjecture.statement)
        if holds is None:
            holds = not await false(self.bench, self.samples, conjecture.statement, self.rng)
        if not holds:
            self._drop(conjecture, "false")
        return holds

    # -- proofs ------------------------------------------------------------------------------------------------------

    def _unsearched(self) -> list[Conjecture]:
        """At most one conjecture that induction did not prove: the one with the fewest searches, then the smallest."""
        left = [c for c in self.pending if c.searches < SEARCHES and c.tries and self.novelty.new(c.statement)]
        return sorted(left, key=lambda c: (c.searches, c.weight, c.statement.form))[:1]

    async def _try(self, chunk: Sequence[Conjecture], prove: Attempt) -> None:
        """Try conjectures until one is proved."""
        examples = "\n\n".join(f"example {c.statement.source} := by\n  sorry" for c in chunk)
        file = self.bench.place.file(examples)
        for number, conjecture in enumerate(chunk, self.bench.place.holes):
            if self.done:
                break
            before = self.bench.spent
            try:
                lemma = await prove(conjecture, file, number)
            except (LeanError, LeanDied):  # drops this statement only
                self._drop(conjecture, "error")
                continue
            finally:
                conjecture.calls += self.bench.spent - before
            if lemma is not None:
                self._accept(conjecture, replace(lemma, calls=conjecture.calls))
                break

    def _drop(self, conjecture: Conjecture, why: str) -> None:
        self.pending.remove(conjecture)
        self.counts[why] += 1

    async def _prove(self, conjecture: Conjecture, file: SourceFile, number: int) -> Lemma | None:
        conjecture.tries += 1
        conjecture.names = self.related.names(conjecture.statement)
        if await self.bench.solves("one tactic", file, number, at_once(conjecture.names)):
            self._drop(conjecture, "closed by one tactic")
            return None
        scripts = self.related.inductions(conjecture.statement)
        one = "first\n" + "\n".join(f"| ({t}; done)" for t in scripts)
        if scripts and not self.done and await self.bench.solves("inductions", file, number, one):
            return await self._named(conjecture, scripts)
        self.counts["not proved"] += 1
        return None

    async def _searched(self, conjecture: Conjecture, file: SourceFile, number: int) -> Lemma | None:
        conjecture.searches += 1
        calls = self.limits.each * conjecture.searches // SEARCHES
        job = Job(Theorem("conjecture", "", imports=file.imports), max(1, calls), sorry=Sorry(file, number))
        found = await self.bench.executor.attempt(job)
        self.bench.calls["searches"] += found.lean_calls
        return await self._named(conjecture, [found.script]) if found.outcome == "found" else None

    async def _named(self, conjecture: Conjecture, scripts: Sequence[str]) -> Lemma | None:
        """The lemma with a name, as a person would write it, and with a proof that lists no unused lemma."""
        statement = conjecture.statement
        name = name_for(self.signature, statement, self.taken)
        (printed,) = await self.bench.printed([statement])
        texts = [statement_of(printed, [h.name for h in statement.hypotheses])] if printed else []
        for text, script in product([*texts, statement.source], scripts):
            declared = await self.bench.declared(name, text, script)
            if declared is None or declared.type != statement.expr:
                continue
            shorter = self.related.without_idle(script, declared.mentioned)
            if shorter != script and await self.bench.declared(name, text, shorter) is not None:
                script = shorter
            return Lemma(name, text, script, conjecture.kind)
        self._drop(conjecture, "error")
        return None

    def _accept(self, conjecture: Conjecture, lemma: Lemma) -> None:
        self.pending.remove(conjecture)
        self._add(lemma, conjecture.statement)
        self.counts["proved"] += 1
        say(f"turnstile: {self.bench.spent} calls: {lemma.name} {lemma.statement}")

    def _add(self, lemma: Lemma, statement: Statement) -> None:
        self.lemmas.append(lemma)
        self.statements[lemma.name] = statement
        self.taken.add(lemma.name)
        self.novelty.add(statement)
        self.related.add(lemma.name, statement)
        self.bench.extend(lemma)
