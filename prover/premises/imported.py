"""The premise index that belongs to the imports of a theorem: that of Init and Std, or one of more modules, made once."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from prover.console import one_line, say
from prover.errors import UserError
from prover.lean.project import SHIPPED
from prover.lean.runtime import find_runtime
from prover.lean.server import LeanDied, LeanError, LeanServer, Limits
from prover.lean.surroundings import own_modules
from prover.premises.index import environment_index, is_cached, module_graph
from prover.premises.library import LibraryIndex, Premise

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Imported:
    """What some imports load."""

    index: LibraryIndex
    modules: frozenset[str]
    """Modules of the index. Those of the user's own project are not in it: they are part of a theorem's surroundings."""

    @cached_property
    def theorems(self) -> Mapping[str, Premise]:
        return self.index.by_name()


_opened: dict[tuple[str, ...], Imported] = {}
"""By imports that Init and Std do not have."""
_locks: defaultdict[tuple[str, ...], threading.Lock] = defaultdict(threading.Lock)


def imported(imports: tuple[str, ...], library: LibraryIndex) -> Imported:
    """What these imports load, in `library` (Init and Std) if it has them all, or else in the index of their environment.

    The first call with imports of a package exports its modules, which takes minutes; call it in a thread. If Lean cannot export them,
    this logs a warning and offers the whole library.
    """
    if all(m in library.modules for m in imports):
        return Imported(library, library.reachable(imports))
    if (found := _opened.get(imports)) is not None:
        return found
    with _locks[imports]:
        if imports not in _opened:
            try:
                _opened[imports] = _open(imports)
            except (UserError, LeanError, LeanDied) as e:
                _log.warning("only Init and Std are searched for premises: %s", one_line(str(e)))
                _opened[imports] = Imported(library, frozenset(library.modules))
        return _opened[imports]


async def imported_soon(imports: tuple[str, ...], library: LibraryIndex) -> Imported:
    """As `imported`, beside the event loop, in a thread that does not keep an interrupted process alive."""
    if imports in _opened or all(m in library.modules for m in imports):
        return imported(imports, library)
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    found: list[Imported | BaseException] = []

    def work() -> None:
        try:
            found.append(imported(imports, library))
        except BaseException as e:
            found.append(e)
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=work, name="premises", daemon=True).start()
    await done.wait()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def _open(imports: tuple[str, ...]) -> Imported:
    roots, modules = imports, None
    if any(m.split(".")[0] not in SHIPPED for m in imports):
        path = find_runtime().env.get("LEAN_PATH", "")
        graph = asyncio.run(_graph(imports))
        modules = frozenset(graph)
        roots = index_roots(graph, own_modules(path), path.split(os.pathsep))
    roots = tuple(sorted(roots))
    if not is_cached(roots):
        say(
            f"turnstile: reading the declarations of {', '.join(roots)} for premises, once for this Lean; a library takes minutes"
        )
    index = environment_index(roots)
    return Imported(index, index.reachable(imports) if modules is None else modules & index.modules.keys())


async def _graph(imports: Sequence[str]) -> dict[str, list[str]]:
    async with LeanServer(find_runtime(), Limits(open_seconds=600)) as server:
        return await module_graph(server, imports)


def index_roots(graph: Mapping[str, Sequence[str]], own: Collection[str], folders: Sequence[str]) -> tuple[str, ...]:
    """The imports of an index for the modules of `graph` (module → its imports) without those of the user's own project.

    These are the modules that no other needs, each replaced by the module of its package's name (`Mathlib`) if a folder has it compiled:
    the files of a project then share one index, and an edit of the project changes none.
    """
    skipped = set(own)
    foreign = [m for m in graph if m not in skipped]
    needed = {n for m in foreign for n in graph[m]}
    roots: dict[str, None] = {}
    for m in (m for m in foreign if m not in needed):
        package = m.split(".")[0]
        whole = package not in SHIPPED and any((Path(f) / f"{package}.olean").is_file() for f in folders if f)
        roots[package if whole and package not in skipped else m] = None
    return tuple(roots)


class KnownTheorems(Mapping[str, Premise]):
    """The theorems of a library, and of every index that this process has opened since for other imports."""

    def __init__(self, library: LibraryIndex) -> None:
        self._library = library.by_name()

    def _all(self) -> list[Mapping[str, Premise]]:
        return [self._library, *(found.theorems for found in list(_opened.values()))]

    def __getitem__(self, name: str) -> Premise:
        for known in self._all():
            if (premise := known.get(name)) is not None:
                return premise
        raise KeyError(name)

    def __bool__(self) -> bool:  # asked for every tactic, where __len__ would read all names
        return bool(len(self._library)) or bool(_opened)

    def __iter__(self) -> Iterator[str]:
        return iter({name: None for known in self._all() for name in known})

    def __len__(self) -> int:
        return sum(1 for _ in self)
