"""Models from elsewhere behind templates: tiny random causal and sequence-to-sequence ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from sample_goals import make_pairs, query
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    ByT5Tokenizer,
    JambaConfig,
    JambaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from prover.errors import UserError
from prover.models.backends.huggingface import HuggingFacePolicy

QUERIES = [query(g, ("Nat.succ_le", "Nat.mul_add")[: i % 3]) for i, (g, _) in enumerate(make_pairs(4, seed=5))]


@pytest.fixture(scope="module")
def byt5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ReProver's architecture, ByT5, small and with random weights."""
    folder = tmp_path_factory.mktemp("byt5")
    torch.manual_seed(1)
    config = T5Config(
        vocab_size=384,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        decoder_start_token_id=0,
        tie_word_embeddings=False,
    )
    model = T5ForConditionalGeneration(config)
    tokenizer = ByT5Tokenizer(extra_ids=125)
    # Random bytes are no text: it learns a few tactics first.
    given = tokenizer(["⊢ p"] * 4, return_tensors="pt")
    labels = tokenizer(["simp", "omega", "rfl", "decide"], return_tensors="pt", padding=True)["input_ids"]
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        model(**given, labels=labels.masked_fill(labels == 0, -100)).loss.backward()
        optimizer.step()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight[2] *= 20
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_seq2seq_beams_with_the_models_own_logprobs(byt5: Path) -> None:
    policy = HuggingFacePolicy(byt5, "reprover-retrieval", dtype="float32")
    policy.format.max_new_tokens = 12
    plain = AutoModelForSeq2SeqLM.from_pretrained(byt5, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(byt5)
    checked = 0
    for q, suggestions in zip(QUERIES, policy.suggest(QUERIES, 6), strict=True):
        assert [s.logprob for s in suggestions] == sorted((s.logprob for s in suggestions), reverse=True)
        source = "".join(f"<a>{p}</a>\n\n" for p in reversed(q.premises)) + q.state.text
        given = tokenizer([source], return_tensors="pt")
        for s in suggestions:
            target = tokenizer([s.tactic], return_tensors="pt")["input_ids"]
            with torch.no_grad():
                loss = plain(**given, labels=target).loss
            checked += abs(-loss.item() * target.shape[1] - s.logprob) < 1e-3
    assert checked > 0


def test_causal_sampling_with_stop_strings(llama: Path) -> None:
    policy = HuggingFacePolicy(llama, "names", dtype="float32")
    policy.format.max_new_tokens = 24
    policy.format.stop = ("a", "e", "\n\n")
    plain = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(llama)
    answers, _ = policy.generate([policy.format.prompt(q) for q in QUERIES], 12, beam=False)
    stopped = 0
    for q, mine in zip(QUERIES, answers, strict=True):
        assert len(mine) == 12
        for a in mine:
            assert not any(s in a.text for s in policy.format.stop)
            stopped += a.finished
        before = policy.generated_tokens
        together = {s.tactic for s in policy.suggest([q], 4)[0]}
        assert len(together) <= 4
        read = len(tokenizer(policy.format.prompt(q))["input_ids"])
        assert policy.count_tokens(q) == read + policy.generated_tokens - before
    assert stopped > 5
    # Without stop strings the log-probability is that of the text and <eos>.
    policy.format.stop = ()
    checked = 0
    for q in QUERIES:
        prompt = tokenizer(policy.format.prompt(q))["input_ids"]
        for a in policy.generate([policy.format.prompt(q)], 12, beam=False)[0][0]:
            target = list(a.ids)
            with torch.no_grad():
                steps = plain(torch.tensor([prompt + target])).logits[0].log_softmax(-1)
            expected = sum(steps[len(prompt) - 1 + i, t].item() for i, t in enumerate(target))
            assert expected == pytest.approx(a.logprob, abs=1e-3)
            checked += target[-1] == 2 and a.finished
    assert checked > 0


def test_no_more_answers_than_fit_are_sampled_at_once(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole proofs of many theorems wait together for the model, and each answer has a cache of its own."""
    policy = HuggingFacePolicy(llama, "bfs-prover")
    monkeypatch.setattr("prover.models.backends.huggingface.ROWS", 6)
    sizes: list[int] = []
    generate = policy._generate_at_once

    def watched(prompts, n, *more, **settings):
        sizes.append(len(prompts) * n)
        return generate(prompts, n, *more, **settings)

    monkeypatch.setattr(policy, "_generate_at_once", watched)
    found = policy.draw([f"⊢ {k} = {k}" for k in range(5)], 3)
    assert sizes == [6, 6, 3] and [len(answers) for answers in found] == [3] * 5
    read = [policy.tokenizer.decode(answers[0].sampled.prompt) for answers in found if answers[0].sampled]
    assert all(f"{k} = {k}" in text.replace(" ", "").replace("=", " = ") for k, text in enumerate(read)), read


def test_equal_prompts_are_computed_once_with_the_untempered_models_logprobs(llama: Path) -> None:
    policy = HuggingFacePolicy(llama, "names", dtype="float32")
    policy.format.max_new_tokens = 12
    policy.format.sampling = {**policy.format.sampling, "temperature": 1.7, "top_p": 0.9}
    plain = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    prompts = [policy.format.prompt(q) for q in (QUERIES[0], QUERIES[1], QUERIES[0], QUERIES[2])]
    rows: list[tuple[int, ...]] = []
    hook = policy.model.get_input_embeddings().register_forward_hook(lambda _, given, out: rows.append(out.shape[:2]))
    for tokens in (False, True):
        rows.clear()
        answers, _ = policy.generate(prompts, 5, beam=False, tokens=tokens)
        longest = max(len(policy.tokenizer(p)["input_ids"]) for p in prompts)
        # Answers that have ended are left out.
        assert rows[0] == (3, longest - 1) and rows[1] == (20, 1) and rows[1:] == sorted(rows[1:], reverse=True)
        assert len({a.text for mine in answers for a in mine}) > 10
        for prompt, mine in zip(prompts, answers, strict=True):
            read = policy.tokenizer(prompt)["input_ids"]
            for a in mine:
                with torch.no_grad():
                    steps = plain(torch.tensor([[*read, *a.ids]])).logits[0].log_softmax(-1)
                expected = sum(steps[len(read) - 1 + i, t].item() for i, t in enumerate(a.ids))
                assert a.logprob == pytest.approx(expected, abs=1e-3)
                assert not tokens or (a.sampled is not None and list(a.sampled.prompt) == read)
    hook.remove()


@pytest.mark.parametrize("own", [{"repetition_penalty": 1.5}, {"num_beams": 4}, {"cache_implementation": "static"}])
def test_a_models_own_settings_for_generation_change_nothing(llama: Path, tmp_path: Path, own: dict[str, object]):
    folder = shutil.copytree(llama, tmp_path / "model")
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(settings | own))
    drawn = [HuggingFacePolicy(f, "names", dtype="float32").draw(["1 + 1", "a"], 4) for f in (llama, folder)]
    assert drawn[0] == drawn[1] and len({a.ids for mine in drawn[0] for a in mine}) > 2


def test_a_model_with_recurrent_layers_samples_equal_prompts(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    torch.manual_seed(4)
    model = JambaForCausalLM(
        JambaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            num_experts=2,
            attn_layer_period=2,
            attn_layer_offset=1,
            mamba_d_state=8,
            use_mamba_kernels=False,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
    ).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    policy = HuggingFacePolicy(tmp_path, "names", dtype="float32")
    policy.format.max_new_tokens = 6
    for mine in policy.draw(["1 + 1", "a"], 3):
        for a in mine:
            assert a.sampled is not None
            read = list(a.sampled.prompt)
            with torch.no_grad():
                steps = model(torch.tensor([[*read, *a.ids]])).logits[0].log_softmax(-1)
            expected = [steps[len(read) - 1 + i, t].item() for i, t in enumerate(a.ids)]
            assert a.sampled.logprobs == pytest.approx(expected, abs=1e-3)


def test_a_template_for_another_kind_of_model_is_refused(byt5: Path, llama: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="seq2seq model and template bfs-prover"):
        HuggingFacePolicy(byt5, "bfs-prover")
    with pytest.raises(UserError, match="no template 'nonsense'; choose bfs-prover"):
        HuggingFacePolicy(llama, "nonsense")
    with pytest.raises(UserError, match="cannot be used"):
        HuggingFacePolicy(tmp_path, "bfs-prover")
