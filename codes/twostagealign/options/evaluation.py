"""What the option file of an evaluation may hold: a data set and the protocol that belongs to it.

Sizes are in raw pixels (pixels of one raw plane), as in `options.schema`.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, field_validator

from twostagealign.options.load import read_options
from twostagealign.options.registry import EVALUATION_SETS, METRICS
from twostagealign.options.schema import MetricNames, Section, TypeNode
from twostagealign.runtime.bounds import Count, CountOrZero, FolderName, Frames, PathText

FROM_CODE = ("folder", "frames")
"""Arguments of a data set's constructor that the option file does not give: they come from `data` and `frames`."""


SEARCH_FIELDS = {"search_window", "block_matching"}
"""Fields of `TilingOptions` that belong to `matching.Search`."""


class TilingOptions(Section):
    """How a frame is divided and searched: the fields of `restoration.tiling.Tiling` and of `matching.Search`."""

    patch: int
    halo: int
    search_window: int
    batch: int | None = None
    group: int = 1
    overlap: int = 0
    block_matching: bool = True


class PaperOptions(Section):
    """Figures of the paper, and what a data set must hold so that they can be compared with."""

    psnr: dict[str, float]  # dB, by noise level
    clips: list[str] = Field(min_length=1)  # names of all clips
    frames: Count  # in each of them


class EvaluationOptions(Section):
    """A data set and its protocol."""

    name: FolderName  # in tables and in the name of the results
    dataset: TypeNode  # a class of options.registry.EVALUATION_SETS
    data: PathText  # the folder, unless --data gives another
    clips: list[str] | None = None  # those of them that are in the folder are evaluated; null: all clips in it
    frames: Frames = 5  # length of a burst
    noise: str | None = "high"  # high, low, both or SHOT,READ; null: the frames have noise of their own
    metrics: MetricNames = Field(["psnr", "ssim"])  # names in options.registry.METRICS, or dotted names
    tiling: TilingOptions
    save_images: CountOrZero = 0  # frames per clip of which pictures are written
    paper: PaperOptions | None = None

    @field_validator("frames")
    @classmethod
    def _odd(cls, frames: int) -> int:
        if frames % 2 == 0:
            raise ValueError(f"found {frames}, expected an odd number: the reference is in the middle")
        return frames


def load_evaluation_options(path: Path, overrides: Sequence[str] = ()) -> EvaluationOptions:
    """Read and check the option file of an evaluation; see `read_options`."""
    nodes, names = {"dataset": EVALUATION_SETS}, {"metrics": METRICS}
    return read_options(path, overrides, EvaluationOptions, nodes, FROM_CODE, names)
