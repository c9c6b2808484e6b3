"""Proofs put into a file, judged as a whole: what does not hold in its place is taken back, the rest stays."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from prover.lean.audit import STANDARD_AXIOMS, Auditor
from prover.lean.project import SourceModule
from prover.lean.server import LeanDied, LeanError
from prover.lean.text import LeanText, code_words
from prover.lean.theorem import Verdict
from prover.placement import placements


class Place(Protocol):
    """A `sorry` in the file (see curricula.lean_file.Hole)."""

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
    axioms: dict[int, tuple[str, ...]] = field(default_factory=dict)
    audits: int = 0


_Edit = tuple[int, int, str]


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
        self._imports = text.imports if imports is None else imports
        self._before = before
        token = secrets.token_hex(8)
        self._assumed = f"assumed_{token}"
        self._example = f"example_{token}"
        self.auditor = Auditor(allowed_axioms=(*STANDARD_AXIOMS, self._assumed))
        self._judged, self._decls = self._prepare("theorem")
        self._as_data = False
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
        guessed: list[int] = []
        axioms: dict[int, tuple[str, ...]] = {}
        while chosen:
            texts = {i: options[i][n] for i, n in chosen.items()}
            problem = await self._judge(texts, axioms)
            if not problem:
                break
            for i, (reason, layout, sure) in problem.items():
                if layout and chosen[i] + 1 < len(options[i]):
                    chosen[i] += 1
                    continue
                del chosen[i]
                refused[i] = reason
                if not sure:
                    guessed.append(i)
        for i in guessed[:20]:  # taken back on suspicion only
            for n in range(len(options[i])):
                texts = {j: options[j][m] for j, m in {**chosen, i: n}.items()}
                if not await self._judge(texts, axioms):
                    chosen[i] = n
                    del refused[i]
                    break
        return Filled({i: options[i][n] for i, n in chosen.items()}, refused, axioms, self._audits)

    def edits(self, filled: Filled) -> list[_Edit]:
        """What to change in the file, for LeanText.to_bytes."""
        return [(self.places[i].start, self.places[i].stop, text) for i, text in filled.texts.items()]

    # -- judging -----------------------------------------------------------------------------------------------------

    async def _judge(
        self, texts: Mapping[int, str], axioms: dict[int, tuple[str, ...]]
    ) -> dict[int, tuple[str, bool, bool]]:
        """Place number -> (why it may not stay, whether another layout might help, whether it is surely to blame)."""
        verdicts = await self._audit(texts, assume=False)
        if blamed := self._broken(verdicts, texts):
            return blamed
        pending: list[int] = []
        bad: dict[int, tuple[str, bool, bool]] = {}
        for i in texts:
            verdict = verdicts.get(self._decls[i])
            if verdict is None:
                bad[i] = ("unjudged: Lean has no name for what it is in", False, True)
            elif verdict.verdict == "proved":
                axioms[i] = verdict.axioms
            elif verdict.reason.startswith("sorry") and self._unproved(texts):
                pending.append(i)
            else:
                bad[i] = (verdict.reason, False, True)
        if bad or not pending:
            return self._statement_blame(bad, texts)
        verdicts = await self._audit(texts, assume=True)
        if self._broken(verdicts, texts):
            return {
                i: ("unjudged: the file does not hold with its other sorries assumed", False, False) for i in pending
            }
        for i in pending:
            verdict = verdicts.get(self._decls[i])
            if verdict is None or verdict.verdict != "proved":
                bad[i] = (verdict.reason if verdict else "unjudged", False, True)
            else:
                axioms[i] = tuple(a for a in verdict.axioms if a != self._assumed)
        return self._statement_blame(bad, texts)

    def _statement_blame(
        self, bad: dict[int, tuple[str, bool, bool]], texts: Mapping[int, str]
    ) -> dict[int, tuple[str, bool, bool]]:
        """A changed constant is reported for every theorem: only the proofs in that constant are to blame, if any are."""
        named = {reason.split()[1] for reason, _, _ in bad.values() if re.match(r"statement: \S+ has another", reason)}
        # In another layout it may be none: a field's default `(by rfl)` is a value, `by rfl` a tactic for later.
        inside = {
            i: (b[0], True, b[2])
            for i, b in bad.items()
            if any(n == self._decls[i] or n.startswith(self._decls[i] + ".") for n in named)
        }
        if named and inside:
            return inside
        if named and bad:
            last = max(texts)
            return {last: (bad.get(last, next(iter(bad.values())))[0], False, False)}
        return bad

    def _broken(self, verdicts: Mapping[str, Verdict], texts: Mapping[int, str]) -> dict[int, tuple[str, bool, bool]]:
        """Who is to blame where the file as a whole does not elaborate; empty where it does."""
        whole = verdicts.get(self.text.path)
        if whole is None:
            return {}
        found = re.match(r"elaboration: line (\d+)", whole.reason)
        order = sorted(texts, key=lambda i: self.places[i].start)
        if not found:
            return {order[-1]: (whole.reason, False, False)}
        line, shift = int(found.group(1)), 0
        before = order[0]
        for i in order:
            first = self.text.line(self.places[i].start) + shift
            more = texts[i].count("\n")
            if first <= line <= first + more:
                # Several may stand on one line: all get another layout, or go.
                here = [j for j in order if self._shares_line(i, j)]
                # The line is the filled file's; people look in theirs.
                reason = whole.reason.replace(f"line {line}:", f"line {first - shift}:", 1)
                return {j: (reason, True, len(here) == 1) for j in here}
            if first < line:
                before = i
            shift += more
        return {before: (whole.reason, True, False)}

    def _shares_line(self, i: int, j: int) -> bool:
        return self.text.line(self.places[i].start) == self.text.line(self.places[j].start)

    async def _audit(self, texts: Mapping[int, str], assume: bool) -> dict[str, Verdict]:
        try:
            return await self._audited(texts, assume)
        except LeanError as error:
            # An example that is no proposition is no theorem under a name either: then all are definitions.
            if not self._as_data and any("example" in word for _, _, word in self._judged):
                self._judged, self._decls = self._prepare("def")
                self._as_data = True
                return await self._audit(texts, assume)
            return {self.text.path: Verdict(self.text.path, "error", f"unjudged: {error}")}

    async def _audited(self, texts: Mapping[int, str], assume: bool) -> dict[str, Verdict]:
        """Raises LeanError where the file with names for its examples, and `sorry` for all proofs, has an error."""
        self._audits += 1
        reference, candidate = self._render({}, assume, keep=texts), self._render(texts, assume, keep=texts)
        try:
            verdicts = await self.auditor.audit_source(
                candidate,
                self._imports,
                reference,
                self.text.path,
                also=sorted({self._decls[i] for i in texts}),
                before=self._modules(True, assume),
                reference_before=self._modules(False, assume),
            )
        except LeanDied as error:
            return {self.text.path: Verdict(self.text.path, "error", f"lean: {error}")}
        return {self._example_name(v.name): v for v in verdicts}

    def _unproved(self, texts: Mapping[int, str]) -> bool:
        """Whether a `sorry` is left, here or before."""
        return len(texts) < len(self.places) or any(len(b.texts) < len(b.places) for b in self._before)

    def _modules(self, proved: bool, assume: bool) -> list[SourceModule]:
        """What stands before the file. `assume`: the axiom, and it in place of all that is left."""
        if not assume:
            return [b.source(proved) for b in self._before]
        axiom = SourceModule(self._assumed, "<assumed>", _axiom(self._assumed))
        return [axiom, *(b.source(proved, self._assumed) for b in self._before)]

    def _render(self, texts: Mapping[int, str], assume: bool, keep: Mapping[int, str]) -> str:
        """The body with proofs put in. `assume`: the axiom in place of all that is left."""
        edits: list[_Edit] = list(self._judged)
        for i, place in enumerate(self.places):
            if i in texts:
                edits.append((place.start, place.stop, texts[i]))
            elif assume and i not in keep:
                edits.append((place.start, place.stop, _assumption(self._assumed, self.text.path, place)))
        return _edited(self.text.body, edits)

    # -- declarations without a name to judge them by ------------------------------------------------------------------

    def _prepare(self, kind: str) -> tuple[list[_Edit], list[str]]:
        """Edits that give examples a name, as a `kind` of declaration, and make private declarations public, for the audit only; and
        each place's declaration as the audit names it."""
        edits: dict[int, _Edit] = {}
        decls: list[str] = []
        body = self.text.body
        words = [(w, i) for w, i in code_words(body) if w in ("example", "private")]
        for number, place in enumerate(self.places):
            at = len(body.encode()[: place.start].decode())
            decl = place.decl
            last = decl.split(".")[-1]
            if last == "_example" and (i := _last(words, "example", at)) is not None:
                byte = len(body[:i].encode())
                edits.setdefault(byte, (byte, byte + len("example"), f"{kind} {self._example}_{number}"))
                decl = edits[byte][2].split()[1]
            elif decl.startswith("_private.") and ".0." in decl and (i := _last(words, "private", at)) is not None:
                byte = len(body[:i].encode())
                edits[byte] = (byte, byte + len("private"), " " * len("private"))
                decl = decl.split(".0.", 1)[1]
            decls.append(decl)
        return list(edits.values()), decls

    def _example_name(self, name: str) -> str:
        """Examples stand in whatever namespace is open; they are known by the name alone."""
        last = name.split(".")[-1]
        return last if last.startswith(self._example) else name


def _last(words: list[tuple[str, int]], word: str, at: int) -> int | None:
    return max((i for w, i in words if w == word and i < at), default=None)
