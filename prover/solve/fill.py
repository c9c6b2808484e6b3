"""Inserts proofs into a file and audits the file as a whole. Removes proofs that fail there and keeps the rest."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from prover.lean.audit import Auditor, Source
from prover.lean.judges import died
from prover.lean.project import SourceModule
from prover.lean.server import LeanDied, LeanError
from prover.lean.sorries import Hole
from prover.lean.text import Edit, LeanText, edited, index_at
from prover.lean.theorem import Verdict
from prover.solve.proof_layout import layouts


@dataclass(frozen=True)
class Standing:
    """A file that the filled file imports, with the proofs inserted into it."""

    module: str
    text: LeanText
    places: Sequence[Hole] = ()
    texts: Mapping[int, str] = field(default_factory=dict)
    """Place number -> the inserted proof."""

    def source(self, proved: bool, assumed: str | None = None) -> SourceModule:
        """`proved`: with its proofs, else with `sorry`. `assumed`: an axiom that replaces the remaining `sorry`s."""
        edits: list[tuple[int, int, bytes]] = []
        for i, place in enumerate(self.places):
            if i in self.texts:
                edits += [(place.start, place.stop, self.texts[i].encode())] if proved else []
            elif assumed is not None:
                edits.append((place.start, place.stop, _assumption(assumed, self.text.path, place).encode()))
        return SourceModule(self.module, self.text.path, edited(self.text.body.encode(), edits).decode())


@dataclass
class Filled:
    """The proofs that a file accepts."""

    texts: dict[int, str] = field(default_factory=dict)
    """Place number -> the text to insert. The file with all of them passed the audit."""
    refused: dict[int, str] = field(default_factory=dict)
    """Place number -> reason why its proof was removed."""
    unjudged: frozenset[int] = frozenset()
    """Places in `refused` that the audit could not judge within its time or memory. Their proofs may be right."""
    axioms: dict[int, tuple[str, ...]] = field(default_factory=dict)
    conditional: frozenset[int] = frozenset()
    """Places in `texts` whose declarations rest on a `sorry` that remains, in the file or in its imports."""


class _Failure(NamedTuple):
    reason: str
    layout: bool
    """Whether another layout of the proof may succeed."""
    sure: bool
    unjudged: bool = False


def _axiom(name: str) -> str:
    return f"axiom {name}.{{u}} (place : Nat) (α : Sort u) : α\n"


def _assumption(axiom: str, path: str, place: Hole) -> str:
    # A distinct number for each place: like two `sorry`s, two open values are not equal.
    number = int.from_bytes(hashlib.sha256(f"{path}:{place.start}".encode()).digest()[:8], "big")
    term = f"(_root_.{axiom} (nat_lit {number}) _)"
    return f"(exact {term})" if place.tactic else term


class Filler:
    """Inserts proofs into one file. Use as an async context manager: it owns an Auditor.

    The file is audited with `sorry` where no proof was found. A declaration with an open `sorry`, or that uses an unproved
    declaration, rests on `sorry` even if its own proofs are right. It is therefore audited again with an axiom of random
    name in place of each remaining `sorry`, in the file and in its imports. A proof that uses `sorry` itself still fails, and so does
    one that uses the axiom for anything but the types of those `sorry`s. The remaining `sorry`s may be data; proofs about them hold
    for every value. As in Lean, an open function has one value for all arguments: `f 1 = f 2` holds for `def f (n : Nat) : Nat := sorry`.

    `imports`: the compiled modules that the file imports (None: those in its header). `before`: the source files that it
    imports, in order. `lenient`: commands of the file may have errors (see Auditor.judge). The process that elaborates the
    statements never sees the inserted proofs.
    """

    def __init__(
        self,
        text: LeanText,
        places: Sequence[Hole],
        imports: Sequence[str] | None = None,
        before: Sequence[Standing] = (),
        lenient: bool = False,
    ) -> None:
        self.text = text
        self.places = places
        self._imports = tuple(text.imports if imports is None else imports)
        self._before = before
        self._lenient = lenient
        self._assumed = f"assumed_{secrets.token_hex(8)}"
        self.auditor = Auditor(assumed=self._assumed)
        self._conditional: frozenset[int] = frozenset()

    async def __aenter__(self) -> Filler:
        await self.auditor.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.auditor.__aexit__(*exc)

    async def settle(self, scripts: Mapping[int, str]) -> Filled:
        """Insert these proofs (place number -> script), and remove those that fail until the file passes the audit."""
        body = self.text.body
        options: dict[int, list[str]] = {}
        for i, script in scripts.items():
            p = self.places[i]
            options[i] = layouts(body, index_at(body, p.start), p.stop - p.start, p.tactic, script)
        chosen = dict.fromkeys(options, 0)
        refused: dict[int, str] = {}
        unjudged: set[int] = set()
        guessed: list[int] = []
        axioms: dict[int, tuple[str, ...]] = {}
        while chosen:
            texts = {i: options[i][n] for i, n in chosen.items()}
            problem = await self._judge(texts, axioms)
            if not problem:
                break
            for i, failure in problem.items():
                if failure.layout and chosen[i] + 1 < len(options[i]):
                    chosen[i] += 1
                    continue
                del chosen[i]
                refused[i] = failure.reason
                if failure.unjudged:
                    unjudged.add(i)
                if not failure.sure:
                    guessed.append(i)
        for i in guessed[:20]:  # removed only on suspicion
            for n in range(len(options[i])):
                texts = {j: options[j][m] for j, m in {**chosen, i: n}.items()}
                if not await self._judge(texts, axioms):
                    chosen[i] = n
                    del refused[i]
                    unjudged.discard(i)
                    break
        texts = {i: options[i][n] for i, n in chosen.items()}
        return Filled(texts, refused, frozenset(unjudged), axioms, self._conditional & chosen.keys())

    async def as_it_stands(self) -> Sequence[Verdict]:
        """The verdicts on the file without proofs, as if each `sorry` were proved. Raises LeanError or LeanDied."""
        return (await self.auditor.judge(self._source({}, assume=True, proved=True))).verdicts

    def edits(self, filled: Filled) -> list[Edit]:
        """The edits of the file, for LeanText.to_bytes."""
        return [(self.places[i].start, self.places[i].stop, text) for i, text in filled.texts.items()]

    # -- judging -----------------------------------------------------------------------------------------------------

    async def _judge(self, texts: Mapping[int, str], axioms: dict[int, tuple[str, ...]]) -> dict[int, _Failure]:
        """Place number -> reason why its proof must be removed: those that certainly fail; if none is certain, the last one, as a guess.
        Records the axioms of accepted proofs."""
        verdicts = await self._audit(texts, assume=False)
        pending: list[int] = []
        bad: dict[int, _Failure] = {}
        for i in texts:
            verdict = verdicts[i]
            if verdict.verdict == "proved":
                axioms[i] = verdict.axioms
            elif verdict.reason.startswith("sorry") and self._unproved(texts):
                pending.append(i)
            else:
                bad[i] = self._failure(verdict)
        if pending and not bad:  # with an axiom in place of each remaining `sorry`
            verdicts = await self._audit(texts, assume=True)
            for i in pending:
                if verdicts[i].verdict == "proved":
                    axioms[i] = tuple(a for a in verdicts[i].axioms if a != self._assumed)
                else:
                    bad[i] = self._failure(verdicts[i])
        if not bad:
            self._conditional = frozenset(pending)
        return {i: failure for i, failure in bad.items() if failure.sure} or dict(sorted(bad.items())[-1:])

    def _failure(self, verdict: Verdict) -> _Failure:
        """Whether a proof causes its declaration's verdict. A changed constant is reported for every declaration that mentions
        it, but only its own proofs cause it. The cause is unknown if the file as a whole could not be judged."""
        if verdict.verdict == "error":
            known = verdict.line > 0 or verdict.reason.startswith("unjudged")
            return _Failure(verdict.reason, layout=False, sure=known, unjudged=True)
        if verdict.reason.startswith("elaboration"):
            return _Failure(verdict.reason, layout=True, sure=True)
        if changed := re.match(r"statement: (.+) has another ", verdict.reason):
            # The layout may matter: for a field's default, `(by rfl)` is a value and `by rfl` a tactic run later.
            own = changed[1] == verdict.name or changed[1].startswith(verdict.name + ".")
            return _Failure(verdict.reason, layout=own, sure=own)
        return _Failure(verdict.reason, layout=False, sure=True)

    async def _audit(self, texts: Mapping[int, str], assume: bool) -> dict[int, Verdict]:
        """Place number -> the verdict on the declaration around it. Retries once if the file could not be judged."""
        verdicts = await self._audit_once(texts, assume)
        again = any(v.verdict == "error" and not v.reason.startswith("unjudged") for v in verdicts.values())
        return await self._audit_once(texts, assume) if again else verdicts

    async def _audit_once(self, texts: Mapping[int, str], assume: bool) -> dict[int, Verdict]:
        candidate = self._source(texts, assume, proved=True)
        reference = self._source(texts, assume, proved=False)
        try:
            verdicts = (await self.auditor.judge(candidate, reference, self._lenient)).verdicts
        except LeanError as error:
            return dict.fromkeys(texts, Verdict(self.text.path, "error", f"unjudged: {error}"))
        except LeanDied as error:
            return dict.fromkeys(texts, Verdict(self.text.path, "error", died(error)))
        return {i: self.verdict_at(i, texts, verdicts) for i in texts}

    def verdict_at(self, i: int, texts: Mapping[int, str], verdicts: Sequence[Verdict]) -> Verdict:
        """The worst verdict on the declarations that start on the last line at or before a place of the filled file."""
        shift = sum(texts[j].count("\n") for j in texts if self.places[j].start < self.places[i].start)
        own = self.text.line(self.places[i].start)
        before = [v for v in verdicts if v.line <= own + shift]
        here = [v for v in before if v.line == before[-1].line]
        worst = min(here, key=lambda v: ("rejected", "error", "proved").index(v.verdict), default=None)
        if worst is None:
            return Verdict(self.text.path, "error", "unjudged: Lean reports no declaration around this `sorry`")
        # Report the line of the original file.
        reason = re.sub(r"^elaboration: line \d+:", f"elaboration: line {own}:", worst.reason)
        return replace(worst, reason=reason)

    def _unproved(self, texts: Mapping[int, str]) -> bool:
        """Whether a `sorry` remains in the file or its imports."""
        return len(texts) < len(self.places) or any(len(b.texts) < len(b.places) for b in self._before)

    def _source(self, texts: Mapping[int, str], assume: bool, proved: bool) -> Source:
        """The file, and those before it. `proved`: with `texts` inserted. `assume`: the axiom replaces the `sorry`s without a text."""
        axiom = [SourceModule(self._assumed, "<assumed>", _axiom(self._assumed))] if assume else []
        files = [*self._before, Standing("", self.text, self.places, texts)]
        *before, own = (f.source(proved, self._assumed if assume else None) for f in files)
        return Source(own.text, self._imports, self.text.path, (*axiom, *before))
