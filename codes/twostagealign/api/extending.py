"""What code outside the package builds on: registries, and the types that they expect. See docs/EXTENDING.md.

These names are public, as those of `twostagealign.__all__` are.
"""

from twostagealign.data import BurstBatch, ClipInMemory, NoiseLevel, RawFrame, TrainingSet, UniformSequence
from twostagealign.data.evaluation_set import EvaluationSet
from twostagealign.data.training_set import fingerprint
from twostagealign.options.registry import DATASETS, EVALUATION_SETS, FEATURES, METRICS, NETWORKS
from twostagealign.runtime.errors import UserError

__all__ = [
    "DATASETS",
    "EVALUATION_SETS",
    "FEATURES",
    "METRICS",
    "NETWORKS",
    "BurstBatch",
    "ClipInMemory",
    "EvaluationSet",
    "NoiseLevel",
    "RawFrame",
    "TrainingSet",
    "UniformSequence",
    "UserError",
    "fingerprint",
]
