"""Each preset's loss and gradient against the formula of its paper, written out for a tiny case, and the learner that uses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import exp, log, sqrt
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from prover.errors import UserError
from prover.models.base import Sampled
from prover.models.tokenizer import train_tokenizer
from prover.models.transformer import new_model
from rl.algorithms import gradient_settings as gs
from rl.algorithms import policy_gradient as pg
from rl.algorithms.dpo_settings import DPOConfig
from rl.algorithms.grpo import advantages
from rl.config import LearnConfig, RunConfig, ServeConfig, check
from rl.examples import PolicyExample, PreferencePair
from rl.learner import policy_gradient as learner
from rl.learner import preferences, supervised
from rl.learner.learner import Learner
from rl.learner.packing import count_tokens, target_logprobs
from rl.learner.settings import LearnerConfig
from rl.trajectory import Trajectory, from_rows, shortest_proofs

# Two answers to one question: two tokens with reward 1, three with reward 0.
REWARDS = [1.0, 0.0]
NEW = [[-1.0, -0.5], [-2.0, -1.5, -0.2]]
OLD = [[-1.3, -0.6], [-1.9, -1.1, -0.3]]
SAMPLED = [[-1.3, -1.6], [-1.9, -1.2, -0.3]]
REFERENCE = [[-1.1, -0.9], [-2.1, -1.0, -0.4]]
LENGTHS = [2, 3]


def importance(i: int, t: int) -> float:
    return min(2.0, exp(OLD[i][t] - SAMPLED[i][t]))


def ratio(i: int, t: int) -> float:
    return exp(NEW[i][t] - OLD[i][t])


def ppo(r: float, a: float, low: float, high: float) -> tuple[float, float]:
    """(min(r A, clip(r) A), its derivative by log π, where d r = r)."""
    bounded = min(max(r, 1 - low), 1 + high)
    return (r * a, r * a) if r * a <= bounded * a else (bounded * a, 0.0)


Found = tuple[float, list[list[float]]]


def summed(term: Callable[[int, int], tuple[float, float]], weight: Callable[[int], float]) -> Found:
    """(loss, gradient by log π of each token) of the objective Σ weight · importance · term."""
    loss, gradient = 0.0, [[0.0] * n for n in LENGTHS]
    for i, n in enumerate(LENGTHS):
        for t in range(n):
            value, slope = term(i, t)
            loss -= weight(i) * importance(i, t) * value
            gradient[i][t] = -weight(i) * importance(i, t) * slope
    return loss, gradient


def grpo() -> Found:
    a = [1.0, -1.0]  # (r - 1/2) / (1/2)
    loss, gradient = summed(lambda i, t: ppo(ratio(i, t), a[i], 0.2, 0.2), lambda i: 1 / (2 * LENGTHS[i]))
    for i, n in enumerate(LENGTHS):
        for t in range(n):
            d = REFERENCE[i][t] - NEW[i][t]
            loss += 0.04 * (exp(d) - d - 1) / (2 * n)
            gradient[i][t] += 0.04 * (1 - exp(d)) / (2 * n)
    return loss, gradient


def dr_grpo() -> Found:
    a = [0.5, -0.5]
    return summed(lambda i, t: ppo(ratio(i, t), a[i], 0.2, 0.2), lambda i: 1 / (2 * 256))


def dapo() -> Found:
    a = [1.0, -1.0]
    return summed(lambda i, t: ppo(ratio(i, t), a[i], 0.2, 0.28), lambda i: 1 / 5)


def gspo() -> Found:
    a = [1.0, -1.0]
    s = [exp(sum(x - y for x, y in zip(NEW[i], OLD[i], strict=True)) / LENGTHS[i]) for i in range(2)]
    loss, gradient = 0.0, [[0.0] * n for n in LENGTHS]
    for i, n in enumerate(LENGTHS):
        value, slope = ppo(s[i], a[i], 3e-4, 4e-4)
        w = sum(importance(i, t) for t in range(n)) / n
        loss -= w * value / 2
        gradient[i] = [-w * slope / n / 2] * n
    return loss, gradient


def cispo() -> Found:
    a = [1.0, -1.0]
    bounded = [[min(ratio(i, t), 5.0) for t in range(LENGTHS[i])] for i in range(2)]
    return summed(lambda i, t: (bounded[i][t] * a[i] * NEW[i][t], bounded[i][t] * a[i]), lambda i: 1 / 5)


def reinforce() -> Found:
    per_token = [
        [REWARDS[i] - 0.01 * sum(OLD[i][k] - REFERENCE[i][k] for k in range(t, LENGTHS[i])) for t in range(LENGTHS[i])]
        for i in range(2)
    ]
    flat = [x for row in per_token for x in row]
    mean = sum(flat) / 5
    deviation = sqrt(sum((x - mean) ** 2 for x in flat) / 5)
    return summed(lambda i, t: ppo(ratio(i, t), (per_token[i][t] - mean) / deviation, 0.2, 0.2), lambda i: 1 / 5)


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("grpo", grpo),
        ("dr_grpo", dr_grpo),
        ("dapo", dapo),
        ("gspo", gspo),
        ("cispo", cispo),
        ("reinforce++", reinforce),
    ],
)
def test_a_preset_is_its_papers_formula(name: str, by_hand: Callable[[], Found]) -> None:
    settings = gs.check(gs.PRESETS[name], name)
    signal = advantages(REWARDS, settings.advantage)
    assert signal is not None

    def flat(x: list[list[float]]) -> torch.Tensor:
        return torch.tensor([t for row in x for t in row], dtype=torch.float64)

    owner = torch.tensor([0, 0, 1, 1, 1])
    tokens = pg.Tokens(
        owner, torch.tensor(signal, dtype=torch.float64)[owner], flat(OLD), flat(SAMPLED), flat(REFERENCE)
    )
    tokens = replace(tokens, advantage=pg.batch_advantages(tokens, settings))
    logprobs = flat(NEW).requires_grad_()
    weights = pg.token_weights(tokens.lengths, settings).double()
    found, sums = pg.loss(logprobs, tokens, weights, settings)
    found.backward()
    expected, gradient = by_hand()
    assert found.item() == pytest.approx(expected, rel=1e-6)
    assert logprobs.grad is not None
    torch.testing.assert_close(logprobs.grad, flat(gradient), rtol=1e-6, atol=1e-9)
    # One token's weight exp(1.0) = 2.7 is above the cap.
    assert sums["importance_truncated"] == 1 and sums["sampler_gap"] == pytest.approx(1.1)


def test_replayed_proofs_do_not_count_as_samples() -> None:
    tokens = pg.Tokens(
        torch.tensor([0, 0, 1]),
        advantage=torch.tensor([1.0, -1.0, 9.0]),
        old=torch.tensor([-1.0, -1.0, -1.0]),
        sampled=torch.tensor([-2.5, -1.0, -1.0]),
        replayed=torch.tensor([False, False, True]),
    )
    settings = gs.PRESETS["dapo"]
    _, sums = pg.loss(tokens.old, tokens, pg.token_weights(tokens.lengths, settings), settings)
    found = pg.means(sums)
    assert (found["advantage"], found["importance"], found["importance_truncated"]) == (1.0, 1.5, 0.5)
    assert found["sampler_gap"] == 0.75 and found["ratio"] == 1.0


def test_advantages() -> None:
    groups = [[1.0, 0.0, 0.0, 0.0], [1.0, 1.0], [1.0]]
    by = {
        kind: [advantages(group, kind) for group in groups] for kind in ("mean", "normalised", "leave_one_out", "batch")
    }
    assert by["mean"] == [[0.75, -0.25, -0.25, -0.25], None, None]
    assert by["normalised"][0] == pytest.approx([sqrt(3), *[-1 / sqrt(3)] * 3]) and by["normalised"][1:] == [None, None]
    assert by["leave_one_out"][0] == pytest.approx([1.0, *[-1 / 3] * 3])
    assert by["batch"] == groups


@pytest.mark.parametrize("wrong", [{"clip_low": 2.0}, {"importance_cap": 0.5}, {"kl_weight": 0.1}, {"length": 0}])
def test_settings_out_of_range(wrong: dict) -> None:
    config = RunConfig(
        learn=LearnConfig(algorithm="dapo"), serve=ServeConfig(start="model"), gradient=gs.GradientConfig(**wrong)
    )
    with pytest.raises(UserError, match=rf"gradient\.{'kl' if 'kl_weight' in wrong else next(iter(wrong))}[ =]"):
        check(config)


# -- packing -----------------------------------------------------------------------------------------------------------


def test_a_model_with_a_short_window_computes_rows(folder: Path, tmp_path: Path) -> None:
    """A mask of trees would replace its window."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    window = MistralConfig(vocab_size=len(tokenizer), sliding_window=16, num_key_value_heads=2, **sizes)
    MistralForCausalLM(window).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    rows = [(tuple(range(40)), (41, 42)), (tuple(range(40)), (43,))]
    for longest, batching in ((16, "trees"), (64, "rows")):
        tuner = Learner.load(tmp_path, LearnerConfig(max_length=longest), template="names", device="cpu")
        assert tuner.batching == batching
    alone = torch.cat([target_logprobs(tuner.model, [row], "cpu", "rows") for row in rows])
    torch.testing.assert_close(tuner.logprobs(rows), alone, atol=1e-5, rtol=1e-5)
    assert (target_logprobs(tuner.model, rows, "cpu", "trees") - alone).abs().max() > 1e-3
    assert count_tokens(rows, "rows") == 41 + 40 and count_tokens(rows) == 39 + 2 + 1


