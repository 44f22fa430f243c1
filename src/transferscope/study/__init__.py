"""The study: its file, the steps it stands for, and the pairs of weights that analyses compare."""

from transferscope.study.steps import SEARCH_SEED, Study

__all__ = ["SEARCH_SEED", "Study"]
