"""Compare the package with reference numbers: python scripts/verify_golden.py DIR.

Prints a row per file with the largest error relative to the largest value, and exits with code 1 if any file disagrees
or DIR has none. Every array of a file is used, as a result or as an input. Files of other networks, and such entries of
released_checkpoint_keys.json, are listed as not covered.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from twostagealign.archs import (
    GCPNet,
    LowResolutionFeatures,
    TwoStageNet,
    from_released,
    to_released,
)
from twostagealign.archs.released import Released
from twostagealign.cli.arguments import Parser
from twostagealign.cli.run import run
from twostagealign.data import PADDINGS, frame_window
from twostagealign.isp import (
    PROTOCOL_LEVELS,
    Camera,
    expand_gamma,
    invert_tone_curve,
    mosaic,
    noise_map,
    process,
    protocol_noise,
    tone_curve,
    unprocess,
)
from twostagealign.losses import charbonnier, edge_map
from twostagealign.matching import blend_patches, hard_match, soft_match
from twostagealign.metrics import psnr, ssim
from twostagealign.runtime.errors import UserError
from twostagealign.training.schedule import CosineRestarts

TOLERANCE = 1e-4
# These norms were computed in double precision, as they are here.
TOLERANCES = {"network_nf8_grad.npz": 1e-12}

Pairs = Iterator[tuple[str, object, object]]
"""Name, value that the package computes, value in the file."""


class Arrays(Mapping[str, Tensor]):
    """Arrays of an .npz file as tensors; records which have been used."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as file:
            self._arrays = {name: torch.from_numpy(np.asarray(file[name])) for name in file.files}
        self.unused = set(self._arrays)

    def __getitem__(self, name: str) -> Tensor:
        self.unused.discard(name)
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def below(self, prefix: str) -> dict[str, Tensor]:
        """Return all arrays whose names start with a prefix, keyed by the rest of the name."""
        return {name.removeprefix(prefix): self[name] for name in self if name.startswith(prefix)}


def check_isp(golden: Arrays) -> Pairs:
    camera = Camera(golden["rgb2cam"][None], golden["red_gain"], golden["blue_gain"], golden["rgb_gain"])
    curve = invert_tone_curve(golden["srgb"])
    linear = golden["linear"]
    srgb = process(linear[None], camera)
    yield "cam2rgb", camera.cam2rgb[0], golden["cam2rgb"]
    yield "step_inverse_smoothstep", curve, golden["step_inverse_smoothstep"]
    yield "step_gamma_expansion", expand_gamma(curve), golden["step_gamma_expansion"]
    yield "linear", unprocess(golden["srgb"][None], camera)[0], linear
    yield "mosaic", mosaic(linear), golden["mosaic"]
    yield "process_train", process(linear[None], camera, with_rgb_gain=False)[0], golden["process_train"]
    yield "process_test", srgb[0], golden["process_test"]
    yield "process_test_tone_mapped", tone_curve(srgb)[0], golden["process_test_tone_mapped"]


def check_test_noise(golden: Arrays) -> Pairs:
    for level, (shot, read) in PROTOCOL_LEVELS.items():
        for seed in (1, 2):
            noisy = protocol_noise(golden["mosaic"], shot, read, seed)
            deviation = noise_map(noisy.clamp(0, 1)[None], shot, read)[0]
            yield f"{level}/seed{seed}/noisy", noisy, golden[f"{level}/seed{seed}/noisy_unclipped"]
            yield f"{level}/seed{seed}/noise_map", deviation, golden[f"{level}/seed{seed}/noise_map"]


def check_downsampler(golden: Arrays) -> Pairs:
    net = LowResolutionFeatures()
    net.load_state_dict(from_released(golden.below("state/"))[1])
    yield "output", net(golden["input"]), golden["output"]


