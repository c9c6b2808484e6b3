"""The conjecturer's queries to Lean, with a count of the Lean calls that each costs.

A Lean call is a tactic, as in a search, or the elaboration of one statement.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec

from curricula.conjectures.expressions import Const, Constant, Expr, NotExpressible, constants_of, plain_name
from curricula.conjectures.signature import Signature, known_from
from curricula.conjectures.statements import Statement, opened
from prover.lean.brackets import cut, outside
from prover.lean.declared import NameParts, Report, declared
from prover.lean.project import SourceModule
from prover.lean.server import LeanDied, LeanError
from prover.lean.text import LeanText, parse
from prover.lean.theorem import ProofState, StepResult
from prover.solve.executor import LocalExecutor
from prover.solve.job import SourceFile
from prover.solve.lemmas import Lemma, joined
from prover.solve.negation import split_statement

T = TypeVar("T")

MAX_STATEMENT = 400
"""Maximum number of nodes of a statement that is changed or compared."""
MOST_EQUATIONS = 6
"""Maximum number of a function's equations that are read."""
_HEARTBEATS = 400_000_000
_NUMERAL = re.compile(r"\((\d+) : [^()]*\)")


@dataclass(frozen=True)
class Place:
    """The place where lemmas go: the modules and the text before them."""

    path: str
    context: str
    """Whole commands without a header; scopes may be open."""
    imports: tuple[str, ...] = ("Init",)
    before: tuple[SourceModule, ...] = ()
    holes: int = 0
    """Number of proofs in the context that are `sorry`."""

    def file(self, more: str) -> SourceFile:
        """The context and more commands as a file without a header."""
        text = parse(f"{self.context}\n\n{more}\n".encode(), self.path)
        return SourceFile(replace(text, imports=self.imports), self.imports, self.before)


@dataclass(frozen=True)
class Declared:
    """A theorem that Lean accepted."""

    type: Expr
    mentioned: frozenset[str]
    """Last parts of the names in its statement and proof."""


