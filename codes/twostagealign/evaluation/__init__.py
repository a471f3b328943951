"""Evaluation of checkpoints on the test sets: jobs, results, reports."""
