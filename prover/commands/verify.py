"""`turnstile verify`: judge proofs again, in fresh Lean processes, from their source."""

from __future__ import annotations

import asyncio
import json as json_
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from prover.commands.output import answer, one_line, plain, say
from prover.errors import UserError
from prover.lean.audit import Auditor, Judgement, Source
from prover.lean.judges import died
from prover.lean.project import Imports, Project, imports_of, is_project, project_of
from prover.lean.server import LeanDied, LeanError
from prover.lean.text import LeanText, code_words, parse, read
from prover.lean.theorem import Theorem, Verdict

AT_ONCE = 4
"""Proofs with the audit at a time: enough to keep its three processes busy."""


class Claim(NamedTuple):
    """A theorem and what is said to prove it."""

    name: str
    """What whoever asks calls it: the verdict's name, where Lean's may need « and »."""
    theorem: Theorem
    script: str


def verify(
    target: Annotated[str | None, tyro.conf.Positional] = None,
    *,
    statement: str | None = None,
    proof: str | None = None,
    name: str = "statement",
    jsonl: Path | None = None,
    against: Path | None = None,
    imports: tuple[str, ...] = (),
    all: bool = False,
    json: bool = False,
) -> int:
    """Judge proofs from their source in fresh Lean processes: same statement, standard axioms, everything through the kernel.

    Args:
        target: a .lean file, the folder of a Lake project (every file of it), or the folder of a run.
        statement: a statement as it stands after `theorem NAME`: binders, colon, type.
        proof: its proof: tactics, or `by …`, or `:= …`.
        name: what to call it in the verdict.
        jsonl: a file with one JSON object a line: name, statement, proof, and optionally imports and context.
        against: for a .lean file or a project: the same with `sorry` where proofs were asked for. Statements must be the
            same, and every theorem in it must be proved.
        imports: modules to import, for what does not name its own.
        all: list what Lean generated for other declarations too.
        json: print one JSON object a line and verdict.
    """
    given = [k for k, v in (("a file or run", target), ("--statement", statement), ("--jsonl", jsonl)) if v is not None]
    if len(given) != 1:
        what = f"not {' and '.join(given)} together" if given else "nothing to verify was given"
        raise UserError(f"{what}: give a .lean file, a run's folder, --statement with --proof, or --jsonl FILE")
    if (statement is None) != (proof is None):
        raise UserError("--statement and --proof go together")
    if target is not None and (not Path(target).is_dir() or is_project(Path(target))):
        return asyncio.run(_files(Path(target), against, imports, json, all))
    if against is not None:
        raise UserError("--against ORIGINAL needs a .lean file or a Lake project to compare with it")
    if target is not None:
        claims: Iterable[Claim] = run_proofs(Path(target))
    elif statement is not None and proof is not None:
        theorem = theorem_of({"name": name, "statement": statement}, "--statement", imports)
        claims = [Claim(name, theorem, script_of(proof))]
    else:
        assert jsonl is not None
        claims = list(jsonl_proofs(jsonl, imports))
    return asyncio.run(_proofs(claims, json))


def script_of(proof: str) -> str:
    """The tactic script of a proof written as tactics, as `by …`, or as `:= …`."""
    text = proof.replace("\r\n", "\n").rstrip()
    bare = text.lstrip()
    if bare.startswith(":="):
        text = bare = bare[2:].lstrip()
        if not bare.startswith("by") or bare[2:3].isalnum():
            return f"exact (\n{text})" if "\n" in text else f"exact ({text})"
    if bare.startswith("by") and not (bare[2:3].isalnum() or bare[2:3] in ("_", "'", ".")):
        at = text.index("by")
        text = " " * at + "  " + text[at + 2 :]  # columns stay as they were
    lines = text.split("\n")
    while lines and not lines[0].strip():
        lines.pop(0)
    common = min((len(x) - len(x.lstrip(" ")) for x in lines if x.strip()), default=0)
    return "\n".join(x[common:] for x in lines)


def theorem_of(row: dict[str, Any], where: str, imports: Sequence[str] = ()) -> Theorem:
    """The theorem of a JSON object with name, statement, and optionally imports and context."""
    for field in ("name", "statement"):
        if not isinstance(row.get(field), str) or not row[field].strip():
            raise UserError(f"{where}: `{field}` must be a text that is not empty")
    own = row.get("imports")
    if own is not None and (not isinstance(own, list) or not all(isinstance(x, str) and x for x in own)):
        raise UserError(f"{where}: `imports` must be a list of module names")
    context = row.get("context") or ""
    if not isinstance(context, str):
        raise UserError(f"{where}: `context` must be Lean source as a text")
    name = row["name"].strip()
    statement = row["statement"].strip()
    used = tuple(dict.fromkeys(["Init", *(own or imports)]))
    return Theorem(lean_name(name, where), statement, imports=used, context=context, source=where)