# -- the learner -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    tokenizer: PreTrainedTokenizerFast = train_tokenizer(["simp", "rfl", "⊢ p", "⊢ q"] * 20, 300)
    new_model(len(tokenizer), 32, 2, 2, 64, 256, seed=4).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def sampled(model: torch.nn.Module, prompt: tuple[int, ...], answer: tuple[int, ...]) -> Sampled:
    with torch.no_grad():
        return Sampled(prompt, answer, tuple(target_logprobs(model, [(prompt, answer)], "cpu").tolist()))


def trajectories(model: torch.nn.Module) -> list[Trajectory]:
    """Groups of 4; answers with token 45 are rewarded, and one group has no signal. The second and the third of a group begin alike."""
    found = []
    for group in range(6):
        for k in range(4):
            calls = tuple(
                sampled(model, (41, 42 + group, 50 + c), (45 if k == 0 else 46 + (k if c else max(k, 2)), 60))
                for c in range(1 + k % 2)
            )
            found.append(Trajectory(calls, float(k == 0 and group != 5), group))
    return found


@pytest.mark.parametrize(("name", "imitation"), [("grpo", 0.0), ("dapo", 0.0), ("gspo", 0.0), ("dapo", 0.5)])
def test_two_steps_equal_a_plain_implementation(folder: Path, name: str, imitation: float) -> None:
    """AdamW on the whole loss, sequence by sequence, without packing, micro-batches or recorded log-probabilities of the learner."""
    settings = replace(gs.PRESETS[name], kl="none", kl_weight=0.0, dynamic_sampling=False, imitation=imitation)
    tuner = Learner.load(folder, LearnerConfig(learning_rate=1e-3, micro_tokens=24), template="names", device="cpu")
    data = trajectories(tuner.model)
    kept = [t for t in data if t.group != 5]
    if imitation:
        earlier = [replace(t, replayed=True) for t in data if t.group == 5]
        data, kept = [*data, *earlier], [*kept, *earlier]
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-3, weight_decay=0.0)
    metrics = learner.train(tuner, data, settings, batch=len(kept), epochs=2)
    assert metrics["steps"] == 2 and metrics["dropped_groups"] == 1 and metrics["trajectories"] == 20
    assert metrics["sampler_gap"] == pytest.approx(0, abs=1e-5) and metrics["grad_norm"] > 0
    sizes = [(sqrt(3) if t.reward else 1 / sqrt(3), t.tokens) for t in kept if not t.replayed]
    expected = sum(a * n for a, n in sizes) / sum(n for _, n in sizes)
    assert metrics["advantage"] == pytest.approx(expected), "replayed proofs have no advantage of their own"
    total = sum(t.tokens for t in kept)
    for step in range(2):
        for params in optimizer.param_groups:
            params["lr"] = 1e-3 * (step + 1) / (tuner.config.warmup + 1)
        objective = torch.zeros(())
        for t in kept:
            a = imitation if t.replayed else sqrt(3) if t.reward else -1 / sqrt(3)
            ratios, n = [], 0
            for c in t.calls:
                ids = torch.tensor([[*c.prompt, *c.answer]])
                logits = plain(ids).logits[0, len(c.prompt) - 1 : -1].log_softmax(-1)
                now = logits.gather(-1, torch.tensor(c.answer)[:, None])[:, 0]
                ratios.append(now - torch.tensor(c.logprobs))
                n += len(c.answer)
            r = torch.cat(ratios)
            r = r.mean().exp().expand(n) if name == "gspo" else r.exp()
            bounded = r.clamp(1 - settings.clip_low, 1 + settings.clip_high)
            share = 1 / total if name == "dapo" else 1 / (n * len(kept))
            objective = objective + share * torch.minimum(r * a, bounded * a).sum()
        optimizer.zero_grad()
        (-objective).backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
    for (key, own), other in zip(tuner.model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=0, msg=lambda m, key=key: f"{key}: {m}")


