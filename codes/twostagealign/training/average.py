"""Running average of the weights."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = tuple[Tensor, ...] | list[Tensor]


class WeightAverage(AveragedModel):
    """Exponential moving average of a model's weights, which forgets its start quickly.

    After n updates the decay is (1 + n) / (10 + n) until that exceeds the wanted one. Otherwise a short training would
    end with much of its first weights.

    Args:
        model: the model; its current weights are the start.
        decay: the wanted decay per update, in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, multi_avg_fn=self._average)
        self.decay = decay

    @property
    def updates(self) -> int:
        """Number of updates so far."""
        return int(self.n_averaged)

    @updates.setter
    def updates(self, count: int) -> None:
        self.n_averaged.fill_(count)

    def _average(self, averaged: Tensors, current: Tensors, updates: Tensor | int) -> None:
        # Not of `updates`, which is a copy on the device: to read it is to wait for the device.
        count = self.updates
        get_ema_multi_avg_fn(min(self.decay, (1 + count) / (10 + count)))(averaged, current, updates)
