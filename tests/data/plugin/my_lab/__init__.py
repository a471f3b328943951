"""Someone else's package: a network, data sets, a loss and a metric for twostagealign."""

from my_lab import data, losses, metrics, nets

__all__ = ["data", "losses", "metrics", "nets"]
