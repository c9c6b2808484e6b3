"""The library's theorems as data: name, type, module, constants, attributes, shape; exported by Lean once and cached.

The index covers the whole of Init and Std. What one theorem may use is a subset of it: the modules that its own imports
reach (`reachable`), which cannot contain the theorem itself or anything proved from it; theorems that have an alias there are no
tasks (curricula/library.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from functools import cache
from pathlib import Path

import msgspec

from prover.lean.embedded.install import cache_dir
from prover.lean.server import WHOLE_LIBRARY, LeanServer

FORMAT = 5

_GENERATED = re.compile(
    r"(^|\.)(eq_\d+|eq_def|eq_unfold|injEq|inj|sizeOf_spec|noConfusion\w*|congr_simp|hcongr_\d+|induct\w*|proof_\d+|"
    r"match_\d+\S*|fun_cases\w*|mutual_induct\w*|ofNat_toCtorIdx|toCtorIdx\S*|ctorIdx\S*|brecOn\S*|below\S*|rec\S*Aux)$"
)


class Premise(msgspec.Struct, frozen=True, array_like=True):
    """A library theorem."""

    name: str
    module: str
    head: str
    """Head symbol of the conclusion."""
    sides: tuple[str, str]
    """Head symbols of an equation's or equivalence's sides; `[anonymous]` where there are none, or a side begins with a variable."""
    explicit: int
    """How many explicit arguments it takes."""
    below: bool
    """Whether its statement mentions no constant of its own module."""
    constants: tuple[str, ...]
    type: str = ""
    """Its statement as Lean prints it."""
    attributes: tuple[str, ...] = ()
    """Of `simp`, `grind`, `ext` (as far as its own module says so), `defeq` (holds by `rfl`: `dsimp` may use it), `deprecated`."""

    @property
    def signature(self) -> str:
        """Its type on one line, without the implicit arguments that it begins with: what a reader chooses by."""
        text = " ".join(self.type.split())
        if not text.startswith("∀ "):
            return text
        kept: list[str] = []
        at = 2
        while at < len(text) and text[at] in "{[(⦃":
            end = _closing(text, at)
            if text[at] == "(":
                kept.append(text[at:end])
            at = end + (text[end : end + 1] == " ")
        # What is left is the comma, or plain names before it.
        rest = text[at:]
        if rest.startswith(", "):
            return f"∀ {' '.join(kept)}, {rest[2:]}" if kept else rest[2:]
        return f"∀ {' '.join([*kept, rest])}"

    @property
    def rewrites(self) -> bool:
        return self.head in ("Eq", "Iff")


def _closing(text: str, at: int) -> int:
    """The place after the bracket that closes the one at `at`."""
    depth = 0
    for i in range(at, len(text)):
        depth += (text[i] in "{[(⦃") - (text[i] in "}])⦄")
        if depth == 0:
            return i + 1
    return len(text)


class ModuleInfo(msgspec.Struct, frozen=True, array_like=True):
    imports: tuple[str, ...]
    theorems: tuple[Premise, ...]


class LibraryIndex(msgspec.Struct, frozen=True):
    """Every module of the library with its imports and theorems."""

    lean: str
    modules: dict[str, ModuleInfo]

    def by_name(self) -> dict[str, Premise]:
        """Every theorem."""
        return {p.name: p for info in self.modules.values() for p in info.theorems}

    def reachable(self, imports: tuple[str, ...]) -> frozenset[str]:
        """Modules that importing `imports` brings in."""
        seen: set[str] = set()
        stack = list(imports)
        while stack:
            m = stack.pop()
            if m not in seen and m in self.modules:
                seen.add(m)
                stack.extend(self.modules[m].imports)
        return frozenset(seen)


def is_generated(name: str) -> bool:
    """Whether Lean made this theorem by itself (equation lemmas, injectivity …), or it is internal."""
    return bool(_GENERATED.search(name)) or "✝" in name or any(p.startswith("_") for p in name.split("."))


def environment_hash(lean: str) -> str:
    """Of what an index is made from: the Lean by its name (version and kind), the modules, and what is exported of them."""
    return hashlib.sha256(f"{lean} {' '.join(WHOLE_LIBRARY)} {FORMAT}".encode()).hexdigest()[:12]


def _path(lean: str) -> Path:
    return cache_dir() / f"library-{environment_hash(lean)}.msgpack"


def load_cached(lean: str) -> LibraryIndex | None:
    """The index made earlier for this Lean, or None."""
    try:
        return msgspec.msgpack.decode(_path(lean).read_bytes(), type=LibraryIndex)
    except (OSError, msgspec.DecodeError):
        return None


async def build(server: LeanServer) -> LibraryIndex:
    """Ask Lean for the whole library (two minutes or three), and cache it."""
    whole = list(WHOLE_LIBRARY)
    names = (await server.command("modules", whole=whole))["modules"]
    modules: dict[str, ModuleInfo] = {}
    for name in names:
        if not name.startswith(("Init", "Std")):
            continue
        answer = (await server.command("module", whole=whole, module=name))["module"]
        theorems = tuple(
            Premise(row[0], name, row[1], tuple(row[2]), row[3], row[4], tuple(row[5]), row[6], tuple(row[7]))  # type: ignore[arg-type]
            for row in answer["theorems"]
            if not is_generated(row[0])
        )
        modules[name] = ModuleInfo(tuple(answer["imports"]), theorems)
    index = LibraryIndex(server.runtime.name, modules)
    target = _path(server.runtime.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_bytes(msgspec.msgpack.encode(index))
    os.replace(scratch, target)
    return index


def library_index(lean: str | None = None) -> LibraryIndex:
    """The cached index, or a new one from a Lean process of its own."""
    from prover.lean.runtime import find_runtime

    runtime = find_runtime()
    if (index := load_cached(lean or runtime.name)) is not None:
        return index

    async def make() -> LibraryIndex:
        async with LeanServer(runtime) as server:
            return await build(server)

    return asyncio.run(make())


@cache
def library_premises() -> dict[str, Premise]:
    """Every theorem of the library by name; made once a process."""
    return library_index().by_name()
