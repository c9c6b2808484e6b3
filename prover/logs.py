"""Logging: warnings on standard error, everything in a file. Each actor of a run has a file of its own."""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

LEVELS = ("debug", "info", "warning", "error")
PACKAGES = ("prover", "rl", "curricula")
_MAX_BYTES = 8 * 2**20
_FAULTS = "prover.faults"


@dataclass(frozen=True)
class LogSettings:
    """The logging options of the command line."""

    level: str = "info"
    """Lowest level written to files. Standard error shows it only if the user names a level, else warnings."""
    json: bool = False
    """Write each line as a JSON object with `time`, `level`, `logger`, `message` and, for errors, `traceback`."""


class _Console(logging.StreamHandler):
    """The handler of standard error. Its own type distinguishes it from handlers of other programs."""


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
    """The log file of an actor."""

    file: Path
    settings: LogSettings

    def open(self) -> None:
        """Start logging to the file, in the actor's process."""
        to_file(self.file, self.settings)


_settings = LogSettings()
_file: Path | None = None


def configure(settings: LogSettings, explicit: bool) -> None:
    """Configure this process. `explicit`: the user named a level, so standard error shows it too."""
    global _settings, _file
    _settings, _file = settings, None
    shown = _Console()
    shown.addFilter(lambda record: record.name != _FAULTS)  # the command reports these in one line
    shown.setLevel(settings.level.upper() if explicit else logging.WARNING)
    shown.setFormatter(_formatter(settings))
    _install(shown, settings, _Console | RotatingFileHandler)
    for name in PACKAGES:
        logging.getLogger(name).propagate = False


def _install(handler: logging.Handler, settings: LogSettings, instead_of: Any) -> None:
    """Give the loggers of the packages a handler in place of their handlers of type `instead_of`."""
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(settings.level.upper())
        for old in [h for h in logger.handlers if isinstance(h, instead_of)]:
            logger.removeHandler(old)
            old.close()
        logger.addHandler(handler)


def for_actor(folder: Path, name: str) -> ActorLog:
    """The log `folder`/logs/`name`.log, with this process's settings."""
    return ActorLog(folder.absolute() / "logs" / f"{name}.log", _settings)


def to_file(path: Path, settings: LogSettings | None = None) -> None:
    """Write the log of this process to `path` instead of an earlier file. Does nothing if the file is not writable."""
    global _file
    chosen = settings or _settings
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(path, maxBytes=_MAX_BYTES, backupCount=1, encoding="utf-8", errors="replace")
    except OSError:
        return
    handler.setFormatter(_formatter(chosen))
    _install(handler, chosen, RotatingFileHandler)
    _file = path


def fault(error: BaseException) -> Path | None:
    """Log an internal error with its traceback. Returns the log file, or None if it is not writable."""
    if _file is None:
        from prover.files import cache_dir

        to_file(cache_dir() / "logs" / f"turnstile-{os.getpid()}.log")
    logging.getLogger(_FAULTS).error("internal error", exc_info=error)
    return _file
