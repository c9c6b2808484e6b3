"""The native server's source, elaborated by the embedded Lean: the only real Lean that these tests have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from prover.errors import UserError
from prover.lean.mentions import mentions
from prover.lean.source import NEWEST, OLDEST

SUPPORTED = Path(__file__).resolve().parents[2] / "lean_project" / "SUPPORTED.md"


@pytest.mark.lean
@pytest.mark.parametrize("version", [pytest.param("4.22.0", marks=pytest.mark.slow), "4.28.0"])
def test_the_source_elaborates_and_the_table_names_every_module_that_it_mentions(version):
    """Both ranges elaborate on the embedded 4.28: for 4.22 to 4.27 this shows the absence of mistakes in common parts only."""
    found = mentions(version)
    assert found.errors == ()
    assert sum(map(len, found.constants.values())) > 1000
    assert {"Lean.Kernel.Environment.addDecl"} <= set(found.constants["Lean.AddDecl"])
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (\d+) \|", SUPPORTED.read_text(), re.MULTILINE))
    assert set(found.constants) - set(rows) == set()
    if version == "4.28.0":
        assert {module: len(names) for module, names in found.constants.items()} == {m: int(n) for m, n in rows.items()}


def test_the_table_has_every_supported_release():
    releases = set(re.findall(r"^\| 4\.(\d+)\.\d+ \|", SUPPORTED.read_text(), re.MULTILINE))
    assert releases == {str(n) for n in range(OLDEST[1], NEWEST[1] + 1)}


def test_an_unsupported_version_is_an_error():
    with pytest.raises(UserError, match="choose a Lean version from 4.22 to 4.34"):
        mentions("4.9.0")
