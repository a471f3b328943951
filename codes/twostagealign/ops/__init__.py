"""Deformable convolution for CPU and GPU."""

from twostagealign.ops.deform_conv import deform_conv2d

__all__ = ["deform_conv2d"]
