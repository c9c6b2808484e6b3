"""The audit: verdicts per second by kind of input, start-up time, attacks and honest proofs, memory.

Measures four kinds of input. Scripts for bare statements (as in training) and library theorems share processes; statements with a
context and files get processes of their own. All inputs are in audit.toml.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curricula.settings import read_toml
from prover.concurrency import each
from prover.errors import UserError
from prover.lean.audit import Auditor, Source
from prover.lean.judges import Judges, Place
from prover.lean.runtime import LeanRuntime, find_runtime
from prover.lean.server import Limits
from prover.lean.theorem import Theorem, Verdict
from rl.bench import Quick, compare

AT_ONCE = 4
"""Concurrent audits, as in `turnstile verify`."""

Claim = tuple[Theorem, str]

_TEXTS = read_toml(Path(__file__).with_name("audit.toml"))
SCRIPTS = [(x["statement"], x["proofs"]) for x in _TEXTS["scripts"]]
LIBRARY = [(x["name"], tuple(x["modules"]), x["script"]) for x in _TEXTS["library"]]
CONTEXT, FILE = _TEXTS["context"], _TEXTS["file"]
ATTACKS, HONEST = ([(x["reference"], x["candidate"]) for x in _TEXTS[kind]] for kind in ("attacks", "honest"))


def scripts(n: int) -> list[Claim]:
    """`n` scripts for bare statements: a statement's scripts follow each other, as rollouts of one theorem do."""
    found: list[Claim] = []
    k = 1
    while True:
        for i, (statement, proofs) in enumerate(SCRIPTS):
            theorem = Theorem(f"bench_{i}_{k}", statement.format(k=k))
            for proof in proofs:
                found.append((theorem, proof.replace("{k}", str(k))))
                if len(found) == n:
                    return found
        k += 1


def library(n: int) -> list[Claim]:
    """`n` scripts for library theorems."""
    found = [(Theorem(name, library=name, imports=modules), script) for name, modules, script in LIBRARY]
    return [found[i % len(found)] for i in range(n)]


def rows(n: int, contexts: int) -> list[Claim]:
    """`n` rows, ordered by context, with `contexts` different contexts."""
    found: list[Claim] = []
    for i in range(n):
        k = 1 + i * contexts // n
        theorem = Theorem(f"row_{i}", f": shift n + {i} = n + {k} + {i}", context=CONTEXT.format(k=k))
        found.append((theorem, ("rfl", "simp [shift]", "unfold shift\nrfl")[i % 3]))
    return found


def file(k: int) -> tuple[Source, Source]:
    """(candidate, reference), different for every `k`."""
    proved = FILE.format(k=k, rfl="rfl", omega="by omega", simp="by simp")
    asked = FILE.format(k=k, rfl="sorry", omega="sorry", simp="sorry")
    return Source(proved, file=f"F{k}.lean"), Source(asked, file=f"F{k}.reference.lean")


async def audit_rate(auditor: Auditor, claims: Sequence[Claim]) -> tuple[float, list[Verdict]]:
    """(verdicts per second, verdicts other than `proved`)."""
    began = time.perf_counter()
    verdicts = await each(claims, lambda c: auditor.audit(*c), AT_ONCE)
    return len(claims) / (time.perf_counter() - began), [v for v in verdicts if v.verdict != "proved"]


async def _claims(quick: bool) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    kinds = {
        "scripts": scripts(60 if quick else 400),
        "library": library(10 if quick else 60),
        "rows_own_context": rows(*((3, 3) if quick else (15, 15))),
        "rows_one_context": rows(5 if quick else 30, 1),
    }
    refused: list[Verdict] = []
    for name, claims in kinds.items():
        async with Auditor() as auditor:
            if name in ("scripts", "library"):  # warm-up of shared processes
                await audit_rate(auditor, claims[: len(LIBRARY)])
            rate, bad = await audit_rate(auditor, claims)
            figures[f"{name}_per_s"] = round(rate, 2)
            refused += bad
    return {**figures, "honest_refused": len(refused), "refused": [f"{v.name}: {v.reason}" for v in refused[:5]]}


