"""The processes of the audit: which texts each may read, and when it is replaced.

- A process that reports on a text has read no text of another author, unless that text's syntax shows that it runs no code
  (`Turnstile/Inert.lean`). Statements share a process if neither they nor their contexts run code, and so do scripts. Files, projects
  and other texts get a process each.
- The checker reads no text, only constants as data.

A command or declaration that kills its process is skipped in the next attempt, so that it only fails itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import msgspec

from prover.lean.declared import Report
from prover.lean.project import SourceModule
from prover.lean.runtime import LeanRuntime
from prover.lean.server import LeanDied, LeanError, LeanServer, Limits
from prover.lean.steps import ENVIRONMENTS

MAX_SKIPPED = 20
"""Maximum number of commands of one text that may kill a process. With more, the text cannot be judged."""
REPLACE_MB = 1600
"""Memory in MiB at which a process is replaced before its next command."""

MAX_PLACES = 1000
"""Number of places for which Judges remembers whether their texts share processes."""
NOT_INERT = "not inert"
"""The reason that Lean gives when it stops before a command that may run code."""

T = TypeVar("T")


class Place(msgspec.Struct, frozen=True):
    """Everything before a text: compiled modules, modules given as source, and a context."""

    imports: tuple[str, ...] = ("Init",)
    before: tuple[SourceModule, ...] = ()
    context: str = ""

    def fields(self) -> dict[str, Any]:
        return {"imports": self.imports, "before": [m.message() for m in self.before], "context": self.context}


@dataclass(eq=False)
class _Kept:
    """A process that is kept between texts."""

    server: LeanServer
    imports: set[tuple[str, ...]] = field(default_factory=set[tuple[str, ...]])
    uses: int = 0
    place: Place | None = None
    """The place whose context the process `context` has read."""


class Judges:
    """The processes. They start on demand; `close` ends them."""

    def __init__(self, runtime: LeanRuntime, limits: Limits, fresh_every: int) -> None:
        self.runtime = runtime
        self.limits = limits
        self.fresh_every = fresh_every
        self._kept: dict[str, _Kept] = {}
        self._shares: dict[Place, asyncio.Task[bool | None]] = {}
        """Whether the texts of a place may share a process with those of others; None if unknown."""
        self._turn = asyncio.Lock()
        self._locks = {role: asyncio.Lock() for role in ("statements", "proofs", "context", "checker")}
        self._fresh = asyncio.Semaphore(2)

    async def close(self) -> None:
        servers, self._kept = self.servers, {}
        await asyncio.gather(*(s.close() for s in servers))

    @property
    def servers(self) -> list[LeanServer]:
        """Processes that are kept between texts."""
        return [kept.server for kept in self._kept.values()]

    # -- reading texts -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def turn(self, place: Place) -> AsyncGenerator[None]:
        """Context for a statement and its proof. If they need a process of their own, only one pair at a time runs, so that both use it."""
        if await self.may_share(place):
            yield
        else:
            async with self._turn:
                yield

    async def statement(self, place: Place, **text: Any) -> Report:
        """Report of a statement, from a process that has read no proof, and no text of another author that may run code."""
        if await self.may_share(place) and (report := await self._shared("statements", place, text)) is not None:
            return report
        async with self._locks["context"]:
            await self._stop("context")
            kept = self._kept["context"] = _Kept(await self._start(), place=place)
            return await self.declare(kept.server, place, text)

    async def proof(self, place: Place, **text: Any) -> Report:
        """Report of a proof's text. Proofs of one place that run no code share a process."""
        if await self.may_share(place):
            report = await self._shared("proofs", place, text)
        else:
            async with self._locks["context"]:
                report, kept = None, self._kept.get("context")
                if kept is not None and kept.place == place and not self._needs_replacement(kept, place.imports):
                    report = _inert(await self.declare(kept.server, place, {**text, "inert": True}))
        return report if report is not None else await self.text(place, **text)

    async def text(self, place: Place, **text: Any) -> Report:
        """Report of a text in a process of its own."""
        async with self.fresh() as server:
            return await self.declare(server, place, text)

    @asynccontextmanager
    async def fresh(self) -> AsyncGenerator[LeanServer]:
        """A process for a single text."""
        async with self._fresh:
            server = await self._start()
            try:
                yield server
            finally:
                await server.close()

    async def library_proof(self, script: str, **fields: Any) -> dict[str, Any]:
        """The constants that a script for a library theorem adds."""
        async with self._locks["proofs"]:
            server = await self._server_of("proofs", tuple(fields["imports"]))
            try:
                return await server.command("prove_library", script=script, inert=True, **self._bounds, **fields)
            except LeanError as e:
                if str(e) != NOT_INERT:
                    raise
        async with self.fresh() as server:
            return await server.command("prove_library", script=script, **self._bounds, **fields)

    async def check(self, cmd: str, **fields: Any) -> dict[str, Any]:
        """The checker's answer. It skips declarations that kill the process, unless there is only one."""
        tell = len(fields.get("obligations", ())) + len(fields.get("added", ())) > 1

        async def ask(skip: Sequence[int]) -> dict[str, Any]:
            server = await self._server_of("checker", tuple(fields["imports"]))
            return await server.command(cmd, skip=skip, ms=int(self.limits.seconds * 1000), tell=tell, **fields)

        async with self._locks["checker"]:
            answer, _ = await _skip_fatal_parts(ask)
            return answer

    # -- processes ---------------------------------------------------------------------------------------------------

    @property
    def _bounds(self) -> dict[str, int]:
        return {"heartbeats": self.limits.heartbeats * 1000}

    async def _start(self) -> LeanServer:
        server = LeanServer(self.runtime, self.limits)
        await server.start()
        return server

    async def _stop(self, role: str) -> None:
        if (kept := self._kept.pop(role, None)) is not None:
            await kept.server.close()

    def _needs_replacement(self, kept: _Kept, imports: tuple[str, ...]) -> bool:
        return (
            kept.server.down
            or kept.server.own_mb() > REPLACE_MB
            or kept.uses >= self.fresh_every
            or (len(kept.imports) >= ENVIRONMENTS and imports not in kept.imports)
        )

    async def _server_of(self, role: str, imports: tuple[str, ...]) -> LeanServer:
        """The process of a role, replaced if necessary."""
        kept = self._kept.get(role)
        if kept is None or self._needs_replacement(kept, imports):
            await self._stop(role)
            kept = self._kept[role] = _Kept(await self._start())
        kept.imports.add(imports)
        kept.uses += role != "checker"
        return kept.server

    async def may_share(self, place: Place) -> bool:
        """Whether the syntax of the text at a place shows that it runs no code."""
        if not place.before and not place.context.strip():
            return True
        if place not in self._shares:
            while len(self._shares) >= MAX_PLACES:
                del self._shares[next(iter(self._shares))]
            self._shares[place] = task = asyncio.create_task(self._runs_no_code(place))
            task.add_done_callback(partial(self._forget_unknown, place))
        return bool(await asyncio.shield(self._shares[place]))

    def _forget_unknown(self, place: Place, task: asyncio.Task[bool | None]) -> None:
        """Let the next text of a place try again."""
        unknown = task.cancelled() or task.exception() is not None or task.result() is None
        if unknown and self._shares.get(place) is task:
            del self._shares[place]

    async def _runs_no_code(self, place: Place) -> bool | None:
        if place.before:
            return False
        try:
            report = await self._shared("statements", place, {"source": "", "file": "context"})
        except LeanDied:
            return None
        if report is None or any(e.m == NOT_INERT for e in report.errors):
            return False
        return None if any(e.stopped for e in report.errors) else True

    async def _shared(self, role: str, place: Place, text: dict[str, Any]) -> Report | None:
        """Report from the shared process of a role, or None if the text may run code; then it elaborated nothing."""
        async with self._locks[role]:
            server = await self._server_of(role, place.imports)
            return _inert(await self.declare(server, place, {**text, "inert": True, "inertContext": True}))

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
            except msgspec.ValidationError:  # the text manipulated the process
                raise LeanDied("the answer of the process does not have the expected form") from None

        report, deaths = await _skip_fatal_parts(ask)
        if not deaths:
            return report
        commands = tuple(
            msgspec.structs.replace(c, stopped=deaths[c.number]) if c.number in deaths else c for c in report.commands
        )
        return msgspec.structs.replace(report, commands=commands)


def _inert(report: Report) -> Report | None:
    return None if any(c.stopped == NOT_INERT for c in report.commands) else report


async def _skip_fatal_parts(ask: Callable[[Sequence[int]], Any]) -> tuple[Any, dict[int, str]]:
    """(an answer, part -> reason why it ended the process, for each skipped part). Raises LeanDied if no single part ended the process."""
    deaths: dict[int, str] = {}
    while True:
        try:
            return await ask(sorted(deaths)), deaths
        except LeanDied as e:
            if e.at is None or e.at in deaths or len(deaths) >= MAX_SKIPPED:
                raise
            deaths[e.at] = died(e)


def died(e: LeanDied) -> str:
    """The reason why a process ended, for a verdict. Leaves out its output, which is untrusted."""
    return {"timeout": "time: it took over its limit", "memory": "memory: it took over its limit"}.get(
        e.status, "crash: the Lean process died of it"
    )
