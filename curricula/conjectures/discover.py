"""Finds lemmas: proposes statements, filters them, proves and audits what is left, and goes on from what is proved."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from curricula.conjectures.bench import Bench
from curricula.conjectures.expressions import NotExpressible, name_source
from curricula.conjectures.filters import Novelty, at_once, false
from curricula.conjectures.goals import generalisations
from curricula.conjectures.mutations import mutations
from curricula.conjectures.naming import name_for
from curricula.conjectures.samples import Samples
from curricula.conjectures.signature import Signature
from curricula.conjectures.statements import Statement, opened
from curricula.conjectures.terms import Terms, equations
from prover.console import say
from prover.lean.server import LeanDied, LeanError
from prover.lean.theorem import Goal, Theorem
from prover.solve.job import Found, Job, Sorry, SourceFile
from prover.solve.lemmas import Lemma

MOST_ADMITTED = 40
"""Proposals of one round that Lean is asked about: the smallest ones."""
CALLS_EACH = 4
"""Lean calls that the filters take for one statement, at most."""
MOST_WEIGHT = 26
"""Data in a statement."""
CHUNK = 8
"""Conjectures that one text states."""
TRIES = 3
"""Attempts at one conjecture, each with a larger library."""
_FIRST = {"met by a search": -4, "composed": 3, "fewer hypotheses": 2, "converse": 2}
"""Shifts the weight by which conjectures are tried, the smallest first."""


@dataclass(frozen=True)
class Limits:
    """Lean calls."""

    total: int
    each: int = 32
    """For one attempt at a proof."""
    terms: float = 0.25
    """Share of the total for the values of small terms."""


@dataclass
class Conjecture:
    """A statement that passed the filters."""

    kind: str
    statement: Statement
    text: str
    weight: int
    tries: int = 0
    lemmas: int = -1
    """Size of the library at the last try."""
    calls: int = 0


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
    """Statements that are not to be conjectured, such as the goals themselves."""
    taken: set[str] = field(default_factory=set)
    """Names of the file's declarations, without their namespaces."""
    lemmas: list[Lemma] = field(default_factory=list)
    statements: dict[str, Statement] = field(default_factory=dict)
    """Statements of the lemmas by name."""
    counts: dict[str, int] = field(default_factory=dict)
    """Conjectures by what became of them."""

    def __post_init__(self) -> None:
        self.rng = random.Random(f"turnstile conjecture {self.seed}")
        self.samples = Samples(self.signature)
        known = self.signature.known
        self.novelty = Novelty((k.statement for k in known), self.stated)
        self.usable = [n for k in known if not k.open and (n := _name(k.name))]
        self.pending: list[Conjecture] = []
        self.seen: set[str] = set()
        self._waiting: list[tuple[int, str, str, Statement]] = []

    @property
    def spent(self) -> int:
        return self.bench.spent

    @property
    def done(self) -> bool:
        return self.spent >= self.limits.total

    async def start_with(self, lemma: Lemma) -> bool:
        """Add a lemma of an earlier library, if the audit accepts it here."""
        place = self.bench.place
        (type_,) = await self.bench.types_of([lemma.statement])
        theorem = replace(lemma.theorem(place.context, place.imports), before=place.before)
        if lemma.name in self.taken or type_ is None or (await self._verdict(theorem, lemma.script)) != "proved":
            say(f"turnstile: {lemma.name} of the earlier library is left out: it does not hold here as it is written")
            return False
        self._add(lemma, opened(type_))
        return True

    async def _verdict(self, theorem: Theorem, script: str) -> str:
        return (await self.bench.executor.audit(theorem, script)).verdict

    async def run(self) -> list[Lemma]:
        """Find lemmas until the calls are spent or nothing is left to try."""
        known = [k.statement for k in self.signature.known]
        proposals = await generalisations(self.bench, self.signature, self.goals[: self.limits.total // 20])
        terms = Terms(self.signature, self.seed)
        usable = [k.statement for k in self.signature.known if not k.open]
        most = int(self.limits.total * self.limits.terms)
        proposals += [("small terms", s) for s in await equations(self.bench, terms, usable, most)]
        proposals += mutations(self.signature, known)
        await self._admit(proposals)
        while not self.done:
            ready = [c for c in self.pending if c.tries < TRIES and c.lemmas < len(self.lemmas)]
            ready.sort(key=lambda c: (c.tries, c.weight, c.statement.form))
            if not ready:
                if not await self._admit([]):
                    break
                continue
            new = await self._try(ready[:CHUNK])
            if new is not None:
                library = list(self.statements.values())
                found = [m for m in mutations(self.signature, [new]) if m[0] != "injective"]
                found += [m for m in mutations(self.signature, library) if m[0] == "composed"]
                await self._admit(found)
        return self.lemmas

    # -- filters -----------------------------------------------------------------------------------------------------

    def _weight(self, kind: str, statement: Statement) -> int:
        parts = (statement.conclusion, *(h.type for h in statement.hypotheses))
        return sum(1 for p in parts for _ in self.signature.data_parts(p)) + _FIRST.get(kind, 0)

    async def _admit(self, proposals: Iterable[tuple[str, Statement]]) -> bool:
        """Filter the proposals, and those left over from earlier rounds. Returns whether any was looked at."""
        for kind, statement in proposals:
            if statement.form not in self.seen and (weight := self._weight(kind, statement)) <= MOST_WEIGHT:
                self.seen.add(statement.form)
                self._waiting.append((weight, statement.form, kind, statement))
        self._waiting.sort(key=lambda x: x[:2])
        now = []
        room = min(MOST_ADMITTED, (self.limits.total - self.spent) // CALLS_EACH)
        while self._waiting and len(now) < room:
            weight, _, kind, statement = self._waiting.pop(0)
            if self._counted("new", self.novelty.new(statement)):
                now.append((weight, kind, statement))
        texts = await self.bench.written([s for *_, s in now])
        for (weight, kind, statement), text in zip(now, texts, strict=True):
            if self.done:
                break
            if not self._counted("typed", text is not None):
                continue
            assert text is not None
            if self._counted("not false", not await false(self.bench, self.samples, statement, self.rng)):
                self.pending.append(Conjecture(kind, statement, text, weight))
        return bool(now)

    def _counted(self, passed: str, holds: bool) -> bool:
        name = passed if holds else f"not {passed}".replace("not not ", "")
        self.counts[name] = self.counts.get(name, 0) + 1
        return holds

    # -- proofs ------------------------------------------------------------------------------------------------------

    async def _try(self, chunk: Sequence[Conjecture]) -> Statement | None:
        """Try conjectures until one is proved; returns its statement."""
        place = self.bench.place
        text = place.text("\n\n".join(f"example {c.text} := by\n  sorry" for c in chunk))
        file = SourceFile(text, place.imports, place.before)
        for number, conjecture in enumerate(chunk):
            if self.done:
                return None
            if not self.novelty.new(conjecture.statement):
                self._drop(conjecture, "follows from a lemma")
                continue
            before = self.spent
            try:
                lemma = await self._prove(conjecture, file, number)
            except (LeanError, LeanDied):  # one statement, not the run
                self._drop(conjecture, "error")
                continue
            finally:
                conjecture.calls += self.spent - before
            if lemma is not None:
                self._accept(conjecture, replace(lemma, calls=conjecture.calls))
                return conjecture.statement
        return None

    def _drop(self, conjecture: Conjecture, why: str) -> None:
        self.pending.remove(conjecture)
        self.counts[why] = self.counts.get(why, 0) + 1

    async def _prove(self, conjecture: Conjecture, file: SourceFile, number: int) -> Lemma | None:
        first = conjecture.tries == 0
        conjecture.tries += 1
        conjecture.lemmas = len(self.lemmas)
        if first or self.lemmas:
            tactic = at_once([*self.usable, *(lemma.name for lemma in self.lemmas)])
            if await self.bench.solves("one tactic", file, number, tactic):
                self._drop(conjecture, "closed by one tactic")
                return None
        found = await self._search(file, number)
        if found.outcome != "found":
            self.counts["not proved"] = self.counts.get("not proved", 0) + 1
            return None
        name = await self.bench.free_name(name_for(self.signature, conjecture.statement, self.taken), conjecture.text)
        if name is None:
            self._drop(conjecture, "error")
            return None
        place = self.bench.place
        lemma = Lemma(name, conjecture.text, found.script, conjecture.kind)
        theorem = replace(lemma.theorem(place.context, place.imports), before=place.before)
        if await self._verdict(theorem, found.script) != "proved":
            self._drop(conjecture, "rejected by the audit")
            return None
        return lemma

    async def _search(self, file: SourceFile, number: int) -> Found:
        left = min(self.limits.each, self.limits.total - self.spent)
        job = Job(Theorem("conjecture", "", imports=file.imports), max(1, left), sorry=Sorry(file, number))
        found = await self.bench.executor.attempt(job)
        self.bench.calls["proofs"] += found.lean_calls
        return found

    def _accept(self, conjecture: Conjecture, lemma: Lemma) -> None:
        self.pending.remove(conjecture)
        self._add(lemma, conjecture.statement)
        self.counts["proved"] = self.counts.get("proved", 0) + 1
        say(f"turnstile: {self.spent} calls: {lemma.name} {lemma.statement}")

    def _add(self, lemma: Lemma, statement: Statement) -> None:
        self.lemmas.append(lemma)
        self.statements[lemma.name] = statement
        self.taken.add(lemma.name)
        self.novelty.add(statement)
        self.bench.extend(lemma)


def _name(parts: Sequence[str | int]) -> str | None:
    try:
        return name_source(tuple(parts))
    except NotExpressible:
        return None
