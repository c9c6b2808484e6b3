"""Proofs put into a file, judged as a whole: what does not hold in its place is taken back, the rest stays."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from prover.lean.audit import STANDARD_AXIOMS, Auditor, Source
from prover.lean.judges import died
from prover.lean.project import SourceModule
from prover.lean.server import LeanDied, LeanError
from prover.lean.text import LeanText
from prover.lean.theorem import Verdict
from prover.solve.proof_layout import placements


class Place(Protocol):
    """A `sorry` in the file (see prover.lean.sorries.Hole)."""

    @property
    def decl(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def stop(self) -> int: ...
    @property
    def tactic(self) -> bool: ...


@dataclass(frozen=True)
class Standing:
    """A file before the one to be filled, which imports it: with the proofs that it was given, if any."""

    module: str
    text: LeanText
    places: Sequence[Place] = ()
    texts: Mapping[int, str] = field(default_factory=dict)
    """Place number -> the proof that was put there."""

    def source(self, proved: bool, assumed: str | None = None) -> SourceModule:
        """`proved`: with its proofs, else with `sorry` in their places. `assumed`: an axiom for what is left."""
        edits: list[_Edit] = []
        for i, place in enumerate(self.places):
            if i in self.texts:
                edits += [(place.start, place.stop, self.texts[i])] if proved else []
            elif assumed is not None:
                edits.append((place.start, place.stop, _assumption(assumed, self.text.path, place)))
        return SourceModule(self.module, self.text.path, _edited(self.text.body, edits))


@dataclass
class Filled:
    """What a file can be given."""

    texts: dict[int, str] = field(default_factory=dict)
    """Place number -> the text to put there. The file with all of them passed the audit."""
    refused: dict[int, str] = field(default_factory=dict)
    """Place number -> why its proof was taken back."""
    unjudged: frozenset[int] = frozenset()
    """Those of `refused` that the audit could not judge, for lack of time or memory: nothing is said against their proofs."""
    axioms: dict[int, tuple[str, ...]] = field(default_factory=dict)
    audits: int = 0


_Edit = tuple[int, int, str]


class _Blame(NamedTuple):
    reason: str
    layout: bool
    """Whether another layout of the proof might help."""
    sure: bool
    unjudged: bool = False


def _edited(body: str, edits: Sequence[_Edit]) -> str:
    data = body.encode()
    out, at = [], 0
    for start, stop, new in sorted(edits):
        out += [data[at:start], new.encode()]
        at = stop
    return b"".join([*out, data[at:]]).decode()


def _axiom(name: str) -> str:
    return f"axiom {name}.{{u}} (place : Nat) (α : Sort u) : α\n"


def _assumption(axiom: str, path: str, place: Place) -> str:
    # As two `sorry`s are, two values that were left open are not the same value.
    number = int.from_bytes(hashlib.sha256(f"{path}:{place.start}".encode()).digest()[:8], "big")
    term = f"(_root_.{axiom} (nat_lit {number}) _)"
    return f"(exact {term})" if place.tactic else term


class Filler:
    """Puts proofs into one file. Use as an async context manager: it holds an Auditor.

    The file is judged with `sorry` where no proof was found. A declaration that holds several, or uses an unproved one,
    then rests on `sorry` whatever its proofs are; so it is judged a second time with an axiom, of a name that nobody
    could have guessed, in place of what is left, in the file and in those that it imports: a proof that needs `sorry`
    itself shows. What is left may be data, too: a proof about it holds whatever it will be.

    `imports`: the compiled modules before the file (None: as it says). `before`: the files before it, in their order. The
    process that says what the statements are sees none of their proofs that were filled in.
    """

    def __init__(
        self,
        text: LeanText,
        places: Sequence[Place],
        imports: Sequence[str] | None = None,
        before: Sequence[Standing] = (),
    ) -> None:
        self.text = text
        self.places = places
        self._imports = tuple(text.imports if imports is None else imports)
        self._before = before
        self._assumed = f"assumed_{secrets.token_hex(8)}"
        self.auditor = Auditor(allowed_axioms=(*STANDARD_AXIOMS, self._assumed))
        self._audits = 0

    async def __aenter__(self) -> Filler:
        await self.auditor.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.auditor.__aexit__(*exc)

    async def settle(self, scripts: Mapping[int, str]) -> Filled:
        """The largest part of these proofs that holds, as far as taking back what breaks finds it."""
        body = self.text.body
        raw = body.encode()
        options: dict[int, list[str]] = {}
        for i, script in scripts.items():
            p = self.places[i]
            at = len(raw[: p.start].decode())
            options[i] = placements(body, at, p.stop - p.start, p.tactic, script)
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
            for i, blame in problem.items():
                if blame.layout and chosen[i] + 1 < len(options[i]):
                    chosen[i] += 1
                    continue
                del chosen[i]
                refused[i] = blame.reason
                if blame.unjudged:
                    unjudged.add(i)
                if not blame.sure:
                    guessed.append(i)
        for i in guessed[:20]:  # taken back on suspicion only
            for n in range(len(options[i])):
                texts = {j: options[j][m] for j, m in {**chosen, i: n}.items()}
                if not await self._judge(texts, axioms):
                    chosen[i] = n
                    del refused[i]
                    unjudged.discard(i)
                    break
        texts = {i: options[i][n] for i, n in chosen.items()}
        return Filled(texts, refused, frozenset(unjudged), axioms, self._audits)

    def edits(self, filled: Filled) -> list[_Edit]:
        """What to change in the file, for LeanText.to_bytes."""
        return [(self.places[i].start, self.places[i].stop, text) for i, text in filled.texts.items()]

    # -- judging -----------------------------------------------------------------------------------------------------

    async def _judge(self, texts: Mapping[int, str], axioms: dict[int, tuple[str, ...]]) -> dict[int, _Blame]:
        """Place number -> why its proof may not stay. Records the axioms of those that may."""
        verdicts = await self._audit(texts, assume=False)
        pending: list[int] = []
        bad: dict[int, _Blame] = {}
        for i in texts:
            verdict = verdicts[i]
            if verdict.verdict == "proved":
                axioms[i] = verdict.axioms
            elif verdict.reason.startswith("sorry") and self._unproved(texts):
                pending.append(i)
            else:
                bad[i] = self._blame(verdict)
        if bad or not pending:
            return self._guilty(bad)
        verdicts = await self._audit(texts, assume=True)
        for i in pending:
            verdict = verdicts[i]
            if verdict.verdict == "proved":
                axioms[i] = tuple(a for a in verdict.axioms if a != self._assumed)
            else:
                bad[i] = self._blame(verdict)
        return self._guilty(bad)

    def _blame(self, verdict: Verdict) -> _Blame:
        """What a verdict says of a proof in its declaration. A changed constant is reported for every declaration that mentions it:
        only its own proofs are to blame. What could not be judged as a whole is the fault of nobody known."""
        if verdict.verdict == "error":
            known = verdict.line > 0 or verdict.reason.startswith("unjudged")
            return _Blame(verdict.reason, layout=False, sure=known, unjudged=True)
        if verdict.reason.startswith("elaboration"):
            return _Blame(verdict.reason, layout=True, sure=True)
        if changed := re.match(r"statement: (.+) has another ", verdict.reason):
            # In another layout it may be none: a field's default `(by rfl)` is a value, `by rfl` a tactic for later.
            own = changed[1] == verdict.name or changed[1].startswith(verdict.name + ".")
            return _Blame(verdict.reason, layout=own, sure=own)
        return _Blame(verdict.reason, layout=False, sure=True)

    @staticmethod
    def _guilty(bad: dict[int, _Blame]) -> dict[int, _Blame]:
        """Those that are surely to blame; where there are none, the last: taking it back shows whether it was."""
        sure = {i: b for i, b in bad.items() if b.sure}
        return sure or {i: bad[i] for i in sorted(bad)[-1:]}

    async def _audit(self, texts: Mapping[int, str], assume: bool) -> dict[int, Verdict]:
        """The verdict on the declaration that each place stands in. What could not be judged is judged once more."""
        verdicts = await self._audit_once(texts, assume)
        again = any(v.verdict == "error" and not v.reason.startswith("unjudged") for v in verdicts.values())
        return await self._audit_once(texts, assume) if again else verdicts

    async def _audit_once(self, texts: Mapping[int, str], assume: bool) -> dict[int, Verdict]:
        self._audits += 1
        candidate = self._source(texts, texts, assume, proved=True)
        reference = self._source({}, texts, assume, proved=False)
        try:
            verdicts = (await self.auditor.judge(candidate, reference)).verdicts
        except LeanError as error:
            return dict.fromkeys(texts, Verdict(self.text.path, "error", f"unjudged: {error}"))
        except LeanDied as error:
            return dict.fromkeys(texts, Verdict(self.text.path, "error", died(error)))
        return {i: self._verdict_at(i, texts, verdicts) for i in texts}

    def _verdict_at(self, i: int, texts: Mapping[int, str], verdicts: Sequence[Verdict]) -> Verdict:
        """The worst verdict on what begins on the last line at or before a place, lines counted in the filled file."""
        shift = sum(texts[j].count("\n") for j in texts if self.places[j].start < self.places[i].start)
        own = self.text.line(self.places[i].start)
        before = [v for v in verdicts if v.line <= own + shift]
        here = [v for v in before if v.line == before[-1].line]
        worst = min(here, key=lambda v: ("rejected", "error", "proved").index(v.verdict), default=None)
        if worst is None:
            return Verdict(self.text.path, "error", "unjudged: Lean has no name for what it is in")
        # The line is the filled file's; people look in theirs.
        reason = re.sub(r"^elaboration: line \d+:", f"elaboration: line {own}:", worst.reason)
        return replace(worst, reason=reason)

    def _unproved(self, texts: Mapping[int, str]) -> bool:
        """Whether a `sorry` is left, here or before."""
        return len(texts) < len(self.places) or any(len(b.texts) < len(b.places) for b in self._before)

    def _source(self, texts: Mapping[int, str], keep: Mapping[int, str], assume: bool, proved: bool) -> Source:
        """The file with `texts` put in. `assume`: the axiom in place of all that is left, but for the places in `keep`."""
        edits: list[_Edit] = []
        for i, place in enumerate(self.places):
            if i in texts:
                edits.append((place.start, place.stop, texts[i]))
            elif assume and i not in keep:
                edits.append((place.start, place.stop, _assumption(self._assumed, self.text.path, place)))
        axiom = [SourceModule(self._assumed, "<assumed>", _axiom(self._assumed))] if assume else []
        before = [*axiom, *(b.source(proved, self._assumed if assume else None) for b in self._before)]
        return Source(_edited(self.text.body, edits), self._imports, self.text.path, tuple(before))
