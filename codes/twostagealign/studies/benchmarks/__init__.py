"""Benchmarks of speed and memory. A suite is a function that yields measurements one by one.

Suites that compare with the direct implementation (`scripts/baselines`) get it from the caller.
"""

from twostagealign.studies.benchmarks.busy import benchmark_busy
from twostagealign.studies.benchmarks.clip import benchmark_clip
from twostagealign.studies.benchmarks.data import benchmark_data
from twostagealign.studies.benchmarks.dcn import benchmark_dcn
from twostagealign.studies.benchmarks.frame import benchmark_frame
from twostagealign.studies.benchmarks.growth import benchmark_growth
from twostagealign.studies.benchmarks.matching import benchmark_matching
from twostagealign.studies.benchmarks.measurement import Measurement
from twostagealign.studies.benchmarks.memory import benchmark_memory
from twostagealign.studies.benchmarks.network import benchmark_network
from twostagealign.studies.benchmarks.precision import benchmark_precision
from twostagealign.studies.benchmarks.raw import benchmark_raw

__all__ = [
    "Measurement",
    "benchmark_busy",
    "benchmark_clip",
    "benchmark_data",
    "benchmark_dcn",
    "benchmark_frame",
    "benchmark_growth",
    "benchmark_matching",
    "benchmark_memory",
    "benchmark_network",
    "benchmark_precision",
    "benchmark_raw",
]
