"""Write constants in the export format of lean4export, version 3.1.0, for other kernels.

The format is NDJSON: a line with its version, then numbered names, levels and expressions, each before its first use, and
declarations, each after its dependencies. `format_ndjson.md` of github.com/leanprover/lean4export specifies it. Name 0 is the
anonymous name and level 0 is the level zero. `nanoda_lib` reads versions from 3.1.0 to before 3.2.0, and requires consecutive
numbers, no duplicates, and a level for each universe parameter, as lean4export writes them.

The input is the answer of the server's command `everything` (Turnstile/Everything.lean).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import msgspec

from prover.lean.declared import NameParts

FORMAT = "3.1.0"
_BINDERS = ("default", "implicit", "strictImplicit", "instImplicit")
_PLAIN = re.compile(r"[^\W\d][\w'!?₀-₉]*")


@dataclass(frozen=True)
class Exported:
    """An export file and its contents."""

    text: bytes
    constants: int
    """Number of constants. Types, constructors and recursors count as one each."""
    axioms: tuple[NameParts, ...]
    """Axioms that Lean declares as such."""
    stand_ins: tuple[NameParts, ...]
    """Library theorems exported as axioms because their proofs are missing."""


def export(entries: Iterable[Sequence[Any]], lean: str, githash: str = "") -> Exported:
    """The export file of these entries. `lean`: the version of their Lean.

    Raises ValueError for an entry that Everything.lean does not write.
    """
    writer = _Writer(lean, githash)
    try:
        for entry in entries:
            writer.put(entry)
    except (LookupError, TypeError, ValueError) as e:
        raise ValueError(f"not an entry of an export: {type(e).__name__}: {str(e)[:100]}") from None
    return Exported(b"\n".join([*writer.lines, b""]), writer.constants, tuple(writer.axioms), tuple(writer.stand_ins))


def axiom_names(name: NameParts) -> set[str]:
    """The two ways to write a name in nanoda's list of permitted axioms: without « and », or with them where needed."""
    quoted = [part if isinstance(part, int) or _PLAIN.fullmatch(part) else f"«{part}»" for part in name]
    return {".".join(map(str, name)), ".".join(map(str, quoted))}


