"""The tokenizer of the small model: byte-level BPE for Lean, with markers, value bins and premise slots as special tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

if TYPE_CHECKING:  # takes a second to import
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

N_BINS = 16
"""Number of value bins: one for each number of steps-to-go from 1 to N_BINS - 1, the last of which includes more, and `not provable`."""
N_SLOTS = 16
"""Maximum number of premises in a prompt."""

PAD, BOS, EOS, TACTIC, VALUE = "<pad>", "<bos>", "<eos>", "<tactic>", "<value>"
MIN_VOCAB = 256 + 5 + N_BINS + N_SLOTS

# A word keeps one leading space, dot or underscore, so that `Nat.lt_succ` is a few reusable pieces. Letters and punctuation
# never share a piece, so no merge can produce a special token.
_PIECES = Regex(r"[ ._]?\p{L}[\p{L}\p{M}'₀-₉]*|\p{N}| ?[^\s\p{L}\p{N}]+|\s+")


def bin_token(i: int) -> str:
    return f"<v{i}>"


def slot_token(i: int) -> str:
    return f"⟨p{i}⟩"


def special_tokens() -> list[str]:
    """All special tokens in the order of their ids (<pad> is 0)."""
    values, slots = [bin_token(i) for i in range(N_BINS)], [slot_token(i) for i in range(N_SLOTS)]
    return [PAD, BOS, EOS, TACTIC, VALUE, *values, *slots]


def train_tokenizer(texts: Iterable[str], vocab_size: int = 1536) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE of at most `vocab_size` tokens on goals and tactics.

    Every string of Unicode scalar values round-trips exactly. The result saves as a Hugging Face tokenizer folder. Raises
    ValueError for a vocabulary that is too small for the bytes and the special tokens.
    """
    from transformers import PreTrainedTokenizerFast

    if vocab_size < MIN_VOCAB:
        raise ValueError(f"vocab_size={vocab_size}: bytes and special tokens need at least {MIN_VOCAB}")
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(_PIECES, "isolated"), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    specials = [AddedToken(t, special=True, normalized=False) for t in special_tokens()]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.encode_special_tokens = True  # special tokens in the corpus are plain text
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=[t for t in special_tokens() if t not in (PAD, BOS, EOS)],
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


class TextCodec:
    """Encodes and decodes text with a Hugging Face tokenizer. Text never produces special tokens.

    `<eos>` or `⟨p0⟩` in a goal is encoded as its characters, so no goal can end a prompt or forge a marker. Works for any fast
    tokenizer with the special tokens of this module. Raises ValueError if they are missing, TypeError for a slow tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        from transformers import PreTrainedTokenizerFast

        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            raise TypeError("the tokenizer must be a fast one (tokenizer.json), not a Python one")
        self.tokenizer = tokenizer
        # A copy, because encode_special_tokens would change the caller's tokenizer.
        self._backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._backend.encode_special_tokens = True
        self._backend.no_padding()
        self._backend.no_truncation()
        vocab = self._backend.get_vocab(with_added_tokens=True)
        missing = [t for t in special_tokens() if t not in vocab]
        if missing:
            raise ValueError(
                f"the tokenizer lacks {len(missing)} special tokens ({' '.join(missing[:4])} …): train one with "
                "train_tokenizer, or add them with tokenizer.add_tokens(special_tokens(), special_tokens=True) and resize the model"
            )
        self.pad, self.bos, self.eos, self.tactic, self.value = (vocab[t] for t in (PAD, BOS, EOS, TACTIC, VALUE))
        self.bins = [vocab[bin_token(i)] for i in range(N_BINS)]
        self.slots = [vocab[slot_token(i)] for i in range(N_SLOTS)]
        self.special_ids = frozenset(vocab[t] for t in special_tokens())
        self.vocab_size = max(vocab.values()) + 1
        self.encode = lru_cache(maxsize=1 << 15)(self._encode)

    def _encode(self, text: str) -> tuple[int, ...]:
        """Ids of plain text. Lone surrogates, which UTF-8 cannot carry, become `?`."""
        clean = text.encode("utf-8", "replace").decode("utf-8")
        return tuple(self._backend.encode(clean, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; special tokens appear literally."""
        return self._backend.decode(list(ids), skip_special_tokens=False)
