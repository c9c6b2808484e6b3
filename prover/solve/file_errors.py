"""The `sorry`s of a file with errors that cannot be proved: those in a declaration that has an error or rests on one that has.

The audit of the file as it stands finds dependencies of constants. Names are compared as well, because Lean drops some
declarations with errors and then may bind their names by itself in later statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from prover.lean.declared import LeanMessage
from prover.lean.text import LeanText, code_words
from prover.lean.theorem import Verdict
from prover.solve.fill import Filler

_NO_DECLARATION = re.compile(
    r"(?:variable|universe|namespace|section|end|open|export|attribute|set_option|local|scoped|notation|macro|syntax|infix[lr]?|prefix"
    r"|postfix|elab)\b|#|@\["
)
"""The first line of another command, or of the attributes of the next declaration."""
_BINDERS = re.compile(r"[({\[⦃]([^:()\[\]{}⦃⦄]+)")


async def untried(filler: Filler, errors: Sequence[LeanMessage]) -> dict[int, str]:
    """Place number -> why its proof would not count. Raises LeanError or LeanDied."""
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


def _tainted(text: LeanText, verdicts: Sequence[Verdict], errors: Sequence[LeanMessage]) -> dict[int, str]:
    """Line of each declaration that mentions the name of one with an error, directly or through others -> that one."""
    lines = text.text.split("\n")
    causes: dict[str, str] = {}
    found: dict[int, str] = {}
    others = {n for n, line in enumerate(lines, 1) if _NO_DECLARATION.match(line)}
    for start, stop in pairwise([*sorted(others | {v.line for v in verdicts}), len(lines) + 1]):
        here = [v for v in verdicts if v.line == start and not v.generated]
        source = "\n".join(lines[start - 1 : stop - 1])
        names = _endings(v.name for v in here if not v.name.startswith(f"{text.path}:"))
        if source.startswith("variable"):
            last = max((e.line for e in errors if start <= e.line < stop), default=start)
            names |= {w for m in _BINDERS.finditer("\n".join(lines[start - 1 : last])) for w in m[1].split()}
        if any(v.reason.startswith("elaboration:") for v in here):
            nameless = here[0].name.startswith(f"{text.path}:")
            causes |= dict.fromkeys(names, f"line {start}" if nameless else f"`{here[0].name}` (line {start})")
        elif (cause := _mentioned(source, causes, names)) is not None:
            found[start] = cause
            causes |= dict.fromkeys(names, cause)
    return found


def _endings(names: Iterable[str]) -> set[str]:
    """The names as they may be written inside namespaces."""
    return {".".join(parts[i:]) for name in names for parts in [name.split(".")] for i in range(len(parts))}


def _mentioned(source: str, causes: dict[str, str], own: set[str]) -> str | None:
    """The cause whose name, or a name below it, is in the source. `own`: names of the declaration itself."""
    for word, _ in code_words(source):
        parts = word.removeprefix("_root_.").split(".")
        for i in range(len(parts)):
            name = ".".join(parts[: i + 1])
            if name in causes and name not in own:
                return causes[name]
    return None