async def _files(files: int) -> dict[str, Any]:
    """Audit files, two at a time, and measure the memory of the checker, the only process that all of them share."""
    async with Auditor() as auditor:
        warm = max(1, min(5, files // 5))
        judgements = await each([file(k) for k in range(1, warm + 1)], lambda f: auditor.judge(*f), 2)
        [checker] = auditor.servers
        first = checker.own_mb()
        began = time.perf_counter()
        timed = await each([file(k) for k in range(warm + 1, files + warm + 1)], lambda f: auditor.judge(*f), 2)
        seconds = time.perf_counter() - began
        last = sum(server.own_mb() for server in auditor.servers)
        refused = sum(not j.good for j in [*judgements, *timed])
    return {
        "files_per_s": round(files / seconds, 2),
        "file_verdicts_per_s": round(sum(len(j.verdicts) for j in timed) / seconds, 2),
        "files": files,
        "files_refused": refused,
        "checker_mb_first": round(first, 1),
        "checker_mb_last": round(last, 1),
        "checker_growth": round(last / first - 1, 4),
    }


async def fresh_judge(runtime: LeanRuntime, starts: int) -> list[float]:
    """Seconds from start to first report of `starts` processes, after one that warms the file cache."""
    judges = Judges(runtime, Limits(), 500)
    seconds: list[float] = []
    for _ in range(starts + 1):
        began = time.perf_counter()
        await judges.text(Place(), source="theorem t : 1 = 1 := rfl\n", file="t.lean")
        seconds.append(time.perf_counter() - began)
    return seconds[1:]


async def _sample() -> dict[str, int]:
    async def good(pair: tuple[str, str]) -> bool:
        reference, candidate = pair
        return (
            await auditor.judge(Source(candidate, file="candidate.lean"), Source(reference, file="reference.lean"))
        ).good

    async with Auditor() as auditor:
        return {
            "attacks": len(ATTACKS),
            "attacks_accepted": sum(await each(ATTACKS, good, 2)),
            "honest": len(HONEST),
            "honest_refused": sum(not x for x in await each(HONEST, good, 2)),
        }


async def _measure(quick: bool, files: int) -> dict[str, Any]:
    runtime = find_runtime()
    claims = await _claims(quick)
    starts = await fresh_judge(runtime, 2 if quick else 10)
    sample = await _sample()
    measured = await _files(files)
    sample["honest_refused"] += claims.pop("honest_refused") + measured.pop("files_refused")
    figures: dict[str, Any] = {
        **claims,
        **{
            f"fresh_judge_s_{name}": round(f(starts), 3)
            for name, f in (("min", min), ("median", statistics.median), ("max", max))
        },
        **measured,
        **sample,
        "lean": runtime.name,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "quick": quick,
    }
    return {**figures, "expected": expected(figures)}


def expected(figures: dict[str, Any]) -> dict[str, str]:
    """Limits of the figures on 2 idle cores with the embedded Lean, and whether they are met."""
    limits = {
        "fresh_judge_s_median": ("<=", 1.5),
        "attacks_accepted": ("<=", 0),
        "honest_refused": ("<=", 0),
        "checker_growth": ("<", 0.10),
    }
    return compare(figures, limits)


def bench_audit(*, quick: Quick = False, files: int = 50) -> dict[str, Any]:
    """Figures of the audit on this machine, by key.

    `scripts_per_s`, `library_per_s`, `rows_own_context_per_s`, `rows_one_context_per_s`, `file_verdicts_per_s`: verdicts per second on
    each kind of input; `files_per_s`. `fresh_judge_s_*`: seconds from the start of a process to its first report. `checker_mb_first`,
    `checker_mb_last`, `checker_growth`: MiB of the checker before and after `files` files. `attacks_accepted` of `attacks`;
    `honest_refused` of `honest` and of everything timed. `expected`: limits, and whether they are met.

    Args:
        files: number of files audited to measure the checker's memory; 2000 for a full measurement. --quick uses 5.
    """
    if files < 1:
        raise UserError(f"--files {files}: must be at least 1")
    return asyncio.run(_measure(quick, 5 if quick else files))
