"""A run from a pretrained model: prompted by a template, trained with adapters, served by transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from prover.solve.ledger import Ledger
from tests.cli.conftest import Done, turnstile
from tests.rl.test_training import TINY

__all__ = ["turnstile"]

SERVE = """
[serve]
backend = "transformers"
start = "{folder}/model"
template = "names"
train = "lora"
lora_rank = 4
"""


def make_model(folder: Path) -> None:
    """A small Llama with a tokenizer of its own, and nothing of Turnstile's in its folder."""
    from prover.models.tokenizer import train_tokenizer
    from prover.models.transformer import new_model

    texts = ["α : Type\no : Option α\n⊢ o.isSome = true", "simp", "rfl", "simp_all", "cases o <;> simp"] * 20
    tokenizer = train_tokenizer(texts, 512)
    new_model(len(tokenizer), 48, 2, 2, 96, positions=2048, seed=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.lean
@pytest.mark.ray
def test_a_run_from_a_pretrained_model(tmp_path, turnstile, local_ray, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_model(tmp_path / "model")
    (tmp_path / "run.toml").write_text(TINY.replace('name = "tiny"', 'name = "from"') + SERVE.format(folder=tmp_path))
    done = turnstile("train", "run.toml", "--set", "eval.baselines=false", "learn.max_epochs=3.0", "--json")
    assert done.code == 0, done.err[-3000:]
    run = tmp_path / "runs/from"
    assert done.document["trained"]["total"] == 3
    ledger = Ledger.open(run, readonly=True)
    # Every round searched with the weights that the round before had learned, the first with the model as it came.
    versions = {r: {a.model_version for a in ledger.attempts(f"round {r}") if a.outcome != "error"} for r in (1, 2)}
    assert versions == {1: {0}, 2: {1}}
    assert {a.model_version for a in ledger.attempts("held-out model")} == {2}
    assert not [a.reason for a in ledger.attempts() if a.outcome == "error"]
    from transformers import AutoModelForCausalLM

    before, after = (AutoModelForCausalLM.from_pretrained(run / f"checkpoints/{v:06d}").state_dict() for v in (0, 2))
    assert before.keys() == after.keys() and any((before[k] != after[k]).any() for k in before), "nothing was learned"
    # It is evaluated as it was asked in its run, under true names and made-up ones; what is done is found where the run is moved to.
    for folder, more in (("from", ()), ("from", ("--fresh-names",)), ("moved", ())):
        if folder == "moved":
            run = run.rename(tmp_path / "runs/moved")
        test = ("library-held-out", "--limit", 2, "--budget", 4, "--seeds", 2, "--processes", 1, "--json")
        done = turnstile("eval", f"runs/{folder}", *test, *more)
        assert done.code in (0, 1), done.err[-3000:]
        figures = done.document
        assert sum(figures["all"]["outcomes"].values()) == 4 and "error" not in figures["all"]["outcomes"], figures
        assert figures["prover"]["template"] == "names" and figures["prover"]["config"]["use_value"]
    (tmp_path / "one.jsonl").write_text('{"name": "one", "statement": "(n : Nat) : n + 0 = n"}\n')
    done = turnstile("prove", "one.jsonl", "--policy", "runs/moved,portfolio", "--budget", 32, "--workers", 1, "--json")
    assert done.code == 0, done.err[-3000:]
    evaluated = [a for a in Ledger.open(run, readonly=True).attempts() if a.phase.startswith("eval ")]
    assert (
        {a.model_version for a in evaluated} == {2} and len(evaluated) == 8 and len({a.phase for a in evaluated}) == 4
    )


def test_passes_over_a_round(tmp_path):
    from prover.models.backends.serve import ServeConfig
    from rl.config import LearnConfig, RunConfig
    from rl.examples import PolicyExample
    from rl.learner.algorithms import EPOCHS, learner_settings, train
    from rl.learner.learner import Learner

    make_model(tmp_path / "model")
    serve = ServeConfig(start=str(tmp_path / "model"), template="names", train="lora", lora_rank=4)
    examples = [PolicyExample(f"o : Option α\n⊢ o = {k}", "simp") for k in range(32)]
    for asked, passes in ((0.0, EPOCHS), (1.0, 1.0)):
        config = RunConfig(learn=LearnConfig(max_epochs=asked), serve=serve)
        learner = Learner.load(serve.start, learner_settings(config), template="names", device="cpu")
        found = train(learner, config, examples, [], 100.0)
        assert found["steps"] == passes * len(examples) / learner.config.batch_size


def test_a_checkpoint_in_several_files_away_from_its_run_is_found_and_asked_by_its_template(tmp_path):
    from transformers import AutoModelForCausalLM

    from prover.errors import UserError
    from prover.lean.theorem import Goal, ProofState
    from prover.models.base import Query
    from rl import candidate as c
    from rl.learner.learner import Learner

    make_model(tmp_path / "model")
    target = tmp_path / "copied/checkpoints/000003"
    Learner.load(tmp_path / "model", template="names", device="cpu").save(target, 3)
    one_file = c.candidate(str(target))
    assert one_file.template == "names" and not one_file.config.use_value
    model = AutoModelForCausalLM.from_pretrained(target)
    (target / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no checkpoint in it"):
        c.candidate(str(tmp_path / "copied"))
    model.save_pretrained(target, max_shard_size="50KB")
    assert len(list(target.glob("*.safetensors"))) > 1
    found = c.candidate(str(tmp_path / "copied"))
    assert found.checkpoint == str(target) and found.weights != one_file.weights
    policy = c.load(found)
    assert policy.version == 3 and policy.format.template.name == "names"
    assert len(policy.suggest([Query(ProofState(0, "⊢ True", (Goal("⊢ True"),)))], 2)) == 1


def test_an_unusable_template_is_one_line(tmp_path, turnstile, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(TINY + SERVE.format(folder=tmp_path).replace('"names"', '"nonsense"'))
    done = turnstile("train", "run.toml")
    assert done.code == 2 and len(done.err.strip().splitlines()) == 1 and "nonsense" in done.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.ray
def test_a_sharded_learner_is_served_whole_and_resumes(local_ray, tmp_path):
    """Two learner processes with a part of the model each; another two go on from what they wrote."""
    import ray
    from safetensors.torch import load_file

    from prover.models.backends.serve import ServeConfig
    from rl.actors.learner import LearnerActor
    from rl.actors.model_server import ModelServer
    from rl.config import LearnConfig, RunConfig, check
    from rl.examples import PolicyExample

    make_model(tmp_path / "model")
    serve = ServeConfig(start=str(tmp_path / "model"), template="names", train="lora", lora_rank=4)
    config = check(RunConfig(learn=LearnConfig(ranks=2, shard=True, learning_rate=1e-2), serve=serve))
    examples = [PolicyExample(f"o : Option α\n⊢ o = {x}", "simp") for x in "abcdefghijklmnopqrstuvwxyz"]
    server = ModelServer.options(num_cpus=0).remote(1, serve)
    losses = []
    for version in (1, 2):
        learners = [LearnerActor.options(num_cpus=0).remote(config, str(tmp_path / "checkpoints"), k) for k in range(2)]
        address = ray.get(learners[0].address.remote())
        ray.get([x.join.remote(address) for x in learners], timeout=300)
        assert ray.get([x.resume.remote() for x in learners], timeout=300) == [version - 1] * 2
        assert ray.get(server.load.remote(ray.get(learners[0].publish.remote())[0]), timeout=300) == version - 1
        found = ray.get([x.learn.remote(examples, [], 60.0, version) for x in learners], timeout=300)
        assert found[0]["loss"] == pytest.approx(found[1]["loss"])
        losses.append(found[0]["loss"])
        published = ray.get(learners[0].publish.remote())[0]
        assert ray.get(server.load.remote(published), timeout=300) == version
        written = load_file(tmp_path / f"checkpoints/{version:06d}/model.safetensors")
        assert all((ray.get(published).weights[k] == w).all() for k, w in written.items())
        for x in learners:
            ray.kill(x)
    assert losses[1] < losses[0], "the second pair did not go on from what the first wrote"
    assert ray.get(server.counters.remote())["engines"] == 1
    ray.kill(server)


def test_what_sharding_needs():
    from prover.errors import UserError
    from rl.config import LearnConfig, RunConfig, check

    with pytest.raises(UserError, match="several processes"):
        check(RunConfig(learn=LearnConfig(shard=True, ranks=2)))


GRADIENT = """
[prover]
provers = 1
concurrent = 4
premises = 0
[learn]
algorithm = "dapo"
collect = "rollouts"
rounds = 2
group = 6
calls = 16
max_tactics = 3
max_epochs = 4.0
learning_rate = 2e-3
[gradient]
trajectories = 24
[eval]
baselines = false
calls = 2
validation = 2
validation_rollouts = 4
[serve]
start = "{folder}/model"
"""


def teach(folder: Path, pairs: list[tuple[str, str]], template: str) -> None:
    """A model that gives the answers to these prompts."""
    import torch

    from prover.models.formats import TemplateFormat
    from prover.models.templates import template_named
    from rl.config import ModelConfig
    from rl.examples import PolicyExample
    from rl.learner.learner import Learner
    from rl.learner.rows import shuffled
    from rl.learner.settings import LearnerConfig
    from rl.learner.small_model import small_model

    sizes = ModelConfig(hidden=48, layers=2, heads=4, intermediate=96, vocabulary=400)
    made = small_model([PolicyExample(p, a) for p, a in pairs], sizes, 1024, 0)
    form = TemplateFormat(template_named(template))
    tuner = Learner(*made, form, LearnerConfig(learning_rate=1e-2, final_rate=1.0), device="cpu")
    read = [[tuner.tokenizer(x, add_special_tokens=False)["input_ids"] for x in pair] for pair in pairs]
    rows = [(tuple(p), (*a, tuner.tokenizer.eos_token_id)) for p, a in read]
    items = [SimpleNamespace(row=row, size=len(row[0]) + len(row[1])) for row in rows]
    found, _ = tuner.fit(
        lambda rng: shuffled(items, 24, rng),
        lambda part, _: (-tuner.logprobs([x.row for x in part]).sum() / 120, torch.zeros(())),
        1.0,
        epochs=12.0,
    )
    assert torch.isfinite(torch.tensor(found["last_loss"]))
    tuner.save(folder / "model", 0)


def gradient_run(turnstile: Callable[..., Done], folder: Path, settings: str) -> Ledger:
    """A run of two rounds whose metrics show that trajectories were learned from, and that engine and learner agree."""
    rows = [{"name": f"double_{k}", "statement": f"(n : Nat) : n + {k} = {k} + n"} for k in range(24)]
    (folder / "set.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    settings = settings.replace("{folder}", str(folder))
    (folder / "run.toml").write_text(
        f'name = "pg"\nruns = "{folder}/runs"\ntheorems.files = ["{folder}/set.jsonl"]\n{settings}'
    )
    done = turnstile("train", folder / "run.toml", "--json")
    assert done.code == 0, done.err[-3000:]
    ledger = Ledger.open(folder / "runs/pg", readonly=True)
    found = {(phase, name): value for phase, name, value, _ in ledger.measurements()}
    assert found["round 1", "trajectories"] > 6, found
    for at in ("round 1", "round 2"):  # a model that proves everything leaves the second one without a signal
        assert (found[at, "steps"] > 0) == (found[at, "trajectories"] > 0)
        if found[at, "steps"]:
            assert found[at, "sampler_gap"] < 1e-3 and found[at, "importance"] == pytest.approx(1, abs=1e-2)
    assert {r: {a.model_version for a in ledger.attempts(f"round {r}")} for r in (1, 2)} == {1: {0}, 2: {1}}
    assert len(list(ledger.attempts("validation round 0"))) == 2
    for row in ledger.example_rows("rollouts", "round 2"):
        for rollout in row.data["rollouts"]:
            assert all(len(answer) == len(logprobs) > 0 for _, answer, logprobs in rollout["calls"])
    tried = [list(ledger.attempts(f"round {r}")) for r in (1, 2)]
    correct = [sum(a.stats["correct"] for a in round_) / 6 / len(round_) for round_ in tried]
    assert 0.1 < correct[0] < 0.95 and correct[1] > correct[0], correct
    return ledger


@pytest.mark.lean
@pytest.mark.ray
def test_a_policy_gradient_from_sampled_tokens(turnstile, local_ray, tmp_path):
    """A model that says the right tactic half of the time says it more often after a round."""
    goals = [f"n : Nat\n⊢ n + {k} = {k} + n:::" for k in range(24)]
    teach(tmp_path, [(g, t + ":::") for g in goals for t in ("omega", "rfl", "exact n.succ", "omega")], "bfs-prover")
    ledger = gradient_run(turnstile, tmp_path, GRADIENT)
    assert any(len(r["calls"]) >= 1 for row in ledger.example_rows("rollouts") for r in row.data["rollouts"])
    options = ("--limit", "4", "--rollouts", "8", "--processes", "1", "--json")
    rates = turnstile("eval", tmp_path / "runs/pg", tmp_path / "set.jsonl", *options).document["pass_at_k"]
    assert list(rates) == ["1", "2", "4", "8"] and all(
        0 <= x["low"] <= x["rate"] <= x["high"] <= 1 for x in rates.values()
    )
    (phase,) = {a.phase for a in ledger.attempts() if a.phase.startswith("eval ")}
    correct = [a.stats["correct"] for a in ledger.attempts(phase)]
    assert len(correct) == 4 and 0 < sum(correct) == round(32 * rates["1"]["rate"])


@pytest.mark.lean
@pytest.mark.ray
def test_a_policy_gradient_from_whole_proofs_with_errors_as_feedback(turnstile, local_ray, tmp_path):
    """Whole proofs in conversations of two turns: Lean's error is in the second prompt and not among the learned tokens."""
    template = tmp_path / "whole.toml"
    template.write_text(
        'source = "test"\nanswers = "proof"\nprompt = "{{ statement }}\\n"\nretry = "{{ tried }}!{{ error[:12] }}\\n"\n'
        'stop = ["::"]\nmax_new_tokens = 24\n'
    )
    prompts = [f"theorem double_{k} (n : Nat) : n + {k} = {k} + n\n" for k in range(24)]
    answers = ("intros\nomega", "rfl", "exact n.succ", "exact n")
    pairs = [(p, a + "::") for p in prompts for a in answers]
    pairs += [
        (f"{p}{wrong}!error: type \n", a + "::")
        for p in prompts[::4]
        for wrong in answers[1:3]
        for a in ("omega", "rfl")
    ]
    teach(tmp_path, pairs, str(template))
    whole = GRADIENT.replace('"rollouts"', '"proofs"\nturns = 2') + f'template = "{template}"\n'
    ledger = gradient_run(turnstile, tmp_path, whole)
    conversations = [r for row in ledger.example_rows("rollouts") for r in row.data["rollouts"]]
    assert {len(r["calls"]) for r in conversations} == {1, 2}
    two = next(r for r in conversations if len(r["calls"]) == 2)
    (first, answer, _), (second, _, _) = two["calls"]
    assert second[: len(first) - 1] == first[:-1] and len(second) > len(first) + len(answer) // 2
    assert {a.outcome for a in ledger.attempts("held-out model")} <= {"proved", "exhausted"}
