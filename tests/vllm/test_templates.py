"""Models from elsewhere in process: text in, stop strings, prompts that are too long; and what an engine refuses in one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_goals import make_pairs, query

from prover.errors import UserError
from prover.models.backends.vllm import VLLMConfig, VLLMPolicy
from prover.models.formats import TemplateFormat
from prover.models.templates import template_named

QUERIES = [query(g) for g, _ in make_pairs(6, seed=3)]
STOP = ("a", "e", "s", "\n")


@pytest.fixture
def stranger(served: Any) -> Iterator[Any]:
    """The engine as it would serve somebody else's model."""
    own, served.format = served.format, TemplateFormat(template_named("names"))
    served.format.max_new_tokens, served.format.stop = 40, STOP
    yield served
    served.format = own


def test_an_answer_ends_before_a_stop_string(stranger: Any) -> None:
    answers = [a for mine in stranger.sample(QUERIES, 8) for a in mine]
    assert sum(a.finished for a in answers) > 20
    assert not any(s in a.text for s in STOP for a in answers) and all(a.logprob < 0 for a in answers)
    assert any(stranger.suggest(QUERIES, 8))
    texts, _ = stranger.texts(stranger.format.prompt(QUERIES[0]), 8)
    assert texts and not any(s in t for s in STOP for t in texts)
    with pytest.raises(ValueError, match="has no value"):
        stranger.evaluate(QUERIES)


def test_sampled_tokens_have_the_learners_log_probabilities(stranger: Any, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from rl.learner.packing import target_logprobs

    prompts = [stranger.format.prompt(q) for q in QUERIES]
    drawn = [a.sampled for mine in stranger.draw(prompts, 4) for a in mine]
    drawn += [s.sampled for mine in stranger.suggest(QUERIES, 1) for s in mine]
    assert len(drawn) == 5 * len(QUERIES) and all(len(s.answer) == len(s.logprobs) > 0 for s in drawn)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        learned = target_logprobs(model, [(s.prompt, s.answer) for s in drawn], "cpu")
    engine = torch.tensor([x for s in drawn for x in s.logprobs])
    torch.testing.assert_close(learned, engine, atol=1e-2, rtol=0)


def test_a_goal_that_is_too_long_is_cut_at_its_beginning(stranger: Any) -> None:
    long = query("x : Nat\n" * 300 + "h : p ∧ q\n⊢ q")
    given = stranger.prompt_input(stranger.format.prompt(long))["prompt_token_ids"]
    whole = stranger.llm.get_tokenizer()(stranger.format.prompt(long))["input_ids"]
    assert len(whole) > 160 and given == whole[-120:]  # it reads 160, and an answer takes 40
    assert len(stranger.suggest([QUERIES[0], long], 4)) == 2


def test_what_it_cannot_serve_is_one_line(folder: Path) -> None:
    with pytest.raises(UserError, match="/nowhere: vLLM cannot serve it: no such folder") as nowhere:
        VLLMPolicy("/nowhere", template="names")
    with pytest.raises(UserError, match="vLLM cannot serve it: .*max_model_len") as longer:
        VLLMPolicy(folder, VLLMConfig(max_model_len=9999))
    assert all("\n" not in str(e.value) for e in (nowhere, longer))
