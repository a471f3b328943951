"""What one training step and one restoration are."""

from twostagealign.models.objective import TwoStageObjective
from twostagealign.models.restorer import TwoStageRestorer

__all__ = ["TwoStageObjective", "TwoStageRestorer"]
