"""Policies by what people type: `portfolio`, `explorer`, a run or checkpoint folder, vLLM, transformers, a server, or several."""

from __future__ import annotations

import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from prover.errors import UserError
from prover.files import MAX_SETTINGS_BYTES, holds_model, learned_beside, read_file
from prover.search import SearchConfig
from prover.solve.attempt import Prover

if TYPE_CHECKING:
    from prover.premises.retrieve import PremiseSource


def provers_named(text: str, seed: int = 0) -> list[Prover]:
    """`A,B`: A first, B with what A left of the budget. Raises UserError for what is not there."""
    names = [x.strip() for x in text.split(",") if x.strip()]
    if not names:
        raise UserError(
            "--policy is empty: say portfolio, explorer, a run's folder, vllm:FOLDER, hf:FOLDER?template=…, or openai:http://…"
        )
    return [_prover(name, seed) for name in names]


def _prover(name: str, seed: int) -> Prover:
    simple = SearchConfig(in_flight=1, model_thread=False, seed=seed)
    if name == "portfolio":
        from prover.models.tactic_templates import Portfolio

        return Prover(name, Portfolio(), simple)
    if name.split("?")[0] == "explorer":
        from prover.models.tactic_templates import Explorer
        from prover.premises.index import library_index

        options = dict(parse_qsl(name.partition("?")[2], keep_blank_values=True))
        if unknown := sorted(set(options) - {"questions"}):
            raise UserError(f"--policy {name}: unknown option {unknown[0]!r}; explorer takes ?questions=exact?+rw?")
        asking = replace(simple, questions=options.get("questions", ""))
        return Prover(name, Explorer(library_index(), seed), asking, wants_premises=True)
    if name.startswith(("vllm:", "hf:", "openai:", "http://", "https://")):
        return _language_model(name, seed)
    folder = Path(name)
    if not folder.exists():
        raise UserError(
            f"--policy {name}: say portfolio, explorer, a run's or checkpoint's folder, vllm:, hf: or openai:…"
        )
    checkpoint = checkpoint_of(folder)
    model = _model(checkpoint)
    run = run_of(checkpoint)
    value = model if hasattr(model, "evaluate") and uses_value(run) else None
    config = SearchConfig(in_flight=4, suggestions=16, seed=seed)
    return Prover(name, _with_explorer(model, checkpoint, seed), config, value, True, _source(run, checkpoint))


def run_of(checkpoint: Path) -> dict[str, Any]:
    """The configuration of the run that a checkpoint lies in; empty where there is none."""
    return run_configuration(checkpoint.resolve().parent.parent)


def run_configuration(run: Path) -> dict[str, Any]:
    """What a run's folder says that it was started with; empty where there is nothing."""
    file = run / "config.toml"
    if not file.is_file():
        return {}
    try:
        return tomllib.loads(read_file(file, MAX_SETTINGS_BYTES).decode())
    except (ValueError, RecursionError) as e:
        raise UserError(f"{file}: not TOML: {e}") from None


def uses_value(run: dict[str, Any]) -> bool:
    """Whether a run learned a value, which one from a pretrained model does not, and searched with it; without a run, so it is taken
    to be."""
    if run.get("serve", {}).get("start"):
        return False
    return run.get("prover", {}).get("use_value", True) and run.get("learn", {}).get("value") != "none"


def _source(run: dict[str, Any], checkpoint: Path) -> PremiseSource | None:
    """The premises that a run searched with, by the retriever that it learned; None where there is no run."""
    prover = run.get("prover", {})
    if not {"retriever", "premises"} <= set(prover):
        return None
    from prover.premises.dense import DenseWeights
    from prover.premises.index import library_index
    from prover.premises.retrieve import trained_source

    beside = learned_beside(checkpoint, "retrievers")
    learned = DenseWeights.load(beside) if beside else None
    return trained_source(library_index(), prover["premises"], prover["retriever"], learned)


def _with_explorer(model: Any, checkpoint: Path, seed: int) -> Any:
    """The model and the explorer in the order learned beside it, as they were trained together; the model alone where it is."""
    from prover.models.ranker import TacticRanker

    beside = learned_beside(checkpoint, "rankers")
    if beside is None:
        return model
    from prover.models.mixture import ExploringPolicy
    from prover.models.tactic_templates import Explorer
    from prover.premises.index import library_index

    return ExploringPolicy(model, Explorer(library_index(), seed, ranker=TacticRanker.load(beside)))


