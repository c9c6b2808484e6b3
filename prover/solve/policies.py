"""Creates provers from `--policy`: `portfolio`, `explorer`, a run or checkpoint folder, vLLM, transformers or a server."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qsl

from prover.errors import UserError
from prover.models.assessor import AssessedValue, Assessor
from prover.models.elementary import Actions
from prover.models.loading import LoadingModel, one_at_a_time
from prover.models.manifest import Manifest, find_checkpoint, read_manifest
from prover.models.mixture import EXPLORER_WEIGHT, ExploringPolicy
from prover.models.ranker import TacticRanker
from prover.models.tactic_templates import Explorer, Portfolio
from prover.premises.dense import DenseWeights
from prover.premises.index import library_index
from prover.premises.retrieve import PremiseSource, trained_source
from prover.search import SearchConfig
from prover.search.select import rule_named
from prover.solve.attempt import Prover


def provers_named(text: str, seed: int = 0, rule: str = "") -> list[Prover]:
    """The provers of a comma-separated list, tried in turn on one budget. `rule`: selection rule of their searches; empty: that of
    the checkpoint's run, or `puct`. Raises UserError for an unknown policy or rule."""
    if rule:
        rule_named(rule)
    names = [x.strip() for x in text.split(",") if x.strip()]
    if not names:
        raise UserError(
            "--policy is empty; use portfolio, explorer, a run folder, vllm:FOLDER, hf:FOLDER?template=…, or openai:http://…"
        )
    provers = [_prover(name, seed) for name in names]
    return [replace(p, config=replace(p.config, selection=rule)) if rule else p for p in provers]


def _prover(name: str, seed: int) -> Prover:
    simple = SearchConfig(in_flight=1, model_thread=False, seed=seed)
    if name == "portfolio":
        return Prover(name, Portfolio(), simple)
    if name.split("?")[0] == "explorer":
        options = dict(parse_qsl(name.partition("?")[2], keep_blank_values=True))
        if unknown := sorted(set(options) - {"questions", "actions"}):
            raise UserError(
                f"--policy {name}: unknown option {unknown[0]!r}; explorer takes ?questions=exact?+rw? and &actions=elementary"
            )
        asking = replace(simple, questions=options.get("questions", ""))
        actions = _actions(name, options)
        explorer = Explorer(library_index(), seed, actions=actions)
        return Prover(name, explorer, asking, wants_premises=True, actions=actions)
    if name.startswith(("vllm:", "hf:", "openai:", "http://", "https://")):
        return _language_model(name, seed)
    folder = Path(name)
    if not folder.exists():
        raise UserError(
            f"--policy {name}: unknown policy; use portfolio, explorer, a run or checkpoint folder, vllm:, hf: or openai:…"
        )
    manifest = read_manifest(find_checkpoint(folder))
    model = LoadingModel(lambda: _model(manifest))
    return replace(_trained(name, model, model, manifest, seed), loading=model)


def _trained(name: str, model: Any, value: Any, manifest: Manifest, seed: int) -> Prover:
    """The prover of a run's model. `value`: None if the model has none."""
    config = _search_config(manifest, seed)
    assessor = _assessor(manifest)
    policy = _with_explorer(model, manifest, seed, assessor)
    if not manifest.value:
        value = None
    if value is None and assessor is not None and "goals" in manifest.assess:
        value = AssessedValue(assessor)
    bound: Actions = manifest.actions if manifest.strict else "full"
    prover = Prover(name, policy, config, value, True, _source(manifest), actions=bound)
    return replace(prover, assessor=assessor if "batches" in manifest.assess else None)


def _assessor(manifest: Manifest) -> Assessor | None:
    """The run's assessor, if its searches or batches use it."""
    if not manifest.assess or manifest.assessor_file is None:
        return None
    return Assessor.load(manifest.assessor_file)


def _search_config(manifest: Manifest, seed: int) -> SearchConfig:
    """The search of a run's checkpoint, with its rule, temperature, breadth and suggestions."""
    tuned = {"temperature": manifest.temperature, "root_breadth": manifest.root_breadth}
    known = {name: value for name, value in tuned.items() if value is not None}
    return replace(SearchConfig(manifest.rule, in_flight=4, suggestions=manifest.suggestions, seed=seed), **known)


def _actions(name: str, options: dict[str, str]) -> Actions:
    """The option `actions` of a policy. Raises UserError for an unknown one."""
    found = options.pop("actions", "full")
    if found not in get_args(Actions):
        raise UserError(f"--policy {name}: unknown actions {found!r}; choose one of {', '.join(get_args(Actions))}")
    return found  # type: ignore[return-value]


def _source(manifest: Manifest) -> PremiseSource | None:
    """The premise source of the run, with its trained retriever; None if the manifest names none."""
    if not manifest.retriever:
        return None
    learned = DenseWeights.load(manifest.retriever_file) if manifest.retriever_file else None
    return trained_source(library_index(), manifest.premises, manifest.retriever, learned)


