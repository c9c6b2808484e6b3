"""A stand-in for nanoda_bin, which cannot be built where the tests run. It checks no proof.

It reads its configuration as nanoda does, and an export file as strictly as lean4export's `format_ndjson.md` (3.1.0) and nanoda's
parser are about it: fields and their types, consecutive numbers, nothing twice, everything before its first use. Then it does what
its first argument says: `accept`, `refuse:NAME` where the export declares NAME, `decline`, `abort`, `sleep`, `skip` (say that only one
declaration was checked), `silent` (say nothing).

Run alone it needs the standard library only, since it runs in the seal.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable
from typing import Any

NAT, BOOL, STR, NATS = "nat", "bool", "str", "nats"
BINDER = {"default", "implicit", "strictImplicit", "instImplicit"}
EXPRS: dict[str, Any] = {
    "bvar": NAT,
    "sort": NAT,
    "const": {"name": NAT, "us": NATS},
    "app": {"fn": NAT, "arg": NAT},
    "lam": {"name": NAT, "type": NAT, "body": NAT, "binderInfo": BINDER},
    "forallE": {"name": NAT, "type": NAT, "body": NAT, "binderInfo": BINDER},
    "letE": {"name": NAT, "type": NAT, "value": NAT, "body": NAT, "nondep": BOOL},
    "proj": {"typeName": NAT, "idx": NAT, "struct": NAT},
    "natVal": STR,
    "strVal": STR,
}
BASE = {"name": NAT, "levelParams": NATS, "type": NAT}
VALUED = BASE | {"value": NAT, "all": NATS}
DECLARATIONS: dict[str, Any] = {
    "axiom": BASE | {"isUnsafe": BOOL},
    "def": VALUED | {"hints": "hints", "safety": {"unsafe", "safe", "partial"}},
    "opaque": VALUED | {"isUnsafe": BOOL},
    "thm": VALUED,
    "quot": BASE | {"kind": {"type", "ctor", "lift", "ind"}},
}
TYPE = BASE | {"numParams": NAT, "numIndices": NAT, "all": NATS, "ctors": NATS, "numNested": NAT}
TYPE |= {"isRec": BOOL, "isUnsafe": BOOL, "isReflexive": BOOL}
CTOR = BASE | {"induct": NAT, "cidx": NAT, "numParams": NAT, "numFields": NAT, "isUnsafe": BOOL}
REC = BASE | {
    "all": NATS,
    "numParams": NAT,
    "numIndices": NAT,
    "numMotives": NAT,
    "numMinors": NAT,
    "rules": "rules",
    "k": BOOL,
}
REC |= {"isUnsafe": BOOL}
RULE = {"ctor": NAT, "nfields": NAT, "rhs": NAT}
META = {"exporter": {"name": STR, "version": STR}, "lean": {"githash": STR, "version": STR}, "format": {"version": STR}}


class Bad(Exception):
    """The file breaks the format."""


def fits(value: Any, shape: Any) -> bool:
    if isinstance(shape, dict):
        return isinstance(value, dict) and set(value) == set(shape) and all(fits(value[k], s) for k, s in shape.items())
    if isinstance(shape, set):
        return value in shape
    if shape == NAT:
        return type(value) is int and value >= 0
    if shape == NATS:
        return isinstance(value, list) and all(fits(x, NAT) for x in value)
    if shape == "hints":
        return value in ("opaque", "abbrev") or fits(value, {"regular": NAT})
    if shape == "rules":
        return isinstance(value, list) and all(fits(x, RULE) for x in value)
    return type(value) is (bool if shape == BOOL else str)


def digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


class Reader:
    """What an export file says. Levels and expressions are digests of their structure, so that equal ones are equal."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.names: list[tuple[str | int, ...]] = [()]
        self.levels = [digest("zero")]
        self.exprs: list[str] = []
        self.uses: list[frozenset[Any]] = []
        """Constants that an expression mentions."""
        self.loose: list[int] = []
        self.constants: dict[tuple[str | int, ...], tuple[Any, ...]] = {}
        self.axioms: list[str] = []
        self.meta: dict[str, Any] = {}
        self._params = set()
        for number, line in enumerate(lines):
            try:
                self.line(number, json.loads(line, object_pairs_hook=once))
            except (Bad, ValueError, IndexError) as e:
                raise Bad(f"line {number + 1}: {e}: {line[:200]}") from None

    def line(self, number: int, item: dict[str, Any]) -> None:
        if (number == 0) != ("meta" in item):
            raise Bad("the first line, and no other, is the meta object")
        if number == 0:
            self.need(fits(item, {"meta": META}), "meta")
            self.meta = item["meta"]
            self.need("3.1.0" <= self.meta["format"]["version"] < "3.2.0", "version")
            return
        tag = next((t for t in ("in", "il", "ie") if t in item), None)
        index = item.pop(tag) if tag else None
        self.need(len(item) == 1, "one object a line")
        (kind, value), *_ = item.items()
        if tag is None:
            self.declaration(kind, value)
            return
        into = {"in": self.names, "il": self.levels, "ie": self.exprs}[tag]
        made = {"in": self.name, "il": self.level, "ie": self.expr}[tag](kind, value)
        self.need(made not in self._seen(tag), "twice")
        self._seen(tag).add(made)
        self.need(index == len(into), f"number {index} is not {len(into)}")
        into.append(made)

    def _seen(self, tag: str) -> set[Any]:
        sets = self.__dict__.setdefault("_sets", {"in": {()}, "il": {digest("zero")}, "ie": set()})
        return sets[tag]

    def need(self, true: bool, what: str) -> None:
        if not true:
            raise Bad(what)

    def name(self, kind: str, value: Any) -> tuple[str | int, ...]:
        self.need(
            fits(
                {kind: value}, {"str": {"pre": NAT, "str": STR}} if kind == "str" else {"num": {"pre": NAT, "i": NAT}}
            ),
            "name",
        )
        return (*self.names[value["pre"]], value["str" if kind == "str" else "i"])

    def level(self, kind: str, value: Any) -> str:
        if kind in ("max", "imax"):
            self.need(fits(value, NATS) and len(value) == 2, "level")
            return digest(kind, *(self.levels[x] for x in value))
        self.need(kind in ("succ", "param") and fits(value, NAT), "level")
        if kind == "param":
            self._params.add(self.names[value])
            return digest(kind, self.names[value])
        return digest(kind, self.levels[value])

    def expr(self, kind: str, value: Any) -> str:
        self.need(kind in EXPRS and fits(value, EXPRS[kind]), "expression")
        uses, loose = frozenset(), 0
        if kind in ("lam", "forallE", "letE"):
            below = [value[k] for k in ("type", "value", "body") if k in value]
            uses = frozenset().union(*(self.uses[x] for x in below))
            loose = max([self.loose[x] for x in below[:-1]] + [self.loose[below[-1]] - 1, 0])
            rest = [value["binderInfo"]] if "binderInfo" in value else []
            made = digest(kind, self.names[value["name"]], *(self.exprs[x] for x in below), *rest)
        elif kind == "app":
            below = [value["fn"], value["arg"]]
            uses, loose = self.uses[below[0]] | self.uses[below[1]], max(self.loose[x] for x in below)
            made = digest(kind, *(self.exprs[x] for x in below))
        elif kind == "proj":
            uses, loose = self.uses[value["struct"]], self.loose[value["struct"]]
            made = digest(kind, self.names[value["typeName"]], value["idx"], self.exprs[value["struct"]])
        elif kind == "const":
            uses = frozenset([self.names[value["name"]]])
            made = digest(kind, self.names[value["name"]], *(self.levels[x] for x in value["us"]))
        elif kind == "sort":
            made = digest(kind, self.levels[value])
        else:
            if kind == "natVal":
                self.need(value.isascii() and value.isdigit(), "natVal")
                uses = frozenset([("Nat",)])
            elif kind == "strVal":
                uses = frozenset([("String", "ofList"), ("Char", "ofNat")])
            loose = value + 1 if kind == "bvar" else 0
            made = digest(kind, value)
        self.uses.append(uses)
        self.loose.append(loose)
        return made

    def closed(self, expr: int, known: Iterable[Any] = ()) -> str:
        self.need(self.loose[expr] == 0, "a loose bound variable")
        missing = [n for n in self.uses[expr] if n not in self.constants and n not in set(known)]
        self.need(not missing, f"mentions {missing[:1]}, which is not declared before")
        return self.exprs[expr]

    def declaration(self, kind: str, value: Any) -> None:
        if kind == "inductive":
            self.family(value)
            return
        self.need(kind in DECLARATIONS and fits(value, DECLARATIONS[kind]), "declaration")
        self.need(not value.get("isUnsafe") and value.get("safety", "safe") == "safe", "unsafe")
        more = [self.closed(value["value"])] if "value" in value else []
        more += [json.dumps(value[k]) for k in ("hints", "kind") if k in value]
        self.add(kind, value, *more)
        if kind == "axiom":
            self.axioms.append(".".join(map(str, self.names[value["name"]])))

    def add(self, kind: str, value: Any, *more: Any, known: Iterable[Any] = ()) -> None:
        name = self.names[value["name"]]
        self.need(name not in self.constants and name != (), "declared twice")
        params = [self.names[x] for x in value["levelParams"]]
        self.need(set(params) <= self._params and len(set(params)) == len(params), "a parameter without its level")
        self.constants[name] = (kind, *params, self.closed(value["type"], known), *more)

    def family(self, value: Any) -> None:
        self.need(isinstance(value, dict) and set(value) == {"types", "ctors", "recs"}, "family")
        for part, shape in (("types", TYPE), ("ctors", CTOR), ("recs", REC)):
            self.need(isinstance(value[part], list) and all(fits(x, shape) for x in value[part]), part)
            self.need(not any(x["isUnsafe"] for x in value[part]), "unsafe")
        own = [self.names[x["name"]] for part in ("types", "ctors", "recs") for x in value[part]]
        all_types = [x["name"] for x in value["types"]]
        self.need(bool(all_types) and all(x["all"] == all_types for x in value["types"]), "all")
        self.need([c for x in value["types"] for c in x["ctors"]] == [c["name"] for c in value["ctors"]], "ctors")
        for x in value["types"]:
            self.add("type", x, *(json.dumps(x[k]) for k in sorted(set(x) - set(BASE) - {"all", "ctors"})), known=own)
        for x in value["ctors"]:
            parent = next(t for t in value["types"] if t["name"] == x["induct"])
            self.need(parent["ctors"].index(x["name"]) == x["cidx"] and parent["numParams"] == x["numParams"], "ctor")
            self.add("ctor", x, *(json.dumps(x[k]) for k in ("cidx", "numParams", "numFields")), known=own)
        self.need(len(value["recs"]) == len(all_types) + value["types"][0]["numNested"], "recs")
        for x in value["recs"]:
            rules = [digest(self.names[r["ctor"]], r["nfields"], self.closed(r["rhs"], own)) for r in x["rules"]]
            numbers = (json.dumps(x[k]) for k in ("numParams", "numIndices", "numMotives", "numMinors", "k"))
            self.add("rec", x, *rules, *numbers, known=own)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise Bad("a key twice")
    return dict(pairs)


