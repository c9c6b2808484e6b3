"""Rows of supervised learning: examples grouped by prompt, with names replaced, in batches of rows of similar length."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from prover.models.fresh_names import Translation
from prover.models.prompt import Prompter, hypothesis_names, rename, rename_map
from rl.examples import Example, PolicyExample, towards_of
from rl.learner.packing import Row as Tokens

T = TypeVar("T")
Shown = tuple[str, str, dict[str, str], tuple[str, ...], tuple[str, ...]]
"""(state, goal to reach, shown text of each tactic by its true text, premises, types of the premises)."""
Encode = Callable[[Example, tuple[str, ...]], Tokens]
"""(example, types of its premises if not the library's) -> (prompt, target). The target is empty if it is too long."""


@dataclass(slots=True)
class Row:
    """The examples of one prompt, which are computed together."""

    examples: list[Example]
    answers: list[Tokens]
    """(prompt, target) of each example, as token ids."""
    size: int
    """Tokens of the prompt and of all answers."""


def group(encode: Encode, examples: Sequence[Example], longest: int) -> tuple[list[Row], int]:
    """(examples grouped by prompt, number of examples skipped as too long). `longest`: maximum number of tokens of a row with several
    examples."""
    rows: dict[tuple[str, tuple[str, ...], str], Row] = {}
    finished: list[Row] = []
    skipped = 0
    for e in examples:
        prompt, target = encode(e, ())
        if not prompt or not target:
            skipped += 1
            continue
        key = (e.state, e.premises, towards_of(e))
        row = rows.get(key)
        if row is None or row.size + len(target) > longest:
            if row is not None:
                finished.append(row)
            row = rows[key] = Row([], [], len(prompt) - 1)
        row.examples.append(e)
        row.answers.append((prompt, target))
        row.size += len(target)
    return finished + list(rows.values()), skipped


def shuffled(items: Sequence[T], size: float, rng: random.Random) -> list[list[T]]:
    """Batches of about `size` items, at least one, in random order. Their sizes differ by at most one."""
    order, count = rng.sample(items, len(items)), min(len(items), max(1, round(len(items) / size)))
    return [order[len(order) * k // count : len(order) * (k + 1) // count] for k in range(count)]


def by_length(rows: Sequence[Row], batch_tokens: int, rng: random.Random) -> list[list[Row]]:
    """The batches of an epoch in random order, each of rows of similar length and at most `batch_tokens` tokens with padding."""
    jitter = [rng.uniform(0.9, 1.1) for _ in rows]
    batches: list[list[Row]] = []
    widest = 0
    for i in sorted(range(len(rows)), key=lambda i: rows[i].size * jitter[i]):
        widest = max(widest, rows[i].size)
        if not batches or (len(batches[-1]) + 1) * widest > batch_tokens:
            batches.append([])
            widest = rows[i].size
        batches[-1].append(rows[i])
    rng.shuffle(batches)
    return batches


def renamed(
    prompter: Prompter, encode: Encode, row: Row, rng: random.Random, rename_share: float, fresh_share: float
) -> Row:
    """The row with new hypothesis names, with probability `rename_share`, and with made-up library names that differ each time, with
    probability `fresh_share`.

    Names are kept if an example has an old log-probability, which refers to them, or if a tactic would become too long.
    """
    tactics = {e.tactic: e.tactic for e in row.examples if isinstance(e, PolicyExample)}
    graded = any(isinstance(e, PolicyExample) and e.old_logprob is not None for e in row.examples)
    first = row.examples[0]

    def fitting(new: Shown, old: Shown) -> Shown:
        _, _, said, premises, types = new
        return new if all(prompter.target(t, premises, types) is not None for t in said.values()) else old

    towards = towards_of(first)
    shown = plain = (first.state, towards, tactics, first.premises, ())
    if rng.random() < rename_share and not graded:
        names = rename_map(first.state, [*tactics, towards], rng)
        state, goal, *said = (rename(text, names) for text in (first.state, towards, *tactics))
        new = (state, goal, dict(zip(tactics, said, strict=True)), first.premises, ())
        shown = fitting(new, shown) if names else shown
    if fresh_share and rng.random() < fresh_share and first.constants and not graded:
        words, local = Translation(rng.getrandbits(32)), hypothesis_names("\n".join(shown[:2]))
        used = (*first.constants, *first.premises)
        said = {t: words.text(now, used, local) for t, now in shown[2].items()}
        types = tuple(map(words.type_of, first.premises)) if prompter.config.show_types else ()
        state, goal = (words.text(text, first.constants, local) for text in shown[:2])
        shown = fitting((state, goal, said, tuple(map(words.name, first.premises)), types), shown)
    if shown is plain:
        return row
    state, towards, said, premises, types = shown
    answers: list[Tokens] = []
    for e in row.examples:
        e = replace(e, state=state, premises=premises)
        if isinstance(e, PolicyExample):
            e = replace(e, tactic=said[e.tactic], towards=towards)
        answers.append(encode(e, types))
    return Row(row.examples, answers, len(answers[0][0]) - 1 + sum(len(target) for _, target in answers))


def fingerprint(examples: Sequence[Example]) -> int:
    """Checksum of a list of examples."""
    crc = len(examples)
    for e in examples:
        crc = zlib.crc32(repr(e).encode("utf-8", "replace"), crc)
    return crc
