"""Templates for the tactics that exist at a theorem: those of libraries such as Mathlib, and the file's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prover.models.goal_names import GoalNames

_LIBRARY: dict[str, tuple[tuple[str, float], ...]] = {
    "norm_num": (
        ("norm_num", 1.2),
        ("norm_num [{h}]", 0.4),
        ("norm_num at {h}", 0.3),
        ("norm_num at *", 0.3),
        ("norm_num <;> omega", 0.3),
    ),
    "ring": (("ring", 1.5), ("intros; ring", 0.4)),
    "ring_nf": (("ring_nf", 0.4), ("ring_nf at {h}", 0.2)),
    "linarith": (("linarith", 1.5), ("linarith [{h}]", 0.2), ("constructor <;> linarith", 0.4)),
    "nlinarith": (
        ("nlinarith", 0.8),
        ("nlinarith [{h}, {i}]", 0.3),
        ("nlinarith [mul_pos {h} {i}]", 0.3),
        ("nlinarith [sq_nonneg {x}]", 0.3),
        ("nlinarith [sq_nonneg ({x} - {y}), sq_nonneg ({x} + {y})]", 0.6),
    ),
    "positivity": (("positivity", 0.8),),
    "field_simp": (("field_simp", 0.3), ("field_simp <;> ring", 0.8)),
    "gcongr": (("gcongr", 0.3), ("gcongr <;> linarith", 0.3)),
    "aesop": (("aesop", 1.2),),
    "tauto": (("tauto", 0.8),),
    "push_neg": (("push_neg", 0.2), ("push_neg at {h}", 0.2)),
    "bound": (("bound", 0.3),),
    "fun_prop": (("fun_prop", 0.3),),
    "abel": (("abel", 0.4),),
    "group": (("group", 0.4),),
    "noncomm_ring": (("noncomm_ring", 0.2),),
}
"""Tactic -> (template, weight). {h}, {i}: hypotheses that are proofs; {x}, {y}: variables. A template is skipped if there are too few."""
_ANY = (("{t}", 0.8), ("intros; {t}", 0.4), ("constructor <;> {t}", 0.3))
"""For every other tactic."""
_ARGUMENT = "{h}"
"""Stands for a name in a tactic of the file, as in `crunch at {h}`."""
_SOME = 3
"""Maximum number of hypotheses, and of variables, that are tried."""


def further_tactics(tactics: Sequence[str], at_hand: GoalNames) -> Iterator[tuple[str, float]]:
    """(tactic, weight) of every template for `tactics` that fits the goal."""
    facts, variables = at_hand.facts[:_SOME], at_hand.variables[:_SOME]
    for tactic in tactics:
        if _ARGUMENT in tactic:
            yield from ((tactic.replace(_ARGUMENT, h), 0.8) for h in [*facts, *variables])
            continue
        if tactic not in _LIBRARY:
            yield from ((template.format(t=tactic), weight) for template, weight in _ANY)
            yield from ((f"induction {h} <;> {tactic}", 0.4) for h in at_hand.recursive[:_SOME])
            yield from ((f"cases {h} <;> {tactic}", 0.3) for h in variables)
            continue
        for template, weight in _LIBRARY[tactic]:
            for h, i in _pairs(facts, "{i}" in template) if "{h}" in template else [("", "")]:
                for x, y in _pairs(variables, "{y}" in template) if "{x}" in template else [("", "")]:
                    yield template.format(h=h, i=i, x=x, y=y), weight


def _pairs(names: Sequence[str], two: bool) -> list[tuple[str, str]]:
    """Unordered pairs of names, or each name alone."""
    if not two:
        return [(name, "") for name in names]
    return [(a, b) for k, a in enumerate(names) for b in names[k + 1 :]]
