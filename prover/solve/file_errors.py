"""The `sorry`s of a file with errors that cannot be proved: those in a declaration that has an error or rests on one that has.

The audit of the file as it stands finds dependencies of constants. Names are compared as well, because Lean drops some
declarations with errors and may then bind their names automatically in later statements.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from prover.lean.declarations import DEFINITIONS, OTHER_COMMANDS, THEOREMS, Declarations
from prover.lean.declared import LeanMessage
from prover.lean.text import LeanText, code_words, masked
from prover.lean.theorem import Verdict
from prover.solve.fill import Filler
from prover.solve.negation import split_statement

_NO_DECLARATION = re.compile(rf"{OTHER_COMMANDS}|#|@\[")
"""The first line of another command, or of the attributes of the next declaration."""
_BINDERS = re.compile(r"[({\[⦃]([^:()\[\]{}⦃⦄]+)")
_OPENS = {"namespace", "open", "export"}


async def untried(filler: Filler, errors: Sequence[LeanMessage]) -> dict[int, str]:
    """Place number -> reason why a proof there would not count. Raises LeanError or LeanDied."""
    verdicts = [v for v in await filler.as_it_stands() if v.line > 0]
    tainted = _tainted(filler.text, verdicts, errors)
    reasons: dict[int, str] = {}
    for i in range(len(filler.places)):
        verdict = filler.verdict_at(i, {}, verdicts)
        if verdict.reason.startswith("elaboration:"):
            reasons[i] = f"its declaration has an error: {verdict.reason.removeprefix('elaboration: ')}"
        elif (cause := tainted.get(verdict.line)) is not None:
            reasons[i] = f"rests on {cause}, which has an error"
        elif verdict.reason.startswith("sorry"):
            reasons[i] = "rests on a declaration with an error"
    return reasons


_Causes = dict[str, dict[str, str]]
"""Name as it may be written -> namespace that has to be open for it -> the declaration with an error."""


def _tainted(text: LeanText, verdicts: Sequence[Verdict], errors: Sequence[LeanMessage]) -> dict[int, str]:
    """Line of each declaration that mentions the name of one with an error, directly or through others -> that one."""
    lines = text.text.split("\n")
    causes: _Causes = {}
    opened: set[str] = set()
    found: dict[int, str] = {}
    others = {n for n, line in enumerate(lines, 1) if _NO_DECLARATION.match(line)}
    for start, stop in pairwise([*sorted(others | {v.line for v in verdicts}), len(lines) + 1]):
        here = [v for v in verdicts if v.line == start and not v.generated]
        source = "\n".join(lines[start - 1 : stop - 1])
        words = [word for word, _ in code_words(source)]
        if _OPENS & set(words):
            opened |= {word.split(".")[-1] for word in words}
        full = {v.name for v in here if not v.name.startswith(f"{text.path}:")}
        names = {(ending, space) for name in full for space, ending in _endings(name)}
        if source.startswith("variable"):
            last = max((e.line for e in errors if start <= e.line < stop), default=start)
            names |= {(w, "") for m in _BINDERS.finditer("\n".join(lines[start - 1 : last])) for w in m[1].split()}
        if any(v.reason.startswith("elaboration:") for v in here):
            nameless = here[0].name.startswith(f"{text.path}:")
            cause = f"line {start}" if nameless else f"`{here[0].name}` (line {start})"
        else:
            own = {name for name, _ in names} | _bound(source)
            cause = _mentioned(words, causes, own, opened | {part for name in full for part in name.split(".")[:-1]})
            if cause is not None:
                found[start] = cause
        if cause is not None:
            for name, space in names:
                causes.setdefault(name, {})[space] = cause
    return found


def _endings(name: str) -> list[tuple[str, str]]:
    """(namespace, the rest) for each way to split a name."""
    parts = name.split(".")
    return [(".".join(parts[:i]), ".".join(parts[i:])) for i in range(len(parts))]


def _bound(source: str) -> set[str]:
    """The names that a declaration binds before its colon, such as `n` in `theorem x (n : Nat) : n = n`, and uses only after that."""
    declared = Declarations(source)
    if not (starts := declared.starts((*THEOREMS, *DEFINITIONS))):
        return set()
    end = declared.head(starts[0]).end
    binders, _ = split_statement(source[end:]) or ("", "")
    code, depth = masked(binders), 0
    bound: set[str] = set()
    seen: set[str] = set()
    for part in re.split(r"([(){}\[\]⦃⦄⟨⟩])", code):
        names = part.partition(":")[0].split() if depth == 1 and ":" in part else []
        bound |= {name for name in names if name not in seen}
        seen |= {word.split(".")[0] for word, _ in code_words(part)}
        depth += (part in "({[⦃⟨") - (part in ")}]⦄⟩") if len(part) == 1 else 0
    return bound


def _mentioned(words: Sequence[str], causes: _Causes, own: set[str], opened: set[str]) -> str | None:
    """The cause whose name, or a name below it, is among the words. `own`: names that mean something else here. `opened`: last
    components of the namespaces that may be open."""
    for word in words:
        parts = word.removeprefix("_root_.").split(".")
        for i in range(len(parts)):
            name = ".".join(parts[: i + 1])
            for space, cause in causes.get(name, {}).items() if name not in own else ():
                if not space or space.split(".")[-1] in opened:
                    return cause
    return None
