"""Language models: tactics and tokens per second of each back end, weight updates, agreement of priors.

Back ends are `generate` (sampling by transformers), `beams` (LanguageModelPolicy, the small model's decoder) and, if installed,
`vllm`. Prompts are synthetic goals of realistic length. Every back end gets the same number of tactics and tokens, and only
distinct, finished tactics count.
"""

from __future__ import annotations

import asyncio
import importlib.util
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from prover.lean.theorem import Goal, ProofState
from prover.models.base import Query, Suggestion
from prover.models.formats import Answer, SlotFormat, suggestions
from prover.models.manifest import find_checkpoint
from rl.bench import Quick, compare

if TYPE_CHECKING:  # takes seconds to import, and `--help` reads this file
    from prover.models.transformer import LanguageModelPolicy

TACTICS = 8
"""Tactics requested for each prompt."""
COMPARED_AT = 32
"""Batch size at which vLLM is expected to be faster than `generate`."""
UPDATE_LIMIT = 2.0
"""Maximum seconds to update the weights of a running engine."""
PROVERS, QUESTIONS = 16, 8
"""Provers that ask vLLM at the same time, each one goal after another."""
PROVERS_GAIN = 4.0
"""Expected tactics per second of PROVERS provers together, relative to one prover."""
ASKED = {"search": TACTICS, "rollouts": 1}
"""Tactics that a prover requests for a goal. The samples of one request are a batch already."""
TOLERANCE = 1e-2
"""Maximum difference between back ends, in nats of a tactic's log-probability and in probability of a value bin."""


def bench_model(*, quick: Quick = False, checkpoint: Path | None = None) -> dict[str, Any]:
    """Figures by back end.

    Args:
        checkpoint: a folder that Turnstile wrote. Default: a new model of the demonstration's size, trained briefly so that its tactics end.
    """
    import torch

    from prover.models.backends.agreement import prior_difference
    from prover.models.transformer import LanguageModelPolicy

    given = find_checkpoint(checkpoint, "--checkpoint") if checkpoint is not None else None
    batches = (1, COMPARED_AT) if quick else (1, 2, 4, 8, 16, 32, 64)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given or _train_model(Path(scratch) / "model", 150 if quick else 800)
        own = LanguageModelPolicy.load(folder)
        queries = [Query(_state(goal)) for goal, _ in _pairs(max(batches))]
        figures: dict[str, Any] = {
            "parameters": sum(p.numel() for p in own.model.parameters()),
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "tactics_asked": TACTICS,
        }
        plain = _Generate(own)
        figures["generate"] = _speeds(plain.suggest, lambda: plain.tokens, queries, batches, quick)
        beams = _Beams(own)
        figures["beams"] = _speeds(beams.suggest, lambda: beams.tokens, queries, batches, quick)
        answers = plain.sample(queries[:16], TACTICS)
        worst, compared = prior_difference(own, queries[:16], answers)
        figures["generate"] |= {"prior_difference": worst, "compared": compared}
        began = time.perf_counter()
        own.load_weights({k: v.clone() for k, v in own.model.state_dict().items()}, own.version)
        figures["beams"]["update_s"] = round(time.perf_counter() - began, 4)
        if getattr(importlib.util.find_spec("vllm"), "origin", None) is None:
            figures["vllm"] = "not installed here (`make test-vllm` builds an environment that has it)"
        else:
            figures["vllm"] = _vllm(folder, own, queries, batches, quick)
            figures["expected"] = expectations(figures)
    return figures


def expectations(figures: dict[str, Any]) -> dict[str, str]:
    """Limits of the figures, and whether they are met: tactics a second of vLLM relative to `generate`, and of PROVERS provers relative to
    one; seconds of an update; the largest difference of priors and values, infinite if nothing was compared."""
    vllm, plain = figures["vllm"], figures["generate"]
    ours, theirs = (x["batch"][str(COMPARED_AT)]["tactics_per_s"] for x in (vllm, plain))
    names = ("prior_difference", "prior_difference_after_update", "value_difference")
    compared = min(plain["compared"], vllm["compared"], vllm["compared_after_update"])
    measured = {
        "vllm_over_generate": round(ours / theirs, 2),
        "update_s": vllm["update_s"],
        "difference": max(plain["prior_difference"], *(vllm[name] for name in names)) if compared else math.inf,
    }
    limits = {"vllm_over_generate": (">", 1.0), "update_s": ("<", UPDATE_LIMIT), "difference": ("<", TOLERANCE)}
    for kind, rates in vllm["provers"].items():
        measured[f"{kind}_gain"] = round(rates[str(PROVERS)] / rates["1"], 2)
        limits[f"{kind}_gain"] = (">=", PROVERS_GAIN)
    return compare(measured, limits)


