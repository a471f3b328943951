"""Stage one of the alignment: patches of the reference frame are found in the other frames."""

from twostagealign.matching.matcher import FrameMaps, Matcher, Search
from twostagealign.matching.search import SoftMatch, blend_patches, hard_match, score_candidates, soft_match

__all__ = [
    "FrameMaps",
    "Matcher",
    "Search",
    "SoftMatch",
    "blend_patches",
    "hard_match",
    "score_candidates",
    "soft_match",
]
