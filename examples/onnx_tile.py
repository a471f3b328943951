"""Restore a noisy burst with an exported network: onnxruntime and numpy alone, no PyTorch.

    python scripts/export.py --checkpoint tiny --output exported
    python examples/onnx_tile.py exported/two_stage_tiny.onnx --output tile.npy

Without --input, a burst at rest of a test chart is made, and PSNR in linear RGB is printed before and after.
"""

import argparse

import numpy as np
import onnxruntime

SHOT, READ = 2.5e-3, 1e-2
"""Noise: variance SHOT * value + READ**2, values from 0 (black level) to 1 (white level)."""


def chart(height: int, width: int) -> np.ndarray:
    """Make a test chart: linear RGB of coloured rings, (3, height, width)."""
    y, x = np.mgrid[:height, :width] / min(height, width)
    rings = np.sin(25 * (y**2 + x**2)[None] + np.array([0, 2, 4])[:, None, None])
    return (0.3 + 0.25 * rings).astype(np.float32)


def mosaic(rgb: np.ndarray) -> np.ndarray:
    """Sample RGB, (3, 2H, 2W), as an RGGB sensor does: planes R, G, G, B, (4, H, W)."""
    red, green, blue = rgb
    return np.stack([red[::2, ::2], green[::2, 1::2], green[1::2, ::2], blue[1::2, 1::2]])


def psnr(rgb: np.ndarray, truth: np.ndarray) -> float:
    """Compute PSNR, dB, of values in [0, 1]."""
    return float(-10 * np.log10(np.square(rgb - truth).mean()))


def main() -> None:
    """Read or make a burst, restore it, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="file that scripts/export.py wrote")
    parser.add_argument("--input", metavar="FILE", help=".npz with lq and noise_map, (B, N, 4, H, W) float32")
    parser.add_argument("--output", metavar="FILE", help=".npy for the restored pictures, (B, 3, 2H, 2W)")
    arguments = parser.parse_args()

    session = onnxruntime.InferenceSession(arguments.network, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    print(f"{about['network']}, licence of the weights: {about['licence']}")
    if arguments.input:
        burst = np.load(arguments.input)
        lq, noise_map = burst["lq"], burst["noise_map"]
    else:
        frames, side = int(about["frames"]), 16 * int(about["multiple"])
        truth = chart(2 * side, 2 * side)
        clean = np.repeat(mosaic(truth)[None], frames, axis=0)
        noise = np.random.default_rng(0).standard_normal(clean.shape, np.float32)
        lq = np.clip(clean + noise * np.sqrt(SHOT * clean + READ**2), 0, 1)[None].astype(np.float32)
        noise_map = np.sqrt(SHOT * lq + READ**2)
    (rgb,) = session.run(["rgb"], {"lq": lq, "noise_map": noise_map})
    if not arguments.input:
        reference = lq[0, len(lq[0]) // 2]
        colours = np.stack([reference[0], reference[1:3].mean(axis=0), reference[3]])
        nearest = colours.repeat(2, axis=1).repeat(2, axis=2)
        print(f"PSNR: noisy, nearest colours {psnr(nearest, truth):.2f} dB, restored {psnr(rgb[0], truth):.2f} dB")
    if arguments.output:
        np.save(arguments.output, rgb)


if __name__ == "__main__":
    main()
