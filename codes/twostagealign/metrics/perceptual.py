"""Metrics of the package pyiqa: learned ones such as LPIPS and DISTS, and ones without a reference such as NIQE."""

import contextlib
import io
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import Tensor

from twostagealign.runtime.errors import UserError


@dataclass(frozen=True)
class Pyiqa:
    """A metric of pyiqa, with the settings of `pyiqa.create_metric(name)`.

    Attributes:
        name: name in pyiqa, such as "lpips".
        needs_target: False for metrics without a reference.

    Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018 (LPIPS);
        Ding et al., "Image Quality Assessment: Unifying Structure and Texture Similarity", TPAMI 2022 (DISTS); Mittal
        et al., "Making a Completely Blind Image Quality Analyzer", SPL 2013 (NIQE), and "No-Reference Image Quality
        Assessment in the Spatial Domain", TIP 2012 (BRISQUE).
    """

    name: str
    needs_target: bool = True

    def __call__(self, image: Tensor, target: Tensor) -> float:
        """Load the metric and measure one picture; see `Metric`."""
        return self.load(image.device)(image, target)

    def load(self, device: torch.device) -> Callable[[Tensor, Tensor], float]:
        """Load the metric.

        Raises:
            UserError: pyiqa is not installed, or its weights are not in PyTorch's cache. Nothing is downloaded.
        """
        try:
            with no_network(), contextlib.redirect_stdout(io.StringIO()):
                import pyiqa

                model = pyiqa.create_metric(self.name, device=device)
        except ImportError as error:
            install = "pip install 'twostagealign[metrics]'"
            raise UserError(f"metric {self.name}: needs the package pyiqa ({error}); {install}") from error
        except Exception as error:  # whatever pyiqa and the packages below it make of a failed download
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise UserError(
                f"metric {self.name}: cannot be loaded without a download ({reason}); fetch its weights once: "
                f"python -c \"import pyiqa; pyiqa.create_metric('{self.name}')\""
            ) from error

        def measure(image: Tensor, target: Tensor) -> float:
            pictures = [picture[None].clamp(0, 1).to(device) for picture in (image, target)]
            try:
                return float(model(*pictures[: 2 if self.needs_target else 1]))
            except (AssertionError, RuntimeError, ValueError) as error:  # such as a picture that is too small
                raise UserError(f"metric {self.name}: {error}") from error

        return measure


@contextlib.contextmanager
def no_network() -> Iterator[None]:
    """Refuse connections that Python code opens, so that a missing file is an error and not a download."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no download")

    with patch.object(socket, "getaddrinfo", refuse), patch.object(socket.socket, "connect", refuse):
        yield
