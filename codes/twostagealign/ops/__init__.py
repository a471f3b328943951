"""Operations that need more than a line of torch."""

from twostagealign.ops.deform_conv import deform_conv2d

__all__ = ["deform_conv2d"]
