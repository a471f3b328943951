"""Results of an evaluation, as written to results.json.

The classes below are the schema; docs/results.schema.json is made from them by

    python -m twostagealign.evaluation.results > docs/results.schema.json

A change that could break a reader of the file raises `SCHEMA_VERSION`.
"""

import json
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from twostagealign.runtime.files import read_regular, write_atomically
from twostagealign.runtime.validation import schema_error

SCHEMA_VERSION = 1

Metric = Literal["psnr", "ssim", "lpips"]
METRICS: tuple[Metric, ...] = get_args(Metric)
PARTS = ("all", "center", "border")


# Far beyond what is measured, but sums of such numbers are finite.
_Measure = Annotated[float, Field(ge=-1000, le=1000)]
_Seconds = Annotated[float, Field(ge=0, le=1e9)]
_Bytes = Annotated[int, Field(ge=0, lt=2**63)]
_Index = Annotated[int, Field(ge=0, lt=2**31)]
_Pixels = Annotated[int, Field(gt=-(2**31), lt=2**31)]


class Record(BaseModel):
    """Base of all parts of results.json: exactly these fields, numbers finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Measures(Record):
    """Agreement with the ground truth; null where there is none."""

    psnr: _Measure | None = Field(description="PSNR, dB")
    ssim: _Measure | None = Field(description="SSIM")
    lpips: _Measure | None = Field(description="LPIPS; null also where its package or weights are not installed")


class Seconds(Record):
    """Time that one frame took."""

    matching: _Seconds = Field(description="low-resolution features and block matching")
    network: _Seconds = Field(description="the network, all tiles")
    stitching: _Seconds = Field(description="from tiles to the whole picture")


class Memory(Record):
    """Largest use of memory so far, bytes."""

    resident: _Bytes = Field(description="of the process")
    device: _Bytes | None = Field(description="of the GPU, as allocated by PyTorch; null on the CPU")


class Pictures(Record):
    """Files with what there is to see of a frame, relative to the folder of results.json.

    The pictures are 8-bit sRGB with the tone curve, of the size of the frame.
    """

    noisy: str = Field(description="the noisy reference frame, demosaicked")
    restored: str
    truth: str | None = Field(description="ground truth; null where there is none")
    residual: str | None = Field(description="restored minus ground truth in sRGB, times 4, about mid-grey")
    shifts: str = Field(description="JSON of `Shifts`: where the tiles were found in the other frames")


class Shifts(Record):
    """Content of a file of matched shifts; all lengths in raw pixels, all pairs [y, x]."""

    size: tuple[_Pixels, _Pixels] = Field(description="height and width of the raw planes")
    patch: _Pixels = Field(description="side of a tile")
    window: list[str] = Field(description="names of the frames of the burst; the reference is in the middle")
    origins: list[tuple[_Pixels, _Pixels]] = Field(
        min_length=1, description="top left corner of every tile in the reference frame"
    )
    shifts: list[list[tuple[_Pixels, _Pixels]]] = Field(
        description="displacement of every tile in every frame of the burst"
    )

    @model_validator(mode="after")
    def _complete(self) -> "Shifts":
        if len(self.shifts) != len(self.origins) or any(len(tile) != len(self.window) for tile in self.shifts):
            raise ValueError("shifts: not one for every tile and frame")
        return self


class FrameResult(Measures):
    """One restored frame."""

    clip: str
    frame: str = Field(description="name of the reference frame")
    index: _Index = Field(description="of the reference frame in its clip, from 0")
    part: Literal["center", "border"] = Field(description="border: among the first or last N // 2 frames of the clip")
    window: list[str] = Field(description="names of the frames of the burst")
    seconds: Seconds
    memory: Memory
    pictures: Pictures | None = Field(description="null where none were asked for")


class Mean(Measures):
    """Means over frames."""

    frames: int = Field(description="how many; 0: the means are null")


class Summary(Record):
    """Means over a clip, or over all clips."""

    clip: str | None = Field(description="null: the mean over clips of the clips' means")
    all: Mean
    center: Mean = Field(description="all frames but the first and the last N // 2")
    border: Mean


class Run(Record):
    """One checkpoint at one noise level."""

    checkpoint: str = Field(description="label of an entry of `checkpoints`")
    noise: str = Field(description="name of the level")
    shot: float | None = Field(description="variance per unit of signal; null where each clip has noise of its own")
    read: float | None = Field(description="standard deviation; null where each clip has noise of its own")
    paper_psnr: float | None = Field(description="dB; null where the paper has no figure for this")
    mean: Summary
    clips: list[Summary]
    frames: list[FrameResult]


class Checkpoint(Record):
    """The networks that were evaluated."""

    label: str = Field(description="name in tables and folders")
    file: str
    sha256: str = Field(description="of the file, and of the file of the feature net after a '+' where there is one")
    network: str = Field(description="class of the network")
    parameters: int = Field(description="of the network")
    feature_parameters: int = Field(description="of the feature net")
    tile_gflop: float | None = Field(
        description="floating-point operations of the network for one tile, 1e9, counted by torch.utils.flop_counter "
        "(multiplications and additions of convolutions and matrix products); null where they cannot be"
    )


class Comparison(Record):
    """How much better a checkpoint is than the first one, on the same noise."""

    noise: str
    metric: Metric
    baseline: str = Field(description="label of a checkpoint")
    candidate: str = Field(description="label of a checkpoint")
    difference: float = Field(description="candidate minus baseline, mean over clips")
    low: float = Field(description="lower end of the confidence interval")
    high: float = Field(description="upper end of the confidence interval")
    confidence: float = Field(description="of the interval, such as 0.95")
    frames: int = Field(description="pairs compared")


class Skipped(Record):
    """What could not be evaluated and was left out with --skip-bad."""

    clip: str
    frame: str | None = Field(description="null: the whole clip")
    reason: str


class Environment(Record):
    """What it was computed with."""

    python: str
    torch: str
    device: str
    ranks: int = Field(description="processes")
    threads: int = Field(description="threads of each process")


class Results(Record):
    """Content of results.json."""

    schema_version: Literal[1]
    dataset: str
    data: str = Field(description="folder of the data set")
    complete: bool = Field(description="whether all of the data set was evaluated")
    notes: list[str] = Field(description="what a reader should know, such as why it is not complete")
    options: dict = Field(description="what was evaluated and how; as options.yml")
    checkpoints: list[Checkpoint]
    runs: list[Run]
    comparisons: list[Comparison]
    skipped: list[Skipped]
    environment: Environment


def write_record(path: Path, record: Record) -> None:
    """Write a part of the results as JSON, atomically.

    Raises:
        UserError: it cannot be written.
    """
    text = record.model_dump_json(indent=2) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_results(path: Path) -> Results:
    """Read a results.json.

    Raises:
        UserError: it cannot be read or does not fit the schema.
    """
    try:
        return Results.model_validate_json(read_regular(path, 2**30, "the results of an evaluation"))
    except ValidationError as error:
        raise schema_error(f"{path}: not results of schema version {SCHEMA_VERSION}", error, Results) from None


if __name__ == "__main__":
    print(json.dumps(Results.model_json_schema(), indent=2))