def _with_explorer(model: Any, manifest: Manifest, seed: int, assessor: Assessor | None) -> Any:
    """The model mixed with the explorer as in an evaluation of its run: with the run's weight, ordered by the trained ranker. A manifest from
    before has no weight: the model is then mixed only if there is a ranker. In both cases the assessor corrects the probabilities if the run
    uses it for tactics, and orders the explorer's lemmas if the run uses it for premises."""
    ranked = manifest.ranker_file is not None and manifest.settings.get("use_ranker", True)
    weight = manifest.explorer_weight
    if weight is None:
        weight = EXPLORER_WEIGHT if ranked else 0.0
    if weight == 0 and (assessor is None or "tactics" not in manifest.assess):
        return model
    ranker = TacticRanker.load(manifest.ranker_file) if ranked and manifest.ranker_file is not None else None
    explorer = Explorer(
        library_index(),
        seed,
        manifest.premises,
        ranker,
        actions=manifest.actions,
        assessor=assessor,
        assess=manifest.assess,
    )
    return ExploringPolicy(model, explorer, weight)


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
    asked = frozenset(options)
    actions = _actions(name, options)
    # Excludes the API key, because policy names appear in reports.
    further = {
        "vllm": _fields(VLLMConfig, "seed"),
        "hf": {"device", "dtype"},
        "openai": _fields(ServerConfig, "api_key"),
    }[kind]
    known = {"template", "actions", *further, *({"folder"} if kind == "openai" else ())}
    unknown = sorted(set(options) - known)
    if unknown or not place:
        wrong = f"unknown option {unknown[0]!r}" if unknown else "the folder or address is missing"
        raise UserError(f"--policy {name}: {wrong}; the options of {kind} are {', '.join(sorted(known))}")
    policy: Any
    if kind == "vllm":
        settings = replace(_settings(name, VLLMConfig, options), seed=seed)
        policy = VLLMPolicy(_folder(place), settings, template=options.get("template"))
    elif kind == "hf":
        if "template" not in options:
            raise UserError(f"--policy {name}: no template; write hf:{place}?template=NAME")
        policy = one_at_a_time(lambda: _hugging_face(place, options, seed))
    else:
        folder = str(_folder(options["folder"])) if "folder" in options else None
        server = _settings(name, ServerConfig, options)
        policy = ServerPolicy(place, model or None, template=options.get("template"), folder=folder, config=server)
    config = SearchConfig(in_flight=16, suggestions=16, seed=seed)
    template = getattr(policy.format, "template", None)
    if template is not None and template.answers == "proof":
        return Prover(name, Portfolio(), config, writer=policy, actions=actions)
    local = options.get("folder", place)
    value = policy if getattr(policy, "has_value", bool(policy.format.bins)) else None
    if kind == "hf" or not Path(local).is_dir():
        return Prover(name, policy, config, value, wants_premises=True, actions=actions)
    # The settings of a run apply however its model is served.
    prover = _trained(name, policy, value, read_manifest(Path(_folder(local))), seed)
    config = replace(prover.config, in_flight=config.in_flight)
    return replace(prover, config=config, actions=actions if "actions" in asked else prover.actions)


def _hugging_face(place: str, options: dict[str, str], seed: int) -> Any:
    from prover.models.backends.huggingface import HuggingFacePolicy

    return HuggingFacePolicy(place, **options, seed=seed)


def _fields(config: type[Any], apart: str) -> set[str]:
    return {f.name for f in fields(config)} - {apart}


def _settings(name: str, config: type[Any], options: dict[str, str]) -> Any:
    """A typed configuration from string options. Raises UserError for an invalid value."""
    import msgspec

    known = {f.name for f in fields(config)}
    try:
        return msgspec.convert({k: v for k, v in options.items() if k in known}, config, strict=False)
    except msgspec.ValidationError as e:
        reason, _, place = str(e).partition(" - at `$.")
        raise UserError(
            f"--policy {name}: invalid value of {place.rstrip('`')}; {reason[:1].lower()}{reason[1:]}"
        ) from None


def _folder(place: str) -> Path | str:
    """The checkpoint or model folder, or unchanged a model name on the Hugging Face hub."""
    path = Path(place)
    return find_checkpoint(path) if path.is_dir() and not (path / "config.json").exists() else place


def _model(manifest: Manifest) -> Any:
    try:
        from prover.models.backends.serve import ServeConfig, open_backend
        from prover.models.transformer import LanguageModelPolicy
    except ModuleNotFoundError as error:
        raise UserError(
            f"--policy {manifest.folder}: needs the Python module {error.name}; run `turnstile doctor`"
        ) from None
    try:
        if manifest.template:  # trained from a pretrained model
            return open_backend(manifest.folder, ServeConfig(template=manifest.template))
        # One thread: more of them wait for each other whenever Lean has a core.
        return LanguageModelPolicy.load(manifest.folder, threads=1)
    except ValueError as error:
        raise UserError(f"--policy {error}") from None
