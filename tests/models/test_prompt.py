"""Prompts keep the target, slots replace premises both ways, renaming touches whole identifiers only."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from prover.models.prompt import PromptConfig, Prompter, rename, rename_map, steps_bin
from prover.models.tokenizer import TextCodec
from prover.premises.premise import Premise

PREMISES = ("Nat.succ_le", "Nat.succ_le_of_lt", "List.length_append", "foo")


@pytest.fixture(scope="module")
def prompter(tokenizer: PreTrainedTokenizerFast) -> Prompter:
    return Prompter(TextCodec(tokenizer), PromptConfig(max_prompt=96))


@pytest.mark.parametrize(
    ("tactic", "shown"),
    [
        ("rw [List.length_append]", "rw [⟨p2⟩]"),
        ("exact Nat.succ_le.mp (foo h)", "exact ⟨p0⟩.mp (⟨p3⟩ h)"),
        ("exact Nat.succ_le_of_lt h", "exact ⟨p1⟩ h"),
        ("simp [← @Nat.succ_le, foo']", "simp [← @⟨p0⟩, foo']"),
        ("exact bar.foo foo_1 h.foo .foo ?foo", "exact bar.foo foo_1 h.foo .foo ?foo"),
        ("exact My.Nat.succ_le", "exact My.Nat.succ_le"),
        ("foo", "⟨p3⟩"),
        ("omega", "omega"),
    ],
)
def test_slots_both_ways(prompter: Prompter, tactic: str, shown: str) -> None:
    ids = prompter.target(tactic, PREMISES)
    assert ids is not None and ids[-1] == prompter.codec.eos
    assert prompter.codec.decode(ids[:-1]) == shown
    assert prompter.tactic(ids[:-1], PREMISES) == tactic


def test_forged_slots_are_text_and_empty_slots_are_refused(prompter: Prompter) -> None:
    forged = prompter.target("exact ⟨p2⟩", PREMISES)
    assert forged is not None and prompter.tactic(forged[:-1], PREMISES) == "exact ⟨p2⟩"
    assert prompter.tactic([prompter.codec.slots[7]], PREMISES) is None
    assert prompter.tactic([prompter.codec.bins[0]], PREMISES) is None
    prefix = prompter.prefix("h : <tactic> ⟨p0⟩\n⊢ <eos><value>")
    assert prompter.codec.special_ids.intersection(prefix) == {prompter.codec.bos}


@given(st.text(max_size=40))
def test_any_tactic_survives(tokenizer: PreTrainedTokenizerFast, tactic: str) -> None:
    prompter = Prompter(TextCodec(tokenizer), PromptConfig(max_target=400))
    ids = prompter.target(tactic, PREMISES)
    assert ids is not None and prompter.tactic(ids[:-1], PREMISES) == tactic


def test_prompt_shows_first_goal_last_then_premises(prompter: Prompter, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = prompter.codec
    text = codec.decode(prompter.prefix("⊢ first\n\n⊢ second", PREMISES[:2]))
    assert text == "<bos>⊢ second\n\n⊢ first⟨p0⟩Nat.succ_le⟨p1⟩Nat.succ_le_of_lt"
    known = {"foo": Premise("foo", "M", "Eq", ("", ""), 0, False, (), "type of foo")}
    monkeypatch.setattr("prover.premises.index.library_premises", lambda: known)
    typed = Prompter(codec, PromptConfig(show_types=True))
    assert codec.decode(typed.prefix("⊢ p", ("foo", "unknown"))) == "<bos>⊢ p⟨p0⟩type of foo⟨p1⟩unknown"
    assert codec.decode(typed.prefix("⊢ p", ("foo",), ("said",))) == "<bos>⊢ p⟨p0⟩said"
    assert codec.decode(prompter.prefix("⊢ p", ("foo",), ("said",))) == "<bos>⊢ p⟨p0⟩foo", (
        "a model that shows names goes on doing so"
    )
    named = Prompter(codec, PromptConfig(show_names=True))
    assert codec.decode(named.prefix("⊢ p", ("A.b", "foo"))) == "<bos>⊢ p\nA.b\nfoo"
    assert named.tactic(named.target("exact foo", ("foo",))[:-1], ("foo",)) == "exact foo"  # pyright: ignore[reportOptionalSubscript]


def test_a_goal_to_reach_stands_behind_the_goal_with_what_is_new_in_it(prompter: Prompter) -> None:
    codec = prompter.codec
    state, towards = "p q : Prop\n⊢ p → q", "case h\np q : Prop\nhp : p\n⊢ q"
    text = codec.decode(prompter.prefix(f"{state}\n\n⊢ other", ("foo",), towards=towards))
    assert text == f"<bos>⊢ other\n\n{state}\n⇝ hp : p\n⊢ q⟨p0⟩foo"
    assert prompter.prefix(state, ("foo",), towards="") == prompter.prefix(state, ("foo",))
    long = prompter.prefix("x : Nat\n" * 60 + "⊢ here", towards="y : Nat\n" * 60 + "⊢ there")
    assert len(long) <= prompter.config.max_prompt - 1
    assert codec.decode(long).endswith("⊢ there") and "⊢ here\n" in codec.decode(long)


def test_long_prompts_keep_the_target_and_their_limit(prompter: Prompter) -> None:
    state = "".join(f"h{i} : x + {i} = y\n" for i in range(500)) + "⊢ the_target = 17"
    premises = tuple(f"Some.Long.namespace.lemma_{i}" for i in range(40))
    ids = prompter.prefix(state, premises)
    assert len(ids) <= prompter.config.max_prompt - 1
    text = prompter.codec.decode(ids)
    assert "⊢ the_target = 17⟨p0⟩" in text
    assert len(prompter.offered(premises)) == text.count("⟨p")


def test_long_tactics_are_not_targets(prompter: Prompter) -> None:
    assert prompter.target("simp [" + "a, b, " * 100 + "]") is None


@pytest.mark.parametrize(("steps", "index"), [(1, 0), (2, 1), (14, 13), (15, 14), (99, 14), (None, 15)])
def test_steps_bin(steps: int | None, index: int) -> None:
    assert steps_bin(steps) == index


def test_steps_bin_refuses_zero() -> None:
    with pytest.raises(ValueError, match="at least one"):
        steps_bin(0)


STATE = "α : Type u_1\nn m : Nat\nh : n ≤ m\nh.x y : Nat\nnm : n.succ =\n  m + n\n⊢ Nat.n n < m + h1 n ∧ p✝ n.1"


def rename_hypotheses(state: str, tactic: str, rng: random.Random) -> tuple[str, str]:
    names = rename_map(state, [tactic], rng)
    return rename(state, names), rename(tactic, names)


def test_renaming_is_consistent_and_whole() -> None:
    for seed in range(50):
        state, tactic = rename_hypotheses(STATE, "exact foo (n := m) h.1 Nat.h h1 nm ?m n", random.Random(seed))
        lines = state.split("\n")
        a = lines[0].split(" ")[0]
        n, m = lines[1].split(" ")[:2]
        h, nm = lines[2].split(" ")[0], lines[4].split(" ")[0]
        assert n == "n" and m == "m", "a named argument and ?m keep their names"
        assert len({a, n, m, h, nm, "h1"}) == 6
        assert tactic == f"exact foo (n := m) {h}.1 Nat.h h1 {nm} ?m n"
        assert lines[-1] == f"⊢ Nat.n {n} < {m} + h1 {n} ∧ p✝ {n}.1"
        assert lines[4:6] == [f"{nm} : {n}.succ =", f"  {m} + {n}"]


def test_renaming_changes_names_and_is_a_function_of_the_seed() -> None:
    pair = ("n m : Nat\nh : n ≤ m\n⊢ n < m + 1", "exact Nat.lt_succ_of_le h")
    results = {rename_hypotheses(*pair, random.Random(s)) for s in range(20)}
    assert len(results) > 10
    assert rename_hypotheses(*pair, random.Random(3)) == rename_hypotheses(*pair, random.Random(3))
    for state, tactic in results:
        assert tactic.split(" ")[-1] == state.split("\n")[1].split(" ")[0]


@pytest.mark.parametrize(
    "tactic", ["case h => simp", "cases x with | h => simp", "refine ⟨?h, h⟩", "exact foo (h := h)"]
)
def test_tags_and_named_arguments_keep_their_names(tactic: str) -> None:
    state, renamed = rename_hypotheses("h : p\n⊢ p", tactic, random.Random(1))
    assert (state, renamed) == ("h : p\n⊢ p", tactic)
