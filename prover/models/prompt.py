"""Encodes states and premises as prompts and tactics as targets, and decodes tactics."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from prover.lean.names import IDENTIFIER
from prover.models.tokenizer import N_BINS, N_SLOTS, TextCodec


@dataclass(frozen=True, slots=True)
class PromptConfig:
    """The shape of prompts. It is saved with the model, which can only read prompts of the shape that it was trained on."""

    max_prompt: int = 256
    """Tokens of a prompt with its marker. Longer goals lose their beginning and keep their target."""
    max_target: int = 40
    """Tokens of a tactic with its <eos>."""
    max_premises: int = N_SLOTS
    """Premises in a prompt, at most 16."""
    premise_tokens: int = 20
    """Tokens of one premise."""
    premise_share: float = 0.6
    """Largest share of `max_prompt` for premises."""
    show_names: bool = False
    """Show full names instead of slots, in premises and tactics: for models that know the library."""
    show_types: bool = False
    """Show the types of premises instead of the ends of their names: for libraries that the model never saw."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_premises <= N_SLOTS:
            raise ValueError(f"max_premises={self.max_premises}: a prompt has slots for at most {N_SLOTS}")
        if self.max_prompt < 16 or self.max_target < 2 or not 0 <= self.premise_share <= 0.8:
            raise ValueError("max_prompt must be at least 16, max_target at least 2, and premise_share in [0, 0.8]")


def steps_bin(steps: int | None) -> int:
    """The value bin of a state proved in `steps` (>= 1) more steps, or of one not proved (None)."""
    if steps is None:
        return N_BINS - 1
    if steps < 1:
        raise ValueError(f"steps={steps}: a state that is not proved needs at least one step")
    return min(steps, N_BINS - 1) - 1  # the last bin is for states without a proof


def _library_type(name: str) -> str:
    from prover.premises.index import library_premises

    premise = library_premises().get(name)
    return premise.signature if premise is not None else ""


