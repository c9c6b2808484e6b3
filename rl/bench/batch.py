"""A long batch, undisturbed and with kills and resumes at random moments: utilisation, memory, lost and repeated work.

Runs `turnstile prove` twice on the same theorems, once undisturbed, once killed with SIGKILL at random moments and resumed, and
compares the files written.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prover.console import say
from rl.bench import Quick

SAME = ("outcome", "proof", "lean_calls")
"""Fields of a result that must be equal in both batches."""


def command(folder: Path, arguments: Sequence[str]) -> list[str]:
    """The command of a batch that writes to a folder and resumes from it."""
    results = ["--results", str(folder / "results.jsonl"), "--out", str(folder / "proofs.lean"), "--resume", "--json"]
    return [sys.executable, "-m", "prover.cli", "prove", *arguments, *results]


def run_whole(folder: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """The JSON document of an undisturbed batch."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command(folder, arguments), stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"`turnstile prove` ended with {done.returncode}")
    return json.loads(done.stdout)


def run_killed(folder: Path, arguments: Sequence[str], kills: int, tasks: int, seed: int) -> dict[str, Any]:
    """The JSON document of a batch that is killed `kills` times, each at a random number of lines written, and resumed."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"kills {seed}")
    moments = sorted(rng.sample(range(1, max(tasks, kills + 1)), kills))
    results = folder / "results.jsonl"
    for moment in moments:
        process = subprocess.Popen(command(folder, arguments), stdout=subprocess.DEVNULL)
        while process.poll() is None and lines(results) <= moment:
            time.sleep(0.02)
        time.sleep(rng.random() * 0.5)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        say(f"turnstile: killed with {lines(results)} lines written")
    return run_whole(folder, arguments)


def lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return 0


def attempts(folder: Path) -> Counter[tuple[str, int]]:
    """Number of results by (task, try). More than one is repeated work."""
    return Counter((r["key"], r.get("try", 0)) for r in _rows(folder) if not r.get("unjudged"))


def repeated(folder: Path) -> int:
    """Number of searches that were repeated."""
    unjudged = Counter((r["key"], r.get("try", 0)) for r in _rows(folder) if r.get("unjudged"))
    return sum(n - 1 for counts in (unjudged, attempts(folder)) for n in counts.values())


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(x) for x in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()[1:]]


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[dict[str, Any]]:
    """Tasks with different results."""
    pairs = zip(one["tasks"], other["tasks"], strict=True)
    return [
        {"name": a["name"], **{f: [a[f], b[f]] for f in SAME if a[f] != b[f]}}
        for a, b in pairs
        if any(a[f] != b[f] for f in SAME) or a["name"] != b["name"]
    ]


def bench_batch(
    *, quick: Quick = False, theorems: int = 1000, kills: int = 5, policy: str = "portfolio", workers: int = 2
) -> dict[str, Any]:
    """Figures of the undisturbed batch (`proved`, `seconds`, `lean_utilisation`, `memory_mb` …), and of the killed one: `tried_twice`,
    `lost`, `different` (tasks with another result), `same_results`, `same_proofs_file`.

    Args:
        theorems: number of training theorems.
        kills: number of kills.
        policy: as for `turnstile prove`.
        workers: Lean processes.
    """
    if quick:
        theorems, kills = min(theorems, 40), min(kills, 3)
    options = {"limit": theorems, "policy": policy, "seed": 0, "workers": workers}
    arguments = ["set:library-train", *(text for k, v in options.items() for text in (f"--{k}", str(v)))]
    with tempfile.TemporaryDirectory(prefix="turnstile-bench-") as scratch:
        whole, killed = Path(scratch) / "whole", Path(scratch) / "killed"
        one = run_whole(whole, arguments)
        say(f"turnstile: undisturbed: {one['proved']} of {one['total']} proved in {one['seconds']:.0f} s")
        other = run_killed(killed, arguments, kills, theorems, 0)
        finished = attempts(killed)
        different = differences(one, other)
        return {
            "theorems": one["total"],
            "proved": one["proved"],
            "policy": policy,
            "workers": workers,
            "seed": 0,
            "seconds": one["seconds"],
            "lean_utilisation": one["lean_utilisation"],
            "lean_cpu_share": one["lean_cpu_share"],
            "memory_mb": one["memory_mb"],
            "lean_restarts": one["lean_restarts"],
            "kills": kills,
            "tried_twice": repeated(killed),
            "lost": one["total"] - len({k for k, _ in finished}),
            "different": different,
            "same_results": not different,
            "same_proofs_file": (whole / "proofs.lean").read_bytes() == (killed / "proofs.lean").read_bytes(),
            "cpus": os.cpu_count(),
            "lean": one["lean"],
        }
