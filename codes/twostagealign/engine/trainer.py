"""The training loop."""

from __future__ import annotations

import copy
import logging
import statistics
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from twostagealign.data import Burst, degrade
from twostagealign.engine.checkpoint import load_into, load_strictly
from twostagealign.engine.device import pick_device
from twostagealign.engine.evaluation import validate
from twostagealign.engine.experiment import Experiment
from twostagealign.engine.schedule import cosine_restarts
from twostagealign.engine.tiling import Tiling
from twostagealign.errors import UserError
from twostagealign.isp import PROTOCOL_LEVELS
from twostagealign.models import TwoStageObjective, TwoStageRestorer
from twostagealign.options import TrainOptions, dump_options
from twostagealign.options.registry import DATASETS, FEATURES, NETWORKS, build

logger = logging.getLogger("twostagealign")


class Trainer:
    """Trains a `TwoStageRestorer` as an option file says.

    Every random number of iteration i is drawn from seeds made of (seed, i), and sample j of the training set is a
    function of (seed, j). The training state therefore needs no generator's state, and a resumed run continues exactly.

    Args:
        options: checked options.
        resume: go on from the experiment's latest training state, if there is one.

    Raises:
        UserError: options that do not fit together, or files that cannot be read or written.
    """

    def __init__(self, options: TrainOptions, resume: bool = False) -> None:
        self.options = options
        train = options.train
        self.device = pick_device(options.device)
        torch.manual_seed(options.seed)
        self.restorer = TwoStageRestorer(build(NETWORKS, options.network), build(FEATURES, options.features))
        self.restorer.to(self.device)
        if options.path.pretrained:
            load_into(self.restorer, Path(options.path.pretrained))
        self.train_set = build(DATASETS, options.datasets.train)
        self.val_set = build(DATASETS, options.datasets.val)
        self.origin = self._patch_origin()
        self.val_tiling = Tiling(search_window=options.val.search_window)

        losses = train.losses.model_dump()
        for name in ("interpolation", "match_supervision"):
            section = losses.pop(name)
            losses |= {name: section.pop("weight")} | {f"{name}_{key}": value for key, value in section.items()}
        if not any(losses[name] for name in ("linear", "srgb", "match_supervision", "one_hot")):
            raise UserError("train.losses: found nothing but zeros, expected a weight above 0")
        self.objective = TwoStageObjective(**losses)
        self.optimizer = torch.optim.Adam(
            [
                {"params": self.restorer.network.parameters(), "lr": train.optimizer.lr},
                {"params": self.restorer.features.parameters(), "lr": train.optimizer.features_lr},
            ],
            betas=train.optimizer.betas,
        )
        schedule = train.scheduler
        self.scheduler = cosine_restarts(self.optimizer, schedule.periods, schedule.restart_weights, schedule.eta_min)
        self.ema = AveragedModel(self.restorer, multi_avg_fn=get_ema_multi_avg_fn(train.ema_decay))
        self.iteration = 0

        self.experiment = Experiment(Path(options.path.experiments_root), options.name, keep=resume)
        if resume:
            self._resume()
        (self.experiment.folder / "options.yml").write_text(dump_options(options), encoding="utf-8")
        self.tensorboard: SummaryWriter | None = None
        if options.logger.tensorboard:
            self.tensorboard = SummaryWriter(self.experiment.tensorboard, purge_step=self.iteration + 1)

    def _patch_origin(self) -> int:
        """Corner of the training patch: it lies in the middle of a crop that holds all that matching can see."""
        size, window = self.options.train.patch_size, self.options.matching.search_window
        frames, _, height, width = self.train_set[0].shape
        unit = 2 * self.restorer.features.scale
        if height % unit or width % unit:
            raise UserError(f"datasets.train.size: found {height}x{width}, expected multiples of {unit} RGB pixels")
        needed = 2 * (size + window * (frames // 2))
        if min(height, width) < needed:
            raise UserError(
                f"datasets.train.size: found {min(height, width)}, expected at least {needed} RGB pixels: twice "
                f"(patch_size {size} + search_window {window} * {frames // 2} frames)"
            )
        return (min(height, width) // 2 - size) // 2 // self.restorer.features.scale * self.restorer.features.scale

    def run(self) -> None:
        """Train to the last iteration."""
        train, every = self.options.train, self.options.logger
        parameters = sum(p.numel() for p in self.restorer.parameters())
        start = f"{self.options.name}: {parameters} parameters, {self.device}, from iteration {self.iteration}"
        history: list[dict[str, float]] = []
        progress = tqdm(
            total=train.total_iter, initial=self.iteration, desc=self.options.name, unit="it", dynamic_ncols=True
        )
        with self.experiment.log_to_file(logger), logging_redirect_tqdm(), progress:
            logger.info(start)
            batches = self._batches()
            while self.iteration < train.total_iter:
                history.append(self._step(next(batches)))
                progress.update()
                last = self.iteration == train.total_iter
                if self.iteration % every.print_every == 0 or last:
                    self._report(history)
                    history.clear()
                if self.iteration % self.options.val.every == 0 or last:
                    self._validate()
                if self.iteration % every.checkpoint_every == 0 or last:
                    self._save()
        if self.tensorboard:
            self.tensorboard.close()

    def _batches(self) -> Iterator[Tensor]:
        train = self.options.train
        samples = range(self.iteration * train.batch_size, train.total_iter * train.batch_size)
        return iter(
            DataLoader(
                self.train_set,
                batch_size=train.batch_size,
                sampler=(sample % len(self.train_set) for sample in samples),
                num_workers=train.workers,
                pin_memory=self.device.type == "cuda",
            )
        )

    def _step(self, frames: Tensor) -> dict[str, float]:
        train, matching = self.options.train, self.options.matching
        first = self.iteration * train.batch_size
        seeds = [
            int(np.random.SeedSequence([self.options.seed, sample]).generate_state(1)[0])
            for sample in range(first, first + len(frames))
        ]
        burst: Burst = degrade(frames.to(self.device, non_blocking=True), seeds)
        origins = torch.full((len(frames), 1, 2), self.origin, device=self.device)
        settled = self.iteration >= matching.final_temperature_from
        temperature = matching.final_temperature if settled else matching.temperature

        self.restorer.train()
        interpolation = self.objective.interpolates(self.iteration)
        prediction, match = self.restorer(
            burst.lq,
            burst.noise_map,
            origins,
            train.patch_size,
            matching.search_window,
            temperature,
            interpolation,
        )
        scale = self.restorer.features.scale
        terms = self.objective(prediction, match, burst, origins, train.patch_size, scale, self.iteration)
        loss = torch.stack(list(terms.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.restorer.parameters(), train.grad_clip or float("inf"))
        finite = bool(norm.isfinite())
        if finite:
            self.optimizer.step()
            self.ema.update_parameters(self.restorer)
        else:
            logger.warning("iteration %d: the gradient is not finite, the step is skipped", self.iteration + 1)
        self.scheduler.step()
        self.iteration += 1
        shown = {name: float(term.detach()) for name, term in terms.items()}
        return shown | {"loss": float(loss.detach()), "gradient_norm": float(norm)} if finite else {}

    def _report(self, history: list[dict[str, float]]) -> None:
        steps = [step for step in history if step]
        means = {name: statistics.fmean(s[name] for s in steps if name in s) for name in (steps[-1] if steps else {})}
        rate = self.optimizer.param_groups[0]["lr"]
        text = ", ".join([f"lr {rate:.3g}", *(f"{name} {value:.5g}" for name, value in means.items())])
        logger.info("iteration %d: %s", self.iteration, text)
        self._curves({f"train/{name}": value for name, value in means.items()} | {"train/lr": rate})

    def _validate(self) -> None:
        val = self.options.val
        restorer = copy.deepcopy(self.ema.module).eval()
        folder = self.experiment.visualization / str(self.iteration)
        noise = PROTOCOL_LEVELS[val.noise]
        results = validate(restorer, self.val_set, noise, self.val_tiling, folder, val.pictures)
        means = {key: statistics.fmean(asdict(result)[key] for result in results) for key in ("psnr", "ssim")}
        logger.info("iteration %d: validation PSNR %.3f dB, SSIM %.4f", self.iteration, means["psnr"], means["ssim"])
        self._curves({f"val/{name}": value for name, value in means.items()})

    def _curves(self, values: dict[str, float]) -> None:
        if self.tensorboard:
            for name, value in values.items():
                self.tensorboard.add_scalar(name, value, self.iteration)
            self.tensorboard.flush()

    def _save(self) -> None:
        metadata = {"network": self.options.network.node(), "features": self.options.features.node()}
        state = {
            "iteration": self.iteration,
            "model": self.restorer.state_dict(),
            "ema": self.ema.module.state_dict(),
            "ema_updates": int(self.ema.n_averaged),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "metadata": metadata,
        }
        self.experiment.save(self.iteration, self.ema.module.state_dict(), metadata, state)

    def _resume(self) -> None:
        state = self.experiment.latest_state()
        if state is None:
            return
        load_strictly(self.restorer, state["model"], self.experiment.latest)
        load_strictly(self.ema.module, state["ema"], self.experiment.latest)
        self.ema.n_averaged.fill_(state["ema_updates"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.iteration = state["iteration"]
