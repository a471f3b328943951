"""What a kind of input is made with: samples to damage, and command lines of the programs that read them."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fuzzing.mutators import replace_file


@dataclass
class Attempt:
    """A command line on a damaged input.

    Attributes:
        program: script, from the repository's root.
        arguments: of its command line; paths are relative to the folder of the input.
        refuse: whether the program must not accept the input.
    """

    program: str
    arguments: list[str] = field(default_factory=list)
    refuse: bool = False


@dataclass
class Bench:
    """What a kind needs to make an input.

    Attributes:
        rng: draws everything.
        samples: folder of the sound inputs.
        folder: empty, for the input.
    """

    rng: random.Random
    samples: Path
    folder: Path

    def bring(self, *names: str) -> None:
        """Copy samples."""
        for name in names:
            source = self.samples / name
            (shutil.copytree if source.is_dir() else shutil.copyfile)(source, self.folder / name)

    def damage(self, name: str, mutate: Callable[[bytes], bytes]) -> None:
        """Damage a file by a function of its bytes, or put something else in its place."""
        path = self.folder / name
        if self.rng.random() < 0.02:
            replace_file(self.rng, path)
        else:
            path.write_bytes(mutate(path.read_bytes()))

    def others(self, name: str) -> list[bytes]:
        """Files of the same folder of the samples, to splice with."""
        return [path.read_bytes() for path in sorted((self.samples / name).parent.iterdir()) if path.is_file()]


TILING = ["--patch", "16", "--halo", "4", "--search-window", "16"]
NET = ["--checkpoint", "small.safetensors", "--device", "cpu"]
EVALUATE = ["-opt", "test.yml", *NET, "--results", "results", "--name", "r", "--workers", "0"]


def restore(folder: str, *more: str, checkpoint: str = "small.safetensors") -> Attempt:
    """Command line that restores a folder."""
    arguments = ["--input", folder, "--output", "out", *TILING, "--checkpoint", checkpoint, "--device", "cpu", *more]
    return Attempt("codes/restore.py", arguments)
