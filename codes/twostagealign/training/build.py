"""From options to a trainer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from twostagealign.archs.frames import check_frames
from twostagealign.data import PROTOCOL_NOISE, TrainingSet, check_no_overlap
from twostagealign.data.clips.clip import LEAST_SIDE
from twostagealign.isp import NoiseRange
from twostagealign.matching import Matcher, Search
from twostagealign.metrics import load_metrics
from twostagealign.models import Objective, TwoStageRestorer
from twostagealign.models.checkpoint import find_checkpoint, load_into
from twostagealign.options import TrainOptions, dump_options
from twostagealign.options.registry import DATASETS, FEATURES, LOSSES, METRICS, NETWORKS, build
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import locate_output
from twostagealign.runtime.ranks import Ranks
from twostagealign.training.batches import TrainingBursts
from twostagealign.training.experiment import Experiment
from twostagealign.training.optimizer import build_optimizer
from twostagealign.training.record import TrainingRecord
from twostagealign.training.schedule import CosineRestarts
from twostagealign.training.step import Patches, TrainingStep
from twostagealign.training.trackers import MLflow, TensorBoard, WandB
from twostagealign.training.trainer import Hooks, Trainer
from twostagealign.training.validation import Validation


def build_trainer(
    options: TrainOptions, resume: bool = False, ranks: Ranks | None = None, hooks: Sequence[Hooks] = ()
) -> Trainer:
    """Make the trainer that an option file describes. Nothing is written.

    Args:
        options: checked options.
        resume: go on from the experiment's newest training state, if there is one.
        ranks: the processes that train together.
        hooks: what else happens in the course of the training.

    Raises:
        UserError: options do not fit together, or a file cannot be read.
    """
    ranks, train = ranks or Ranks(), options.train
    device = ranks.device(options.device)
    restorer = _build_restorer(options).to(device)
    training_set, validation_set = build(DATASETS, options.datasets.train), build(DATASETS, options.datasets.val)
    check_no_overlap(training_set, validation_set)
    _check_measurable(validation_set)
    frames, _, height, width = training_set[0].shape
    objective = _build_objective(options)
    _check_network(restorer.network, frames, objective)
    scale = restorer.matcher.scale
    lengths = _choose_lengths(options, scale, frames, height, width)
    patches = Patches(train.patch_size, scale, train.off_centre.probability, train.off_centre.since)
    optimizer = build_optimizer(restorer, **train.optimizer.model_dump())
    if train.compile:
        compilers = (os.environ.get("CXX", "g++"), "clang++")
        if not any(map(shutil.which, compilers)):
            raise UserError("train.compile: found no C++ compiler, expected g++ or clang++ (or one named by CXX)")
        restorer.network.compile()
    window = options.matching.search_window
    step = TrainingStep(
        restorer=restorer,
        objective=objective,
        optimizer=optimizer,
        patches=patches,
        noise=NoiseRange(**train.noise.model_dump()),
        **options.matching.model_dump(exclude={"refine", "search_window"}),
        amp=train.amp,
        grad_clip=train.grad_clip,
        ema_decay=train.ema_decay,
        # Without matching, which a burst of one frame does not need, the feature net does not take part; nor does it
        # once the losses on the match have ended, if it learns from nothing else.
        idle_features=frames == 1 or window is None or options.matching.refine,
        ranks=ranks,
    )
    search = Search(options.val.search_window, block_matching=window is not None)
    metrics = load_metrics({name: METRICS[name] for name in options.val.metrics}, device)
    root = locate_output(Path(options.path.experiments_root))
    return Trainer(
        step=step,
        schedule=CosineRestarts(**train.scheduler.model_dump()),
        bursts=TrainingBursts(
            training_set, options.seed, train.batch_size, train.accumulate, train.workers, device, ranks, lengths
        ),
        validation=Validation(
            validation_set, PROTOCOL_NOISE[options.val.noise], search, options.val.pictures, metrics=metrics
        ),
        experiment=Experiment(root, options.name, options.logger.keep_checkpoints),
        total_iter=train.total_iter,
        validate_every=options.val.every,
        save_every=options.logger.checkpoint_every,
        metadata={
            "network": options.network.node(),
            "features": options.features.node(),
            "refine": options.matching.refine,
            "block_matching": window is not None,
        },
        resume=resume,
        hooks=[TrainingRecord(options.logger.print_every, dump_options(options)), *_trackers(options), *hooks],
    )


def _build_restorer(options: TrainOptions) -> TwoStageRestorer:
    torch.manual_seed(options.seed)
    network, features = build(NETWORKS, options.network), build(FEATURES, options.features)
    window = options.matching.search_window
    search = Search(block_matching=False) if window is None else Search(window)
    restorer = TwoStageRestorer(network, features, Matcher(features.scale, search, options.matching.refine))
    path = options.path
    if path.pretrained:
        load_into(restorer, find_checkpoint(path.pretrained), path.strict_load, path.widen)
    return restorer


def _trackers(options: TrainOptions) -> list[Hooks]:
    logger = options.logger
    trackers: list[Hooks] = [TensorBoard()] if logger.tensorboard else []
    if logger.wandb:
        trackers.append(WandB(options.model_dump(mode="json"), **logger.wandb.model_dump()))
    if logger.mlflow:
        trackers.append(MLflow(dump_options(options), **logger.mlflow.model_dump()))
    return trackers


def _check_measurable(bursts: TrainingSet) -> None:
    height, width = bursts[0].shape[-2:]
    if min(height, width) < LEAST_SIDE:
        raise UserError(
            f"datasets.val: frames of {width}x{height} pixels are too small to measure; "
            f"use at least {LEAST_SIDE}x{LEAST_SIDE}"
        )


def _check_network(network: nn.Module, frames: int, objective: Objective) -> None:
    check_frames(network, frames)
    gives, reads = getattr(network, "per_frame", False), objective.reads("per_frame")
    if reads and not gives:
        raise UserError("train.losses: PerFrame needs a network with per_frame: true (KPN); remove the term")
    if gives and not reads:
        raise UserError("network.per_frame: needs a term PerFrame in train.losses")


def _choose_lengths(options: TrainOptions, scale: int, frames: int, height: int, width: int) -> dict[int, int] | None:
    """Numbers of frames, each with the side of the crop that holds all that matching can see around a patch."""
    size, window = options.train.patch_size, options.matching.search_window or 0
    unit = 2 * scale
    if height % unit or width % unit:
        raise UserError(f"datasets.train.size: found {height}x{width}, expected multiples of {unit} RGB pixels")
    fewest, most = options.train.frames or (frames, frames)
    if most > frames:
        raise UserError(f"train.frames: found up to {most}, expected at most {frames}, as datasets.train.frames says")
    sides = {number: 2 * (size + window * (number // 2)) for number in range(fewest, most + 1)}
    if min(height, width) < sides[most]:
        raise UserError(
            f"datasets.train.size: found {min(height, width)}, expected at least {sides[most]} RGB pixels: twice "
            f"(patch_size {size} + search_window {window} * {most // 2} frames)"
        )
    return sides if options.train.frames else None


def _build_objective(options: TrainOptions) -> Objective:
    objective = Objective([build(LOSSES, node) for node in options.train.losses])
    last = options.train.total_iter - 1
    counting = [term for term in objective.terms.values() if term.counts(last)]
    if options.matching.search_window is None:
        counting = [term for term in counting if "match" not in term.reads]
    if not counting:
        raise UserError("train.losses: no term counts up to train.total_iter; add one")
    return objective
