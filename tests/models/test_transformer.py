"""The policy agrees with transformers on every probability it gives, alone or in a batch, before and after saving."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sample_goals import make_pairs, query
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prover.models.llama import LlamaRunner
from prover.models.transformer import LanguageModelPolicy, ModelFolderError, new_model

PREMISES = ("Nat.succ_le", "List.length_append", "Nat.mul_add")
QUERIES = [query(g, PREMISES[: i % 4]) for i, (g, _) in enumerate(make_pairs(12, seed=3))] + [
    query("⊢ p"),
    query("x : Nat\n" * 60 + "⊢ x = x"),
]


def teacher_forced(policy: LanguageModelPolicy, text: str, premises: tuple[str, ...], tactic: str) -> float:
    p = policy.prompter
    target = p.target(tactic, premises)
    assert target is not None
    prompt = [*p.prefix(text, premises), p.codec.tactic]
    with torch.no_grad():
        logits = policy.model(torch.tensor([prompt + target])).logits[0].log_softmax(-1)
    return sum(logits[len(prompt) - 1 + i, t].item() for i, t in enumerate(target))


def test_tokens_are_counted_as_the_model_reads_and_writes_them(policy: LanguageModelPolicy) -> None:
    for asked in QUERIES[:4]:
        [offered] = policy.suggest([asked], 4)
        prompt = policy.prompter.prefix(asked.state.text, asked.premises)
        answers = [policy.prompter.target(s.tactic, asked.premises) for s in offered]
        assert policy.count_tokens(asked) == len(prompt) + 1
        assert policy.count_tokens(asked, offered) == len(prompt) + 1 + sum(len(a or [0] * 40) for a in answers)


def test_runner_gives_the_logits_of_transformers() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).eval()
    prompts = [torch.randint(3, 300, (k,)).tolist() for k in (5, 1, 17)]
    tails = torch.randint(3, 300, (3, 4, 6))
    runner = LlamaRunner(model)
    cache = runner.prefill(prompts, pad=0)
    own = torch.stack([runner.step(cache, tails[:, :, t]) for t in range(6)], 2)
    with torch.no_grad():
        for b, prompt in enumerate(prompts):
            for n in range(4):
                full = model(torch.tensor([prompt + tails[b, n].tolist()])).logits[0, len(prompt) :]
                torch.testing.assert_close(own[b, n], full, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("attempt", [0, 1])
def test_logprobs_are_those_of_transformers(policy: LanguageModelPolicy, attempt: int) -> None:
    """The most probable tactics, and a sample."""
    checked = 0
    queries = [replace(q, attempt=attempt) for q in QUERIES]
    for q, suggestions in zip(queries, policy.suggest(queries, 6), strict=True):
        assert len({s.tactic for s in suggestions}) == len(suggestions) <= 6
        assert [s.logprob for s in suggestions] == sorted((s.logprob for s in suggestions), reverse=True)
        for s in suggestions:
            ids = policy.prompter.target(s.tactic, q.premises)
            assert s.source == "model"
            # A random model spells text in ways the tokenizer would not; only its own spelling can be compared.
            if ids is not None:
                expected = teacher_forced(policy, q.state.text, q.premises, s.tactic)
                checked += abs(expected - s.logprob) < 1e-3
    assert checked > 15


def test_a_batch_gives_what_each_query_gives_alone(policy: LanguageModelPolicy) -> None:
    together = zip(QUERIES, policy.suggest(QUERIES, 5), policy.evaluate(QUERIES), strict=True)
    for q, suggestions, value in together:
        [alone] = policy.suggest([q], 5)
        [estimate] = policy.evaluate([q])
        assert [s.tactic for s in suggestions] == [s.tactic for s in alone]
        assert [s.logprob for s in suggestions] == pytest.approx([s.logprob for s in alone], abs=1e-3)
        assert value.probs == pytest.approx(estimate.probs, abs=1e-4)


def test_values_are_restricted_softmaxes(policy: LanguageModelPolicy) -> None:
    p = policy.prompter
    for q, estimate in zip(QUERIES, policy.evaluate(QUERIES), strict=True):
        assert len(estimate.probs) == 16 and sum(estimate.probs) == pytest.approx(1, abs=1e-4)
        assert 0 <= estimate.value(0.95) <= 0.95
        with torch.no_grad():
            ids = torch.tensor([[*p.prefix(q.state.text, q.premises), p.codec.value]])
            expected = policy.model(ids).logits[0, -1, p.codec.bins].softmax(-1)
        assert list(estimate.probs) == pytest.approx(expected.tolist(), abs=1e-4)


def test_no_queries_and_one_candidate(policy: LanguageModelPolicy) -> None:
    assert policy.suggest([], 4) == [] and policy.evaluate([]) == []
    assert all(len(s) <= 1 for s in policy.suggest(QUERIES, 1))


def test_asking_again_gives_something_else(policy: LanguageModelPolicy) -> None:
    first = policy.suggest([query("⊢ p")], 6)
    assert first == policy.suggest([query("⊢ p")], 6)
    later = [s.tactic for k in range(1, 6) for s in policy.suggest([query("⊢ p", attempt=k)], 6)[0]]
    assert set(later) - {s.tactic for s in first[0]}


def test_what_is_sampled_depends_on_the_question_alone(policy: LanguageModelPolicy) -> None:
    queries = [query(f"⊢ {g}", attempt=k) for g in "pqr" for k in (0, 1, 2)]
    together = policy.suggest(queries, 6)
    for q, suggestions in zip(reversed(queries), reversed(together), strict=True):
        [alone] = policy.suggest([q], 6)
        assert [s.tactic for s in suggestions] == [s.tactic for s in alone]
    assert [s.tactic for s in together[1]] != [s.tactic for s in together[2]]


def test_unoffered_slots_are_never_named(policy: LanguageModelPolicy, tokenizer: PreTrainedTokenizerFast) -> None:
    """Slots become likelier than `exact`: an offered one is named, and the others take no tactic's place."""
    goal = make_pairs(1)[0][0]
    [before] = policy.suggest([query(goal)], 8)
    embeddings = policy.model.model.embed_tokens.weight
    with torch.no_grad():
        embeddings[policy.prompter.codec.slots] = 1.5 * embeddings[tokenizer("exact").input_ids[-1]]
    policy.runner.refresh()
    offered, after = policy.suggest([query(goal, ("A.premise",)), query(goal)], 8)
    assert "A.premise" in {s.tactic for s in offered}
    assert len(after) == len(before) > 0 and not any("⟨p" in s.tactic for s in [*offered, *after])


