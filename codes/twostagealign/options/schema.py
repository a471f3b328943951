"""Schema of an experiment's YAML file: every key, its type, its range, its default.

Sizes are in raw pixels (pixels of one raw plane). An unknown key, a string where a number is expected, or a number out
of range is an error; `runtime.validation` words it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    ValidationInfo,
    field_validator,
)

from twostagealign.runtime.bounds import (
    Batch,
    Count,
    CountOrZero,
    Decay,
    FolderName,
    FrameRange,
    NoiseLevels,
    PatchSize,
    PathText,
    Positive,
    PositiveOrZero,
    Probability,
    SearchWindow,
    Seed,
    Workers,
)
from twostagealign.runtime.validation import quote


@dataclass(frozen=True)
class Node:
    """A type node `{type: Name, argument: value, ...}` of the YAML file: a constructor call still to be made.

    Args:
        type: name of a class in a table of `options.registry`.
        arguments: keyword arguments of its constructor, as they stand in the file.
        prefix: what an error message about the node begins with: the file and, if it is not the whole file, the key,
            as in `"options/train/x.yml: network."`.
    """

    type: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = field(default="", compare=False)

    EXPECTED: ClassVar[str] = "{type: Name, argument: value, ...}"

    @classmethod
    def from_yaml(cls, value: object, prefix: str = "") -> Self:
        """Split the mapping of a YAML file into the name and the arguments."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
            raise ValueError(f"found {quote(value)}, expected {cls.EXPECTED}")
        return cls(value["type"], {key: entry for key, entry in value.items() if key != "type"}, prefix)

    def node(self) -> dict[str, Any]:
        """The mapping as it stands in a YAML file."""
        return {"type": self.type, **self.arguments}


TypeNode = Annotated[Node, BeforeValidator(lambda value: Node.from_yaml(value)), PlainSerializer(Node.node)]


