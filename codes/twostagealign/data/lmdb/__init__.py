"""Clips in LMDBs."""
