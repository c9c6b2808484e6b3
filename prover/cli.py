"""The `turnstile` command: finds the subcommand, runs it, and turns errors into one line and an exit code.

Exit codes: 0 success; 1 finished, but something is not proved or verified; 2 bad input or a missing part; 3 internal error;
130 Ctrl-C. Subcommands are entry points of the group `turnstile.commands`: functions that return the exit code. Their
parameters are the options. Alternatively, the single parameter `options` is a dataclass of options, or `args` is the list of
arguments.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import itertools
import os
import re
import shutil
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from typing import Any, get_type_hints

from prover import logs, plugins
from prover.console import one_line, say
from prover.errors import UserError

COMMANDS = "turnstile.commands"
_NUMBER = re.compile(
    r"Error parsing (\S+): (?:invalid literal for int\(\) with base 10|could not convert string to float): '(.*)'"
)
"""tyro's line about an option whose value is no number."""

HELP_COLUMN = 24
"""Column of the options' texts on a help page."""


def usage() -> str:
    rows = [f"  {name:<10} {plugins.summary(point)}" for name, point in plugins.registered(COMMANDS).items()]
    return "\n".join(
        [
            "usage: turnstile COMMAND …",
            "",
            *rows,
            "",
            "`turnstile COMMAND --help` explains a command. Every command has --json: one JSON document on standard output.",
            "--log-level debug|info|warning|error and --log-json work with every command.",
            "Exit codes: 0 success; 1 finished, but something is not proved or verified; 2 bad input or a missing part; 3 internal error.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    args = list(sys.argv[1:] if argv is None else argv)
    if sys.stdout is None:  # closed by the shell
        sys.stdout = open(os.devnull, "w")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may not know Lean's characters
        sys.stdout.reconfigure(errors="backslashreplace")
    if threading.current_thread() is threading.main_thread():
        # SIGTERM ends a command as Ctrl-C does. Both handlers are set because a parent may have disabled them.
        for end in (signal.SIGINT, signal.SIGTERM):
            signal.signal(end, signal.default_int_handler)
    try:
        code = run(_logging(args))
        sys.stdout.flush()
    except BrokenPipeError:  # as with `| head`
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except KeyboardInterrupt:
        say("turnstile: interrupted")
        code = 130
    except Exception as error:
        if os.environ.get("TURNSTILE_DEBUG"):
            raise
        message, code = _explain(error)
        say(f"turnstile: {message}")
    left = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    if code == 130 and left and "ray" not in sys.modules:  # Ray ends its processes when Python ends
        # Python would wait for the threads, which may wait minutes for the answer of a server.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def run(args: list[str]) -> int:
    """Run a command line and return the exit code. Raises UserError for bad input."""
    if args and args[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if args and args[0] in ("--version", "version"):
        from importlib import metadata

        with contextlib.suppress(metadata.PackageNotFoundError):
            print(f"turnstile {metadata.version(plugins.NAME)}")
        return 0
    if not args:
        raise UserError(f"name a command: {', '.join(plugins.registered(COMMANDS))}; `turnstile --help` explains them")
    function = plugins.load(COMMANDS, args[0])
    _check_filled(args)
    if list(inspect.signature(function).parameters) == ["args"]:
        return int(function(args[1:]) or 0)
    return typed(function, args[0], args[1:])


def _check_filled(args: Sequence[str]) -> None:
    """Raise UserError for an empty argument, as of an unset variable of the shell. As a path, it would be the working folder."""
    for before, arg in itertools.pairwise(args):
        if arg == "" or re.fullmatch(r"--[\w-]+=", arg):
            option = arg[:-1] or (before if before.startswith("--") else "an argument")
            raise UserError(f"{args[0]}: {option} is empty; give its value or leave it out")


def _logging(args: list[str]) -> list[str]:
    """Configure logging and return the remaining arguments."""
    rest: list[str] = []
    level, as_json = None, False
    given = iter(args)
    for arg in given:
        if arg == "--log-json":
            as_json = True
        elif arg == "--log-level" or arg.startswith("--log-level="):
            level = arg.partition("=")[2] or next(given, "")
            if level not in logs.LEVELS:
                raise UserError(f"--log-level {level}: choose one of {', '.join(logs.LEVELS)}")
        else:
            rest.append(arg)
    logs.configure(logs.LogSettings(level or "info", as_json), explicit=level is not None)
    return rest


def typed(function: Callable[..., int], name: str, args: list[str]) -> int:
    """Parse the options with tyro and call the function; 0 after showing help."""
    call = parsed(function, name, args)
    return 0 if call is None else call()


def parsed(function: Callable[..., int], name: str, args: list[str]) -> Callable[[], int] | None:
    """The call that a command line asks for; None after showing help. Parse errors become a UserError of one line."""
    try:
        import tyro
    except ModuleNotFoundError:
        if set(args) <= {"--json"}:  # so that `turnstile doctor` can say what is missing
            return functools.partial(function, json=bool(args))
        raise UserError("the Python module tyro is not installed: run `turnstile doctor`") from None
    style = (tyro.conf.DisallowNone, tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)
    options = get_type_hints(function).get("options")
    errors, shown = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(shown):
            call = tyro.cli(options or _deferred(function), prog=f"turnstile {name}", args=args, config=style)
    except SystemExit as end:
        if end.code in (0, None):
            print(_help_page(shown.getvalue()))
            return None
        raise UserError(_parse_error(errors.getvalue() or shown.getvalue(), name)) from None
    return functools.partial(function, call) if options else call


def _deferred(function: Callable[..., int]) -> Callable[..., Callable[[], int]]:
    """A function of the same signature that returns the call, so that the command runs outside tyro."""

    @functools.wraps(function)
    def remember(*args: Any, **kwargs: Any) -> Callable[[], int]:
        return lambda: function(*args, **kwargs)

    return remember


def _help_page(page: str) -> str:
    """tyro's help page with one paragraph for each option, and without defaults that say nothing."""
    width = shutil.get_terminal_size().columns
    lines: list[str] = []
    options: dict[int, str] = {}
    """Index of an option's line -> its text."""
    page = re.sub(r"\[(\S+) \[\1 \.\.\.\]\]", r"\1 …", page)
    for line in page.splitlines():
        if option := re.match(r"  (\S+(?: \S+)*)(?: {2,}(.*))?", line):
            options[len(lines)] = option[2] or ""
            lines.append(option[1])
        elif options and line.startswith("   ") and line.strip():
            options[len(lines) - 1] += f" {line.strip()}"
        elif set(line.strip()) != {"-"}:
            lines.append(line.strip() + ":" * line.startswith(" ") if line.strip() else "")
    for at, text in options.items():
        text = " ".join(re.sub(r"\(default:\s*(None|True|False|'')?\s*\)", "", text).split())
        indent = " " * HELP_COLUMN
        start = f"  {lines[at]}  ".ljust(HELP_COLUMN)
        start = f"  {lines[at]}\n{indent}" if len(start) > HELP_COLUMN else start
        body = textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False)
        lines[at] = start + body[HELP_COLUMN:]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines).rstrip())


