"""Whole proofs from a model: sample, check each with one Lean call, and retry with Lean's error.

The longest valid prefix of a failed proof is replayed step by step. Its tactics become suggestions for their states, so that a
search continues where the proof failed.
"""

from __future__ import annotations

import asyncio
import math
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

from prover.lean.theorem import ProofState, Theorem
from prover.models.base import Policy, Query, Suggestion, count_tokens
from prover.models.mixture import mix
from prover.search import Budget, Environment

SAMPLES = (8, 4, 4)
"""Proofs sampled in each round. The prompts of later rounds have the best failed proof and Lean's error."""
MAX_STEPS = 24
"""Maximum number of tactics of a failed proof that are replayed."""


class Writer(Protocol):
    """A model that generates text: VLLMPolicy, ServerPolicy or HuggingFacePolicy with a template whose `answers` is `proof`."""

    format: Any

    def texts(self, prompt: Any, n: int) -> tuple[list[str], int]:
        """(up to n sampled answers, without truncated ones; the tokens of the prompt and of all n)."""
        ...


@dataclass(slots=True)
class WholeProofs:
    """Result of whole-proof sampling."""

    script: str | None = None
    """A tactic block that Lean accepted, not yet audited."""
    seeds: dict[str, list[str]] = field(default_factory=dict)
    """Accepted tactics, by `ProofState.shared` of their state."""
    lean_calls: int = 0
    tokens: int = 0
    """Tokens that the model read and wrote."""
    error: str = ""
    """Lean's error on the proof with the longest valid prefix."""


async def write_proofs(
    theorem: Theorem, root: ProofState, env: Environment, writer: Writer, limit: Budget
) -> WholeProofs:
    """Sample proofs of `root` within a budget. Tokens are checked before each request to the model, Lean calls and seconds also before
    each Lean call. `root` stays open; all other states are freed."""
    found = WholeProofs()
    began = perf_counter()

    def spent(tokens: int = 0) -> bool:
        return limit.exhausted(found.lean_calls, tokens, perf_counter() - began)

    values = prompt_values(theorem, root)
    seen: set[str] = set()
    furthest = -1
    tried, error = "", ""
    for samples in SAMPLES:
        if spent(found.tokens):
            return found
        prompt = writer.format.template.render({**values, "tried": tried, "error": error})
        texts, tokens = await asyncio.to_thread(writer.texts, prompt, samples)
        found.tokens += tokens
        for text in texts:
            answer = writer.format.template.answer(text)
            script = proof_script(answer) if answer else ""
            if not script or script in seen:
                continue
            seen.add(script)
            if spent():
                return found
            (result,) = await env.step(root, (script,))
            found.lean_calls += 1
            if result.solved:
                found.script = script
                return found
            await env.free(result.states)
            message = result.message or "it leaves goals unproved:\n" + "\n\n".join(s.text for s in result.states)
            length, why = await _replay(script, root, env, found, spent)
            if length > furthest:
                furthest, tried, error = length, script, why or message
        found.error = error
    return found


async def _replay(
    script: str, root: ProofState, env: Environment, found: WholeProofs, spent: Callable[[], bool]
) -> tuple[int, str]:
    """Replay a proof until Lean rejects a step or the budget is spent. Returns (number of accepted steps, Lean's error).

    Each step acts on the first open goal. A tactic for several goals (`all_goals`) may fail here although it is valid in the
    script; the replay then merely ends early.
    """
    open_states = [root]
    opened: list[ProofState] = []
    taken = 0
    message = ""
    for tactic in steps(script)[:MAX_STEPS]:
        if not open_states or spent():
            break
        state = open_states.pop(0)
        (result,) = await env.step(state, (tactic,))
        found.lean_calls += 1
        opened += result.states
        if not result.ok:
            message = f"at `{tactic}`: {result.message}"
            break
        taken += 1
        tactics = found.seeds.setdefault(state.shared, [])
        if tactic not in tactics:
            tactics.append(tactic)
        open_states = [*result.states, *open_states]
    await env.free(opened)
    return taken, message


SEEDED = 0.5
"""The probability share of the seeds in states that have some."""


class Seeded:
    """A policy that also suggests the valid steps of whole proofs."""

    def __init__(self, seeds: dict[str, list[str]], policy: Policy) -> None:
        self.seeds, self.policy = seeds, policy

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        answers = self.policy.suggest(queries, n)
        mixed = []
        for query, own in zip(queries, answers, strict=True):
            tactics = self.seeds.get(query.state.shared, []) if query.attempt == 0 else []
            seeded = [Suggestion(t, -math.log(len(tactics)), "proof") for t in tactics]
            mixed += mix([([seeded], SEEDED), ([own], 1 - SEEDED)], n) if seeded else [own]
        return mixed

    def count_tokens(self, query: Query, suggestions: Sequence[Suggestion]) -> int:
        """Tokens of the policy. Suggestions from proofs cost none."""
        return count_tokens(self.policy, query, [s for s in suggestions if s.source != "proof"])


_DECLARATION = re.compile(r"^\s*(?:theorem|lemma|example)\b", re.MULTILINE)


def proof_script(answer: str) -> str:
    """The tactic block of an answer, which may be a bare block or a whole declaration; "" if there is none."""
    declarations = list(_DECLARATION.finditer(answer))
    if declarations:
        body = re.search(r":=\s*by\b", answer[declarations[-1].start() :])
        if body is None:
            return ""
        answer = answer[declarations[-1].start() + body.end() :]
    lines = answer.replace("\t", "  ").strip("\n").split("\n")
    # After `:= by simp` on one line, only the following lines are indented.
    if len(lines) > 1 and not lines[0][:1].isspace():
        rest = textwrap.dedent("\n".join(lines[1:]))
        lines = [lines[0], *rest.split("\n")]
    elif lines and declarations and lines[0].startswith(" ") and lines[0].strip() and len(lines) == 1:
        lines = [lines[0].strip()]
    return "\n".join(x.rstrip() for x in textwrap.dedent("\n".join(lines)).split("\n")).strip("\n")


def steps(script: str) -> list[str]:
    """The tactics of a script in order. Bullets are flattened."""
    chunks: list[list[str]] = []
    for line in script.split("\n"):
        bare = line.strip()
        if not bare or bare.startswith("--"):
            continue
        continues = line[:1].isspace() or bare.startswith(("|", "<;>", ")", "]", "⟩", "}")) or bare == "done"
        if chunks and continues:
            chunks[-1].append(line)
        else:
            chunks.append([line])
    found: list[str] = []
    for chunk in chunks:
        bullet = re.match(r"[·.] +|[·.]$", chunk[0])
        if bullet:
            inner = " " * bullet.end() + chunk[0][bullet.end() :]
            found += steps(textwrap.dedent("\n".join([inner, *chunk[1:]])))
        else:
            found.append("\n".join(chunk))
    return found


def prompt_values(theorem: Theorem, root: ProofState) -> dict[str, Any]:
    """The variables of a template that answers with proofs, for the first try."""
    # The statement of a library theorem is built from the printed goal and may not elaborate. The proof is checked on the goal itself.
    statement = root.goals[0].statement if theorem.statement is None else theorem.statement
    declaration = f"theorem {theorem.name} {statement}"
    return {"goal": root.text, "statement": declaration, "header": _header(theorem), "premises": ()}


def _header(theorem: Theorem) -> str:
    imports = "".join(f"import {x}\n" for x in theorem.imports if x != "Init")
    context = theorem.context.rstrip("\n")
    return "".join(part + "\n" for part in (imports, context) if part)