def check_block_matching(golden: Arrays) -> Pairs:
    features, origins = golden["features"][None], golden["origins"][None]
    size, radius, scale = (int(golden[name]) for name in ("size", "radius", "scale"))
    found = hard_match(features, origins, size, radius)[0]
    yield "positions", found, golden["positions"]
    # Windows whose content stays inside all frames are found exactly.
    goals = golden["origins"][:, None] + golden["true_shift"]
    room = torch.tensor(features.shape[-2:]) - size
    in_view = ((goals >= 0) & (goals <= room)).all(-1).all(-1)
    yield "true_shift", found[in_view] if in_view.any() else torch.zeros(0), goals[in_view]

    for origin, temperature in sorted({tuple(name.split("/")[1:3]) for name in golden if name.startswith("soft/")}):
        key = f"soft/{origin}/{temperature}"
        match = soft_match(features, origins[:, [int(origin)]], size, radius, float(temperature))
        for frame in (0, 1, 3, 4):
            valid = match.valid[0, 0, frame]
            for name in ("candidates", "scores", "weights"):
                values = getattr(match, name)[0, 0, frame][valid]
                yield f"{key}/frame{frame}/{name}", values, golden[f"{key}/frame{frame}/{name}"]
        aligned = blend_patches(golden["frames"].float()[None], match, scale * size, scale)[0, 0]
        yield f"{key}/mean", aligned.mean((-1, -2)), golden[f"{key}/aligned_mean_per_frame_channel"]
        yield f"{key}/corner", aligned[..., :8, :8], golden[f"{key}/aligned_corner_8x8"]


def _network(golden: Arrays) -> TwoStageNet:
    network = TwoStageNet(int(golden["nf"]), int(golden["groups"]))
    network.load_state_dict(from_released(golden.below("state/"))[1])
    return network


def check_network(golden: Arrays) -> Pairs:
    network = _network(golden)
    yield "output_eval", network(golden["lq"], golden["noise_map"]), golden["output_eval"]
    yield "output_train", network(golden["lq"], golden["noise_map"], interpolation=True), golden["output_train"]