def _no_repetition(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError(f"found {quote(names)}, expected each name once")
    return names


MetricNames = Annotated[list[str], Field(min_length=1), AfterValidator(_no_repetition)]


class Section(BaseModel):
    """One mapping of the file. Strict: `"3"` and `true` are no numbers; extra keys are errors; values do not change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class PathOptions(Section):
    """Where results go and where a training starts from."""

    experiments_root: PathText = "experiments"  # results go to EXPERIMENTS_ROOT/NAME
    pretrained: PathText | None = None  # checkpoint (a file, or its name) whose weights the training starts from
    strict_load: bool = True  # false: load only weights whose names and shapes match
    widen: bool = False  # true: `pretrained` is a narrower network; start with its function


class MatchingOptions(Section):
    """Stage one: progressive block matching in training."""

    search_window: SearchWindow | None = 64  # side of the searched square around a patch's position; null: no matching
    temperature: Positive = 1e-2  # of the softmax over candidates
    final_temperature: Positive = 1e-3  # the same from iteration `final_temperature_from` on
    final_temperature_from: CountOrZero = 300_000
    refine: bool = False  # find patches to the raw pixel, and use the best candidate instead of a blend


class DatasetOptions(Section):
    """Where bursts come from."""

    train: TypeNode
    val: TypeNode


class OptimizerOptions(Section):
    """Adam."""

    lr: Positive = 1e-4  # learning rate of the network
    features_lr: PositiveOrZero = 1e-5  # learning rate of the low-resolution features
    deform_lr: PositiveOrZero | None = None  # learning rate of the deformable layers; null: that of the network
    betas: Annotated[tuple[Decay, Decay], Strict(False)] = (0.9, 0.99)  # not strict: YAML has lists, no tuples


class SchedulerOptions(Section):
    """Cosine annealing with restarts."""

    periods: list[Count] = Field(min_length=1)  # iterations of each cosine
    restart_weights: list[Positive]  # factor on the learning rate at the start of each period
    eta_min: PositiveOrZero  # learning rate at the end of each period
    warmup: CountOrZero = 0  # iterations at the start over which the rate grows from 0

    @field_validator("restart_weights")
    @classmethod
    def _one_per_period(cls, weights: list[float], info: ValidationInfo) -> list[float]:
        periods = info.data.get("periods", weights)
        if len(weights) != len(periods):
            raise ValueError(f"found {len(weights)} entries, expected {len(periods)}, one per entry of periods")
        return weights


PAPER_LOSSES = (
    {"type": "Charbonnier", "space": "linear"},
    {"type": "Interpolation", "space": "linear"},
    {"type": "Charbonnier", "space": "srgb"},
    {"type": "Interpolation", "space": "srgb"},
    {"type": "MatchSupervision", "weight": 1e3, "until": 200_000},
    {"type": "OneHot", "weight": 1e5},
)


def _list_of_terms(value: object) -> object:
    if isinstance(value, Mapping):
        raise ValueError(
            "found a mapping of weights, expected a list of terms, [{type: Charbonnier, space: linear, weight: 1}, "
            "...]; docs/TRAINING.md names the term of each former key"
        )
    return value


class OffCentre(Section):
    """Off-centre patches, which partly leave the neighbouring frames, as at image borders."""

    probability: Probability = 0.0  # share of the patches; the others lie in the middle
    since: CountOrZero = 0  # first iteration with such patches


class NoiseOptions(Section):
    """Range of the noise levels; their logarithms are uniform."""

    shot: NoiseLevels = (1e-4, 1e-2)  # variance per unit of signal
    read: NoiseLevels = (1e-3, 10**-1.5)  # standard deviation


class TrainingOptions(Section):
    """The training loop."""

    total_iter: Count  # optimiser steps in all
    batch_size: Batch = 1  # bursts that go through the network together, in each process
    accumulate: Batch = 1  # such batches per step, whose gradients are averaged
    frames: FrameRange | None = None  # fewest and most frames of a batch, drawn; null: all that the bursts have
    patch_size: PatchSize = 64  # side of the patch cut from each burst
    off_centre: OffCentre = OffCentre()
    noise: NoiseOptions = NoiseOptions()
    workers: Workers = 2  # processes that load data; 0: the training process itself
    timeout: Annotated[float, Field(gt=0, le=1e6)] = 30.0  # longest wait of one process for the others, minutes
    optimizer: OptimizerOptions = OptimizerOptions()
    scheduler: SchedulerOptions
    # Precision of the network; auto: bf16 where the device has instructions for it; fp16 scales its losses as needed
    amp: Literal["auto", "none", "bf16", "fp16"] = "none"
    compile: bool = False  # compile the network by torch.compile, which needs a C++ compiler
    ema_decay: Decay = 0.999  # of the running average of the weights; 0: no averaging
    grad_clip: Positive | None = None  # largest gradient norm; null: no clipping
    losses: Annotated[list[TypeNode], Field(min_length=1), BeforeValidator(_list_of_terms)] = Field(
        default_factory=lambda: list(map(Node.from_yaml, PAPER_LOSSES))
    )

    @field_validator("scheduler")
    @classmethod
    def _reaches_the_end(cls, scheduler: SchedulerOptions, info: ValidationInfo) -> SchedulerOptions:
        length, total = sum(scheduler.periods), info.data.get("total_iter", 0)
        if length < total:
            raise ValueError(f"found periods that sum to {length}, expected at least train.total_iter, {total}")
        return scheduler


class ValidationOptions(Section):
    """Validation during training."""

    every: Count  # iterations between two validations
    noise: Literal["high", "low"] = "high"  # level of the test protocol
    pictures: CountOrZero = 2  # how many bursts are drawn
    search_window: SearchWindow = 48
    metrics: MetricNames = ["psnr", "ssim"]  # names in options.registry.METRICS, or dotted names

    @field_validator("metrics")
    @classmethod
    def _with_psnr(cls, metrics: list[str]) -> list[str]:
        if "psnr" not in metrics:
            raise ValueError("psnr is missing, by which the best checkpoint is chosen")
        return metrics


class WandBOptions(Section):
    """A run of Weights & Biases."""

    project: str = "twostagealign"
    entity: str | None = None  # user or team; null: that of the login
    mode: Literal["offline", "online"] = "offline"  # offline: nothing is sent until `wandb sync` is called


class MLflowOptions(Section):
    """A run of MLflow."""

    experiment: str = "twostagealign"
    uri: str | None = None  # tracking server, or sqlite:///FILE; null: EXPERIMENTS_ROOT/mlflow.db


class LoggerOptions(Section):
    """What is written down, and when."""

    print_every: Count = 100  # iterations between two lines of the log
    checkpoint_every: Count  # iterations between two checkpoints
    keep_checkpoints: Count | None = 5  # how many of the newest ones are kept; null: all
    tensorboard: bool = True
    wandb: WandBOptions | None = None  # {}: with the defaults
    mlflow: MLflowOptions | None = None  # {}: with the defaults


class TrainOptions(Section):
    """A whole experiment."""

    name: FolderName  # of the experiment, and of its folder
    seed: Seed = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: cuda where there is one
    path: PathOptions = PathOptions()
    network: TypeNode
    features: TypeNode
    matching: MatchingOptions = MatchingOptions()
    datasets: DatasetOptions
    train: TrainingOptions
    val: ValidationOptions
    logger: LoggerOptions
