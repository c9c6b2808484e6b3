"""Prompt templates for pretrained models: TOML files with Jinja."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import jinja2
import msgspec
from jinja2.sandbox import SandboxedEnvironment

FOLDER = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Template:
    """The prompt template of a family of models. The fields are the keys of the TOML file."""

    name: str
    prompt: str
    """Jinja. For a tactic: `goal` (all goals, separated by blank lines), `goals`, `premises` (full names),
    `towards` (a line break, `⇝` and the goal to reach; empty without one). For a proof:
    `statement` (a declaration up to `:= by`), `header` (imports and context), `goal`, and after a failure `tried` and
    `error`."""
    source: str
    """Publication of the format."""
    kind: Literal["causal", "seq2seq"] = "causal"
    answers: Literal["tactic", "proof"] = "tactic"
    chat: bool = False
    """Send a chat, with the tokenizer's own chat template."""
    system: str = ""
    """The system turn of a chat."""
    retry: str = ""
    """Jinja, appended to the prompt after Lean rejected an answer; empty: the prompt is repeated."""
    stop: tuple[str, ...] = ()
    extract: str = ""
    """Regular expression (dot matches newlines); group 1 of its last match is the answer. Empty: the whole text."""
    continues: bool = False
    """The prompt ends inside a code block; the answer is the text up to the end of the block."""
    max_new_tokens: int = 128
    temperature: float = 1.0
    top_p: float = 1.0
    decode: Literal["sample", "beam"] = "sample"
    """Decoding with transformers; `beam` for models made for beam search."""
    max_prompt_characters: int = 8000
    """Longer prompts lose their last goals, then the beginning of the first goal; its target stays."""

    @property
    def shows_goal_to_reach(self) -> bool:
        """Whether the prompt has the variable `towards`."""
        return re.search(r"\btowards\b", self.prompt) is not None

    @cached_property
    def _jinja(self) -> tuple[jinja2.Template, jinja2.Template]:
        # Sandboxed: template files are untrusted.
        environment = SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
        return environment.from_string(self.prompt), environment.from_string(self.retry)

    def render(self, values: Mapping[str, Any]) -> str | list[dict[str, str]]:
        """The prompt: a text, or the turns of a chat. Raises ValueError for a template with an unknown variable."""
        goal = cut_goals(str(values.get("goal", "")), self.max_prompt_characters)
        given = {"premises": (), "towards": "", "header": "", "tried": "", "error": "", **values, "goal": goal}
        prompt, retry = self._jinja
        try:
            text = prompt.render(given)
            if given["error"] and self.retry:
                text += retry.render(given)
        except jinja2.TemplateError as e:
            raise ValueError(f"template {self.name}: {e}") from None
        if not self.chat:
            return text
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": text}]

    def answer(self, text: str) -> str | None:
        """The tactic or proof in a model's text; None if there is none."""
        if self.extract:
            found = re.findall(self.extract, text, re.DOTALL)
            if not found:
                return None
            text = found[-1]
        for stop in self.stop:  # some back ends keep the stop string
            text = text.split(stop, 1)[0]
        text = text.rstrip() if self.answers == "proof" else text.strip()
        return text if text.strip() else None


def cut_goals(goals: str, most: int) -> str:
    """Shorten goals (separated by blank lines) to `most` characters: drop the last ones, then the beginning of the first."""
    while len(goals) > most and "\n\n" in goals:
        goals = goals.rsplit("\n\n", 1)[0]
    return goals[-most:]


def template_named(name: str) -> Template:
    """A built-in template by name, or a TOML file. Raises ValueError for an unknown name or an invalid file."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise ValueError(f"no template {name!r}; choose {', '.join(template_names())} or a .toml file")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ValueError(f"{path}: not TOML: {e}") from None
    known = {f.name for f in fields(Template)} - {"name"}
    unknown = sorted(set(data) - known)
    missing = sorted({"prompt", "source"} - set(data))
    if unknown or missing:
        wrong = f"unknown key {unknown[0]!r}" if unknown else f"key {missing[0]!r} is missing"
        raise ValueError(f"{path}: {wrong}; a template has {', '.join(sorted(known))}")
    try:
        template = msgspec.convert({**data, "name": name if name.endswith(".toml") else path.stem}, Template)
    except msgspec.ValidationError as e:
        raise ValueError(f"{path}: {e}") from None
    try:
        _ = template._jinja
        groups = re.compile(template.extract).groups
    except (jinja2.TemplateError, re.error) as e:
        raise ValueError(f"{path}: {e}") from None
    if groups > 1:
        raise ValueError(f"{path}: extract has {groups} groups but only one is the answer; write others as (?:…)")
    return template


def template_names() -> list[str]:
    return sorted(p.stem for p in FOLDER.glob("*.toml"))
