"""Lean files as text: headers, words of code, and bytes given back unchanged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.lean.text import code_words, parse

HEADERS = [
    ("theorem a : 1 = 1 := rfl\n", ("Init",), ""),
    ("import A\nimport B.C\n\ndef x := 1\n", ("Init", "A", "B.C"), "import A\nimport B.C"),
    ("import A B\ndef x := 1\n", ("Init", "A", "B"), "import A B"),
    ("prelude\nimport Init.Core\n", ("Init.Core",), "prelude\nimport Init.Core"),
    (
        "module\n\npublic import A\nmeta import B\npublic meta import C\nimport all D\n",
        ("Init", "A", "B", "C", "D"),
        None,
    ),
    ("/- a /- b -/ import Z -/\n-- import Y\nimport A -- why\nimport B\n", ("Init", "A", "B"), None),
    ("import «odd-name».X\n", ("Init", "odd-name.X"), None),
    ("import A\n/-- doc: import B -/\ndef x := 1\n", ("Init", "A"), "import A"),
    ("import A\n/-! import B -/\nimport C\n", ("Init", "A"), "import A"),
    ("public def x := 1\n", ("Init",), ""),
    ("important\n", ("Init",), ""),
    ("", ("Init",), ""),
]


@pytest.mark.parametrize(("source", "imports", "header"), HEADERS)
def test_header(source: str, imports: tuple[str, ...], header: str | None) -> None:
    text = parse(source.encode())
    assert text.imports == imports
    assert len(text.body.encode()) == len(source.encode())
    assert text.body.count("\n") == source.count("\n")
    assert "import" not in text.body[: text.header_bytes]
    if header is not None:
        assert text.header_bytes == len(header.encode())


def test_words_leave_out_what_is_no_code() -> None:
    source = """sorry -- sorry
/- sorry /- sorry -/ sorry -/ "sorry \\" sorry" r#"sorry " sorry"# 'x' h' '"' sorry
«sorry» foo.sorry s!"sorry" sorry' /-- sorry -/ sorry"""
    assert [w for w, _ in code_words(source) if w == "sorry"] == ["sorry"] * 3
    assert all(source.startswith(w, i) for w, i in code_words(source))


@given(st.text(alphabet="ab \n-/«»\"'·⊢é", max_size=60), st.lists(st.booleans(), max_size=60))
def test_bytes_come_back(source: str, returns: list[bool]) -> None:
    data = b"".join(
        line + (b"\r\n" if r else b"\n") for line, r in zip(source.encode().split(b"\n"), returns, strict=False)
    )
    try:
        text = parse(b"def x := 1\n" + data)
    except Exception as error:
        raise AssertionError(data) from error
    assert text.to_bytes([]) == b"def x := 1\n" + data
    edited = text.to_bytes([(4, 5, "yy"), (9, 10, "2")])
    assert edited == b"def yy := 2\n" + data


def test_inserted_lines_end_as_the_file_s_do() -> None:
    text = parse(b"a\r\nsorry\r\nb")
    assert text.to_bytes([(2, 7, "x\n y")]) == b"a\r\nx\r\n y\r\nb"
    with pytest.raises(ValueError, match="overlap"):
        text.to_bytes([(0, 3, "x"), (2, 4, "y")])
