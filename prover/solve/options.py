"""The options of `turnstile prove`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from prover.errors import UserError
from prover.search import Budget
from prover.solve.attempt import Prover
from prover.solve.policies import provers_named
from prover.solve.theorem_rows import fields_of


@dataclass(frozen=True)
class ProveOptions:
    """Find proofs and audit each of them in its context."""

    target: tyro.conf.Positional[str | None] = None
    """FILE.lean (every `sorry` is a task), FILE.lean:LINE, - (Lean source on standard input), the folder of a Lake project, a data
    set (FILE.jsonl, FILE.json, FILE.parquet, or a folder of these), FILE.json of LeanDojo Benchmark with --sources, library:MODULE
    (also with *), set:NAME (see `turnstile sets`), or world:NAME (docs/worlds.md)."""
    statement: str | None = None
    """One statement, as written after `theorem NAME`: binders, colon, type."""
    name: str = "statement"
    """Name of the statement."""
    imports: tuple[str, ...] = ()
    """Modules to import for statements that specify none."""
    fields: tuple[str, ...] = ()
    """PART=FIELD …: the fields of a data set that contain the theorem's parts (statement, name, header, imports), as in
    `--fields statement=autoformalization`. Public benchmarks need no --fields."""
    policy: str = "portfolio"
    """portfolio, explorer, the folder of a run or checkpoint, or a language model as vllm:…, hf:… or openai:… (docs/models.md).
    Several, separated by commas, are tried in turn."""
    rule: str = ""
    """Selection rule of the search (docs/search.md). Default: that of the run, or puct."""
    budget: int = 64
    """Lean calls of the search for each theorem. With --total-budget, the limit of a theorem's last and largest try."""
    seconds: float | None = None
    """Wall time for each theorem (with --total-budget, for each try). Time limits make results machine-dependent."""
    tokens: int | None = None
    """Model tokens, read and written, for each theorem."""
    out: Path | None = None
    """Write the filled file, or the proofs for other inputs, to this path. Default: standard output."""
    in_place: bool = False
    """Overwrite FILE.lean, or the project's files, with the filled ones."""
    results: Path | None = None
    """Append a JSON line for each task to this file. `turnstile report` renders it as a page."""
    resume: bool = False
    """Continue from the results file: that of --results, or results.jsonl beside the output."""
    retry: bool = False
    """Like --resume, but try the tasks without a proof again, with the budget and policy of this command."""
    workers: int = 0
    """Lean processes. 0: as many as cores and memory allow."""
    total_budget: int | None = None
    """Lean calls for all theorems together: a few for each first, then more where they solve the most."""
    disprove: float = 0.0
    """Share of the Lean calls spent on a search for a proof of the negation. In a .lean file, only for sorries that are a theorem's whole
    proof. At 0, only small instances are tried against theorems left open, in at most 10 further Lean calls each."""
    sources: Path | None = None
    """Checkout of the repository that a LeanDojo Benchmark file describes."""
    look: bool = True
    """Do not flag vacuous or trivial statements, and do not try small instances."""
    lemmas: Path | None = None
    """A library that `turnstile conjecture` wrote. Its lemmas are offered to the proofs of FILE.lean; the filled file contains those
    that are used."""
    learn: float | None = None
    """Minutes of learning on the theorems that the search leaves open and on variants of them. Stops as soon as all are proved."""
    learn_out: Path | None = None
    """The folder of the training run that learns. Default: RESULTS.learned beside the results file, or a folder in the cache."""
    learn_settings: Path | None = None
    """The configuration of that run if --policy names no run: a TOML file or a stage of `turnstile train`, e.g. worlds."""
    learn_variants: int = 0
    """Maximum number of variants of each theorem. 0: 15 per minute for all together, at least 10 and at most 400 of each."""
    ray: str | None = None
    """Address of a Ray cluster that does the work (`auto`: the one this machine is in; `local`: one started here)."""
    tree: Path | None = None
    """Write the search as an HTML page; for several tasks, a folder of pages."""
    limit: int | None = None
    """Maximum number of tasks."""
    only: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Try only the tasks with this name: a declaration, or one `sorry` in it (NAME#2). Repeatable, or separated by commas."""
    mark_failed: bool = False
    """Add a comment after each remaining `sorry` in the filled file."""
    seed: int = 0
    """Random seed."""
    changed: bool = False
    """Only the files of the project that git reports as changed or new. Without a target: the project of the working folder."""
    base: str | None = None
    """With --changed: compare with the commit at which the branch left this one, as in `--base origin/main`."""
    format: Literal["text", "json", "github", "lsp"] = "text"
    """github: an annotation for each task, as GitHub Actions reads them. lsp: the diagnostics of each file, as editors do."""
    json: bool = False
    """Print one JSON document, as --format json does."""

    def check(self) -> None:
        """Raise UserError for options out of range and for conflicting options."""
        least = {"budget": 1, "limit": 1, "total_budget": 1, "tokens": 1, "learn_variants": 0, "workers": 0}
        for name, number in least.items():
            if (given := getattr(self, name)) is not None and given < number:
                raise UserError(f"--{name.replace('_', '-')} {given}: must be at least {number}")
        if self.seconds is not None and not self.seconds > 0:
            raise UserError(f"--seconds {self.seconds:g}: must be more than 0")
        if self.learn is not None and not 0 < self.learn < float("inf"):
            raise UserError(f"--learn {self.learn:g}: must be more than 0 minutes")
        of_learning = {"out": self.learn_out, "settings": self.learn_settings, "variants": self.learn_variants or None}
        if self.learn is None and (given := [name for name, value in of_learning.items() if value is not None]):
            raise UserError(f"--learn-{given[0]} goes with --learn")
        if not 0.0 <= self.disprove <= 1.0:
            raise UserError(f"--disprove {self.disprove:g}: must be between 0 and 1")
        if self.base is not None and not self.changed:
            raise UserError("--base goes with --changed")
        if self.changed and (
            self.statement is not None or (self.target is not None and not Path(self.target).is_dir())
        ):
            raise UserError("--changed is for a Lake project: name its folder, or leave the target out")
        if (self.target is None) == (self.statement is None):
            raise UserError("give one of: FILE.lean, FILE.jsonl, library:MODULE, set:NAME, or --statement")
        fields_of(self.fields)
        if self.name != "statement" and self.statement is None:
            raise UserError("--name goes with --statement")
        if self.json and self.format not in ("text", "json"):
            raise UserError(f"--json and --format {self.format} exclude each other")
        if self.in_place and self.out is not None:
            raise UserError("--in-place and --out exclude each other")
        if self.ray is not None:
            from prover.solve.ray_start import check_cluster

            check_cluster(self.ray, "--ray")
        alone = self.target is not None and self.target.endswith(".lean") and not self.mark_failed
        if self.lemmas is not None and not alone:
            raise UserError("--lemmas is for one .lean file, without --changed, --statement and --mark-failed")
        _distinct(self.target, self.out, self.results, self.tree)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of --only."""
        return tuple(name.strip() for names in self.only for name in names.split(",") if name.strip())

    @property
    def within(self) -> Budget:
        """Limits of a theorem besides the Lean calls."""
        return Budget(model_tokens=self.tokens, seconds=self.seconds)

    def settings(self) -> Settings:
        return Settings(**vars(self), provers=provers_named(self.policy, self.seed, self.rule))


@dataclass(frozen=True)
class Settings(ProveOptions):
    """The options of a command, and what they name."""

    provers: Sequence[Prover] = ()
    project: bool = False
    """Whether the target is a project."""
    line: int | None = None
    """Line of the `sorry`s to try, or of their declaration."""


def _distinct(target: str | None, out: Path | None, results: Path | None, tree: Path | None) -> None:
    """Raise UserError if two outputs, or an output and the input, are the same file. --out may name the input .lean file."""
    taken = {os.path.realpath(target): "the input"} if target is not None else {}
    if target is not None and target.endswith(".lean") and out is not None and os.path.realpath(out) in taken:
        taken = {}
    for option, path in (("--out", out), ("--results", results), ("--tree", tree)):
        if path is None:
            continue
        if (other := taken.setdefault(os.path.realpath(path), option)) != option:
            raise UserError(f"{option} {path}: is the same file as {other}; name another file")
