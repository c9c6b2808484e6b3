"""The audit refuses no honest proof, and gives reasons for those it refuses."""

from __future__ import annotations

import pytest

from prover.lean.audit import Auditor
from prover.lean.server import statement_source
from prover.lean.theorem import Theorem
from tests.lean.honest import DEFINITIONS, PREAMBLE, proofs

pytestmark = pytest.mark.lean

ALL = proofs()
BATCHES = 8


def source(batch, proved: bool = True) -> str:
    theorems = [statement_source(Theorem(h.name, h.statement), h.proof if proved else "sorry") for h in batch]
    return PREAMBLE + "\n".join(theorems)


def test_there_are_enough():
    assert len(ALL) >= 300
    assert len({h.name for h in ALL}) == len(ALL)


@pytest.mark.parametrize("start", [pytest.param(i, marks=pytest.mark.slow if i > 1 else ()) for i in range(BATCHES)])
def test_none_is_refused_in_a_file(loop, auditor, start):
    batch = ALL[start::BATCHES]
    verdicts = loop.run(auditor.audit_source(source(batch), reference=source(batch, proved=False)))
    refused = [v for v in verdicts if v.verdict != "proved"]
    assert not refused, refused
    assert {v.name for v in verdicts} == {h.name for h in batch}


@pytest.mark.parametrize("one", ALL[::41], ids=[h.name for h in ALL[::41]])
def test_none_is_refused_alone(loop, auditor, one):
    theorem = Theorem(one.name, one.statement, context=PREAMBLE)
    verdict = loop.run(auditor.audit(theorem, one.proof))
    assert verdict.verdict == "proved", verdict
    assert set(verdict.axioms) <= {"propext", "Classical.choice", "Quot.sound"}


def test_a_file_with_definitions_of_many_kinds(loop, auditor):
    text = PREAMBLE + DEFINITIONS
    alone = loop.run(auditor.audit_source(text))
    assert len(alone) >= 15
    assert not [v for v in alone if v.verdict != "proved"]
    left_out = text.replace(":= by rw [hidden_eq]", ":= by sorry").replace("Quotient.sound rfl", "sorry")
    left_out = left_out.replace("exact Nat.mod_lt _ (Nat.pos_of_ne_zero h)", "sorry")
    against = loop.run(auditor.audit_source(text, reference=left_out))
    assert not [v for v in against if v.verdict != "proved"]
    assert "«a name.with dots»" in {v.name for v in against}


def test_a_reference_is_elaborated_once(loop, auditor, monkeypatch):
    """However often its file is judged, and between judgements against another one."""
    elaborated, text = [], auditor.judges.text

    async def counted(place, **fields):
        elaborated.append(fields["source"])
        return await text(place, **fields)

    monkeypatch.setattr(auditor.judges, "text", counted)
    one, two = "theorem t : 1 = 1 := by sorry", "theorem t : 2 = 2 := by sorry"
    verdicts = [
        loop.run(auditor.audit_source(reference.replace("sorry", proof), reference=reference))[0].verdict
        for proof in ("rfl", "omega", "skip")
        for reference in (one, two)
    ]
    assert (elaborated, verdicts) == ([one, two], ["proved"] * 4 + ["rejected"] * 2)


def test_proofs_asked_for_inside_definitions(loop, auditor):
    reference = "def s : { n : Nat // n < 9 } := ⟨2, by sorry⟩\ntheorem t : s.1 = 2 := by sorry\n"
    honest = "def s : { n : Nat // n < 9 } := ⟨2, by decide⟩\ntheorem t : s.1 = 2 := by rfl\n"
    verdicts = loop.run(auditor.audit_source(honest, reference=reference))
    assert [(v.name, v.verdict) for v in verdicts] == [("s", "proved"), ("t", "proved")], verdicts


RECURSION = """def half (n : Nat) : Nat := if h : n ≤ 1 then 0 else
  have : n / 2 < n := {proof}
  {one} + half (n / 2)
theorem t (x : {n : Nat // n = 2}) : x = ⟨2, {sub}⟩ ∧ {left} = {right} := by {script}
"""


def recursion(proof="sorry", one="1", sub="sorry", left="3", right="(sorry : Nat)", script="sorry"):
    text = RECURSION
    for name, value in {"proof": proof, "one": one, "sub": sub, "left": left, "right": right, "script": script}.items():
        text = text.replace("{" + name + "}", value)
    return text