def _vllm(
    folder: Path, own: LanguageModelPolicy, queries: list[Query], batches: Sequence[int], quick: bool
) -> dict[str, Any]:
    from prover.models.backends.agreement import prior_difference, value_difference
    from prover.models.backends.vllm import VLLMConfig, VLLMPolicy

    began = time.perf_counter()
    # No oversampling: the same number of samples as the others.
    policy = VLLMPolicy(folder, VLLMConfig(oversample=1.0))
    start = time.perf_counter() - began
    try:
        figures = _speeds(policy.suggest, lambda: policy.generated_tokens, queries, batches, quick)
        repeats = 1 if quick else 3
        figures["provers"] = {
            kind: {str(n): _together(policy, queries, asked, n, repeats) for n in (1, PROVERS)}
            for kind, asked in ASKED.items()
        }
        worst, compared = prior_difference(own, queries[:16], policy.sample(queries[:16], TACTICS))
        updates = []
        weights = {k: v * 1.01 for k, v in own.model.state_dict().items()}
        for version in range(1, 4):
            began = time.perf_counter()
            policy.load_weights(weights, version)
            updates.append(time.perf_counter() - began)
            policy.check_version(version)
        own.load_weights(weights, 3)
        after, compared_after = prior_difference(own, queries[:16], policy.sample(queries[:16], TACTICS))
        figures |= {
            "start_s": round(start, 2),
            "update_s": round(median(updates), 4),
            "prior_difference": worst,
            "compared": compared,
            "prior_difference_after_update": after,
            "compared_after_update": compared_after,
            "value_difference": value_difference(own, queries[:16], policy),
        }
    finally:
        policy.close()
    return figures


def _together(policy: Any, queries: Sequence[Query], tactics: int, provers: int, repeats: int) -> float:
    """Distinct finished tactics per second of this many provers together. Each asks for `tactics` of a goal and waits for the answer before
    it asks again. The median of `repeats` runs."""

    async def prover(number: int, repeat: int) -> int:
        found = 0
        for i in range(QUESTIONS):
            goal = queries[(number + i) % len(queries)].state.text
            text = f"{goal} ∧ {provers} = {tactics} * {number + PROVERS * (i + repeat)}"
            answers, _ = await policy.answer([Query(_state(text))], [], tactics)
            found += len(answers[0])
        return found

    async def rate(repeat: int) -> float:
        began = time.perf_counter()
        found = await asyncio.gather(*(prover(n, repeat) for n in range(provers)))
        return sum(found) / (time.perf_counter() - began)

    return round(median(asyncio.run(rate(QUESTIONS * r)) for r in range(repeats)), 1)


def _speeds(
    suggest: Callable[[Sequence[Query], int], list[list[Suggestion]]],
    tokens: Callable[[], int],
    queries: list[Query],
    batches: Sequence[int],
    quick: bool,
) -> dict[str, Any]:
    """By batch size: distinct finished tactics per second, and generated tokens per second; medians of 3 (quick: 1)."""
    suggest(queries[:2], TACTICS)  # warm
    by_batch: dict[str, Any] = {}
    for size in batches:
        rates = []
        for repeat in range(1 if quick else 3):
            # New prompts each time, so that no prefix cache contains them.
            asked = [Query(_state(f"{q.state.text} ∧ {size} = {repeat + size}")) for q in queries[:size]]
            before, began = tokens(), time.perf_counter()
            found = suggest(asked, TACTICS)
            seconds = time.perf_counter() - began
            rates.append((sum(map(len, found)) / seconds, (tokens() - before) / seconds, seconds))
        by_batch[str(size)] = {
            "tactics_per_s": round(median(r[0] for r in rates), 1),
            "tokens_per_s": round(median(r[1] for r in rates), 1),
            "seconds": round(median(r[2] for r in rates), 4),
        }
    return {"batch": by_batch}


