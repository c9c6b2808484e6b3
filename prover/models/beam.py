"""Beam search over tactics, deterministic or stochastic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prover.models.llama import Cache, LlamaRunner

PRUNE = 12.0
"""Beams this many nats below their query's best are dropped; fewer than n tactics may remain."""
_NEVER = float("-inf")


@dataclass(slots=True)
class _Beams:
    """K beams for each of B queries, open ones first; all tensors [B, K] but `ids`."""

    logprob: Tensor
    score: Tensor
    """Ranking score: the log-probability, for a query with noise perturbed by it. -inf: dropped."""
    done: Tensor
    """Whether the beam has ended or was dropped. It no longer changes."""
    ids: Tensor
    """[B, K, T]"""

    def select(self, rows: Tensor) -> None:
        self.logprob, self.score = self.logprob[rows], self.score[rows]
        self.done, self.ids = self.done[rows], self.ids[rows]

    def reorder(self, order: Tensor) -> None:
        """Permute the beams of each query; [B, K]."""
        self.logprob, self.score = self.logprob.gather(1, order), self.score.gather(1, order)
        self.done, self.ids = self.done.gather(1, order), self.ids.gather(1, order[..., None].expand_as(self.ids))


@torch.inference_mode()
def beam_search(
    runner: LlamaRunner,
    cache: Cache,
    logits: Tensor,
    n: int,
    *,
    longest: int,
    eos: int,
    banned: Tensor,
    noise: Sequence[torch.Generator | None],
) -> list[list[tuple[float, list[int]]]]:
    """(log-probability, ids without `eos`) of at most `n` ended sequences for each of B queries, unordered.

    `logits` [B, V]: for the first token, at position 0 of the cache's tail. `longest`: tokens of a sequence with its `eos`. `banned`
    [B, V]: 0, or -inf for forbidden tokens, which keep their probability mass. `noise` [B]: a generator for each query to sample
    without replacement, by stochastic beam search (Kool, van Hoof and Welling 2019, algorithm 1); its sample does not depend on the
    other queries. None: the most probable sequences.
    """
    b, vocab = logits.shape
    device = logits.device
    zero = torch.zeros(b, 1, device=device)
    beams = _Beams(zero, zero, zero.bool(), torch.empty(b, 1, 0, dtype=torch.long, device=device))
    query = torch.arange(b, device=device)
    noisy = torch.tensor([g is not None for g in noise], device=device)[:, None, None]
    found: list[list[tuple[float, list[int]]]] = [[] for _ in range(b)]
    # Only the most probable `width` children of a beam are considered.
    width = min(vocab, max(2 * n, 32))
    logits = logits[:, None].float()  # [B, O, V]: the model continues the first O beams, which include all open ones
    for t in range(longest):
        open_beams = logits.shape[1]
        steps, tokens = (logits.log_softmax(-1) + banned[:, None]).topk(width, -1)  # [B, O, width]
        closed = beams.done[:, :open_beams]
        total = beams.logprob[:, :open_beams, None] + steps
        perturbed = _perturb(total, beams.score[:, :open_beams], closed, noise) if noisy.any() else total
        score = torch.where(noisy, perturbed, total).masked_fill(closed[..., None], _NEVER)
        # A finished beam has itself as its only child.
        children = torch.cat([score.flatten(1), beams.score.masked_fill(~beams.done, _NEVER)], 1)
        best, chosen = children.topk(min(n, children.shape[1]), -1)
        was_done = chosen >= open_beams * width
        parent = torch.where(was_done, chosen - open_beams * width, chosen // width)
        flat = chosen.masked_fill(was_done, 0)
        token = tokens.flatten(1).gather(1, flat).masked_fill(was_done, eos)
        logprob = torch.where(was_done, beams.logprob.gather(1, parent), total.flatten(1).gather(1, flat))
        ended = ~was_done & (token == eos) & (best > _NEVER)
        for i, j in ended.nonzero().tolist():
            found[query[i]].append((logprob[i, j].item(), beams.ids[i, parent[i, j]].tolist()))
        hopeless = ~was_done & ~ended & (logprob < logprob.max(-1, keepdim=True).values - PRUNE)
        beams = _Beams(
            logprob=logprob,
            score=best.masked_fill(hopeless, _NEVER),
            done=was_done | ended | hopeless | (best == _NEVER),
            ids=torch.cat([beams.ids.gather(1, parent[..., None].expand(-1, -1, t)), token[..., None]], -1),
        )
        rows = (~beams.done).any(-1).nonzero()[:, 0]
        if len(rows) == 0 or t + 1 == longest:
            break
        if len(rows) < len(query):
            cache.select(rows)
            beams.select(rows)
            query, banned, noisy, parent, token = query[rows], banned[rows], noisy[rows], parent[rows], token[rows]
            noise = [noise[i] for i in rows.tolist()]
        order = beams.done.byte().argsort(dim=-1, stable=True)
        beams.reorder(order)
        order = order[:, : int((~beams.done).sum(-1).max())]
        # A finished beam among them may have a parent that the cache does not hold; what it continues does not matter.
        cache.reorder(parent.gather(1, order).clamp(max=open_beams - 1))
        logits = runner.step(cache, token.gather(1, order)).float()
    return found


def _perturb(phi: Tensor, parent: Tensor, closed: Tensor, noise: Sequence[torch.Generator | None]) -> Tensor:
    """Gumbel-perturbed log-probabilities [B, O, W] of children, conditioned on their maximum being the parent's [B, O].

    Open beams come first, and `closed` [B, O] get no noise: a query draws equally many numbers whatever the others are.
    Kool, van Hoof and Welling 2019, equations 23-24 of appendix B.3 (the numerically stable form).
    """
    uniform = torch.full(phi.shape, 0.5)
    for i, (g, n) in enumerate(zip(noise, (~closed).sum(-1).tolist(), strict=True)):
        if g is not None:
            uniform[i, :n] = torch.rand((n, phi.shape[2]), generator=g)
    uniform = uniform.to(phi.device).clamp_(1e-20, 1 - 1e-7)
    g = phi - torch.log(-torch.log(uniform))
    top = g.max(-1, keepdim=True).values
    v = parent[..., None] - g + torch.log1p(-torch.exp((g - top).clamp(max=0)))
    return parent[..., None] - v.clamp(min=0) - torch.log1p(torch.exp(-v.abs()))
