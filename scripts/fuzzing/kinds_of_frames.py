"""Kinds of input: frames, and what describes them."""

import os
import shutil
from pathlib import Path

from fuzzing.bench import EVALUATE, Attempt, Bench, restore
from fuzzing.containers import mutate_hdf5
from fuzzing.formats import mutate_png, mutate_tiff
from fuzzing.mutators import (
    mutate_bytes,
    mutate_yaml,
    replace_file,
)
from fuzzing.samples import CAMERA, CODECS, EVALUATION, FRAMES, write_yaml

METADATA = ("meta/ColorMatrix2", "meta/AsShotNeutral", "meta/UnknownTags/Value", "#refs#/Value7")
"""What is read of the .mat file of a reference frame, besides the mosaic."""

FILE_NAMES = (
    "-1.png", "1.PNG", " .png", ".png", "..png", "1.jpeg", "1.dng", "1.cr2", "camera.yml", "CAMERA.YML", "é.png",
    "\udcff.png", "new\nline.png", "\x1b[31m.png", "=1+1.png", "a" * 251 + ".png", "notes.txt", "Thumbs.db",
    "1_linear.png", "99999999999999999999.png",
)  # fmt: skip


def camera_file(bench: Bench) -> Attempt:
    """camera.yml beside mosaics."""
    bench.bring("burst", "small.safetensors")
    bench.damage("burst/camera.yml", lambda _: mutate_yaml(bench.rng, CAMERA))
    return restore("burst")


def mosaics(bench: Bench) -> Attempt:
    """PNG and TIFF mosaics."""
    suffix = bench.rng.choice(("png", "tif"))
    folder = {"png": "burst", "tif": "burst_tif"}[suffix]
    bench.bring(folder, "small.safetensors")
    _damage_picture(bench, f"{folder}/{bench.rng.randrange(FRAMES)}.{suffix}", suffix)
    return restore(folder)


def clips(bench: Bench) -> Attempt:
    """Clips of PNG, JPEG, TIFF, BMP and WebP."""
    suffix = bench.rng.choice(CODECS)
    bench.bring(f"clip_{suffix}", "small.safetensors")
    _damage_picture(bench, f"clip_{suffix}/{bench.rng.randrange(FRAMES)}.{suffix}", suffix)
    return restore(f"clip_{suffix}", "--simulate", "high")


def _damage_picture(bench: Bench, name: str, suffix: str) -> None:
    by_format = {"png": mutate_png, "tif": mutate_tiff}.get(suffix)
    formats = [path for codec in CODECS for path in bench.others(f"clip_{codec}/x")]
    foreign = [
        *formats,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        b"<svg/>",
        b"P6 9 9 255 " + bytes(243),
    ]

    def mutate(data: bytes) -> bytes:
        if bench.rng.random() < 0.1:
            return bench.rng.choice(foreign)
        if by_format and bench.rng.random() < 0.6:
            return by_format(bench.rng, data)
        return mutate_bytes(bench.rng, data, bench.others(name))

    bench.damage(name, mutate)


def raw_files(bench: Bench) -> Attempt:
    """DNGs."""
    bench.bring("dng", "small.safetensors")
    name = f"dng/{bench.rng.randrange(FRAMES)}.dng"
    others = bench.others(name)
    kinds = (mutate_tiff, mutate_tiff, lambda rng, data: mutate_bytes(rng, data, others))
    changed = bench.rng.choice(kinds)
    bench.damage(name, lambda data: changed(bench.rng, data))
    if bench.rng.random() < 0.3:  # in all files: they agree with each other
        data = (bench.folder / name).read_bytes() if _is_small_file(bench.folder / name) else b""
        for number in range(FRAMES):
            if data and (bench.folder / f"dng/{number}.dng").is_file():
                (bench.folder / f"dng/{number}.dng").write_bytes(data)
    return restore("dng")


def _is_small_file(path: Path) -> bool:
    """Whether the fuzzer itself can copy it: neither a link, to a device for instance, nor a large sparse file."""
    return path.is_file() and not path.is_symlink() and path.stat().st_size < 2**24


def folders(bench: Bench) -> Attempt:
    """Folders with other names, and with more than frames in them."""
    rng = bench.rng
    name = rng.choice(("burst", "dng", "clip_png", "clips/x"))
    bench.bring(name.split("/")[0], "small.safetensors", "test.yml")
    root = bench.folder / name
    for _ in range(rng.choice((1, 1, 2, 4))):
        path = rng.choice(sorted(root.iterdir()))
        new = root / rng.choice(
            (*FILE_NAMES, f"{path.stem}x{path.suffix}", path.name.upper(), f"{path.name}.png", f"00{path.name}")
        )
        match rng.randrange(5):
            case 0 if path.is_file():
                path.rename(new)
            case 1 if _is_small_file(path) and not os.path.lexists(new):
                shutil.copyfile(path, new)
            case 2 if not new.is_dir():
                replace_file(rng, new)
            case 3:
                replace_file(rng, path) if not path.is_dir() else None
            case _:
                shutil.copytree(bench.samples / "burst", root / "more", dirs_exist_ok=True)
    if name == "clips/x":
        return Attempt("codes/test_REDS4.py", [*EVALUATE, "--limit", "1"])
    return restore(name, *(["--simulate", "low"] if name == "clip_png" else []), *rng.choice(([], ["--sliding"])))


def matlab_files(bench: Bench) -> Attempt:
    """SC_burst's .mat files."""
    bench.bring("scenes", "small.safetensors")
    reference = bench.rng.random() < 0.7  # the programs read nothing but `im` of other frames
    name = f"scenes/Scene01/{2 if reference else 1:04d}.mat"
    names = ("im", "meta", *METADATA) if reference else ("im",)
    refuse = False
    if bench.rng.random() < 0.6:
        refuse = mutate_hdf5(bench.rng, bench.folder / name, names, bench.samples / "secret.mat")
    else:
        bench.damage(name, lambda data: mutate_bytes(bench.rng, data, bench.others(name)))
    write_yaml(
        bench.folder / "test.yml",
        EVALUATION | {"dataset": {"type": "SCBurst"}, "data": "scenes", "noise": None, "paper": None},
    )
    return Attempt("codes/test_SC_burst.py", list(EVALUATE), refuse)
