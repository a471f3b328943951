"""Results of an evaluation, as written to results.json.

The classes below are the schema; docs/results.schema.json is made from them by

    python -m twostagealign.evaluation.results > docs/results.schema.json

A change that could break a reader of the file raises `SCHEMA_VERSION`.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from twostagealign.runtime.files import read_regular, write_atomically
from twostagealign.runtime.validation import schema_error

SCHEMA_VERSION: Literal[1] = 1

METRICS = ("psnr", "ssim", "lpips")
"""Metrics with a field of their own in `Measures`."""
LARGEST = 1e9
"""Largest absolute value of a further metric; sums of such numbers are finite."""
PARTS = ("all", "center", "border")


# Far beyond what is measured, but sums of such numbers are finite.
_Measure = Annotated[float, Field(ge=-1000, le=1000)]
_OtherMeasure = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
_Seconds = Annotated[float, Field(ge=0, le=1e9)]
_Bytes = Annotated[int, Field(ge=0, lt=2**63)]
_Index = Annotated[int, Field(ge=0, lt=2**31)]
_Pixels = Annotated[int, Field(gt=-(2**31), lt=2**31)]


class Record(BaseModel):
    """Base of all parts of results.json: exactly these fields, numbers finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Measures(Record):
    """Quality of pictures; null where there is no ground truth, or the metric was not asked for."""

    psnr: _Measure | None = Field(description="PSNR, dB")
    ssim: _Measure | None = Field(description="SSIM")
    lpips: _Measure | None = Field(description="LPIPS")
    others: dict[str, _OtherMeasure | None] = Field(default_factory=dict, description="further metrics, by name")

    def value(self, metric: str) -> float | None:
        """Value of a metric; None where there is none."""
        found: float | None = getattr(self, metric) if metric in METRICS else self.others.get(metric)
        return found


def measure_fields(values: Mapping[str, float | None]) -> dict[str, Any]:
    """Fields of `Measures` that hold these values, by metric."""
    named = {metric: values.get(metric) for metric in METRICS}
    return {**named, "others": {metric: value for metric, value in values.items() if metric not in METRICS}}


def metrics_of(measures: Iterable[Measures]) -> list[str]:
    """Names of all metrics that have a value somewhere."""
    entries = list(measures)
    names = dict.fromkeys([*METRICS, *(name for entry in entries for name in entry.others)])
    return [name for name in names if any(entry.value(name) is not None for entry in entries)]


class Seconds(Record):
    """Computing time of one frame, seconds."""

    matching: _Seconds = Field(description="low-resolution features and block matching")
    network: _Seconds = Field(description="the network, all tiles")
    stitching: _Seconds = Field(description="from tiles to the whole picture")


class Memory(Record):
    """Peak memory so far, bytes."""

    resident: _Bytes = Field(description="resident memory of the process")
    device: _Bytes | None = Field(description="GPU memory allocated by PyTorch; null on the CPU")


class Pictures(Record):
    """Picture files of a frame, relative to the folder of results.json.

    The pictures are 8-bit sRGB with the tone curve and have the size of the frame.
    """

    noisy: str = Field(description="the noisy reference frame, demosaicked")
    restored: str
    truth: str | None = Field(description="ground truth; null where there is none")
    residual: str | None = Field(description="restored minus ground truth in sRGB, times 4, around mid-grey")
    shifts: str = Field(description="JSON of `Shifts`: matches of the tiles in the other frames")


class Shifts(Record):
    """Content of a file of matched shifts. All lengths are in raw pixels, all pairs are [y, x]."""

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
    index: _Index = Field(description="index of the reference frame in its clip, from 0")
    part: Literal["center", "border"] = Field(description="border: among the first or last N // 2 frames of the clip")
    window: list[str] = Field(description="names of the frames of the burst")
    seconds: Seconds
    memory: Memory
    pictures: Pictures | None = Field(description="null where none were asked for")


class Mean(Measures):
    """Means over frames."""

    frames: int = Field(description="number of frames; if 0, the means are null")


class Summary(Record):
    """Means over a clip, or over all clips."""

    clip: str | None = Field(description="name of the clip; null for the mean over clips of the clips' means")
    all: Mean
    center: Mean = Field(description="all frames but the first and the last N // 2")
    border: Mean


class Run(Record):
    """One checkpoint at one noise level."""

    checkpoint: str = Field(description="label of an entry of `checkpoints`")
    noise: str = Field(description="name of the level")
    shot: float | None = Field(
        description="shot noise, variance per unit of signal; null if each clip has noise of its own"
    )
    read: float | None = Field(description="read noise, standard deviation; null if each clip has noise of its own")
    paper_psnr: float | None = Field(description="PSNR in the paper, dB; null if the paper has none")
    mean: Summary
    clips: list[Summary]
    frames: list[FrameResult]


class Checkpoint(Record):
    """A checkpoint that was evaluated."""

    label: str = Field(description="name of the checkpoint in tables and folders")
    file: str
    sha256: str = Field(
        description="SHA-256 of the file; after a '+', that of the file of the feature net if there is one"
    )
    network: str = Field(description="class of the network")
    parameters: int = Field(description="number of parameters of the network")
    feature_parameters: int = Field(description="number of parameters of the feature net")
    block_matching: bool = Field(default=True, description="whether its patches were matched by stage one")
    tile_gflop: float | None = Field(
        description="floating-point operations of the network for one tile, 1e9, counted by torch.utils.flop_counter "
        "(multiplications and additions of convolutions and matrix products); null if they cannot be counted"
    )


class Comparison(Record):
    """Difference between a checkpoint and the first one, on the same noise."""

    noise: str
    metric: str = Field(description="name of the metric")
    baseline: str = Field(description="label of a checkpoint")
    candidate: str = Field(description="label of a checkpoint")
    difference: float = Field(description="candidate minus baseline, mean over clips")
    low: float = Field(description="lower end of the confidence interval")
    high: float = Field(description="upper end of the confidence interval")
    confidence: float = Field(description="confidence level of the interval, such as 0.95")
    frames: int = Field(description="number of compared pairs of frames")


class Skipped(Record):
    """Input skipped by --skip-bad, with the reason."""

    clip: str
    frame: str | None = Field(description="name of the frame; null for the whole clip")
    reason: str


class Environment(Record):
    """Software and hardware that computed the results."""

    python: str
    torch: str
    device: str
    ranks: int = Field(description="number of processes")
    threads: int = Field(description="number of threads of each process")


class Results(Record):
    """Content of results.json."""

    schema_version: Literal[1]
    dataset: str
    data: str = Field(description="folder of the data set")
    complete: bool = Field(description="whether the whole data set was evaluated")
    notes: list[str] = Field(description="notes for readers, such as why the results are not complete")
    options: dict = Field(description="data, checkpoints and settings; the content of options.yml")
    checkpoints: list[Checkpoint]
    runs: list[Run]
    comparisons: list[Comparison]
    skipped: list[Skipped]
    environment: Environment


def write_record(path: Path, record: Record) -> None:
    """Write a part of the results as JSON, atomically; UserError if it cannot be written."""
    text = record.model_dump_json(indent=2) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_results(path: Path) -> Results:
    """Read a results.json; UserError if it cannot be read or does not fit the schema."""
    try:
        return Results.model_validate_json(read_regular(path, 2**30, "the results of an evaluation"))
    except ValidationError as error:
        raise schema_error(f"{path}: not results of schema version {SCHEMA_VERSION}", error, Results) from None


if __name__ == "__main__":
    print(json.dumps(Results.model_json_schema(), indent=2))
