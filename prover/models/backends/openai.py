"""Policy over a server with OpenAI's API: vLLM, llama.cpp, or a vendor's.

Uses `completions` for prompts of text or token ids and `chat/completions` for chats. Priors are the server's
log-probabilities. The openai package does time-outs and retries. Values need a vLLM server (`logprob_token_ids`) and the
folder of the served model.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prover.errors import PromptTooLong, UserError
from prover.models.backends.bounded_http import ResponseLimitError, limit_responses
from prover.models.base import Query, Suggestion, ValueEstimate, softmax, valid_text
from prover.models.formats import Answer, Format, TemplateFormat, format_of, suggestions
from prover.models.templates import template_named
from prover.models.token_counts import TokenCounts

_TOO_LONG = re.compile(r"context_length_exceeded|context (?:length|size|window)|max_model_len", re.IGNORECASE)
"""Errors of OpenAI's API, vLLM and llama.cpp for a prompt that is too long."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Settings of a server's client."""

    timeout: float = 120.0
    """Seconds for one request."""
    retries: int = 5
    """Maximum number of retries after time-outs, refused connections and status 408, 409, 429 and 5xx, with growing pauses."""
    parallel: int = 16
    """Concurrent requests."""
    oversample: float = 1.5
    """Samples per requested tactic, because some are equal."""
    temperature: float | None = None
    """None: the format's."""
    api_key: str | None = None
    """None: the environment variable OPENAI_API_KEY, if set."""


LONGEST = 2**20
"""Maximum number of characters of an answer. A longer one counts as truncated."""


