"""Data sets as JSON, as Parquet, and as folders."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from curricula import sets
from prover.errors import UserError
from prover.solve.data_sets import is_data_set, load_theorems
from rl.config import TheoremsConfig
from rl.theorem_splits import file_theorems

ROWS = [{"name": f"t{i}", "statement": f": {i} = {i}", "topics": ["a"], "answer": None} for i in range(3)]


def names(path: Path) -> list[str]:
    return [t.name for t in load_theorems(path)]


def lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_json_file_is_an_array_or_lines(tmp_path: Path) -> None:
    array, lined = tmp_path / "a.json", tmp_path / "b.json"
    array.write_text(json.dumps(ROWS, indent=2))
    lined.write_text(lines(ROWS))
    assert names(array) == names(lined) == ["t0", "t1", "t2"]
    assert load_theorems(array)[2].source == f"{array}:3"
    array.write_text("[1]")
    with pytest.raises(UserError, match=r"a\.json:1: a JSON object is expected"):
        names(array)
    array.write_text("[")
    with pytest.raises(UserError, match="not JSON"):
        names(array)


def test_a_row_of_the_benchmark_needs_its_repository(tmp_path: Path) -> None:
    file = tmp_path / "train.json"
    file.write_text(
        json.dumps(
            [{"url": "u", "commit": "c", "file_path": "f", "full_name": "a", "theorem_statement": "theorem a : b"}]
        )
    )
    with pytest.raises(UserError, match="--sources FOLDER"):
        names(file)


def test_a_folder_with_splits(tmp_path: Path) -> None:
    for split, rows in (("test", ROWS[:1]), ("valid", ROWS[1:])):
        (tmp_path / "data" / split).mkdir(parents=True)
        (tmp_path / "data" / split / "part-0.jsonl").write_text(lines(rows))
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["test", "valid"]}')
    (tmp_path / "data" / "test" / "dataset_info.json").write_text("{}")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x.jsonl").write_text("{}")
    (tmp_path / "README.md").write_text("About.")
    assert is_data_set(tmp_path) and names(tmp_path) == ["t0", "t1", "t2"]
    assert names(tmp_path / "data" / "valid") == ["t1", "t2"]
    assert not is_data_set(tmp_path / ".cache" / "none") and not is_data_set(tmp_path / "README.md")


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    file = tmp_path / "x.parquet"
    file.write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"turnstile-prover\[data\]"):
        names(file)


def test_parquet_and_arrow(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.Table.from_pylist(ROWS)
    (tmp_path / "hub" / "data").mkdir(parents=True)
    parquet.write_table(table.slice(0, 2), tmp_path / "hub" / "data" / "test-00000-of-00002.parquet")
    parquet.write_table(table.slice(2), tmp_path / "hub" / "data" / "test-00001-of-00002.parquet")
    assert names(tmp_path / "hub") == ["t0", "t1", "t2"]
    saved = tmp_path / "saved" / "train" / "data-00000-of-00001.arrow"  # as save_to_disk writes it
    saved.parent.mkdir(parents=True)
    with pa.OSFile(str(saved), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    (saved.parent / "state.json").write_text("{}")
    assert names(tmp_path / "saved") == ["t0", "t1", "t2"]
    for name in ("x.parquet", "x.arrow"):
        (tmp_path / name).write_bytes(b"PAR1 nonsense PAR1")
        with pytest.raises(UserError, match="not a readable"):
            names(tmp_path / name)


def test_fields_for_sets_and_training(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(lines([{"label": "a", "lean": "theorem a : 1 = 1 := by sorry"}]))
    fields = ("statement=lean", "name=label")
    assert [t.name for t in sets.open_set(sets.load_set(str(file), fields))] == ["a"]
    toml = tmp_path / "own.toml"
    toml.write_text(
        'name = "own"\ntitle = "Own"\nkind = "jsonl"\nfiles = ["x.jsonl"]\nfields = ["statement=lean"]\n'
        'lean = "4.28.0"\nlicence = "MIT"\n'
    )
    assert [t.name for t in sets.open_set(sets.load_set(str(toml)))] == ["a"]
    with pytest.raises(UserError, match="--fields is for data sets"):
        sets.load_set(str(toml), fields)
    config = TheoremsConfig(files=(str(file),), fields=fields)
    assert [t.name for t, _ in file_theorems(config.files, dict(f.split("=") for f in config.fields))] == ["a"]
    with pytest.raises(
        UserError, match="not found or not supported; name a .lean file, a Lake project, world:NAME, a data set"
    ):
        file_theorems(["x.txt"])
