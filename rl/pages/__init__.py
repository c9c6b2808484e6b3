"""HTML pages about runs, from the templates in this folder. Each is self-contained and readable on a phone.

Statements, proofs and messages are untrusted text, so all of it is escaped.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from prover.pages import templates
from rl.metrics import charts

_TEMPLATES = templates(Path(__file__).parent)


def render(template: str, **values: Any) -> str:
    """A page. `draw` in the template converts a figure to HTML; the first one includes plotly.js."""
    numbers = itertools.count()
    return _TEMPLATES.get_template(template).render(values, draw=lambda figure: charts.to_html(figure, next(numbers)))
