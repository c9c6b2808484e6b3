"""The ledger of a run in SQLite: append-only attempts, proofs and measurements, and the replay examples.

An attempt is recorded before it is used. A resumed run continues from the ledger.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from prover.errors import UserError
from prover.files import check_regular
from prover.lean.theorem import Theorem

FORMAT = 1
"""Version of the run folder's layout. Other versions are rejected."""

_SCHEMA = """
create table if not exists meta (key text primary key, value text not null);
create table if not exists attempts (
  id integer primary key, phase text not null, theorem text not null, spec text not null, outcome text not null,
  lean_calls integer not null, calls_to_solve integer, seconds real not null, script text, reason text not null,
  axioms text not null, premises text not null, model_version integer not null, lean text not null, stats text not null,
  at real not null, unique (phase, theorem));
create table if not exists examples (
  id integer primary key, attempt integer not null references attempts (id), kind text not null, data text not null);
create index if not exists examples_of_attempt on examples (attempt, kind);
create index if not exists examples_of_kind on examples (kind, attempt);
create table if not exists logged (step integer primary key, key text not null unique, data text not null);
create table if not exists measurements (id integer primary key, phase text not null, name text not null, value real,
  at real not null);
"""


@dataclass(frozen=True)
class Attempt:
    """One attempt at one theorem."""

    phase: str
    theorem: Theorem
    outcome: str
    lean_calls: int
    calls_to_solve: int | None
    seconds: float
    script: str | None = None
    reason: str = ""
    axioms: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    """Library theorems in the audited proof."""
    model_version: int = 0
    lean: str = ""
    stats: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ExampleRow:
    """An example with the attempt data that replay needs."""

    theorem: str
    outcome: str
    model_version: int
    calls_to_solve: int | None
    data: dict[str, Any]
    id: int = 0
    """Row id in the ledger, increasing."""


def theorem_json(theorem: Theorem) -> str:
    return json.dumps(asdict(theorem), ensure_ascii=False)


def theorem_from_json(text: str) -> Theorem:
    return msgspec.json.decode(text, type=Theorem)


def _reading(path: Path) -> str:
    """How SQLite opens a ledger to read it. On a disk that cannot be written to, it could not make the files that it shares with a writer."""
    written = path.with_name(f"{path.name}-wal").exists() or os.access(path.parent, os.W_OK)
    return "mode=ro" if written else "mode=ro&immutable=1"


