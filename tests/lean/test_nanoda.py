"""The second kernel, with real Lean and a stand-in for nanoda_bin, which cannot be built here (fake_nanoda.py)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import prover.commands.verify as command
from prover.errors import UserError
from prover.lean.audit import Auditor, Source
from prover.lean.checkers.lean4export import export
from prover.lean.checkers.nanoda import Nanoda, find_nanoda
from prover.lean.sandbox import bubblewrap, landlock
from prover.lean.theorem import Theorem
from tests.cli.conftest import turnstile

__all__ = ["turnstile"]

FAKE = Path(__file__).with_name("fake_nanoda.py")
PYTHON = (sys.base_prefix, str(Path(sys.executable).resolve()), str(FAKE.parent))


@pytest.fixture
def stand_in(tmp_path) -> Callable[..., Nanoda]:
    def make(do: str = "accept", seconds: float = 60.0) -> Nanoda:
        binary = tmp_path / "nanoda_bin"
        binary.write_text(
            f"#!{Path(sys.executable).resolve()} -IS\nimport sys\nsys.path.insert(0, {str(FAKE.parent)!r})\n"
            f"from fake_nanoda import main\nmain({do!r}, sys.argv[1])\n"
        )
        binary.chmod(0o755)
        return Nanoda(binary, "0.0.0", seconds, PYTHON)

    return make


TEXT = """theorem fine (a b : Nat) (h : a < b) : a < b + 1 := by omega
theorem doubted (p q : Prop) (h : p ∧ q) : q ∧ p := ⟨h.2, h.1⟩
theorem uses_it (p : Prop) (h : p ∧ p) : p ∧ p := doubted p p h
theorem wrong : 1 = 2 := sorry
def data : List Nat := [1, 2]
instance : Inhabited (Fin 3) := ⟨0⟩
example : data.length = 2 := rfl
"""


def judged(loop, kernel: Nanoda, text: str = TEXT):
    async def judge():
        async with Auditor(kernel=kernel) as auditor:
            return (await auditor.judge(Source(text))).verdicts

    return {v.name: v for v in loop.run(judge()) if not v.generated or v.verdict != "proved"}


@pytest.mark.lean
def test_a_proof_that_both_kernels_accept_is_proved(loop, stand_in):
    kernel = stand_in()
    found = judged(loop, kernel)
    assert {name for name, v in found.items() if v.verdict != "proved"} == {"wrong"}
    assert found["wrong"].reason.startswith("sorry")
    assert "library theorems as axioms" in kernel.notes[0]
    assert found["fine"].lean.startswith("Lean ")


@pytest.mark.lean
def test_a_refusal_costs_the_declaration_and_what_rests_on_it(loop, stand_in):
    found = judged(loop, stand_in("refuse:doubted"))
    bad = {name for name, v in found.items() if v.verdict == "rejected"}
    assert bad == {"wrong", "doubted", "uses_it"}
    assert found["doubted"].reason == "kernel: nanoda refuses: assertion failed: self.def_eq(u, v)"


@pytest.mark.lean
def test_a_single_statement(loop, stand_in):
    async def judge(kernel: Nanoda):
        async with Auditor(kernel=kernel) as auditor:
            return await auditor.audit(Theorem("t", "(a : Nat) : a + 0 = a"), "rfl")

    assert loop.run(judge(stand_in())).verdict == "proved"
    assert loop.run(judge(stand_in("refuse:t"))).verdict == "rejected"


# No declaration at all is the smallest export there is, and what nanoda does with it is up to the stand-in.
NOTHING = export([], "4.28.0")
ONE = export([["n", "A"], ["l", "z"], ["e", "s", 0], ["d", "axiom", 0, [], 0, False]], "4.28.0")


@pytest.mark.parametrize(
    ("do", "reason", "is_judged"),
    [
        ("abort", "crash: nanoda 0.0.0 died of SIGABRT", False),
        ("decline", "crash: nanoda 0.0.0 ended with exit code 2: Declined: not today", False),
        ("sleep", "time: nanoda 0.0.0 took over 1 s", False),
        ("refuse:A", "kernel: nanoda refuses: assertion failed", True),
    ],
)
def test_faults(loop, stand_in, do, reason, is_judged):
    why, judged = loop.run(stand_in(do, 1.0).check(ONE, frozenset(["A"])))
    assert why.startswith(reason) and judged == is_judged


def test_an_axiom_must_be_permitted(loop, stand_in):
    why, judged = loop.run(stand_in().check(ONE, frozenset()))
    assert 'unpermitted axiom "A"' in why and judged
    assert loop.run(stand_in().check(ONE, frozenset(["A"]))) is None


def test_a_kernel_that_checks_less_than_it_is_given(loop, stand_in):
    assert loop.run(stand_in().check(NOTHING, frozenset())) is None
    more = export(
        [["n", "A"], ["n", "B"], ["l", "z"], ["e", "s", 0], *(["d", "axiom", i, [], 0, False] for i in (0, 1))],
        "4.28.0",
    )
    why, judged = loop.run(stand_in("skip").check(more, frozenset(["A", "B"])))
    assert why == "crash: nanoda 0.0.0 checked 1 of 2 constants" and not judged
    why, judged = loop.run(stand_in("silent").check(more, frozenset(["A", "B"])))
    assert why == "crash: nanoda 0.0.0 does not say what it checked: it says nothing" and not judged


def test_it_runs_in_the_seal(loop, tmp_path):
    """A binary that tries to read what it should not. Landlock refuses that, and under bubblewrap there is no such file."""
    if landlock.version() == 0 and not bubblewrap.working():
        pytest.skip("neither Landlock nor bubblewrap here")
    (tmp_path / "elsewhere").mkdir()
    secret = tmp_path / "elsewhere" / "secret"
    secret.write_text("s")
    binary = tmp_path / "nanoda_bin"
    body = (
        f"try:\n    open({str(secret)!r})\nexcept OSError as e:\n    print(type(e).__name__)\n    raise SystemExit(3)\n"
    )
    binary.write_text(f"#!{Path(sys.executable).resolve()} -IS\n{body}")
    binary.chmod(0o755)
    why, judged = loop.run(Nanoda(binary, "0", 20.0, PYTHON).check(NOTHING, frozenset()))
    assert why.startswith("crash: nanoda 0 ended with exit code 3: ") and not judged
    assert why.endswith(("PermissionError", "FileNotFoundError"))


@pytest.mark.lean
def test_the_command(turnstile, stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "find_nanoda", lambda: stand_in("refuse:doubted"))
    file = tmp_path / "F.lean"
    file.write_text(TEXT)
    done = turnstile("verify", file, "--kernel", "nanoda", "--json")
    found = {line["name"]: line for line in done.lines}
    assert (
        done.code == 1
        and found["fine"]["verdict"] == "proved"
        and found["doubted"]["reason"].startswith("kernel: nanoda refuses")
    )
    assert "library theorems as axioms" in done.err


def test_without_a_binary(turnstile, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TURNSTILE_NANODA", raising=False)
    done = turnstile("verify", "--statement", ": True", "--proof", "trivial", "--kernel", "nanoda")
    assert (
        done.code == 2 and "nanoda_bin is not on PATH: build it" in done.err and len(done.err.strip().splitlines()) == 1
    )
    monkeypatch.setenv("TURNSTILE_NANODA", "/nowhere/nanoda")
    with pytest.raises(UserError, match="TURNSTILE_NANODA=/nowhere/nanoda is no program"):
        find_nanoda()


def test_a_binary_is_found(stand_in, monkeypatch):
    monkeypatch.setenv("TURNSTILE_NANODA", str(stand_in().binary))
    assert find_nanoda().name == "nanoda 0.0.0-stand-in"