class _Generate:
    """Sampling by transformers' `generate` on prompts in the small model's format."""

    def __init__(self, policy: LanguageModelPolicy) -> None:
        self.model = policy.model
        self.format = SlotFormat(policy.prompter)
        self.pad = policy.prompter.codec.pad
        self.eos = policy.prompter.codec.eos
        self.tokens = 0

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return [suggestions(self.format, q, a, n) for q, a in zip(queries, self.sample(queries, n), strict=True)]

    def sample(self, queries: Sequence[Query], n: int) -> list[list[Answer]]:
        import torch

        prompts = [self.format.prompt(q) for q in queries]
        size = max(map(len, prompts))
        ids = torch.tensor([[*[self.pad] * (size - len(p)), *p] for p in prompts])
        mask = torch.tensor([[*[0] * (size - len(p)), *[1] * len(p)] for p in prompts])
        banned = [[t] for t in self.format.banned(queries[0])]
        # `generate` computes no gradients.
        out: Any = self.model.generate(  # pyright: ignore[reportCallIssue]
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            bad_words_ids=banned,
            num_return_sequences=n,
            max_new_tokens=self.format.max_new_tokens,
            pad_token_id=self.pad,
            eos_token_id=self.eos,
            output_logits=True,
            return_dict_in_generate=True,
        )
        new = out.sequences[:, size:]
        steps = torch.stack(out.logits, 1).float().log_softmax(-1).gather(-1, new[..., None])[..., 0]
        answers = []
        for row, logprobs in zip(new.tolist(), steps, strict=True):
            length = row.index(self.eos) + 1 if self.eos in row else len(row)
            self.tokens += length
            finished = self.eos in row
            answers.append(Answer("", tuple(row[: length - finished]), logprobs[:length].sum().item(), finished))
        return [answers[i : i + n] for i in range(0, len(answers), n)]


class _Beams:
    """The small model's beam search. Counts only the tokens of returned tactics, not those of pruned beams, so compare it by tactics
    per second."""

    def __init__(self, policy: LanguageModelPolicy) -> None:
        self.policy = policy
        self.tokens = 0

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        found = self.policy.suggest(queries, n)
        for q, mine in zip(queries, found, strict=True):
            for s in mine:
                self.tokens += len(self.policy.prompter.target(s.tactic, q.premises, q.types) or ())
        return found


_GOALS = (
    ("{x} {y} : Nat\n{h} : {x} ≤ {y}\n⊢ {x} < {y} + 1", "omega"),
    ("p q : Prop\n{h} : p ∧ q\n⊢ q ∧ p", "exact ⟨{h}.2, {h}.1⟩"),
    ("xs ys : List Nat\n{x} : Nat\n⊢ (xs ++ ys).length = {x} + xs.length", "rw [List.length_append]"),
    ("α : Type u_1\nxs : List α\n{h} : xs ≠ []\n⊢ List.map id xs = xs", "induction xs with simp_all"),
    ("{x} {y} : Nat\n{h} : {x} = {y}\n⊢ {x} * ({y} + 2) = {x} * {y} + {x} * 2", "simp [Nat.mul_add]"),
)


def _pairs(n: int) -> list[tuple[str, str]]:
    names = "abcdefgmnk"
    pairs = []
    for i in range(n):
        goal, tactic = _GOALS[i % len(_GOALS)]
        fill = {"x": names[i % 10], "y": names[(i // 10 + i + 1) % 10], "h": f"h{i % 7}"}
        extra = "".join(f"h_{j} : {names[(i + j) % 10]} + {j} ≤ {names[j % 10]} * {i}\n" for j in range(i % 5))
        pairs.append((extra + goal.format(**fill), tactic.format(**fill)))
    return pairs


def _state(text: str) -> ProofState:
    return ProofState(0, text, (Goal(text),))


def _train_model(folder: Path, steps: int) -> Path:
    """Write a model of the demonstration's size trained on the goals above. A random model would never end a tactic."""
    from prover.models.prompt import PromptConfig
    from prover.models.tokenizer import train_tokenizer
    from prover.models.transformer import LanguageModelPolicy, new_model
    from rl.examples import PolicyExample, ValueExample
    from rl.learner.small_model import small_learner
    from rl.learner.supervised import train

    pairs = _pairs(400)
    tokenizer = train_tokenizer([t for pair in pairs for t in pair], 1024)
    model = new_model(len(tokenizer), hidden=192, layers=4, heads=6, intermediate=512, positions=512)
    prompt = PromptConfig(max_prompt=160)
    learner = small_learner(model, tokenizer, prompt, device="cpu")
    values = [ValueExample(goal, i % 4) for i, (goal, _) in enumerate(pairs)]
    train(learner, [*(PolicyExample(g, t) for g, t in pairs), *values], steps=steps)
    LanguageModelPolicy(learner.model, tokenizer, prompt).save(folder)
    return folder
