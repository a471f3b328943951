"""One optimiser step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from twostagealign.data import degrade
from twostagealign.models import TwoStageObjective, TwoStageRestorer
from twostagealign.options import TrainOptions
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.ranks import Ranks
from twostagealign.training.batches import Batch

AMP_DTYPES = {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class StepResult:
    """What came of a step.

    Attributes:
        values: loss terms by name, their sum `loss`, and `gradient_norm`: means over the bursts of this process.
        losses: loss of each batch of this process.
        finite: whether loss and gradient were finite on all processes; otherwise the weights have not changed.
    """

    values: dict[str, float]
    losses: list[float]
    finite: bool


class TrainingStep:
    """Degrade, restore, compare, learn: on one process or several, in one batch or several.

    Args:
        restorer: on its device.
        objective: what is minimised.
        optimizer: of the restorer's parameters.
        options: of the experiment.
        origin: corner of the training patch in the crops, raw pixels, where it lies in the middle.
        frames: number of frames of a burst.
        ranks: the processes, which average their gradients.
    """

    def __init__(
        self,
        restorer: TwoStageRestorer,
        objective: TwoStageObjective,
        optimizer: Optimizer,
        options: TrainOptions,
        origin: int,
        frames: int,
        ranks: Ranks,
    ) -> None:
        self.restorer = restorer
        self.objective = objective
        self.optimizer = optimizer
        self.options = options
        self.origin = origin
        self.ranks = ranks
        self.device = next(restorer.parameters()).device
        self.amp_dtype = AMP_DTYPES[options.train.amp]
        # The losses are sums over pixels: their gradients are large already, so the scale begins at 1.
        self.scaler = torch.amp.GradScaler(
            self.device.type, init_scale=1.0, growth_interval=500, enabled=options.train.amp == "fp16"
        )
        if options.train.compile:
            compilers = (os.environ.get("CXX", "g++"), "clang++")
            if not any(map(shutil.which, compilers)):
                raise UserError("train.compile: found no C++ compiler, expected g++ or clang++ (or one named by CXX)")
            restorer.network.compile()
        self.model: nn.Module = restorer
        if ranks.count > 1:
            matching = options.matching
            self.model = DistributedDataParallel(
                restorer,
                device_ids=[self.device.index] if self.device.type == "cuda" else None,
                # The feature net may have no part in the training: without matching, which a burst of one frame does
                # not need, or once the losses on the match have ended, if it learns from nothing else.
                find_unused_parameters=frames == 1 or matching.search_window is None or matching.refine,
            )

    def __call__(self, batches: Sequence[Batch], iteration: int) -> StepResult:
        """Make one step.

        Args:
            batches: of this process; their gradients are averaged.
            iteration: number of steps before this one.

        Returns:
            What came of it.
        """
        self.restorer.train()
        self.optimizer.zero_grad(set_to_none=True)
        found = []
        for i, batch in enumerate(batches):
            # Gradients are exchanged once, when the last batch's are there.
            waits = self.ranks.count > 1 and i < len(batches) - 1
            with self.model.no_sync() if waits else nullcontext():
                terms = self._terms(batch, iteration)
                terms["loss"] = torch.stack(list(terms.values())).sum()
                self.scaler.scale(terms["loss"] / len(batches)).backward()
            found.append({name: term.detach() for name, term in terms.items()})
        self.scaler.unscale_(self.optimizer)
        limit = self.options.train.grad_clip or float("inf")
        norm = nn.utils.clip_grad_norm_(self.restorer.parameters(), limit)

        # One transfer from the device for all numbers.
        names = list(found[0])
        table = torch.stack([torch.stack([terms[name] for name in names]) for terms in found])
        *rows, norm = [*table.tolist(), norm.item()]
        losses = [row[names.index("loss")] for row in rows]
        values = {name: sum(row[i] for row in rows) / len(rows) for i, name in enumerate(names)}
        values["gradient_norm"] = norm
        finite = not self.ranks.any(not all(map(torch.isfinite, torch.tensor([norm, *losses]))))
        if finite:
            self.scaler.step(self.optimizer)
        self.scaler.update()
        return StepResult(values, losses, finite)

    def _origins(self, batch: Batch, iteration: int) -> Tensor:
        """Corners of the patches, (B, 1, 2): in the middle, or anywhere. That of a burst is a function of its seed."""
        train, scale = self.options.train, self.restorer.features.scale
        share = train.off_centre.probability if iteration >= train.off_centre.since else 0.0
        last = [side // 2 - train.patch_size for side in batch.frames.shape[-2:]]
        corners = []
        for seed in batch.seeds:
            draw = np.random.default_rng([seed, 1])
            anywhere = [scale * int(draw.integers(most // scale + 1)) for most in last]
            corners.append([anywhere if draw.random() < share else [self.origin] * 2])
        return torch.tensor(corners)

    def _terms(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        train, matching = self.options.train, self.options.matching
        burst = degrade(batch.frames, batch.seeds)
        origins = self._origins(batch, iteration).to(self.device)
        settled = iteration >= matching.final_temperature_from
        with torch.autocast(self.device.type, self.amp_dtype, enabled=self.amp_dtype is not None):
            prediction, match = self.model(
                burst.lq,
                burst.noise_map,
                origins,
                train.patch_size,
                matching.search_window,
                matching.final_temperature if settled else matching.temperature,
                self.objective.interpolates(iteration),
                self.objective.matches(iteration),
            )
        scale = self.restorer.features.scale
        return self.objective(prediction.float(), match, burst, origins, train.patch_size, scale, iteration)
