"""One attempt at one goal: search with each policy in turn, then minimise the proof."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

from prover.errors import PromptTooLong
from prover.lean.theorem import ProofState, Theorem
from prover.models.assessor import Assessor
from prover.models.base import Policy
from prover.models.elementary import Actions
from prover.models.loading import LoadingModel
from prover.pages.tree import tree_page
from prover.premises.retrieve import PremiseSource
from prover.search import Environment, Search, SearchConfig, SearchResult, checker, minimise
from prover.search.actions import bounded
from prover.search.interleave import search_both
from prover.search.tree_summary import tree_summary
from prover.solve import instances
from prover.solve.attempt_environment import AttemptEnvironment, CostlyTactics
from prover.solve.job import Found, Job
from prover.solve.saved_searches import pack, unpack
from prover.solve.whole_proof import Seeded, write_proofs

Premises = Callable[[ProofState], Sequence[str]] | None
Observe = Callable[[Search, SearchResult], None]
"""Called with each search of the theorem that ended, while its states are open."""
CHECKS = 32
"""Lean calls for minimising a proof."""


@dataclass(frozen=True)
class Prover:
    """A policy and the settings of searches with it."""

    name: str
    policy: Policy
    config: SearchConfig
    value: Any = None
    wants_premises: bool = False
    source: PremiseSource | None = None
    """The premise source that the policy was trained with. None: the shared one."""
    writer: Any = None
    """Writes whole proofs (whole_proof.Writer) before the search, which reuses their valid steps."""
    actions: Actions = "full"
    """The tactics that the prover may send to Lean (prover.search.actions)."""

    loading: LoadingModel | None = None
    """The policy's model, if that loads in a thread."""
    assessor: Assessor | None = None
    """Estimates the Lean calls that each proof needs, by which a batch distributes its own."""

    def bounded(self, env: Environment) -> Environment:
        """The environment, which refuses tactics that are not among the prover's actions."""
        return bounded(env, self.actions, strict=True)


@dataclass(frozen=True)
class Negated:
    """The opened negation of a theorem, and the share of the Lean calls to spend on it."""

    theorem: Theorem
    root: ProofState
    rate: float


async def attempt(
    theorem: Theorem,
    root: ProofState,
    env: Environment,
    provers: Sequence[Prover],
    budget: int,
    premises: Premises = None,
    saved: bytes | None = None,
    checks: int = CHECKS,
    observe: Observe | None = None,
) -> Found:
    """Search for a proof of `root` with at most `budget` Lean calls, spent on the provers in turn.

    `saved`: as in Job. The root stays open. Minimising makes up to `checks` more Lean calls. The outcome is `error` if Lean has died.
    With `observe`, the result has no outline.
    """
    job = Job(theorem, budget, saved=saved)
    return await _Attempt(job, root, env, premises, checks=checks, observe=observe).run(provers)


async def attempt_all(
    job: Job,
    roots: Sequence[ProofState],
    env: Environment,
    provers: Sequence[Prover],
    premises: Premises,
    negated: Negated | None,
) -> Found:
    """Attempt every state of one `sorry` on one budget. The script proves all of them. `negated`: searched on the same budget."""
    scripts: list[str] = []
    calls, tokens, seconds = 0, 0, 0.0
    last = Found("error")
    for root in roots:
        left, within = max(1, job.lean_calls - calls), job.within.remaining(calls, tokens, seconds)
        saved = job.saved if len(roots) == 1 else None
        rest = replace(job, lean_calls=left, within=within, saved=saved)
        tried = _Attempt(rest, root, env, premises, negated)
        last = await tried.run(provers)
        calls, tokens, seconds = calls + last.lean_calls, tokens + tried.tokens, seconds + last.seconds
        if last.outcome != "found":
            break
        scripts.append(last.script)
    if last.outcome == "found" and len(distinct := list(dict.fromkeys(scripts))) > 1:
        flat = [s.replace("\n", "\n   ") for s in distinct]
        last = replace(last, script="first\n" + "\n".join(f"| ({s})" for s in flat))
    used_up = last.used_up if len(roots) == 1 else ()
    return replace(last, lean_calls=calls, seconds=seconds, used_up=used_up)


