"""Ablations: runs that change one part and have the same theorems, seeds, Lean calls and training time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prover.errors import UserError
from prover.files import write_whole
from prover.solve.ledger import Ledger
from rl import config as config_module
from rl.algorithms.gradient_settings import PRESETS
from rl.candidate import BASELINES, MEASURED
from rl.changes import difference
from rl.metrics import curves
from rl.metrics.intervals import bounds, percent

_ROLLOUTS = ('learn.collect="rollouts"', "learn.assessor_seconds=0.0")
"""Rollouts leave no examples for the assessor, which learns from searches."""
VARIANTS: dict[str, tuple[str, ...]] = {
    "full": (),
    "no value": ('learn.value="none"',),
    "best-first": ('prover.rule="best_first"', 'learn.value="none"', "learn.assessor_seconds=0.0"),
    "no ranker": ("prover.use_ranker=false",),
    "TD(λ) value": ('learn.value="td_lambda"',),
    "no search in training": _ROLLOUTS,
    "GRPO from search": ('learn.algorithm="grpo"', "learn.kl=0.04", "learn.max_epochs=4.0"),
    "GRPO from rollouts": ('learn.algorithm="grpo"', *_ROLLOUTS, "learn.kl=0.04", "learn.max_epochs=4.0"),
    "visit targets": ('learn.targets="visits"',),
    "no subgoals": ("learn.subgoals=0.0",),
    "no matchmaker": ("matchmaker.adaptive=false",),
    "assessor orders tactics": ('prover.assess=["tactics"]', "learn.assessor_seconds=10.0"),
    "assessor orders premises": ('prover.assess=["premises"]', "learn.assessor_seconds=10.0"),
    "assessor as value": ('learn.value="none"', 'prover.assess=["goals"]', "learn.assessor_seconds=10.0"),
    "assessor in the matchmaker": ("matchmaker.assess=true", "learn.assessor_seconds=10.0"),
    "uniform replay": ("replay.prioritised=false",),
    "model alone": ("prover.explorer_weight=0.0", "prover.eval_explorer_weight=0.0"),
    "round 1 alone": ("learn.rounds=1",),
    "expert iteration from rollouts": ('learn.algorithm="expert_iteration"', *_ROLLOUTS),
    **{name: (f'learn.algorithm="{name}"', *_ROLLOUTS) for name in PRESETS},
}
"""Settings on top of the configuration, by variant. Presets of the policy gradient need `serve.start`. Compare `best-first` and
`assessor as value` with `no value`, which searches by PUCT. `model alone` uses no explorer after the first round. `round 1 alone` is
supervised learning: one round with the Lean calls and the learning time of all rounds (`variant_settings`)."""


def variant_settings(variant: str, base: config_module.RunConfig) -> tuple[str, ...]:
    """The settings of a variant on top of `base`."""
    if variant != "round 1 alone":
        return VARIANTS[variant]
    c = base.learn
    return (
        *VARIANTS[variant],
        f"learn.first_calls={c.first_calls + (c.rounds - 1) * c.calls}",
        f"learn.seconds={c.rounds * c.seconds}",
        f"learn.ranker_seconds={c.rounds * c.ranker_seconds}",
    )


def ablate(
    config: Path, variants: Sequence[str], seeds: int, runs: Path, say: Callable[[str], None], ray: str = ""
) -> dict[str, Any]:
    """Train every variant with every seed as a run of its own under `runs`, and compare their held-out results.

    `ray`: address of the cluster that trains them, `local` for this machine, empty for the configured one. Skips finished runs and
    resumes unfinished ones. Before training, raises UserError for an unknown variant and for a run made with other settings. Raises
    RuntimeError with the last output of a run that fails.
    """
    unknown = [v for v in variants if v not in VARIANTS]
    if unknown:
        raise UserError(f"unknown ablation {unknown[0]!r}; available: {', '.join(VARIANTS)}")
    base = config_module.load(config)
    if ray:
        base = replace(base, ray=replace(base.ray, address="" if ray == "local" else ray))
    if runs.exists() and not runs.is_dir():
        raise UserError(f"{runs}: not a folder")
    for variant in variants:
        for seed in range(seeds):
            _check_same(base, variant, seed, _folder(runs, variant, seed))
    out: dict[str, Any] = {"config": config_module.dump(base), "seeds": seeds, "variants": {}}
    for variant in variants:
        found = []
        for seed in range(seeds):
            folder = _folder(runs, variant, seed)
            if not (folder / "summary.json").exists():
                say(f"{variant}, seed {seed}: {folder}")
                _train(config, base, variant, seed, folder)
            found.append(_figures(folder))
        out["lean"] = found[0]["lean"]
        out["variants"][variant] = _together(variant_settings(variant, base), found)
    return out


def _folder(runs: Path, variant: str, seed: int) -> Path:
    slug = re.sub(r"[^a-z0-9]+", "-", variant.lower()).strip("-")
    return runs / f"{slug}-{seed}"


def _settings(variant: str, base: config_module.RunConfig, folder: Path) -> tuple[str, ...]:
    """Overrides of a variant's run. Only `full` measures the baselines, because no variant changes them."""
    baselines = "true" if variant == "full" else "false"
    return (
        f'runs="{folder.parent}"',
        f'name="{folder.name}"',
        f"eval.baselines={baselines}",
        *variant_settings(variant, base),
    )


