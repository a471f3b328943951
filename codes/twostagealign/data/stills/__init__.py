"""Bursts out of still pictures."""