@dataclass
class _Attempt:
    """A running attempt: its limits, its costs so far, and the outcome of the last search."""

    job: Job
    root: ProofState
    env: Environment
    premises: Premises
    negated: Negated | None = None
    checks: int = CHECKS
    observe: Observe | None = None
    costly: CostlyTactics = field(default_factory=CostlyTactics)
    began: float = field(default_factory=perf_counter)
    calls: int = 0
    tokens: int = 0
    outcome: str = "exhausted"
    reason: str = ""
    html: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    crashed: bool = False
    left: bytes = b""
    """The last search, if it ended at its budget and may be continued."""
    failed: str = ""
    """The reason why a prover could not search. The outcome is then `error` and not `exhausted`."""

    def __post_init__(self) -> None:
        self.used_up = list(self.job.skip)
        self.limit = replace(self.job.within, lean_calls=self.job.lean_calls)

    async def run(self, provers: Sequence[Prover]) -> Found:
        if (found := await self.refute()) is not None:
            return found
        for prover in provers:
            if prover.name in self.job.skip:
                continue
            if self.limit.exhausted(self.calls, self.tokens, self.seconds):
                self.outcome = "budget"
                break
            try:
                if (found := await self.search(prover)) is not None:
                    return found
            except PromptTooLong as e:
                self.outcome, self.reason = "error", str(e)
            if self.outcome == "error":
                self.failed = self.failed or self.reason
        return await self.unproved()

    @property
    def seconds(self) -> float:
        return perf_counter() - self.began

    async def refute(self) -> Found | None:
        """Try instances of the statement against it, on the negation's share of the Lean calls."""
        if (
            self.negated is None
            or instances.NAME in self.used_up
            or (share := int(self.job.lean_calls * self.negated.rate)) < 1
        ):
            return None
        tried = await instances.refute(self.negated.theorem, self.root, self.negated.root, self.env, share)
        self.calls += tried.calls
        self.used_up.append(instances.NAME)
        if tried.script is None:
            return None
        return replace(self._found("refuted", tried.script, instances.NAME), reason=tried.reason)

    async def search(self, prover: Prover) -> Found | None:
        """Search with one prover. Returns None if it finds nothing."""
        policy = prover.policy
        if prover.writer is not None:
            env, left = prover.bounded(self.env), self.limit.remaining(self.calls, self.tokens, self.seconds)
            written = await write_proofs(self.job.theorem, self.root, env, prover.writer, left)
            self.calls += written.lean_calls
            self.tokens += written.tokens
            if written.script is not None:
                return self._found("found", written.script, prover.name)
            policy = Seeded(written.seeds, policy)
            self.outcome, self.reason = "budget", written.error
            if self.limit.exhausted(self.calls, self.tokens, self.seconds):
                return None
        offered = self.premises if prover.wants_premises else None
        if prover.wants_premises and prover.source is not None:
            offered = await prover.source.for_theorem(self.job.theorem)
        searches = [self._search(prover, policy, offered)]
        earlier = searches[0].recorder.counts.copy()
        if self.negated is not None:
            env = AttemptEnvironment(prover.bounded(self.env), self.negated.root, self.costly)
            searches.append(
                Search(self.negated.root, env, prover.policy, prover.value, config=prover.config, premises=offered)
            )
        try:
            return await self._run_searches(prover, searches, earlier)
        finally:
            for search in searches:
                await search.close()

    def _continues(self, prover: Prover) -> bool:
        return self.job.saved is not None and prover.writer is None and self.negated is None

    def _search(self, prover: Prover, policy: Policy, offered: Premises) -> Search:
        """The search of an earlier try if this prover left one with the same settings, else a new one."""
        env = AttemptEnvironment(prover.bounded(self.env), self.root, self.costly)
        name, search = unpack(self.job.saved) if self.job.saved else ("", b"")
        if name == prover.name and self._continues(prover):
            with suppress(ValueError, LookupError):  # of another theorem, or damaged: start a new search
                earlier = Search.from_bytes(search, self.root, env, policy, prover.value, premises=offered)
                if earlier.config == prover.config:  # else a retry asks for another rule or seed
                    return earlier
        return Search(self.root, env, policy, prover.value, config=prover.config, premises=offered)

    async def _run_searches(self, prover: Prover, searches: Sequence[Search], earlier: Counter[str]) -> Found | None:
        """`earlier`: counts of the first search before it is continued."""
        # A generous limit against endless searches. Each Lean call has its own limit.
        longest = 60.0 + 15.0 * self.job.lean_calls
        left = self.limit.remaining(self.calls, self.tokens, self.seconds)
        limit = replace(left, seconds=longest if left.seconds is None else min(longest, left.seconds))
        try:
            if self.negated is None:
                results = [await searches[0].run(limit)]
            else:
                results = await search_both(searches[0], searches[1], limit, self.negated.rate, slice_calls=16)
        finally:
            self.calls += sum(s.recorder.counts["lean_calls"] for s in searches) - earlier["lean_calls"]
        if self.observe is not None:
            self.observe(searches[0], results[0])
        self.tokens += sum(r.stats.model_tokens for r in results) - earlier["model_tokens"]
        self.crashed = self.crashed or any("crash" in r.stats.errors for r in results)
        self.outcome, self.reason = results[0].outcome, results[0].message
        proved = next((i for i, r in enumerate(results) if r.outcome == "proved" and r.proof is not None), None)
        shown = searches[proved or 0].graph
        self.html = tree_page(shown, self.job.theorem.name) if self.job.page else ""
        self.summary = tree_summary(shown) if self.observe is None else {}
        if proved is not None:
            refuted = self.negated if proved > 0 else None
            target, state = (refuted.theorem, refuted.root) if refuted else (self.job.theorem, self.root)
            left = self.limit.remaining(self.calls, self.tokens, self.seconds)
            tree: Any = results[proved].proof
            check = checker(prover.bounded(self.env), state)
            seconds = math.inf if left.seconds is None else left.seconds
            found = await minimise(target, tree, check, max_checks=self.checks, seconds=seconds)
            return self._found("refuted" if refuted else "found", found.script, prover.name)
        if all(r.outcome == "exhausted" for r in results):
            self.used_up.append(prover.name)
        if self.outcome == "budget" and self._continues(prover):
            self.left = pack(prover.name, searches[0].to_bytes())
        return None

    def _found(self, outcome: str, script: str, prover: str) -> Found:
        return Found(
            outcome, script, self.calls, self.seconds, "", prover, self.html, self.summary, tuple(self.used_up)
        )

    async def unproved(self) -> Found:
        """The result if no prover found a proof."""
        outcome, reason, used_up = self.outcome, self.reason, self.used_up
        if self.failed and outcome == "exhausted":
            outcome, reason = "error", self.failed
        if self.crashed and outcome in ("exhausted", "budget") and (gone := await _crash_message(self.root, self.env)):
            outcome, reason, used_up = "error", gone, list(self.job.skip)
        left = self.left if outcome == "budget" else b""
        return Found(
            outcome, "", self.calls, self.seconds, reason, "", self.html, self.summary, tuple(used_up), saved=left
        )


async def _crash_message(root: ProofState, env: Environment) -> str:
    """The crash message if Lean no longer answers, else "". Distinguishes a dead Lean from tactics that crash it."""
    (result,) = await env.step(root, ("skip",))
    await env.free(result.states)
    return result.message if result.status == "crash" else ""