def test_a_repeated_item_of_a_process_without_work_is_not_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Learner.parts

    def measured(more: list) -> list[dict[str, float]]:
        monkeypatch.setattr(
            Learner, "parts", lambda self, items, size: parts(self, items, size) + [(items[:1], 0.0)] * len(more)
        )
        tuner = Learner.load(folder, LearnerConfig(), template="names", device="cpu")
        reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        found = [learner.train(tuner, trajectories(tuner.model), gs.PRESETS["dapo"], batch=20)]
        found += [supervised.train(tuner, [PolicyExample("⊢ p", "simp"), PolicyExample("⊢ q", "rfl")], epochs=1)]
        pairs = [PreferencePair("⊢ p", "simp", "rfl"), PreferencePair("⊢ q", "rfl", "simp")]
        found += [preferences.train(tuner, pairs, DPOConfig(), reference=reference)]
        assert all(p.grad is None for p in tuner.model.parameters()), "no gradients stay allocated"
        return [{k: x for k, x in metrics.items() if "second" not in k} for metrics in found]

    for alone, repeated in zip(measured([]), measured([0]), strict=True):
        assert alone == pytest.approx(repeated)


def test_what_trajectories_of_a_group_share_is_computed_once(folder: Path) -> None:
    tuner = Learner.load(folder, LearnerConfig(), template="names", device="cpu")
    data = trajectories(tuner.model)
    rows = [(c.prompt, c.answer) for t in data if t.group != 5 for c in t.calls]
    assert count_tokens(rows) < sum(len(prompt) + len(answer) - 1 for prompt, answer in set(rows))
    tokens: list[int] = []
    embeddings = tuner.model.get_input_embeddings()
    hook = embeddings.register_forward_hook(lambda _, given, out: tokens.append(out.shape[:2].numel()))
    settings = replace(gs.PRESETS["dapo"], dynamic_sampling=False)
    learner.train(tuner, data, settings, batch=20)
    hook.remove()
    assert sum(tokens) == 2 * count_tokens(rows), "once for the log-probabilities before the update, once in it"


