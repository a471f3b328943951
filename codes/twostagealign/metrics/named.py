"""Metrics that are chosen by name: what they are, getting them ready, measuring with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

_ACRONYMS = ("psnr", "ssim", "lpips", "dists", "niqe", "brisque")


def display_name(metric: str) -> str:
    """Name of a metric in tables and logs. Of a dotted name, it is the last part."""
    return metric.upper() if metric in _ACRONYMS else metric.rpartition(".")[2]


class Metric(Protocol):
    """A function of a picture and its ground truth; any callable is one.

    Attributes:
        needs_target: whether it compares with the ground truth. A metric without this attribute does.
        load: makes a metric ready, `load(device)`, and returns what is called then, for metrics that have such a
            method. It raises `UserError` if that is not possible.
    """

    def __call__(self, image: Tensor, target: Tensor, /) -> float:
        """Measure a picture.

        Args:
            image: developed picture without tone curve, sRGB, (3, H, W), in [0, 1], float32.
            target: developed ground truth, the same shape. It is `image` itself where no ground truth is known and the
                metric does not need one.
        """
        ...


@dataclass(frozen=True)
class NamedMetric:
    """A metric that is ready.

    Attributes:
        name: name in options and results.
        compute: the metric.
        needs_target: whether it compares with the ground truth.
    """

    name: str
    compute: Metric
    needs_target: bool = True

    def measure(self, image: Tensor, target: Tensor | None) -> float | None:
        """Measure a picture; see `Metric`. None without a ground truth, if it needs one."""
        if target is None and self.needs_target:
            return None
        return float(self.compute(image, image if target is None else target))


def load_metrics(metrics: Mapping[str, Metric], device: torch.device) -> list[NamedMetric]:
    """Make metrics ready.

    Args:
        metrics: name -> metric.
        device: device that large ones compute on.

    Raises:
        UserError: a package or weights are missing. Nothing is downloaded.
    """
    ready = []
    for name, metric in metrics.items():
        compute = metric.load(device) if hasattr(metric, "load") else metric
        ready.append(NamedMetric(name, cast(Metric, compute), getattr(metric, "needs_target", True)))
    return ready
