"""The report page and table of a run, from real ledgers; hostile text in a ledger stays text."""

from __future__ import annotations

import re
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import pytest

from prover.errors import UserError
from prover.lean.server import Limits
from prover.lean.theorem import Theorem
from prover.solve.ledger import Attempt, Ledger
from rl import candidate as rl_candidate
from rl import config, evaluation_results
from rl.metrics import rounds
from rl.run_report import report_page
from tests.cli.conftest import turnstile

__all__ = ["turnstile"]

HOSTILE = "</script><img src=x onerror=alert(1)><b>bold</b>"


def attempt(phase: str, name: str, outcome: str, script: str | None = None, calls: int = 5, **more) -> Attempt:
    theorem = Theorem(name, "(p : Prop) : p → p" + HOSTILE, source="A.lean:3")
    solved = calls if outcome == "proved" else None
    return Attempt(phase, theorem, outcome, 10, solved, 1.0, script, lean="Lean 4 (test)", **more)


@pytest.fixture
def run(tmp_path) -> Path:
    """Three rounds, measured against two baselines: entropy collapses in the last."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for r in (1, 2, 3):
        values = [[0.9, 1], [0.6, 4], [0.3, None]]
        stats = {"steps": r, "entropy": 1.5 if r < 3 else 0.01, "values": values}
        for i in range(6):
            proved = i < 1 + r
            script = f"tac{i}; " * r if proved else None
            ledger.record(attempt(f"round {r}", f"t{i}", "proved" if proved else "budget", script, 2 * r, stats=stats))
        ledger.record(attempt(f"round {r}", f"{HOSTILE}{r}", "rejected", HOSTILE, reason="axiom: " + HOSTILE))
        ledger.measure(f"round {r}", {"policy_loss": 4.0 - r, "reward/progress": 0.1 * r, "accuracy": float("nan")})
    for policy, solved in (("portfolio", {"h0"}), ("explorer", {"h0", "h1"}), ("model", {"h1", "h2"})):
        for name in ("h0", "h1", "h2", "h3"):
            outcome = "proved" if name in solved else "budget"
            ledger.record(attempt(f"held-out {policy}", name, outcome, f"by_{policy}" if name in solved else None))
    ledger.close()
    return tmp_path


class Page(HTMLParser):
    """Tags with attributes, and the text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, tag):
        self._in = ""

    def handle_data(self, data):
        if self._in not in ("script", "style"):
            self.text += data


def test_the_page_is_self_contained_and_hostile_text_stays_text(run):
    text = report_page(run)
    page = Page(text)
    names = [t for t, _ in page.tags]
    assert "img" not in names and "link" not in names and "iframe" not in names
    assert not any("src" in attrs or any(a.startswith("on") for a in attrs) for _, attrs in page.tags)
    assert ("meta", {"name": "viewport", "content": "width=device-width,initial-scale=1"}) in page.tags
    assert HOSTILE in page.text  # shown, as what it is
    assert text.count("plotly.js v") == 1, "plotly.js is there once"


def test_the_page_shows_curves_calibration_alerts_proofs_and_failures(run):
    page = Page(report_page(run)).text
    for heading in (
        "Solved by Lean calls",
        "Over the rounds",
        "Entropy of the policy, nats",
        "Reliability",
        "Rewards",
        "Error by tactics to go",
        "Held-out theorems that only the trained prover solved",
        "Phases",
        "Rejected by the audit: 3",
        "Solved by a baseline but not by the trained prover (the baseline's proof): 2",
    ):
        assert heading in page, heading
    assert "The policy's entropy collapses." in page and "Round 3: the policy's entropy is 0.01 nats" in page
    only = page.split("Held-out theorems that only the trained prover solved")[1].split("Longest, in tactics")[0]
    assert "h2" in only and "h1" not in only and "by_model" in only
    lost = page.split("the baseline's proof): 2")[1].split("audited proofs")[0]
    assert "by_portfolio" in lost and "by_explorer" in lost and "by_model" not in lost


def test_figures_of_the_rounds_are_what_the_ledger_says(run):
    found = rounds.figures(Ledger.open(run, readonly=True))
    assert list(found) == [1, 2, 3]
    assert [found[r]["proofs/new"] for r in found] == [2, 1, 1] and found[2]["proofs/known"] == 2
    assert found[2]["solve/train/all/rate"] == pytest.approx(3 / 7) and found[2]["learner/policy_loss"] == 2.0
    assert "learner/accuracy" not in found[1]  # not a number is nothing known
    history = rounds.history(found)
    assert [(h.solved, h.attempted, h.rejected, h.judged) for h in history] == [
        (2, 7, 1, 3),
        (3, 7, 1, 4),
        (4, 7, 1, 5),
    ]
    assert history[1].rewards == {"progress": pytest.approx(0.2)} and history[2].entropy == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("phase", "number", "split"),
    [
        ("round 3", 3, "train"),
        ("validation round 12", 12, "validation"),
        ("held-out model round 2", 2, "held-out"),
        ("held-out model", None, "held-out"),
        ("eval x, 3 calls, seed 0, abc", None, "eval"),
    ],
)
def test_phases(phase, number, split):
    assert rounds.round_of(phase) == number and rounds.split_of_phase(phase) == split


