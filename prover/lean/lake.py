"""Runs elan and Lake: progress on standard error, the whole output in a log."""

from __future__ import annotations

import os
import re
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from prover.console import plain, say
from prover.errors import UserError
from prover.lean.toolchain import NativeLean

_FOREIGN = ("LEAN_PATH", "LEAN_SRC_PATH", "LEAN_SYSROOT", "LAKE_HOME")
"""Variables of `lake env`. They describe the user's project, not the one that is built."""
_PROGRESS = ("✔", "ℹ", "⚠", "✖", "[", "Build", "info:", "Attempting", "Decompress", "Unpack")
_OFFLINE = re.compile(
    r"could ?n[o']t (resolve|connect)|failed to connect|unreachable|timed out|connection (reset|refused)|dns error|error sending request",
    re.IGNORECASE,
)


class ToolFailed(UserError):
    """A tool ended with an error. The message is the line of its output that gives the reason."""


def run_tool(command: Sequence[str], folder: Path, log: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a command in `folder`. `env`: more environment variables. Raises ToolFailed, or UserError if it does not start."""
    variables = {k: v for k, v in os.environ.items() if k not in _FOREIGN} | dict(env or {})
    last: deque[str] = deque(maxlen=200)
    shown = -1
    try:
        with (
            log.open("w", encoding="utf-8") as kept,
            subprocess.Popen(
                command,
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process,
        ):
            assert process.stdout
            try:
                for line in process.stdout:
                    kept.write(line)
                    last.append(line)
                    # A counter on one terminal line, such as `Downloaded: 71 file(s) [… = 1%]`, arrives as many lines.
                    percent = re.search(r"(\d+) ?%", line)
                    tens = int(percent[1]) // 10 if percent else -1
                    if tens != shown if percent else line.startswith(_PROGRESS):
                        say(f"turnstile: {plain(line)}")
                    shown = tens if percent else shown
            except BaseException:
                process.terminate()
                raise
    except OSError as error:
        raise UserError(f"`{' '.join(command)}` did not start: {error.strerror}: install Lean with elan") from None
    if process.returncode:
        fatal = [line for line in last if "fatal:" in line] or [line for line in last if "error" in line]
        why = plain([*fatal, *list(last)[-1:], "no output"][0])
        raise ToolFailed(f"{why}: check the network" if _OFFLINE.search("".join(last)) else why)


def lake_path(lean: NativeLean, folder: Path) -> str:
    """The folders of compiled modules of a project and its packages, separated as in LEAN_PATH. Raises UserError."""
    command = [*lean.lake, "env", "printenv", "LEAN_PATH"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(f"`{lean.lake[0]}` did not start: {error.strerror}: reinstall Lean {lean.version}") from None
    if done.returncode or not done.stdout.strip():
        last = (done.stderr.strip().splitlines() or ["no LEAN_PATH"])[-1]
        raise UserError(f"{folder}: `lake env` failed: {last}; run `lake build` there first")
    return done.stdout.strip()