@dataclass
class Bench:
    """Queries one Lean process about the place. `calls`: Lean calls by purpose."""

    executor: LocalExecutor
    place: Place
    calls: Counter[str] = field(default_factory=Counter)
    _state: tuple[ProofState, Callable[[], None]] | None = None

    @property
    def spent(self) -> int:
        return self.calls.total()

    # -- declarations ------------------------------------------------------------------------------------------------

    async def report(self, source: str, context: str = "") -> Report:
        """Lean's report on source text. Raises LeanError for an answer of another form."""
        answer = await self.executor.pool.servers[0].command(
            "declare",
            imports=list(self.place.imports),
            before=[module.message() for module in self.place.before],
            context=context,
            source=source,
            file=self.place.path,
            heartbeats=_HEARTBEATS,
            ms=60_000,
            types=True,
            trees=True,
            skip=[],
            tell=False,
        )
        try:
            return msgspec.convert(answer, Report)
        except msgspec.ValidationError:
            raise LeanError(f"{self.place.path}: Lean's answer does not have the expected form") from None

    async def signature(self, text: LeanText) -> tuple[Signature, list[Constant]]:
        """(the signature of a whole file, the constants of its examples). Raises LeanError for a file with errors."""
        report = await self.report(text.body)
        if report.errors:
            raise LeanError(str(report.errors[0]))
        constants = _constants(report)
        names = [d.name for d in declared(report) if not d.example]
        signature = Signature(known_from(constants, names, MAX_STATEMENT), constants)
        signature.library = await self._library_types(signature.foreign)
        signature.equations = await self._equations(signature.functions)
        return signature, [constants[d.name] for d in declared(report) if d.example and d.name in constants]

    async def _library_types(self, constants: Sequence[Const]) -> dict[Const, Expr]:
        """The types of library constants. Reads them from the statement `@c = @c`, whose first argument is the type of `c`."""
        ground = [c for c in constants if not any(level[0] == "p" for level in c.levels)]
        terms = {c: text for c in ground if (text := c.text())}
        types = await self._theorems([f"{t} = {t} := rfl" for t in terms.values()], "")
        # A type that is too large has no arguments.
        return {c: t.spine()[1][0] for c, t in zip(terms, types, strict=True) if t is not None and t.spine()[1]}

    async def _equations(self, functions: Sequence[NameParts]) -> dict[NameParts, list[Statement]]:
        """The equations by which Lean computes functions: `f.eq_1`, `f.eq_2`, …"""
        names: list[tuple[NameParts, str]] = []
        for function in functions:
            with suppress(NotExpressible):
                names += [(function, plain_name((*function, f"eq_{i}"))) for i in range(1, MOST_EQUATIONS + 1)]
        types = await self._theorems(
            [f"type_of% @_root_.{name} := @_root_.{name}" for _, name in names], self.place.context
        )
        found: dict[NameParts, list[Statement]] = {}
        for (function, _), type_ in zip(names, types, strict=True):
            if type_ is not None:
                found.setdefault(function, []).append(opened(type_))
        return found

    async def _theorems(self, claims: Sequence[str], context: str) -> list[Expr | None]:
        """The type of a theorem for each statement with its proof; None if Lean rejects it."""
        if not claims:
            return []
        report = await self.report("\n".join(f"theorem turnstile_{i} : {c}" for i, c in enumerate(claims)), context)
        found = {name[-1]: c.type for name, c in _constants(report).items()}  # a namespace may be open
        return [found.get(f"turnstile_{i}") for i in range(len(claims))]

    async def written(self, statements: Sequence[Statement]) -> list[str | None]:
        """Each statement as a person would write it after a theorem's name; None for a statement that Lean rejects, or whose text has
        another meaning."""
        texts = await self.printed(statements)
        found: list[str | None] = [None] * len(statements)
        for shorten in (True, False):
            left = {i: t for i, t in enumerate(texts) if t and found[i] is None and (shorten or "(" in t)}
            tries = [statement_of(text, shorten=shorten) for text in left.values()]
            for i, text, type_ in zip(left, tries, await self.types_of(tries), strict=True):
                if type_ == statements[i].expr:
                    found[i] = text
        return found

    async def printed(self, statements: Sequence[Statement]) -> list[str | None]:
        """The type of each statement as Lean prints it; empty or None for statements that Lean rejects."""
        sources = [text and f": {text}" for text in (statement.expr.text() for statement in statements)]

        def types(report: Report) -> dict[NameParts, str]:
            return {n: " ".join(c.type_of(n).split()) for c in report.commands for n in c.written}

        return await self._elaborated(sources, types)

    async def types_of(self, statements: Sequence[str]) -> list[Expr | None]:
        """The type of each statement, written as after a theorem's name; None for statements that Lean rejects."""
        return await self._elaborated(statements, lambda report: {n: c.type for n, c in _constants(report).items()})

    async def _elaborated(
        self, statements: Sequence[str], types: Callable[[Report], Mapping[NameParts, T]]
    ) -> list[T | None]:
        """Declares each statement that is not empty. Returns their types; None for those with errors."""
        lines = [f"theorem conjecture_{i} {s} := sorry" for i, s in enumerate(statements) if s]
        self.calls["typed"] += len(lines)
        if not lines:
            return [None] * len(statements)
        try:
            report = await self.report("\n\n".join(lines), self.place.context)
        except LeanDied:
            return [None] * len(statements)
        names = {n[-1]: n for c in report.commands if not c.errors and not c.stopped for n in c.new if n}
        found = types(report)
        return [found.get(names.get(f"conjecture_{i}", ())) for i in range(len(statements))]

    # -- tactics -----------------------------------------------------------------------------------------------------

    async def step(self, purpose: str, tactic: str) -> StepResult:
        """Run a tactic on the goal `True` at the place. One Lean call. The resulting states are freed, but their keys remain valid."""
        if self._state is None:
            self._state = await self._opened(self.place.file("example : True := by sorry"), self.place.holes)
        return await self._stepped(purpose, self._state[0], tactic)

    async def solves(self, purpose: str, file: SourceFile, number: int, tactic: str) -> bool:
        """Whether a tactic closes a `sorry` of a file. Raises LeanError."""
        state, release = await self._opened(file, number)
        try:
            return (await self._stepped(purpose, state, tactic)).solved
        finally:
            release()

    async def _opened(self, file: SourceFile, number: int) -> tuple[ProofState, Callable[[], None]]:
        states, release = await self.executor.pool.open_sorry(file.text, file.imports, file.before, number)
        return states[0], release

    async def _stepped(self, purpose: str, state: ProofState, tactic: str) -> StepResult:
        self.calls[purpose] += 1
        (result,) = await self.executor.pool.step(state, (tactic,))
        await self.executor.pool.free(result.states)
        return result

    async def declared(self, name: str, statement: str, script: str) -> Declared | None:
        """A theorem with its proof, if Lean accepts it. One Lean call."""
        self.calls["typed"] += 1
        source = Lemma(name, statement, script).source
        try:
            report = await self.report(source, self.place.context)
        except LeanDied:
            return None
        if not report.commands or any(c.errors or c.stopped for c in report.commands):
            return None
        written = [n for c in report.commands for n in c.new if n and n[-1] == name]
        constant = _constants(report).get(written[0]) if written else None
        if constant is None or constant.open:
            return None
        mentioned = frozenset(str(parts[-1]) for kind, *parts in report.entries if kind == "n" and parts)
        return Declared(constant.type, mentioned)

    def extend(self, lemma: Lemma) -> None:
        """Add a lemma to the place, without its proof: Lean reads the place again after every lemma."""
        self.close()
        context = joined(self.place.context, [replace(lemma, script="sorry")])
        self.place = replace(self.place, context=context, holes=self.place.holes + 1)

    def close(self) -> None:
        if self._state is not None:
            self._state[1]()
            self._state = None


def _constants(report: Report) -> dict[NameParts, Constant]:
    try:
        return constants_of(report.entries)
    except ValueError as error:
        raise LeanError(str(error)) from None


def statement_of(type_: str, hypotheses: Sequence[str] = (), shorten: bool = True) -> str:
    """A printed type as a statement: `∀ (a b : N), p a → a = b` as `(a b : N) (h : p a) : a = b`.

    Args:
        hypotheses: names of the hypotheses.
        shorten: write numerals without their types.
    """
    type_ = _NUMERAL.sub(r"\1", type_) if shorten else type_
    at, end = next(((i, c) for i, c in outside(type_, 2) if c != " "), (0, ""))
    if not type_.startswith("∀ ") or end != ",":  # no binders, or binders without brackets
        return f": {type_}"
    *given, claim = _parted(type_[at + 1 :].strip(), len(hypotheses))
    named = [f" ({name} : {text})" for name, text in zip(hypotheses, given, strict=False)]
    statement = f"{type_[2:at]}{''.join(named)} : {claim}"
    return statement if split_statement(statement) is not None else f": {type_}"


def _parted(type_: str, most: int) -> list[str]:
    """At most `most` premises of a printed implication, then the rest."""
    found: list[str] = []
    while len(found) < most:
        before, arrow, after = cut(type_, "→")
        if not arrow:
            break
        found.append(before.strip())
        type_ = after
    return [*found, type_.strip()]
