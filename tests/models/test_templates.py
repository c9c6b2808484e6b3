"""Templates: building prompts and reading answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from prover.models.templates import template_named, template_names

GIVEN = {
    "goal": "p q : Prop\nh : p ∧ q\n⊢ q ∧ p",
    "statement": "theorem swap (p q : Prop) (h : p ∧ q) : q ∧ p",
    "header": "import Mathlib\n\n",
    "premises": ("And.symm",),
}


@pytest.mark.parametrize("name", template_names())
def test_every_template_renders_and_shows_the_goal(name: str) -> None:
    template = template_named(name)
    sent = template.render(GIVEN)
    text = sent if isinstance(sent, str) else sent[-1]["content"]
    assert (GIVEN["goal"] if template.answers == "tactic" else GIVEN["statement"]) in text
    assert isinstance(sent, str) != template.chat
    failed = template.render({**GIVEN, "tried": "exact h", "error": "type mismatch"})
    assert ("type mismatch" in str(failed)) == bool(template.retry)


def test_the_published_formats() -> None:
    assert template_named("bfs-prover").render({"goal": "⊢ p"}) == "⊢ p:::"
    # A model that was trained without premises must not be shown any; the other reads the best one last.
    assert template_named("reprover").render({"goal": "⊢ p", "premises": ("a.b",)}) == "⊢ p"
    retrieval = template_named("reprover-retrieval").render({"goal": "⊢ p", "premises": ("best.one", "a.b")})
    assert retrieval == "<a>a.b</a>\n\n<a>best.one</a>\n\n⊢ p"
    open_block = template_named("deepseek-prover-v1.5").render({"statement": "theorem x : p", "header": "import A\n"})
    assert open_block == "Complete the following Lean 4 code:\n\n```lean4\nimport A\ntheorem x : p := by\n"


def test_answers() -> None:
    v2 = template_named("deepseek-prover-v2")
    assert v2.answer("Plan.\n```lean4\nsorry\n```\nBetter:\n```lean4\ntheorem x : p := by\n  simp\n```\n") == (
        "theorem x : p := by\n  simp"
    )
    assert v2.answer("I have no idea.") is None
    assert template_named("deepseek-prover-v1.5").answer("  simp\n  omega\n```\nDone.") == "  simp\n  omega"
    assert template_named("bfs-prover").answer("  ") is None


def test_long_prompts_drop_other_goals_first() -> None:
    """A tactic acts on the first goal, whose target stands last in it."""
    template = replace(template_named("bfs-prover"), max_prompt_characters=24)
    assert template.render({"goal": "h : a\n⊢ p\n\nh : b\n⊢ q\n\n⊢ r"}) == "h : a\n⊢ p\n\nh : b\n⊢ q:::"
    assert template.render({"goal": f"{'x' * 40}\n⊢ p\n\n⊢ q"}) == f"{'x' * 20}\n⊢ p:::"


def test_faults_name_the_file_and_the_key(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    for text, message in [
        ("prompt = 'x'", "'source' is missing"),
        ("prompt = 'x'\nsource = 's'\nstopp = []", "unknown key 'stopp'"),
        ("prompt = '{{ x'\nsource = 's'", "bad.toml"),
        ("prompt = ", "not TOML"),
        ("prompt = 'x'\nsource = 's'\nstop = ':::'", r"array.*stop"),
        ("prompt = 'x'\nsource = 's'\nanswers = 'Proof'", "answers"),
        ("prompt = 'x'\nsource = 's'\nmax_new_tokens = '256'", "max_new_tokens"),
        ("prompt = 'x'\nsource = 's'\nextract = '(a)(b)'", "2 groups"),
    ]:
        bad.write_text(text)
        with pytest.raises(ValueError, match=message):
            template_named(str(bad))
    bad.write_text("prompt = '{{ nobody }}'\nsource = 's'")
    with pytest.raises(ValueError, match="nobody"):
        template_named(str(bad)).render({"goal": "g"})


def test_a_template_cannot_reach_python(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("prompt = \"{{ ''.__class__.__mro__[1].__subclasses__() }}\"\nsource = 's'")
    with pytest.raises(ValueError):
        template_named(str(bad)).render({"goal": "g"})
