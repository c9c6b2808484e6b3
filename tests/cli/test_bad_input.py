"""Bad input: one clear line that begins `turnstile: `, exit code 2, nothing on standard output, no file changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import fingerprint_of

GOOD = "theorem a : 1 + 1 = 2 := by sorry\n"

DOJO = b'[{"url": "u", "commit": "c", "file_path": "%s", "full_name": "a", "start": [1, 1], "end": [1, 1]}]'

FILES: dict[str, bytes] = {
    "good.lean": GOOD.encode(),
    "bom.lean": b"\xef\xbb\xbf" + GOOD.encode(),
    "utf16.lean": GOOD.encode("utf-16"),
    "latin.lean": b"-- caf\xe9\n" + GOOD.encode(),
    "nul.lean": b"theorem a\0 : 1 = 1 := by sorry\n",
    "mac.lean": b"theorem a : 1 = 1 := by\rsorry\n",
    "comment.lean": b"import Init\n/- never /- closed -/\n",
    "import.lean": b"import\n",
    "huge.lean": b"-- " + b"x" * (9 * 2**20),
    "text.txt": b"hello",
    "empty.jsonl": b"\n\n",
    "broken.jsonl": b'{"name": "a", "statement": ": 1 = 1"}\n{"name": \n',
    "list.jsonl": b"[1, 2]\n",
    "latin.jsonl": b'{"name": "caf\xe9"}\n',
    "nostatement.jsonl": b'{"name": "a"}\n',
    "noname.jsonl": b'{"statement": ": 1 = 1"}\n',
    "number.jsonl": b'{"name": "a", "statement": 3}\n',
    "imports.jsonl": b'{"name": "a", "statement": ": 1 = 1", "imports": "Mathlib"}\n',
    "nocolon.jsonl": b'{"name": "a", "statement": "(n : Nat)"}\n',
    "twice.jsonl": b'{"name": "a", "statement": ": 1 = 1"}\n{"name": "a", "statement": ": 1 = 1"}\n',
    "noproof.jsonl": b'{"name": "a", "statement": ": 1 = 1"}\n',
    "results.jsonl": b"what is this\n",
    "old.jsonl": b'{"turnstile_results": 1, "input": "0"}\n',
    "torn.jsonl": b'{"turnstile_results": 2, "input": "0", "policy": "portfolio", "budget": 64, "seed": 0}\n[3]\n',
    "lake/lakefile.toml": b"",
    "lake/A.lean": b"-- sorry\ntheorem a : 1 = 1 := rfl\n",
    "lake/.lake/packages/B.lean": b"theorem a : 1 = 1 := sorry\n",
    "faraway/lakefile.lean": b"import Lake",
    "faraway/A.lean": b"import Mathlib\nimport Own.B\ntheorem a : 1 = 1 := sorry\n",
    "garbled/lakefile.toml": b"",
    "nothing/lakefile.toml": b"",
    "work/lakefile.toml": b"",
    "work/A.lean": b"theorem a : 1 = 1 := sorry\n",
    "garbled/A.lean": b"-- caf\xe9\n",
    "circle/lakefile.lean": b"import Lake\n",
    "circle/Own/A.lean": b"import Own.B\ntheorem a : 1 = 1 := sorry\n",
    "circle/Own/B.lean": b"import Own.A\n",
    "circle/Own/C.lean": b"-- C\nimport Own.None\ntheorem a : 1 = 1 := sorry\n",
    "badlake/lakefile.toml": b"name = \n",
    "badlake/A.lean": b"import B\ntheorem a : 1 = 1 := sorry\n",
    "repo/M/Basic.lean": b"theorem b : 1 = 1 := rfl\n",
    "dojo.json": DOJO % b"M/Basic.lean",
    "out.json": DOJO % b"../good.lean",
    "nodojo.json": b"[1]",
    "other.jsonl": b'{"turnstile_results": 2, "input": "0", "policy": "portfolio", "budget": 64, "seed": 0}\n',
    "set.toml": b'name = "x"\n',
    "broken.toml": b"name = \n",
    "field.toml": b'name="x"\ntitle="x"\nlean="4"\nlicence="x"\nkind="lean"\nfiles=["no.lean"]\nsize=3\n',
    "missing.toml": b'name="x"\ntitle="x"\nlean="4"\nlicence="x"\nkind="lean"\nfiles=["no.lean"]\n',
    "run/config.toml": b"",
    "badrun/ledger.sqlite": b"not a database at all, but long enough to be looked at by sqlite",
    "model/config.json": b"{}",
}

CASES: list[tuple[str, list[str], str]] = [
    # (kind, command line, a part of the message)
    ("no command", [], "name a command"),
    ("unknown command", ["proof"], "unknown command 'proof'"),
    ("unknown option", ["doctor", "--bogus"], "--bogus"),
    ("option without its value", ["prove", "good.lean", "--budget"], "budget"),
    ("not a number", ["prove", "good.lean", "--budget", "many"], "--budget many: must be a whole number (`turnstile"),
    ("not a share", ["prove", "good.lean", "--disprove", "some"], "--disprove some: must be a number (`turnstile"),
    ("an empty target", ["verify", ""], "verify: an argument is empty"),
    ("an empty path", ["prove", "good.lean", "--out", ""], "prove: --out is empty; give its value or leave it out"),
    ("an empty path after =", ["prove", "good.lean", "--results="], "prove: --results is empty"),
    ("no file", ["prove", "nowhere.lean"], "nowhere.lean: no such file"),
    ("no file of that kind", ["prove", "nowhere"], "nowhere: no such file"),
    ("a folder", ["prove", "run"], "run: is a folder without a lakefile"),
    ("a project without sorries", ["prove", "lake"], "lake: no .lean file of this project has a `sorry`"),
    (
        "a project out of the embedded Lean's reach",
        ["prove", "faraway"],
        "faraway/A.lean:1: imports Mathlib, Own.B: not of this project",
    ),
    ("imports in a circle", ["prove", "circle"], "circle/Own/A.lean:1: imports go in a circle: Own.B → Own.A → Own.B"),
    (
        "an import that the project lacks",
        ["prove", "circle/Own/C.lean"],
        "Own/C.lean:2: imports Own.None: circle has no file",
    ),
    ("a lakefile that is no TOML", ["prove", "badlake"], "badlake/lakefile.toml: cannot be read as a lakefile"),
    ("a benchmark without its repository", ["prove", "dojo.json"], "with --sources FOLDER"),
    (
        "a benchmark of another repository",
        ["prove", "dojo.json", "--sources", "lake"],
        "lake: has no file M/Basic.lean",
    ),
    (
        "a benchmark of another commit",
        ["prove", "dojo.json", "--sources", "repo"],
        "repo/M/Basic.lean: has no theorem a",
    ),
    ("a benchmark that leaves its repository", ["prove", "out.json", "--sources", "lake"], "has no file ../good.lean"),
    ("no benchmark", ["prove", "nodojo.json", "--sources", "lake"], "nodojo.json: not a LeanDojo Benchmark file"),
    ("a project against none", ["verify", "lake", "--against", "run"], "run: not a Lake project"),
    ("a project's file that is no text", ["prove", "garbled"], "garbled/A.lean:1: byte 7 is not UTF-8"),
    ("a project into a file", ["prove", "faraway", "--out", "text.txt"], "text.txt: is a file"),
    (
        "notes for what is no file",
        ["prove", "--statement", ": 1 = 1", "--mark-failed"],
        "--mark-failed is for .lean files",
    ),
    ("no total", ["prove", "--statement", ": 1 = 1", "--total-budget", "0"], "--total-budget 0"),
    ("report on nothing", ["report", "nowhere"], "nowhere"),
    (
        "report on an empty batch",
        ["report", "other.jsonl"],
        "other.jsonl: has no results yet; write them with `turnstile prove … --results other.jsonl`",
    ),
    ("report on an older batch", ["report", "old.jsonl"], "old.jsonl:1: not a results file"),
    ("report on a broken batch", ["report", "torn.jsonl"], "torn.jsonl:2: not a results file"),
    ("another kind of file", ["prove", "text.txt"], "text.txt: unknown input"),
    ("byte order mark", ["prove", "bom.lean"], "bom.lean:1: starts with a byte order mark"),
    ("UTF-16", ["prove", "utf16.lean"], "utf16.lean:1: starts with a byte order mark"),
    ("Latin-1", ["prove", "latin.lean"], "latin.lean:1: byte 7 is not UTF-8"),
    ("NUL", ["prove", "nul.lean"], "nul.lean:1: has a NUL"),
    ("lone carriage return", ["prove", "mac.lean"], "mac.lean:1: has a carriage return"),
    ("comment without end", ["prove", "comment.lean"], "comment.lean:2: this comment is never closed"),
    ("import of nothing", ["verify", "import.lean"], "import.lean:1: `import` without a module name"),
    ("too large", ["verify", "huge.lean"], "huge.lean: larger than"),
    ("nothing to prove", ["prove"], "give one of"),
    ("two things to prove", ["prove", "good.lean", "--statement", ": 1 = 1"], "give one of"),
    ("empty statement", ["prove", "--statement", " "], "`statement` must be a non-empty string"),
    ("no budget", ["prove", "good.lean", "--budget", "0"], "--budget 0"),
    ("negative workers", ["prove", "good.lean", "--workers", "-1"], "--workers -1"),
    (
        "two formats",
        ["prove", "--statement", ": 1 = 1", "--json", "--format", "lsp"],
        "--json and --format lsp exclude",
    ),
    ("a whole theorem", ["prove", "--statement", "theorem t : 1 = 1"], "is what stands after `theorem NAME`"),
    ("a share above 1", ["prove", "--statement", ": 1 = 1", "--disprove", "2"], "--disprove 2"),
    ("no time", ["prove", "good.lean", "--seconds", "0"], "--seconds 0"),
    ("no time to learn", ["prove", "good.lean", "--learn", "0"], "--learn 0: must be more than 0 minutes"),
    ("a folder without learning", ["prove", "good.lean", "--learn-out", "x"], "--learn-out goes with --learn"),
    (
        "a served model that is to learn",
        ["prove", "good.lean", "--policy", "openai:http://localhost:1?template=names", "--learn", "1"],
        "cannot learn",
    ),
    ("learning on a project", ["prove", "work", "--learn", "1"], "work: --learn is not for projects"),
    ("learning on the library", ["prove", "library:Init.Data.Option.Lemmas", "--learn", "1"], "of the library"),
    ("learning in a full folder", ["prove", "good.lean", "--learn", "1", "--learn-out", "lake"], "lake: is not empty"),
    (
        "settings of learning that are none",
        ["prove", "good.lean", "--learn", "1", "--learn-settings", "nowhere"],
        "nowhere: no such file or stage",
    ),
    ("no tokens", ["prove", "good.lean", "--tokens", "0"], "--tokens 0"),
    ("no tasks wanted", ["prove", "good.lean", "--limit", "0"], "--limit 0"),
    ("in place and out", ["prove", "good.lean", "--in-place", "--out", "x.lean"], "--in-place"),
    ("in place of a statement", ["prove", "--statement", ": 1 = 1", "--in-place"], "--in-place"),
    ("out in no folder", ["prove", "good.lean", "--out", "no/where.lean"], "the folder no does not exist"),
    ("out is a folder", ["prove", "good.lean", "--out", "run"], "run: is a folder"),
    ("unknown policy", ["prove", "good.lean", "--policy", "magic"], "--policy magic: unknown policy"),
    ("empty policy", ["prove", "good.lean", "--policy", ","], "--policy is empty"),
    ("folder without a checkpoint", ["prove", "good.lean", "--policy", "run"], "no checkpoint in it"),
    ("unknown set", ["prove", "set:no-such-set"], "no set 'no-such-set'; available:"),
    ("set without title", ["sets", "set.toml"], "set.toml: setting 'title' is missing"),
    ("set that is no TOML", ["sets", "broken.toml"], "broken.toml: not TOML"),
    ("set with an unknown field", ["sets", "field.toml"], "unknown setting 'size'"),
    ("set without its files", ["sets", "missing.toml"], "no.lean is neither in"),
    (
        "out over the input",
        ["prove", "noproof.jsonl", "--out", "noproof.jsonl"],
        "--out noproof.jsonl: is the same file as the input",
    ),
    (
        "a page over the input",
        ["prove", "good.lean", "--tree", "run/../good.lean"],
        "good.lean: is the same file as the input",
    ),
    (
        "results where the output goes",
        ["prove", "good.lean", "--out", "x", "--results", "x"],
        "--results x: is the same file as --out",
    ),
    ("imports for a file", ["prove", "good.lean", "--imports", "Std"], "write `import Std` at the top of good.lean"),
    ("a checkout for a file", ["prove", "good.lean", "--sources", "repo"], "--sources is for FILE.json of LeanDojo"),
    ("a name for a file", ["prove", "good.lean", "--name", "b"], "--name goes with --statement"),
    (
        "no cluster's address",
        ["prove", "noproof.jsonl", "--ray", "here"],
        "--ray here: not an address; use auto, local",
    ),
    (
        "a cluster that is not there",
        ["prove", "noproof.jsonl", "--ray", "127.0.0.1:9"],
        "--ray 127.0.0.1:9: no cluster answers",
    ),
    ("jsonl without lines", ["prove", "empty.jsonl"], "empty.jsonl: no theorems"),
    ("jsonl that is no JSON", ["prove", "broken.jsonl"], "broken.jsonl:2: not JSON"),
    ("jsonl of lists", ["prove", "list.jsonl"], "list.jsonl:1: a JSON object is expected, not list"),
    ("jsonl in Latin-1", ["prove", "latin.jsonl"], "latin.jsonl:1: not UTF-8"),
    ("jsonl without statement", ["prove", "nostatement.jsonl"], "nostatement.jsonl:1: no statement"),
    ("jsonl without name", ["prove", "noname.jsonl"], "noname.jsonl:1: no name"),
    ("jsonl, statement a number", ["prove", "number.jsonl"], "number.jsonl:1: `statement` must be a non-empty string"),
    ("jsonl, imports a text", ["prove", "imports.jsonl"], "imports.jsonl:1: a header must be a string, and `imports`"),
    ("jsonl, no colon", ["prove", "nocolon.jsonl"], "nocolon.jsonl:1: `statement` has no `:`"),
    ("a project's output over something", ["prove", "work", "--out", "circle"], "circle: is not empty"),
    ("a project without Lean files", ["verify", "nothing"], "nothing: no .lean files to verify"),
    ("jsonl, a name twice", ["prove", "twice.jsonl"], "twice.jsonl:2: duplicate of 'a' at twice.jsonl:1"),
    ("results that are none", ["prove", "good.lean", "--resume"], "results.jsonl:1: not a results file"),
    (
        "results of something else",
        ["prove", "good.lean", "--results", "other.jsonl", "--resume"],
        "or it has changed); use another file",
    ),
    ("results there already", ["prove", "good.lean", "--results", "other.jsonl"], "already exists"),
    ("nothing to verify", ["verify"], "nothing to verify was given"),
    ("two things to verify", ["verify", "good.lean", "--statement", ": 1 = 1", "--proof", "rfl"], "exclude each other"),
    ("statement without proof", ["verify", "--statement", ": 1 = 1"], "--statement and --proof must be given together"),
    ("against without a file", ["verify", "--jsonl", "noproof.jsonl", "--against", "good.lean"], "--against"),
    ("against nothing", ["verify", "good.lean", "--against", "nowhere.lean"], "nowhere.lean: no such file"),
    ("verify lines without proof", ["verify", "--jsonl", "noproof.jsonl"], "noproof.jsonl:1: `proof` must be a string"),
    ("a folder that is no run", ["verify", "run"], "run: not a run"),
    ("a ledger that is none", ["verify", "badrun"], "not a ledger"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder of all cases and its fingerprint: none of them changes it."""
    folder = tmp_path_factory.mktemp("files")
    for name, data in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(data)
    return folder, fingerprint_of(folder)


