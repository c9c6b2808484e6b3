"""Hides the library's names from a policy, to measure reasoning apart from memory.

Every part of a constant's name (`List.length_map`: `List`, `length`, `map`) becomes a made-up word, the same one in the goal,
in field notation (`l.map f`) and in premises. Names that shared a part still share it, but the model cannot know them. Answers are
translated back. Hypotheses, bound variables, notation and tactics keep their names. A true name that the model remembers
fails in Lean, as it would in an unknown library.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from msgspec import structs

from prover.lean.names import ATOM, IDENTIFIER
from prover.lean.theorem import Goal, ProofState
from prover.models.base import Query, Suggestion, ValueEstimate
from prover.premises.index import Premise, library_premises

_NAME = re.compile(rf"""(?P<field>(?<=[)\]}}⟩?!"'\d])(?:\.{ATOM})+)|{IDENTIFIER.pattern}""")
"""An identifier, or fields of another term: `(xs ++ ys).length`, `xs[i]?.getD`, `"ab".length`, `5#8.toNat`."""
_TEMPLATE_NAMES = frozenset({"eq_comm"})
"""Names in the explorer's templates, which do not change."""
_WORD = re.compile(r"[^\W\d_]+")
# Words of the language itself, which do not change although they also occur in names.
_KEPT_WORDS = """
fun if then else match with let in have show from by at using only do return where forall exists true false Prop Type
Sort True False intro intros cases induction generalizing simp all omega rfl rw exact apply refine constructor ext
funext split left right symm trivial decide grind assumption contradiction exfalso subst unfold first done repeat try
any_goals rcases obtain rintro arith this inst h ih
"""
_KEPT = frozenset(_KEPT_WORDS.split())
_CONSONANTS = "b c d f g h k l m n p r s t v w z br cl dr gr pl tr"
_ONSETS = _CONSONANTS.split()
_VOWELS = ["a", "e", "i", "o", "u", "ai", "ou"]


def fresh_word(word: str, seed: int = 0) -> str:
    """A made-up word of two or three syllables for `word`, capitalised like it; deterministic for a seed."""
    digest = hashlib.sha256(f"turnstile fresh {seed} {word}".encode()).digest()
    syllables = 2 + digest[0] % 2
    made = "".join(
        _ONSETS[digest[1 + 2 * i] % len(_ONSETS)] + _VOWELS[digest[2 + 2 * i] % len(_VOWELS)] for i in range(syllables)
    )
    return made.capitalize() if word[:1].isupper() else made


@cache
def _library_words() -> frozenset[str]:
    """The words of all names in the library."""
    names = {name for known in library_premises().values() for name in (known.name, *known.constants)}
    return frozenset(w for name in names for w in _WORD.findall(name))


class Translation:
    """An injective vocabulary of made-up words, which grows with the names translated."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._fresh: dict[str, str] = {}
        self._original: dict[str, str] = {}

    def _word(self, word: str) -> str:
        if word in _KEPT or len(word) < 2:
            return word
        if word not in self._fresh:
            made, n = fresh_word(word, self.seed), 0
            while made in self._original or made in _KEPT or made in self._fresh:
                n += 1
                made = fresh_word(f"{word} {n}", self.seed)
                made = made.capitalize() if word[:1].isupper() else made.lower()
            self._fresh[word], self._original[made] = made, word
        return self._fresh[word]

    def name(self, name: str) -> str:
        """A constant's name in made-up words."""
        return _WORD.sub(lambda m: self._word(m[0]), name)

    def text(self, text: str, constants: Iterable[str], local: Iterable[str] = ()) -> str:
        """Translate the names of `constants` in a goal, whole or as fields. `local` names stay."""
        components = {part for c in constants for part in c.split(".")}
        return _translated(text, lambda part: self.name(part) if part in components else part, local)

    def type_of(self, name: str) -> str:
        """The type of a library theorem in made-up words; empty for other names."""
        premise = library_premises().get(name)
        return self.text(premise.signature, premise.constants) if premise else ""

    def back(self, tactic: str, local: Iterable[str] = ()) -> str:
        """Translate a tactic back to the true names."""
        return _translated(tactic, self._true, local)

    def _true(self, part: str) -> str:
        def true(match: re.Match[str]) -> str:
            word = match[0]
            if word in self._original:
                return self._original[word]
            # A part of a true name does not exist in the translated language.
            known = word in self._fresh or (word not in _KEPT and len(word) > 1 and word in _library_words())
            return f"{word}'unknown" if known else word

        return _WORD.sub(true, part)


class NameObfuscator:
    """Translates queries, tactics and premises with one vocabulary. `types`: queries carry the translated types of premises."""

    def __init__(self, seed: int = 0, types: bool = False) -> None:
        self.translation = Translation(seed)
        self.types = types

    def obfuscate(self, query: Query) -> Query:
        state = query.state
        constants = {c for g in state.goals for c in g.constants}
        local = _local(state)

        def say(text: str) -> str:
            return self.translation.text(text, constants, local)

        goals = tuple(
            Goal(
                say(g.text),
                tuple((n, say(t)) for n, t in g.hypotheses),
                say(g.target),
                tuple(self.translation.name(c) for c in g.constants),
                g.renamed,
            )
            for g in state.goals
        )
        premises = tuple(self.translation.name(p) for p in query.premises)
        types = tuple(self.translation.type_of(p) for p in query.premises) if self.types else ()
        return replace(query, state=ProofState(state.id, state.key, goals), premises=premises, types=types)

    def obfuscate_tactic(self, tactic: str, query: Query) -> str:
        constants = {c for g in query.state.goals for c in g.constants} | set(query.premises)
        return self.translation.text(tactic, constants, _local(query.state))

    def restore_tactic(self, tactic: str, query: Query) -> str:
        return self.translation.back(tactic, _local(query.state))

    def obfuscate_premises(self, premises: Sequence[Premise]) -> dict[str, Premise]:
        """Translated premises by their made-up names."""
        fresh = self.translation.name
        return {
            fresh(p.name): structs.replace(
                p,
                name=fresh(p.name),
                head=fresh(p.head),
                sides=(fresh(p.sides[0]), fresh(p.sides[1])),
                constants=tuple(map(fresh, p.constants)),
                type="",
            )
            for p in premises
        }


class FreshNamesPolicy:
    """Wraps `policy` so that it sees made-up names only. Also a Value, if the policy is one."""

    def __init__(self, policy: Any, types: bool = False) -> None:
        self.policy = policy
        self.obfuscator = NameObfuscator(types=types)

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        answers = self.policy.suggest([self.obfuscator.obfuscate(q) for q in queries], n)
        out = []
        for query, suggestions in zip(queries, answers, strict=True):
            true = [replace(s, tactic=self.obfuscator.restore_tactic(s.tactic, query)) for s in suggestions]
            out.append(list({s.tactic: s for s in reversed(true)}.values())[::-1])
        return out

    def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        return self.policy.evaluate([self.obfuscator.obfuscate(q) for q in queries])


def _translated(text: str, translate: Callable[[str], str], local: Iterable[str]) -> str:
    """The text with `translate` applied to the components of each name, except to `local` names at its beginning."""
    own = set(local)

    def new(match: re.Match[str]) -> str:
        first, *rest = match[0].split(".")  # for fields the first component is empty
        if match[0] in _TEMPLATE_NAMES:
            return match[0]
        return ".".join([first if first in own else translate(first), *map(translate, rest)])

    return _NAME.sub(new, text)


def _local(state: ProofState) -> frozenset[str]:
    return frozenset(name for g in state.goals for name, _ in g.hypotheses)
