"""AlphaZero-style proof search over an AND-OR graph of goals. Imports neither Ray nor torch."""

from prover.search.budget import Budget
from prover.search.config import SearchConfig
from prover.search.examples import Example
from prover.search.expansion import Environment
from prover.search.extract import proof_tree, to_script
from prover.search.interleave import search_both
from prover.search.minimise import minimise
from prover.search.script import checked_script, checker
from prover.search.search import Search
from prover.search.select import RULES
from prover.search.stats import SearchResult, SearchStats

__all__ = [
    "RULES",
    "Budget",
    "Environment",
    "Example",
    "Search",
    "SearchConfig",
    "SearchResult",
    "SearchStats",
    "checked_script",
    "checker",
    "minimise",
    "proof_tree",
    "search_both",
    "to_script",
]