class Prompter:
    """Encodes (state text, premises) as token ids and tactics as targets, and decodes generated ids.

    A prompt is `<bos> other goals, first goal, goal to reach, premises, marker`. Policy and value differ in the marker only and share
    the computation of the rest. A premise appears by the end of its name or by its type: from `types` in the methods below, or
    else from the library's index.
    """

    def __init__(self, codec: TextCodec, config: PromptConfig | None = None) -> None:
        self.codec = codec
        self.config = config or PromptConfig()

    def offered(self, premises: Sequence[str], types: Sequence[str] = ()) -> tuple[str, ...]:
        """The premises in the prompt. Slot i stands for offered(...)[i]."""
        limit = self.config.max_premises
        room = int(self.config.max_prompt * self.config.premise_share)
        out: list[str] = []
        for name in premises[:limit]:
            room -= len(self._premise(len(out), name, types))
            if room < 0:
                break
            out.append(name)
        return tuple(out)

    def _premise(self, index: int, name: str, types: Sequence[str]) -> list[int]:
        codec, config = self.codec, self.config
        says = ""
        if config.show_types:
            says = types[index] if types else _library_type(name)
        if config.show_names:
            return list(codec.encode(f"\n{name} : {says}" if says else f"\n{name}")[: config.premise_tokens])
        return [codec.slots[index], *codec.encode(says or ".".join(name.split(".")[-2:]))[: config.premise_tokens]]

    def prefix(
        self, state: str, premises: Sequence[str] = (), types: Sequence[str] = (), towards: str = ""
    ) -> list[int]:
        """Ids of the prompt without its marker, at most `max_prompt - 1` of them."""
        goals = state.split("\n\n")
        # The tactic acts on the first goal. It comes last, where truncation never reaches its target.
        text = "\n\n".join([*goals[1:], goals[0]])[-16 * self.config.max_prompt :]
        listed = [t for i, name in enumerate(self.offered(premises, types)) for t in self._premise(i, name, types)]
        room = self.config.max_prompt - 2 - len(listed)
        # Keep the end of the goal to reach, which is its target. At least half of the room stays for the goal that the tactic acts on.
        end = self.codec.encode(reached_text(goals[0], towards))[-(room // 2) :] if towards else ()
        return [self.codec.bos, *self.codec.encode(text)[-(room - len(end)) :], *end, *listed]

    def target(self, tactic: str, premises: Sequence[str] = (), types: Sequence[str] = ()) -> list[int] | None:
        """Ids of a tactic and <eos>, with offered premises as slot tokens; None if longer than `max_target`."""
        ids: list[int] = []
        for part in self._split(tactic, premises, types):
            ids.extend([part] if isinstance(part, int) else self.codec.encode(part))
        ids.append(self.codec.eos)
        return ids if len(ids) <= self.config.max_target else None

    def _split(self, tactic: str, premises: Sequence[str], types: Sequence[str]) -> list[str | int]:
        """A tactic as text and slot ids. A premise must be a whole identifier, or be followed by fields."""
        if self.config.show_names:
            return [tactic]
        index = {name: i for i, name in reversed(list(enumerate(self.offered(premises, types))))}
        parts: list[str | int] = []
        done = 0
        for match in IDENTIFIER.finditer(tactic) if index else ():
            components = match[0].split(".")
            for k in range(len(components), 0, -1):
                name = ".".join(components[:k])
                if name in index:
                    if match.start() > done:
                        parts.append(tactic[done : match.start()])
                    parts.append(self.codec.slots[index[name]])
                    done = match.start() + len(name)
                    break
        if done < len(tactic):
            parts.append(tactic[done:])
        return parts

    def tactic(self, ids: Sequence[int], premises: Sequence[str] = (), types: Sequence[str] = ()) -> str | None:
        """The tactic of generated ids (without <eos>); None if they contain an unused slot or another special token."""
        codec = self.codec
        offered = () if self.config.show_names else self.offered(premises, types)
        names = dict(zip(codec.slots, offered, strict=False))
        out: list[str] = []
        run: list[int] = []
        for t in ids:
            if t in names:
                out += [codec.decode(run), names[t]]
                run = []
            elif t in codec.special_ids:
                return None
            else:
                run.append(t)
        return "".join([*out, codec.decode(run)])


def reached_text(goal: str, towards: str) -> str:
    """The text of a goal to reach in prompts: after `⇝`, its hypotheses that the current goal does not have, and its target."""
    known = set(goal.split("\n"))
    head, mark, target = towards.rpartition("⊢")
    new = [line for line in head.split("\n") if line and line not in known and not line.startswith("case ")]
    return "\n⇝ " + "\n".join([*new, mark + target])


# Pools of names by kind, so that `h₁` stays a proof and `α` a type.
_POOLS = (
    [f"h{s}" for s in ["", *"₁₂₃₄₅123456abcdmnpqxyz'", "yp", "ab", "pq", "xy"]] + ["H", "ih", "this'", "hypo"],
    [*"αβγδεσρτικ", *(f"α{s}" for s in "₁₂₃₄₅"), *"ABCEFGKLMPQRSTXYZ"],
    [
        *"abcdefgijklmnopqrstuvwxyz",
        *["xs", "ys", "zs", "as", "bs", "l₁", "l₂", "l₃", "x₁", "x₂", "y₁", "a₁", "a'", "b'", "n'", "f'"],
    ],
)
_KEEP = frozenset({"this", "inst"})


def rename_map(state: str, tactics: Sequence[str], rng: random.Random) -> dict[str, str]:
    """Fresh names for the hypotheses of a state, distinct from every other identifier in it and in the tactics."""
    texts = [state, *tactics]
    old = [n for n in hypothesis_names(state) if n not in _KEEP and not n.startswith("inst") and "✝" not in n]
    # In `case h =>`, `| h =>`, `(h := …)` and `?h` the name may be a tag or another binder: keep it.
    old = [n for n in old if not any(re.search(_tag(n), t) for t in tactics)]
    used = {c for t in texts for m in IDENTIFIER.finditer(t) for c in m[0].split(".")} - set(old)
    pools = [rng.sample(p, len(p)) for p in _POOLS]
    names: dict[str, str] = {}
    for name in old:
        pool = pools[0 if name[0] == "h" or name == "ih" else 1 if name[0].isupper() or name[0] in "αβγδεσρτικ" else 2]
        fresh = next((c for c in pool if c not in used), None)
        if fresh is None:
            # The pool is exhausted: keep the name, and let no later hypothesis use it.
            if name in names.values():
                return {}
            fresh = name
        used.add(fresh)
        names[name] = fresh
    return names


def rename(text: str, names: dict[str, str]) -> str:
    """Replace whole identifiers, or the first component of dotted ones, simultaneously."""

    def fresh(match: re.Match[str]) -> str:
        head, dot, rest = match[0].partition(".")
        return names.get(head, head) + dot + rest

    return IDENTIFIER.sub(fresh, text) if names else text


def hypothesis_names(state: str) -> list[str]:
    """Names left of the colon in hypothesis lines, in order. Skips continuation lines (indented) and targets."""
    found: dict[str, None] = {}
    for line in state.split("\n"):
        head, colon, _ = line.partition(" : ")
        if not colon or line[:1].isspace() or line.startswith(("⊢", "case ")):
            continue
        parts = head.split(" ")
        if all(IDENTIFIER.fullmatch(p) and "." not in p for p in parts):
            found.update(dict.fromkeys(parts))
    return list(found)


def _tag(name: str) -> str:
    n = re.escape(name)
    return rf"case [^=]*(?<![\w'.]){n}(?![\w'])|\|\s*{n}(?![\w'])|\(\s*{n}\s*:=|\?{n}(?![\w'])"