def lean_name(name: str, where: str = "name") -> str:
    """A name that Lean accepts: parts that are no identifiers go between « and ». Raises UserError where that cannot be."""
    # A part that comes with its marks has them around all of it: a name must not be able to say more than a name.
    parts = re.findall(r"«[^«»\n\r]+»|[^.«»\n\r]+", name)
    if ".".join(parts) == name:
        return ".".join(p if p.startswith("«") or _is_identifier(p) else f"«{p}»" for p in parts)
    if re.search(r"[«»\n\r]", name):
        raise UserError(f"{where}: `name` is none that Lean could have: « and » go around whole parts, and it is one line")
    return f"«{name}»"


_RESERVED_WORDS = """
abbrev assume at attribute axiom by calc class def deriving do else end example export extends finally for forall from fun
have if import in include inductive infix infixl infixr instance let local macro match mut mutual namespace noncomputable
notation nomatch nofun obtain omit open opaque partial postfix prefix private protected public rec return scoped section
set_option show structure suffices syntax then theorem this universe unsafe until variable where while with Prop Sort Type
"""
_RESERVED = frozenset(_RESERVED_WORDS.split())
"""Words that Lean reads as something else than a name."""


def _is_identifier(part: str) -> bool:
    words = list(code_words(part))
    return len(words) == 1 and words[0] == (part, 0) and part not in _RESERVED


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys stand once: else two readers of a line could see two statements. Raises ValueError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(k for k in keys if keys.count(k) > 1)!r} stands twice")
    for value in (*found, *found.values()):
        # Half of a surrogate pair is no character: it could not be sent to Lean.
        if isinstance(value, str) and not value.isprintable() and any("\ud800" <= c <= "\udfff" for c in value):
            raise ValueError("a text has half of a surrogate pair")
    return found


