"""Policies without a model: a fixed list of tactics (the baseline) and filled tactic templates (the explorer)."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace

from prover.lean.theorem import Goal, ProofState
from prover.models.assessor import Assessor
from prover.models.base import Query, Suggestion
from prover.models.elementary import Actions, elementary_tactics
from prover.models.fresh_names import NameObfuscator
from prover.models.goal_names import GoalNames, names_of
from prover.models.library_templates import further_tactics
from prover.models.local_templates import local_context, local_tactics
from prover.models.premise_features import premise_candidates
from prover.models.ranker import Candidate, Reader, TacticRanker
from prover.premises.imported import known_theorems
from prover.premises.index import LibraryIndex, Premise
from prover.premises.local import local_premises

PORTFOLIO = ("rfl", "simp", "omega", "decide", "simp_all", "grind")
"""Closing tactics for any goal."""


def _binds(target: str) -> bool:
    """Whether the goal has variables or hypotheses to introduce."""
    return target.startswith(("∀ ", "¬")) or " → " in target


class Portfolio:
    """A fixed list of closing tactics in a fixed order."""

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return [self._one(q)[:n] for q in queries]

    def _one(self, query: Query) -> list[Suggestion]:
        if query.attempt or not query.state.goals:
            return []
        lead = "intros; " if _binds(query.state.goals[0].target) else ""
        total = sum(0.9**i for i in range(len(PORTFOLIO)))
        return [Suggestion(lead + t, math.log(0.9**i / total), "portfolio") for i, t in enumerate(PORTFOLIO)]


# Templates with weights: roughly how often each closed an applicable goal, on training theorems that the portfolio leaves open.
# {h}, {g}: hypotheses; {p}: a lemma; {ps}: the best lemmas; {d}: a function of the goal; {ds}: all functions offered.
_GENERAL = (
    ("constructor", 0.6),
    ("intros", 0.3),
    ("exfalso", 0.1),
    ("split", 0.6),
    ("split <;> simp_all", 0.9),
    ("ext", 0.4),
    ("ext <;> simp", 0.7),
    ("ext <;> simp_all", 0.5),
    ("funext", 0.2),
    ("simp at *", 0.3),
    ("assumption", 0.3),
    ("contradiction", 0.3),
    ("left", 0.1),
    ("right", 0.1),
    ("constructor <;> simp_all", 0.5),
    ("constructor <;> intro h <;> simp_all", 0.7),
    ("symm", 0.2),
    ("simp <;> omega", 0.8),
    ("simp_all <;> omega", 0.4),
    ("simp [eq_comm]", 0.3),
    ("simp; rfl", 0.3),
    ("infer_instance", 0.2),
)
_SMALL_WITNESS = "first | exact ⟨_, rfl⟩ | " + " | ".join(
    f"(refine ⟨{n}, ?_⟩; first | rfl | decide | (simp; done))" for n in range(17)
)
_INDUCTION = (
    ("induction {h} <;> simp_all", 1.3),
    ("induction {h} <;> simp_all <;> omega", 0.5),
    ("induction {h}", 0.4),
)
_VARIABLE = (
    ("cases {h} <;> simp", 0.4),
    ("cases {h} <;> rfl", 1.0),
    ("cases {h} <;> simp_all", 1.2),
    ("cases {h} <;> simp <;> omega", 0.4),
    ("cases {h} <;> simp <;> split <;> simp_all", 0.5),
    ("cases {h} <;> rename_i {h} <;> cases {h} <;> simp_all", 0.4),
    ("cases {h}", 0.4),
)
_TWO_VARIABLES = (("cases {h} <;> cases {g} <;> simp_all", 0.9), ("cases {h} <;> cases {g} <;> rfl", 0.4))
_INDUCTION_GENERALIZING = (("induction {h} generalizing {g} <;> cases {g} <;> simp_all", 0.7),)
_PROPOSITION = (("by_cases {h} <;> simp_all", 1.0), ("by_cases {h}", 0.2))
_HYPOTHESIS = (
    ("exact {h}", 0.3),
    ("rw [{h}]", 0.4),
    ("rw [← {h}]", 0.2),
    ("simp [{h}]", 0.6),
    ("apply {h}", 0.3),
    ("cases {h}", 0.3),
    ("cases {h} <;> simp_all", 0.5),
    ("induction {h} <;> simp_all", 0.2),
    ("simp at {h}", 0.2),
    ("simpa using {h}", 0.3),
    ("exact {h}.symm", 0.1),
    ("subst {h}", 0.2),
)
_HYPOTHESIS_CASTS = (("exact_mod_cast {h}", 2.0),)
_DEFINITION = (
    ("simp [{d}]", 0.8),
    ("simp_all [{d}]", 0.4),
    ("simp [{d}] <;> omega", 0.5),
    ("unfold {d} <;> split <;> simp_all", 0.9),
    ("unfold {d} <;> simp_all", 0.3),
    ("unfold {d} <;> rfl", 0.3),
    ("unfold {d}", 0.2),
)
_DEFINITIONS = (
    ("simp [{ds}]", 0.8),
    ("simp_all [{ds}]", 0.5),
    ("simp [{ds}] <;> split <;> simp_all", 1.3),
    ("simp [{ds}] <;> omega", 0.5),
)
_VARIABLE_DEFINITIONS = (
    ("cases {h} <;> simp_all [{ds}]", 1.3),
    ("cases {h} <;> simp [{ds}] <;> split <;> simp_all", 0.5),
)
_INDUCTION_DEFINITIONS = (("induction {h} <;> simp_all [{ds}]", 1.3),)
_INDUCTION_GENERALIZING_DEFINITIONS = (("induction {h} generalizing {g} <;> simp_all [{ds}]", 0.6),)
_PREMISE_ANY = (
    ("simp [{p}]", 0.4),
    ("exact {p} ..", 0.4),
    ("apply {p}", 0.35),
    ("apply {p} <;> simp_all", 0.3),
    ("simp_all [{p}]", 0.3),
)
_PREMISE_EQUATION = (("rw [{p}]", 0.6), ("rw [← {p}]", 0.3), ("rw [{p}] <;> simp", 0.4), ("exact ({p} ..).symm", 0.2))
_PREMISE_HYPOTHESIS = (("exact {p} {h}", 0.2), ("simpa [{p}] using {h}", 0.3), ("rw [{p}] at {h}", 0.2))
_PREMISES = (
    ("simp [{ps}]", 0.9),
    ("simp_all [{ps}]", 0.5),
    ("simp [{ds}, {ps}]", 0.5),
    ("simp [{ps}] <;> omega", 0.3),
    ("grind [{ps}]", 0.3),
)
_VARIABLE_PREMISES = (("cases {h} <;> simp_all [{ps}]", 1.0),)
_INDUCTION_PREMISES = (("induction {h} <;> simp_all [{ps}]", 1.2),)
_ALTERNATIVES = (
    ("first | exact {p} ..", 0.8),
    ("first | apply {p} <;> first | assumption | omega | simp_all", 0.6),
    ("first | rw [{p}] <;> first | done | assumption | omega", 0.4),
    ("first | rw [← {p}] <;> first | done | assumption | omega", 0.2),
)
"""Many lemmas in one call: Lean tries them in order until one closes the goal."""

FLOOR = 0.3
"""Share of the templates' own weights in a mixture with a ranker's probabilities."""
SHARPNESS = 3.0
_FADE = 0.85
"""Factor on a template's weight from one premise or hypothesis to the next."""


