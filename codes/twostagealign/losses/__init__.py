"""Training losses as pure functions."""

from twostagealign.losses.charbonnier import charbonnier
from twostagealign.losses.edges import edge_map
from twostagealign.losses.matching import match_supervision, one_hot_pull

__all__ = ["charbonnier", "edge_map", "match_supervision", "one_hot_pull"]
