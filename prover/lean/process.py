"""One run of the proof server: its start, its pipe, its end."""

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

_OUT_OF_MEMORY = re.compile(r"out of memory|OOM|enlarge memory|heap limit", re.IGNORECASE)
_LONGEST_LINE = 2**28
_LINGERS_S = 0.5  # from the end of its output to its own


class LeanProcess:
    """A process of the proof server. It is started once; its successor is another object."""

    def __init__(self, runtime: LeanRuntime, memory_mb: int | None = None) -> None:
        """`memory_mb`: where the system ends it, if nobody has before. None: nowhere."""
        self.runtime = runtime
        self._memory_mb = memory_mb
        self.version = ""
        self.ready_s = 0.0
        self.killed_for: str | None = None
        """Why it was killed: a limit; empty: nobody's fault; None: it was not."""
        self.killed_as: StepStatus = "timeout"
        """Which limit that was."""
        self._process: asyncio.subprocess.Process | None = None
        self._sealing: Sealing | None = None
        self._nonce = secrets.token_hex(16).encode()
        self._noise: deque[str] = deque(maxlen=20)

    async def start(self, seconds: float) -> None:
        """Start it and wait until it is ready. Raises UserError when that fails or takes over `seconds`."""
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
            await self.end()
            raise UserError(f"{self.runtime.name} did not start: {e}") from None
        assert self._process.stdin
        self._process.stdin.write(self._nonce + b"\n")
        try:
            answer, _ = await asyncio.wait_for(self.read(), seconds)
        except (asyncio.TimeoutError, EOFError):
            await self.end()
            last = list(self._noise)[-3:]
            raise UserError(f"{self.runtime.name} did not start: {' | '.join(last) or 'no output'}") from None
        self.version = answer.ready or ""
        if (
            self.version.split(".")[:2] != self.runtime.version.split(".")[:2]
        ):  # a release; the rest is said in many ways
            await self.end()
            raise UserError(
                f"{self.runtime.name} was expected, but Lean {self.version} answered: clear TURNSTILE_CACHE, or pin the toolchain"
            )
        self.ready_s = time.monotonic() - began

    async def read(self) -> tuple[protocol.Answer, bytes]:
        """The next answer and its raw text, skipping what is not ours. Raises EOFError at the end."""
        assert self._process and self._process.stdout
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:  # a line over the limit: nothing that the server sends
                continue
            if not line:
                raise EOFError
            # Lean's own noise may stand in front on the same line, never behind.
            at = line.find(self._nonce)
            if at < 0:
                self._note(line)
                continue
            try:
                return protocol.decode(line[at + len(self._nonce) :])
            except Exception:  # cut off by a death in the middle
                self._note(line)

    def write(self, message: dict[str, Any]) -> None:
        """Send a request. Into a closed pipe it is lost: the reader sees the end."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(ConnectionError, RuntimeError):
                self._process.stdin.write(protocol.encode(message))

    def _note(self, line: bytes) -> None:
        """Remember what it says besides answers, for when it dies; not its frames and progress."""
        text = line[:300].decode(errors="replace").rstrip()
        if text and not text.lstrip().startswith(("at ", "[DEBUG", "wasm://")):
            self._noise.append(text)

    @property
    def last_words(self) -> str:
        return " | ".join(self._noise)[-300:]

    @property
    def out_of_memory(self) -> bool:
        """Whether it said so before it died; a stack trace may have come after."""
        return any(_OUT_OF_MEMORY.search(line) for line in self._noise)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def rss_mb(self) -> float:
        """Resident memory, in MiB (0 when it is down)."""
        return self._memory()[0]

    def own_mb(self) -> float:
        """Resident memory without mapped files, in MiB: what limits are about, since a library's files are read in place and
        shared between processes."""
        resident, files = self._memory()
        return resident - files

    def _memory(self) -> tuple[float, float]:
        """Resident MiB, and those of them that are files."""
        try:
            with open(f"/proc/{self._innermost()}/statm") as f:
                _, resident, files, *_ = f.read().split()
        except (OSError, ValueError):
            return 0.0, 0.0
        page = os.sysconf("SC_PAGE_SIZE") / 2**20
        return int(resident) * page, int(files) * page

    def _innermost(self) -> int | None:
        """The process that is Lean: bubblewrap stays around it as its ancestor. Lean itself starts none."""
        pid = self.pid
        if self._sealing is not None and self._sealing.is_wrapped:
            with contextlib.suppress(OSError):
                while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                    pid = int(children[0])
        return pid

    async def ending(self) -> str:
        """How it ended by itself, once its output has: `exit status 1`, `SIGXCPU`; empty while it runs on."""
        if self._process is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                status = await asyncio.wait_for(self._process.wait(), _LINGERS_S)
                return signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return ""

    def kill(self, why: str, status: StepStatus = "timeout") -> None:
        """SIGKILL, unless it was killed or has ended; the reader sees the end."""
        if self.killed_for is None and self._process is not None and self._process.returncode is None:
            self.killed_for, self.killed_as = why, status
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Make sure that it is gone."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if self._sealing is not None:
            self._sealing.close()