def test_save_and_load(policy: LanguageModelPolicy, tmp_path: Path) -> None:
    policy.version = 7
    policy.save(tmp_path / "m")
    policy.save(tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    loaded = LanguageModelPolicy.load(tmp_path / "m")
    assert loaded.version == 7 and loaded.prompter.config == policy.prompter.config
    assert loaded.suggest(QUERIES[:3], 4) == policy.suggest(QUERIES[:3], 4)
    plain, tokenizer = (
        AutoModelForCausalLM.from_pretrained(tmp_path / "m"),
        AutoTokenizer.from_pretrained(tmp_path / "m"),
    )
    ids = torch.tensor([tokenizer("⊢ n < m")["input_ids"]])
    with torch.no_grad():
        torch.testing.assert_close(plain(ids).logits, policy.model(ids).logits)


def test_a_save_that_fails_keeps_the_old_model(
    policy: LanguageModelPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy.save(tmp_path / "m")
    replaced = os.replace

    def fail(source: Path, target: Path) -> None:
        if source.name == "new":
            raise OSError("no space")
        replaced(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        policy.save(tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    LanguageModelPolicy.load(tmp_path / "m")


def test_broken_folders_say_what_is_wrong(policy: LanguageModelPolicy, tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match=r"no config\.json"):
        LanguageModelPolicy.load(tmp_path / "nothing")
    policy.save(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(ModelFolderError, match="cannot be read"):
        LanguageModelPolicy.load(tmp_path / "m")


def test_load_weights(policy: LanguageModelPolicy) -> None:
    before = policy.suggest(QUERIES[:2], 4)
    other = new_model(policy.model.config.vocab_size, 64, 2, 4, 128, 160, seed=5)
    policy.load_weights(other.state_dict(), 3)
    assert policy.version == 3 and policy.suggest(QUERIES[:2], 4) != before
    again = policy.suggest(QUERIES[:2], 4)
    with pytest.raises(ValueError, match="another model"):
        policy.load_weights(new_model(300, 64, 2, 4, 128, 160).state_dict(), 4)
    assert policy.version == 3 and policy.suggest(QUERIES[:2], 4) == again
