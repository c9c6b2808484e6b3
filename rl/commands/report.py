"""Write an HTML page about a run or a batch."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from shlex import quote

import tyro

from prover.errors import UserError


def report(
    run: tyro.conf.Positional[Path],
    other: tyro.conf.Positional[Path | None] = None,
    /,
    *,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Write a self-contained page about a run (curves, calibration, proofs, failures), two runs side by side, or a batch (a gallery).

    Args:
        run: the run's folder, or a batch's results.jsonl.
        other: another run's folder, to compare the two.
        out: the page. Default: RUN/report.html, RUN/compared-with-OTHER.html, or results.html beside the results.
        json: print the page's path, the metrics of each round and the evaluations as one JSON document.
    """
    from prover.files import check_writable, write_whole
    from prover.pages.gallery import gallery
    from prover.solve.ledger import Ledger
    from prover.solve.remarks import duplicates
    from prover.solve.results import batch_results, read_results
    from rl import evaluation_results
    from rl.metrics import rounds

    if other is not None:
        return _compare(run, other, out, json)
    if (results := batch_results(run)) is not None and not (run / "ledger.sqlite").exists():
        target = out or results.with_suffix(".html")
        check_writable(target)
        if target.resolve() == results.resolve():
            raise UserError(f"{target}: is the results file and would be overwritten; name another page with --out")
        asked, rows = read_results(results)
        if not rows:
            raise UserError(
                f"{results}: has no results yet; write them with `turnstile prove … --results {quote(str(results))}`"
            )
        duplicates(rows)
        write_whole(target, gallery(asked, rows).encode())
        print(dumps({"page": str(target)}) if json else target)
        return 0
    from rl.metrics.tracking import print_table
    from rl.run_report import report_page

    if run.is_file():
        raise UserError(f"{run}: not a results file of `turnstile prove`, nor a run's folder")
    if not run.is_dir():
        raise UserError(f"{run}: no such folder; give a run's folder, e.g. runs/demonstration")
    target = out or run / "report.html"
    check_writable(target)
    if target.exists() and target.resolve().is_relative_to(run.resolve()) and target.suffix != ".html":
        raise UserError(f"{target}: is a file of the run and would be overwritten; name another page with --out")
    write_whole(target, report_page(run).encode())
    with Ledger.open(run, readonly=True) as ledger:
        figures, found = rounds.figures(ledger), evaluation_results.results(ledger)
    if json:
        print(dumps({"page": str(target), "rounds": figures, "evaluations": found}))
        return 0
    print_table(rounds.table(figures))
    for test in {dumps(r["test"]): evaluation_results.Test(**r["test"]) for r in found}.values():
        print(f"{test.set}, {test.lean}")
        print_table(evaluation_results.comparison(test, found))
    print(target)
    return 0


def _compare(run: Path, other: Path, out: Path | None, json: bool) -> int:
    from prover.files import check_writable, write_whole
    from rl.metrics.tracking import print_table
    from rl.run_comparison import Run, compare, comparison_page, table

    for folder in (run, other):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; give the folders of two runs, e.g. runs/demonstration")
    target = out or run / f"compared-with-{other.resolve().name}.html"
    check_writable(target)
    if target.exists() and target.suffix != ".html":
        raise UserError(f"{target}: exists and would be overwritten; name another page with --out")
    one, two = Run(run), Run(other)
    if one.name == two.name:
        one.name, two.name = str(run), str(other)
    found = compare(one, two)
    write_whole(target, comparison_page(one, two).encode())
    if json:
        print(dumps({"page": str(target), **found}))
        return 0
    print_table(
        [["setting", one.name, two.name], *([str(x) for x in row] for row in (*found["settings"], *found["versions"]))]
    )
    print_table(table(found))
    print(target)
    return 0
