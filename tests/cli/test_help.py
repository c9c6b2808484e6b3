"""The help pages: readable, complete, and as wide as the terminal."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields

import pytest

from prover import cli, plugins
from prover.commands.prove import ProveOptions
from prover.errors import UserError

COMMANDS = sorted(plugins.registered(cli.COMMANDS))


@pytest.mark.parametrize("command", COMMANDS)
def test_readable(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    assert cli.run([command, *(["lean"] if command == "bench" else []), "--help"]) == 0
    page = capsys.readouterr().out
    assert not re.search(r"None|\{\}|default: *\)|--no-json|\[STR|[ \t]$", page, re.MULTILINE)
    assert "options:\n  -h, --help" in page
    options = page.partition("options:")[2]
    assert max(map(len, options.splitlines())) <= 90
    assert "--json" in options


def test_each_option_has_one_paragraph(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.run(["prove", "--help"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("usage: turnstile prove [-h] [OPTIONS] [TARGET]\n")
    assert "\n  --seconds FLOAT       Wall time for each theorem" in page
    assert "\n  --imports STR …       Modules to import" in page
    assert "\n  --policy STR          portfolio, explorer," in page and "(default: portfolio)" in page
    assert "\n  --no-look             Do not flag" in page
    assert len(re.findall(r"^  -", page, re.MULTILINE)) == len(fields(ProveOptions))  # --help, and all but the target


def test_positional_arguments_have_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["eval", "--help"]) == 0
    assert "usage: turnstile eval [-h] [OPTIONS] PROVER THEOREMS" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bench", "search", "--split", "all"], "invalid choice 'all' for argument '--split'"),
        (["prove", "--policy"], "Missing value for argument '--policy'"),
        (["prove", "--nowhere"], "Unrecognized options: --nowhere"),
    ],
)
def test_parse_errors_are_one_line_without_a_title(arguments: list[str], said: str) -> None:
    with pytest.raises(UserError, match=r"^[^\n]+ \(`turnstile \w+.* --help` lists the options\)$") as found:
        cli.run(arguments)
    assert str(found.value).startswith(said)


def test_the_options_of_benchmarks_load_no_torch() -> None:
    """It takes seconds to import."""
    code = "import sys; from rl.commands.bench import BENCHES; [p.load() for p in BENCHES.values()]; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
