"""The folder that the learner writes, in transformers, in vLLM in this process, and in a vLLM server: one model everywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sample_goals import make_pairs, query

from prover.errors import UserError
from prover.models.backends.agreement import prior_difference, value_difference
from prover.models.backends.openai import ServerPolicy
from prover.models.base import estimate_tokens

PREMISES = ("Nat.succ_le", "List.length_append", "Nat.mul_add")
QUERIES = [query(g, PREMISES[: i % 4]) for i, (g, _) in enumerate(make_pairs(16, seed=3))]
TOLERANCE = 1e-2


def test_priors_and_values_in_process(served: Any, reference: Any) -> None:
    worst, compared = prior_difference(reference, QUERIES, served.sample(QUERIES, 8))
    assert compared > 60 and worst < TOLERANCE
    assert value_difference(reference, QUERIES, served) < TOLERANCE


def test_suggestions_are_distinct_and_use_only_what_is_offered(served: Any) -> None:
    for q, found in zip(QUERIES, served.suggest(QUERIES, 6), strict=True):
        assert 0 < len(found) <= 6 and len({s.tactic for s in found}) == len(found)
        assert [s.logprob for s in found] == sorted((s.logprob for s in found), reverse=True)
        assert not any(re.search(r"⟨p\d+⟩|<eos>", s.tactic) for s in found), q
    assert served.suggest([], 4) == [] and served.evaluate([]) == []
    # As whole proofs are asked for: texts that ended by themselves.
    prompt = served.format.prompt(QUERIES[0])
    written, tokens = served.texts(prompt, 8)
    assert written and all(isinstance(t, str) for t in written) and tokens >= len(prompt) + 8
    first, again = (set(s.tactic for s in served.suggest(QUERIES[:1], 8)[0]) for _ in range(2))
    assert first and again


def test_priors_and_values_of_a_server(address: str, folder: Path, reference: Any) -> None:
    server = ServerPolicy(address, folder=str(folder))
    assert server.model == "tiny"
    worst, compared = prior_difference(reference, QUERIES, [server.sample(q, 8) for q in QUERIES])
    assert compared > 60 and worst < TOLERANCE
    assert value_difference(reference, QUERIES, server) < TOLERANCE
    found = server.suggest(QUERIES, 6)
    assert all(0 < len(s) <= 6 for s in found)
    # The same server as a stranger sees it: text in, text out, policy only.
    stranger = ServerPolicy(address, "tiny", template="names")
    stranger.format.max_new_tokens, stranger.format.stop = 40, ("a", "e", "s", "\n")
    assert any(stranger.suggest(QUERIES, 8))
    with pytest.raises(ValueError, match="no value tokens"):
        stranger.evaluate(QUERIES)
    written, tokens = stranger.texts("⊢ p", 3)
    assert isinstance(written, list) and tokens > 3


def test_tokens_are_those_of_the_prompt_and_of_all_samples(served: Any, address: str, folder: Path) -> None:
    q = QUERIES[3]
    prompt = len(served.format.prompt(q))
    for policy in (served, ServerPolicy(address, folder=str(folder))):
        while policy.token_counts.count(q) != estimate_tokens(q):  # of other tests
            pass
        before = served.generated_tokens
        policy.suggest([q], 6)
        took = policy.count_tokens(q)
        if policy is served:
            assert took == prompt + served.generated_tokens - before
        assert prompt + 6 <= took <= prompt + 9 * (served.format.max_new_tokens + 1), took
        policy.evaluate([q])
        assert policy.count_tokens(q) == prompt + 1


def test_what_a_server_does_not_have(address: str, folder: Path) -> None:
    with pytest.raises(UserError, match="check the model's name"):
        ServerPolicy(address, "nobody", folder=str(folder)).suggest(QUERIES[:1], 2)
    with pytest.raises(UserError, match=r"\?template=NAME"):
        ServerPolicy(address)
