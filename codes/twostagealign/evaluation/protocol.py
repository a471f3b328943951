"""Evaluation of checkpoints on a data set by the test protocol."""

import platform
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from twostagealign.data import Burst, NoiseLevel, RawFrame
from twostagealign.data.read_ahead import read_ahead
from twostagealign.evaluation.bootstrap import compare
from twostagealign.evaluation.candidates import Candidate, load_candidates
from twostagealign.evaluation.frames import evaluate_frame
from twostagealign.evaluation.jobs import Job, check_files, choose_clips, describe_gaps, open_sequences, plan_jobs
from twostagealign.evaluation.report import write_report
from twostagealign.evaluation.results import (
    SCHEMA_VERSION,
    Environment,
    FrameResult,
    Results,
    Run,
    Skipped,
)
from twostagealign.evaluation.results_folder import ResultsFolder
from twostagealign.evaluation.summary import summarise_clip, summarise_clips
from twostagealign.matching import Search
from twostagealign.metrics import load_metrics
from twostagealign.options.evaluation import FROM_CODE, EvaluationOptions
from twostagealign.options.registry import EVALUATION_SETS, METRICS, check
from twostagealign.restoration.tile_network import record_calls
from twostagealign.restoration.tiling import Tiling, count_tiles
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import check_output_folder, output_folder
from twostagealign.runtime.identity import identity_digest
from twostagealign.runtime.locks import folder_lock
from twostagealign.runtime.memory import give_back_memory
from twostagealign.runtime.ranks import SHARE_TIMEOUT, Ranks, join_ranks


@dataclass(frozen=True)
class Request:
    """Arguments of an evaluation.

    Attributes:
        options: data set and protocol.
        data: folder of the data set.
        checkpoints: files of weights. If there are several, the others are compared with the first.
        tiling: sizes of the tiles.
        search: where patches are searched.
        noise: noise levels; None if the frames have noise of their own.
        features_checkpoint: weights of the feature net, for released checkpoints.
        averaged: take the averaged weights of training states.
        clips: names of the clips to evaluate; None: those that the options name.
        limit: number of frames per clip, from the first one; None: all.
        device: auto, cpu or cuda.
        dtype: name of the dtype that the network computes in; matching stays in float32.
        cuda_graphs: record and replay the network's work on a GPU; see `restoration.replay`.
        workers: number of threads that read frames ahead.
        results: folder that contains the folder of the results.
        name: name of the folder of the results; None: made from data set, checkpoints and noise.
        resume: keep finished frames of an earlier run.
        skip_bad: leave out files that cannot be read, and the frames that need them.
        save_images: number of frames per clip of which pictures are written.
        report: write report.html with these pictures.
    """

    options: EvaluationOptions
    data: Path
    checkpoints: Sequence[Path]
    tiling: Tiling
    search: Search
    noise: Sequence[NoiseLevel] | None
    features_checkpoint: Path | None = None
    averaged: bool = True
    clips: Sequence[str] | None = None
    limit: int | None = None
    device: str = "auto"
    dtype: str = "float32"
    cuda_graphs: bool = True
    workers: int = 2
    results: Path = Path("results")
    name: str | None = None
    resume: bool = False
    skip_bad: bool = False
    save_images: int = 0
    report: bool = False


def evaluate(request: Request) -> tuple[Path, Results] | None:
    """Restore and measure the frames of a data set, alone or together with the other processes of torchrun.

    Returns:
        The folder of the results, and the results; None on ranks other than 0.

    Raises:
        UserError: an argument or a file cannot be used, another evaluation uses the folder, or the results cannot be
            written.

    Source: Guo et al., CVPR 2022, section 4.
    """
    with join_ranks(timeout=SHARE_TIMEOUT) as ranks:
        return _Evaluation(request, ranks).run()


