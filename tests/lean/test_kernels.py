"""Which kernels have which publicly known weaknesses."""

from __future__ import annotations

from pathlib import Path

import pytest

from prover.commands import doctor
from prover.commands.verify import verdict_line
from prover.lean.checkers.known_holes import (
    WEAKNESSES,
    kernel_name,
    kernel_todo,
    known_weaknesses,
    open_reports,
    open_weaknesses,
    release,
)
from prover.lean.theorem import Verdict

DOCS = Path(__file__).parents[2] / "docs" / "security.md"


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ("4.28.0", (4, 28)),
        ("4.34.0", (4, 34)),
        ("4.34.2", (4, 34)),
        ("4.34.1-rc1", (4, 34)),
        ("4.28.0-pre", (4, 27)),
        ("4.34.0-rc1", (4, 33)),
        ("v4.34.0", (4, 34)),
        ("4.100.0", (4, 100)),
        ("nightly", None),
        ("", None),
    ],
)
def test_release(version, found):
    assert release(version) == found


def test_kernels_from_4_34_have_none_of_them():
    for version in ("4.34.0", "4.35.1", "5.0.0"):
        assert known_weaknesses(version) == () and kernel_todo(version) == ""
    for version in ("4.28.0", "4.28.0-pre", "4.33.9", "4.34.0-rc2", "3.99.0", "unheard of"):
        assert known_weaknesses(version) == WEAKNESSES


def test_a_verdict_names_the_open_reports_of_its_kernel():
    lines = [
        verdict_line(Verdict("t", "proved", lean=lean))["open_reports"]
        for lean in ("Lean 4.28.0-pre (embedded)", "Lean 4.34.1 (native)")
    ]
    assert lines == [[14806, 14838], []]
    assert open_reports("") == [14806, 14838]


def test_what_the_guards_leave_open():
    assert {w.number for w in open_weaknesses("4.28.0")} == {14806, 14838}
    assert "#14806" in kernel_todo("4.28.0") and "docs/security.md" in kernel_todo("4.28.0")
    assert kernel_name("4.28.0-pre") == "Lean 4.28.0-pre's own, with guards"


def test_the_guard_and_the_documentation_name_each():
    lean = Path(__file__).parents[2] / "lean_project" / "Turnstile"
    guards = "".join((lean / f"{part}.lean").read_text(encoding="utf-8") for part in ("Guard", "Replay"))
    for weakness in WEAKNESSES:
        assert f"#{weakness.number}" in DOCS.read_text(encoding="utf-8")
        for guard in weakness.guard.split(", "):
            assert guard in guards or " " in guard


def test_doctor_names_the_kernel():
    (check,) = doctor.kernel("4.28.0")
    assert check.name == "kernel" and check.ok and "4.28.0" in check.found and "#14838" in check.todo
    (check,) = doctor.kernel("4.34.0")
    assert not check.todo
    assert doctor.kernel(None) == []
