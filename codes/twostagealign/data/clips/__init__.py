"""Clips of pictures."""
