"""The processes of the audit: whose text each may read, and for how long it lives.

- A process that says what a text means has read no other owner's text. Text with a context, files and projects get a process
  each. Bare statements and scripts, whose syntax shows that they run no code (`Turnstile/Inert.lean`), share one.
- The checker reads no text at all: constants come to it as data.

A command or declaration that ends a process is left out when it is done again: it costs itself alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec

from prover.lean.declared import Report
from prover.lean.project import SourceModule
from prover.lean.runtime import LeanRuntime
from prover.lean.server import LeanDied, LeanError, LeanServer, Limits

ENVIRONMENTS = 12
"""Imports that a process sees before it is replaced: an imported environment is never released, and 32-bit memory holds about 20 as
large as Init."""
LEFT_OUT = 20
"""Commands of one text that may end a process, before the whole text counts as what cannot be judged."""
TIRED_MB = 1600
"""Memory at which a process is replaced before its next command."""

T = TypeVar("T")


class Place(msgspec.Struct, frozen=True):
    """What stands before a text: compiled modules, modules given as source, and a context."""

    imports: tuple[str, ...] = ("Init",)
    before: tuple[SourceModule, ...] = ()
    context: str = ""

    @property
    def bare(self) -> bool:
        """Whether nobody's text stands there."""
        return not self.before and not self.context.strip()

    def fields(self) -> dict[str, Any]:
        return {"imports": self.imports, "before": [m.message() for m in self.before], "context": self.context}


