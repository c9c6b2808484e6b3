"""`turnstile verify` and `turnstile doctor`, with `--json`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from prover.commands.verify import Tally, show
from prover.lean.theorem import Verdict
from prover.solve.statements import lean_name, script_of

PROOFS = [
    ("simp", "simp"),
    ("by simp", "simp"),
    (":= by simp", "simp"),
    (":= by\n    intro h\n    exact h\n", "intro h\nexact h"),
    ("by intro h\n   exact h", "intro h\nexact h"),
    ("  intro h\n  exact h", "intro h\nexact h"),
    (":= ⟨h.2, h.1⟩", "exact (⟨h.2, h.1⟩)"),
    ("by_cases h : p\n· simp\n· simp", "by_cases h : p\n· simp\n· simp"),
]


@pytest.mark.parametrize(("proof", "script"), PROOFS)
def test_script_of(proof: str, script: str) -> None:
    assert script_of(proof) == script


def test_lean_name() -> None:
    names = {
        "a": "a",
        "a.b": "a.b",
        "imo-1959-p1": "«imo-1959-p1»",
        "2+2": "«2+2»",
        "a b": "«a b»",
        "open": "«open»",
        "opened": "opened",
        "«x y».z": "«x y».z",
    }
    assert {n: lean_name(n) for n in names} == names


def test_doctor(turnstile: Callable) -> None:
    done = turnstile("doctor", "--json")
    assert set(done.document) == {"ok", "lean", "checks"}
    assert {"name", "ok", "found", "todo", "needed"} == set(done.document["checks"][0])
    assert {c["name"] for c in done.document["checks"]} >= {"Lean", "Node", "torch", "cache", "disk", "memory", "cores"}
    assert done.code == (0 if done.document["ok"] else 2)
    assert "Lean" in turnstile("doctor").out


def test_help(turnstile: Callable) -> None:
    assert turnstile("--help").code == 0
    for command in ("doctor", "verify", "prove", "sets"):
        done = turnstile(command, "--help")
        assert done.code == 0 and "--json" in done.out and done.err == ""


@pytest.mark.lean
def test_one_verdict_a_line(turnstile: Callable, tmp_path: Path) -> None:
    rows = [
        {"name": "good", "statement": "(p : Prop) (h : p) : p", "proof": "by exact h"},
        {"name": "bad", "statement": ": 1 = 2", "proof": "simp"},
        {"name": "lazy", "statement": ": 1 = 2", "proof": ":= sorry"},
        {"name": "odd-name 1", "statement": ": 2 = 2", "proof": "rfl", "imports": ["Init.Data.List.Lemmas"]},
        {"name": "axiom", "statement": ": 2 = 3", "proof": "rfl\naxiom cheat : 2 = 3"},
        {"name": "nonsense", "statement": ": Nut", "proof": "rfl"},
    ]
    file = tmp_path / "x.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    done = turnstile("verify", "--jsonl", file, "--json")
    assert done.code == 1
    assert [v["verdict"] for v in done.lines] == ["proved", "rejected", "rejected", "proved", "rejected", "rejected"]
    assert [v["name"] for v in done.lines] == [r["name"] for r in rows]  # as they were given, whatever Lean calls them
    assert set(done.lines[0]) == {"name", "verdict", "reason", "axioms", "line", "lean", "open_reports"}
    assert done.lines[2]["reason"].startswith("sorry")
    assert all((v["reason"] == "") == (v["verdict"] == "proved") for v in done.lines)


@pytest.mark.lean
def test_a_proof_may_be_a_term(turnstile: Callable, tmp_path: Path) -> None:
    rows = [
        ("pair", "(p q : Prop) (h : p ∧ q) : q ∧ p", "⟨h.2, h.1⟩", "proved"),
        ("bare", "∀ a b : Nat, a + b = b + a", "fun a b => Nat.add_comm a b", "proved"),
        ("name", "(p : Prop) (h : p) : p", "h", "proved"),
        ("lines", "(p q : Prop) (hp : p) (hq : q) : p ∧ q", "And.intro\n  hp\n  hq", "proved"),
        ("both", "(n : Nat) : n = n", "rfl", "proved"),
        ("wrong", "(n : Nat) : n = n + 1", "Nat.le_refl n", "rejected"),
        ("tactics", "(n : Nat) : n = n", "by Nat.le_refl n", "rejected"),
        ("lazy", "(n : Nat) : n = n + 1", "(sorry : _)", "rejected"),
        ("more", "(n : Nat) : n = n + 1", "rfl)\naxiom a : False\ntheorem b : False := (a", "rejected"),
    ]
    file = tmp_path / "x.jsonl"
    file.write_text("".join(json.dumps({"name": n, "statement": s, "proof": p}) + "\n" for n, s, p, _ in rows))
    done = turnstile("verify", "--jsonl", file, "--json")
    assert {v["name"]: v["verdict"] for v in done.lines} == {name: verdict for name, _, _, verdict in rows}
    assert turnstile("verify", "--statement", "∀ a : Nat, a = a", "--proof", "fun a => rfl").code == 0


BAD_LINES = {
    '{"name": "t", "statement": ": True", "statement": ": False", "proof": "trivial"}': "occurs twice",
    '{"name": "t\\ud800", "statement": ": True", "proof": "trivial"}': "surrogate",
    '{"name": "«t» : True := trivial\\ntheorem «u»", "statement": ": False", "proof": "trivial"}': "`name`",
    '{"name": "t", "statement": ": True"}': "`proof`",
    "[1]": "a JSON object",
    '{"name"': "not JSON",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_names_itself(turnstile: Callable, tmp_path: Path, line: str) -> None:
    """A bad line ends the command before anything is judged: exit code 2, one line, no output."""
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps({"name": "good", "statement": ": True", "proof": "trivial"}) + "\n" + line + "\n")
    done = turnstile("verify", "--jsonl", file, "--json")
    assert (done.code, done.out) == (2, "")
    assert f"{file}:2: " in done.err and BAD_LINES[line] in done.err and len(done.err.splitlines()) == 1


def test_a_verdict_for_people_is_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    verdict = Verdict("«a\nproved   b»", "rejected", "elaboration: \x1b[2K\rproved   c")
    show(verdict, False, Tally())
    shown = capsys.readouterr().out
    assert (
        shown.count("\n") == 1
        and shown.startswith("rejected «a proved b»")
        and "\x1b" not in shown
        and "\r" not in shown
    )


@pytest.mark.lean
def test_a_file_is_read_as_what_it_is_compared_with(turnstile: Callable, tmp_path: Path) -> None:
    """A file that starts with `prelude` cannot redefine the constants of its statements."""
    original, prelude = tmp_path / "o.lean", tmp_path / "p.lean"
    original.write_text("theorem wrong (p : Prop) : p := by\n  sorry\n")
    prelude.write_text("prelude\naxiom propext : (p : Prop) → p\ntheorem wrong (p : Prop) : p := propext p\n")
    done = turnstile("verify", prelude, "--against", original, "--json")
    assert done.code == 1 and {v["verdict"] for v in done.lines} == {"rejected"}
    done = turnstile("verify", prelude, "--json")
    wrong = next(v for v in done.lines if v["name"] == "wrong")
    assert (
        done.code == 1 and wrong["verdict"] == "rejected" and wrong["reason"].startswith("kernel: rests on propext")
    ), done.lines


@pytest.mark.lean
def test_a_changed_statement_is_refused(turnstile: Callable, tmp_path: Path) -> None:
    original, honest, changed, dropped, hidden = (tmp_path / f"{n}.lean" for n in ("o", "honest", "c", "d", "h"))
    original.write_text("def two := 2\ntheorem a : two = 2 := by sorry\ntheorem b : 1 = 1 := sorry\n")
    honest.write_text("def two := 2\ntheorem a : two = 2 := by rfl\ntheorem b : 1 = 1 := rfl\n")
    changed.write_text("def two := 2\ntheorem a : 2 = 2 := by rfl\ntheorem b : 1 = 1 := rfl\n")
    dropped.write_text("def two := 2\ntheorem a : two = 2 := by rfl\n")
    hidden.write_text("theorem b : 1 = 1 := rfl\nexample : 1 = 2 := sorry\n")
    assert turnstile("verify", honest, "--against", original).code == 0
    for wrong in (changed, dropped):
        done = turnstile("verify", wrong, "--against", original, "--json")
        assert done.code == 1
        assert any(v["reason"].startswith("statement") for v in done.lines), done.lines
    done = turnstile("verify", hidden, "--json")
    assert (done.code, [v["verdict"] for v in done.lines]) == (1, ["proved", "rejected"])
    assert done.lines[1]["name"].endswith("h.lean:2")


INSTANCE = "instInhabitedSubtypeNatEqOfNat"
"""What Lean calls the instance below."""


@pytest.mark.lean
def test_instances_definitions_and_examples_are_judged(turnstile: Callable, tmp_path: Path) -> None:
    """`admit` in an instance, a definition or an example is found although the text has no `sorry`."""
    original = tmp_path / "o.lean"
    original.write_text(
        "instance : Inhabited {n : Nat // n = 2} := ⟨⟨2, by sorry⟩⟩\n"
        "theorem t : 1 = 1 := by sorry\nexample : 1 + 1 = 2 := by sorry\nexample : {n : Nat // n = 2} := ⟨2, by sorry⟩\n"
    )
    honest = original.read_text().replace("sorry", "rfl")
    cheats = {
        "the instance": honest.replace("⟨⟨2, by rfl⟩⟩", "⟨⟨2, by admit⟩⟩"),
        "an example": honest.replace("1 + 1 = 2 := by rfl", "1 + 1 = 2 := by admit"),
        "an example of data": honest.replace(":= ⟨2, by rfl⟩", ":= ⟨2, by admit⟩"),
        "an axiom": "axiom mine : 2 = 2\n" + honest.replace("⟨⟨2, by rfl⟩⟩", "⟨⟨2, mine⟩⟩"),
    }
    file = tmp_path / "f.lean"
    file.write_text(honest)
    for args in ((), ("--against", original)):
        done = turnstile("verify", file, "--json", *args)
        assert (done.code, [v["name"] for v in done.lines]) == (0, [INSTANCE, "t", f"{file}:3", f"{file}:4"]), (
            done.lines
        )
    for i, (what, source) in enumerate(cheats.items()):
        file.write_text(source)
        args = () if i % 2 else ("--against", original)
        done = turnstile("verify", file, "--json", *args)
        wrong = [v["reason"] for v in done.lines if v["verdict"] == "rejected"]
        assert done.code == 1 and wrong and all(r.startswith(("sorry", "axiom: mine")) for r in wrong), (
            what,
            done.lines,
        )
    changed = honest.replace("example : 1 + 1 = 2", "example : 2 = 2")
    for source, name, reason in (
        (
            changed,
            f"{file}:3",
            "the example has another type than asked for: expected (1 : Nat) + (1 : Nat) = (2 : Nat)",
        ),
        (honest.rsplit("example", 1)[0], f"{original}:4", "missing"),
    ):
        file.write_text(source)
        done = turnstile("verify", file, "--against", original, "--json")
        wrong = next(v for v in done.lines if v["name"] == name)
        assert done.code == 1 and reason in wrong["reason"], done.lines
    file.write_text("example : 1 = 1 := rfl\n")
    assert turnstile("verify", file).code == 0
