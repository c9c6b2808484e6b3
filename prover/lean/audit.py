"""The last word on a proof: same statement, allowed axioms, kernel replay, fresh processes.

Three processes, so that no text that claims a proof is ever read by the process that judges it:

- the *reference* elaborates statements (context and theorem, proof left out) and exports what they mean. One whose context
  may run code gets a process that no other theorem's text meets (`runs_code.py`), and so does the candidate;
- the *candidate* elaborates the proof, which may run any code, and exports the resulting constants. Its word counts for
  nothing: what it sends is data;
- the *checker* elaborates nobody's text. It rebuilds the exported constants on a clean environment, each through the
  kernel, compares statements with the reference as terms, and lists the axioms that each theorem rests on.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from prover.lean.project import SourceModule
from prover.lean.runs_code import runs_code
from prover.lean.runtime import LeanRuntime, find_runtime
from prover.lean.server import WHOLE_LIBRARY, LeanDied, LeanError, LeanServer, Limits, statement_source
from prover.lean.theorem import Theorem, Verdict

STANDARD_AXIOMS = ("propext", "Classical.choice", "Quot.sound")

ENVIRONMENTS = 12
"""Imports that a process of the audit sees before it is replaced."""

NameParts = list[str | int]
"""A Lean name, component by component, so that one may hold a dot."""

_REASONS = {
    "sorryAx": "sorry: the proof rests on sorry",
    "Lean.ofReduceBool": "axiom: Lean.ofReduceBool (compiled evaluation)",
    "Lean.ofReduceNat": "axiom: Lean.ofReduceNat (compiled evaluation)",
    "Lean.trustCompiler": "axiom: Lean.trustCompiler (compiled evaluation)",
}


class Auditor:
    """Judges proofs. Use as an async context manager; its processes start when first needed.

    `fresh_every`: after that many proofs the candidate process is replaced, so that what one proof did to it cannot
    outlive a batch. `forbidden`: constants that no proof may use.
    """

    def __init__(
        self,
        runtime: LeanRuntime | None = None,
        allowed_axioms: Iterable[str] = STANDARD_AXIOMS,
        forbidden: Iterable[str] = (),
        fresh_every: int = 500,
        seconds: float = 120.0,
    ) -> None:
        self.runtime = runtime or find_runtime()
        self.allowed = frozenset(allowed_axioms)
        self.forbidden = frozenset(forbidden)
        self.fresh_every = fresh_every
        self.limits = Limits(heartbeats=400_000, seconds=seconds, open_seconds=max(seconds, 180.0))
        self.judged = 0
        self._candidate_since = 0
        self._imports: dict[str, set[tuple[str, ...]]] = {}
        self._spoiled: dict[str, str] = {}
        """Whose code ran in a process: nobody else's text may be read there."""
        self._servers: dict[str, LeanServer] = {}
        self._locks = {role: asyncio.Lock() for role in ("reference", "candidate", "checker")}
        self._references: dict[tuple[Any, ...], dict[str, Any]] = {}

    async def __aenter__(self) -> Auditor:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the processes."""
        servers, self._servers = list(self._servers.values()), {}
        await asyncio.gather(*(s.close() for s in servers))

    @property
    def servers(self) -> list[LeanServer]:
        """Its processes that run now."""
        return list(self._servers.values())

    async def _command(self, role: str, cmd: str, whose: str = "", **fields: Any) -> dict[str, Any]:
        """`whose`: on whose behalf. Code that ran in the process before must have been the same one's."""
        # One command at a time: waiting for others is not counted against its limit, and no one is replaced in its work.
        async with self._locks[role]:
            if role == "candidate" and self.judged - self._candidate_since >= self.fresh_every and role in self._servers:
                await self._servers.pop(role).close()
            # An imported environment is never released, and 32-bit memory holds about 20 as large as Init.
            known = self._imports.get(role, set())
            if role in self._servers and len(known) >= ENVIRONMENTS and tuple(fields.get("imports", ())) not in known:
                await self._servers.pop(role).close()
            if self._spoiled.get(role, whose) != whose and role in self._servers:
                await self._servers.pop(role).close()
            if role in self._servers and self._servers[role].down:
                await self._servers.pop(role).close()
            if role not in self._servers:
                server = LeanServer(self.runtime, self.limits)
                await server.start()
                self._servers[role] = server
                self._imports[role] = set()
                self._spoiled.pop(role, None)
                self._candidate_since = self.judged if role == "candidate" else self._candidate_since
            self._imports[role].add(tuple(fields.get("imports", ())))
            texts = [fields.get("source") or fields.get("script", ""), *(m["text"] for m in fields.get("before", ()))]
            if role != "checker" and any(map(runs_code, texts)):
                self._spoiled[role] = whose
            return await self._servers[role].command(cmd, heartbeats=self.limits.heartbeats * 1000, **fields)

    async def audit(self, theorem: Theorem, script: str) -> Verdict:
        """Judge a tactic script for a theorem."""
        self.judged += 1
        try:
            if theorem.library is not None:
                return await self._library(theorem, script)
            return await self._statement(theorem, script)
        except LeanError as e:
            return Verdict(theorem.name, "rejected", _first_line(str(e)), lean=self.runtime.name)
        except LeanDied as e:
            return Verdict(theorem.name, "error", f"lean: {_first_line(str(e))}", lean=self.runtime.name)

    async def _library(self, theorem: Theorem, script: str) -> Verdict:
        fields = {"name": theorem.library, "imports": list(theorem.imports), "whole": list(WHOLE_LIBRARY)}
        proved = await self._command("candidate", "prove_library", script, script=script, **fields)
        checked = await self._command("checker", "check_library", entries=proved["entries"], **self._rules, **fields)
        return self._verdict(theorem.name, checked["verdict"])

    async def _statement(self, theorem: Theorem, script: str) -> Verdict:
        asked = statement_source(theorem)
        start = len(asked.encode()) - len(statement_source(replace(theorem, context="")).encode())
        exported = await self._reference(asked, theorem.imports, theorem.source or theorem.name, whose=asked, start=start)
        if exported["beyond"] != 1:
            return Verdict(theorem.name, "rejected", "statement: it goes on after its end", lean=self.runtime.name)
        reference = exported["entries"]
        roots = [_declared_name(theorem, reference)]
        fields = {"imports": list(theorem.imports), "file": theorem.name}
        source = statement_source(theorem, script)
        whose = source if runs_code(script) else asked
        candidate = await self._command("candidate", "export", whose, source=source, roots=roots, **fields)
        if candidate["errors"]:
            return self._rejected(theorem.name, candidate["errors"][0])
        verdicts = await self._check(theorem.imports, candidate["entries"], reference, roots)
        return self._verdict(theorem.name, verdicts[0])

    async def audit_source(
        self,
        source: str,
        imports: Sequence[str] = ("Init",),
        reference: str | None = None,
        file: str = "<source>",
        also: Sequence[str] = (),
        before: Sequence[SourceModule] = (),
        reference_before: Sequence[SourceModule] | None = None,
    ) -> list[Verdict]:
        """Judge every theorem in source text (without its imports).

        `reference`: the same text with `sorry` where proofs are asked for; every constant that both have must then mean the
        same, and every theorem of the reference must be proved. `also`: definitions and instances to judge with the
        theorems, by what they rest on. `before`: modules given as source that stand before the text; theirs are not judged,
        but what the text's theorems use of them goes through the kernel with it. `reference_before`: the same, for the
        reference, where no proof that a model wrote may be read. Raises LeanError when the reference has errors.
        """
        return (await self.audit_text(source, imports, reference, file, also, before, reference_before, definitions=False))[0]

    async def audit_text(
        self,
        source: str,
        imports: Sequence[str] = ("Init",),
        reference: str | None = None,
        file: str = "<source>",
        also: Sequence[str] = (),
        before: Sequence[SourceModule] = (),
        reference_before: Sequence[SourceModule] | None = None,
        definitions: bool = True,
    ) -> tuple[list[Verdict], list[Verdict]]:
        """As `audit_source`, and besides verdicts on all else that the text defines, instances too: by what it rests on, and where the
        reference has it, on whether it means the same."""
        fields: dict[str, Any] = {"imports": list(imports), "file": file, "before": [m.message() for m in before]}
        reference_before = before if reference_before is None else reference_before
        # What runs code here meets no other file's text; the proofs tried in one file may meet each other.
        whose = "\0".join((file, reference or source, *(m.text for m in reference_before)))
        wanted = await self._reference(reference, imports, file, reference_before, whose) if reference is not None else None
        try:
            candidate = await self._command("candidate", "export", whose, source=source, **fields)
        except LeanDied as e:
            return [Verdict(file, "error", f"lean: {_first_line(str(e))}", lean=self.runtime.name)], []
        if candidate["errors"]:
            return [self._rejected(file, candidate["errors"][0])], []
        roots = _own(wanted or candidate, "theorem")
        reference_entries = wanted["entries"] if wanted is not None else None
        named = [_parts(name) for name in also]
        defined = [d for d in _own(candidate, "def", "opaque") if d not in named] if definitions else []
        there = _own(wanted or candidate, "def", "opaque")
        asked = [d for d in defined if d in there]
        judged = await self._check(imports, candidate["entries"], reference_entries, roots, [*named, *asked])
        if more := [d for d in defined if d not in asked]:
            judged += await self._check(imports, candidate["entries"], None, [], more)
        verdicts = [self._verdict(v["name"], v) for v in judged]
        theorems = len(roots) + len(named)
        self.judged += theorems
        return verdicts[:theorems], verdicts[theorems:]

    async def _reference(
        self,
        source: str,
        imports: Sequence[str],
        file: str,
        before: Sequence[SourceModule] = (),
        whose: str = "",
        start: int = 0,
    ) -> dict[str, Any]:
        """What the reference process exports of a text, and how many commands of it end behind byte `start`."""
        key = (source, tuple(imports), tuple(before), whose, start)
        if key not in self._references:
            fields: dict[str, Any] = {"imports": list(imports), "file": file, "before": [m.message() for m in before]}
            answer = await self._command("reference", "export", whose, source=source, start=start, **fields)
            if answer["errors"]:
                e = answer["errors"][0]
                raise LeanError(f"statement: {e['file']}:{e['line']}:{e['column']}: {e['m'].strip()}")
            if len(self._references) > 1000:
                self._references.clear()
            self._references[key] = answer
        return self._references[key]

    async def _check(
        self,
        imports: Sequence[str],
        entries: list[Any],
        reference: list[Any] | None,
        roots: list[NameParts],
        also: Sequence[NameParts] = (),
    ) -> list[dict[str, Any]]:
        """Verdicts on `roots` and `also`."""
        fields = {"imports": list(imports), "entries": entries, "reference": reference, "roots": roots, "also": also}
        answer = await self._command("checker", "check", **fields, **self._rules)
        return answer["verdicts"]

    @property
    def _rules(self) -> dict[str, Any]:
        # The embedded library comes without proofs, so there is nothing to look through.
        return {"deep": self.runtime.kind == "native", "forbidden": sorted(self.forbidden)}

    def _rejected(self, name: str, error: dict[str, Any]) -> Verdict:
        # Nearly always the text itself; else a module before it.
        where = f"line {error['line']}" if error["file"] == name else f"{error['file']}: line {error['line']}"
        reason = f"elaboration: {where}: {_first_line(error['m'])}"
        return Verdict(name, "rejected", reason, lean=self.runtime.name)

    def _verdict(self, name: str, judged: dict[str, Any]) -> Verdict:
        axioms = tuple(sorted(set(judged["axioms"])))
        premises = tuple(sorted(judged["premises"]))
        reason = judged["problem"] or ""
        if not reason:
            bad = [a for a in axioms if a not in self.allowed]
            if bad:
                reason = _REASONS.get(bad[0], f"axiom: {bad[0]}")
            elif used := sorted(judged["forbidden"]):
                reason = f"premise: {used[0]} may not be used"
        return Verdict(name, "rejected" if reason else "proved", reason, axioms, premises, self.runtime.name)


