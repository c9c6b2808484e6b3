"""Workflows and images: the commands, targets, files and actions that they name exist. Nothing is run or built."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted([ROOT / "action.yml", *ROOT.glob(".github/*/*.yml"), *ROOT.glob(".github/actions/*/*.yml")])
DOCKERFILES = sorted(ROOT.glob("docker/*.Dockerfile"))
TURNSTILE = re.compile(r'(?:^|[\s&;("])(?:\S*/)?(?:turnstile|\$turnstile)"? ((?:\\\n|[^\n&|;>])*)')
ARRAY = re.compile(r"(\w+)\+?=\(([^)]*)\)")


def by_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def steps(path: Path) -> Iterator[dict[str, Any]]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "runs" in document:
        yield from document["runs"]["steps"]
    for job in document.get("jobs", {}).values():
        yield from job["steps"]


def scripts(path: Path) -> list[str]:
    """The shell scripts of a workflow, or of an image's RUN instructions."""
    if path.suffix == ".yml":
        return [step["run"] for step in steps(path) if "run" in step]
    return [words for name, words in instructions(path) if name == "RUN"]


def instructions(path: Path) -> list[tuple[str, str]]:
    """(name, the rest on one line) of a Dockerfile."""
    text = re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines) if name]


def turnstile_lines(script: str) -> list[str]:
    """The arguments of each call of `turnstile`: arrays are replaced by their elements, other variables by 1."""
    arrays: dict[str, str] = {}
    for name, elements in ARRAY.findall(script):
        arrays[name] = f"{arrays.get(name, '')} {elements}"
    found = []
    for line in TURNSTILE.findall(script):
        line = re.sub(r'"\$\{(\w+)\[@\]\}"', lambda m: arrays[m[1]], line.replace("\\\n", " "))
        found.append(re.sub(r"\$\w+|\$\{\w+\}", "1", line))
    return found


LINES = [
    (path, line) for path in [*WORKFLOWS, *DOCKERFILES] for script in scripts(path) for line in turnstile_lines(script)
]


def test_the_commands_are_found() -> None:
    """The parametrised test below would pass without any."""
    text = {by_name(path): [line for p, line in LINES if p == path] for path in [*WORKFLOWS, *DOCKERFILES]}
    assert len(text[".github/workflows/native.yml"]) == 12
    (prove,) = text["action.yml"]
    assert prove.split()[:3] == ["prove", '"1"', "--changed"] and "--in-place" in prove
    assert text["docker/cpu.Dockerfile"] == ['setup mathlib --lean "1"']


@pytest.mark.parametrize(("path", "line"), LINES, ids=[f"{path.name}: {line[:60]}" for path, line in LINES])
def test_commands_parse(path: Path, line: str, parses: Callable[[str], None]) -> None:
    parses(line)


@pytest.mark.parametrize("path", WORKFLOWS, ids=by_name)
def test_targets_and_actions_exist(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in (t for script in scripts(path) for t in re.findall(r"^make ([\w-]+)", script, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for module in (m for script in scripts(path) for m in re.findall(r"\bpytest\b(.*)", script)):
        assert [file for file in module.split() if "/" in file and not (ROOT / file).exists()] == []
    for used in (step["uses"] for step in steps(path) if "uses" in step):
        if used.startswith("./"):
            assert (ROOT / used / "action.yml").is_file(), used
        else:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", used), f"{used}: pin it by commit"


def test_the_candidate_is_let_in(tmp_path: Path) -> None:
    """The workflow for release candidates changes the newest supported release."""
    (command,) = (
        c for s in scripts(ROOT / ".github/workflows/native.yml") for c in re.findall(r"^sed -i .*$", s, re.MULTILINE)
    )
    *words, file = shlex.split(command.replace("$minor", "99"))
    copy = tmp_path / "source.py"
    copy.write_bytes((ROOT / file).read_bytes())
    subprocess.run([*words, copy], check=True)
    assert re.search(r"^OLDEST, NEWEST = \(4, \d+\), \(4, 99\)$", copy.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", DOCKERFILES, ids=by_name)
def test_images(path: Path) -> None:
    found = instructions(path)
    image = next(rest for name, rest in found if name == "FROM")
    assert re.fullmatch(r"[\w./-]+:\d[\w.-]*", image), "a tag that names a release"
    user = [rest for name, rest in found if name == "USER"][-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "not root"
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for *sources, _ in (rest.split() for name, rest in found if name == "COPY"):
        for source in (s for s in sources if not s.startswith("--")):
            assert (ROOT / source).exists() and f"!{source}" in kept, source
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name, version in re.findall(r"(\w+)==([\d.]+)", path.read_text(encoding="utf-8")):
        assert f'"{name}=={version}"' in project, f"{name}: the version of pyproject.toml"


def test_the_images_differ_only_where_they_should() -> None:
    cpu, gpu = (dict.fromkeys(i for i in instructions(ROOT / f"docker/{kind}.Dockerfile")) for kind in ("cpu", "gpu"))
    assert [i for i in cpu if i[0] in ("FROM", "USER", "COPY", "ENTRYPOINT")] == [
        i for i in gpu if i[0] in ("FROM", "USER", "COPY", "ENTRYPOINT")
    ]
    assert [i for i in cpu if "elan" in i[1] and "https" in i[1]] == [
        i for i in gpu if "elan" in i[1] and "https" in i[1]
    ]


def test_compose() -> None:
    path = ROOT / "docker/compose.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    services = document["services"]
    assert set(services) == {"head", "prover", "engine"}
    for name, service in services.items():
        build = service["build"]
        assert (path.parent / build["context"] / build["dockerfile"]).resolve() in DOCKERFILES
        assert service["environment"]["RAY_AUTH_MODE"] == "token", name
        assert {volume.split(":")[0] for volume in service["volumes"]} <= set(document["volumes"])
        assert set(service.get("depends_on", [])) <= set(services)
    assert "gpu" in services["engine"]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"]


def test_ray_has_the_options_of_compose() -> None:
    from ray.scripts.scripts import start

    known = {option for parameter in start.params for option in parameter.opts}
    services = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))["services"]
    for service in services.values():
        program, command, *options = service["entrypoint"]
        assert (program, command) == ("ray", "start")
        assert {option.partition("=")[0] for option in options} <= known
