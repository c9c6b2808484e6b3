"""Training batches: groups examples by prompt, sorts them by length, renames names, and packs tensors."""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prover.models.fresh_names import Translation
from prover.models.prompt import Prompter, hypothesis_names, rename, rename_map
from rl.examples import Example, PolicyExample, ValueExample


@dataclass(slots=True)
class Row:
    """A prompt and its answers. Each answer is a branch that attends to the prompt and to itself."""

    state: str
    premises: tuple[str, ...]
    examples: list[Example]
    size: int
    """Tokens before renaming."""
    constants: tuple[str, ...] = ()
    tactics: float = 0.0
    """Target tokens of the tactics, weighted by the absolute weights of the examples."""
    values: float = 0.0
    """Absolute weights of the value examples."""


@dataclass(frozen=True, slots=True)
class RenamedRow:
    """A row's texts with the names of this epoch."""

    state: str
    tactics: dict[str, str]
    premises: tuple[str, ...]
    types: tuple[str, ...] = ()


@dataclass(slots=True)
class Batch:
    """R rows of L tokens, with M targets of A answers in flat tensors."""

    ids: Tensor
    positions: Tensor
    mask: Tensor
    """[R, 1, L, L], True where attention is allowed."""
    where: Tensor
    """[M], flat index into R*L of the token that predicts the target."""
    targets: Tensor
    """[M]."""
    owner: Tensor
    """[M], index of the target's answer."""
    weight: Tensor
    """[A]."""
    old: Tensor
    """[A], old log-probability; nan for answers learned by cross-entropy."""
    value: Tensor
    """[A], True for value answers."""


def group(prompter: Prompter, examples: Sequence[Example]) -> tuple[list[Row], int]:
    """Examples grouped by prompt, and the number of tactics skipped as too long."""
    rows: dict[tuple[str, tuple[str, ...]], Row] = {}
    finished: list[Row] = []
    skipped = 0
    longest = prompter.config.max_prompt + 4 * prompter.config.max_target
    for e in examples:
        size = 1
        if isinstance(e, PolicyExample):
            ids = prompter.target(e.tactic, e.premises)
            if ids is None:
                skipped += 1
                continue
            size = len(ids)
        key = (e.state, e.premises)
        row = rows.get(key)
        if row is not None and row.size + size > longest:
            finished.append(rows.pop(key))
            row = None
        if row is None:
            row = rows[key] = Row(e.state, e.premises, [], len(prompter.prefix(e.state, e.premises)), e.constants)
        row.examples.append(e)
        row.size += size
        if isinstance(e, PolicyExample):
            row.tactics += abs(e.weight) * size
        else:
            row.values += abs(e.weight)
    return finished + list(rows.values()), skipped


def batch_order(rows: Sequence[Row], batch_tokens: int, rng: random.Random) -> list[list[int]]:
    """Batches of an epoch as indices of rows of similar length, in random order."""
    jitter = [rng.uniform(0.9, 1.1) for _ in rows]
    batches: list[list[int]] = []
    widest = 0
    for i in sorted(range(len(rows)), key=lambda i: rows[i].size * jitter[i]):
        widest = max(widest, rows[i].size)
        if not batches or (len(batches[-1]) + 1) * widest > batch_tokens:
            batches.append([])
            widest = rows[i].size
        batches[-1].append(i)
    rng.shuffle(batches)
    return batches