def _first_line(message: str) -> str:
    return " ".join(message.strip().split("\n")[:2])[:500]


def _parts(name: str) -> NameParts:
    """A name's components: `A.«b.c».d` has three."""
    return [part[1:-1] if part.startswith("«") else part for part in re.findall(r"«[^»]*»|[^.«]+", name)]


def _declared_name(theorem: Theorem, reference: list[Any]) -> NameParts:
    """The theorem's full name, with the namespaces that its context leaves open."""
    own = _parts(theorem.name)
    found = [parts for parts in _names(reference, "theorem") if parts[-len(own) :] == own]
    if len(found) == 1:
        return found[0]
    # The context has theorems of that name too: reckon which namespaces are open.
    spaces: list[NameParts] = []
    for line in theorem.context.splitlines():
        words = line.split("--")[0].split()
        if len(words) >= 2 and words[0] == "namespace":
            spaces.append(_parts(words[1]))
        elif "section" in words:
            spaces.append([])
        elif words and words[0] == "end" and spaces:
            spaces.pop()
    return [*(part for space in spaces for part in space), *own]


def _own(exported: dict[str, Any], *kinds: str) -> list[NameParts]:
    """What an exported text declares of these kinds, without the modules before it. Instances are a kind of `def`."""
    own = {tuple(parts) for parts in exported["own"]}
    return [parts for parts in _names(exported["entries"], *kinds) if tuple(parts) in own]


def _names(entries: list[Any], *kinds: str) -> list[NameParts]:
    """Full names of exported declarations of these kinds, leaving out those that elaboration made for others (`t._proof_1`)."""
    names = [e[1:] for e in entries if e[0] == "n"]
    declared = {tuple(names[i]) for e in entries if e[0] == "d" for i in _declared(e)}
    found = [names[e[2]] for e in entries if e[0] == "d" and e[1] in kinds]
    return [parts for parts in found if not _auxiliary(parts, declared)]


def _declared(entry: list[Any]) -> list[int]:
    return [t[0] for t in entry[5]] if entry[1] == "inductive" else [entry[2]]


def _auxiliary(parts: NameParts, declared: set[tuple[str | int, ...]]) -> bool:
    """As `auxiliary` in Check.lean. `_private.Module.0.name` is `name`, kept private."""
    numbers = [i for i, part in enumerate(parts) if isinstance(part, int)]
    written = numbers[0] + 1 if parts[0] == "_private" and numbers else 0
    if all(isinstance(part, str) and not part.startswith("_") for part in parts[written:]):
        return False
    return any(tuple(parts[:i]) in declared or parts[i - 1] == "_example" for i in range(written + 1, len(parts)))