def _parse_error(page: str, name: str) -> str:
    lines = [re.sub(r"^[│|╭╰─╮╯\s]+|[│|╭╰─╮╯\s]+$", "", x) for x in page.splitlines()]
    titles = ("Parsing error", "Invalid choice", "Missing argument", "Required options", "Unrecognized options")
    lines = [x for x in lines if x and set(x) != {"-"} and (not x.startswith(titles) or ":" in x)]
    lines = [x for x in lines if not x.startswith(("For full helptext", "Argument helptext", "Value error"))]
    if "Perhaps you meant:" in lines:  # the option alone, without its help
        at = lines.index("Perhaps you meant:")
        lines[at + 1 :] = [line.split(" ")[0] for line in lines[at + 1 : at + 2]]
    if lines and (wrong := _NUMBER.search(lines[0])):
        kind = "whole number" if "int()" in wrong[0] else "number"
        lines = [f"{wrong[1]} {wrong[2]}: must be a {kind}"]
    return f"{one_line(' '.join(lines[:4]), 300)} (`turnstile {name} --help` lists the options)"


def _explain(error: Exception) -> tuple[str, int]:
    """The error as one line, and the exit code."""
    # Compared by name, because importing Lean's errors would slow down every start.
    if isinstance(error, UserError) or type(error).__name__ in ("LeanError", "LeanDied"):
        return one_line(str(error)), 2
    if isinstance(error, MemoryError):
        return "out of memory", 2
    if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
        return "no space left on the disk of the run's ledger; free some and start the command again", 2
    if isinstance(error, OSError) and error.strerror:
        return one_line(f"{error.filename or 'system'}: {error.strerror}"), 2
    file = logs.fault(error)
    where = f"the traceback is in {file}" if file else "TURNSTILE_DEBUG=1 shows the traceback"
    return f"{one_line(f'internal error: {type(error).__name__}: {error}')} ({where})", 3


if __name__ == "__main__":
    main()
