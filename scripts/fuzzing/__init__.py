"""A fuzzer of everything that the programs read; `scripts/fuzz.py` runs it."""