def collate(
    prompter: Prompter,
    rows: Sequence[Row],
    rename_share: float,
    rng: random.Random,
    device: torch.device,
    fresh_share: float = 0.0,
) -> Batch:
    """Pack rows into tensors. Renames a row's hypotheses with probability `rename_share`, and replaces its library names by made-up
    names, different ones each time, with probability `fresh_share`."""
    codec = prompter.codec
    ids: list[list[int]] = []
    positions: list[list[int]] = []
    branches: list[list[int]] = []
    where: list[tuple[int, int]] = []
    targets: list[int] = []
    owner: list[int] = []
    answers: list[Example] = []
    for r, row in enumerate(rows):
        names = _hypothesis_names(prompter, row, rng) if rng.random() < rename_share else {}
        shown = _renamed(prompter, row, names, rng if fresh_share and rng.random() < fresh_share else None)
        prefix = prompter.prefix(shown.state, shown.premises, shown.types)
        seq, pos, branch = list(prefix), list(range(len(prefix))), [0] * len(prefix)
        for e in row.examples:
            if isinstance(e, PolicyExample):
                goal = prompter.target(shown.tactics[e.tactic], shown.premises, shown.types)
                assert goal is not None, "group, _hypothesis_names and _renamed exclude tactics that are too long"
                added = [codec.tactic, *goal[:-1]]
            else:
                goal, added = [codec.bins[e.bin]], [codec.value]
            where += [(r, len(seq) + i) for i in range(len(goal))]
            targets += goal
            owner += [len(answers)] * len(goal)
            answers.append(e)
            pos += range(len(prefix), len(prefix) + len(added))
            branch += [branch[-1] + 1] * len(added)
            seq += added
        ids.append(seq)
        positions.append(pos)
        branches.append(branch)
    size = max(map(len, ids))

    def pad(lists: list[list[int]], filler: int) -> Tensor:
        return torch.tensor([[*x, *[filler] * (size - len(x))] for x in lists], device=device)

    branch = pad(branches, -1)
    seen = (branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])
    mask = seen & torch.ones(size, size, dtype=torch.bool, device=device).tril()

    def tensor(x: list[Any]) -> Tensor:
        return torch.tensor(x, device=device)

    return Batch(
        ids=pad(ids, codec.pad),
        positions=pad(positions, 0),
        mask=mask[:, None],
        where=tensor([r * size + i for r, i in where]),
        targets=tensor(targets),
        owner=tensor(owner),
        weight=tensor([e.weight for e in answers]),
        old=tensor(
            [math.nan if isinstance(e, ValueExample) or e.old_logprob is None else e.old_logprob for e in answers]
        ),
        value=tensor([isinstance(e, ValueExample) for e in answers]),
    )


def _hypothesis_names(prompter: Prompter, row: Row, rng: random.Random) -> dict[str, str]:
    """New names for a row's hypotheses. Empty if old log-probabilities refer to the old names."""
    tactics = [e.tactic for e in row.examples if isinstance(e, PolicyExample)]
    if any(isinstance(e, PolicyExample) and e.old_logprob is not None for e in row.examples):
        return {}
    names = rename_map(row.state, tactics, rng)
    fits = all(prompter.target(rename(t, names), row.premises) is not None for t in tactics)
    return names if fits else {}


def _renamed(prompter: Prompter, row: Row, names: dict[str, str], fresh: random.Random | None) -> RenamedRow:
    """A row with new names for its hypotheses. With `fresh`, library names are replaced too, provided that the constants are known,
    the tactics still fit, and no old log-probability refers to the true names."""
    state = rename(row.state, names)
    policy = [e for e in row.examples if isinstance(e, PolicyExample)]
    plain = RenamedRow(state, {e.tactic: rename(e.tactic, names) for e in policy}, row.premises)
    if fresh is None or not row.constants or any(e.old_logprob is not None for e in policy):
        return plain
    words = Translation(fresh.getrandbits(32))
    local = hypothesis_names(state)
    made_up = RenamedRow(
        words.text(state, row.constants, local),
        {t: words.text(said, (*row.constants, *row.premises), local) for t, said in plain.tactics.items()},
        tuple(map(words.name, row.premises)),
        tuple(map(words.type_of, row.premises)) if prompter.config.show_types else (),
    )
    fits = all(prompter.target(t, made_up.premises, made_up.types) is not None for t in made_up.tactics.values())
    return made_up if fits else plain


def fingerprint(examples: Sequence[Example]) -> int:
    """Checksum of a list of examples."""
    crc = len(examples)
    for e in examples:
        crc = zlib.crc32(repr(e).encode("utf-8", "replace"), crc)
    return crc