def test_alerts_look_at_the_same_theorems_where_there_are_such_figures(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for r in (1, 2):
        ledger.record(attempt(f"round {r}", "t", "proved", "x"))
        for i in range(4):
            ledger.record(
                attempt(f"validation round {r}", f"v{i}", "proved" if i < r else "budget", "x" if i < r else None)
            )
    history = rounds.history(rounds.figures(ledger))
    assert [(h.solved, h.attempted) for h in history] == [(1, 4), (2, 4)]


def test_an_empty_run_has_a_page_too(tmp_path):
    Ledger(tmp_path / "ledger.sqlite").close()
    assert "0 theorems proved and audited in 0 attempts" in report_page(tmp_path)
    with pytest.raises(UserError, match="no ledger here"):
        report_page(tmp_path / "nowhere")


def test_the_command_writes_the_page_and_prints_a_table(run, turnstile):
    done = turnstile("report", run)
    assert done.code == 0, done.err
    assert done.out.strip().splitlines()[-1] == str(run / "report.html")
    row = next(line for line in done.out.splitlines() if re.match(r"\W*3\W", line))
    assert "57.1 [25, 84]" in row and "0.01" in row
    assert (run / "report.html").read_text(encoding="utf-8") == report_page(run)


def test_the_command_as_json_and_elsewhere(run, turnstile):
    found = turnstile("report", run, "--json", "--out", run / "page.html").document
    assert found["page"] == str(run / "page.html") and (run / "page.html").exists()
    assert found["rounds"]["3"]["model/entropy"] == pytest.approx(0.01) and found["evaluations"] == []


def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, run, turnstile):
    (tmp_path / "empty").mkdir()
    for args, message in (
        ((tmp_path / "nowhere",), "no such folder"),
        ((tmp_path / "empty",), "no ledger here"),
        ((run, "--out", tmp_path / "no" / "page.html"), "does not exist"),
    ):
        done = turnstile("report", *args)
        assert done.code == 2 and message in done.err, done.err
        assert len(done.err.strip().splitlines()) == 1 and done.out == ""
    assert list((tmp_path / "empty").iterdir()) == [] and not (run / "report.html").exists()


def trained(folder: Path, solved: set[str], *settings: str) -> Path:
    """A run folder with a configuration, versions, and the trained prover's attempts at h0 … h9."""
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(config.dump(config.override(config.RunConfig(), settings)))
    ledger = Ledger(folder / "ledger.sqlite")
    ledger.set("versions", {"lean": "Lean 4 (test)", "turnstile": f"1.{len(settings)}"})
    ledger.set("changes", ["learn.rounds: 2 → 3" + HOSTILE])
    for n in range(10):
        outcome = "proved" if f"h{n}" in solved else "budget"
        ledger.record(
            attempt("held-out model", f"h{n}", outcome, "tac" if outcome == "proved" else None, stats={"steps": 1})
        )
    for r in (1, 2):
        ledger.record(attempt(f"round {r}", "t0", "proved", "tac", stats={"steps": 1}))
    ledger.close()
    return folder


def test_the_report_says_configuration_seed_versions_and_changes(tmp_path):
    page = Page(report_page(trained(tmp_path / "a", set(), "seed=77", "learn.calls=13")))
    for text in ("seed77", "turnstile1.2", "leanLean 4 (test)", "calls = 13", "learn.rounds: 2 → 3" + HOSTILE):
        assert text in page.text, text


def test_two_runs_are_compared(tmp_path, turnstile):
    one = trained(tmp_path / "one/x", {"h0", "h1"}, "seed=1")
    other = trained(
        tmp_path / "two/x", {f"h{n}" for n in range(1, 9)}, "seed=1", "learn.calls=13", 'serve.template="<b>"'
    )
    done = turnstile("report", one, other, "--json")
    assert done.code == 0, done.err
    found = done.document
    assert found["settings"] == [["learn.calls", 16, 13], ["serve.template", "", "<b>"]]
    assert found["versions"] == [["turnstile", "1.1", "1.3"]]
    trained_prover = found["held_out"]["trained"]
    assert (trained_prover["theorems"], trained_prover["only"]) == (10, [1, 7]) and trained_prover["p"] == 0.0703
    assert trained_prover["only_names"][0] == ["h0"] and trained_prover["curves"][1]["8"] == 8
    page = Page(Path(found["page"]).read_text())
    assert found["page"].startswith(str(one)) and "h0" in page.text and "learn.calls1613" in page.text
    assert not {"img", "b"} & {tag for tag, _ in page.tags}
    shown = turnstile("report", one, other).out
    assert "learn.calls" in shown and "80.0 [49, 94]" in shown


@pytest.mark.parametrize("rollouts", [0, 2])
def test_the_report_shows_the_runs_evaluations(run: Path, turnstile, rollouts: int):
    theorem, prover = Theorem("held", ": True"), rl_candidate.candidate("explorer")
    test = evaluation_results.make_test("a set", [theorem], 4, Limits(), "Lean", rollouts=rollouts)
    ledger = Ledger(run / "ledger.sqlite")
    ledger.set(
        f"eval {evaluation_results.key_of(test, prover)}", {"test": asdict(test), "prover": {"name": "the explorer"}}
    )
    ledger.record(
        Attempt(
            evaluation_results.phase_of(test, prover, 0), theorem, "proved", 4, 3, 0.1, "trivial", stats={"correct": 1}
        )
    )
    ledger.close()
    shown, written = turnstile("report", run), turnstile("report", run, "--json")
    assert shown.code == written.code == 0, shown.err + written.err
    assert "a set, Lean\n" in shown.out and "the explorer" in shown.out and ("pass@k" in shown.out) == bool(rollouts)
    assert written.document["evaluations"][0]["test"] == asdict(test)
    assert "the explorer on a set" in (run / "report.html").read_text()


def test_a_folder_that_is_no_training_run_cannot_be_compared(run, tmp_path, turnstile):
    one = trained(tmp_path / "one", set())
    for other, message in ((run, "no config.toml"), (tmp_path / "none", "no such folder")):
        done = turnstile("report", one, other)
        assert done.code == 2 and message in done.err and len(done.err.splitlines()) == 1
    assert not list(tmp_path.glob("**/compared*"))