@pytest.mark.parametrize(
    "changed, name, verdict",
    [
        # Equations and types hold the proofs that were asked for; other names and a longer proof above move nothing.
        ({"proof": "by\n    have := h\n    omega", "sub": "by decide"}, "t", "sorry"),
        ({"proof": "by omega", "one": "2"}, "half", "statement"),
        ({"proof": "by omega", "left": "4"}, "t", "statement"),
        # A value in the place of a `sorry` makes another theorem; only a proof does not.
        ({"proof": "by omega", "sub": "rfl", "right": "3", "script": "exact ⟨Subtype.ext x.2, rfl⟩"}, "t", "statement"),
    ],
)
def test_what_may_stand_for_a_sorry_in_a_type(loop, auditor, changed, name, verdict):
    verdicts = loop.run(auditor.audit_source(recursion(**changed), reference=recursion()))
    judged = next(v for v in verdicts if v.name == name)
    assert judged.reason.startswith(verdict), judged


def test_a_type_with_its_proofs_filled_in_is_the_type_asked_for(loop, auditor):
    text = recursion("by omega", sub="rfl", right="3", script="exact ⟨Subtype.ext x.2, rfl⟩")
    verdicts = loop.run(auditor.audit_source(text, reference=recursion(right="3")))
    assert [v for v in verdicts if v.verdict != "proved"] == []


@pytest.mark.parametrize(
    "statement, script, reason",
    [
        (": 1 = 1", "sorry", "sorry"),
        (": 1 = 1", "exact", "elaboration"),
        (": 1 = 2", "native_decide", "elaboration"),
        ("(n : Nat) : n = n", "skip", "elaboration"),
        (": 1 = 1", "exact x\naxiom x : 1 = 1", "elaboration"),
    ],
)
def test_reasons(loop, auditor, statement, script, reason):
    verdict = loop.run(auditor.audit(Theorem("t", statement), script))
    assert verdict.verdict == "rejected" and verdict.reason.startswith(reason), verdict


@pytest.mark.parametrize(
    "context, name",
    [
        ("namespace A.B", "t"),
        ("namespace A\nnamespace B\nend B", "t"),
        ("noncomputable section\nnamespace A", "t"),
        ("/-\nnamespace Not.Open\n-/\nnamespace A", "t"),
        (
            "mutual\ndef f (n : Nat) : Nat := match n with | 0 => 0 | n + 1 => g n\ndef g (n : Nat) : Nat := f n\nend",
            "t",
        ),
        ("theorem A.t : True := trivial", "t"),
        ("", "«with.dot»"),
        ("", "A.t"),
    ],
)
def test_names_in_their_namespaces(loop, auditor, context, name):
    verdict = loop.run(auditor.audit(Theorem(name, ": 1 = 1", context=context), "rfl"))
    assert verdict.verdict == "proved", verdict


IMPLICIT = "theorem aux {x y : Nat} (h : x + 1 = y + 1) : x = y := by omega"


@pytest.mark.parametrize(
    ("context", "statement", "script"),
    [
        (IMPLICIT, "(x y : Nat) (h : x + 1 = y + 1) : x = y", "exact aux h"),
        ("inductive T where\n  | a\n  | b (n : Nat)", "(x y : Nat) (h : T.b x = T.b y) : x = y", "exact T.b.inj h"),
    ],
)
def test_a_lemma_of_the_same_type_but_for_binders(loop, auditor, context, statement, script):
    verdict = loop.run(auditor.audit(Theorem("t", statement, context=context), script))
    assert verdict.verdict == "proved", verdict


def test_kinds_of_binders_belong_to_a_statement(loop, auditor):
    """Also beside a lemma that has the other kinds."""
    wanted = f"{IMPLICIT}\ntheorem t (x y : Nat) (h : x + 1 = y + 1) : x = y := by\n  sorry"
    given = f"{IMPLICIT}\ntheorem t {{x y : Nat}} (h : x + 1 = y + 1) : x = y := by\n  omega"
    verdicts = loop.run(auditor.audit_source(given, reference=wanted))
    assert {v.name: v.verdict for v in verdicts} == {"aux": "proved", "t": "rejected"}, verdicts


def test_a_library_theorem_from_below(loop, auditor):
    theorem = Theorem("Nat.lt_irrefl'", library="Option.map_id'", imports=("Init.Data.Option.Basic",))
    verdict = loop.run(auditor.audit(theorem, "sorry"))
    assert verdict.verdict == "rejected"


def test_the_candidate_process_is_replaced(loop):
    async def go():
        async with Auditor(fresh_every=2) as auditor:
            import asyncio

            theorem = Theorem("t", ": 1 = 1")
            verdicts = await asyncio.gather(*(auditor.audit(theorem, "rfl") for _ in range(7)))
            return [v.verdict for v in verdicts]

    assert loop.run(go()) == ["proved"] * 7
