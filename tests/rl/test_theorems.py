"""A run on theorems of the user's own files: training and held-out splits, and false statements."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pytest

from curricula.library import split_of
from prover.errors import UserError
from prover.premises.index import LibraryIndex
from prover.solve.ledger import Ledger
from rl import config
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
    assert {t.name for t, _ in ledger.examples("policy")} <= set(true)
