"""Theorem sets: every listed set can be opened and has the described contents."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from curricula import sets
from prover import cli
from prover.errors import UserError
from prover.lean.server import LeanServer
from prover.lean.text import read
from prover.solve.negation import negation, split_statement


def test_known_sets_can_be_read() -> None:
    known = {s.name: s for s in sets.sets()}
    assert {"turnstile-basics", "library-train", "library-validation", "library-held-out"} <= set(known)
    assert all(sets.load_set(name) == s for name, s in known.items())
    assert all(s.licence and s.lean and s.title for s in known.values())


def test_basics_has_sixty_distinct_theorems() -> None:
    basics = sets.load_set("turnstile-basics")
    theorems = sets.open_set(basics)
    assert len(theorems) == sets.size_of(basics) == 63
    assert max(Counter(t.name for t in theorems).values()) == 1
    assert all(t.statement and split_statement(t.statement) for t in theorems)
    assert all(":=" not in (t.statement or "") and "sorry" not in (t.statement or "") for t in theorems)


@pytest.mark.lean
def test_the_new_split_is_new_to_every_stage() -> None:
    """Its modules, constants and names are not in the training sets."""
    from curricula.library import DEMONSTRATION_MODULES, library_set, split_of
    from prover.premises.index import library_index

    new = sets.load_set("library-new")
    theorems = sets.open_set(new)
    assert new.fresh_names and len(theorems) > 100 and {split_of(t.name) for t in theorems} == {"held-out"}
    stages = [tomllib.loads(p.read_text()) for p in Path("curricula/stages").glob("*.toml")]
    modules = {m for s in stages for m in s.get("theorems", {}).get("modules", ())}
    modules |= {*DEMONSTRATION_MODULES, *sets.load_set("library-train").modules}
    assert modules.isdisjoint(new.modules)
    index = library_index()
    constants = {p.name: set(p.constants) for m in index.modules.values() for p in m.theorems}
    seen = set().union(*(constants[t.name] for t in library_set(index, "train", sorted(modules))))
    assert [t.name for t in theorems if constants[t.name] <= seen] == []


@pytest.mark.parametrize(
    ("kind", "line", "advice"),
    [
        ("jsonl", "split = 'held-out'", "a file of their own"),
        ("jsonl", "modules = ['Init.Core']", "remove it"),
        ("world", "split = 'held-out'", "world:logic?split=held-out"),
        ("world", "per_module = 1", "remove it"),
        ("lean", "imports = ['Init']", "remove it"),
        ("library", "split_by = 'file'", "remove it"),
    ],
)
def test_settings_that_a_kind_does_not_use_are_refused(tmp_path: Path, kind: str, line: str, advice: str) -> None:
    """Before, a data set or world with `split` opened all splits."""
    contents = "modules = ['Init.Core']" if kind == "library" else "files = ['world:logic']"
    path = tmp_path / "mine.toml"
    path.write_text(f"name = 'm'\ntitle = 'm'\nkind = '{kind}'\nlean = '4'\nlicence = 'x'\n{contents}\n{line}\n")
    with pytest.raises(UserError) as error:
        sets.read_set(path)
    assert f"does not use `{line.split()[0]}`" in str(error.value) and advice in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [("new_to = 'nowhere'", "new_to needs"), ("fresh_names = 'yes'", "fresh_names must be true or false")],
)
def test_a_new_split_that_makes_no_sense_is_refused(tmp_path: Path, line: str, message: str) -> None:
    text = (sets.FOLDER / "library-train.toml").read_text() + line + "\n"
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UserError, match=message):
        sets.read_set(tmp_path / "mine.toml")


def test_list_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["sets", "--json"])
    assert not end.value.code
    rows = json.loads(capsys.readouterr().out)["sets"]
    assert {"name", "title", "kind", "size", "split", "lean", "licence"} == set(rows[0])
    assert next(r["size"] for r in rows if r["name"] == "turnstile-basics") == 63


def test_negation() -> None:
    from prover.lean.theorem import Theorem

    def of(statement: str) -> str | None:
        return getattr(negation(Theorem("a", statement)), "statement", None)

    assert of("(n : Nat) {m : Nat} : n = m") == ": ¬ (∀ (n : Nat) {m : Nat}, (n = m))"
    assert of(": 1 = 2") == ": ¬ ((1 = 2))"
    assert of("(f : (x : Nat) → Fin x) : (f 0 : Nat) = 0") == ": ¬ (∀ (f : (x : Nat) → Fin x), ((f 0 : Nat) = 0))"
    assert of(": 1 = 2 -- no") == ": ¬ ((1 = 2 -- no\n))"
    assert negation(Theorem("a", library="a")) is None
    # `variable (h : n < n)` makes everything true, and its negation as it would be written a theorem.
    assert negation(Theorem("a", ": n = 5", context="variable (n : Nat) (h : n < n)\ninclude h")) is None
    assert negation(Theorem("a", ": n = 5", context="-- no variable\ndef n := 4")) is not None


@pytest.mark.lean
def test_lean_takes_every_statement_of_basics() -> None:
    import asyncio

    async def work() -> list[int]:
        basics = sets.load_set("turnstile-basics")
        async with LeanServer() as server:
            found = []
            for file in basics.files:
                text = read(basics.path_of(file))
                found.append(len(await server.load(text.body, text.imports, text.path)))
            for theorem in sets.open_set(basics)[::7]:
                await server.open(theorem)
            return found

    assert asyncio.run(work()) == [22, 22, 19]
