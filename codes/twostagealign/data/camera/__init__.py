"""Frames of real cameras."""
