"""The direct way: the algorithm as it is described, step by step, with what PyTorch and torchvision offer.

It is what the package's speed is measured against. `tests/test_baselines.py` shows that both give the same results.
"""

from baselines.frame import restore_directly
from baselines.matching import match_directly
from baselines.network import DirectNetwork

__all__ = ["DirectNetwork", "match_directly", "restore_directly"]
