"""Training losses: pure functions of tensors, and the terms that option files name."""

from twostagealign.losses.charbonnier import charbonnier
from twostagealign.losses.edges import edge_map
from twostagealign.losses.matching import match_supervision, one_hot_pull
from twostagealign.losses.term import Extra, LossInput, LossTerm
from twostagealign.losses.terms import Charbonnier, Interpolation, MatchSupervision, OneHot, PerFrame

__all__ = [
    "Charbonnier",
    "Extra",
    "Interpolation",
    "LossInput",
    "LossTerm",
    "MatchSupervision",
    "OneHot",
    "PerFrame",
    "charbonnier",
    "edge_map",
    "match_supervision",
    "one_hot_pull",
]
