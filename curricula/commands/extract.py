"""Extract the steps of human proofs as training data."""

from __future__ import annotations

import asyncio
import hashlib
import json as json_module
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from prover.console import answer, plain, say
from prover.errors import UserError


def extract(
    target: Annotated[str, tyro.conf.Positional],
    *,
    out: Path,
    replay: bool = False,
    benchmark: bool = True,
    url: str = "",
    commit: str = "",
    workers: int = 0,
    json: bool = False,
) -> int:
    """Extract every tactic of every proof, with the state before and after it and the premises that it uses.

    Writes `theorems.jsonl`, and `benchmark/` in the format of LeanDojo Benchmark 4. Files that did not change since an earlier run
    with the same --out are not read again, so the same command continues an interrupted run.

    Args:
        target: a Lake project, a .lean file, or a module of the project in the current folder.
        out: the output folder.
        replay: run every step again in the proof server, and record whether it leads to the same state.
        benchmark: do not write LeanDojo Benchmark 4's files.
        url: the repository's address in the benchmark. Default: the target.
        commit: the repository's commit in the benchmark. Default: a hash of the files.
        workers: Lean processes. 0: as many as cores and memory allow.
        json: print the figures as one JSON document.
    """
    from prover.lean.runtime import find_runtime
    from prover.lean.toolchain import obey
    from prover.solve.extraction import FileRecord, extract_files, inputs_of
    from prover.solve.session import stoppable, workers_for

    if workers < 0:
        raise UserError(f"--workers {workers}: must be at least 0")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; --out names a folder")
    inputs, skipped = inputs_of(target)
    project = Path(target) if Path(target).is_dir() else Path() if not target.endswith(".lean") else None
    if project is not None and out.resolve().is_relative_to(project.resolve()):
        raise UserError(f"--out {out}: lies in {project.resolve()}, whose files are read; name a folder outside of it")
    obey([Path(target) if Path(target).exists() else Path()])
    runtime = find_runtime()

    def done(record: FileRecord, before: bool) -> None:
        steps = sum(len(d.steps) for d in record.declarations)
        say(f"turnstile: {plain(record.file)}: {steps} steps{' (unchanged)' if before else ''}")

    async def work() -> tuple[list[FileRecord], dict[str, str], bool]:
        with stoppable() as stop:
            count = workers_for(workers, len(inputs))
            records, failed = await extract_files(inputs, out, runtime, count, replay, stop, done)
            return records, failed, stop.is_set()

    out.mkdir(parents=True, exist_ok=True)
    records, failed, stopped = asyncio.run(work())
    skipped |= failed
    for file, why in skipped.items():
        say(f"turnstile: skipped: {plain(why if file in why else f'{file}: {why}')}")
    if not records and not stopped:
        raise UserError(f"{target}: no file could be extracted: {plain(next(iter(skipped.values())))}")
    _write(out, records, benchmark, url or target, commit or _digest(records))
    document = {"target": target, "out": str(out), "lean": runtime.name, **_figures(records, replay)}
    document["skipped"] = skipped
    if json:
        answer(document)
    else:
        say(_summary(document))
    return 130 if stopped else 1 if skipped else 0


def _write(out: Path, records: Sequence[Any], benchmark: bool, url: str, commit: str) -> None:
    from curricula.lean_dojo_writer import own_places, place_of, write_benchmark
    from prover.files import write_whole

    places = own_places(records)

    def premise(name: str, module: str) -> dict[str, Any]:
        file, start, end = (place_of(name, places) if not module else None) or (None, None, None)
        return {"full_name": name, "module": module or None, "file": file, "start": start, "end": end}

    lines: list[str] = []
    for r in records:
        for d in r.declarations:
            if not d.steps and d.kind != "theorem":
                continue
            steps = [
                {
                    "kind": s.kind,
                    "text": s.text,
                    "start": s.start,
                    "end": s.end,
                    "state_before": s.state_before,
                    "state_after": s.state_after,
                    "named": [{**premise(name, r.modules.get(name, "")), "used_at": [a, b]} for name, a, b in s.uses],
                    "assigned": [premise(name, r.modules.get(name, "")) for name in s.assigned],
                    **({"replay": s.replay} if s.replay else {}),
                    **({"replayed_as": s.replayed_as} if s.replayed_as else {}),
                }
                for s in d.steps
            ]
            row = {"file": r.file, "module": r.module, "full_name": d.full_name, "kind": d.kind}
            row |= {"start": d.start, "end": d.end, "statement": d.statement, "proof": d.proof, "sorry": d.sorry}
            lines.append(json_module.dumps(row | {"steps": steps}, ensure_ascii=False))
    write_whole(out / "theorems.jsonl", "".join(f"{line}\n" for line in lines).encode())
    if benchmark:
        from prover.premises.index import library_index

        write_benchmark(out / "benchmark", records, library_index(), url, commit)


def _digest(records: Sequence[Any]) -> str:
    return hashlib.sha256("".join(r.key for r in records).encode()).hexdigest()[:40]


def _figures(records: Sequence[Any], replayed: bool) -> dict[str, Any]:
    declarations = [d for r in records for d in r.declarations]
    steps = [s for d in declarations for s in d.steps]
    figures: dict[str, Any] = {
        "files": len(records),
        "theorems": sum(d.kind == "theorem" for d in declarations),
        "steps": len(steps),
        "tactics": sum(s.kind == "tactic" for s in steps),
        "unprinted": sum(r.unprinted for r in records),
    }
    if replayed:
        results = Counter(s.replay.partition(":")[0] for s in steps)
        figures["replayed"] = {"same": results["same"], "differs": results["differs"], "error": results["error"]}
    return figures


def _summary(document: dict[str, Any]) -> str:
    text = f"{document['files']} files, {document['theorems']} theorems, {document['steps']} steps in {document['out']}"
    if document["unprinted"]:
        text += f"; {document['unprinted']} steps are left out because Lean could not print their states"
    if (replayed := document.get("replayed")) is not None and document["steps"]:
        rate = replayed["same"] / document["steps"]
        text += f"; {rate:.1%} of the steps replay to the same state, {replayed['differs']} to another one, {replayed['error']} fail"
    return text
