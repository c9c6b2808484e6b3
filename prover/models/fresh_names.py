"""A policy that never sees the library's names: what it can do by reasoning, apart from what it remembers.

Every part of every constant's name (`List.length_map`: `List`, `length`, `map`) becomes a made-up word, the same one wherever it
occurs: in the goal, in field notation (`l.map f`), in premises. So `map` in a goal and in a premise's name are still the same
word, but no longer one that a model could know. What the model answers is read back with the true names. Hypotheses, bound
variables, notation and tactics keep theirs. A tactic that uses true names by memory fails in Lean, as it would on a library
whose names nobody has seen: they mean nothing in the language that the model was shown.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

from msgspec import structs

from prover.lean.names import ATOM, IDENTIFIER
from prover.lean.theorem import Goal, ProofState
from prover.models.base import Policy, Query, Suggestion, Value, ValueEstimate
from prover.premises.index import Premise, library_premises

_NAME = re.compile(rf"""(?P<field>(?<=[)\]}}⟩?!"'\d])(?:\.{ATOM})+)|{IDENTIFIER.pattern}""")
"""An identifier, or fields of what is none: `(xs ++ ys).length`, `xs[i]?.getD`, `"ab".length`, `5#8.toNat`."""
_SAID = frozenset({"eq_comm"})
"""Names that the explorer's templates say as they are, and so belong to the language."""
_WORD = re.compile(r"[^\W\d_]+")
# Words of the language itself, which also occur in names: replacing them would change what is said, not what it is about.
_LANGUAGE = (
    "fun if then else match with let in have show from by at using only do return where forall exists true false "
    "Prop Type Sort True False intro intros cases induction generalizing simp all omega rfl rw exact apply refine constructor ext "
    "funext split left right symm trivial decide grind assumption contradiction exfalso subst unfold first done repeat "
    "try any_goals rcases obtain rintro arith this inst h ih"
)
_KEPT = frozenset(_LANGUAGE.split())
_ONSETS = (
    "b",
    "c",
    "d",
    "f",
    "g",
    "h",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "w",
    "z",
    "br",
    "cl",
    "dr",
    "gr",
    "pl",
    "tr",
)
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ou")


def fresh_word(word: str, seed: int = 0) -> str:
    """A made-up word of two or three syllables for `word`, as capital as it is; always the same for one seed."""
    digest = hashlib.sha256(f"turnstile fresh {seed} {word}".encode()).digest()
    syllables = 2 + digest[0] % 2
    made = "".join(
        _ONSETS[digest[1 + 2 * i] % len(_ONSETS)] + _VOWELS[digest[2 + 2 * i] % len(_VOWELS)] for i in range(syllables)
    )
    return made.capitalize() if word[:1].isupper() else made


@cache
def _library_words() -> frozenset[str]:
    """Of all names in the library."""
    names = {name for known in library_premises().values() for name in (known.name, *known.constants)}
    return frozenset(w for name in names for w in _WORD.findall(name))


class Translation:
    """One vocabulary of made-up words; grows as names come, and never gives two words the same."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._there: dict[str, str] = {}
        self._back: dict[str, str] = {}

    def _word(self, word: str) -> str:
        if word in _KEPT or len(word) < 2:
            return word
        if word not in self._there:
            made, n = fresh_word(word, self.seed), 0
            while made in self._back or made in _KEPT or made in self._there:
                n += 1
                made = fresh_word(f"{word} {n}", self.seed)
                made = made.capitalize() if word[:1].isupper() else made.lower()
            self._there[word], self._back[made] = made, word
        return self._there[word]

    def name(self, name: str) -> str:
        """A constant's name in made-up words."""
        return _WORD.sub(lambda m: self._word(m[0]), name)

    def text(self, text: str, constants: Iterable[str], local: Iterable[str] = ()) -> str:
        """Text of a goal: every name of one of `constants`, whole or as a field, in made-up words; `local` names are left."""
        own = set(local)
        components = {part for c in constants for part in c.split(".")}

        def fresh(match: re.Match[str]) -> str:
            first, *rest = match[0].split(".")  # of fields the first is nothing
            if match[0] in _SAID:
                return match[0]
            out = [first if first in own or first not in components else self.name(first)]
            out += [self.name(part) if part in components else part for part in rest]
            return ".".join(out)

        return _NAME.sub(fresh, text)

    def type_of(self, name: str) -> str:
        """What a library theorem says, in made-up words; nothing for what is none."""
        premise = library_premises().get(name)
        return self.text(premise.signature, premise.constants) if premise else ""

    def back(self, tactic: str, local: Iterable[str] = ()) -> str:
        """A tactic with the true names again."""
        own = set(local)

        def true(match: re.Match[str]) -> str:
            if match[0] in _SAID:
                return match[0]
            first, *rest = match[0].split(".")
            out = [first if first in own else self._true(first), *(self._true(part) for part in rest)]
            return ".".join(out)

        return _NAME.sub(true, tactic)

    def _true(self, part: str) -> str:
        return _WORD.sub(lambda m: self._back.get(m[0]) or (f"{m[0]}'unknown" if self._is_true(m[0]) else m[0]), part)

    def _is_true(self, word: str) -> bool:
        """Whether it is of a true name, which does not exist in the language that the model was shown, met there or not."""
        return word in self._there or (word not in _KEPT and len(word) > 1 and word in _library_words())


class NameObfuscator:
    """Questions, tactics and premises in the words of one translation. `types`: questions carry what premises say, in made-up
    words; without that, made-up names."""

    def __init__(self, seed: int = 0, types: bool = False) -> None:
        self.translation = Translation(seed)
        self.types = types

    def obfuscate(self, query: Query) -> Query:
        """A question in made-up words."""
        state = query.state
        # Premises' names are names of constants too: their components may stand in the goal as fields.
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
        """A tactic in true names as it reads in made-up words."""
        constants = {c for g in query.state.goals for c in g.constants} | set(query.premises)
        return self.translation.text(tactic, constants, _local(query.state))

    def restore_tactic(self, tactic: str, query: Query) -> str:
        """A tactic in made-up words with the true names again."""
        return self.translation.back(tactic, _local(query.state))

    def obfuscate_premises(self, premises: Sequence[Premise]) -> dict[str, Premise]:
        """Premises by their made-up names, their statements in made-up words."""
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
    """`policy` behind a obfuscator. Also a Value, if the policy is one."""

    def __init__(self, policy: Policy, seed: int = 0, value: Value | None = None, types: bool = False) -> None:
        self.policy = policy
        self.value = value
        self.obfuscator = NameObfuscator(seed, types)

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        answers = self.policy.suggest([self.obfuscator.obfuscate(q) for q in queries], n)
        out = []
        for query, suggestions in zip(queries, answers, strict=True):
            true = [replace(s, tactic=self.obfuscator.restore_tactic(s.tactic, query)) for s in suggestions]
            out.append(list({s.tactic: s for s in reversed(true)}.values())[::-1])
        return out

    def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        value = self.value if self.value is not None else self.policy
        return value.evaluate([self.obfuscator.obfuscate(q) for q in queries])  # type: ignore[attr-defined]


def _local(state: ProofState) -> frozenset[str]:
    return frozenset(name for g in state.goals for name, _ in g.hypotheses)
