"""Generated tactics cause no hang, lose no answer and close no false goal. 1,500 of them, 10,000 with `-m slow`."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from prover.lean.server import LeanServer, Limits
from prover.lean.theorem import Theorem

pytestmark = pytest.mark.lean

FALSE = [": False", "(p : Prop) : p", "(n : Nat) : n = n + 1", "(α : Type) (x y : α) : x = y"]

SEEDS = """exact ⟨h.2, h.1⟩|intro h|intros|constructor|cases h with|rcases h with ⟨a, b⟩|simp|simp_all|simp [h] at *|omega|decide|rfl
exact absurd rfl h|induction n with\n  | zero => rfl\n  | succ n ih => simp [ih]|rw [← Nat.add_comm]|apply Eq.trans|refine ⟨?_, ?_⟩
have h : False := by exact sorry|exact fun h => h|match n with\n| 0 => rfl\n| n+1 => rfl|calc 1 = 1 := rfl\n _ = 1 := rfl|exfalso
by_cases h : p|all_goals simp|any_goals rfl|first | rfl | simp | omega|repeat constructor|try simp|case inl => skip|next => skip
show False|change p|exact (sorry : p)|exact @sorryAx _ true|native_decide|set_option maxRecDepth 9 in simp|open Nat in simp|unfold Nat.add
generalize n = m|specialize h|subst h|symm|exists 0|left|right|trivial|contradiction|nofun|ac_rfl|grind|conv => lhs; simp|let x := 1
exact let_fun x := 1; rfl|suffices h : True by simp|obtain ⟨x, y⟩ := h|injection h|funext x|congr|split|exact (fun x => x) _|· skip
stop|done|admit|trace "x"|fail "x"|run_tac pure ()|exact by_elab do return default|exact unsafe unsafeCast ()|show_term simp
simp (config := { decide := true })|simp +arith only [Nat.add_comm]|exact Nat.rec rfl (fun _ h => h) n|nomatch h|exact nomatch h
let rec f (n : Nat) : p := f n\nexact f 0|exact lcProof|exact lcUnreachable|haveI : Decidable p := .isTrue sorry|exact t|exact t _|decide +kernel"""
TACTICS = [t for line in SEEDS.split("\n") for t in line.replace("\\n", "\n").split("|") if t.strip()]
TOKENS = [
    "exact",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "⟨",
    "⟩",
    ":=",
    "=>",
    "fun",
    "by",
    "have",
    "h",
    "p",
    "n",
    "x",
    "y",
    "|",
    "<;>",
    ";",
    "·",
    ",",
    ".",
    "_",
    "?_",
    "?x",
    "@",
    "$",
    "<|",
    "|>",
    "∀",
    "∃",
    "λ",
    "→",
    "↔",
    "∧",
    "∨",
    "¬",
    "=",
    "≠",
    "≤",
    "0",
    "1",
    "37",
    '"a"',
    "'c'",
    "`x",
    "``x",
    "simp",
    "at",
    "*",
    "⊢",
    "with",
    "match",
    "let",
    "in",
    "open",
    "Nat",
    "set_option",
    "if",
    "then",
    "else",
    "do",
    "return",
    "where",
    "«a.b»",
    "--",
    "/-",
    "-/",
    "\n",
    "\n\n",
    "",
    "\t",
    "\r",
    "\\",
    "\x00",
    "�",
    "\u2028",
    "\u2029",
    "\u200b",
    "\ufeff",
    "𝔸",
    "é",
    "\x7f",
    "\x1b[0m",
    "#eval",
    "theorem",
    "end",
    "sorry",
    "axiom",
    "Type",
    "Prop",
    "Sort",
    "u_1",
    "0x",
    "1e9",
    "1.5",
    "..",
    "...",
    "::",
    "++",
    "^",
    "%",
    "/",
    "-",
    "+",
    "<",
    ">",
]


def tactic(rng: random.Random) -> str:
    """One made-up tactic: bytes, tokens, or real ones that were cut, joined or altered."""
    kind = rng.randrange(10)
    if kind == 0:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(60))).decode(
            "utf-8", errors=rng.choice(["replace", "ignore"])
        )
    if kind == 1:
        return "".join(
            chr(
                rng.choice(
                    [
                        rng.randrange(0x250),
                        rng.randrange(0x2000, 0x2B00),
                        rng.randrange(0xD800, 0xE010),
                        rng.randrange(0x110000),
                    ]
                )
            )
            for _ in range(rng.randrange(30))
        )
    if kind in (2, 3):
        return rng.choice([" ", "", "\n"]).join(rng.choice(TOKENS) for _ in range(rng.randrange(1, 14)))
    one, other = rng.choice(TACTICS), rng.choice(TACTICS)
    if kind == 4:
        return one[: rng.randrange(len(one) + 1)]
    if kind == 5:
        return one[: rng.randrange(len(one) + 1)] + other[rng.randrange(len(other) + 1) :]
    if kind == 6:
        at = rng.randrange(len(one) + 1)
        return one[:at] + rng.choice(TOKENS) + one[at:]
    if kind == 7:
        return one + rng.choice(["\n", "; ", " <;> ", "\n  ", " | ", "\r\n"]) + other
    if kind == 8:
        return rng.choice(
            [
                "exact ({})",
                "first | {} | skip",
                "have h : False := by {}",
                "try ({})",
                "all_goals {}",
                "· {}",
                "exact (by {} : False)",
                "repeat ({})",
                "by_cases True <;> {}",
            ]
        ).format(one)
    return one


HUGE = [
    "exact " + "(" * 1_000,
    "exact " + "(" * 150 + "trivial" + ")" * 150,
    "exact " + "⟨" * 500,
    "x" * 1_000_000,
    "exact " + "x" * 1_000_000,
    " " * 1_000_000,
    "\n" * 100_000 + "simp",
    "-- " + "c" * 1_000_000,
    "/-" * 3_000,
    'exact "' + "\\n" * 100_000 + '"',
    "skip\n" * 2_000,
    "exact " + "9" * 20_000,
    "exact absurd rfl (show ¬(" + "9" * 3_000 + " = " + "9" * 3_000 + ") from by decide)",
    "exact fun " + " ".join(f"x{i}" for i in range(2_000)) + " => x0",
    "have := " + " + ".join(["1"] * 1_000),
    "simp [" + ", ".join(["Nat.add_comm"] * 500) + "]",
    "first " + "| fail " * 2_000,
    "\x00" * 10_000,
    "\ud800" * 10_000,
    "\u2028" * 10_000,
    "·" * 1_000,
    "exact " + "«" * 1_000,
    "repeat skip",
    "exact?",
    "exact (2 ^ (2 ^ 40) : Nat)",
]


async def fuzz(tactics: list[str], seed: int) -> Counter[str]:
    """Statuses, and `restarts`. Fails when a false goal is closed or an answer is missing."""
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    async with LeanServer(limits=Limits(heartbeats=20_000, seconds=5.0)) as server:
        roots = [await server.open(Theorem("t", s)) for s in FALSE]
        open_states = list(roots)
        batch = 25
        for at in range(0, len(tactics), batch):
            state = rng.choice(open_states)
            asked = tactics[at : at + batch]
            results = await server.step(state, asked)
            assert len(results) == len(asked)
            for text, result in zip(asked, results, strict=True):
                counts[result.status] += 1
                assert not result.solved, (state.text, text)
                assert not any("✝" in name for s in result.states for g in s.goals for name, _ in g.hypotheses)
            # Go on from some of what was left that is still false: one group of a single goal, nothing assumed on the way.
            for s in (s for r in results for s in r.states):
                still_false = len(s.goals) == 1 and s.goals[0].text == state.goals[0].text and len(open_states) < 30
                if still_false:
                    open_states.append(s)
                else:
                    await server.free([s])
        for state in roots:
            (fine,) = await server.step(state, ["skip"])
            assert fine.ok
        counts["restarts"] = server.counters.restarts
        assert len(server.queue) == 0
    return counts


def generated(n: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [tactic(rng) for _ in range(n)]


def report(counts: Counter[str], n: int) -> None:
    print(f"\n{n} generated tactics: " + ", ".join(f"{k} {v}" for k, v in sorted(counts.items())))
    assert sum(v for k, v in counts.items() if k != "restarts") == n


def test_generated_tactics(loop):
    report(loop.run(fuzz(generated(1_500, 1), 1), 500), 1_500)


def test_huge_inputs(loop):
    report(loop.run(fuzz(HUGE, 2), 500), len(HUGE))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_generated_tactics(loop):
    report(loop.run(fuzz(generated(10_000, 3), 3), 3500), 10_000)
