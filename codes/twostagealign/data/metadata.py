"""Metadata of one raw frame: what is known about it, and where each value comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from twostagealign.data.burst import Levels, NoiseLevel
from twostagealign.isp import Camera, CfaOrder

TagValue = str | bytes | tuple[float | Fraction, ...]
"""Value of a TIFF tag. Numbers are tuples, a single one too; rational numbers are fractions, or NaN."""


UNKNOWN_NOISE = NoiseLevel("unknown", 0.0, 0.0)
"""Stands for a noise level that is going to be estimated."""


@dataclass(frozen=True)
class Crop:
    """A rectangle of raw samples, in samples: the row and column where it starts, and its size."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Exposure:
    """Exposure of a frame.

    Attributes:
        seconds: exposure time; None if unknown.
        iso: ISO speed; None if unknown.
        f_number: f-number of the lens; None if unknown.
        baseline: BaselineExposure, EV: how much a raw developer brightens the picture.
    """

    seconds: float | None = None
    iso: float | None = None
    f_number: float | None = None
    baseline: float = 0.0

    def relative_to(self, other: "Exposure") -> float | None:
        """Return how many times brighter this frame recorded the same light; None if a frame does not say it.

        Args:
            other: the frame to compare with.

        Returns:
            Ratio of time * ISO / f-number ** 2. ISO or f-number are left out where neither frame has them.

        Example:
            >>> Exposure(0.04, 100).relative_to(Exposure(0.01, 200))
            2.0
        """
        if self.seconds is None or other.seconds is None:
            return None
        ratio = self.seconds / other.seconds
        for own, others, power in ((self.iso, other.iso, 1), (self.f_number, other.f_number, -2)):
            if own is not None and others is not None:
                ratio *= (own / others) ** power
            elif own is not others:
                return None
        return ratio


@dataclass(frozen=True)
class FrameMetadata:
    """What is known about a raw frame.

    Attributes:
        camera: colours: matrix and white balance, a batch of one.
        noise: noise level, on the scale of `levels`.
        cfa: colours of the upper left 2 x 2 cell of the crop.
        levels: black and white level of the stored samples; None if they are in [0, 1].
        crop: what is used of the stored picture without its masked borders; None: all of it.
        turned: how the picture must be turned to be upright; see `camera.orientation.upright`.
        exposure: exposure.
        captured: local time of the capture, with fractions of a second where the file has them.
        make: maker of the camera, "" if unknown.
        model: model of the camera, "" if unknown.
        lens: name of the lens, "" if unknown.
        exif: EXIF tags to copy to a result, by number, without orientation, position, maker's notes and sizes.
        gps: tags of the position, by number, which a result has only on request.
        colour_tags: tags of a DNG that describe its colours, by number, as they are in the file.
        sources: where each value comes from, in words, by name: "white_balance": "AsShotNeutral".
        warnings: what the reader of a result should know about, one sentence each.
    """

    camera: Camera
    noise: NoiseLevel
    cfa: CfaOrder = "RGGB"
    levels: Levels | None = None
    crop: Crop | None = None
    turned: int = 0
    exposure: Exposure = Exposure()
    captured: datetime | None = None
    make: str = ""
    model: str = ""
    lens: str = ""
    exif: Mapping[int, TagValue] = field(default_factory=dict)
    gps: Mapping[int, TagValue] = field(default_factory=dict)
    colour_tags: Mapping[int, TagValue] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
