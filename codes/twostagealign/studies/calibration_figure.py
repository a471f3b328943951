"""Plot of a camera's calibration: noise variance over signal, and the line fitted to it."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from twostagealign.data.camera.calibration import Calibration
from twostagealign.runtime.files import write_atomically


def draw_calibration(calibration: Calibration, path: Path) -> None:
    """Draw the points of a calibration and its line.

    Args:
        calibration: what was measured.
        path: PNG to write.
    """
    signal, variance = calibration.points.T
    shot, read = calibration.noise.shot, calibration.noise.read
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    axes.scatter(signal, variance, s=2, alpha=0.2, color="#868e96", label="blocks of pairs of frames", rasterized=True)
    line = np.linspace(0, max(signal.max(), 1e-3), 100)
    axes.plot(line, shot * line + read**2, color="#1971c2", label=f"shot {shot:.3g}, read {read:.3g}")
    axes.set_xlabel("signal, share of the range from black to white")
    axes.set_ylabel("variance of the noise")
    axes.set_title(calibration.camera.replace("$", "") or "camera")
    axes.legend(loc="upper left")
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=100))
