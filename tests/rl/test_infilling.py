"""Examples of infilling: from audited proofs alone, as many as the setting says, with both goals renamed alike."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from curricula.library import split_of
from prover.errors import UserError
from prover.lean.theorem import Theorem
from prover.models.formats import SlotFormat, TemplateFormat
from prover.models.prompt import Prompter
from prover.models.templates import template_named, template_names
from prover.models.tokenizer import TextCodec
from prover.models.transformer import new_model
from prover.search.examples import Example
from prover.solve.job import Trace
from prover.solve.ledger import Attempt, Ledger
from rl import config as config_module
from rl.algorithms.infilling import infill_examples
from rl.commands.tune import tune
from rl.config import LearnConfig, ModelConfig, ProverConfig, RunConfig
from rl.examples import PolicyExample
from rl.extracted import extracted_examples
from rl.learner.learner import Learner
from rl.learner.pairs import load_pairs
from rl.learner.rows import group, renamed
from rl.learner.small_model import small_model
from rl.learning import Learning
from rl.plan import plan
from rl.training_examples import rows
from tests.models.sample_goals import query

NAME = next(f"t{i}" for i in range(99) if split_of(f"t{i}") == "train")
LEARN = LearnConfig(infill=0.25)
BETWEEN = PolicyExample(
    "p q : Prop\nh : p → q\n⊢ p → q ∧ p", "intro hp", towards="p q : Prop\nh : p → q\nhp : p\n⊢ q ∧ p"
)


def goal(i: int, *next_: int, solved: bool = True) -> Example:
    best = ((f"t{i}", 1),) if solved else ()
    keys = tuple(f"⊢ p{j}" for j in next_)
    text = f"⊢ p{i}"
    return Example(text, text, (), (), 9, solved, False, 1, 0.9, best, (), i, next=keys, leading=f"t{i}")


PROOF = Trace(8, examples=[goal(0, 1), goal(1, 2, 3), goal(2), goal(3, 4), goal(4), goal(5, 4), goal(6, solved=False)])


def infill_rows(proved: bool, learn: LearnConfig) -> list[dict[str, Any]]:
    made = rows(Theorem(NAME, ": True"), PROOF, proved, 1.0, learn)
    return [data for kind, data in made if kind == "infill"]


def test_goals_of_the_proof_with_goals_below_them() -> None:
    found = infill_rows(True, LEARN)
    ends = {(row["state"][-1], row["tactics"][0][0], row["distance"], row["towards"][-1]) for row in found}
    # Goal 5 is no part of the shortest proof, and one of two goals is drawn at each distance.
    certain = {("0", "t0", 1, "1"), ("0", "t0", 3, "4"), ("1", "t1", 2, "4"), ("3", "t3", 1, "4")}
    assert certain < ends and len(ends) == 6
    assert {e[:3] for e in ends - certain} == {("0", "t0", 2), ("1", "t1", 1)}
    assert infill_rows(True, LearnConfig()) == [] and infill_rows(False, LEARN) == []


@pytest.mark.parametrize(("share", "others", "wanted"), [(0.5, 4, 4), (0.25, 9, 3), (0.25, 1000, 6), (0.25, 0, 0)])
def test_the_share_of_the_examples(share: float, others: int, wanted: int) -> None:
    found = infill_examples(infill_rows(True, LEARN), share, others, "0/1")
    assert len(found) == wanted and all(e.towards and e.weight > 0 for e in found)
    assert found == infill_examples(infill_rows(True, LEARN), share, others, "0/1")


def test_a_round_learns_both_from_the_ledger(tmp_path: Path) -> None:
    theorem = Theorem(NAME, ": True")
    ledger = Ledger(tmp_path / "ledger.sqlite")
    made = [(kind, {**data, "round": 1}) for kind, data in rows(theorem, PROOF, True, 1.0, LEARN)]
    ledger.record(Attempt("round 1", theorem, "proved", 1, 1, 0.1, "t0", model_version=0), made)
    for share, between in ((0.0, 0), (0.25, 2), (0.9, 6)):
        config = RunConfig(prover=ProverConfig(use_ranker=False), learn=LearnConfig(infill=share))
        learning = Learning(config, tmp_path, ledger, None, print)  # type: ignore[arg-type]
        found = learning.prepare(1)[0]
        assert len([e for e in found if not e.towards]) == 6 and len([e for e in found if e.towards]) == between


def test_the_share_is_for_searches_with_expert_iteration() -> None:
    with pytest.raises(UserError, match="search trees"):
        plan(config_module.override(RunConfig(), ("learn.infill=0.2", 'learn.algorithm="grpo"')))
    with pytest.raises(UserError, match="infill must be"):
        config_module.override(RunConfig(), ("learn.infill=1.0",))
    plan(config_module.override(RunConfig(), ("learn.infill=0.2",)))


def test_a_template_that_hides_the_goal_to_reach_is_refused(tmp_path: Path) -> None:
    blind, pairs = tmp_path / "blind.toml", tmp_path / "pairs.jsonl"
    blind.write_text('source = "here"\nprompt = "{{ goal }}"\n')
    pairs.write_text(json.dumps({"goal": "⊢ p", "tactic": "simp", "towards": "⊢ q"}) + "\n")
    pretrained = config_module.load(config_module.STAGES / "one-gpu.toml")
    with pytest.raises(UserError, match="does not show the goal to reach"):
        plan(config_module.override(pretrained, ("learn.infill=0.2", f'serve.template="{blind}"')))
    with pytest.raises(UserError, match="has `towards`, which the template"):
        tune("new", pairs, out=tmp_path / "out", template=str(blind))


def test_both_goals_and_the_tactic_are_renamed_alike() -> None:
    plain = PolicyExample(BETWEEN.state, "exact fun a => ⟨h a, a⟩")
    model, tokenizer = small_model([BETWEEN, plain], ModelConfig(hidden=32, layers=1, heads=2), 256, 0)
    prompter = Prompter(TextCodec(tokenizer))
    learner = Learner(model, tokenizer, SlotFormat(prompter), device="cpu")
    found, skipped = group(learner.encode, [plain, BETWEEN], 0)
    assert len(found) == 2 and not skipped  # other prompts
    row = next(r for r in found if r.examples == [BETWEEN])
    changed = renamed(prompter, learner.encode, row, random.Random(1), 1.0, 0.0)
    ((prompt, target),) = changed.answers
    text, tactic = prompter.codec.decode(list(prompt)), prompter.codec.decode(list(target)[:-1])
    assert changed is not row and tactic == "intro hp"
    (p, q, h) = text.removeprefix("<bos>").replace(" :", "").split()[:2] + [text.split("\n")[1].split(" ")[0]]
    assert text == f"<bos>{p} {q} : Prop\n{h} : {p} → {q}\n⊢ {p} → {q} ∧ {p}\n⇝ hp : {p}\n⊢ {q} ∧ {p}<tactic>"
    assert (p, q, h) != ("p", "q", "h")


@pytest.mark.parametrize("name", template_names())
def test_templates_show_the_goal_to_reach_and_are_unchanged_without(name: str) -> None:
    from dataclasses import replace

    if (template := template_named(name)).answers == "proof":
        return
    form, asked = TemplateFormat(template), query("h : p\n⊢ q", ("lemma",))
    plain, told = form.prompt(asked), form.prompt(replace(asked, towards="h : p\nh' : r\n⊢ s"))
    assert isinstance(plain, str) and "⇝" not in plain
    assert isinstance(told, str) and told.replace("\n⇝ h' : r\n⊢ s", "") == plain != told


def test_a_plain_text_model_reads_the_goal_to_reach() -> None:
    model = new_model(*_size([BETWEEN]))
    _, tokenizer = small_model([BETWEEN], ModelConfig(hidden=32, layers=1, heads=2), 256, 0)
    learner = Learner(model, tokenizer, TemplateFormat(template_named("bfs-prover")), device="cpu")
    prompt, _ = learner.encode(BETWEEN)
    assert tokenizer.decode(list(prompt)) == f"{BETWEEN.state}\n⇝ hp : p\n⊢ q ∧ p:::"


def _size(examples: list[PolicyExample]) -> tuple[int, ...]:
    _, tokenizer = small_model(examples, ModelConfig(hidden=32, layers=1, heads=2), 256, 0)
    return len(tokenizer), 32, 1, 2, 64, 256


def test_pairs_and_human_proofs(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps({"goal": BETWEEN.state, "tactic": "intro hp", "towards": BETWEEN.towards}) + "\n")
    assert load_pairs(file) == [BETWEEN]
    chain = [("a", "s", "b"), ("b", "t", "c"), ("c", "u", "d\n\ne"), ("d", "v", "no goals"), ("e", "w", "no goals")]
    steps = [{"kind": "tactic", "text": t, "state_before": s, "state_after": a} for s, t, a in chain]
    (tmp_path / "theorems.jsonl").write_text(json.dumps({"full_name": NAME, "sorry": False, "steps": steps}) + "\n")
    plain = extracted_examples(tmp_path)
    assert [(e.state, e.tactic, e.towards) for e in plain] == [(s, t, "") for s, t, _ in chain]
    more = extracted_examples(tmp_path, infill=0.5)
    assert more[: len(plain)] == plain
    assert sorted((e.state, e.tactic, e.towards) for e in more[len(plain) :]) == [
        ("a", "s", "b"),
        ("a", "s", "c"),
        ("b", "t", "c"),
    ]
