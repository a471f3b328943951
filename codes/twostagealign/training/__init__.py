"""Training: the loop, and what belongs to it."""
