"""What code outside the package builds on: registries, and the types that they expect. See docs/EXTENDING.md.

These names are public, as those of `twostagealign.__all__` are.
"""

from twostagealign.data import BurstBatch, ClipInMemory, FrameSequence, NoiseLevel, RawFrame, TrainingSet
from twostagealign.data.evaluation_set import EvaluationSet
from twostagealign.data.training_set import fingerprint
from twostagealign.options.registry import DATASETS, EVALUATION_SETS, FEATURES, NETWORKS
from twostagealign.runtime.errors import UserError

__all__ = [
    "DATASETS",
    "EVALUATION_SETS",
    "FEATURES",
    "NETWORKS",
    "BurstBatch",
    "ClipInMemory",
    "EvaluationSet",
    "FrameSequence",
    "NoiseLevel",
    "RawFrame",
    "TrainingSet",
    "UserError",
    "fingerprint",
]