@pytest.mark.parametrize("name", list(gs.PRESETS))
@pytest.mark.parametrize("lora", [0, 4])
def test_it_makes_rewarded_answers_likelier(folder: Path, name: str, lora: int) -> None:
    config = LearnerConfig(learning_rate=1e-2 if lora else 2e-3, lora_rank=lora)
    tuner = Learner.load(folder, config, template="names", device="cpu")
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    data = trajectories(reference)

    def likely() -> float:
        with torch.no_grad():
            rewarded = [(c.prompt, c.answer[:1]) for t in data if t.reward for c in t.calls]
            return tuner.logprobs(rewarded).exp().mean().item()

    before = likely()
    for _ in range(3):
        metrics = learner.train(tuner, data, gs.PRESETS[name], batch=10, epochs=4, reference=reference)
    assert likely() > 1.2 * before
    assert metrics["steps"] > 0 and 0 <= metrics["clip_frac"] <= 1
    assert (metrics["reference_kl"] > 0) == bool(gs.PRESETS[name].kl_weight)


def test_an_update_has_at_least_one_group(folder: Path) -> None:
    tuner = Learner.load(folder, LearnerConfig(), template="names", device="cpu")
    data = [t for t in trajectories(tuner.model) if t.group == 0]
    assert learner.train(tuner, data, gs.PRESETS["grpo"], batch=1, epochs=2)["steps"] == 2


