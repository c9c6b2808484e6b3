"""Packed sequences do not see each other, and micro-batches keep to their size."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rl.learner.packing import count_tokens, micro_batches, supports_trees, target_logprobs


def tiny(seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=40, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    )


ROWS = [((1, 2, 3), (4, 5)), ((6, 7), (8, 9, 10, 11)), ((12, 13, 14, 15, 16), (17,))]


def test_packed_sequences_do_not_see_each_other() -> None:
    model = tiny()
    # Of one prompt, of prompts that differ in their last token, and an equal row.
    related = [((1, 2, 3), (4, 6, 7)), ((1, 2, 9), (4,)), ROWS[0]]
    # One below the other, and in one line where some are much longer.
    for rows in (ROWS[:2], [*ROWS, *related], [*ROWS, *related, (tuple(range(30)), (31,))]):
        alone = torch.cat([target_logprobs(model, [row], "cpu", "rows") for row in rows])
        for batching in ("trees", "rows"):
            torch.testing.assert_close(target_logprobs(model, rows, "cpu", batching), alone, atol=1e-5, rtol=1e-5)
    assert count_tokens([ROWS[0], *related]) == 2 + 2 + 3 + 1
    assert supports_trees(model, "cpu", 40)

    class Blind(torch.nn.Module):
        """A model that ignores where sequences begin."""

        def get_output_embeddings(self) -> torch.nn.Module:
            return model.lm_head

        def forward(self, **inputs: torch.Tensor) -> object:
            return model(input_ids=inputs["input_ids"], use_cache=False)

    assert not supports_trees(Blind(), "cpu", 40)


def test_micro_batches_keep_to_their_size() -> None:
    sizes = [5, 90, 30, 30, 120, 10]
    parts = micro_batches(sizes, 100)
    assert sorted(i for part in parts for i in part) == list(range(6))
    assert [sum(sizes[i] for i in part) for part in parts if len(part) > 1 or sizes[part[0]] <= 100] <= [100] * 6
    assert [4] in parts
