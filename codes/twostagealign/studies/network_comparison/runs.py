"""Trainings of the comparison: each network with each seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from twostagealign.runtime.files import SHIPPED
from twostagealign.studies.ablation.methods import Method, open_variant, train_variant, weights_file

OPTIONS = SHIPPED / "options" / "networks"
"""An option file for each network."""

NETWORKS = {
    "single_frame": "single frame",
    "kpn": "KPN",
    "edvr": "EDVR",
    "gcp_net": "GCP-Net",
    "two_stage": "two-stage",
}
"""Name of the option file -> name of the network in tables."""

SEEDS = (0, 1)


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        network: name of the option file, see `NETWORKS`.
        seed: seed of weights, noise and bursts.
    """

    network: str
    seed: int

    @property
    def name(self) -> str:
        """Name in tables and results."""
        return f"{NETWORKS[self.network]}, seed {self.seed}"

    @property
    def weights(self) -> Path:
        """File of its newest weights, which need not exist."""
        return weights_file(self._file, self._overrides)

    def train(self, source: Path) -> None:
        """Train on a folder of pictures to the end; see `train_variant`."""
        train_variant(self._file, source, self._overrides)

    def open(self) -> Method:
        """Load its newest weights; see `open_variant`."""
        return open_variant(self._file, self.name, self._overrides)

    @property
    def _file(self) -> Path:
        return OPTIONS / f"{self.network}.yml"

    @property
    def _overrides(self) -> list[str]:
        name = f"networks_{self.network}_seed{self.seed}"
        return [f"name={name}", f"seed={self.seed}", f"datasets:train:seed={10 * self.seed + 1}"]
