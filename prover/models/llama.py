"""Llama inference in which the N continuations of a prompt share one copy of its keys and values.

`generate` would copy the prompt's cache N times and has overhead at every token, which dominates for a small model on a CPU.
Weights and logits are those of a Hugging Face LlamaForCausalLM, the logits up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaForCausalLM


@dataclass(slots=True)
class Cache:
    """Keys and values of B prompts (per layer [B, G, P, D]) and of N continuations each ([B, G, N, T, D])."""

    prompt: list[tuple[Tensor, Tensor]]
    lengths: Tensor
    """[B] tokens of each prompt; the rest of P is padding."""
    tail: list[tuple[Tensor, Tensor]]

    def select(self, rows: Tensor) -> None:
        """Keep only these queries."""
        self.prompt = [(k[rows], v[rows]) for k, v in self.prompt]
        self.lengths = self.lengths[rows]
        self.tail = [(k[rows], v[rows]) for k, v in self.tail]

    def reorder(self, parents: Tensor) -> None:
        """Let continuation j of query b continue from parents[b, j]; [B, M], where M may differ from N."""
        b = torch.arange(parents.shape[0], device=parents.device)[:, None]

        def pick(x: Tensor) -> Tensor:
            return x.transpose(1, 2)[b, parents].transpose(1, 2)

        self.tail = [(pick(k), pick(v)) for k, v in self.tail]


class LlamaRunner:
    """Forward passes with the weights of a LlamaForCausalLM, equal to its own up to rounding."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        c = model.config
        if c.attention_bias or c.mlp_bias or c.hidden_act != "silu":
            raise ValueError("only Llama models without biases and with SiLU run here; serve others through vLLM")
        self.model = model
        self.groups: int = c.num_key_value_heads or c.num_attention_heads
        self.heads: int = c.num_attention_heads
        self.dim: int = getattr(c, "head_dim", None) or c.hidden_size // self.heads
        self.eps: float = c.rms_norm_eps
        self.limit: int = c.max_position_embeddings
        self.refresh()

    @torch.inference_mode()
    def refresh(self) -> None:
        """Read the model's weights again after they changed. Joined projections are copies."""

        def weight(name: str) -> Tensor:
            return self.model.get_parameter(f"model.{name}.weight").detach()

        self.embedding = weight("embed_tokens")
        self.norm = weight("norm")
        self.head = self.model.get_parameter("lm_head.weight").detach()
        positions = torch.arange(self.limit, device=self.embedding.device)
        cos, sin = self.model.model.rotary_emb(self.embedding[None, :1], positions[None])
        self.cos, self.sin = cos[0], sin[0]
        self.layers = [
            (
                weight(f"layers.{i}.input_layernorm"),
                torch.cat([weight(f"layers.{i}.self_attn.{p}_proj") for p in "qkv"]),
                weight(f"layers.{i}.self_attn.o_proj"),
                weight(f"layers.{i}.post_attention_layernorm"),
                torch.cat([weight(f"layers.{i}.mlp.{p}_proj") for p in ("gate", "up")]),
                weight(f"layers.{i}.mlp.down_proj"),
            )
            for i in range(self.model.config.num_hidden_layers)
        ]

    def _qkv(self, x: Tensor, weight: Tensor, norm: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries [..., H, D], keys and values [..., G, D] of x [..., E]."""
        y = F.linear(F.rms_norm(x, norm.shape, norm, self.eps), weight)
        y = y.view(*y.shape[:-1], self.heads + 2 * self.groups, self.dim)
        qk, v = y[..., : self.heads + self.groups, :], y[..., self.heads + self.groups :, :]
        half = self.dim // 2
        turned = torch.cat([-qk[..., half:], qk[..., :half]], -1)
        qk = qk * self.cos[positions][..., None, :] + turned * self.sin[positions][..., None, :]
        return qk[..., : self.heads, :], qk[..., self.heads :, :], v

    def _mlp(self, x: Tensor, norm: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        gate, up = F.linear(F.rms_norm(x, norm.shape, norm, self.eps), gate_up).chunk(2, -1)
        return x + F.linear(F.silu(gate, inplace=True).mul_(up), down)

    @torch.inference_mode()
    def prefill(self, prompts: Sequence[Sequence[int]], pad: int) -> Cache:
        """Keys and values of prompts, padded on the right: causal attention never sees the padding, and `step` masks it."""
        device = self.cos.device
        size = max(map(len, prompts))
        ids = torch.tensor([[*p, *[pad] * (size - len(p))] for p in prompts], device=device)
        positions = torch.arange(size, device=device).expand(len(prompts), size)
        x = F.embedding(ids, self.embedding)
        cache = Cache([], torch.tensor([len(p) for p in prompts], device=device), [])
        for i, (norm, qkv, out, norm2, gate_up, down) in enumerate(self.layers):
            q, k, v = (t.transpose(1, 2) for t in self._qkv(x, qkv, norm, positions))
            k, v = k.contiguous(), v.contiguous()
            cache.prompt.append((k, v))
            if i + 1 < len(self.layers):  # the last layer's output is only needed at the markers
                y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.groups < self.heads)
                x = self._mlp(x + F.linear(y.transpose(1, 2).flatten(2), out), norm2, gate_up, down)
            cache.tail.append((k[:, :, None, :0], v[:, :, None, :0]))
        return cache

    @torch.inference_mode()
    def step(self, cache: Cache, ids: Tensor) -> Tensor:
        """Append one token each, ids [B, N], to the cache. Returns logits [B, N, V]."""
        b, n = ids.shape
        g, r = self.groups, self.heads // self.groups
        if cache.tail[0][0].shape[2] != n:
            cache.tail = [(k.expand(-1, -1, n, -1, -1), v.expand(-1, -1, n, -1, -1)) for k, v in cache.tail]
        past = cache.tail[0][0].shape[3]
        positions = (cache.lengths + past)[:, None].expand(b, n)
        size = cache.prompt[0][0].shape[2]
        hidden = torch.arange(size, device=ids.device) >= cache.lengths[:, None]
        bias = torch.zeros(b, 1, 1, size, device=ids.device, dtype=self.cos.dtype)
        bias.masked_fill_(hidden[:, None, None], float("-inf"))
        x = F.embedding(ids, self.embedding)
        for i, (norm, qkv, out, norm2, gate_up, down) in enumerate(self.layers):
            q, k, v = self._qkv(x, qkv, norm, positions)
            q = q.view(b, n, g, r, self.dim).transpose(1, 2) * self.dim**-0.5  # [B, G, N, R, D]
            pk, pv = cache.prompt[i]
            tk = torch.cat([cache.tail[i][0], k.transpose(1, 2)[:, :, :, None]], 3)
            tv = torch.cat([cache.tail[i][1], v.transpose(1, 2)[:, :, :, None]], 3)
            cache.tail[i] = (tk, tv)
            far = torch.matmul(q.flatten(2, 3), pk.transpose(2, 3)).add_(bias).view(b, g, n, r, size)
            near = (q[:, :, :, :, None] * tk[:, :, :, None]).sum(-1)  # faster than matmul for many small products
            weights = torch.cat([far, near], -1).softmax(-1)
            y = torch.matmul(weights[..., :size].flatten(2, 3), pv).view(b, g, n, r, self.dim)
            y = y + (weights[..., size:, None] * tv[:, :, :, None]).sum(-2)
            x = x + F.linear(y.transpose(1, 2).reshape(b, n, -1), out)
            x = self._mlp(x, norm2, gate_up, down)
        return F.linear(F.rms_norm(x, self.norm.shape, self.norm, self.eps), self.head)
