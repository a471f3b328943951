"""A term of the loss."""

from torch import Tensor

from twostagealign.api.extending import LOSSES, LossInput, LossTerm


@LOSSES.register
class Gradients(LossTerm):
    """Differences between the horizontal gradients of the picture and those of the ground truth.

    Args:
        weight: factor of the term.
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def __call__(self, x: LossInput) -> Tensor:
        """Sum over the batch; training divides by the number of bursts and multiplies by the weight."""
        return (x.prediction - x.target).diff(dim=-1).abs().sum()