def _language_model(name: str, seed: int) -> Prover:
    """`vllm:FOLDER`, `hf:FOLDER?template=NAME`, `openai:http://host:port/v1?template=NAME#MODEL` (or the address alone).

    Further options are the fields of VLLMConfig and ServerConfig: `&max_model_len=4096`, `&timeout=300`.
    """
    from prover.models.backends.openai import ServerConfig, ServerPolicy
    from prover.models.backends.vllm import VLLMConfig, VLLMPolicy

    kind, _, place = name.partition(":")
    if kind in ("http", "https"):
        kind, place = "openai", name
    place, _, model = place.partition("#")
    place, _, settings = place.partition("?")
    options = dict(parse_qsl(settings, keep_blank_values=True))
    # A key in a policy's name would be in every report.
    further = {
        "vllm": _fields(VLLMConfig, "seed"),
        "hf": {"device", "dtype"},
        "openai": _fields(ServerConfig, "api_key"),
    }[kind]
    known = {"template", *further, *({"folder"} if kind == "openai" else ())}
    unknown = sorted(set(options) - known)
    if unknown or not place:
        wrong = f"unknown option {unknown[0]!r}" if unknown else "a place is missing"
        raise UserError(f"--policy {name}: {wrong}; {kind}: takes {', '.join(f'?{k}=' for k in sorted(known))}")
    policy: Any
    if kind == "vllm":
        settings = replace(_settings(name, VLLMConfig, options), seed=seed)
        policy = VLLMPolicy(_folder(place), settings, template=options.get("template"))
    elif kind == "hf":
        from prover.models.backends.huggingface import HuggingFacePolicy

        if "template" not in options:
            raise UserError(f"--policy {name}: say how to ask it: hf:{place}?template=NAME")
        policy = HuggingFacePolicy(place, **options, seed=seed)
    else:
        folder = str(_folder(options["folder"])) if "folder" in options else None
        server = _settings(name, ServerConfig, options)
        policy = ServerPolicy(place, model or None, template=options.get("template"), folder=folder, config=server)
    config = SearchConfig(in_flight=16, suggestions=16, seed=seed)
    template = getattr(policy.format, "template", None)
    if template is not None and template.answers == "proof":
        from prover.models.tactic_templates import Portfolio

        return Prover(name, Portfolio(), config, writer=policy)
    local = options.get("folder", place)
    run: dict[str, Any] = {}
    source = None
    if kind != "hf" and Path(local).is_dir():  # what a run says of its own model holds however that is served
        checkpoint = Path(_folder(local))
        run = run_of(checkpoint)
        source = _source(run, checkpoint)
    value = policy if policy.format.bins and uses_value(run) else None
    return Prover(name, policy, config, value, wants_premises=True, source=source)


def _fields(config: type[Any], apart: str) -> set[str]:
    return {f.name for f in fields(config)} - {apart}


def _settings(name: str, config: type[Any], options: dict[str, str]) -> Any:
    """A typed configuration from options as text. Raises UserError for what does not fit."""
    import msgspec

    known = {f.name for f in fields(config)}
    try:
        return msgspec.convert({k: v for k, v in options.items() if k in known}, config, strict=False)
    except msgspec.ValidationError as e:
        reason, _, place = str(e).partition(" - at `$.")
        raise UserError(f"--policy {name}: {place.rstrip('`')}: {reason[:1].lower()}{reason[1:]}") from None


def _folder(place: str) -> Path | str:
    """A folder of a run or a model, or a model's name on the Hugging Face hub as it is."""
    path = Path(place)
    return checkpoint_of(path) if path.is_dir() and not (path / "config.json").exists() else place


def checkpoint_of(folder: Path, option: str = "--policy") -> Path:
    """The model folder that a run's folder, a checkpoint's or the model's own stands for: the newest one. `option`: for errors."""
    if holds_model(folder):
        return folder
    found = [p for some in ("checkpoints/*", "checkpoints/*/*", "*") for p in folder.glob(some) if holds_model(p)]
    if not found:
        raise UserError(f"{option} {folder}: no checkpoint in it (looked for model.safetensors)")
    return max(found, key=lambda p: max(f.stat().st_mtime for f in p.glob("*.safetensors*")))


def _model(folder: Path) -> Any:
    try:
        from prover.models.backends.serve import ServeConfig, open_backend, template_of
        from prover.models.transformer import LanguageModelPolicy
    except ModuleNotFoundError as error:
        raise UserError(f"--policy {folder}: needs the Python module {error.name}: `turnstile doctor`") from None
    try:
        if template_of(folder):  # trained from a pretrained model
            return open_backend(folder, ServeConfig())
        return LanguageModelPolicy.load(folder)
    except ValueError as error:
        raise UserError(f"--policy {error}") from None
