"""Measure the parts: lean, audit, search, premises, conjectures, infilling, batch, model, learner, fleet."""

from __future__ import annotations

import inspect
import json as json_module
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from tyro.conf import arg

from prover import plugins
from prover.console import answer, say
from prover.errors import UserError
from prover.files import check_writable, write_whole

NAMES = ("lean", "audit", "search", "premises", "conjectures", "infilling", "batch", "model", "learner", "fleet")
BENCHES = {name: EntryPoint(name, f"rl.bench.{name}:bench_{name}", "") for name in NAMES}
"""Functions that return figures. Their parameters are the options, besides those of OUTPUT."""
OUTPUT: dict[str, tuple[Any, Any]] = {
    "out": (Annotated[Path | None, arg(help="also write the figures to this file.")], None),
    "json": (Annotated[bool, arg(help="print one JSON document on standard output.")], False),
}
"""Options of every benchmark: type and default."""


def bench(args: list[str]) -> int:
    """Run `turnstile bench` and return its exit code."""
    from prover.cli import typed

    if not args or args[0] in ("-h", "--help"):
        width = max(map(len, BENCHES))
        print("usage: turnstile bench WHAT …\n")
        for name, point in BENCHES.items():
            print(f"  {name:<{width}}  {plugins.summary(point)}")
        print("\n`turnstile bench WHAT --help` lists its options.")
        return 0
    if args[0] not in BENCHES:
        raise UserError(f"bench {args[0]!r}: unknown benchmark; available: {', '.join(BENCHES)}")
    return typed(_command(BENCHES[args[0]]), f"bench {args[0]}", args[1:])


def _command(point: EntryPoint) -> Callable[..., int]:
    """A command with the options of a benchmark and those of OUTPUT, which prints the figures."""
    measure: Callable[..., dict[str, Any]] = point.load()
    own = inspect.signature(measure)

    def command(*args: Any, out: Path | None, json: bool, **options: Any) -> int:
        if out is not None:
            check_writable(out)
        if "out" in own.parameters:
            options["out"] = out
        return _print(measure(*args, **options), out, json)

    added = {
        name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, (_, default) in OUTPUT.items()
    }
    parameters = (own.parameters | added).values()
    command.__signature__ = own.replace(parameters=list(parameters))  # pyright: ignore[reportFunctionMemberAccess]
    hints = get_type_hints(measure, include_extras=True) | {name: hint for name, (hint, _) in OUTPUT.items()}
    command.__annotations__, command.__doc__ = hints, f"{plugins.summary(point)}\n\n{inspect.getdoc(measure)}"
    return command


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
