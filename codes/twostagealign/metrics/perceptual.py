"""Metrics of the package pyiqa: learned ones such as LPIPS and DISTS, and ones without a reference such as NIQE."""

import contextlib
import io
import re
import socket
import sys
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
            UserError: pyiqa is not installed, or a file of the metric is missing. Nothing is downloaded.
        """
        said = io.StringIO()
        try:
            with no_network(), contextlib.redirect_stdout(said):
                import pyiqa
        except ImportError as error:
            install = "pip install 'twostagealign[metrics]'"
            raise UserError(f"metric {self.name}: needs the package pyiqa ({error}); {install}") from error
        try:
            with no_network(), contextlib.redirect_stdout(said):
                model = pyiqa.create_metric(self.name, device=device)
        except Exception as error:  # whatever pyiqa and the packages below it make of a failed download
            fetch = f"python -c \"import pyiqa; pyiqa.create_metric('{self.name}')\""
            if missing := re.search(r'Downloading: "(.+)" to (.+)', said.getvalue()):
                file, place = missing.groups()
                raise UserError(
                    f"metric {self.name}: needs {file} as {place}; put it there, or fetch all its files once: {fetch}"
                ) from error
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise UserError(
                f"metric {self.name}: cannot be loaded ({reason}); if files are missing, fetch them once: {fetch}"
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

    with contextlib.ExitStack() as stack:
        stack.enter_context(patch.object(socket, "getaddrinfo", refuse))
        stack.enter_context(patch.object(socket.socket, "connect", refuse))
        if "huggingface_hub" in sys.modules:  # it would try again for a minute
            stack.enter_context(patch("huggingface_hub.constants.HF_HUB_OFFLINE", True))
        yield
