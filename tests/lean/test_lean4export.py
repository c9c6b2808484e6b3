"""Export files in lean4export's format: hand-written examples of the format, and real exports read back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_nanoda import Bad, Reader, digest

from prover.lean.checkers.lean4export import FORMAT, axiom_names, export
from prover.lean.judges import Place

NAT_SUCC = [
    ["n", "T"],
    ["l", "z"],
    ["l", "s", 0],
    ["e", "s", 1],
    ["e", "c", 0, []],
    ["n", "T", "mk"],
    ["n", "x"],
    ["n", "T", "rec"],
    ["n", "u", 7],
    ["l", "p", 4],
    ["e", "s", 0],
    ["d", "axiom", 1, [4], 1, False],
]


def lines(entries: list[Any]) -> list[Any]:
    return [json.loads(line) for line in export(entries, "4.28.0", "abc").text.decode().splitlines()]


def test_an_example_by_hand():
    meta, *rest = lines(NAT_SUCC)
    assert meta["meta"]["format"] == {"version": FORMAT} and meta["meta"]["lean"] == {
        "version": "4.28.0",
        "githash": "abc",
    }
    assert rest == [
        {"in": 1, "str": {"pre": 0, "str": "T"}},
        {"il": 1, "succ": 0},
        {"ie": 0, "sort": 1},
        {"ie": 1, "const": {"name": 1, "us": []}},
        {"in": 2, "str": {"pre": 1, "str": "mk"}},
        {"in": 3, "str": {"pre": 0, "str": "x"}},
        {"in": 4, "str": {"pre": 1, "str": "rec"}},
        {"in": 5, "str": {"pre": 0, "str": "u"}},
        {"in": 6, "num": {"pre": 5, "i": 7}},
        {"il": 2, "param": 6},
        {"ie": 2, "sort": 0},
        {"axiom": {"name": 2, "levelParams": [6], "type": 1, "isUnsafe": False}},
    ]


# From examples/Nat.add_succ.ndjson of leanprover/lean4export, with the field names of format 3.1.0.
NAT_TYPE = {
    "name": 1,
    "levelParams": [],
    "type": 0,
    "numParams": 0,
    "numIndices": 0,
    "all": [1],
    "ctors": [2, 3],
    "numNested": 0,
}
NAT_TYPE |= {"isRec": True, "isUnsafe": False, "isReflexive": False}
NAT_ZERO = {
    "name": 2,
    "levelParams": [],
    "type": 1,
    "induct": 1,
    "cidx": 0,
    "numParams": 0,
    "numFields": 0,
    "isUnsafe": False,
}


@pytest.mark.lean
def test_nat_is_as_lean4export_writes_it(nat):
    first, *_ = (json.loads(line)["inductive"] for line in nat.decode().splitlines() if line.startswith('{"inductive"'))
    assert first["types"] == [NAT_TYPE] and first["ctors"][0] == NAT_ZERO
    (rec,) = first["recs"]
    assert (rec["numMotives"], rec["numMinors"], rec["k"], rec["levelParams"]) == (1, 2, False, [6])
    assert [(r["ctor"], r["nfields"]) for r in rec["rules"]] == [(2, 0), (3, 1)]


@pytest.fixture
def nat(loop, auditor):
    return loop.run(exported(auditor, "theorem t : 2 = 2 := rfl")).text


async def entries_of(auditor, source: str, root: str = "t") -> list[Any]:
    report = await auditor.judges.text(Place(), source=source, file="x", trees=True)
    answer = await auditor.judges.check(
        "everything", imports=("Init",), entries=report.entries, deep=False, roots=[[root]]
    )
    return answer["entries"]


async def exported(auditor, source: str):
    return export(await entries_of(auditor, source), "4.28.0")


SOURCES = {
    "omega": "theorem t (a b : Nat) (h : a < b) : a < b + 1 := by omega",
    "literals": 'theorem t : "añ𝔸" ≠ "b" ∧ 12345678901234567890123 ≠ (1 : Nat) := by decide',
    "let": "def t : Nat := let x := 3; have y := x; y",
    "mutual": """mutual
inductive E : Nat → Prop | z : E 0 | s : O n → E (n+1)
inductive O : Nat → Prop | s : E n → O (n+1)
end
theorem t : E 2 := .s (.s .z)""",
    "nested": """inductive Tree (α : Type u) | node : α → List (Tree α) → Array (Tree α) → Tree α
theorem t : (Tree.node 1 [] #[]) = Tree.node 1 [] #[] := rfl""",
    "structure": "structure S (α : Type u) where\n  a : α\n  b : Nat\ntheorem t (s : S α) : s = ⟨s.a, s.b⟩ := rfl",
    "quotient": "theorem t (r : α → α → Prop) (h : r a b) : Quot.mk r a = Quot.mk r b := Quot.sound h",
    "recursion": "def f : Nat → Nat\n  | 0 => 0\n  | n + 1 => f (n / 2)\ntheorem t : f 0 = 0 := by simp [f]",
    "opaque": "opaque c : Nat\ntheorem t : c = c := rfl",
    "reflexive": "inductive W (α : Type u) (β : α → Type v) | sup (a : α) (f : β a → W α β) : W α β\ntheorem t (a : W α β) : a = a := rfl",
}