class Judges:
    """The processes. They start when they are needed; `close` ends them."""

    def __init__(self, runtime: LeanRuntime, limits: Limits, fresh_every: int) -> None:
        self.runtime = runtime
        self.limits = limits
        self.fresh_every = fresh_every
        self._kept: dict[str, LeanServer] = {}
        self._imports: dict[str, set[tuple[str, ...]]] = {}
        self._uses: dict[str, int] = {}
        self._context: Place | None = None
        """Whose context the process `context` has read."""
        self._locks = {role: asyncio.Lock() for role in ("statements", "proofs", "context", "checker")}
        self._fresh = asyncio.Semaphore(2)

    async def close(self) -> None:
        servers, self._kept = list(self._kept.values()), {}
        await asyncio.gather(*(s.close() for s in servers))

    @property
    def servers(self) -> list[LeanServer]:
        """Processes that live on between two texts."""
        return list(self._kept.values())

    # -- who reads what ----------------------------------------------------------------------------------------------

    async def statement(self, place: Place, **text: Any) -> Report:
        """Report of a statement, from a process that has read no other owner's text and no proof."""
        if place.bare and (report := await self._shared("statements", place, text)) is not None:
            return report
        async with self._locks["context"]:
            await self._drop("context")
            server = await self._start()
            self._kept["context"] = server
            self._context = place
            return await self.declare(server, place, text)

    async def proof(self, place: Place, **text: Any) -> Report:
        """Report of a proof's text. A process is shared among proofs of one place that run no code."""
        if place.bare:
            report = await self._shared("proofs", place, text)
        else:
            async with self._locks["context"]:
                report = None
                if self._context == place and not self._worn("context", place.imports):
                    report = _inert(await self.declare(self._kept["context"], place, {**text, "inert": True}))
        return report if report is not None else await self.text(place, **text)

    async def text(self, place: Place, **text: Any) -> Report:
        """Report of a text in a process of its own."""
        async with self.fresh() as server:
            return await self.declare(server, place, text)

    @asynccontextmanager
    async def fresh(self):
        """A process that nobody else's text meets."""
        async with self._fresh:
            server = await self._start()
            try:
                yield server
            finally:
                await server.close()

    async def library_proof(self, script: str, **fields: Any) -> dict[str, Any]:
        """Constants of a script for a library theorem."""
        async with self._locks["proofs"]:
            server = await self._role("proofs", tuple(fields["imports"]))
            try:
                return await server.command("prove_library", script=script, inert=True, **self._bounds, **fields)
            except LeanError as e:
                if str(e) != "not inert":
                    raise
        async with self.fresh() as server:
            return await server.command("prove_library", script=script, **self._bounds, **fields)

    async def check(self, cmd: str, **fields: Any) -> dict[str, Any]:
        """The checker's answer. A declaration that ends it is left out."""

        # Of one theorem no part can be left out.
        tell = len(fields.get("obligations", ())) + len(fields.get("added", ())) > 1

        async def ask(skip: Sequence[int]) -> dict[str, Any]:
            server = await self._role("checker", tuple(fields["imports"]))
            return await server.command(cmd, skip=skip, ms=int(self.limits.seconds * 1000), tell=tell, **fields)

        async with self._locks["checker"]:
            answer, _ = await _leaving_out(ask)
            return answer

    # -- processes ---------------------------------------------------------------------------------------------------

    @property
    def _bounds(self) -> dict[str, int]:
        return {"heartbeats": self.limits.heartbeats * 1000}

    async def _start(self) -> LeanServer:
        server = LeanServer(self.runtime, self.limits)
        await server.start()
        return server

    async def _drop(self, role: str) -> None:
        if (server := self._kept.pop(role, None)) is not None:
            await server.close()
        self._imports[role] = set()
        self._uses[role] = 0
        if role == "context":
            self._context = None

    def _worn(self, role: str, imports: tuple[str, ...]) -> bool:
        server = self._kept.get(role)
        known = self._imports.get(role, set())
        return (
            server is None
            or server.down
            or server.own_mb() > TIRED_MB
            or self._uses.get(role, 0) >= self.fresh_every
            or (len(known) >= ENVIRONMENTS and imports not in known)
        )

    async def _role(self, role: str, imports: tuple[str, ...]) -> LeanServer:
        """The process of a role, another one if it is worn out."""
        if self._worn(role, imports):
            await self._drop(role)
            self._kept[role] = await self._start()
        self._imports[role].add(imports)
        self._uses[role] += role != "checker"
        return self._kept[role]

    async def _shared(self, role: str, place: Place, text: dict[str, Any]) -> Report | None:
        """None where the text may run code: then nothing of it was elaborated."""
        async with self._locks[role]:
            server = await self._role(role, place.imports)
            return _inert(await self.declare(server, place, {**text, "inert": True}))

    async def declare(self, server: LeanServer, place: Place, text: dict[str, Any]) -> Report:
        fields = {
            **self._bounds,
            "ms": int(self.limits.seconds * 1000),
            "tell": text.get("trees", False),
            **place.fields(),
            **text,
        }

        async def ask(skip: Sequence[int]) -> Report:
            answer = await server.command("declare", skip=skip, **fields)
            try:
                return msgspec.convert(answer, Report)
            except msgspec.ValidationError:  # a text took the process over
                raise LeanDied("the process answered nonsense") from None

        report, deaths = await _leaving_out(ask)
        if not deaths:
            return report
        commands = tuple(
            msgspec.structs.replace(c, stopped=deaths[c.number]) if c.number in deaths else c for c in report.commands
        )
        return msgspec.structs.replace(report, commands=commands)


def _inert(report: Report) -> Report | None:
    return None if any(c.stopped == "not inert" for c in report.commands) else report


async def _leaving_out(ask: Callable[[Sequence[int]], Any]) -> tuple[Any, dict[int, str]]:
    """An answer, and the parts that ended the process and were left out, with why. Raises LeanDied where no part is to blame."""
    deaths: dict[int, str] = {}
    while True:
        try:
            return await ask(sorted(deaths)), deaths
        except LeanDied as e:
            if e.at is None or e.at in deaths or len(deaths) >= LEFT_OUT:
                raise
            deaths[e.at] = died(e)


def died(e: LeanDied) -> str:
    """Why a process ended, for a verdict: nothing of its last words, which may be anybody's."""
    return {"timeout": "time: it took over its limit", "memory": "memory: it took over its limit"}.get(
        e.status, "crash: the Lean process died of it"
    )
