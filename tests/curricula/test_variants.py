"""Variants of theorems on real Lean: well-typed, new, in the place of the theorem, and learnable by name."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from curricula.library import split_of
from curricula.variants import TARGET, Maker, training_name
from prover.lean.project import Project, imports_of
from prover.lean.text import parse, read
from prover.lean.theorem import Theorem
from prover.models.base import Query, Suggestion
from prover.search import SearchConfig
from prover.solve.attempt import Prover
from prover.solve.batch import Target, Task, task_of
from prover.solve.executor import LocalExecutor
from prover.solve.job import Job, Sorry, SourceFile
from prover.solve.learning import Stated, stated

FILE = """inductive N where
  | zero
  | succ (n : N)

namespace N

def add : N → N → N
  | m, zero => m
  | m, succ n => succ (add m n)

theorem add_zero (m : N) : add m zero = m := rfl

theorem zero_add (n : N) : add zero n = n := by
  sorry

theorem comm (m n : N) : add m n = add n m := by
  induction n with
  | zero => sorry
  | succ k hk => sorry

theorem late (n : N) : n = n := rfl
"""


class Cases:
    """A policy that leaves the cases of `n` open."""

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return [[Suggestion("cases n", 0.0)] for _ in queries]


def task(source: str, number: int) -> Task:
    text = parse(source.encode(), "Numbers.lean")
    file = SourceFile(text, text.imports)
    return Task(f"task {number}", Theorem("t", "", context="Numbers.lean"), "Numbers.lean", sorry=Sorry(file, number))


def test_names_are_in_the_training_split_and_new() -> None:
    names = {"a", "a_2"}
    for base in ("a", "N.zero_add", "«odd name»"):
        for _ in range(20):
            names.add(new := training_name(base, names))
            assert split_of(new) == "train" and (new.startswith(base[:-1]))
    assert len(names) == 62


@pytest.mark.lean
def test_a_sorry_is_a_theorem_with_what_stands_before_it() -> None:
    async def found() -> list[Stated | str]:
        async with LocalExecutor((), 1) as executor:
            return [await stated(task(FILE, n), executor) for n in range(3)]

    whole, base, step = asyncio.run(found())
    assert isinstance(whole, Stated) and isinstance(base, Stated) and isinstance(step, Stated)
    assert whole.theorem.statement == "(n : N) : add zero n = n" and not whole.before
    assert "theorem add_zero" in whole.theorem.context and "comm" not in whole.theorem.context
    for each in (base, step):
        assert "theorem add_zero" in each.theorem.context and "late" not in each.theorem.context
        assert "zero_add" not in each.theorem.context, "its proof is open, and no proof may rest on it"
    assert "hk" in (step.theorem.statement or "")


@pytest.mark.lean
def test_what_cannot_be_a_theorem_of_its_own_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "lakefile.toml").write_text('name = "own"\n')
    (tmp_path / "A.lean").write_text("theorem a : 1 = 1 := rfl\n")
    (tmp_path / "B.lean").write_text("import A\ntheorem b : 2 = 2 := by\n  sorry\n")
    text = read(tmp_path / "B.lean")
    imports = imports_of(text, Project(tmp_path))
    importing = SourceFile(text, imports.shipped, tuple(imports.sources()))
    several = "theorem s (p q : Prop) (hp : p) (hq : q) : p ∧ q := by\n  constructor\n  all_goals sorry\n"

    async def found() -> list[Stated | str]:
        async with LocalExecutor((), 1) as executor:
            return [
                await stated(Task("b", Theorem("b", ""), "", sorry=Sorry(importing, 0)), executor),
                await stated(task(several, 0), executor),
                await stated(task_of(0, Theorem("Nat.add_comm", library="Nat.add_comm")), executor),
            ]

    assert [type(x) for x in asyncio.run(found())] == [str, str, str]


@pytest.mark.lean
def test_variants_are_new_and_stand_where_their_theorem_does() -> None:
    """Each is a theorem that Lean accepts, none restates the target, and some come from the goals of a failed search."""
    target, logic = task(FILE, 0), task_of(1, Theorem("imp", "(p q r : Prop) (h : p → q) (k : q → r) : p → r"))

    async def made() -> tuple[Maker, set[str]]:
        async with LocalExecutor(
            [Prover("cases", Cases(), SearchConfig(in_flight=1, model_thread=False))], 1
        ) as executor:
            job = Job(target.theorem, 1, sorry=target.sorry, saved=b"")
            tried = await executor.attempt(job)
            maker = Maker(executor, 12)
            await maker.add(Target(target, 0, tried.saved))
            await maker.add(Target(logic, 0))
            keys = set()
            for variant in maker.found:
                state = await executor.pool.open(variant.theorem)
                keys.add(state.key)
                await executor.pool.free([state])
            return maker, keys

    maker, keys = asyncio.run(made())
    assert not maker.left_out and len(keys) == len(maker.found), "no two are the same up to names"
    names = [v.theorem.name for v in maker.found]
    assert len(set(names)) == len(names) and all(split_of(n) == "train" for n in names)
    by_target: dict[str, list[str]] = {}
    for v in maker.found:
        by_target.setdefault(v.target, []).append(v.kind)
        assert v.parent in names or v.kind == TARGET
    assert len(by_target) == 2
    assert any(v.parent not in by_target for v in maker.found if v.parent), (
        "a few variants are not all made from the target itself"
    )
    for kinds in by_target.values():
        assert kinds[0] == TARGET and kinds.count(TARGET) == 1 and 4 <= len(kinds) <= 13 and len(set(kinds)) > 2
    assert maker.lean_calls.keys() == by_target.keys() and all(n >= 12 for n in maker.lean_calls.values())
    first = next(iter(by_target))
    assert "met by a search" in by_target[first]
    assert {v.theorem.context for v in maker.found if v.target == first} == {maker.found[0].theorem.context}
    again = asyncio.run(made())[0]
    assert [v.theorem for v in again.found] == [v.theorem for v in maker.found], "equal arguments give equal variants"
