"""Whole frames: tiles, their restoration, and the quality of a picture."""