class Ledger(AbstractContextManager["Ledger"]):
    """An open ledger. `readonly` neither creates nor changes the file. Raises UserError for other formats."""

    def __init__(self, path: Path, readonly: bool = False) -> None:
        self.path = path
        if readonly and not path.exists():
            raise UserError(f"{path}: no ledger here; name a run folder")
        if path.exists():
            # SQLite would block on a pipe. Opening and closing the file here would drop this process's SQLite locks.
            check_regular(path)
        try:
            target = f"{path.absolute().as_uri()}?{_reading(path)}" if readonly else str(path)
            self._db = sqlite3.connect(target, uri=readonly, timeout=30)
            if not readonly:
                self._db.execute("pragma journal_mode=wal")
                self._db.execute("pragma synchronous=normal")
                self._db.executescript(_SCHEMA)
            version = self.get("format")
        except sqlite3.DatabaseError as e:
            if e.sqlite_errorname == "SQLITE_FULL":
                raise
            raise UserError(f"{path}: not a ledger ({e}); name a run folder or its ledger.sqlite") from None
        if version is None and not readonly:
            self.set("format", FORMAT)
        elif version != FORMAT:
            raise UserError(
                f"{path}: format {version} is not supported (this version reads format {FORMAT}); use the version that wrote it"
            )

    @staticmethod
    def begun(path: Path) -> bool:
        """Whether the ledger has been initialised. False if the run was killed before that."""
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
        try:
            return db.execute("select 1 from meta where key = 'format'").fetchone() is not None
        except sqlite3.OperationalError as e:
            return "no such table" not in str(e)
        except sqlite3.DatabaseError:
            return True
        finally:
            db.close()

    @classmethod
    def open(cls, path: Path, readonly: bool = False) -> Ledger:
        """The ledger of a run folder, or of the ledger file itself."""
        return cls(path / "ledger.sqlite" if path.is_dir() else path, readonly)

    def close(self) -> None:
        self._db.close()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def get(self, key: str) -> Any:
        """The stored value of a key, or None."""
        row = self._db.execute("select value from meta where key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def set(self, key: str, value: Any) -> None:
        with self._db:
            self._db.execute("insert or replace into meta values (?, ?)", (key, json.dumps(value)))

    def learned(self) -> int:
        """The last round that a run has trained, 0 if there is none."""
        sql = "select max(cast(substr(key, 9) as integer)) from meta where key glob 'learned [0-9]*'"
        return self._db.execute(sql).fetchone()[0] or 0

    def record(self, attempt: Attempt, examples: Iterable[tuple[str, dict[str, Any]]] = ()) -> None:
        """Append an attempt and its examples (kind, data). Ignores a second attempt at a theorem in the same phase."""
        with self._db:
            cursor = self._db.execute(
                "insert or ignore into attempts (phase, theorem, spec, outcome, lean_calls, calls_to_solve, seconds, script,"
                " reason, axioms, premises, model_version, lean, stats, at) values (:phase, :name, :spec, :outcome, :lean_calls,"
                " :calls_to_solve, :seconds, :script, :reason, :axioms, :used, :model_version, :lean, :stats, :at)",
                {
                    **vars(attempt),
                    "name": attempt.theorem.name,
                    "spec": theorem_json(attempt.theorem),
                    "axioms": json.dumps(attempt.axioms),
                    "used": json.dumps(attempt.used),
                    "stats": json.dumps(attempt.stats),
                    "at": time.time(),
                },
            )
            if cursor.rowcount:
                self._db.executemany(
                    "insert into examples (attempt, kind, data) values (?, ?, ?)",
                    [(cursor.lastrowid, kind, json.dumps(data, ensure_ascii=False)) for kind, data in examples],
                )

    def attempts(self, phase: str | None = None) -> Iterator[Attempt]:
        """Attempts of a phase (all, if None), oldest first."""
        sql = (
            "select phase, spec, outcome, lean_calls, calls_to_solve, seconds, script, reason, axioms, premises,"
            " model_version, lean, stats from attempts"
        )
        rows = self._db.execute(sql + (" where phase = ?" if phase else "") + " order by id", (phase,) if phase else ())
        for of, spec, *plain, axioms, used, version, lean, stats in rows:
            lists: tuple[Any, ...] = (tuple(json.loads(axioms)), tuple(json.loads(used)))
            fields = (of, theorem_from_json(spec), *plain, *lists, version, lean, json.loads(stats))
            yield Attempt(*fields)

    def tries(self, phase: str) -> Iterator[tuple[str, str, int | None, Any, int, float]]:
        """(theorem, outcome, Lean calls to the proof, `prove` or `disprove`, Lean calls allowed, share of the rollouts that proved it) of a
        phase, oldest first. The share of a search is 1."""
        sql = (
            "select theorem, outcome, calls_to_solve, coalesce(json_extract(stats, '$.side'), 'prove'),"
            " coalesce(json_extract(stats, '$.calls_allowed'), 0),"
            " coalesce(1.0 * json_extract(stats, '$.correct') / json_extract(stats, '$.rollouts'), 1.0)"
            " from attempts where phase = ? order by id"
        )
        yield from self._db.execute(sql, (phase,))

    def rename(self, phase: str, to: str) -> None:
        """Rename a phase. `to`: a phase without attempts."""
        with self._db:
            self._db.execute("update attempts set phase = ? where phase = ?", (to, phase))

    def done(self, phase: str) -> set[str]:
        """Names of the theorems attempted in a phase."""
        return {r[0] for r in self._db.execute("select theorem from attempts where phase = ?", (phase,))}

    def proofs(self) -> Iterator[Attempt]:
        """The shortest audited proof of each theorem, the oldest on ties. Different theorems may share a name."""
        best: dict[str, Attempt] = {}
        for a in self.attempts():
            if a.outcome == "proved" and a.script is not None:
                known = best.get(key := theorem_json(a.theorem))
                if known is None or len(a.script) < len(known.script or ""):
                    best[key] = a
        yield from best.values()

    def best_sizes(self) -> dict[str, int]:
        """Tactics in the shortest audited proof of each theorem, outside evaluations."""
        sql = (
            "select theorem, min(json_extract(stats, '$.steps')) from attempts where outcome = 'proved'"
            " and json_extract(stats, '$.steps') is not null and phase not glob 'eval *' group by 1"
        )
        return dict(self._db.execute(sql))

    def claims(self) -> Iterator[tuple[Theorem, str]]:
        """All distinct accepted (theorem, script) pairs, oldest first."""
        sql = "select spec, script from attempts where outcome = 'proved' and script is not null group by spec, script order by min(id)"
        for spec, script in self._db.execute(sql):
            yield theorem_from_json(spec), script

    def example_rows(self, kind: str, phase: str | None = None) -> Iterator[ExampleRow]:
        """Streams the examples of a kind, of all phases or of one, oldest first."""
        sql = (
            "select a.theorem, a.outcome, a.model_version, a.calls_to_solve, e.data, e.id"
            " from examples e join attempts a on a.id = e.attempt where e.kind = ?1"
            " and (?2 is null or a.phase = ?2) order by e.id"
        )
        for theorem, outcome, version, calls, data, id in self._db.execute(sql, (kind, phase)):
            yield ExampleRow(theorem, outcome, version, calls, json.loads(data), id)

    def example_theorems(self) -> list[Theorem]:
        """The theorems that have examples."""
        sql = "select distinct spec from attempts where id in (select attempt from examples)"
        return [theorem_from_json(spec) for (spec,) in self._db.execute(sql)]

    def example_counts(self, kind: str) -> dict[str, int]:
        """Number of examples of a kind by theorem."""
        sql = (
            "select a.theorem, count(*) from examples e join attempts a on a.id = e.attempt where e.kind = ? group by 1"
        )
        return dict(self._db.execute(sql, (kind,)))

    def example_kinds(self) -> list[str]:
        """Kinds that have examples."""
        return [kind for (kind,) in self._db.execute("select distinct kind from examples order by kind")]

    def forget_examples(self, ids: Iterable[int]) -> None:
        """Delete these examples in one transaction. Keeps their attempts. The file reuses the space."""
        with self._db:
            self._db.executemany("delete from examples where id = ?", [(i,) for i in ids])

    def rewrite_examples(self, rows: Mapping[int, dict[str, Any]]) -> None:
        """Replace the data of these examples, given by row id, in one transaction."""
        with self._db:
            self._db.executemany(
                "update examples set data = ? where id = ?",
                [(json.dumps(data, ensure_ascii=False), i) for i, data in rows.items()],
            )

    def measure(self, phase: str, values: dict[str, float]) -> None:
        """Append measurements."""
        with self._db:
            self._db.executemany(
                "insert into measurements (phase, name, value, at) values (?, ?, ?, ?)",
                [(phase, k, v, time.time()) for k, v in values.items()],
            )

    def log(self, key: str, row: dict[str, float]) -> int | None:
        """Append a row of the run's curves. Returns its step (0, 1, …), or None if there is a row of this key."""
        with self._db:
            found = self._db.execute(
                "insert or ignore into logged (step, key, data) select count(*), ?, ? from logged",
                (key, json.dumps(row)),
            )
        return found.lastrowid if found.rowcount else None

    def logged(self) -> list[tuple[int, dict[str, float]]]:
        """(step, row) of the run's curves, oldest first."""
        return [(s, json.loads(d)) for s, d in self._db.execute("select step, data from logged order by step")]

    def rounds(self) -> list[dict[str, float]]:
        """The rows of the run's curves that describe a whole round, oldest first."""
        sql = "select data from logged where key glob 'round [0-9]*' order by step"
        return [json.loads(data) for (data,) in self._db.execute(sql)]

    def training_calls(self) -> int:
        """Lean calls of all rounds."""
        sql = "select sum(lean_calls) from attempts where phase glob 'round [0-9]*'"
        return self._db.execute(sql).fetchone()[0] or 0

    def measurements(self, phase: str | None = None) -> list[tuple[str, str, float, float]]:
        """(phase, name, value, time) of a phase (all, if None), oldest first."""
        sql = "select phase, name, value, at from measurements where ?1 is null or phase = ?1 order by id"
        return list(self._db.execute(sql, (phase,)))
