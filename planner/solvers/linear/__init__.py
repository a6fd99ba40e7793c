"""Linear and mixed-integer programmes: built with arrays, modelled by PuLP, solved by HiGHS or CBC."""

from planner.solvers.linear.blame import Blame, blame, no_answer
from planner.solvers.linear.builder import Builder, Term
from planner.solvers.linear.lp_file import write_lp
from planner.solvers.linear.programme import Programme
from planner.solvers.linear.solution import Solution
from planner.solvers.linear.solve import BACK_ENDS, BackEnd, solve

__all__ = [
    "BACK_ENDS",
    "BackEnd",
    "Blame",
    "Builder",
    "Programme",
    "Solution",
    "Term",
    "blame",
    "no_answer",
    "solve",
    "write_lp",
]
