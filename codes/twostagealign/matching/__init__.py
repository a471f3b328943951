"""Stage one of the alignment: patches of the reference frame are found in the other frames."""

from twostagealign.matching.block_matching import (
    SoftMatch,
    blend_patches,
    hard_match,
    score_candidates,
    soft_match,
)

__all__ = ["SoftMatch", "blend_patches", "hard_match", "score_candidates", "soft_match"]
