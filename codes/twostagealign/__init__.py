"""Burst denoising and demosaicking with two-stage alignment (Guo et al., CVPR 2022)."""

__version__ = "0.1.0"
