"""The average of a burst: neighbours brought to the reference frame, and weighed by how well they agree with it."""

from twostagealign.merging.average import UNKNOWN, merge_reference
from twostagealign.merging.displacement import align_to_reference, displace, find_displacements
from twostagealign.merging.equal_noise import equalise_noise

__all__ = ["UNKNOWN", "align_to_reference", "displace", "equalise_noise", "find_displacements", "merge_reference"]
