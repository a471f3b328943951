"""Training losses as pure functions."""

from .charbonnier import charbonnier
from .edges import edge_map
from .matching import match_supervision, one_hot_pull

__all__ = ["charbonnier", "edge_map", "match_supervision", "one_hot_pull"]