def check_network_gradients(golden: Arrays, path: Path) -> Pairs:
    beside = path.with_name("network_nf8.npz")
    if not beside.exists():
        raise UserError(f"{beside}: no such file; {path.name} needs its weights")
    weights = Arrays(beside)
    # Double precision: with kinks in loss, activations and sampling, single precision depends on the CPU.
    network = _network(weights).double()
    with torch.enable_grad():
        output = network(weights["lq"].double(), weights["noise_map"].double(), interpolation=True)
        charbonnier(output, torch.zeros_like(output)).backward()
    gradients = {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
    norms = to_released("TwoStageNet", {name: gradient.norm() for name, gradient in gradients.items()})
    yield "parameters", sorted(norms), sorted(golden)
    for name in golden:
        yield name, norms[name], golden[name]


def check_gcp_net(golden: Arrays) -> Pairs:
    network = GCPNet(int(golden["nf"]), int(golden["groups"]), frames=golden["lq"].shape[1])
    network.load_state_dict(from_released(golden.below("state/"))[1])
    yield "output", network(golden["lq"], golden["noise_map"]), golden["output"]


def check_losses(golden: Arrays) -> Pairs:
    prediction, target = golden["prediction"], golden["target"]
    edges = edge_map(prediction)
    yield "charbonnier_sum", charbonnier(prediction, target), golden["charbonnier_sum"]
    yield "edge_map_of_prediction", edges, golden["edge_map_of_prediction"]
    yield "charbonnier_masked_sum", charbonnier(prediction, target, edges), golden["charbonnier_masked_sum"]


def check_lr_schedule(golden: Arrays) -> Pairs:
    base, eta_min = float(golden["base_lr"]), float(golden["eta_min"])
    schedule = CosineRestarts(golden["periods"].tolist(), golden["restart_weights"].tolist(), eta_min)
    expected = golden["lr_after_step"]
    found = torch.tensor([schedule.rate(step, base) for step in range(1, len(expected) + 1)], dtype=torch.float64)
    yield "lr_after_step", found, expected
    yield "lowest rate", found.min(), expected.min()  # relative to the highest rate, an error here would not show


def check_metrics(golden: Arrays) -> Pairs:
    image, target = (golden[name].permute(2, 0, 1) for name in ("image1", "image2"))
    yield "psnr", psnr(image, target, data_range=255), golden["psnr"]
    yield "ssim", ssim(image, target, data_range=255), golden["ssim"]


def check_frame_windows(path: Path) -> Pairs:
    entries = json.loads(path.read_text(encoding="utf-8"))
    yield "padding modes", sorted({entry["padding"] for entry in entries}), sorted(PADDINGS)
    for entry in entries:
        indices = entry.pop("indices")
        yield str(entry), frame_window(**entry), indices


RELEASED: dict[str, tuple[Released, type[nn.Module]]] = {
    "600000_G.pth": ("TwoStageNet", TwoStageNet),
    "600000_DSNet.pth": ("LowResolutionFeatures", LowResolutionFeatures),
    "GCP-Net 600000_G.pth": ("GCPNet", GCPNet),
}
"""Released files whose weight names are known here, and the class that each belongs to."""


def check_released_keys(path: Path) -> Pairs:
    files = json.loads(path.read_text(encoding="utf-8"))
    for file, (name, network) in RELEASED.items():
        with torch.device("meta"):  # only names and shapes matter
            ours = to_released(name, network().state_dict())
        yield file, {key: list(value.shape) for key, value in ours.items()}, dict(files[file])


def other_entries(path: Path) -> list[str]:
    """Return the entries of a file that belong to other networks, which no check uses."""
    if path.name != "released_checkpoint_keys.json":
        return []
    return [name for name in json.loads(path.read_text(encoding="utf-8")) if name not in RELEASED]


ARRAY_CHECKS: dict[str, Callable[[Arrays], Pairs]] = {
    "isp.npz": check_isp,
    "test_noise.npz": check_test_noise,
    "downsampler.npz": check_downsampler,
    "block_matching.npz": check_block_matching,
    "network_nf8.npz": check_network,
    "gcpnet_nf8.npz": check_gcp_net,
    "losses.npz": check_losses,
    "lr_schedule.npz": check_lr_schedule,
    "metrics.npz": check_metrics,
}
PATH_CHECKS: dict[str, Callable[[Path], Pairs]] = {
    "frame_windows.json": check_frame_windows,
    "released_checkpoint_keys.json": check_released_keys,
}


def _pairs(path: Path) -> Pairs:
    if path.name in PATH_CHECKS:
        yield from PATH_CHECKS[path.name](path)
        return
    golden = Arrays(path)
    if path.name == "network_nf8_grad.npz":
        yield from check_network_gradients(golden, path)
    else:
        yield from ARRAY_CHECKS[path.name](golden)
    yield "arrays that no check uses", sorted(golden.unused), []


def _error(found: object, expected: object) -> float:
    """Return the largest absolute error over the largest absolute value; infinite if exact values differ."""
    if isinstance(expected, Tensor) and expected.is_floating_point():
        found = torch.as_tensor(found, dtype=torch.float64)
        if found.shape != expected.shape:
            return float("inf")
        error = (found - expected).abs().max() / expected.abs().max().clamp_min(1e-30)
        return float(error) if error.isfinite() else float("inf")
    if isinstance(expected, Tensor):
        equal = isinstance(found, Tensor) and found.shape == expected.shape and bool((found == expected).all())
        equal = equal and expected.numel() > 0
    else:
        equal = found == expected
    return 0.0 if equal else float("inf")


@torch.no_grad()
def verify(path: Path) -> tuple[float, str]:
    """Return the largest error in a file, and the name of its entry."""
    try:
        errors = [(_error(found, expected), name) for name, found, expected in _pairs(path)]
    except UserError:
        raise
    except Exception as error:  # any consequence of a damaged file
        return float("inf"), f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return max(errors)


def main() -> int:
    """Check all files, print a table."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with the reference numbers")
    folder = parser.parse_args().folder
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give a folder with reference numbers")
    known = {*ARRAY_CHECKS, *PATH_CHECKS, "network_nf8_grad.npz"}
    files = sorted(path for path in folder.iterdir() if path.suffix in (".npz", ".json"))
    covered, failed = 0, 0
    print(f"{'file':32}{'largest error':>14}  verdict")
    for path in files:
        if path.name not in known:
            print(f"{path.name:32}{'':>14}  not covered")
            continue
        covered += 1
        error, where = verify(path)
        agrees = error <= TOLERANCES.get(path.name, TOLERANCE)
        failed += not agrees
        print(f"{path.name:32}{error:14.2e}  {'agrees' if agrees else f'DISAGREES in {where}'}", flush=True)
        for entry in other_entries(path) if agrees else ():
            print(f"  {entry:30}{'':>14}  not covered")
    if not covered:
        print(f"{folder}: no known file of reference numbers")
    return int(failed > 0 or covered == 0)


if __name__ == "__main__":
    run(main)