class _Evaluation:
    def __init__(self, request: Request, ranks: Ranks) -> None:
        self.request, self.ranks = request, ranks
        options = request.options
        arguments = check(EVALUATION_SETS, options.dataset, FROM_CODE)
        dataset = EVALUATION_SETS[options.dataset.type](request.data, options.frames, **arguments)
        self.available = dataset.clips
        names = choose_clips(dataset.clips, options.clips, request.clips)
        self._check_noise(dataset.has_noise)
        self.jobs: dict[NoiseLevel | None, list[Job]] = {}
        for noise in request.noise or (None,):
            self.clips, self.skipped = open_sequences(dataset, names, noise, request.skip_bad)
            self.jobs[noise] = plan_jobs(self.clips, options.frames, request.limit, request.save_images)
        self._check_sizes()
        self.device = ranks.device(request.device)
        self.candidates = load_candidates(
            request.checkpoints,
            request.features_checkpoint,
            request.averaged,
            request.search,
            self.device,
            getattr(torch, request.dtype),
            options.frames,
            request.tiling.patch + 2 * request.tiling.halo,
        )
        self.metrics = load_metrics({name: METRICS[name] for name in options.metrics}, self.device)
        self.folder = ResultsFolder(request.results / (request.name or self._usual_name()))
        check_output_folder(self.folder.path)
        if not request.skip_bad:
            check_files(next(iter(self.jobs.values())), ranks, request.workers)
        self.evaluation = ranks.broadcast(identity_digest(self._identity()))

    def _check_noise(self, has_noise: bool) -> None:
        noise = self.request.noise
        if has_noise != (noise is None):
            found = "none" if noise is None else ", ".join(level.name for level in noise)
            expected = "none, the frames have noise of their own" if has_noise else "high, low, both or SHOT,READ"
            raise UserError(f"--noise: found {found}, expected {expected}")

    def _check_sizes(self) -> None:
        request = self.request
        for clip in self.clips:
            if not request.search.inclusive_search and min(clip.size) <= request.tiling.patch:
                height, width = clip.size
                raise UserError(
                    f"--protocol released: clip {clip.name} has raw planes of {width}x{height}, expected more than one "
                    f"tile of {request.tiling.patch} on each side: it has no candidate for the last one"
                )

    def _usual_name(self) -> str:
        parts = [self.request.options.name, "_vs_".join(x.description.label for x in self.candidates)]
        parts += [level.name for level in self.request.noise or ()]
        return "_".join(parts if self.request.search.inclusive_search else [*parts, "released"])

    def _identity(self) -> dict[str, Any]:
        """Data, checkpoints and settings that the result of a frame depends on."""
        request = self.request
        return {
            "dataset": request.options.name,
            "data": str(request.data.resolve()),
            "frames": request.options.frames,
            "noise": [asdict(level) for level in request.noise or ()],
            "tiling": asdict(request.tiling) | asdict(request.search),
            "checkpoints": {x.description.label: x.description.sha256 for x in self.candidates},
            "averaged": request.averaged,
            "device": self.device.type,
            "dtype": request.dtype,
            "metrics": request.options.metrics,
        }

    def run(self) -> tuple[Path, Results] | None:
        with folder_lock(self.folder.path) if self.ranks.rank == 0 else nullcontext():
            if self.ranks.rank == 0:
                self.folder.prepare(self._identity(), self.request.resume or self.ranks.restarted)
                self.ranks.begin()
            self.ranks.wait()
            for candidate in self.candidates:
                record_calls(candidate.restorer.network, self.request.cuda_graphs)
                for jobs in self.jobs.values():
                    self._restore(candidate, self.ranks.share(jobs))
            self.skipped = sorted(set(self.ranks.gather(self.skipped)), key=lambda x: (x.clip, x.frame or ""))
            if self.ranks.rank != 0:
                return None
            results = self._collect()
            self.folder.write_results(results)
            if self.request.report:
                write_report(self.folder.path, results)
            return self.folder.path, results

    def _file(self, candidate: Candidate, job: Job) -> Path:
        return self.folder.frame_file(candidate.description.label, job.clip.noise.name, job.clip.name, job.frame)

    def _finished(self, candidate: Candidate, job: Job) -> FrameResult | None:
        file = self._file(candidate, job)
        return self.folder.finished(file, self.evaluation, job.index, job.names, job.with_pictures)

    def _restore(self, candidate: Candidate, jobs: Sequence[Job]) -> None:
        """Restore the frames that are not finished yet."""
        jobs = [job for job in jobs if not self._finished(candidate, job)]
        clips = {job.clip.name: job.clip for job in jobs}

        def load(key: tuple[str, int]) -> RawFrame:
            clip, index = key
            frame = clips[clip].read(index)
            give_back_memory()
            return frame

        requests = [[(job.clip.name, index) for index in job.window] for job in jobs]
        bursts = read_ahead(requests, load, self.request.workers)
        tiles = sum(count_tiles(job.clip.size, self.request.tiling) for job in jobs)
        label = f"{candidate.description.label}, {jobs[0].clip.noise.name}" if jobs else ""
        hidden = self.ranks.rank != 0 or not jobs
        with tqdm(total=tiles, desc=label, unit="tile", dynamic_ncols=True, disable=hidden) as progress:
            for job, futures in zip(jobs, bursts, strict=True):
                try:
                    burst = Burst([future.result() for future in futures], job.clip.camera)
                except UserError as error:
                    if not self.request.skip_bad:
                        raise
                    self.skipped.append(Skipped(clip=job.clip.name, frame=job.frame, reason=str(error)))
                    progress.update(count_tiles(job.clip.size, self.request.tiling))
                    continue
                file = self._file(candidate, job)
                output_folder(file.parent)
                args = (self.request.tiling, self.metrics, file.with_suffix(""), self.folder.path, progress.update)
                self.folder.write_frame(file, self.evaluation, evaluate_frame(candidate, job, burst, *args))

    def _collect(self) -> Results:
        """Put the records of all ranks together."""
        request, options = self.request, self.request.options
        labels = [candidate.description.label for candidate in self.candidates]
        runs, comparisons = {}, []
        for noise, jobs in self.jobs.items():
            frames = {}
            for candidate, label in zip(self.candidates, labels, strict=True):
                frames[label] = self._records(candidate, jobs)
                runs[label, noise] = self._summarise(label, noise, frames[label])
            for other in labels[1:]:
                comparisons += compare(jobs[0].clip.noise.name, labels[0], other, frames)
        clips = options.paper.clips if options.paper else self.available
        count = options.paper.frames if options.paper else None
        notes = describe_gaps(clips, count, self.clips, request.limit, self.skipped)
        return Results(
            schema_version=SCHEMA_VERSION,
            dataset=options.name,
            data=str(request.data),
            complete=not notes,
            notes=notes,
            options=self._identity() | {"option_file": options.model_dump(mode="json")},
            checkpoints=[candidate.description for candidate in self.candidates],
            runs=[runs[label, noise] for label in labels for noise in self.jobs],
            comparisons=comparisons,
            skipped=self.skipped,
            environment=Environment(
                python=platform.python_version(),
                torch=torch.__version__,
                device=torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
                ranks=self.ranks.count,
                threads=torch.get_num_threads(),
            ),
        )

    def _records(self, candidate: Candidate, jobs: Sequence[Job]) -> list[FrameResult]:
        """Records of all frames but those that were left out."""
        left_out = {(entry.clip, entry.frame) for entry in self.skipped}
        records = []
        for job in jobs:
            record = self._finished(candidate, job)
            if record is not None:
                records.append(record)
            elif (job.clip.name, job.frame) not in left_out:
                raise UserError(
                    f"{self._file(candidate, job)}: removed or overwritten during the evaluation, so the results are "
                    "not complete; run it again with --resume, and no other one in this folder"
                )
        return records

    def _summarise(self, label: str, noise: NoiseLevel | None, frames: list[FrameResult]) -> Run:
        if not frames:
            raise UserError(f"--skip-bad: found no frame that can be used; the first problem: {self.skipped[0].reason}")
        paper, name = self.request.options.paper, noise.name if noise else "camera"
        clips = [summarise_clip(x.name, [frame for frame in frames if frame.clip == x.name]) for x in self.clips]
        return Run(
            checkpoint=label,
            noise=name,
            shot=noise.shot if noise else None,
            read=noise.read if noise else None,
            paper_psnr=paper.psnr.get(name) if paper else None,
            mean=summarise_clips(clips),
            clips=clips,
            frames=frames,
        )