class ServerPolicy:
    """Policy, and Value for a vLLM server of a folder that Turnstile wrote. Calls from several threads run in parallel."""

    def __init__(
        self,
        address: str,
        model: str | None = None,
        *,
        template: str | None = None,
        folder: str | None = None,
        config: ServerConfig | None = None,
    ) -> None:
        """`address`: the API's root, `http://host:port/v1`. `model`: its name on the server; None: the only one there.
        `folder`: the served model's tokenizer, for a model in Turnstile's format. `template`: for any other model.

        Raises UserError if the server cannot be reached or does not have the model, or without a folder or template.
        """
        import openai

        self.config = c = config or ServerConfig()
        if c.timeout <= 0 or c.retries < 0 or c.parallel < 1 or c.oversample < 1:
            raise UserError(
                f"{address}: timeout must be above 0, retries at least 0, parallel and oversample at least 1"
            )
        self.address = address
        with self._faults():
            self.client = openai.OpenAI(
                base_url=address,
                timeout=c.timeout,
                max_retries=c.retries,
                api_key=c.api_key or os.environ.get("OPENAI_API_KEY") or "none",
                http_client=limit_responses(openai.DefaultHttpxClient(timeout=c.timeout), c.timeout),
                default_headers={"Accept-Encoding": "identity"},
            )
            self.model = model or self._only_model()
        try:
            if folder is None and template is None:
                raise ValueError("add ?template=NAME, or ?folder=PATH for a model that Turnstile trained")
            self.format: Format = (
                format_of(folder, template) if folder else TemplateFormat(template_named(template or ""))
            )
        except (ValueError, TypeError) as e:
            raise UserError(f"{address}: {e}") from None
        self.token_counts = TokenCounts()
        self.count_tokens = self.token_counts.count
        self._threads = ThreadPoolExecutor(c.parallel)

    def _only_model(self) -> str:
        names = [m.id for m in self.client.models.list()]
        if len(names) != 1:
            raise UserError(
                f"{self.address}: the server has {len(names)} models; choose one with #NAME: {', '.join(names[:8])}"
            )
        return names[0]

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        """Up to `n` distinct sampled tactics for each query, most probable first."""
        return list(self._threads.map(lambda q: suggestions(self.format, q, self.sample(q, n), n), queries))

    def sample(self, query: Query, n: int) -> list[Answer]:
        """The samples behind `suggest`, with repetitions."""
        f = self.format
        extra: dict[str, Any] = {}
        if f.stop_ids:  # token ids are an extension of vLLM
            extra = {"stop_token_ids": list(f.stop_ids), "return_token_ids": True}
        answers, tokens = self._ask(
            f.prompt(query), math.ceil(n * self.config.oversample) if n > 1 else 1, f.banned(query), extra
        )
        if tokens:
            self.token_counts.record(query, tokens)
        return answers

    def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        """Distributions over steps-to-go: the softmax over the value tokens alone. Raises ValueError if the model has none."""
        if not self.format.bins:
            raise ValueError("the model has no value tokens; use it as policy only")
        return list(self._threads.map(self._evaluate, queries))

    def _evaluate(self, query: Query) -> ValueEstimate:
        bins = list(self.format.bins)
        extra = {"logprob_token_ids": bins, "return_tokens_as_token_ids": True}
        answer = self._complete(
            prompt=self.format.value_prompt(query), max_tokens=1, temperature=0.0, logprobs=1, extra_body=extra
        )
        [choice] = answer.choices
        if tokens := _used(answer):
            self.token_counts.record(query, tokens)
        found = ((choice.logprobs and choice.logprobs.top_logprobs) or [{}])[0]
        missing = [b for b in bins if f"token_id:{b}" not in found]
        if missing:
            raise UserError(
                f"{self.address}: values need log-probabilities of given tokens (vLLM's logprob_token_ids), which the server "
                "does not return; use it as policy only, or serve the model with vLLM"
            )
        return ValueEstimate(softmax([found[f"token_id:{b}"] for b in bins]))

    def _ask(
        self, prompt: Any, n: int, banned: Sequence[int], extra: dict[str, Any] | None, priors: bool = True
    ) -> tuple[list[Answer], int]:
        """n samples, and the tokens of the prompt and samples as the server reports them, else 0. Without `priors` the
        log-probabilities are 0."""
        f, c = self.format, self.config
        sampling: dict[str, Any] = {
            "n": n,
            "temperature": f.sampling["temperature"] if c.temperature is None else c.temperature,
            "top_p": f.sampling["top_p"],
            "max_tokens": f.max_new_tokens,
            "stop": list(f.stop)[:4] or None,  # the API's limit; the format cuts at the others
        }
        if banned:
            sampling["logit_bias"] = {str(t): -100 for t in banned}
        chat = isinstance(prompt, list) and prompt and isinstance(prompt[0], dict)
        if chat:
            answer = self._call(
                self.client.chat.completions.create,
                messages=prompt,
                logprobs=True if priors else None,
                extra_body=extra or None,
                **sampling,
            )
        else:
            answer = self._complete(prompt=prompt, logprobs=1 if priors else None, extra_body=extra or None, **sampling)
        read = self._chat_choice if chat else self._text_choice
        with self._faults():  # the client does not check the types of a response
            return [read(choice, priors) for choice in answer.choices], _used(answer)

    def texts(self, prompt: Any, n: int) -> tuple[list[str], int]:
        """n sampled answers, for whole proofs, without truncated ones, and the tokens of the prompt and of all n: characters / 4 if the
        server does not report them."""
        answers, tokens = self._ask(prompt, n, (), None, priors=False)
        sent = prompt if isinstance(prompt, str) else "".join(turn["content"] for turn in prompt)
        estimate = (len(sent) + sum(len(a.text) for a in answers)) // 4
        return [a.text for a in answers if a.finished], tokens or estimate

    def _complete(self, **fields: Any) -> Any:
        return self._call(self.client.completions.create, **fields)

    def _call(self, method: Any, **fields: Any) -> Any:
        with self._faults():
            answer = method(model=self.model, **{k: v for k, v in fields.items() if v is not None})
            list(answer.choices)  # a page of HTML is returned as a str
            return answer

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn errors of the client and the server into a UserError with the address."""
        import openai

        try:
            yield
        except openai.OpenAIError as e:
            kind = PromptTooLong if isinstance(e, openai.BadRequestError) and _TOO_LONG.search(str(e)) else UserError
            raise kind(f"{self.address}: {_reason(e)}") from None
        except ResponseLimitError as e:
            raise UserError(f"{self.address}: {e}") from None
        except (ValueError, AttributeError, TypeError) as e:  # for answers that are not of the API
            raise UserError(
                f"{self.address}: the server does not speak OpenAI's API; check that the address ends in /v1 "
                f"({type(e).__name__}: {e})"
            ) from None

    def _text_choice(self, choice: Any, priors: bool) -> Answer:
        logprobs = getattr(choice.logprobs, "token_logprobs", None) if choice.logprobs else None
        given = (choice.model_extra or {}).get("token_ids")
        if given is None and self.format.stop_ids:
            raise UserError(
                f"{self.address}: a model in Turnstile's format needs token ids (vLLM's return_token_ids), which the server does "
                "not return; serve its folder with vLLM"
            )
        ids = tuple(given or ())
        if ids and ids[-1] in self.format.stop_ids:
            ids = ids[:-1]
        return _answer(choice.text, ids, self._sum(logprobs) if priors else 0.0, choice.finish_reason)

    def _chat_choice(self, choice: Any, priors: bool) -> Answer:
        entries = getattr(choice.logprobs, "content", None) if choice.logprobs else None
        logprobs = None if entries is None else [e.logprob for e in entries]
        logprob = self._sum(logprobs) if priors else 0.0
        return _answer(choice.message.content or "", (), logprob, choice.finish_reason)

    def _sum(self, logprobs: Sequence[float | None] | None) -> float:
        if logprobs is None:  # an empty answer has an empty list
            raise UserError(
                f"{self.address}: the server gives no log-probabilities for model {self.model}, which a search needs as "
                "priors; use a server that returns them (vLLM and llama.cpp do), or ask for whole proofs"
            )
        total = sum(x for x in logprobs if x is not None)
        if not total <= 1e-3:  # rounding may leave one a little above 0
            raise UserError(f"{self.address}: the server gave {total} as a log-probability; it must be at most 0")
        return total

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.client.close()


def _answer(text: Any, ids: tuple[int, ...], logprob: float, finish: Any) -> Answer:
    if not isinstance(text, str):
        raise TypeError(f"an answer is {type(text).__name__}, not a text")
    return Answer(valid_text(text), ids, logprob, finish == "stop" and len(text) <= LONGEST)


def _used(answer: Any) -> int:
    return answer.usage.total_tokens or 0 if answer.usage else 0


def _reason(error: Any) -> str:
    """One line with the server's error and its remedy."""
    import openai

    if isinstance(error, openai.APITimeoutError):
        return "the server did not answer in time after several tries; raise the time-out (&timeout=300) or lower the server's load"
    if isinstance(error, openai.APIConnectionError):
        return "cannot be reached; check that a server runs there and that the address ends in /v1"
    if isinstance(error, openai.NotFoundError):
        return f"not found: check the model's name and that the address ends in /v1 ({error.message})"
    if isinstance(error, openai.AuthenticationError):
        return "the server needs a key; set OPENAI_API_KEY"
    return f"the server refused: {getattr(error, 'message', error)}"