def jsonl_rows(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """(object, `file:line`) for every line that is not blank. Raises UserError."""
    try:
        with path.open("rb") as f:
            for number, raw in enumerate(f, 1):
                where = f"{path}:{number}"
                if not raw.strip():
                    continue
                try:
                    row = json_.loads(raw.decode(), object_pairs_hook=_once)
                except UnicodeDecodeError:
                    raise UserError(f"{where}: not UTF-8") from None
                except (ValueError, RecursionError) as e:
                    raise UserError(f"{where}: not JSON: {one_line(str(e))}") from None
                if not isinstance(row, dict):
                    raise UserError(f"{where}: a JSON object is expected, not {type(row).__name__}")
                yield row, where
    except OSError as e:
        raise UserError(f"{path}: {e.strerror or e}") from None


def jsonl_proofs(path: Path, imports: Sequence[str] = ()) -> Iterator[Claim]:
    """The claim of every line. Raises UserError, naming the line, before anything is judged."""
    empty = True
    for row, where in jsonl_rows(path):
        empty = False
        if not isinstance(row.get("proof"), str):
            raise UserError(f"{where}: `proof` must be a text")
        theorem = theorem_of(row, where, imports)
        yield Claim(row["name"], theorem, script_of(row["proof"]))
    if empty:
        raise UserError(f"{path}: has no lines to verify")


def run_proofs(folder: Path) -> Iterator[Claim]:
    """Every proof that a run claims."""
    ledger = folder / "ledger.sqlite"
    if not ledger.exists():
        raise UserError(f"{folder}: not a run: it has no ledger.sqlite")
    try:
        from rl.ledger import Ledger
    except ModuleNotFoundError as error:
        raise UserError(f"reading a run needs the Python module {error.name}: `turnstile doctor` says more") from None
    book = Ledger.open(ledger, readonly=True)
    for theorem, script in book.claims():
        yield Claim(theorem.name, theorem, script)


def verdict_line(verdict: Verdict) -> dict[str, Any]:
    """What `--json` prints for a verdict."""
    return {
        "name": verdict.name,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "axioms": list(verdict.axioms),
        "line": verdict.line,
        "lean": verdict.lean,
    }


class Tally:
    """How many verdicts there were of each kind."""

    def __init__(self) -> None:
        self.counts = {"proved": 0, "rejected": 0, "error": 0}

    @property
    def judged(self) -> int:
        return sum(self.counts.values())

    def finish(self, json: bool, lean: str) -> int:
        """Say the totals, for people. The exit code."""
        if not json:
            errors = f", {self.counts['error']} could not be judged" if self.counts["error"] else ""
            say(f"{self.counts['proved']} proved, {self.counts['rejected']} rejected{errors} by {lean}")
        return 0 if self.counts["proved"] == self.judged > 0 else 1


async def _proofs(claims: Iterable[Claim], json: bool) -> int:
    tally = Tally()
    async with Auditor() as auditor:
        async for verdict in judged(auditor, claims):
            _show(verdict, json, tally)
    return tally.finish(json, auditor.runtime.name)


async def judged(auditor: Auditor, claims: Iterable[Claim]) -> AsyncIterator[Verdict]:
    """A verdict for each claim, in order, a few at a time."""
    waiting: list[asyncio.Task[Verdict]] = []
    source = iter(claims)

    async def judge(claim: Claim) -> Verdict:
        return replace(await auditor.audit(claim.theorem, claim.script), name=claim.name)

    try:
        while True:
            while len(waiting) < AT_ONCE and (claim := next(source, None)) is not None:
                waiting.append(asyncio.create_task(judge(claim)))
            if not waiting:
                return
            yield await waiting.pop(0)
    finally:
        for task in waiting:
            task.cancel()


def _beside(target: Path, against: Path | None) -> list[tuple[LeanText, LeanText | None]]:
    """(what is to be judged, what it is to be compared with) for a file, or for every file of a project."""
    if not target.is_dir():
        return [(read(target), read(against) if against is not None else None)]
    if against is not None and not is_project(against):
        raise UserError(f"{against}: is no Lake project to compare {target} with")
    paths = {path.relative_to(target): path for path in Project(target).files()}
    if not paths:
        raise UserError(f"{target}: has no .lean file of its own to verify")
    asked = {path.relative_to(against): path for path in Project(against).files()} if against is not None else {}
    pairs = [(read(path), read(asked[name]) if name in asked else None) for name, path in paths.items()]
    # A file that is left out declares nothing of what is asked for.
    return pairs + [(parse(b"", str(target / name)), read(path)) for name, path in asked.items() if name not in paths]


async def _files(target: Path, against: Path | None, imports: Sequence[str], json: bool, every: bool) -> int:
    tally = Tally()
    async with Auditor() as auditor:
        async for judgement in judged_files(auditor, target, against, imports):
            for verdict in judgement.verdicts:
                if every or not verdict.generated or verdict.verdict != "proved":
                    _show(verdict, json, tally)
            for note in judgement.notes:
                say(f"note: {plain(note)}")
    if not tally.judged:
        raise UserError(f"{target}: declares nothing to verify")
    return tally.finish(json, auditor.runtime.name)


async def judged_files(
    auditor: Auditor, target: Path, against: Path | None = None, imports: Sequence[str] = ()
) -> AsyncIterator[Judgement]:
    """The judgement on a file, or on each file of a project. Raises UserError, before anything is judged where it can."""
    pairs = _beside(target, against)
    for text, original in pairs:  # what is not there is said before anything is judged
        _standing(text, original)
    for text, original in pairs:
        yield await _file(auditor, text, original, imports)


async def _file(auditor: Auditor, text: LeanText, original: LeanText | None, imports: Sequence[str]) -> Judgement:
    """Verdicts on what a file declares, in its order."""
    before, reference_before = _standing(text, original)
    # What is asked for says in which environment it means what it means.
    modules = tuple(dict.fromkeys([*(before if original is None else reference_before).shipped, *imports]))
    reference = _source(original, modules, reference_before) if original is not None else None
    try:
        return await auditor.judge(_source(text, modules, before), reference)
    except LeanError as error:
        raise UserError(explain_import(one_line(str(error)), text.path)) from None
    except LeanDied as error:
        return Judgement([Verdict(text.path, "error", died(error), lean=auditor.runtime.name)])


def _source(text: LeanText, modules: tuple[str, ...], before: Imports) -> Source:
    return Source(text.text, modules, text.path, tuple(before.sources()), header=text.imports)


def _standing(text: LeanText, original: LeanText | None) -> tuple[Imports, Imports]:
    """What stands before a file, and before the one that it is compared with. Raises UserError.

    A filled file may lie anywhere: where it is in no project, the original's is meant."""
    if original is None:
        before = imports_of(text)
        return before, before
    if missing := set(text.imports) - set(original.imports):
        raise UserError(f"{text.path}: imports {', '.join(sorted(missing))}, which {original.path} does not")
    home = project_of(Path(original.path))
    return imports_of(text, project_of(Path(text.path)) or home), imports_of(original, home)


def explain_import(message: str, path: Path | str) -> str:
    """Lean's words about a module that is not there, as something to act on."""
    for sign in ("unknown module prefix", "object file", "unknown package"):
        if sign in message:
            return f"{path}: {message}: this Lean has only Init, Std, Lean and Lake" + (
                "" if "Mathlib" not in message else "; Mathlib needs native Lean in a Lake project"
            )
    if "Unknown constant `_private." in message:
        return f"{message}: a file that it imports has a private declaration of the same name, which only native Lean keeps apart"
    return message


def _show(verdict: Verdict, json: bool, tally: Tally) -> None:
    tally.counts[verdict.verdict] += 1
    if json:
        answer(verdict_line(verdict), indent=None)
    else:
        # A name may hold a line break and a reason what a proof made Lean say: neither may look like another verdict.
        name, reason = plain(verdict.name), plain(verdict.reason)
        print(f"{verdict.verdict:<8} {name}" + (f"  {reason}" if reason else ""), flush=True)
