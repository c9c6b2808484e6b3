"""Executors: run attempts and audits on Lean processes of this machine. For a cluster see prover.solve.ray_executor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any, Protocol

from prover.console import one_line
from prover.lean.audit import Auditor
from prover.lean.pool import LeanPool
from prover.lean.server import LeanDied, LeanError, Limits
from prover.lean.sorries import FileSorries, load_file
from prover.lean.steps import SEARCH_HEARTBEATS, SEARCH_SECONDS
from prover.lean.theorem import ProofState, Theorem, Verdict
from prover.premises.index import load_cached
from prover.premises.retrieve import PremiseSource
from prover.solve.attempt import Negated, Prover, attempt_all
from prover.solve.job import Found, Job, Load, SourceFile
from prover.solve.negation import negation
from prover.solve.remarks import Remark, at_once, auto_bound, fingerprint, vacuous

IN_TURN = 3
"""Concurrent attempts per Lean process, so that it works while others wait for a model or the audit."""


class Executor(Protocol):
    """Runs attempts and audits. Use as an async context manager."""

    lean: str

    @property
    def places(self) -> int:
        """Number of concurrent attempts."""
        ...

    async def __aenter__(self) -> Executor: ...
    async def __aexit__(self, *exc: object) -> None: ...
    async def attempt(self, job: Job) -> Found:
        """Faults of Lean or of the statement do not raise: the outcome is `error`, with the reason."""
        ...

    async def audit(self, theorem: Theorem, script: str) -> Verdict: ...
    async def sorries(self, file: SourceFile) -> FileSorries:
        """Every `sorry` of a file, and its errors. Raises LeanError if a module before the file has an error, LeanDied if Lean ends."""
        ...

    async def load(self) -> Load: ...


class LocalExecutor:
    """Runs `workers` Lean processes for searches, and those of the audit, on this machine."""

    def __init__(self, provers: Sequence[Prover], workers: int) -> None:
        self.provers = provers
        self.wants_premises = any(p.wants_premises for p in provers)
        # A whole proof is checked in one step.
        whole = any(p.writer is not None for p in provers)
        limits = Limits() if whole else Limits(2 * SEARCH_HEARTBEATS, SEARCH_SECONDS)
        self.pool = LeanPool(workers, limits=limits, constants=self.wants_premises)
        self.auditor = Auditor()
        self.lean = self.pool.runtime.name

    @property
    def places(self) -> int:
        return len(self.pool.servers) * IN_TURN

    async def __aenter__(self) -> LocalExecutor:
        loading = [p.loading for p in self.provers if p.loading is not None]
        try:
            await asyncio.gather(self.pool.start(), *(asyncio.to_thread(model.wait) for model in loading))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.pool.close()
        await self.auditor.close()

    async def attempt(self, job: Job) -> Found:
        opened: list[ProofState] = []
        release: Callable[[], None] | None = None
        try:
            if (place := job.sorry) is not None:
                file = place.file
                roots, release = await twice(
                    lambda: self.pool.open_sorry(file.text, file.imports, file.before, place.number)
                )
            else:
                opened.append(await twice(lambda: self.pool.open(job.theorem)))
                roots = opened[:]
            negated = await self._negated(job, roots, opened)
            premises = None
            if self.wants_premises and (source := _shared_premises(self.lean)) is not None:
                premises = await source.for_theorem(job.theorem)  # waits for the index of the theorem's imports
            found = await attempt_all(job, roots, self.pool, self.provers, premises, negated)
            remarks = await self._remarks(job, roots[0], found) if job.find_remarks else ()
            if len(roots) == 1:
                found = await self._plainest(roots[0], found, remarks)
            hash = fingerprint(job.theorem, roots[0])
            return replace(found, goal=roots[0].text, statement_hash=hash, remarks=remarks)
        except (LeanError, LeanDied) as error:
            return Found("error", reason=one_line(str(error)))
        finally:
            await self.pool.free(opened)
            if release is not None:
                release()

    async def _negated(self, job: Job, roots: Sequence[ProofState], opened: list[ProofState]) -> Negated | None:
        """The opened negation. None if it is not wanted, if Lean cannot read it, or if the theorem that a sorry was read as has
        another goal than the sorry."""
        if not job.disprove or (false := negation(job.statement)) is None:
            return None
        with suppress(LeanError):
            if job.sorry is not None:
                opened.append(stated := await twice(lambda: self.pool.open(job.statement)))
                if [stated.key] != [root.key for root in roots]:
                    return None
            opened.append(state := await twice(lambda: self.pool.open(false)))
            return Negated(false, state, job.disprove)
        return None

    async def _remarks(self, job: Job, root: ProofState, found: Found) -> tuple[Remark, ...]:
        remarks = (
            await vacuous(root, self.pool),
            await auto_bound(job.theorem, root, self.seen) if job.sorry is None else None,
            await at_once(root, self.pool, found.script) if found.outcome == "found" else None,
        )
        return tuple(remark for remark in remarks if remark is not None)

    async def seen(self, theorem: Theorem) -> ProofState | None:
        """The first state of a theorem, already freed; None if Lean rejects the theorem or dies."""
        try:
            state = await self.pool.open(theorem)
        except (LeanError, LeanDied):
            return None
        await self.pool.free([state])
        return state

    async def _plainest(self, root: ProofState, found: Found, remarks: Sequence[Remark]) -> Found:
        """The attempt with the single tactic of an `at once` remark as its proof, if that is shorter and among the prover's actions."""
        env = next((p.bounded(self.pool) for p in self.provers if p.name == found.prover), self.pool)
        for tactic in (r.detail for r in remarks if r.kind == "at once" and found.outcome == "found"):
            for script in (tactic, f"intros\n{tactic}"):
                if len(script) < len(found.script):
                    (result,) = await env.step(root, (script,))
                    await env.free(result.states)
                    if result.solved:
                        return replace(found, script=script)
        return found

    async def audit(self, theorem: Theorem, script: str) -> Verdict:
        return await audited(self.auditor, theorem, script)

    async def sorries(self, file: SourceFile) -> FileSorries:
        server = self.pool.servers[0]
        found, states = await load_file(server, file.text, file.imports, file.before)
        await server.free([state for here in states for state in here])
        return found

    async def load(self) -> Load:
        servers = self.pool.servers
        pids = [s.pid for s in [*servers, *self.auditor.servers] if s.pid is not None]
        return Load(
            len(servers),
            sum(s.busy_s() for s in servers),
            self.pool.steps,
            sum(s.counters.restarts for s in servers),
            tuple(pids),
        )


