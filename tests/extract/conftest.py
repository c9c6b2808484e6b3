"""A Lake project whose second file imports the first."""

from __future__ import annotations

from pathlib import Path

import pytest

BASIC = """/-! Basics. -/
namespace Demo

def double (n : Nat) : Nat := n + n

theorem double_eq (n : Nat) : double n = 2 * n := by
  unfold double
  omega

theorem double_zero : double 0 = 0 := rfl

end Demo
"""
MORE = """import Demo.Basic

namespace Demo
variable (m : Nat)

theorem double_add (n : Nat) : double (n + m) = double n + double m := by
  rw [double_eq, double_eq,
    double_eq]
  exact Nat.mul_add 2 n m

open Nat in
/-- A comment. -/
@[simp] theorem le_double (n : Nat) : n ≤ double n := by
  unfold double
  exact le_add_right n n

mutual
theorem one : True := by trivial
theorem two : True := by trivial
end

end Demo
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "Demo").mkdir(parents=True)
    (folder / "lakefile.toml").write_text('name = "demo"\n\n[[lean_lib]]\nname = "Demo"\n')
    (folder / "Demo/Basic.lean").write_text(BASIC)
    (folder / "Demo/More.lean").write_text(MORE)
    return folder
