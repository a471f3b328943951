"""What code outside the package builds on: registries, and the types that they expect. See docs/EXTENDING.md.

These names are public, as those of `twostagealign.__all__` are.
"""

from twostagealign.data import BurstBatch, ClipInMemory, NoiseLevel, RawFrame, TrainingSet, UniformSequence
from twostagealign.data.evaluation_set import EvaluationSet
from twostagealign.data.training_set import fingerprint
from twostagealign.losses import LossInput, LossTerm
from twostagealign.metrics import Pyiqa
from twostagealign.options.registry import DATASETS, EVALUATION_SETS, FEATURES, LOSSES, METRICS, NETWORKS
from twostagealign.runtime.errors import UserError

__all__ = [
    "DATASETS",
    "EVALUATION_SETS",
    "FEATURES",
    "LOSSES",
    "METRICS",
    "NETWORKS",
    "BurstBatch",
    "ClipInMemory",
    "EvaluationSet",
    "LossInput",
    "LossTerm",
    "NoiseLevel",
    "Pyiqa",
    "RawFrame",
    "TrainingSet",
    "UniformSequence",
    "UserError",
    "fingerprint",
]
