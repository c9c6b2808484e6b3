"""Measure the parts: lean, audit, search, premises, conjectures, infilling, batch, model, learner, fleet."""

from __future__ import annotations

import asyncio
import json as json_module
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from prover.console import answer, say
from prover.errors import UserError
from prover.files import check_writable, write_whole

Quick = Annotated[bool, arg(help="a small, fast version.")]
Out = Annotated[Path | None, arg(help="also write the figures to this file.")]
Json = Annotated[bool, arg(help="print one JSON document on standard output.")]


def bench(args: list[str]) -> int:
    """Run `turnstile bench` and return its exit code."""
    from prover.cli import typed

    if not args or args[0] in ("-h", "--help"):
        width = max(map(len, BENCHES))
        print("usage: turnstile bench WHAT …\n")
        for name, f in BENCHES.items():
            print(f"  {name:<{width}}  {(f.__doc__ or '').splitlines()[0]}")
        print("\n`turnstile bench WHAT --help` lists its options.")
        return 0
    if args[0] not in BENCHES:
        raise UserError(f"bench {args[0]!r}: unknown benchmark; available: {', '.join(BENCHES)}")
    return typed(BENCHES[args[0]], f"bench {args[0]}", args[1:])


def _print(figures: dict[str, Any], out: Path | None, json: bool) -> int:
    if out is not None:
        write_whole(out, (json_module.dumps(figures, indent=1) + "\n").encode())
    if json:
        answer(figures)
    else:
        for key, value in figures.items():
            if isinstance(value, dict) and key == "expected":
                for name, verdict in value.items():
                    say(f"expected: {name:24} {verdict}")
            else:
                say(f"{key:24} {value}")
    return 0


def _check_writable(*paths: Path | None) -> None:
    for path in filter(None, paths):
        check_writable(path)


def _calls(budgets: str, quick: bool) -> list[int]:
    """Budgets in Lean calls, sorted; with `quick` those up to 64, or the smallest. Raises UserError for invalid text."""
    try:
        calls = sorted({int(b) for b in budgets.split(",")})
    except ValueError:
        calls = []
    if not calls or calls[0] < 1:
        raise UserError(f"--budgets {budgets}: must be numbers of Lean calls, e.g. 16,64,256")
    return [b for b in calls if b <= 64] or calls[:1] if quick else calls


def _lean(*, quick: Quick = False, out: Out = None, json: Json = False) -> int:
    """The proof server: steps per second, overhead, start-up time, memory, cost of a kill."""
    from rl.bench.lean import bench_lean

    _check_writable(out)
    return _print(bench_lean(quick), out, json)


def _audit(*, quick: Quick = False, files: int = 50, out: Out = None, json: Json = False) -> int:
    """The audit: verdicts per second by kind of input, start-up time, attacks and honest proofs, memory.

    Args:
        files: number of files audited to measure the checker's memory; 2000 for a full measurement. --quick uses 5.
    """
    from rl.bench.audit import bench_audit

    if files < 1:
        raise UserError(f"--files {files}: must be at least 1")
    _check_writable(out)
    return _print(bench_audit(quick, files), out, json)


def _search(
    *,
    quick: Quick = False,
    checkpoint: Path | None = None,
    theorems: int = 300,
    seeds: int = 3,
    searches: str = "",
    budgets: str = "16,64,256,1024",
    split: Literal["held-out", "validation", "train"] = "held-out",
    record: Path | None = None,
    recorded: bool = False,
    minutes: float | None = None,
    out: Out = None,
    json: Json = False,
) -> int:
    """Searches at equal Lean calls: solved theorems, utilisation, share of time spent in the search itself.

    Args:
        checkpoint: a trained model's folder. Default: the explorer.
        theorems: number of theorems.
        seeds: number of seeds.
        searches: comma-separated searches, e.g. puct_value,best_first:length_penalty=0.5 (a rule, `_value` or `_size`, settings
            of SearchConfig). Default: every rule.
        budgets: Lean calls, comma-separated.
        split: split of the theorems. Tune on validation, report held-out.
        record: a folder that stores Lean's answers and the attempts, so that a run can be resumed.
        recorded: do not start Lean; search only among tactics whose answers are in --record. For tuning.
        minutes: start no theorem later than this. The totals cover the finished theorems.
    """
    from curricula.library import library_set
    from prover.models.manifest import find_checkpoint
    from prover.premises.index import library_index
    from rl.bench.search import Comparison, bench_search

    calls = _calls(budgets, quick)
    if theorems < 1 or seeds < 1:
        raise UserError("--theorems and --seeds must be at least 1")
    if minutes is not None and not minutes > 0:
        raise UserError(f"--minutes {minutes:g}: must be more than 0")
    if record is not None and record.exists() and not record.is_dir():
        raise UserError(f"--record {record}: is a file; name a folder")
    _check_writable(out)
    index = library_index()
    comparison = Comparison(
        library_set(index, split, per_module=28, limit=min(theorems, 40) if quick else theorems),
        index,
        find_checkpoint(checkpoint, "--checkpoint") if checkpoint else None,
        searches.split(",") if searches else (),
        calls,
        range(1 if quick else seeds),
        record,
        recorded,
        minutes,
    )
    return _print(asyncio.run(bench_search(comparison)), out, json)