class _Writer:
    def __init__(self, lean: str, githash: str) -> None:
        try:
            version = metadata.version("turnstile-prover")
        except metadata.PackageNotFoundError:
            version = "0"
        about = {
            "exporter": {"name": "turnstile", "version": version},
            "lean": {"githash": githash, "version": lean},
            "format": {"version": FORMAT},
        }
        self.lines = [msgspec.json.encode({"meta": about})]
        self.constants = 0
        self.axioms: list[NameParts] = []
        self.stand_ins: list[NameParts] = []
        self._parts: list[NameParts] = []
        # Entry number → number in the file.
        self._names: list[int] = []
        self._levels: list[int] = []
        self._exprs: list[int] = []
        # Content → number in the file.
        self._known_names: dict[NameParts, int] = {(): 0}
        self._known_levels: dict[Any, int] = {("zero",): 0}
        self._known_exprs: dict[Any, int] = {}

    def put(self, entry: Sequence[Any]) -> None:
        match entry:
            case ["n", *parts]:
                self._parts.append(tuple(parts))
                self._names.append(self._name(tuple(parts)))
            case ["l", *parts]:
                self._levels.append(self._level(parts))
            case ["e", *parts]:
                self._exprs.append(self._expr(parts))
            case ["d", *parts]:
                self._declaration(parts)
            case _:
                raise ValueError(f"unknown entry {entry}")

    # -- names, levels, expressions ------------------------------------------------------------------------------------

    def _name(self, parts: NameParts) -> int:
        number = 0
        for end in range(1, len(parts) + 1):
            kind, field = ("str", "str") if isinstance(parts[end - 1], str) else ("num", "i")
            what = {kind: {"pre": number, field: parts[end - 1]}}
            number = self._numbered(self._known_names, "in", parts[:end], what)
        return number

    def _numbered(self, known: dict[Any, int], tag: str, key: tuple[Any, ...], what: dict[str, Any]) -> int:
        number = known.get(key)
        if number is None:
            number = known[key] = len(known)
            self.lines.append(msgspec.json.encode({tag: number, **what}))
        return number

    def _level(self, parts: Sequence[Any]) -> int:
        match parts:
            case ["z"]:
                return 0
            case ["s", a]:
                return self._new_level("succ", self._levels[a])
            case ["m" | "i" as kind, a, b]:
                return self._new_level("max" if kind == "m" else "imax", (self._levels[a], self._levels[b]))
            case ["p", n]:
                return self._new_level("param", self._names[n])
            case _:
                raise ValueError(f"unknown level {parts}")

    def _new_level(self, kind: str, of: Any) -> int:
        return self._numbered(self._known_levels, "il", (kind, of), {kind: of})

    def _expr(self, parts: Sequence[Any]) -> int:
        names, levels, exprs = self._names, self._levels, self._exprs
        match parts:
            case ["b", i]:
                return self._new_expr("bvar", i)
            case ["s", u]:
                return self._new_expr("sort", levels[u])
            case ["c", n, us]:
                return self._new_expr("const", name=names[n], us=tuple(_get(levels, us)))
            case ["a", f, a]:
                return self._new_expr("app", fn=exprs[f], arg=exprs[a])
            case ["L" | "P" as kind, n, binder, t, b]:
                what = "lam" if kind == "L" else "forallE"
                return self._new_expr(what, name=names[n], type=exprs[t], body=exprs[b], binderInfo=_BINDERS[binder])
            case ["Z", n, t, v, b, bool()]:  # `nondep` is always written as false, as lean4export does
                return self._new_expr("letE", name=names[n], type=exprs[t], value=exprs[v], body=exprs[b], nondep=False)
            case ["j", n, i, b]:
                return self._new_expr("proj", typeName=names[n], idx=i, struct=exprs[b])
            case ["t", str(digits)] if digits.isascii() and digits.isdigit():
                return self._new_expr("natVal", digits)
            case ["u", str(text)]:
                return self._new_expr("strVal", text)
            case _:
                raise ValueError(f"unknown expression {parts}")

    def _new_expr(self, kind: str, of: Any = None, /, **fields: Any) -> int:
        key = (kind, of, *fields.values())
        return self._numbered(self._known_exprs, "ie", key, {kind: fields or of})

    # -- declarations ----------------------------------------------------------------------------------------------------

    def _constant(self, n: int, params: Sequence[int], t: int, **fields: Any) -> dict[str, Any]:
        """The fields of a declaration: those that every declaration has, then `fields`."""
        self.constants += 1
        for p in params:
            self._new_level("param", self._names[p])
        shared = {"name": self._names[n], "levelParams": _get(self._names, params), "type": self._exprs[t]}
        return {**shared, **fields}

    def _declaration(self, parts: Sequence[Any]) -> None:
        names, exprs = self._names, self._exprs
        match parts:
            case ["axiom", int(n), ls, t, bool(stands_in)]:
                (self.stand_ins if stands_in else self.axioms).append(self._parts[n])
                self._write("axiom", self._constant(n, ls, t, isUnsafe=False))
            case ["theorem", n, ls, t, v]:
                self._write("thm", self._constant(n, ls, t, value=exprs[v], all=[names[n]]))
            case ["def", n, ls, t, v, int(hints)]:
                hint = "opaque" if hints == -1 else "abbrev" if hints == -2 else {"regular": hints}
                self._write("def", self._constant(n, ls, t, value=exprs[v], hints=hint, safety="safe", all=[names[n]]))
            case ["opaque", n, ls, t, v]:
                self._write("opaque", self._constant(n, ls, t, value=exprs[v], isUnsafe=False, all=[names[n]]))
            case ["quot", n, ls, t, "type" | "ctor" | "lift" | "ind" as kind]:
                self._write("quot", self._constant(n, ls, t, kind=kind))
            case ["inductive", types, constructors, recursors]:
                family = {
                    "types": [self._type(x) for x in types],
                    "ctors": [self._constructor(x) for x in constructors],
                    "recs": [self._recursor(x) for x in recursors],
                }
                self._write("inductive", family)
            case _:
                raise ValueError(f"unknown declaration {parts}")

    def _write(self, kind: str, fields: dict[str, Any]) -> None:
        self.lines.append(msgspec.json.encode({kind: fields}))

    def _type(self, parts: Sequence[Any]) -> dict[str, Any]:
        n, ls, t, params, indices, family, ctors, nested, recursive, reflexive = parts
        return self._constant(n, ls, t) | {
            "numParams": params,
            "numIndices": indices,
            "all": _get(self._names, family),
            "ctors": _get(self._names, ctors),
            "numNested": nested,
            "isRec": recursive,
            "isUnsafe": False,
            "isReflexive": reflexive,
        }

    def _constructor(self, parts: Sequence[Any]) -> dict[str, Any]:
        n, ls, t, induct, index, params, fields = parts
        return self._constant(n, ls, t) | {
            "induct": self._names[induct],
            "cidx": index,
            "numParams": params,
            "numFields": fields,
            "isUnsafe": False,
        }

    def _recursor(self, parts: Sequence[Any]) -> dict[str, Any]:
        n, ls, t, family, params, indices, motives, minors, rules, k = parts
        return self._constant(n, ls, t) | {
            "all": _get(self._names, family),
            "numParams": params,
            "numIndices": indices,
            "numMotives": motives,
            "numMinors": minors,
            "rules": [{"ctor": self._names[c], "nfields": fields, "rhs": self._exprs[e]} for c, fields, e in rules],
            "k": k,
            "isUnsafe": False,
        }


def _get(known: Sequence[int], numbers: Sequence[int]) -> list[int]:
    return [known[n] for n in numbers]
