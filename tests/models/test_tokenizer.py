"""The tokenizer loses nothing and lets no text become a special token."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from prover.models.tokenizer import N_BINS, N_SLOTS, TextCodec, slot_token, special_tokens, train_tokenizer

CODEC = TextCodec(
    train_tokenizer(["n m : Nat\nh : n ≤ m\n⊢ n < m + 1", "simp [Nat.lt_succ_iff]", "<eos>" * 50, "⟨p0⟩" * 50], 1024)
)


@given(st.one_of(st.text(), st.text(alphabet="⊢∀λ <>evp0123⟨⟩os\n.'✝₁")))
def test_any_text_round_trips_without_special_tokens(text: str) -> None:
    ids = CODEC.encode(text)
    assert CODEC.decode(ids) == text
    assert not CODEC.special_ids.intersection(ids)


@pytest.mark.parametrize("token", special_tokens())
def test_special_tokens_spelt_in_text_stay_text(token: str) -> None:
    text = f"h : {token}{token} x\n⊢ {token}"
    assert not CODEC.special_ids.intersection(CODEC.encode(text))
    assert CODEC.decode(CODEC.encode(text)) == text


def test_lone_surrogates_do_not_stop_it() -> None:
    assert CODEC.decode(CODEC.encode("a\ud800b")) == "a?b"


def test_special_tokens_are_single_and_distinct() -> None:
    assert len(CODEC.special_ids) == 5 + N_BINS + N_SLOTS == len(special_tokens())
    assert CODEC.decode([CODEC.slots[3]]) == slot_token(3)


def test_saved_folder_is_an_ordinary_one(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "⊢ List.map id xs = xs <eos> ⟨p1⟩"
    assert TextCodec(loaded).encode(text) == TextCodec(tokenizer).encode(text)
    assert loaded.convert_tokens_to_ids("<tactic>") == TextCodec(tokenizer).tactic
    assert loaded.pad_token_id == TextCodec(tokenizer).pad == 0


def test_vocabulary_is_learned_and_bounded(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer) <= 1024
    assert len(TextCodec(tokenizer).encode("induction xs with simp_all")) <= 8
    with pytest.raises(ValueError, match="vocab_size"):
        train_tokenizer(["x"], 100)


def test_a_tokenizer_without_markers_is_refused() -> None:
    from tokenizers import Tokenizer, models

    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    with pytest.raises(ValueError, match="lacks"):
        TextCodec(bare)
