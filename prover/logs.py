"""Logging: warnings on standard error, everything in a file. Each actor of a run has a file of its own."""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path

LEVELS = ("debug", "info", "warning", "error")
PACKAGES = ("prover", "rl", "curricula")
_MAX_BYTES = 8 * 2**20
_FAULTS = "prover.faults"


@dataclass(frozen=True)
class LogSettings:
    """What the command line asks for."""

    level: str = "info"
    """Lowest level that is written to files. Standard error shows warnings, and lower levels only if the user names one."""
    json: bool = False
    """Whether each line is a JSON object with `time`, `level`, `logger`, `message` and, for errors, `traceback`."""


class _Console(logging.StreamHandler):
    """The handler of standard error, told apart from others that a program may add."""


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _formatter(settings: LogSettings) -> logging.Formatter:
    return _JsonLines() if settings.json else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


@dataclass(frozen=True)
class ActorLog:
    """Where an actor of a run writes its log."""

    file: Path
    settings: LogSettings

    def open(self) -> None:
        """Start to write it, in the actor's own process."""
        to_file(self.file, self.settings)


_settings = LogSettings()
_file: Path | None = None


def configure(settings: LogSettings, explicit: bool) -> None:
    """Set up the command's own process. `explicit`: the user named a level, so standard error shows it too."""
    global _settings, _file
    _settings, _file = settings, None
    shown = _Console()
    shown.addFilter(lambda record: record.name != _FAULTS)  # the command itself says these in one line
    shown.setLevel(settings.level.upper() if explicit else logging.WARNING)
    shown.setFormatter(_formatter(settings))
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(settings.level.upper())
        for old in [h for h in logger.handlers if isinstance(h, _Console | RotatingFileHandler)]:
            logger.removeHandler(old)
            old.close()
        logger.addHandler(shown)
        logger.propagate = False


def for_actor(folder: Path, name: str) -> ActorLog:
    """The log `folder`/logs/`name`.log, with this process's settings."""
    return ActorLog(folder.absolute() / "logs" / f"{name}.log", _settings)


def to_file(path: Path, settings: LogSettings | None = None) -> None:
    """Write this process's log to `path` from now on, in place of an earlier file. A file that cannot be written is skipped."""
    global _file
    chosen = settings or _settings
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(path, maxBytes=_MAX_BYTES, backupCount=1, encoding="utf-8", errors="replace")
    except OSError:
        return
    handler.setFormatter(_formatter(chosen))
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(chosen.level.upper())
        for old in [h for h in logger.handlers if isinstance(h, RotatingFileHandler)]:
            logger.removeHandler(old)
            old.close()
        logger.addHandler(handler)
    _file = path


def fault(error: BaseException) -> Path | None:
    """Log an internal fault with its traceback; the file that has it, None where none can be written."""
    if _file is None:
        from prover.lean.embedded.install import cache_dir

        to_file(cache_dir() / "logs" / f"turnstile-{os.getpid()}.log")
    logging.getLogger(_FAULTS).error("internal error", exc_info=error)
    return _file
