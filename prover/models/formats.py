"""How a model is spoken to: what it is sent for a query, what it may answer, and what its answer means.

Every back end (transformers, vLLM, a server) asks a format and knows nothing else about prompts, so that the same folder is
asked the same thing everywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from prover.models.base import Query, Suggestion
from prover.models.prompt import PromptConfig, Prompter
from prover.models.templates import Template, template_named, template_names
from prover.models.tokenizer import TextCodec

SETTINGS = "turnstile.json"

Messages = list[dict[str, str]]
"""Turns of a chat: `role` and `content`."""


class Format(Protocol):
    """What a back end needs to know."""

    stop: tuple[str, ...]
    """The answer ends before any of these."""
    stop_ids: tuple[int, ...]
    """The answer ends with any of these."""
    max_new_tokens: int
    bins: tuple[int, ...]
    """Value tokens; empty: the model has no value."""
    sampling: dict[str, float]
    """temperature and top_p that the model was made for."""

    def prompt(self, query: Query) -> list[int] | str | Messages:
        """Token ids, text, or the turns of a chat."""
        ...

    def value_prompt(self, query: Query) -> list[int]:
        """Ids of a prompt whose next token is a value token."""
        ...

    def banned(self, query: Query) -> list[int]:
        """Tokens that the answer must not have."""
        ...

    def tactic(self, query: Query, ids: Sequence[int], text: str) -> str | None:
        """What an answer means; None for one that means nothing."""
        ...


class SlotFormat:
    """The format of models that Turnstile trained: markers, premise slots and value bins as special tokens."""

    stop: tuple[str, ...] = ()

    def __init__(self, prompter: Prompter) -> None:
        self.prompter = prompter
        codec = prompter.codec
        self.stop_ids = (codec.eos,)
        self.max_new_tokens = prompter.config.max_target
        self.bins = tuple(codec.bins)
        self.sampling = {"temperature": 1.0, "top_p": 1.0}

    def prompt(self, query: Query) -> list[int]:
        return [*self.prompter.prefix(query.state.text, query.premises, query.types), self.prompter.codec.tactic]

    def value_prompt(self, query: Query) -> list[int]:
        return [*self.prompter.prefix(query.state.text, query.premises, query.types), self.prompter.codec.value]

    def banned(self, query: Query) -> list[int]:
        codec = self.prompter.codec
        allowed = {codec.eos}
        if not self.prompter.config.show_names:
            allowed |= set(codec.slots[: len(self.prompter.offered(query.premises, query.types))])
        return sorted(codec.special_ids - allowed)

    def tactic(self, query: Query, ids: Sequence[int], text: str) -> str | None:
        return self.prompter.tactic(list(ids), query.premises, query.types)


class TemplateFormat:
    """A text template around any model: no value, premises by name."""

    stop_ids: tuple[int, ...] = ()
    bins: tuple[int, ...] = ()

    def __init__(self, template: Template) -> None:
        self.template = template
        self.stop = template.stop
        self.max_new_tokens = template.max_new_tokens
        self.sampling = {"temperature": template.temperature, "top_p": template.top_p}

    def prompt(self, query: Query) -> str | Messages:
        fields = {"goal": query.state.text, "goals": [g.text for g in query.state.goals], "premises": query.premises}
        return self.template.render(fields)

    def value_prompt(self, query: Query) -> list[int]:
        raise ValueError(f"template {self.template.name}: the model has no value tokens")

    def banned(self, query: Query) -> list[int]:
        return []

    def tactic(self, query: Query, ids: Sequence[int], text: str) -> str | None:
        return self.template.answer(text)


@dataclass(frozen=True, slots=True)
class Answer:
    """One sample."""

    text: str
    ids: tuple[int, ...]
    """Without the token that ended it; empty where a back end gives none."""
    logprob: float
    """Of the text and its end, under the untempered model."""
    finished: bool
    """It ended by itself, and was not cut off."""


def suggestions(form: Format, query: Query, answers: Sequence[Answer], n: int) -> list[Suggestion]:
    """The distinct tactics in some answers, most probable first. What was cut off is not what the model meant to say."""
    best: dict[str, float] = {}
    for a in answers:
        tactic = form.tactic(query, a.ids, a.text) if a.finished else None
        if tactic and tactic.strip():
            # Two spellings of a tactic in tokens are rare, and the more probable one carries nearly all of it.
            best[tactic] = max(best.get(tactic, -math.inf), a.logprob)
    ranked = sorted(best.items(), key=lambda kv: -kv[1])[:n]
    return [Suggestion(t, lp, "model") for t, lp in ranked]


def render_prompt(prompt: str | Messages, tokenizer: Any) -> str:
    """A prompt as one text; a chat by the tokenizer's own chat template. Raises ValueError where it has none."""
    if isinstance(prompt, str):
        return prompt
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            "this template is a chat and the model's tokenizer has no chat template: choose another template"
        )
    return tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)


def check_folder(folder: str | Path) -> None:
    """Raises ValueError for a path to nothing. What may be a model's name on the hub passes."""
    if not Path(folder).is_dir() and (str(folder).startswith(("/", ".", "~")) or str(folder).count("/") > 1):
        raise ValueError("no such folder")


def folder_version(folder: str | Path) -> int:
    """The version of the weights in a folder that Turnstile wrote; 0 for any other."""
    path = Path(folder) / SETTINGS
    return int(json.loads(path.read_text(encoding="utf-8"))["version"]) if path.is_file() else 0


def format_of(folder: str | Path, template: str | None = None) -> Format:
    """The format of a model folder: what `turnstile.json` in it says, or a template by name or file.

    Raises ValueError, saying what to give, where there is neither.
    """
    path = Path(folder) / SETTINGS
    if template is None and path.is_file():
        from transformers import PreTrainedTokenizerFast

        settings = json.loads(path.read_text(encoding="utf-8"))
        if "template" in settings:
            return TemplateFormat(template_named(settings["template"]))
        codec = TextCodec(PreTrainedTokenizerFast.from_pretrained(folder))
        return SlotFormat(Prompter(codec, PromptConfig(**settings["prompt"])))
    if template is None:
        names = ", ".join(template_names())
        raise ValueError(f"{folder}: no {SETTINGS} in it, so say how to ask it: a template ({names}, or a .toml file)")
    return TemplateFormat(template_named(template))
