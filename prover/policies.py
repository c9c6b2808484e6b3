"""Policies by what people type: `portfolio`, `explorer`, a run or checkpoint folder, a server's address, or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prover.attempt import Prover
from prover.errors import UserError
from prover.search import SearchConfig


def provers_named(text: str, seed: int = 0) -> list[Prover]:
    """`A,B`: A first, B with what A left of the budget. Raises UserError for what is not there."""
    names = [x.strip() for x in text.split(",") if x.strip()]
    if not names:
        raise UserError("--policy is empty: say portfolio, explorer, a run's folder, or http://…")
    return [_prover(name, seed) for name in names]


def _prover(name: str, seed: int) -> Prover:
    simple = SearchConfig(in_flight=1, model_thread=False, seed=seed)
    if name == "portfolio":
        from prover.models.portfolio import Portfolio

        return Prover(name, Portfolio(), simple)
    if name == "explorer":
        from prover.models.portfolio import Explorer
        from prover.premises.index import library_index

        return Prover(name, Explorer(library_index(), seed), simple, wants_premises=True)
    if name.startswith(("http://", "https://")):
        return Prover(name, _server(name), SearchConfig(in_flight=8, seed=seed))
    folder = Path(name)
    if not folder.exists():
        raise UserError(f"--policy {name}: say portfolio, explorer, a run's or checkpoint's folder, or http://…")
    policy = _model(checkpoint_of(folder))
    return Prover(name, policy, SearchConfig(in_flight=4, suggestions=16, seed=seed), policy, True)


def _server(address: str) -> Any:
    try:
        from prover.models.openai import OpenAIPolicy  # type: ignore[import-not-found]
    except ImportError:
        raise UserError(f"--policy {address}: this installation cannot ask LM servers yet") from None
    return OpenAIPolicy(address)


def checkpoint_of(folder: Path) -> Path:
    """The model folder that a run's folder, a checkpoint's or the model's own stands for: the newest one."""
    if (folder / "model.safetensors").exists():
        return folder
    found = [p.parent for p in folder.glob("checkpoints/*/model.safetensors")]
    found += [p.parent for p in folder.glob("checkpoints/*/*/model.safetensors")]
    found += [p.parent for p in folder.glob("*/model.safetensors")]
    if not found:
        raise UserError(f"--policy {folder}: no checkpoint in it (looked for model.safetensors)")
    return max(found, key=lambda p: (p / "model.safetensors").stat().st_mtime)


def _model(folder: Path) -> Any:
    try:
        from prover.models.transformer import LanguageModelPolicy
    except ModuleNotFoundError as error:
        raise UserError(f"--policy {folder}: needs the Python module {error.name}: `turnstile doctor`") from None
    try:
        return LanguageModelPolicy.load(folder)
    except ValueError as error:
        raise UserError(f"--policy {error}") from None
