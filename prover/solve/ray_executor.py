"""Runs a batch on a Ray cluster: attempts and audits are actors with their own Lean processes.

Every machine needs this package and, for a policy that is a folder, that folder at the same path. The work of a lost machine
is repeated elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

import ray
from ray.exceptions import RayTaskError

from prover.console import one_line
from prover.errors import UserError
from prover.lean.audit import Auditor
from prover.lean.runtime import find_runtime
from prover.lean.server import LeanDied, LeanError
from prover.lean.sorries import FileSorries
from prover.lean.theorem import Theorem, Verdict
from prover.lean.toolchain import PIN_VARIABLE, obeyed
from prover.logs import ActorLog
from prover.solve.executor import IN_TURN, LocalExecutor, audited, twice
from prover.solve.job import Found, Job, Load, SourceFile
from prover.solve.policies import provers_named
from prover.solve.ray_start import LOST, start_ray

_log = logging.getLogger(__name__)

PROVERS_PER_AUDITOR = 8
RETRIES = 3
"""Retries of a task whose actor died."""


class _Prover:
    """Actor with one Lean process for searches."""

    def __init__(self, policy: str, seed: int, rule: str = "") -> None:
        self.executor = LocalExecutor(provers_named(policy, seed, rule), 1)
        self._starting: asyncio.Task[None] | None = None

    async def ready(self) -> str:
        """Start Lean once and return its name. A restarted actor starts Lean on its first call, and after a failed start on the next one."""
        starting = self._starting
        if starting is None or (starting.done() and (starting.cancelled() or starting.exception() is not None)):
            self._starting = starting = asyncio.create_task(self.executor.pool.start())
        await asyncio.shield(starting)
        return self.executor.lean

    async def attempt(self, job: Job) -> Found:
        try:
            await self.ready()
        except UserError as error:
            return Found("error", reason=one_line(str(error)))
        return await self.executor.attempt(job)

    async def sorries(self, file: SourceFile) -> FileSorries:
        await self.ready()
        return await self.executor.sorries(file)

    async def load(self) -> Load:
        await self.ready()
        return await self.executor.load()


class AuditorBody:
    """Actor that audits proofs in Lean processes separate from those of the searches."""

    def __init__(self, log: ActorLog | None = None) -> None:
        if log is not None:
            log.open()
        self.auditor = Auditor()

    async def audit(self, theorem: Theorem, script: str) -> Verdict:
        verdict = await audited(self.auditor, theorem, script)
        _log.debug("%s: %s %s", theorem.name, verdict.verdict, verdict.reason)
        return verdict

    async def close(self) -> None:
        await self.auditor.close()


class RayExecutor:
    """Runs `workers` Lean processes (0: one per free CPU) on the cluster, and auditors beside them."""

    def __init__(self, address: str, policy: str, seed: int, workers: int = 0, rule: str = "") -> None:
        try:
            start_ray(address, num_cpus=max(workers, os.cpu_count() or 1))
        except (ConnectionError, ValueError) as error:
            raise UserError(f"--ray {address}: cannot join the cluster: {one_line(str(error), 300)}") from None
        self.size = workers or max(1, int(ray.available_resources().get("CPU", 1)))
        keep = {"max_restarts": -1, "max_task_retries": RETRIES}
        prover = ray.remote(_Prover).options(num_cpus=1, max_concurrency=4 * IN_TURN, **keep)
        auditor = ray.remote(AuditorBody).options(num_cpus=0, max_concurrency=16, **keep)
        self._provers = [prover.remote(policy, seed, rule) for _ in range(self.size)]
        self._auditors = [auditor.remote() for _ in range(-(-self.size // PROVERS_PER_AUDITOR))]
        self._busy = [0] * self.size
        self._audits = [0] * len(self._auditors)
        self.lean = find_runtime().name

    @property
    def places(self) -> int:
        return self.size * IN_TURN

    async def __aenter__(self) -> RayExecutor:
        names = set(await asyncio.gather(*(_answer(p.ready.remote()) for p in self._provers)))
        if len(names) > 1:
            raise UserError(
                f"the machines run different Lean versions ({', '.join(sorted(names))}); install the same one on all"
            )
        if (pin := obeyed()) is not None and names != {self.lean}:
            raise UserError(
                f"{pin.file}: pins {pin.name}, but the cluster runs {names.pop()}: install {pin.name} on its machines and start their "
                f"Ray with {PIN_VARIABLE} set to such a file"
            )
        self.lean = names.pop()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for actor in [*self._provers, *self._auditors]:
            ray.kill(actor)
        ray.shutdown()

    async def attempt(self, job: Job) -> Found:
        try:
            return await self._least_busy(self._provers, self._busy, lambda p: p.attempt.remote(job))
        except LOST as error:
            return Found("error", reason=_crash(error))

    async def audit(self, theorem: Theorem, script: str) -> Verdict:
        try:
            return await self._least_busy(self._auditors, self._audits, lambda a: a.audit.remote(theorem, script))
        except LOST as error:
            return Verdict(theorem.name, "error", _crash(error))

    async def sorries(self, file: SourceFile) -> FileSorries:
        try:
            return await self._least_busy(self._provers, self._busy, lambda p: p.sorries.remote(file))
        except LOST as error:
            raise LeanDied(_crash(error)) from None

    async def _least_busy(self, actors: list[Any], busy: list[int], call: Any) -> Any:
        """The answer of the least busy actor. Asks a second time if the actor or a Ray object is lost. Raises the exceptions in LOST."""

        async def ask() -> Any:
            i = min(range(len(actors)), key=busy.__getitem__)
            busy[i] += 1
            try:
                return await _answer(call(actors[i]))
            finally:
                busy[i] -= 1

        return await twice(ask, LOST)

    async def load(self) -> Load:
        """Sums over all machines. Processes elsewhere have no ids here, so their memory is not seen."""
        loads = await asyncio.gather(*(_answer(p.load.remote()) for p in self._provers))
        return Load(
            self.size, sum(x.busy_s for x in loads), sum(x.steps for x in loads), sum(x.restarts for x in loads)
        )


def _crash(error: Exception) -> str:
    return one_line(f"crash: {type(error).__name__}: {error}")


async def _answer(call: Any) -> Any:
    """An actor's answer. Raises what the actor raised, without Ray's stack trace in its message."""
    try:
        return await call
    except RayTaskError as error:
        if isinstance(error.cause, (UserError, LeanError, LeanDied, *LOST)):
            raise error.cause from None
        raise
