"""A run on theorems of the user's own files: training and held-out splits, and false statements."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import get_args

import pytest

from curricula.library import HeldOutLeak, Split, split_of
from prover.errors import UserError
from prover.premises.index import LibraryIndex
from prover.solve.ledger import Attempt, Ledger
from rl import buffer, config
from rl.config import TheoremsConfig
from rl.theorem_splits import file_theorems, theorems_of
from tests.cli.conftest import turnstile
from tests.rl.test_training import TINY

__all__ = ["turnstile"]


def named(split: str, n: int, stem: str = "t") -> list[str]:
    """The first `n` names of a split."""
    names = (f"{stem}{i}" for i in count())
    return [name for name, _ in zip((x for x in names if split_of(x) == split), range(n), strict=False)]


def jsonl(path: Path, rows: dict[str, str]) -> str:
    path.write_text("".join(json.dumps({"name": k, "statement": v}) + "\n" for k, v in rows.items()))
    return str(path)


def test_a_files_theorems_are_split_by_their_names(tmp_path):
    names = [*named("train", 3), *named("validation", 2), *named("held-out", 2)]
    one = jsonl(tmp_path / "one.jsonl", {name: f": {i} = {i}" for i, name in enumerate(names)})
    other = tmp_path / "other.lean"
    other.write_text("".join(f"theorem {n} (n : Nat) : n + 0 = n := by sorry\n" for n in named("train", 2, "u")))
    found = theorems_of(TheoremsConfig(files=(one, str(other))), LibraryIndex("", {}), validation=1)
    assert [t.name for t in found.train] == [*named("train", 3), *named("train", 2, "u")], (
        "and no library theorem beside them"
    )
    assert [t.name for t in found.held_out] == named("held-out", 2) and len(found.validation) == 1
    assert theorems_of(TheoremsConfig(files=(one,), limit=2), LibraryIndex("", {}), 0).train == found.train[:2]


def test_training_leaves_out_what_nearly_repeats_an_evaluated_theorem_of_a_file(tmp_path):
    train, (held,), (checked,) = named("train", 6), named("held-out", 1), named("validation", 1)
    rows = {
        held: "(a b c : Nat) (h : a = b) : add a c = add b c",
        checked: "(p q : Prop) : p → q → p",
        train[0]: "{x y z : Nat} (e : x = y) : add x z = add y z",
        train[1]: ": ∀ (x y z : Nat) (e : x = y), add x z = add y z",
        train[2]: "(r s : Prop) : r → s → r",
        train[3]: "(a b c : Nat) (h : a = b) : mul a c = mul b c",
        train[4]: "(a b c : Nat) (h : a = b) : add c a = add c b",
        train[5]: "(p q : Prop) : p → q → q",
    }
    file = jsonl(tmp_path / "own.jsonl", rows)
    found = theorems_of(TheoremsConfig(files=(file,)), LibraryIndex("", {}), validation=1)
    assert [t.name for t in found.train] == train[3:] and found.near_copies == 3
    without = theorems_of(TheoremsConfig(files=(file,)), LibraryIndex("", {}), validation=0)
    assert [t.name for t in without.train] == train[2:]
    with pytest.raises(UserError, match=f"{train[0]} nearly repeats a held-out"):
        theorems_of(TheoremsConfig(files=(file,), targets=(train[0],)), LibraryIndex("", {}), 1)


SET = 'name = "own"\ntitle = "Own"\nkind = "lean"\nlean = "4.28.0"\nlicence = "MIT"\n'


@pytest.mark.lean
def test_a_set_as_toml_trains_with_its_own_split(tmp_path: Path) -> None:
    folders = [next(f for f in (f"F{i}.lean" for i in count()) if split_of(f) == s) for s in get_args(Split)]
    own: dict[str, list[str]] = {}
    for k, file in enumerate(folders):
        names = own[file] = [n for s in get_args(Split) for n in named(s, 2, f"x{k}_")]
        lines = [f"theorem {n} : {10 * k + i} + {i} = {10 * k + 2 * i} := rfl" for i, n in enumerate(names)]
        (tmp_path / file).write_text("\n".join(lines) + "\n")
    file = tmp_path / "own.toml"
    file.write_text(f'{SET}files = {folders}\nsplit_by = "file"\n')
    config = TheoremsConfig(files=(str(file),))
    found = theorems_of(config, LibraryIndex("", {}), validation=9)
    plain = [[t.name.removeprefix("_root_.") for t in ts] for ts in (found.train, found.validation, found.held_out)]
    trained = [n for n in own[folders[0]] if split_of(n) == "train"]
    assert plain == [trained, *(own[f] for f in folders[1:])] and found.unused == 4
    # What the hash of its name would allow is withheld, and its examples are refused.
    assert {n.removeprefix("_root_.") for n in found.withheld} == {
        n for f in folders[1:] for n in own[f] if split_of(n) == "train"
    }
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.set("withheld", sorted(found.withheld))
    held = next(t for t in found.held_out if t.name in found.withheld)
    for theorem in (found.train[0], held):
        ledger.record(Attempt("round 1", theorem, "proved", 1, 1, 0.1, "rfl"), [("policy", {"state": theorem.name})])
    with pytest.raises(HeldOutLeak, match="held out by its set"):
        buffer.draw(ledger, "policy")
    assert [r["state"] for r in buffer.draw(ledger, "policy", without=found.withheld)] == [found.train[0].name]
    # One split of a set.
    file.write_text(f'{SET}files = {folders}\nsplit = "held-out"\nsplit_by = "file"\n')
    with pytest.raises(UserError, match="training split"):
        theorems_of(config, LibraryIndex("", {}), 0)
    file.write_text('name = "a run"\n')
    with pytest.raises(UserError, match=r"own\.toml"):
        theorems_of(config, LibraryIndex("", {}), 0)


def test_the_demonstrations_world_loses_no_theorem():
    files = config.load(Path("worlds")).theorems.files
    found = theorems_of(TheoremsConfig(files=files), LibraryIndex("", {}), 60)
    assert [len(found.train), len(found.validation), len(found.held_out), found.near_copies] == [400, 60, 150, 0]


def test_files_that_make_no_run_are_refused(tmp_path):
    index = LibraryIndex("", {})
    held = jsonl(tmp_path / "held.jsonl", {name: ": True" for name in named("held-out", 2)})
    same = jsonl(tmp_path / "same.jsonl", {name: ": True" for name in named("train", 2) + named("held-out", 1)})
    twice = jsonl(tmp_path / "twice.jsonl", {name: ": True" for name in named("train", 1)})
    for files, said in (
        ((str(tmp_path / "none.jsonl"),), "none.jsonl"),
        ((held,), "training split"),
        ((twice, twice), "two theorems"),
        ((same,), "every training theorem"),
        (("x.txt",), "x.txt"),
    ):
        with pytest.raises(UserError, match=said):
            theorems_of(TheoremsConfig(files=files), index, 0)
    assert len(file_theorems([held])) == 2


@pytest.mark.lean
@pytest.mark.ray
def test_a_run_learns_on_a_file_and_disproves_what_is_false(turnstile, local_ray, tmp_path, monkeypatch):
    true, false, held = named("train", 6), named("train", 2, "false"), named("held-out", 2)
    rows = {name: f"(a b : Nat) (h : a = b + {i}) : b + {i} = a" for i, name in enumerate([*true, *held])}
    rows |= {false[0]: ": 3 < 2", false[1]: ": 2 + 2 = 5"}
    jsonl(tmp_path / "mine.jsonl", rows)
    table, rest = TINY.split('modules = ["Init.Data.Option.Lemmas"]\n')
    # A theorem that failed is tried again with twice as many calls: the round has room for both false ones.
    rest = rest.replace("\ncalls = 8\nharvest", "\ncalls = 24\nharvest")
    rest += "[matchmaker]\nresist = 1\ndisprove = 1.0\n"
    (tmp_path / "tiny.toml").write_text(f'{table}files = ["mine.jsonl"]\n{rest}')
    monkeypatch.chdir(tmp_path)
    done = turnstile("train", "tiny.toml", "--json")
    assert done.code == 0, done.err[-3000:]
    assert done.document["trained"]["total"] == len(held)
    ledger = Ledger.open(tmp_path / "runs/tiny", readonly=True)
    last = {a.theorem.name: a.outcome for a in ledger.attempts("round 2")}
    assert {last[name] for name in false} == {"disproved"} and {
        a.outcome for a in ledger.attempts("round 1") if a.theorem.name in true
    } == {"proved"}
    assert {row.theorem for row in ledger.example_rows("policy")} <= set(true)
