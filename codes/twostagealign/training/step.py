"""One optimizer step."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Adam
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from twostagealign.data import degrade
from twostagealign.data.burst import BurstBatch
from twostagealign.isp import NoiseRange
from twostagealign.models import Objective, TwoStageRestorer
from twostagealign.models.checkpoint import load_strictly
from twostagealign.runtime.device import pick_dtype
from twostagealign.runtime.ranks import Ranks
from twostagealign.training.batches import Batch
from twostagealign.training.optimizer import load_moments
from twostagealign.training.state import LossScale, TrainingState

logger = logging.getLogger("twostagealign")

AMP_DTYPES = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class StepResult:
    """Numbers of a finished step.

    Attributes:
        values: loss terms by name, their sum `loss`, and `gradient_norm`: means over the bursts of this process.
        losses: loss of each batch of this process.
        finite: whether loss and gradient were finite on all processes; otherwise the weights have not changed.
    """

    values: dict[str, float]
    losses: list[float]
    finite: bool


@dataclass(frozen=True)
class Patches:
    """Where the training patches lie in the crops.

    Attributes:
        size: side of a patch, raw pixels.
        scale: raw pixels per feature pixel; corners are multiples of it.
        off_centre: share of the patches that lie anywhere in the crop.
        off_centre_since: first iteration with such patches.
    """

    size: int
    scale: int
    off_centre: float = 0.0
    off_centre_since: int = 0

    def corners(self, batch: Batch, iteration: int) -> Tensor:
        """Top-left corners [y, x] of a batch's patches, (B, 1, 2), long; a function of each burst's seed."""
        share = self.off_centre if iteration >= self.off_centre_since else 0.0
        last = [side // 2 - self.size for side in batch.frames.shape[-2:]]
        middle = min(last) // 2 // self.scale * self.scale
        corners = []
        for seed in batch.seeds:
            draw = np.random.default_rng([seed, 1])
            anywhere = [self.scale * int(draw.integers(most // self.scale + 1)) for most in last]
            corners.append([anywhere if draw.random() < share else [middle] * 2])
        return torch.tensor(corners)


@dataclass(eq=False, kw_only=True)
class TrainingStep:
    """Degrade, restore, compare, learn: on one process or several, in one batch or several.

    Args:
        restorer: the networks, on their device.
        objective: the loss.
        optimizer: optimizer of the restorer's parameters, made by `build_optimizer`.
        patches: places of the patches.
        noise: range of the noise levels; None: the paper's.
        temperature: temperature of the softmax over candidates.
        final_temperature: temperature from iteration `final_temperature_from` on.
        final_temperature_from: an iteration.
        amp: precision of the network: "none", "bf16", "fp16", or "auto": bf16 where the device has instructions for it.
        grad_clip: largest norm of the gradient; None: no clipping.
        ema_decay: decay of the running average of the weights per step, in [0, 1).
        idle_features: whether the feature net takes no part in some steps; several processes need to know.
        ranks: the processes, which average their gradients.

    Attributes:
        average: running average of the weights.
    """

    restorer: TwoStageRestorer
    objective: Objective
    optimizer: Adam
    patches: Patches
    temperature: float
    final_temperature: float
    final_temperature_from: int
    noise: NoiseRange | None = None
    amp: str = "none"
    grad_clip: float | None = None
    ema_decay: float = 0.0
    idle_features: bool = False
    ranks: Ranks = field(default_factory=Ranks)

    def __post_init__(self) -> None:
        self.device = next(self.restorer.parameters()).device
        self.amp_dtype = pick_dtype("auto", self.device) if self.amp == "auto" else AMP_DTYPES[self.amp]
        # The losses are sums over pixels: their gradients are large already, so the scale begins at 1.
        scales = self.amp == "fp16"
        self.scaler = torch.amp.GradScaler(self.device.type, init_scale=1.0, growth_interval=500, enabled=scales)
        self.average = average_weights(self.restorer, self.ema_decay)
        self.model: nn.Module = self.restorer
        if self.ranks.count > 1:
            self.model = DistributedDataParallel(
                self.restorer,
                device_ids=[self.device.index] if self.device.type == "cuda" else None,
                find_unused_parameters=self.idle_features,
            )

    def __call__(self, batches: Sequence[Batch], iteration: int) -> StepResult:
        """Make one step.

        Args:
            batches: batches of this process; their gradients are averaged.
            iteration: number of steps before this one.

        Returns:
            Loss terms, and whether they and the gradient were finite.
        """
        self.restorer.train()
        self.optimizer.zero_grad(set_to_none=True)
        found = []
        for i, batch in enumerate(batches):
            # Gradients are exchanged once, when the last batch's are there.
            waits = i < len(batches) - 1
            with self.model.no_sync() if waits and isinstance(self.model, DistributedDataParallel) else nullcontext():
                terms = self._terms(batch, iteration)
                terms["loss"] = torch.stack(list(terms.values())).sum()
                self.scaler.scale(terms["loss"] / len(batches)).backward()
            found.append({name: term.detach() for name, term in terms.items()})
        self.scaler.unscale_(self.optimizer)
        gradient_norm = nn.utils.clip_grad_norm_(self.restorer.parameters(), self.grad_clip or math.inf)

        # One transfer from the device for all numbers.
        names = list(found[0])
        table = [terms[name] for terms in found for name in names]
        *numbers, norm = torch.stack([*table, gradient_norm]).tolist()
        rows = [numbers[i : i + len(names)] for i in range(0, len(numbers), len(names))]
        losses = [row[names.index("loss")] for row in rows]
        values = {name: sum(row[i] for row in rows) / len(rows) for i, name in enumerate(names)}
        values["gradient_norm"] = norm
        finite = not self.ranks.any(not all(map(math.isfinite, [norm, *losses])))
        if finite:
            self.scaler.step(self.optimizer)
            self.average.update_parameters(self.restorer)
        self.scaler.update()
        return StepResult(values, losses, finite)

    def degrade(self, batch: Batch) -> BurstBatch:
        """Make the noisy bursts of a batch."""
        return degrade(batch.frames, batch.seeds, self.noise)

    def state_dict(self) -> dict[str, Any]:
        """What a training state holds of the step; see `TrainingState`."""
        return {
            "model": self.restorer.state_dict(),
            "ema": self.average.module.state_dict(),
            "ema_updates": int(self.average.n_averaged),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load(self, state: TrainingState, source: Path) -> None:
        """Load what `state_dict` gives; learning rates and other settings stay.

        Raises:
            UserError: the state does not fit the networks.
        """
        load_strictly(self.restorer, state.model, source)
        load_strictly(self.average.module, state.ema, source)
        self.average.n_averaged.fill_(state.ema_updates)
        load_moments(self.optimizer, self.restorer, state.optimizer, source)
        if isinstance(state.scaler, LossScale) and self.scaler.is_enabled():
            self.scaler.load_state_dict(state.scaler.model_dump(by_alias=True))
        elif isinstance(state.scaler, LossScale):
            logger.warning("%s: its loss scale is not used: train.amp is not fp16", source)
        elif self.scaler.is_enabled():
            logger.warning("%s: has no loss scale, which begins as new", source)

    def _terms(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        patches = self.patches
        burst = self.degrade(batch)
        origins = patches.corners(batch, iteration).to(self.device)
        settled = iteration >= self.final_temperature_from
        low = self.amp_dtype != torch.float32
        with torch.autocast(self.device.type, self.amp_dtype if low else None, enabled=low):
            prediction, match = self.model(
                burst.lq,
                burst.noise_map,
                origins,
                patches.size,
                self.final_temperature if settled else self.temperature,
                self.objective.interpolates(iteration),
                self.objective.matches(iteration),
            )
        return self.objective(prediction.float(), match, burst, origins, patches.size, patches.scale, iteration)


def average_weights(model: nn.Module, decay: float) -> AveragedModel:
    """Make an exponential moving average of a model's weights, which forgets its start quickly.

    After n updates the decay is (1 + n) / (10 + n) until that exceeds the wanted one. Otherwise a short training would
    end with much of its first weights.

    Args:
        model: the model; its current weights are the start.
        decay: the wanted decay per update, in [0, 1).
    """

    def update(averaged: Any, current: Any, _: object) -> None:
        # The last argument is a copy of the number on the model's device: to read it would be to wait for the device.
        updates = int(average.n_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + updates) / (10 + updates)))(averaged, current, updates)

    average = AveragedModel(model, multi_avg_fn=update)
    return average
