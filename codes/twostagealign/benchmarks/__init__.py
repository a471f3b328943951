"""How fast the parts of the program are. A suite is a function that yields measurements; `SUITES` names them."""

from .data import benchmark_data
from .measurement import Measurement, environment

SUITES = {"data": benchmark_data}

__all__ = ["SUITES", "Measurement", "benchmark_data", "environment"]