@pytest.mark.parametrize(("kind", "args", "message"), CASES, ids=[c[0] for c in CASES])
def test_bad_input_is_one_line_and_changes_nothing(
    kind: str,
    args: list[str],
    message: str,
    turnstile: Callable,
    files: tuple[Path, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, before = files
    monkeypatch.chdir(folder)
    done = turnstile(*args)
    assert done.code == 2, done
    assert done.out == ""
    assert done.err.count("\n") == 1 and done.err.startswith("turnstile: "), done.err
    assert message in done.err
    assert fingerprint_of(folder) == before


LEAN_CASES: list[tuple[str, str, list[str], str]] = [
    ("unknown module", "import Foo.Bar\ntheorem a : 1 = 1 := by sorry\n", ["prove", "x.lean"], "Foo"),
    ("syntax error", "theorem a : 1 = := by sorry\n", ["prove", "x.lean"], "x.lean:1:"),
    ("type error", "theorem a : 1 = true := by sorry\n", ["prove", "x.lean"], "x.lean:1:"),
    ("in place", "theorem a : foo 1 := by sorry\n", ["prove", "x.lean", "--in-place"], "x.lean:1:"),
    ("a tab", "theorem a : 1 = 1 := by\n\tsorry\n", ["prove", "x.lean"], "x.lean:2:"),
    ("no sorry's end", "theorem a : 1 = 1 := by (sorry\n", ["prove", "x.lean"], "x.lean:2:"),
    ("no declaration", "open Nat\n", ["verify", "x.lean"], "x.lean: declares nothing to verify"),
]


@pytest.mark.lean
@pytest.mark.parametrize(("kind", "text", "args", "message"), LEAN_CASES, ids=[c[0] for c in LEAN_CASES])
def test_errors_from_lean_are_one_line(
    kind: str,
    text: str,
    args: list[str],
    message: str,
    turnstile: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "x.lean").write_text(text)
    monkeypatch.chdir(tmp_path)
    done = turnstile(*args)
    assert (done.code, done.out) == (2, ""), done
    assert done.err.count("\n") == 1 and done.err.startswith("turnstile: "), done.err
    assert message in done.err
    assert (tmp_path / "x.lean").read_text() == text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.lean"]
