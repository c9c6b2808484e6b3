"""Model servers that misbehave. The small server produces faults that the real vLLM of tests/vllm does not produce on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import pytest
from sample_goals import query

from prover.errors import UserError
from prover.models.backends import bounded_http
from prover.models.backends.openai import ServerConfig, ServerPolicy
from prover.models.base import estimate_tokens
from prover.models.prompt import PromptConfig
from prover.models.transformer import save_folder
from tests.models.small_server import Reply, SmallServer, completion


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[int, dict[str, Any]], Reply]], SmallServer]]:
    servers: list[SmallServer] = []

    def start(reply: Callable[[int, dict[str, Any]], Reply]) -> SmallServer:
        servers.append(SmallServer(reply))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def policy(server: SmallServer, template: str = "bfs-prover", **config: Any) -> ServerPolicy:
    return ServerPolicy(
        server.address, template=template, config=ServerConfig(**{"timeout": 5.0, "retries": 3, **config})
    )


def test_suggestions_are_ranked_and_distinct(serve: Any) -> None:
    server = serve(lambda k, body: completion([" simp", "omega", "simp "]))
    [found] = policy(server).suggest([query("⊢ p")], 2)
    assert [(s.tactic, s.logprob) for s in found] == [("simp", -0.75), ("omega", -1.25)]
    asked = server.asked[0]
    assert asked["prompt"] == "⊢ p:::" and asked["n"] == 3 and asked["model"] == "only" and asked["stop"] == [":::"]


def test_half_a_surrogate_pair_is_no_text(serve: Any) -> None:
    [found] = policy(serve(lambda k, body: completion(["exact \ud800", "rfl"]))).suggest([query("⊢ p")], 2)
    assert [s.tactic for s in found] == ["exact ?", "rfl"]


def test_tokens_are_counted_as_the_server_says(serve: Any) -> None:
    status, said = completion(["simp", "omega"])
    model = policy(
        serve(
            lambda k, body: (
                status,
                {**said, "usage": {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 10 + k}},
            )
        )
    )
    asked = query("⊢ p")
    for _ in range(2):
        model.suggest([asked], 2)
    assert [model.count_tokens(asked), model.count_tokens(asked)] == [11, 12], "each answer once"
    assert model.count_tokens(asked) == estimate_tokens(asked) == 0, "nothing more is known"
    silent = policy(serve(lambda k, body: completion(["simp"])))
    [found] = silent.suggest([query("⊢ p = q + r")], 1)
    assert silent.count_tokens(query("⊢ p = q + r"), found) == estimate_tokens(query("⊢ p = q + r"), found) == 3


def test_truncated_answers_are_left_out(serve: Any) -> None:
    assert policy(serve(lambda k, body: completion(["simp"], finish="length"))).suggest([query("⊢ p")], 2) == [[]]


def test_it_tries_again_after_errors_that_pass(serve: Any) -> None:
    server = serve(lambda k, body: (503, {"error": {"message": "loading"}}) if k < 3 else completion(["simp"]))
    [found] = policy(server).suggest([query("⊢ p")], 1)
    assert found[0].tactic == "simp" and len(server.asked) == 3


def test_it_gives_up_with_a_reason(serve: Any) -> None:
    with pytest.raises(UserError, match="refused: .*loading"):
        policy(serve(lambda k, body: (503, {"error": {"message": "loading"}})), retries=1).suggest([query("⊢ p")], 1)
    with pytest.raises(UserError, match="too long a prompt"):
        policy(serve(lambda k, body: (400, {"error": {"message": "too long a prompt"}}))).suggest([query("⊢ p")], 1)
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        policy(serve(lambda k, body: (401, {"error": {"message": "no"}}))).suggest([query("⊢ p")], 1)


def test_a_server_that_hangs(serve: Any) -> None:
    given_up = threading.Event()

    def hang(k: int, body: dict[str, Any]) -> Reply:
        assert given_up.wait(60), "the client waits for an answer"
        return completion(["simp"])

    with pytest.raises(UserError, match="did not answer in time"):
        policy(serve(hang), timeout=0.3, retries=1).suggest([query("⊢ p")], 1)
    given_up.set()


def test_nobody_there() -> None:
    with pytest.raises(UserError, match="cannot be reached"):
        ServerPolicy("http://127.0.0.1:9/v1", template="bfs-prover", config=ServerConfig(retries=0))


def test_a_server_without_logprobs_writes_proofs_but_is_no_policy(serve: Any) -> None:
    server = serve(lambda k, body: completion(["simp"], logprobs=False))
    with pytest.raises(UserError, match="gives no log-probabilities"):
        policy(server).suggest([query("⊢ p")], 1)
    texts, tokens = policy(server, "goedel-prover").texts("theorem x : p := by", 1)
    assert texts == ["simp"] and tokens > 0
    assert "logprobs" not in server.asked[-1]


def test_chats(serve: Any) -> None:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "```lean4\nsimp\n```"}}
    document = {"id": "x", "object": "chat.completion", "created": 0, "model": "only", "choices": [choice]}
    server = serve(lambda k, body: (200, document))
    writer = policy(server, "kimina-prover")
    sent = writer.format.template.render({"goal": "⊢ p", "statement": "theorem x : p", "header": ""})  # type: ignore[union-attr]
    written = sum(len(turn["content"]) for turn in sent) + len("```lean4\nsimp\n```")
    assert writer.texts(sent, 1) == (["```lean4\nsimp\n```"], written // 4), "this server reports no tokens"
    assert server.asked[0]["path"] == "/v1/chat/completions"
    assert [m["role"] for m in server.asked[0]["messages"]] == ["system", "user"]


def test_rubbish(serve: Any) -> None:
    with pytest.raises(UserError):
        policy(serve(lambda k, body: (200, b"<html>not json</html>")), retries=0).suggest([query("⊢ p")], 1)
    with pytest.raises(UserError, match="does not speak OpenAI's API"):  # a page behind an address without /v1
        policy(serve(lambda k, body: (200, "<html>hello</html>"))).suggest([query("⊢ p")], 1)
    with pytest.raises(UserError, match="does not speak OpenAI's API"):
        policy(serve(lambda k, body: (200, {"id": "x", "choices": None}))).suggest([query("⊢ p")], 1)
    server = serve(lambda k, body: completion(["simp"]))
    server.page = "<html>hello</html>"
    with pytest.raises(UserError, match="/v1"):
        policy(server)


def test_an_empty_answer_is_only_none(serve: Any) -> None:
    status, said = completion(["", "omega"])
    said["choices"][0]["logprobs"] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    [found] = policy(serve(lambda k, body: (status, said))).suggest([query("⊢ p")], 2)
    assert [s.tactic for s in found] == ["omega"]


def test_a_model_of_ours_needs_token_ids(serve: Any, trained: Any, tokenizer: Any, tmp_path: Any) -> None:
    save_folder(tmp_path, trained, tokenizer, {"version": 1, "prompt": asdict(PromptConfig(max_prompt=96))})
    server = serve(lambda k, body: completion(["simp"]))
    asking = ServerPolicy(server.address, folder=str(tmp_path), config=ServerConfig(timeout=5.0))
    with pytest.raises(UserError, match="serve its folder with vLLM"):
        asking.suggest([query("⊢ p")], 1)


ODD_CHOICES = [
    {"text": 7},
    {"text": None},
    {"text": ["simp"]},
    {"logprobs": 3},
    {"logprobs": {"token_logprobs": ["x"]}},
    {"logprobs": {"token_logprobs": [float("nan")]}},
    {"logprobs": {"token_logprobs": [1e308]}},
    {"logprobs": {"token_logprobs": [float("inf")]}},
    {"logprobs": {"token_logprobs": 5}},
]


@pytest.mark.parametrize("change", ODD_CHOICES, ids=str)
def test_an_answer_of_another_shape_is_one_line(serve: Any, change: dict[str, Any]) -> None:
    status, said = completion(["simp"])
    said["choices"][0].update(change)
    with pytest.raises(UserError) as error:
        policy(serve(lambda k, body: (status, said)), retries=0).suggest([query("⊢ p")], 1)
    assert "\n" not in str(error.value)


def test_an_answer_that_is_longer_than_any_proof_is_left_out(serve: Any) -> None:
    server = serve(lambda k, body: completion(["exact " + "a" * 2_000_000, "omega"]))
    [found] = policy(server).suggest([query("⊢ p")], 2)
    assert [s.tactic for s in found] == ["omega"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("how", "why"), [("large", "larger than 1 MiB"), ("slow", "not complete after"), ("packed", "is compressed")]
)
def test_an_answer_without_an_end(serve: Any, monkeypatch: Any, how: str, why: str) -> None:
    monkeypatch.setattr(bounded_http, "MAX_ANSWER_BYTES", 1 << 20)
    server = serve(lambda k, body: completion(["simp"]))
    model = policy(server, timeout=1.0, retries=1)
    server.without_end = how
    with pytest.raises(UserError, match=why):
        model.suggest([query("⊢ p")], 1)
