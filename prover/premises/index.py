"""The premise index of an environment. Lean exports each module once; modules and indexes are cached by hash."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from prover.concurrency import completed
from prover.console import say
from prover.errors import UserError
from prover.files import cache_dir, making, write_whole
from prover.lean.project import SHIPPED
from prover.lean.runtime import LeanRuntime, find_runtime
from prover.lean.server import WHOLE_LIBRARY, LeanError, LeanServer, Limits
from prover.premises.library import LibraryIndex, ModuleInfo
from prover.premises.premise import Premise, is_generated

__all__ = ["LibraryIndex", "ModuleInfo", "Premise", "is_generated"]

FORMAT = 6

_RESTART_MB = 1600
"""Memory in MiB at which an embedded Lean is replaced. It dies at about 2,300."""
_ALONE = 50
"""Maximum number of modules that one process exports alone. For more, a second process helps if there is a core for it."""


def environment_hash(lean: str, imports: Sequence[str] = WHOLE_LIBRARY, folders: Sequence[str] = ()) -> str:
    """Hash of everything that determines an index: the Lean (version and kind), the imports, and the folders of compiled modules."""
    return _hash(lean, *imports, "", *folders)


def load_cached(lean: str, imports: Sequence[str] = WHOLE_LIBRARY, folders: Sequence[str] = ()) -> LibraryIndex | None:
    """The cached index, or None if there is none or if a compiled module outside Lean has changed since."""
    try:
        index = LibraryIndex.load(_path(lean, imports, folders))
        fresh = all(_stamp(_compiled(module, folders)) == stamp for module, stamp in index.about["files"].items())
    except (OSError, ValueError, KeyError, UserError):
        return None
    return index if fresh else None


def environment_index(imports: Sequence[str] = WHOLE_LIBRARY) -> LibraryIndex:
    """The index of all modules that `imports` reach: from the cache, or exported by a Lean process of its own.

    Raises UserError if Lean cannot import them.
    """
    runtime = find_runtime()
    wanted = (runtime.name, tuple(imports), _outside(runtime, imports))
    if (index := load_cached(*wanted)) is not None:
        return index

    async def make() -> LibraryIndex:
        async with LeanServer(runtime, Limits(open_seconds=600)) as server:
            return await build(server, imports)

    with making(_path(*wanted)):  # other processes wait for the first
        try:
            if (index := load_cached(*wanted)) is not None:
                return index
            names = ", ".join(imports)
            say(
                f"turnstile: reading the declarations of {names} for premises, once for this Lean; a library takes minutes"
            )
            return completed(make)
        except LeanError as e:
            raise UserError(f"the premises of {', '.join(imports)}: {e}") from None


def library_index() -> LibraryIndex:
    """The index of Init and Std. Exporting it takes some minutes."""
    return environment_index()


@cache
def library_premises() -> Mapping[str, Premise]:
    """Every theorem of Init and Std by name, cached per process."""
    return library_index().by_name()


async def build(server: LeanServer, imports: Sequence[str] = WHOLE_LIBRARY) -> LibraryIndex:
    """Export the modules of an environment that are not cached, and cache the index. Raises LeanError or UserError."""
    lean, folders = server.runtime.name, _folders(server.runtime)
    library = await module_graph(server, WHOLE_LIBRARY)
    graph = await module_graph(server, imports)
    keys: dict[str, str] = {}
    files: dict[str, list[Any]] = {}
    for name, needs in graph.items():
        digest = ""
        if (file := _compiled(name, folders)) is not None:
            files[name] = _stamp(file)
            with file.open("rb") as f:
                digest = hashlib.file_digest(f, "sha256").hexdigest()
        keys[name] = _hash(lean, name, digest, *(keys[n] for n in needs))
    found = {name: premises for name, key in keys.items() if (premises := _cached_module(key)) is not None}
    waiting = iter([name for name in keys if name not in found])

    async def export(server: LeanServer) -> None:
        for name in waiting:  # the processes share it
            # Init and Std are exported without other imports, whose notation could change how types print.
            found[name] = await _exported(server, WHOLE_LIBRARY if name in library else imports, name, keys[name])

    async with AsyncExitStack() as stack:
        servers = [server]
        if len(keys) - len(found) > _ALONE and (os.cpu_count() or 1) > 1:
            with suppress(UserError):  # one process suffices
                servers.append(await stack.enter_async_context(LeanServer(server.runtime, server.limits)))
        await asyncio.gather(*(export(s) for s in servers))
    modules = {
        name: ModuleInfo(
            tuple(needs),
            tuple(p for p in found[name] if p.kind == "theorem"),
            tuple(p for p in found[name] if p.kind != "theorem"),
        )
        for name, needs in graph.items()
    }
    path = _path(lean, imports, _outside(server.runtime, imports))
    LibraryIndex(lean, modules).save(path, files=files)
    return LibraryIndex.load(path)


async def module_graph(server: LeanServer, imports: Sequence[str]) -> dict[str, list[str]]:
    """The imports of each module of an environment. Each module comes after its imports."""
    return dict((await server.command("modules", imports=list(imports)))["modules"])


def _module_file(key: str) -> Path:
    return cache_dir() / "premises" / "modules" / key[:2] / f"{key}.msgpack"


def _cached_module(key: str) -> list[Premise] | None:
    """The declarations of a module from the cache, or None."""
    try:
        return msgspec.msgpack.decode(_module_file(key).read_bytes(), type=list[Premise])
    except (OSError, msgspec.DecodeError):
        return None


async def _exported(server: LeanServer, imports: Sequence[str], module: str, key: str) -> list[Premise]:
    """The declarations of a module from Lean, which are then cached."""
    if server.runtime.kind == "embedded" and server.own_mb() > _RESTART_MB:
        await server.restart()
    request: dict[str, Any] = {"imports": list(imports), "module": module}
    candidates = (await server.command("module", **request))["module"]
    # Lean's time goes into printing types, and a fifth of the candidates are generated.
    chosen = [[place, name, kind] for place, name, kind in candidates if not is_generated(name, kind)]
    rows = (await server.command("module", **request, chosen=chosen))["module"] if chosen else []
    found = [
        Premise(name, module, head, tuple(sides), explicit, below, tuple(constants), type_, tuple(attributes), kind)
        for name, head, sides, explicit, below, constants, type_, attributes, kind in rows
    ]
    path = _module_file(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, msgspec.msgpack.encode(found))
    return found


def _is_shipped(module: str) -> bool:
    return module.split(".")[0] in SHIPPED


def _compiled(module: str, folders: Sequence[str]) -> Path | None:
    """The compiled file of a module outside Lean; None for Lean's own. Raises UserError if there is none."""
    part = module.replace(".", "/") + ".olean"
    found = next((file for folder in folders if (file := Path(folder) / part).is_file()), None)
    if _is_shipped(module) and found is not None:
        raise UserError(f"{found}: stands before a module of Lean; take its folder out of LEAN_PATH")
    if not _is_shipped(module) and found is None:
        raise UserError(f"{module}: no compiled file of this module in the folders of LEAN_PATH")
    return found


def _folders(runtime: LeanRuntime) -> tuple[str, ...]:
    return tuple(filter(None, runtime.env.get("LEAN_PATH", "").split(os.pathsep)))


def _outside(runtime: LeanRuntime, imports: Sequence[str]) -> tuple[str, ...]:
    """The folders of LEAN_PATH in which Lean finds these imports; empty for modules of Lean itself."""
    return () if all(map(_is_shipped, imports)) else _folders(runtime)


def _stamp(file: Path | None) -> list[Any]:
    status = file.stat() if file is not None else None
    return [str(file), status.st_size, status.st_mtime_ns, status.st_ino] if status else []


def _path(lean: str, imports: Sequence[str], folders: Sequence[str]) -> Path:
    return cache_dir() / "premises" / f"{environment_hash(lean, imports, folders)}.columns"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join((str(FORMAT), *parts)).encode()).hexdigest()[:32]
