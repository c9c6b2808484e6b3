"""LeanProcess: one process of the proof server, its start, pipe and end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import signal
import subprocess
import time
from collections import deque
from pathlib import Path
from typing import Any

from prover.errors import UserError
from prover.lean import protocol
from prover.lean.runtime import LeanRuntime
from prover.lean.sandbox.seal import Sealing
from prover.lean.theorem import StepStatus

# GMP reports a number that is too large for its type by a division by zero, which traps in WebAssembly. Lean divides safely.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|OOM|enlarge memory|heap limit|RuntimeError: divide by zero|overflow in mpz type", re.IGNORECASE
)
_LONGEST_LINE = 2**28
_EXIT_TIMEOUT_S = 0.5  # from the end of its output to its exit


class LeanProcess:
    """A process of the proof server. It is started once; a replacement is another object."""

    def __init__(self, runtime: LeanRuntime, memory_mb: int | None = None) -> None:
        """`memory_mb`: the system's limit on its memory. None: no limit."""
        self.runtime = runtime
        self._memory_mb = memory_mb
        self.version = ""
        self.ready_s = 0.0
        self.killed_for: str | None = None
        """The exceeded limit for which `kill` ended it; empty if it was replaced for another reason; None if it was not killed."""
        self.killed_as: StepStatus = "timeout"
        """The status of the step that exceeded the limit."""
        self._process: asyncio.subprocess.Process | None = None
        self._sealing: Sealing | None = None
        self._nonce = secrets.token_hex(16).encode()
        self._noise: deque[str] = deque(maxlen=20)

    async def start(self, seconds: float) -> None:
        """Start it and wait until it is ready. Raises UserError if that fails or takes over `seconds`. No process is left if it raises."""
        try:
            await self._start(seconds)
        except BaseException:
            await self.end()
            raise

    async def _start(self, seconds: float) -> None:
        began = time.monotonic()
        try:
            self._sealing = sealing = Sealing(self.runtime.seal, self.runtime.command, self._memory_mb)
            self._process = await asyncio.create_subprocess_exec(
                *sealing.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=self.runtime.env,
                cwd=sealing.cwd,
                pass_fds=sealing.fds,
                limit=_LONGEST_LINE,
                preexec_fn=sealing.apply,
                start_new_session=True,
            )
            sealing.started()
        except (OSError, subprocess.SubprocessError) as e:
            raise UserError(f"{self.runtime.name} did not start: {e}") from None
        assert self._process.stdin
        self._process.stdin.write(self._nonce + b"\n")
        try:
            answer, _ = await asyncio.wait_for(self.read(), seconds)
        except (asyncio.TimeoutError, EOFError):
            last = list(self._noise)[-3:]
            raise UserError(f"{self.runtime.name} did not start: {' | '.join(last) or 'no output'}") from None
        self.version = answer.ready or ""
        if self.version.split(".")[:2] != self.runtime.version.split(".")[:2]:  # the rest is written in several ways
            raise UserError(
                f"{self.runtime.name} was expected, but Lean {self.version} answered: clear TURNSTILE_CACHE, or pin the toolchain"
            )
        self.ready_s = time.monotonic() - began

    async def read(self) -> tuple[protocol.Answer, bytes]:
        """The next answer and its raw text. Skips other output. Raises EOFError at the end."""
        assert self._process and self._process.stdout
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:  # longer than _LONGEST_LINE, so not from the server
                continue
            if not line:
                raise EOFError
            # Output of Lean may precede the answer on its line, but never follow it.
            at = line.find(self._nonce)
            if at < 0:
                self._note(line)
                continue
            try:
                text = line[at + len(self._nonce) :]
                return protocol.decode(text), text
            except Exception:  # the process died in the middle of it
                self._note(line)

    def write(self, message: dict[str, Any]) -> None:
        """Send a request. A closed pipe loses it; then `read` raises EOFError."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(ConnectionError, RuntimeError):
                self._process.stdin.write(protocol.encode(message))

    def _note(self, line: bytes) -> None:
        """Keep its other output for `last_output`, without stack frames and progress."""
        text = line[:300].decode(errors="replace").rstrip()
        if text and not text.lstrip().startswith(("at ", "[DEBUG", "wasm://")):
            self._noise.append(text)

    @property
    def last_output(self) -> str:
        return " | ".join(self._noise)[-300:]

    @property
    def out_of_memory(self) -> bool:
        """Whether it reported lack of memory before it died, possibly before a stack trace."""
        return any(_OUT_OF_MEMORY.search(line) for line in self._noise)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def rss_mb(self) -> float:
        """Resident memory, in MiB (0 when it is down)."""
        return self._memory()[0]

    def own_mb(self) -> float:
        """Resident memory without mapped files, in MiB. Limits use this, because processes share the library's mapped files."""
        resident, files = self._memory()
        return resident - files

    def _memory(self) -> tuple[float, float]:
        """(resident memory, its part in mapped files) of the process and its descendants, in MiB."""
        page = os.sysconf("SC_PAGE_SIZE") / 2**20
        resident = files = 0
        for pid in self._tree():
            with contextlib.suppress(OSError, ValueError):
                _, here, mapped, *_ = Path(f"/proc/{pid}/statm").read_text().split()
                resident += int(here)
                files += int(mapped)
        return resident * page, files * page

    def _tree(self) -> list[int]:
        """Process ids of the started process and its descendants. Lean is a descendant if bubblewrap or a script starts it."""
        found: list[int] = []
        todo = [self.pid] if self.pid is not None else []
        while todo:
            pid = todo.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                todo += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    async def ending(self) -> str:
        """How it ended, after the end of its output: `exit status 1`, `SIGXCPU`; empty if it still runs."""
        if self._process is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                status = await asyncio.wait_for(self._process.wait(), _EXIT_TIMEOUT_S)
                return signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return ""

    def kill(self, why: str, status: StepStatus = "timeout") -> None:
        """Send SIGKILL, unless it was killed or has ended. Then `read` raises EOFError."""
        if self.killed_for is None and self._process is not None and self._process.returncode is None:
            self.killed_for, self.killed_as = why, status
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def end(self) -> None:
        """End the process and remove its sandbox."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if self._sealing is not None:
            self._sealing.close()