def _premises(
    *,
    quick: Quick = False,
    checkpoint: Path | None = None,
    theorems: int = 300,
    split: Literal["held-out", "validation", "train"] = "held-out",
    set: Path | None = None,
    only: str = "",
    questions: str = "",
    budgets: str = "16,64,256",
    processes: int = 1,
    record: Path | None = None,
    minutes: float | None = None,
    out: Out = None,
    json: Json = False,
) -> int:
    """Solve rates without premises and with each retriever, trained and untrained, and each retriever's recall.

    Results are stored in --record, from which a run resumes. --quick uses 18 theorems and up to 64 calls.

    Args:
        checkpoint: a run's folder, whose model and retriever are evaluated too.
        theorems: number of theorems of the split. Half as many are added from modules that no stage trains on.
        split: split of the theorems. Tune on validation, report held-out.
        set: a .lean file or Lake project with proofs, whose theorems are proved in place, with and without their surroundings.
        only: variants by name or part of a name, separated by `;`, e.g. `no premises;explorer, symbols`.
        questions: add a variant that asks Lean for suggestions: some of exact?, apply?, rw?, simp?, simp_all?, grind?.
        budgets: Lean calls, comma-separated.
        processes: Lean processes.
        record: the ledger that stores the attempts, an SQLite file. Default: beside --out.
        minutes: start no theorem later than this. The figures cover the finished theorems.
    """
    from curricula.in_place import has_theorems
    from curricula.library import library_set
    from prover.premises.index import library_index
    from rl.bench.local_premises import bench_local_premises
    from rl.bench.premises import bench_premises, learned_weights, unseen_modules

    calls = _calls(budgets, quick)
    if theorems < 1 or processes < 1:
        raise UserError("--theorems and --processes must be at least 1")
    record = record or (out.with_suffix(".sqlite") if out else None)
    if record is not None and record == out:
        raise UserError(f"--record {record}: must not be the file of --out")
    _check_writable(out, record)
    index = library_index()
    n = 12 if quick else theorems
    if set is not None:
        if not has_theorems(set):
            raise UserError(f"--set {set}: must be a .lean file or a Lake project")
        weights = learned_weights(checkpoint)
        figures = bench_local_premises(index, set, weights, calls, record, minutes, n, processes)
        return _print({"set": str(set), **figures}, out, json)
    named = tuple(x.strip() for x in only.split(";") if x.strip())
    figures = bench_premises(
        index,
        library_set(index, split, per_module=28, limit=n),
        library_set(index, None, unseen_modules(checkpoint), per_module=28, limit=n // 2),
        checkpoint,
        calls,
        record,
        minutes,
        named,
        processes,
        questions,
    )
    return _print({"split": split, **figures}, out, json)


def _conjectures(
    *,
    quick: Quick = False,
    worlds: tuple[Literal["peano", "sequences"], ...] = ("peano", "sequences"),
    seeds: int = 3,
    goals: int = 8,
    calls: int = 320,
    each: int = 16,
    keep: int = 0,
    record: Path | None = None,
    out: Out = None,
    json: Json = False,
) -> int:
    """Goals of a world, with and without conjectured lemmas, at equal total Lean calls.

    --quick uses one seed of one world, 2 goals and 48 calls.

    Args:
        worlds: worlds with definitions and lemmas.
        seeds: number of seeds, each with its own goals.
        goals: goals per world and seed.
        calls: Lean calls for all goals of a world and seed. With lemmas, up to half of the calls find the lemmas.
        each: Lean calls for one search for the proof of a lemma.
        keep: also with so many of the lemmas, chosen by what they save, by novelty or at random, and with mutations alone. 0: not compared.
        record: a .jsonl file with one row per world and seed, from which a run resumes.
    """
    from rl.bench.conjectures import ConjectureBench, bench_conjectures

    if min(seeds, goals, each) < 1 or keep < 0 or calls < 2 * goals:
        raise UserError(
            "--seeds, --goals and --each must be at least 1, --keep at least 0, and --calls at least twice --goals"
        )
    if not worlds:
        raise UserError("--worlds: name peano, sequences, or both")
    _check_writable(out, record)
    size = (worlds[:1], range(1), 2, 48) if quick else (worlds, range(seeds), goals, calls)
    return _print(bench_conjectures(ConjectureBench(*size, each, record, keep)), out, json)


def _infilling(
    theorems: Annotated[tuple[str, ...], Positional],
    /,
    *,
    policy: str,
    recorder: str = "explorer",
    calls: int = 8,
    longest: int = 4,
    record_calls: int = 128,
    seed: Annotated[int, arg(help="random seed.")] = 0,
    out: Out = None,
    json: Json = False,
) -> int:
    """Holes of recorded proofs, closed by a policy that reads the goal after the hole, and by the same policy without it.

    Args:
        theorems: as in `theorems.files`: worlds, .lean files, Lake projects, data sets, theorem sets.
        policy: a policy that learned infilling, as for `turnstile prove`. Only its model is used.
        recorder: the prover whose proofs are cut, as for `turnstile prove`.
        calls: Lean calls per hole.
        longest: maximum number of tactics in a hole. A proof gets one hole of each size that it has.
        record_calls: Lean calls of the recorder's search for a proof.
    """
    from rl.bench.infilling import InfillBench, bench_infilling

    _check_writable(out)
    chosen = InfillBench.of(theorems, policy, recorder, calls, longest, record_calls, seed, say)
    return _print(asyncio.run(bench_infilling(chosen)), out, json)


def _batch(
    *,
    quick: Quick = False,
    theorems: int = 1000,
    kills: int = 5,
    policy: str = "portfolio",
    workers: int = 2,
    out: Out = None,
    json: Json = False,
) -> int:
    """A long batch, undisturbed and with kills and resumes at random moments: utilisation, memory, lost and repeated work.

    Args:
        theorems: number of training theorems.
        kills: number of kills.
        policy: as for `turnstile prove`.
        workers: Lean processes.
    """
    from rl.bench.batch import bench_batch

    _check_writable(out)
    return _print(bench_batch(quick, theorems, kills, policy, 0, workers), out, json)


def _model(*, quick: Quick = False, checkpoint: Path | None = None, out: Out = None, json: Json = False) -> int:
    """Language models: tactics and tokens per second of each back end, weight updates, agreement of priors.

    Args:
        checkpoint: a model's folder. Default: a new small model.
    """
    from prover.models.manifest import find_checkpoint
    from rl.bench.model import bench_model

    _check_writable(out)
    folder = find_checkpoint(checkpoint, "--checkpoint") if checkpoint is not None else None
    return _print(bench_model(folder, quick), out, json)


def _learner(
    *,
    device: Literal["cpu", "cuda"] = "cpu",
    sizes: tuple[str, ...] = (),
    groups: int = 8,
    out: Out = None,
    json: Json = False,
) -> int:
    """The learner of pretrained models: packed policy-gradient steps of random models, memory, resume. Needs no Lean.

    Args:
        device: where to train.
        sizes: tiny, 0.5b or 1.5b. Default: tiny on a CPU, the others on a GPU.
        groups: groups per step, each of 8 trajectories of 512 tokens.
    """
    from rl.bench.learner import bench_learner

    _check_writable(out)
    if groups < 1:
        raise UserError(f"--groups {groups}: must be at least 1")
    chosen = sizes or (("tiny",) if device == "cpu" else ("0.5b", "1.5b"))
    return _print(bench_learner(device, chosen, groups), out, json)


def _fleet(
    *,
    quick: Quick = False,
    provers: int = 1000,
    searches: int = 8,
    calls: int = 256,
    seconds: int = 60,
    stored: int = 1_000_000,
    out: Out = None,
    json: Json = False,
) -> int:
    """The training system without Lean: scaling of 1, 2 and 4 provers, one driver for many, a round after many stored attempts.

    --quick uses 40 provers and 20,000 stored attempts.

    Args:
        provers: simulated provers of one driver. 0: none.
        searches: concurrent searches per prover.
        calls: Lean calls of a search, each with latencies of the demonstration run.
        seconds: measured time in the steady state.
        stored: attempts in the ledger before the measured round. 0: none.
    """
    from rl.bench.bookkeeping import bench_bookkeeping
    from rl.bench.driver import bench_driver
    from rl.bench.fleet import bench_fleet

    if min(provers, stored) < 0 or min(searches, calls, seconds) < 1:
        raise UserError("--provers and --stored must be at least 0, --searches, --calls and --seconds at least 1")
    _check_writable(out)
    figures = {}
    if stored:
        with tempfile.TemporaryDirectory() as folder:
            figures["bookkeeping"] = bench_bookkeeping(Path(folder), 20_000 if quick else stored)
    figures |= bench_fleet(quick)
    if provers:
        figures["driver"] = bench_driver(*((40, 4, 16, 10) if quick else (provers, searches, calls, seconds)))
    return _print(figures, out, json)


BENCHES: dict[str, Callable[..., int]] = {
    "lean": _lean,
    "audit": _audit,
    "search": _search,
    "premises": _premises,
    "conjectures": _conjectures,
    "infilling": _infilling,
    "batch": _batch,
    "model": _model,
    "learner": _learner,
    "fleet": _fleet,
}