class Explorer:
    """Tactic templates filled with hypotheses, lemmas and definitions.

    The order is sampled without replacement in proportion to weight ** SHARPNESS. A tactic's probability is its share of
    the plain weights, which is flatter and keeps a search broad. Both depend only on the seed and the state: a search
    is reproducible, and a further expansion continues the same order. Without learning, the explorer finds the first proofs
    and keeps a trained policy exploring.

    `ranker`: gives a learned order instead; with an `obfuscator` it sees made-up names. The weights keep the share FLOOR of the
    probability, because a ranker may wrongly rule out a tactic. `premises`: number of premises that are used one by one.
    `actions`: `elementary` leaves out automation. `assessor`: corrects the probabilities of a mixture (`assessed`) if `assess` has
    `tactics`, and orders the lemmas that fill templates if it has `premises`.
    """

    def __init__(
        self,
        index: LibraryIndex | None = None,
        seed: int = 0,
        premises: int = 8,
        ranker: TacticRanker | None = None,
        obfuscator: NameObfuscator | None = None,
        actions: Actions = "full",
        assessor: Assessor | None = None,
        assess: Sequence[str] = ("tactics",),
    ) -> None:
        self.seed = seed
        self.assessor = assessor if "tactics" in assess else None
        self.premise_assessor = assessor if "premises" in assess and obfuscator is None else None
        self.weighted = True
        self.premises = premises
        self.actions: Actions = actions
        self.ranker = ranker
        self.obfuscator = obfuscator
        self._known: Mapping[str, Premise] = known_theorems(index) if index is not None else {}

    def reseeded(self, draw: int) -> Explorer:
        """The same explorer with another random order; itself for 0."""
        if draw == 0:
            return self
        other = copy(self)
        other.seed = self.seed + 1_000_003 * draw  # far from the seeds of other provers
        return other

    def unweighted(self) -> Explorer:
        """The same templates with equal weights: a baseline."""
        other = copy(self)
        other.weighted = False
        return other

    def suggest(
        self, queries: Sequence[Query], n: int, others: Sequence[Sequence[str]] | None = None
    ) -> list[list[Suggestion]]:
        """`n` tactics for each query, and the next `n` for the next `attempt`. `others`: further tactics for each query, which
        a ranker scores among the explorer's own and returns in addition."""
        if self.ranker is not None:
            extra = others or [()] * len(queries)
            return [self._ranked(self.ranker, q, n, o) for q, o in zip(queries, extra, strict=True)]
        return [self._drawn(q, n) for q in queries]

    def _ranked(self, ranker: TacticRanker, query: Query, n: int, others: Sequence[str]) -> list[Suggestion]:
        own = self._weighted(query)
        tactics = list(dict.fromkeys([*own, *others]))
        if not tactics:
            return []
        goal, candidates = self._read(query, tactics)
        total = sum(own.values()) or 1.0

        def ordered(count: int) -> list[tuple[str, float]]:
            """The first `count` of `tactics`, best first."""
            ranked = ranker.rank(goal, candidates[:count], count)
            mixed = [(tactics[i], (1 - FLOOR) * p + FLOOR * own.get(tactics[i], 0.0) / total) for i, p in ranked]
            return sorted(mixed, key=lambda m: -m[1])

        # The slice is from a ranking without `others`. These differ between attempts, and would shift tactics out of every slice.
        mine = ordered(len(own))
        turn = {t for t, _ in mine[query.attempt * n : (query.attempt + 1) * n]}
        chosen = [
            m for m in (ordered(len(tactics)) if len(tactics) > len(own) else mine) if m[0] in turn or m[0] in others
        ]
        return [Suggestion(t, math.log(max(p, 1e-12)), "explorer" if t in own else "") for t, p in chosen]

    def assessed(self, queries: Sequence[Query], rows: list[list[Suggestion]]) -> list[list[Suggestion]]:
        """The suggestions for each query, each probability multiplied by that of Lean accepting the tactic, best first."""
        if self.assessor is None:
            return rows
        return [self._assessed(self.assessor, q, row) for q, row in zip(queries, rows, strict=True)]

    def _assessed(self, assessor: Assessor, query: Query, row: list[Suggestion]) -> list[Suggestion]:
        if not row or not query.state.goals:
            return row
        accepted = assessor.accepted(*self._read(query, [s.tactic for s in row]))
        found = [replace(s, logprob=s.logprob + math.log(p)) for s, p in zip(row, accepted, strict=True)]
        return sorted(found, key=lambda s: -s.logprob)

    def _read(self, query: Query, tactics: Sequence[str]) -> tuple[Goal, list[Candidate]]:
        """The first goal and the tactics as learned models see them."""
        shown, known, said = query, self._known, tactics
        if self.obfuscator is not None:
            shown = self.obfuscator.obfuscate(query)
            known = self.obfuscator.obfuscate_premises([self._known[p] for p in query.premises if p in self._known])
            said = [self.obfuscator.obfuscate_tactic(t, query) for t in tactics]
        goal = shown.state.goals[0]
        reader = Reader(goal, shown.premises, known)
        return goal, [reader.read(t) for t in said]

    def _weighted(self, query: Query) -> dict[str, float]:
        """Every tactic with the largest weight that a template gives it."""
        weighted: dict[str, float] = {}
        for tactic, weight in self.instances(query.state, query.premises):
            weighted[tactic] = max(weighted.get(tactic, 0.0), weight if self.weighted else 1.0)
        return weighted

    def _drawn(self, query: Query, n: int) -> list[Suggestion]:
        weighted = self._weighted(query)
        rng = random.Random(f"{self.seed} {query.state.key}")
        total = sum(weighted.values())
        # Gumbel-top-k: a sample without replacement in proportion to weight ** SHARPNESS (Vieira 2014).
        noise = {t: -math.log(-math.log(rng.random())) for t in weighted}
        order = sorted(weighted, key=lambda t: SHARPNESS * math.log(weighted[t]) + noise[t], reverse=True)
        chosen = order[query.attempt * n : (query.attempt + 1) * n]
        return [Suggestion(t, math.log(weighted[t] / total), "explorer") for t in chosen]

    def instances(self, state: ProofState, premises: Sequence[str]) -> Iterator[tuple[str, float]]:
        """(tactic, weight) of every template that fits the state's first goal."""
        if not state.goals:
            return
        goal = state.goals[0]
        at_hand = names_of(goal)
        own = state.surroundings.by_name
        lemmas = [p for p in premises if (own[p].kind == "theorem" if p in own else self._is_lemma(p))]
        functions = [p for p in premises if p not in lemmas]
        if self.actions == "elementary":
            context = local_context(goal, state.surroundings)
            lemmas = self._by_use(state, list(dict.fromkeys([*context.lemmas, *lemmas])))
            steps = elementary_tactics(goal, at_hand, lemmas, functions, context, state.surroundings)
            yield from ((step, 1.0) for step in steps)
            return
        lemmas = self._by_use(state, lemmas)
        lead = "intros; " if _binds(goal.target) else ""
        for i, tactic in enumerate(PORTFOLIO):
            yield lead + tactic, 4.0 * 0.9**i
        if lead:
            yield "intros", 3.0
            yield "intro h", 0.8
        yield from _GENERAL
        if at_hand.shape == "Exists":
            yield _SMALL_WITNESS, 2.0
        if own:
            yield from local_tactics(goal, at_hand, local_context(goal, state.surroundings))
        yield from further_tactics(state.surroundings.tactics, at_hand)
        yield from _fill(_VARIABLE, h=at_hand.variables)
        yield from _fill(_INDUCTION, h=at_hand.recursive)
        yield from _fill(_PROPOSITION, h=at_hand.propositions)
        yield from _fill(_HYPOTHESIS, h=at_hand.facts)
        if "↑" in goal.text:
            yield from _fill(_HYPOTHESIS_CASTS, h=at_hand.facts)
        for i, h in enumerate(at_hand.variables[:3]):
            others = [g for g in at_hand.variables[:3] if g != h]
            yield from _fill(
                _TWO_VARIABLES, fade=_FADE**i, h=[h], g=[g for g in others if at_hand.variables.index(g) > i]
            )
            if h in at_hand.recursive:
                yield from _fill(_INDUCTION_GENERALIZING, fade=_FADE**i, h=[h], g=others)
        yield from self._unfolding(functions, at_hand)
        yield from self._lemmas(lemmas, functions, at_hand)

    def _by_use(self, state: ProofState, lemmas: list[str]) -> list[str]:
        """The lemmas in the order in which the assessor expects a proof to use them, with further ones of the surroundings."""
        if self.premise_assessor is None:
            return lemmas
        goal = state.goals[0]
        local = local_premises(state.surroundings).candidates(goal.constants, lemmas)
        uses = self.premise_assessor.uses(
            goal, premise_candidates(goal, local, [self._known[p] for p in lemmas if p in self._known])
        )
        # Equal ones keep their order.
        return sorted(dict.fromkeys([*lemmas, *uses]), key=lambda p: -uses.get(p, 0.0))

    def _unfolding(self, functions: Sequence[str], at_hand: GoalNames) -> Iterator[tuple[str, float]]:
        if not functions:
            return
        together = [", ".join(functions)]
        yield from _fill(_DEFINITION, d=functions)
        yield from _fill(_DEFINITIONS, ds=together)
        yield from _fill(_VARIABLE_DEFINITIONS, h=at_hand.variables[:3], ds=together)
        yield from _fill(_INDUCTION_DEFINITIONS, h=at_hand.recursive[:3], ds=together)
        for i, h in enumerate(at_hand.recursive[:2]):
            others = " ".join(g for g in at_hand.variables if g != h)
            if others:
                yield from _fill(_INDUCTION_GENERALIZING_DEFINITIONS, fade=_FADE**i, h=[h], g=[others], ds=together)

    def _lemmas(
        self, lemmas: Sequence[str], functions: Sequence[str], at_hand: GoalNames
    ) -> Iterator[tuple[str, float]]:
        if not lemmas:
            return
        few = lemmas[: self.premises]
        equations = [p for p in lemmas if p not in self._known or self._known[p].rewrites]
        yield from _fill(_PREMISE_ANY, p=few)
        yield from _fill(_PREMISE_EQUATION, p=[p for p in few if p in equations])
        yield from _fill(_PREMISE_HYPOTHESIS, p=few[:4], h=at_hand.facts[:2])
        for fade, k in ((1.0, 4), (0.8, 8), (0.6, 16)):
            if k == 4 or len(lemmas) > k // 2:
                best = [", ".join(lemmas[:k])]
                yield from _fill(
                    [t for t in _PREMISES if functions or "{ds}" not in t[0]], fade, ps=best, ds=[", ".join(functions)]
                )
        yield from _fill(_VARIABLE_PREMISES, h=at_hand.variables[:2], ps=[", ".join(few)])
        yield from _fill(_INDUCTION_PREMISES, h=at_hand.recursive[:2], ps=[", ".join(few)])
        for template, weight in _ALTERNATIVES:
            tried = equations if "rw [" in template else lemmas
            if len(tried) > 1:
                each = template.removeprefix("first | ")
                yield "first | " + " | ".join(f"({each.format(p=p)})" for p in tried[:16]), weight

    def _is_lemma(self, name: str) -> bool:
        """Whether a premise is a theorem. Without an index, a `_` in its last component decides: functions have none."""
        return name in self._known if self._known else "_" in name.rsplit(".", 1)[-1]


def _fill(
    templates: Sequence[tuple[str, float]], fade: float = 1.0, **values: Sequence[str]
) -> Iterator[tuple[str, float]]:
    """Every template with every combination of values. Later values weigh less."""
    for choice in itertools.product(*(list(enumerate(v)) for v in values.values())):
        filled = {k: v for k, (_, v) in zip(values, choice, strict=True)}
        weight = fade * _FADE ** sum(i for i, _ in choice)
        for template, w in templates:
            yield template.format(**filled), w * weight
