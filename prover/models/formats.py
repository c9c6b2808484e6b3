"""Prompt formats: the prompt for a query, the tokens allowed in the answer, and the tactic in it.

Every back end (transformers, vLLM, a server) uses these, so that a model folder gets the same prompts everywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from prover.models.base import Query, Sampled, Suggestion
from prover.models.manifest import SETTINGS
from prover.models.prompt import PromptConfig, Prompter, reached_text
from prover.models.templates import Template, template_named, template_names
from prover.models.tokenizer import TextCodec

Messages = list[dict[str, str]]
"""Turns of a chat: `role` and `content`."""


class Format(Protocol):
    """The prompt format of a model."""

    stop: tuple[str, ...]
    """Strings that end the answer and are not part of it."""
    stop_ids: tuple[int, ...]
    """Tokens that end the answer."""
    max_new_tokens: int
    bins: tuple[int, ...]
    """Value tokens; empty: the model has no value."""
    sampling: dict[str, float]
    """The model's default temperature and top_p."""

    def prompt(self, query: Query) -> list[int] | str | Messages:
        """Token ids, text, or the turns of a chat."""
        ...

    def value_prompt(self, query: Query) -> list[int]:
        """Token ids of a prompt whose next token is a value token."""
        ...

    def banned(self, query: Query) -> list[int]:
        """Tokens that the answer must not contain."""
        ...

    def tactic(self, query: Query, ids: Sequence[int], text: str) -> str | None:
        """The tactic in an answer; None if there is none."""
        ...


class SlotFormat:
    """The format of Turnstile's own models: markers, premise slots and value bins are special tokens."""

    stop: tuple[str, ...] = ()

    def __init__(self, prompter: Prompter) -> None:
        self.prompter = prompter
        codec = prompter.codec
        self.stop_ids = (codec.eos,)
        self.max_new_tokens = prompter.config.max_target
        self.bins = tuple(codec.bins)
        self.sampling = {"temperature": 1.0, "top_p": 1.0}

    def prompt(self, query: Query) -> list[int]:
        return [*self._prefix(query), self.prompter.codec.tactic]

    def value_prompt(self, query: Query) -> list[int]:
        return [*self._prefix(query), self.prompter.codec.value]

    def _prefix(self, query: Query) -> list[int]:
        return self.prompter.prefix(query.state.text, query.premises, query.types, query.towards)

    def banned(self, query: Query) -> list[int]:
        codec = self.prompter.codec
        allowed = {codec.eos}
        if not self.prompter.config.show_names:
            allowed |= set(codec.slots[: len(self.prompter.offered(query.premises, query.types))])
        return sorted(codec.special_ids - allowed)

    def tactic(self, query: Query, ids: Sequence[int], text: str) -> str | None:
        return self.prompter.tactic(list(ids), query.premises, query.types)


class TemplateFormat:
    """A text template for any model, without value tokens. Premises appear by name."""

    stop_ids: tuple[int, ...] = ()
    bins: tuple[int, ...] = ()

    def __init__(self, template: Template) -> None:
        self.template = template
        self.stop = template.stop
        self.max_new_tokens = template.max_new_tokens
        self.sampling = {"temperature": template.temperature, "top_p": template.top_p}

    def prompt(self, query: Query) -> str | Messages:
        goals = [g.text for g in query.state.goals]
        # Keep the end of the goal to reach, which is its target. At least half of the room stays for the goal that the tactic acts on.
        towards = reached_text(goals[0], query.towards) if query.towards else ""
        towards = towards[-(self.template.max_prompt_characters // 2) :]
        fields = {"goal": query.state.text, "goals": goals, "premises": query.premises, "towards": towards}
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
    """Empty if the back end returns none."""
    logprob: float
    """Log-probability of the text and its end under the untempered model."""
    finished: bool
    """Whether it ended by itself and was not truncated."""
    sampled: Sampled | None = None


def suggestions(form: Format, query: Query, answers: Sequence[Answer], n: int) -> list[Suggestion]:
    """The distinct tactics in the finished answers, most probable first.

    A single answer with recorded tokens is always returned, so that learning sees those that contain no tactic.
    """
    if len(answers) == 1 and (a := answers[0]).sampled is not None:
        tactic = form.tactic(query, a.ids, a.text) if a.finished else None
        return [Suggestion(tactic or "", a.logprob, "model", a.sampled, cut=not a.finished)]
    best: dict[str, float] = {}
    for a in answers:
        tactic = form.tactic(query, a.ids, a.text) if a.finished else None
        if tactic and tactic.strip():
            # Several tokenisations of a tactic are rare, and the most probable one has nearly all of the mass.
            best[tactic] = max(best.get(tactic, -math.inf), a.logprob)
    ranked = sorted(best.items(), key=lambda kv: -kv[1])[:n]
    return [Suggestion(t, lp, "model") for t, lp in ranked]


def render_prompt(prompt: str | Messages, tokenizer: Any) -> str:
    """A prompt as one text. A chat uses the tokenizer's chat template; raises ValueError where it has none."""
    if isinstance(prompt, str):
        return prompt
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            "the template is a chat but the model's tokenizer has no chat template; choose another template"
        )
    return tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)


def check_folder(folder: str | Path) -> None:
    """Raise ValueError for a path that does not exist. Names that may be on the Hugging Face hub pass."""
    if not Path(folder).is_dir() and (str(folder).startswith(("/", ".", "~")) or str(folder).count("/") > 1):
        raise ValueError("no such folder")


def folder_version(folder: str | Path) -> int:
    """The version of the weights in a folder that Turnstile wrote; 0 for other folders."""
    path = Path(folder) / SETTINGS
    return int(json.loads(path.read_text(encoding="utf-8"))["version"]) if path.is_file() else 0


def format_of(folder: str | Path, template: str | None = None) -> Format:
    """The format of a model folder: the given template (name or file), or the one in its `turnstile.json`.

    Raises ValueError if there is neither.
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
        raise ValueError(f"{folder}: no {SETTINGS} in it; name its prompt template ({names}, or a .toml file)")
    return TemplateFormat(template_named(template))