@pytest.mark.lean
@pytest.mark.parametrize("what", SOURCES)
def test_real_exports_are_read_back(loop, auditor, what):
    """The reader refuses a file that breaks the format or leaves out something that a constant mentions."""
    entries = loop.run(entries_of(auditor, SOURCES[what]))
    made = export(entries, "4.28.0")
    reader = Reader(made.text.decode().splitlines())
    assert ("t",) in reader.constants and len(reader.constants) == made.constants
    assert set(reader.axioms) == {".".join(map(str, n)) for n in (*made.axioms, *made.stand_ins)}
    names, exprs = resolved(entries)
    for entry in entries:
        if entry[0] == "d" and entry[1] in ("axiom", "theorem", "def", "opaque", "quot"):
            _, *params_type_more = reader.constants[names[entry[2]]]
            count = len(entry[3])
            assert (
                params_type_more[:count] == [names[p] for p in entry[3]] and params_type_more[count] == exprs[entry[4]]
            )
            if entry[1] in ("theorem", "def", "opaque"):
                assert params_type_more[count + 1] == exprs[entry[5]]
    if what == "quotient":
        assert made.axioms == (("Quot", "sound"),) and ("Quot", "lift") in reader.constants
    if what == "nested":
        assert ("Tree", "rec_1") in reader.constants


def resolved(entries: list[Any]) -> tuple[list[tuple[Any, ...]], list[str]]:
    """Names and digests of expressions, straight from the entries."""
    names: list[tuple[Any, ...]] = []
    levels: list[str] = []
    exprs: list[str] = []
    binders = ("default", "implicit", "strictImplicit", "instImplicit")
    kinds = {"z": "zero", "s": "succ", "m": "max", "i": "imax"}
    for tag, *p in entries:
        if tag == "n":
            names.append(tuple(p))
        elif tag == "l":
            levels.append(
                digest("param", names[p[1]]) if p[0] == "p" else digest(kinds[p[0]], *(levels[x] for x in p[1:]))
            )
        elif tag == "e":
            match p:
                case ["b", i]:
                    exprs.append(digest("bvar", i))
                case ["s", u]:
                    exprs.append(digest("sort", levels[u]))
                case ["c", n, us]:
                    exprs.append(digest("const", names[n], *(levels[u] for u in us)))
                case ["a", f, a]:
                    exprs.append(digest("app", exprs[f], exprs[a]))
                case ["L" | "P" as k, n, bi, t, b]:
                    exprs.append(digest("lam" if k == "L" else "forallE", names[n], exprs[t], exprs[b], binders[bi]))
                case ["Z", n, t, v, b, _]:
                    exprs.append(digest("letE", names[n], exprs[t], exprs[v], exprs[b]))
                case ["j", n, i, b]:
                    exprs.append(digest("proj", names[n], i, exprs[b]))
                case ["t", x]:
                    exprs.append(digest("natVal", x))
                case ["u", x]:
                    exprs.append(digest("strVal", x))
    return names, exprs


def test_terms_that_differ_only_in_nondep_are_one():
    common = [["n", "x"], ["l", "z"], ["e", "s", 0], ["e", "b", 0]]
    made = lines([*common, ["e", "Z", 0, 0, 0, 1, True], ["e", "Z", 0, 0, 0, 1, False], ["e", "a", 2, 3]])
    assert made[-2:] == [
        {"ie": 2, "letE": {"name": 1, "type": 0, "value": 0, "body": 1, "nondep": False}},
        {"ie": 3, "app": {"fn": 2, "arg": 2}},
    ]


@pytest.mark.parametrize(
    "entries",
    [
        [["e", "c", 0, []]],
        [["e", "a", 0, 0]],
        [["l", "s", 3]],
        [["l", "?"]],
        [["e", "?"]],
        [["e", "t", "-1"]],
        [["d", "theorem", 0]],
        [["x"]],
        ["n"],
        [["n", "a"], ["d", "inductive", [[0]], [], []]],
    ],
)
def test_an_invalid_entry_is_refused(entries):
    with pytest.raises(ValueError, match="export"):
        export(entries, "4.28.0")


def test_names_of_axioms():
    assert axiom_names(("Quot", "sound")) == {"Quot.sound"}
    assert axiom_names(("_private", "Init", 0, "a b")) == {"_private.Init.0.a b", "_private.Init.0.«a b»"}


def test_a_long_name():
    assert len(lines([["n", *["a"] * 3000]])) == 3001


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"in": 2, "str": {"pre": 0, "str": "x"}}', "number 2"),
        ('{"in": 1, "str": {"pre": 0, "str": "x", "more": 1}}', "name"),
        ('{"ie": 0, "sort": 4}', "index"),
        ('{"ie": 0, "mdata": {"expr": 0, "data": {}}}', "expression"),
        ('{"ie": 0, "natVal": 3}', "expression"),
    ],
)
def test_the_reader_is_strict(line, why):
    meta = export([], "4.28.0").text.decode().strip()
    with pytest.raises(Bad, match=why):
        Reader([meta, line])
