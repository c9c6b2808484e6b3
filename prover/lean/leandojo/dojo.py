"""Replacement for `lean_dojo.Dojo` on our server: no tracing, no repository build, no process for each theorem.

    from prover.lean.leandojo.dojo import Dojo, LeanError, ProofFinished, TacticState

    with Dojo(theorem) as (dojo, state):
        result = dojo.run_tac(state, "intro h")

Results have the types of the real package (lean-dojo 4.20), which also parses the goals. Differences from its `Dojo`:

- After DojoTacticTimeoutError, the Dojo and all its states stay usable.
- Hypotheses without a usable name (`h✝`) have a new name; `Dojo.script` adds the `rename_i`.
- A tactic sees only the first goal. `all_goals`, `any_goals`, `case`, `swap`, `pick_goal` and `rotate_left/right` work on
  the whole list at the start of a tactic, but not inside one. Goals that share metavariables must be proved in order.
- `sorry` gives ProofGivenUp at once, not at the end of the proof.
- `run_cmd` is not supported.
- ProofFinished means, as in LeanDojo, that Lean has no goals left. `Dojo.verify` audits the proof.

docs/mathlib.md explains why LeanDojo itself is not used as an environment.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from prover.errors import UserError
from prover.lean import server as lean
from prover.lean.audit import Auditor
from prover.lean.leandojo.goals import EACH, GoalList, Refused, Slot, case_first, on_each, on_goal, permuted
from prover.lean.leandojo.locate import Place, find_theorem
from prover.lean.leandojo.servers import close_servers, shared
from prover.lean.server import Limits, statement_source
from prover.lean.text import parse
from prover.lean.theorem import ProofState, StepResult, Theorem, Verdict

__all__ = ["Dojo", "check_proof", "close_servers", "package"]

_FROM_THE_PACKAGE = """
CommandState TacticState ProofFinished ProofGivenUp LeanError TacticResult DojoCrashError DojoTacticTimeoutError DojoInitError
Declaration Goal parse_goals LeanGitRepo Pos
"""


@functools.cache
def package() -> ModuleType:
    """The real `lean_dojo`, without its web cache of traced repositories, which fails offline instead of tracing.

    Raises UserError if it cannot be imported.
    """
    os.environ.setdefault("DISABLE_REMOTE_CACHE", "1")
    if shutil.which("git") is None:
        raise UserError("lean-dojo needs git: install git")
    try:
        return importlib.import_module("lean_dojo")
    except ModuleNotFoundError as e:
        raise UserError(f"lean-dojo is not completely installed ({e}): pip install lean-dojo==4.20.0") from None
    except Exception as e:  # the import checks GITHUB_ACCESS_TOKEN, git and more
        hint = "; unset GITHUB_ACCESS_TOKEN to work offline" if "GITHUB_ACCESS_TOKEN" in os.environ else ""
        raise UserError(f"lean-dojo cannot be imported: {type(e).__name__}: {e}{hint}") from None


def __getattr__(name: str) -> Any:
    if name in _FROM_THE_PACKAGE.split():
        return getattr(package(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Dojo:
    """LeanDojo's `Dojo` for theorems, on our server.

    `entry`: LeanDojo's Theorem (or any object with `repo`, `file_path` and `full_name`), our Theorem, or the name of a
    library constant. The source file of LeanDojo's is read from `sources` (the folder of a checkout), from the
    repository's clone, or from LeanDojo's cache. `timeout`: seconds for each tactic. `heartbeats`: Lean's
    `maxHeartbeats`; 0 for no limit, as in LeanDojo.
    Entering it raises LeanDojo's DojoInitError if the theorem cannot be opened.
    """

    def __init__(
        self,
        entry: Any,
        timeout: float = 600,
        additional_imports: Sequence[str] = (),
        build_deps: bool = True,
        *,
        heartbeats: int = 0,
        sources: Path | str | None = None,
    ) -> None:
        self._types = package()
        self.entry = entry
        self.timeout = timeout
        self.additional_imports = list(additional_imports)
        self.build_deps = build_deps
        self.is_successful: bool | None = False
        self.is_crashed = False
        self.has_timedout = False
        self.repo = getattr(entry, "repo", None)
        self.file_path = getattr(entry, "file_path", None)
        self._sources = Path(sources) if sources is not None else None
        self._limits = Limits(heartbeats=-(-heartbeats // 1000), seconds=timeout, open_seconds=max(120.0, timeout))
        self._states: dict[int, GoalList] = {}
        self._finished: dict[int, tuple[str, ...]] = {}
        self._ids = 0
        self._opened: list[ProofState] = []  # every state that is open in Lean for this Dojo
        self._place: Place | None = None
        self._end = 0
        self._theorem: Theorem | None = None

    @property
    def uses_tactics(self) -> bool:
        return not self.uses_commands

    @property
    def uses_commands(self) -> bool:
        return isinstance(self.entry, tuple)

    # -- opening -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> tuple[Dojo, Any]:
        """(this Dojo, the theorem's first TacticState)"""
        if self.uses_commands:
            raise self._types.DojoInitError(
                "commands are not supported here: use lean_dojo.Dojo on a traced repository"
            )
        background = shared()
        self._server = background.server(self._limits)
        try:
            root = background.run(self._open())
            slots = tuple(Slot(root, i, g.renamed) for i, g in enumerate(root.goals))
            return self, self._keep(GoalList(slots))
        except (lean.LeanError, lean.LeanDied, AssertionError) as e:
            raise self._types.DojoInitError(str(e)) from e

    async def _open(self) -> ProofState:
        entry = self.entry
        if isinstance(entry, str):
            entry = Theorem(entry, library=entry)
        if isinstance(entry, Theorem):
            extra = tuple(m for m in self.additional_imports if m not in entry.imports)
            self._theorem = replace(entry, imports=entry.imports + extra)
            root = await self._server.open(self._theorem)
            self._opened.append(root)
            return root
        place = self._locate(entry)
        error: Exception | None = None
        for end in range(len(place.statement_ends)):
            try:
                holes = await self._server.load(place.with_proof(end=end), place.imports, str(entry.file_path))
            except lean.LeanError as e:
                error = error or e
                continue
            mine = [state for hole, state in holes if hole["decl"] == place.full_name]
            await self._server.free([state for _, state in holes if not mine or state is not mine[-1]])
            if mine:
                self._place, self._end = place, end
                self._opened.append(mine[-1])
                return mine[-1]
        raise error or lean.LeanError(f"{entry.file_path}: Lean finds no theorem {place.full_name} there")

    def _locate(self, entry: Any) -> Place:
        text = _source_text(entry, self._sources)
        if text is None:
            raise self._types.DojoInitError(
                f"{entry.file_path} is not on this machine: give the folder of a checkout as `sources`"
            )
        try:
            place = find_theorem(parse(text.encode(), str(entry.file_path)), entry.full_name)
        except UserError as e:
            raise self._types.DojoInitError(str(e)) from e
        if place is None:
            raise self._types.DojoInitError(
                f"Failed to locate the theorem with `{entry.full_name}` as its fully qualified name."
            )
        return replace(place, imports=(*place.imports, *(m for m in self.additional_imports if m not in place.imports)))

    def __exit__(self, *exc: object) -> None:
        self._states.clear()
        shared().run(self._server.free(self._opened))
        self._opened.clear()

    def _keep(self, state: GoalList) -> Any:
        # Raises AssertionError if its parser does not understand a goal.
        shown = self._types.TacticState(state.text, self._ids)
        self._states[self._ids] = state
        self._ids += 1
        return shown

    # -- tactics -----------------------------------------------------------------------------------------------------

    def run_tac(self, state: Any, tactic: str) -> Any:
        """TacticState, ProofFinished, LeanError or ProofGivenUp. Raises DojoTacticTimeoutError and DojoCrashError."""
        if not isinstance(state, self._types.TacticState):
            raise RuntimeError(f"Attempting to run a tactic on an invalid state {state}.")
        assert isinstance(tactic, str), f"Invalid tactic {tactic}"
        before = self._states.get(state.id)
        if before is None:
            raise self._types.DojoCrashError(f"[fatal] unknown tsid: {state.id}")
        try:
            slots, renames = shared().run(self._run(before.slots, tactic.strip()))
        except Refused as e:
            message = str(e).strip()
            if re.match(r"`(sorry|admit|sorryAx)` may not be used|the tactic leaves a `sorry`", message):
                return self._types.ProofGivenUp()
            return self._types.LeanError(message)
        script = (*before.script, *renames, tactic.strip())
        if not slots:
            self.is_successful = True
            self._finished[self._ids] = script
            self._ids += 1
            return self._types.ProofFinished(self._ids - 1, "")
        try:
            after = self._keep(GoalList(slots, script))
        except AssertionError:
            return self._types.LeanError("a goal of the new state is printed in a way that LeanDojo cannot parse")
        return replace(after, message="")

    def run_cmd(self, state: Any, command: str) -> Any:
        """Not supported."""
        raise RuntimeError(f"Attempting to run a command on an invalid state {state}.")

    async def _run(self, slots: tuple[Slot, ...], tactic: str) -> tuple[tuple[Slot, ...], list[str]]:
        """The goal list after a tactic, and the `rename_i` that must precede it in a script. Raises Refused."""
        if (moved := permuted(slots, tactic)) is not None:
            if not tactic.startswith("rotate"):  # a tactic of Mathlib or Batteries: only if imported
                [tried] = await self._server.step(slots[0].group, [tactic])
                if "unknown tactic" in tried.message:
                    raise Refused(tried.message)
            return moved, []
        if len(slots) > 1 and (m := EACH.fullmatch(tactic)) is not None:
            return await on_each(slots, m[2], m[1] == "any_goals", self._step), []
        slots = case_first(slots, tactic)
        renames = [f"rename_i {' '.join(slots[0].renamed)}"] if slots[0].renamed else []
        return tuple((await on_goal(slots, 0, tactic, self._step))[0]), renames

    async def _step(self, group: ProofState, tactic: str) -> StepResult:
        [result] = await self._server.step(group, [tactic])
        if result.status == "timeout" and "heartbeat" not in result.message:
            self.has_timedout = True
            raise self._types.DojoTacticTimeoutError()
        if result.status in ("memory", "crash"):
            self.is_crashed = True
            raise self._types.DojoCrashError("OOM" if result.status == "memory" else result.message)
        if not result.ok:
            raise Refused(result.message)
        self._opened.extend(result.states)
        return result

    # -- proofs ------------------------------------------------------------------------------------------------------

    def script(self, state: Any) -> str:
        """The tactics that led to a TacticState or ProofFinished, one per line, to follow `:= by`."""
        if isinstance(state, self._types.ProofFinished):
            return "\n".join(self._finished[state.tactic_state_id])
        return "\n".join(self._states[state.id].script)

    def verify(self, finished: Any) -> Verdict:
        """Audit a finished proof, with fresh processes, comparison of statements, kernel replay and axioms."""
        return self.audit("by\n" + _indented(self.script(finished)))

    def audit(self, proof: str) -> Verdict:
        """Audit `proof`, the text after `:=`."""
        return shared().run(_audit(shared().auditor(), self._theorem, self._place, self._end, proof))


def _indented(script: str) -> str:
    return "\n".join("  " + line for line in script.split("\n"))


async def _audit(auditor: Auditor, theorem: Theorem | None, place: Place | None, end: int, proof: str) -> Verdict:
    if theorem is not None and theorem.library is not None:
        return await auditor.audit(theorem, f"exact (\n{_indented(proof)})")
    if theorem is not None:
        name, imports, reference = theorem.name, theorem.imports, statement_source(theorem)
        source = reference.removesuffix(":= by\n  sorry\n") + f":= {proof}\n"
    else:
        assert place is not None
        name, imports, reference = place.full_name, place.imports, place.with_proof(end=end)
        source = place.with_proof(f":= {proof}", end)
    verdicts = await auditor.audit_source(source, imports, reference, name)
    found = [v for v in verdicts if v.name == name]
    refused = [v for v in verdicts if v.verdict != "proved"]  # also of the whole file or earlier declarations
    return (found or refused or [Verdict(name, "error", "the audit gave no verdict on this theorem")])[0]


def check_proof(theorem: Any, proof: str, sources: Path | str | None = None) -> bool:
    """LeanDojo's `check_proof`: whether the audit accepts `proof`, the text after `:=`."""
    with Dojo(theorem, sources=sources) as (dojo, _):
        return dojo.audit(proof).verdict == "proved"


def _source_text(entry: Any, sources: Path | None) -> str | None:
    """Text of the source file of a LeanDojo Theorem, or None if it is not on this machine."""
    path = Path(entry.file_path)
    if sources is not None:
        return (sources / path).read_text(encoding="utf-8") if (sources / path).is_file() else None
    clone = getattr(getattr(entry.repo, "repo", None), "git", None)
    if clone is not None:
        try:
            return clone.show(f"{entry.repo.commit}:{path.as_posix()}", strip_newline_in_stdout=False)
        except Exception:  # GitPython's errors: not in that commit
            pass
    folder = getattr(entry.repo, "get_cache_dirname", None)
    if folder is not None:
        cache = importlib.import_module("lean_dojo.data_extraction.cache").cache
        kept = cache.cache_dir / folder() / entry.repo.name / path
        if kept.is_file():
            return kept.read_text(encoding="utf-8")
    return None
