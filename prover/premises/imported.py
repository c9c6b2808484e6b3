"""The premise index for the imports of a theorem: that of Init and Std, or one with more modules, which is made once."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import ChainMap, defaultdict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from prover.concurrency import completed
from prover.console import one_line
from prover.errors import UserError
from prover.lean.project import SHIPPED
from prover.lean.runtime import find_runtime
from prover.lean.server import LeanDied, LeanError, LeanServer, Limits
from prover.lean.surroundings import own_modules
from prover.premises.index import environment_index, module_graph
from prover.premises.library import LibraryIndex, Premise

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Imported:
    """The part of an index that some imports load."""

    index: LibraryIndex
    modules: frozenset[str]
    """Modules of the index. Those of the user's own project are not in it: they are part of a theorem's surroundings."""


_opened: dict[tuple[str, ...], Imported] = {}
"""Imports beyond Init and Std -> their index."""
_theorems: ChainMap[str, Premise] = ChainMap()
"""The theorems of every index in `_opened`."""
_locks: defaultdict[tuple[str, ...], threading.Lock] = defaultdict(threading.Lock)


def imported(imports: tuple[str, ...], library: LibraryIndex) -> Imported:
    """The part of an index that these imports load: of `library` (Init and Std) if it has them all, else of the index of their environment.

    The first call with imports of a package exports its modules, which takes minutes; call `imported_soon` in an event loop. If Lean
    cannot export them, this logs a warning and offers the whole library.
    """
    if (found := _at_hand(imports, library)) is not None:
        return found
    with _locks[imports]:
        if imports not in _opened:
            try:
                found = _open(imports)
                _theorems.maps.append(cast("Any", found.index.by_name()))
            except (UserError, LeanError, LeanDied) as e:
                _log.warning("only Init and Std are searched for premises: %s", one_line(str(e)))
                found = Imported(library, frozenset(library.modules))
            _opened[imports] = found
        return _opened[imports]


async def imported_soon(imports: tuple[str, ...], library: LibraryIndex) -> Imported:
    """Call `imported` in a thread, without blocking the event loop. The thread does not keep an interrupted process alive."""
    if (found := _at_hand(imports, library)) is not None:
        return found
    result: Future[Imported] = Future()
    result.set_running_or_notify_cancel()  # from here on it cannot be cancelled

    def work() -> None:
        try:
            result.set_result(imported(imports, library))
        except BaseException as e:
            result.set_exception(e)

    threading.Thread(target=work, name="premises", daemon=True).start()
    return await asyncio.wrap_future(result)


def known_theorems(library: LibraryIndex) -> Mapping[str, Premise]:
    """The theorems of a library, and of every index that this process opens for other imports."""
    return ChainMap(cast("Any", library.by_name()), _theorems)


def _at_hand(imports: tuple[str, ...], library: LibraryIndex) -> Imported | None:
    """The result of `imported`; None if an index must be opened first."""
    if all(m in library.modules for m in imports):
        return Imported(library, library.reachable(imports))
    return _opened.get(imports)


def _open(imports: tuple[str, ...]) -> Imported:
    if all(m.split(".")[0] in SHIPPED for m in imports):
        index = environment_index(sorted(imports))
        return Imported(index, index.reachable(imports))
    path = find_runtime().env.get("LEAN_PATH", "")
    graph = completed(lambda: _graph(imports))
    index = environment_index(sorted(index_roots(graph, own_modules(path), path.split(os.pathsep))))
    return Imported(index, frozenset(graph.keys() & index.modules.keys()))


async def _graph(imports: Sequence[str]) -> dict[str, list[str]]:
    async with LeanServer(find_runtime(), Limits(open_seconds=600)) as server:
        return await module_graph(server, imports)


def index_roots(graph: Mapping[str, Sequence[str]], own: Collection[str], folders: Sequence[str]) -> tuple[str, ...]:
    """The imports of an index for the modules of `graph` (module → its imports) without those of the user's own project.

    These are the modules that no other imports, each replaced by the module of its package's name (`Mathlib`) if a folder has it compiled.
    The files of a project then share one index, and editing the project changes no index.
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
