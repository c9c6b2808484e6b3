"""`turnstile prove` on a `.lean` file: its sorries tried, put in, and judged as a whole."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prover.console import one_line, say
from prover.errors import UserError
from prover.files import read_file, write_whole
from prover.lean.project import Imports, Project, explain_import, imports_of
from prover.lean.server import LeanDied, LeanError, LeanServer
from prover.lean.sorries import Hole, load_file
from prover.lean.text import MAX_BYTES, LeanText, code_words
from prover.lean.theorem import ProofState, Theorem
from prover.progress import Report, progress
from prover.solve.attempt import Found, attempt
from prover.solve.executor import IN_TURN, premises_for
from prover.solve.fill import Filled, Filler, Standing
from prover.solve.marks import mark, without_marks
from prover.solve.remarks import Remark, at_once, duplicates, fingerprint, remarks_to, vacuous
from prover.solve.results import Results
from prover.solve.session import Settings, document, kept_going, page_written, stoppable, until

WITH_PROOF = ("found", "proved", "rejected")
"""Outcomes in a results file whose proof may be put in: the file as a whole is judged anew each time."""


async def prove_file(
    text: LeanText,
    settings: Settings,
    log: Results,
    project: Project | None = None,
    done: Mapping[str, Standing] | None = None,
) -> tuple[dict[str, Any], bytes, Standing]:
    """(the answer's fields, the filled file's bytes, how it stands before files that import it).

    `failure` in the answer: what ended the search early, if something did. `project`: where its imports are looked for (None: the one that it is in); `done`: how files of it stand, by path. Raises
    UserError where the file, or one that it imports, has an error as it is.
    """
    began = time.monotonic()
    imports = imports_of(text, project)
    # However the path was spelled: a resume may spell it otherwise.
    place = Path(text.path).relative_to(project.folder).as_posix() if project is not None else Path(text.path).name
    rows: dict[int, dict[str, Any]] = {}
    filled = Filled()
    servers = [LeanServer(constants=settings.wants_premises) for _ in range(settings.workers)]
    with stoppable() as stop:
        try:
            await servers[0].start()
            try:
                before = await _before(servers[0], imports, done or {})
                sources = [b.source(proved=True) for b in before]
                found_holes, states = await load_file(servers[0], text, imports.shipped, sources)
            except LeanError as error:
                raise UserError(explain_import(one_line(str(error)), text.path)) from None
            except LeanDied as error:
                raise UserError(f"{text.path}: Lean did not get through it: {one_line(str(error))}") from None
            unreached = _unreached(text, found_holes)
            holes = found_holes[: settings.limit]
            keys = [f"{place}: {h.name} at {h.line}:{h.column}" for h in holes]

            def row(i: int, found: Found, remarks: Sequence[Remark] = ()) -> dict[str, Any]:
                state = states[i][0]
                theorem = Theorem(holes[i].name, "", context=text.path)
                return {
                    "key": keys[i],
                    "name": holes[i].name,
                    "line": holes[i].line,
                    "outcome": found.outcome,
                    "proof": found.script,
                    "reason": found.message,
                    "lean_calls": found.lean_calls,
                    "seconds": round(found.seconds, 3),
                    "prover": found.prover,
                    "remarks": remarks_to(remarks),
                    "goal": state.text,
                    "area": text.path,
                    "outline": found.outline,
                    "statement_hash": fingerprint(theorem, state),
                }

            todo: deque[int] = deque()
            for i, hole in enumerate(holes):
                # Earlier versions had the path as it was typed.
                earlier = f"{text.path}: {hole.name} at {hole.line}:{hole.column}"
                if (known := log.rows.get((keys[i], 0)) or log.rows.get((earlier, 0))) is not None:
                    rows[i] = {**known, "key": keys[i]}
                elif not hole.proposition:
                    rows[i] = row(i, Found("data", message="stands for data, not for a proof"))
                    log.add(rows[i])
                else:
                    todo.append(i)
            premises = premises_for(settings.wants_premises, imports.shipped)

            async def serve(number: int, report: Report) -> None:
                if number >= len(todo):
                    return
                server, mine = servers[number], states
                if number:
                    try:
                        await server.start()
                        mine = (await load_file(server, text, imports.shipped, sources))[1]
                    except (LeanDied, LeanError) as error:  # the others go on
                        say(f"turnstile: one Lean process fewer: {one_line(str(error))}")
                        return

                async def work() -> None:
                    while todo and not stop.is_set():
                        i = todo.popleft()
                        name = holes[i].name
                        theorem = Theorem(name, "", imports=imports.shipped)
                        found = await _hole(theorem, mine[i], server, settings, premises)
                        remarks = await _look(mine[i][0], server, found) if settings.look else ()
                        rows[i] = row(i, found, remarks)
                        log.add(rows[i])
                        shown = f"{Path(text.path).stem}-{name}" if settings.project else name
                        page_written(settings, found, shown, i, len(holes))
                        report(name, found.outcome, found.lean_calls)

                await asyncio.gather(*(work() for _ in range(IN_TURN)))

            with progress(len(todo), "sorries") as report:
                failure = await kept_going(until(stop, *(serve(n, report) for n in range(len(servers)))))
            scripts = {i: r["proof"] for i, r in rows.items() if r["outcome"] in WITH_PROOF}
            if scripts:
                await asyncio.gather(*(s.close() for s in servers))
                filler = Filler(text, found_holes, imports.shipped, before)
                async with filler:
                    filled = await filler.settle(scripts)
        finally:
            await asyncio.gather(*(s.close() for s in servers))
        interrupted = stop.is_set() or failure is not None
    tasks = []
    for i, hole in enumerate(holes):
        task = dict(rows.get(i) or row(i, Found("budget", message="interrupted")))
        if task["outcome"] in WITH_PROOF:
            outcome = "proved" if i in filled.texts else "error" if i in filled.unjudged else "rejected"
            reason = "" if i in filled.texts else filled.refused.get(i, "")
            if (outcome, reason) != (task["outcome"], task["reason"]):
                task.update(outcome=outcome, reason=reason)
                if outcome != "error":  # the audit's, not the proof's: a resume asks it again
                    log.add({k: v for k, v in task.items() if k != "outline"})
        for name in ("key", "area", "goal", "outline"):
            task.pop(name, None)
        tasks.append({**task, "column": hole.column, "axioms": list(filled.axioms.get(i, ()))})
    duplicates(tasks)
    for task in tasks:
        task.pop("statement_hash")
    edits = without_marks(text, ((holes[i].start, holes[i].stop, t) for i, t in filled.texts.items()))
    if settings.mark and not interrupted:
        left = [(h, t) for h, t in zip(holes, tasks, strict=True) if t["outcome"] not in ("proved", "data")]
        edits += [e for h, t in left if (e := mark(text, h.start, h.stop, t["outcome"], t["lean_calls"])) is not None]
    answer = {**document(tasks, began, interrupted), "unreached": unreached, "failure": failure}
    return answer, text.to_bytes(edits), Standing("", text, found_holes, filled.texts)


def write_over(text: LeanText, filled: bytes) -> Path:
    """Write a filled file over the one that was read; beside it where that is another one by now. Gives where, and says so."""
    path = Path(text.path)
    try:
        same = read_file(path, MAX_BYTES) == text.to_bytes([])
    except UserError:
        same = False
    if not same:
        path = path.with_name(f"{path.name}.filled")
        say(f"turnstile: {text.path} was changed since it was read, and stays so: the filled one is {path}")
    write_whole(path, filled)
    return path


async def _before(server: LeanServer, imports: Imports, done: Mapping[str, Standing]) -> list[Standing]:
    """How the files that stand before one stand: as they were filled, else as they are."""
    found: list[Standing] = []
    for own in imports.own:
        if (known := done.get(own.text.path)) is not None:
            found.append(replace(known, module=own.module))
        elif all(word != "sorry" for word, _ in code_words(own.text.body)):
            found.append(Standing(own.module, own.text))
        else:
            sources = [b.source(proved=True) for b in found]
            holes, states = await load_file(server, own.text, imports.shipped, sources)
            await server.free([state for here in states for state in here])
            found.append(Standing(own.module, own.text, holes))
    return found


def _unreached(text: LeanText, holes: Sequence[Hole]) -> list[int]:
    """Lines of `sorry`s that Lean never comes to, which so stand for nothing: in a field's default tactic, in an alternative
    of `first` that is not needed."""
    starts = {h.start for h in holes}
    found = [len(text.text[:i].encode()) for word, i in code_words(text.text) if word == "sorry"]
    return sorted({text.line(at) for at in found if at not in starts})


async def _look(state: ProofState, server: LeanServer, found: Found) -> list[Remark]:
    """What is odd about a place's goal. By Lean's word in the search: the audit judges the file, which has no such proof."""
    remarks = [await vacuous(state, server)]
    if found.outcome == "found":
        remarks.append(await at_once(state, server, found.script))
    return [r for r in remarks if r is not None]


async def _hole(
    theorem: Theorem, states: Sequence[ProofState], server: LeanServer, settings: Settings, premises: Any
) -> Found:
    """An attempt at a `sorry`: one script that proves every state that it stands for."""
    scripts: list[str] = []
    calls, seconds, last = 0, 0.0, Found("error")
    page = settings.tree is not None
    for state in states:
        left, within = max(1, settings.budget - calls), settings.within.remaining(calls, 0, seconds)
        last = await attempt(theorem, state, server, settings.provers, left, premises, page, within=within)
        calls, seconds = calls + last.lean_calls, seconds + last.seconds
        if last.outcome != "found":
            return Found(last.outcome, "", calls, seconds, last.message, "", last.page, last.outline)
        if last.script not in scripts:
            scripts.append(last.script)
    script = scripts[0]
    if len(scripts) > 1:
        flat = [s.replace("\n", "\n   ") for s in scripts]
        script = "first\n" + "\n".join(f"| ({s})" for s in flat)
    return Found("found", script, calls, seconds, "", last.prover, last.page, last.outline)
