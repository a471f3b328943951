"""Direct implementation: the algorithm as described, step by step, with operations of PyTorch and torchvision.

The speed of the package is measured against it. `tests/test_baselines.py` checks that both give the same results.
"""

from baselines.frame import restore_directly
from baselines.matching import match_directly
from baselines.network import DirectNetwork

__all__ = ["DirectNetwork", "match_directly", "restore_directly"]