def panic(what: str) -> None:
    print(
        f"\nthread 'main' panicked at src/tc.rs:1:2:\n{what}\nnote: run with `RUST_BACKTRACE=1` environment variable",
        file=sys.stderr,
    )
    sys.exit(101)


def main(do: str, config: str) -> None:
    if config in ("-h", "--help"):
        print("nanoda_bin 0.0.0-stand-in\n\nA stand-in for tests")
        return
    with open(config, encoding="utf-8") as f:
        options = json.load(f)
    assert options["nat_extension"] and options["string_extension"] and not options["use_stdin"]
    with open(options["export_file_path"], encoding="utf-8") as f:
        try:
            reader = Reader(f)
        except Bad as e:
            panic(f"format: {e}")
            raise
    for name in reader.axioms:
        if name not in options["permitted_axioms"] and options["unpermitted_axiom_hard_error"]:
            print(
                f'Error: export file declares unpermitted axiom "{name}"\n\nrun with `-h` or `--help` for help',
                file=sys.stderr,
            )
            sys.exit(1)
    if do == "abort":
        os.abort()
    if do == "sleep":
        time.sleep(60)
    if do == "decline":
        print("Declined: not today", file=sys.stderr)
        sys.exit(2)
    if do.startswith("refuse:") and tuple(do.removeprefix("refuse:").split(".")) in reader.constants:
        panic("assertion failed: self.def_eq(u, v)")
    if do != "silent":
        print(f"Checked {1 if do == 'skip' else len(reader.constants)} declarations with no errors")


if __name__ == "__main__":
    main(*sys.argv[1:])
