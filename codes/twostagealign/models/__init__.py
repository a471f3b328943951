"""What one training step and one restoration are."""

from twostagealign.models.objective import TwoStageObjective
from twostagealign.models.restorer import TwoStageRestorer, grey

__all__ = ["TwoStageObjective", "TwoStageRestorer", "grey"]