async def settled(executor: Executor, job: Job, found: Found) -> Found:
    """The attempt with the audit's outcome (`proved`, `disproved`, `rejected`, or `error` if it could not be judged) and with
    audited remarks.

    The proof of a `sorry` stays `found`, because its file is audited as a whole (prover.solve.fill).
    """
    if found.outcome == "refuted" or (found.outcome == "found" and job.sorry is None):
        false = found.outcome == "refuted"
        if (claim := negation(job.statement) if false else job.theorem) is None:  # in a results file that was edited
            return replace(found, outcome="rejected", script="", reason="the statement has no negation")
        verdict = await executor.audit(claim, found.script)
        if false and verdict.verdict == "rejected":  # e.g. it rests on an earlier sorry; the statement is still open
            left = job.lean_calls - found.lean_calls
            if left > 0:
                again = await executor.attempt(replace(job, disprove=0.0, lean_calls=left))
                again = replace(
                    again, lean_calls=found.lean_calls + again.lean_calls, seconds=found.seconds + again.seconds
                )
                return await settled(executor, job, again)
            return replace(
                found, outcome="budget", script="", reason=f"a proof of its negation was rejected: {verdict.reason}"
            )
        good = "disproved" if false else "proved"
        outcome = {"proved": good, "rejected": "rejected"}.get(verdict.verdict, "error")
        reason = verdict.reason
        if outcome == "disproved":
            answered = job.statement.if_false is not None
            reason = "proved with `False` for its answer" if answered else found.reason or "its negation is proved"
        found = replace(found, outcome=outcome, reason=reason)
    remarks = []
    for remark in found.remarks:
        judged = job.sorry is None and remark.script
        if not judged or (await executor.audit(job.theorem, remark.script)).verdict == "proved":
            remarks.append(remark)
    if job.theorem.answer == "proposition" and found.outcome in ("proved", "disproved"):
        remarks.insert(0, Remark("answer", "True" if found.outcome == "proved" else "False"))
    elif found.outcome == "disproved":
        remarks.insert(0, Remark("false", found.script))
    return replace(found, remarks=tuple(remarks))


async def audited(auditor: Auditor, theorem: Theorem, script: str) -> Verdict:
    """The verdict of Auditor.audit, with one retry if the proof could not be judged."""
    verdict = await auditor.audit(theorem, script)
    return verdict if verdict.verdict != "error" else await auditor.audit(theorem, script)


async def twice(call: Callable[[], Awaitable[Any]], on: tuple[type[Exception], ...] = (LeanDied,)) -> Any:
    """Await `call()`, with one retry if Lean dies. `on`: the exceptions to retry after instead."""
    try:
        return await call()
    except on:
        return await call()


@cache
def _shared_premises(lean: str) -> PremiseSource | None:
    """The premise source of a Lean; None if it has no index."""
    index = load_cached(lean)
    return PremiseSource(index) if index is not None else None