def test_without_a_signal_nothing_is_trained(folder: Path) -> None:
    tuner = Learner.load(folder, LearnerConfig(max_length=64), template="names", device="cpu")
    before = tuner.weights()
    same = [replace(t, reward=0.0) for t in trajectories(tuner.model)]
    metrics = learner.train(tuner, same, gs.PRESETS["grpo"])
    assert metrics["steps"] == 0 and metrics["dropped_groups"] == 6
    long = [Trajectory((Sampled((1,) * 80, (2,), (-1.0,)),), float(k), 0) for k in range(2)]
    assert learner.train(tuner, long, gs.PRESETS["grpo"])["skipped"] == 2
    cut = [replace(t, overlong=True) for t in trajectories(tuner.model)]
    assert learner.train(tuner, cut, gs.PRESETS["dapo"])["overlong"] == 20
    assert all(torch.equal(x, before[k]) for k, x in tuner.weights().items())


def test_rows_of_the_ledger() -> None:
    call = [[1, 2], [3], [-0.5]]
    rows = [
        {
            "rollouts": [
                {"reward": 1.0, "ended": "proved", "version": 3, "calls": [call, call]},
                {"reward": 0.0, "ended": "length", "calls": [call]},
            ]
        },
        {"rollouts": [{"reward": 0.0, "ended": "silent"}]},
    ]
    found = from_rows(rows)
    assert [(t.group, t.reward, t.tokens, t.version, t.overlong) for t in found] == [
        (0, 1.0, 2, 3, False),
        (0, 0.0, 1, 0, True),
    ]
    assert found[0].calls[0] == Sampled((1, 2), (3,), (-0.5,)) and log(1) == 0


def test_proofs_to_replay() -> None:
    """The shortest proof of each theorem, no failed attempt, and nothing of a theorem without a proof."""
    short, long = ([[1], [2], [-0.1]], [[1], [2, 3], [-0.1, -0.2]])
    ends = (("proved", [long]), ("proved", [short]), ("proved", [short, short]), ("error", [short]))
    first = {"rollouts": [{"reward": float(end == "proved"), "ended": end, "calls": calls} for end, calls in ends]}
    failed = {"rollouts": [{"reward": 0.0, "ended": "error", "calls": [short]}]}
    found = shortest_proofs([("a", {"rollouts": first["rollouts"][:1]}), ("a", first), ("b", failed)])
    assert [(t.calls, t.replayed) for t in found] == [((Sampled((1,), (2,), (-0.1,)),), True)]
    talk = {"reward": 1.0, "ended": "proved", "calls": [short, long], "whole": True}
    (last,) = shortest_proofs([("c", {"rollouts": [talk]})])
    assert last.calls == (Sampled((1,), (2, 3), (-0.1, -0.2)),), "Lean refused the first proof of the conversation"