def _check_same(base: config_module.RunConfig, variant: str, seed: int, folder: Path) -> None:
    """Raise UserError if the run in `folder` has another configuration, because its results are not comparable."""
    if not (folder / "config.toml").exists():
        return
    wanted = replace(config_module.override(base, _settings(variant, base, folder)), seed=seed)
    if (other := difference(config_module.load(folder / "config.toml"), wanted)) is not None:
        raise UserError(
            f"{folder} was trained with other settings ({other}): choose another --runs folder, or remove this one"
        )


def _train(config: Path, base: config_module.RunConfig, variant: str, seed: int, folder: Path) -> None:
    if (folder / "ledger.sqlite").exists():
        args = ["--resume", str(folder)]
    else:
        args = [
            str(config),
            "--seed",
            str(seed),
            "--set",
            *_settings(variant, base, folder),
            f'ray.address="{base.ray.address}"',
        ]
    command = [sys.executable, "-m", "prover.cli", "train", *args, "--json"]
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        _, said = process.communicate()
    except BaseException:
        process.terminate()  # the run ends as with Ctrl-C, and can be resumed
        process.communicate()
        raise
    if process.returncode:
        raise RuntimeError(f"{folder}: the run ended with {process.returncode}: {said.strip()[-1500:]}")


def _figures(folder: Path) -> dict[str, Any]:
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    with Ledger.open(folder, readonly=True) as ledger:
        rounds = [a for a in ledger.attempts() if a.phase.startswith("round")]
        sampled = list(ledger.attempts("rollouts held-out"))
        held_out = {label: list(ledger.attempts(f"held-out {policy}")) for label, policy in MEASURED.items()}
    return {
        **summary,
        "held_out": held_out,
        "sampled": sampled,
        "training_calls": sum(a.lean_calls for a in rounds),
        "training_proved": len({a.theorem.name for a in rounds if a.outcome == "proved"}),
    }


def _together(settings: Sequence[str], found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Curves summed over seeds, with intervals that account for the theorems being the same for each seed."""

    def curve(label: str) -> dict[str, Any]:
        total = found[0][label]["total"]
        rates = {}
        for b in found[0][label]["curve"]:
            solved, interval = curves.over_seeds([f["held_out"][label] for f in found], int(b), total)
            rates[b] = {"solved": solved, "of": total * len(found), **bounds(interval)}
        return rates

    out: dict[str, Any] = {
        "settings": list(settings),
        "trained": curve("trained"),
        "training_calls": sum(f["training_calls"] for f in found),
        "training_proved": sum(f["training_proved"] for f in found),
        "rejected": sum(f["rejected"] for f in found),
        "seconds": round(sum(f["seconds"] for f in found), 1),
    }
    for baseline in BASELINES:
        if baseline in found[0]:
            out[baseline] = curve(baseline)
    if rollouts := found[0]["sampled"] and found[0]["sampled"][0].stats.get("rollouts", 0):
        out["pass_at_k"] = curves.sampled([f["sampled"] for f in found], rollouts)
    return out


def markdown(results: dict[str, Any], command: str) -> str:
    """The page docs/results.md: held-out solve rates by Lean calls, with the command and the settings."""
    variants: dict[str, Any] = results["variants"]
    first = next(iter(variants.values()))
    budgets = list(first["trained"])
    rows = [(f"{b} (baseline)", first.get(b)) for b in BASELINES]
    rows += [(name, v["trained"]) for name, v in variants.items()]
    lines = [
        "# Ablations",
        "",
        f"Printed by `{command}` on {results['lean']}. Percentage of held-out theorems solved by Lean calls per theorem, with 95 % "
        f"intervals (Wilson, with the effective number of attempts). {results['seeds']} seed(s); each variant has the same "
        "theorems, allowed Lean calls and training time. Training calls are the Lean calls made.",
        "",
        "| variant | " + " | ".join(budgets) + " | training proofs | training calls |",
        "|---|" + "---|" * (len(budgets) + 2),
    ]
    for name, curve in rows:
        if curve is None:
            continue
        cells = [percent(c["solved"] / c["of"], c["low"], c["high"]) for c in (curve[b] for b in budgets)]
        training = [str(variants.get(name, {}).get(f"training_{x}", "")) for x in ("proved", "calls")]
        lines.append("| " + " | ".join([name, *cells, *training]) + " |")
    if any("pass_at_k" in v for v in variants.values()):
        ks = list(next(v["pass_at_k"] for v in variants.values() if "pass_at_k" in v))
        lines += ["", "Without search: pass@k of held-out theorems.", ""]
        lines += ["| variant | " + " | ".join(f"pass@{k}" for k in ks) + " |", "|---|" + "---|" * len(ks)]
        for name, v in variants.items():
            if rates := v.get("pass_at_k"):
                lines.append("| " + " | ".join([name, *(percent(**rates[k]) for k in ks)]) + " |")
    lines += ["", "Settings of each variant on top of the configuration below:", ""]
    lines += [f"- {name}: {', '.join(f'`{s}`' for s in v['settings']) or 'none'}" for name, v in variants.items()]
    return "\n".join([*lines, "", "```toml", results["config"].strip(), "```", ""])


def write(results: dict[str, Any], command: str, out: Path) -> None:
    """Write `OUT.json` and `OUT.md`."""
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out.with_suffix(".json"), (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())
    write_whole(out.with_suffix(".md"), markdown(results, command).encode())
