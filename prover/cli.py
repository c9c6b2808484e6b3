"""The `turnstile` command: finds the subcommand, runs it, and turns what goes wrong into one line and an exit code.

Exit codes: 0 all well; 1 done, and something is not proved or not verified; 2 bad input or a missing part; 130 Ctrl-C.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from prover.commands.output import one_line, say
from prover.errors import UserError

_TYPED = {
    "doctor": ("prover.commands.doctor", "what is installed here, what is missing, and what to do about it"),
    "verify": ("prover.commands.verify", "judge proofs: a .lean file, a run, a statement and proof, or a .jsonl file"),
    "prove": ("prover.commands.prove", "find proofs: for every sorry of a .lean file, a .jsonl file, a library module"),
    "tune": ("prover.commands.tune", "train a model folder on (goal, tactic) pairs: a run's warm start"),
    "sets": ("prover.commands.sets", "theorem sets: sizes, splits, Lean version, licence"),
}
"""Commands whose module has a function of the same name, typed for tyro, that returns the exit code."""
_LATER = {
    "bench": ("prover.commands.bench", "measure: lean, search, premises, batch, model, fleet"),
    "train": ("rl.cli", "learn to prove, from a config"),
    "eval": ("rl.cli", "measure a prover on a theorem set"),
    "ablate": ("rl.cli", "train with one part changed at a time, and compare"),
    "report": ("rl.cli", "a page about a run or a batch"),
}
"""Commands whose module has a function of the same name that takes the rest of the command line."""


def usage() -> str:
    rows = [f"  {name:<8} {text}" for name, (_, text) in {**_TYPED, **_LATER}.items()]
    return "\n".join(
        [
            "usage: turnstile COMMAND …",
            "",
            *rows,
            "",
            "`turnstile COMMAND --help` explains one. Every command has --json: one JSON document on standard output.",
            "Exit codes: 0 all well; 1 done, and something is not proved or verified; 2 bad input or a missing part.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run and exit."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        code = run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head`: nobody reads on
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except KeyboardInterrupt:
        say("turnstile: interrupted")
        code = 130
    except Exception as error:
        if os.environ.get("TURNSTILE_DEBUG"):
            raise
        say(f"turnstile: {_explain(error)}")
        code = 2
    sys.exit(code)


def run(args: list[str]) -> int:
    """The exit code of a command line. Raises UserError for bad input."""
    if args and args[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if args and args[0] in ("--version", "version"):
        from importlib import metadata

        with contextlib.suppress(metadata.PackageNotFoundError):
            print(f"turnstile {metadata.version('turnstile-prover')}")
        return 0
    if not args:
        raise UserError(f"say a command: {', '.join([*_TYPED, *_LATER])}; `turnstile --help` explains them")
    name, rest = args[0], args[1:]
    if name in _LATER:
        return int(_function(_LATER[name][0], name)(rest) or 0)
    if name not in _TYPED:
        raise UserError(f"{name!r} is no command; there are {', '.join([*_TYPED, *_LATER])}")
    return typed(_function(_TYPED[name][0], name), name, rest)


def _function(module: str, name: str) -> Callable[..., Any]:
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"`{name}` needs the Python module {error.name}, which is not installed: `turnstile doctor` says more"
        ) from None
    except AttributeError:
        raise UserError(f"`{name}` is not part of this installation ({module} has none)") from None


def typed(function: Callable[..., int], name: str, args: list[str]) -> int:
    """Parse with tyro and call. Its error page becomes one line."""
    import tyro

    errors, shown = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(shown):
            call = tyro.cli(_deferred(function), prog=f"turnstile {name}", args=args)
    except SystemExit as end:
        if end.code in (0, None):
            print(shown.getvalue(), end="")
            return 0
        raise UserError(_parse_error(errors.getvalue() or shown.getvalue(), name)) from None
    return call()


def _deferred(function: Callable[..., int]) -> Callable[..., Callable[[], int]]:
    """The same signature, but calling it only remembers the arguments: the command runs outside of tyro."""
    import functools

    @functools.wraps(function)
    def remember(*args: Any, **kwargs: Any) -> Callable[[], int]:
        return lambda: function(*args, **kwargs)

    return remember


def _parse_error(page: str, name: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", page)
    lines = [re.sub(r"^[│|╭╰─╮╯\s]+|[│|╭╰─╮╯\s]+$", "", x) for x in plain.splitlines()]
    titles = ("For full helptext", "Parsing error", "Required options", "Unrecognized options")
    lines = [x for x in lines if x and set(x) != {"-"} and (not x.startswith(titles) or ":" in x)]
    lines = [x for x in lines if not x.startswith("For full helptext")]
    return f"{one_line(' '.join(lines[:4]), 300)} (`turnstile {name} --help` lists the options)"


def _explain(error: Exception) -> str:
    if isinstance(error, UserError):
        return one_line(str(error))
    if type(error).__name__ in ("LeanError", "LeanDied"):  # by name: importing Lean's part here would slow every start
        return one_line(str(error))
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, OSError) and error.strerror:
        return one_line(f"{error.filename or 'system'}: {error.strerror}")
    return one_line(f"internal error: {type(error).__name__}: {error} (TURNSTILE_DEBUG=1 shows where)")


if __name__ == "__main__":
    main()
