"""metrics.json: what a restoration read, chose, wrote and measured.

The classes below are the schema; docs/metrics.schema.json is made from them by

    python -m twostagealign.restoration.metrics_file > docs/metrics.schema.json
"""

import json
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

from twostagealign.data.camera.dng_file import DngLayout
from twostagealign.data.metadata import FrameMetadata
from twostagealign.data.picture_files import PictureFormat
from twostagealign.isp import CfaOrder, Tone
from twostagealign.restoration.outputs import Brightness

_Gain = Annotated[float, Field(gt=0)]
_Row = tuple[float, float, float]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Noise(_Part):
    """Noise on the [0, 1] scale: variance = shot * signal + read ** 2."""

    shot: float = Field(ge=0, description="variance per unit of signal")
    read: float = Field(ge=0, description="standard deviation")


class Sizes(_Part):
    """Sizes of tiles and of the search, raw pixels; see --help."""

    patch: int
    halo: int
    batch: int | None
    group: int
    overlap: int
    search_window: int
    block_matching: bool
    inclusive_search: bool


class Stages(_Part):
    """Time of each stage, seconds."""

    examining: float = Field(description="reading metadata and samples: saturation, noise, defects, reference frame")
    loading: float = Field(description="reading the weights")
    reading: float = Field(description="waiting for frames that were not in memory")
    matching: float = Field(description="describing patches, and searching them in the other frames")
    network: float
    rendering: float = Field(description="from tiles to a picture: putting them together, tone, blending")
    writing: float


class _Metrics(_Part):
    checkpoint: str = Field(description="file of the weights")
    dtype: str = Field(description="of the network's convolutions")
    window: int = Field(description="number of frames that each picture is restored from")
    tiling: Sizes
    seconds: float = Field(description="time of restoring and writing")
    stages: Stages


class Quality(_Part):
    """Agreement with the ground truth."""

    psnr: float = Field(description="PSNR, dB")
    ssim: float = Field(description="SSIM")


class MeasuredFrame(Quality):
    """A restored frame of a clip."""

    name: str


class SimulatedMetrics(_Metrics):
    """metrics.json of a clip of ordinary pictures that was degraded and restored."""

    frames: list[MeasuredFrame]
    mean: Quality
    noise: str = Field(description="noise level of the test protocol")


class WhiteBalance(_Part):
    """Gains over green."""

    red: _Gain
    blue: _Gain


class Crop(_Part):
    """What is used of the stored picture, raw samples."""

    top: int
    left: int
    height: int
    width: int


class Exposure(_Part):
    """Exposure of a frame; null where its file does not say it."""

    seconds: float | None
    iso: float | None
    f_number: float | None
    baseline: float = Field(description="BaselineExposure, EV")


class InputFrame(_Part):
    """What was read of a frame."""

    name: str
    camera: str = Field(description="maker and model, empty if unknown")
    lens: str = Field(description="empty if unknown")
    captured: str | None = Field(description="local time of the capture, ISO 8601")
    exposure: Exposure
    cfa: CfaOrder = Field(description="colours of the upper left 2 x 2 samples of the crop")
    crop: Crop | None = Field(description="null: the whole picture")
    turned: int = Field(description="1: columns are mirrored, 2: rows, 4: then, rows and columns are exchanged; added")
    black_level: tuple[float, float, float, float] | None = Field(description="of R, G in red rows, G in blue rows, B")
    white_level: float | None
    white_balance: WhiteBalance
    rgb2cam: tuple[_Row, _Row, _Row] = Field(description="linear sRGB -> white-balanced camera RGB")
    noise: Noise
    sources: dict[str, str] = Field(description="where values come from, by name")
    warnings: list[str]


class RestoredFrame(_Part):
    """A restored frame of a raw burst."""

    name: str
    window: list[str] = Field(description="names of the frames that it was restored from; it is the middle one")
    gains: list[float] = Field(description="factors that brought these frames to the exposure of the middle one")
    files: list[str] = Field(description="names of the files that were written")
    tone: Tone = Field(description="tone curve of the rendered picture")
    exposure_correction: float = Field(description="of the rendered picture, EV, BaselineExposure included")


class Files(_Part):
    """Files that were asked for; see --help."""

    format: PictureFormat
    brightness: Brightness
    tone: Tone | None = Field(description="null: the default")
    linear: bool
    dng: DngLayout | None
    keep_position: bool
    strength: float = Field(default=1.0, ge=0, le=1, description="share of the restored picture in the blend")


class RawMetrics(_Metrics):
    """metrics.json of a raw burst."""

    frames: list[RestoredFrame]
    inputs: list[InputFrame] = Field(description="every frame that was used, in order")
    outputs: Files
    defects: int = Field(ge=0, description="number of defective samples of the sensor that were replaced")
    warnings: list[str] = Field(description="what was warned about, in the order in which it was printed")


class Metrics(RootModel[SimulatedMetrics | RawMetrics]):
    """Content of metrics.json."""


def describe_input(name: str, metadata: FrameMetadata) -> dict[str, Any]:
    """Describe a frame as metrics.json does."""
    camera, levels = metadata.camera, metadata.levels
    return {
        "name": name,
        "camera": f"{metadata.make} {metadata.model}".strip(),
        "lens": metadata.lens,
        "captured": metadata.captured.isoformat() if metadata.captured else None,
        "exposure": asdict(metadata.exposure),
        "cfa": metadata.cfa,
        "crop": asdict(metadata.crop) if metadata.crop else None,
        "turned": metadata.turned,
        "black_level": list(levels.black) if levels else None,
        "white_level": levels.white if levels else None,
        "white_balance": {"red": camera.red_gain.item(), "blue": camera.blue_gain.item()},
        "rgb2cam": camera.rgb2cam[0].tolist(),
        "noise": {"shot": metadata.noise.shot, "read": metadata.noise.read},
        "sources": dict(metadata.sources),
        "warnings": list(metadata.warnings),
    }


if __name__ == "__main__":
    print(json.dumps(Metrics.model_json_schema(), indent=2))
