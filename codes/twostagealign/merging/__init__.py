"""The average of a burst: neighbours brought to the reference frame, and weighed by how well they agree with it."""

from twostagealign.merging.average import merge_reference
from twostagealign.merging.displacement import align_to_reference, displace, find_displacements

__all__ = ["align_to_reference", "displace", "find_displacements", "merge_reference"]
