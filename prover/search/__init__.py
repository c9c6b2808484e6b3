"""AlphaZero-style proof search over an AND-OR graph of goals. Knows neither Ray nor torch."""

from prover.search.attempts import Environment
from prover.search.both import search_both
from prover.search.budget import Budget
from prover.search.config import SearchConfig
from prover.search.examples import Example
from prover.search.extract import proof_tree, to_script, to_source
from prover.search.minimise import minimise
from prover.search.search import Search
from prover.search.select import RULES
from prover.search.stats import SearchResult, SearchStats
from prover.search.tree_page import tree_page
from prover.search.written import checker, written

__all__ = [
    "RULES",
    "Budget",
    "Environment",
    "Example",
    "Search",
    "SearchConfig",
    "SearchResult",
    "SearchStats",
    "checker",
    "minimise",
    "proof_tree",
    "search_both",
    "to_script",
    "to_source",
    "tree_page",
    "written",
]
