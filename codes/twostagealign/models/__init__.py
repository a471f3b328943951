"""What one training step and one restoration are."""

from twostagealign.models.objective import Objective
from twostagealign.models.restorer import TwoStageRestorer

__all__ = ["Objective", "TwoStageRestorer"]
