"""One raw file of a camera: its mosaic and its metadata, each value from the best source that the file has."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from twostagealign.data.burst import Levels, NoiseLevel
from twostagealign.data.camera import dng
from twostagealign.data.camera.camera_file import check_camera
from twostagealign.data.camera.hdr_plus import hdr_plus_shading
from twostagealign.data.camera.libraw import open_raw
from twostagealign.data.camera.shot_tags import describe_shot
from twostagealign.data.camera.tiff_tags import Tags, read_tags
from twostagealign.data.metadata import UNKNOWN_NOISE, Crop, FrameMetadata, TagValue
from twostagealign.data.shading import Shading
from twostagealign.isp import CFA_ORDERS, CfaOrder, extend_to_rggb, pack, rgb2cam_from_xyz2cam
from twostagealign.runtime.errors import UserError

if TYPE_CHECKING:
    import rawpy

_D65_KELVIN = 6500.0


@dataclass(frozen=True)
class RawFile:
    """A raw file whose metadata has been read.

    Attributes:
        path: the file.
        metadata: what it and camera.yml say; the noise is UNKNOWN_NOISE where neither gives it.
        black: black level of every sample where it is not the same in all 2 x 2 cells; None where it is.
        shading: gains that undo the shading of the lens; None if the file does not have them.
        missing: bytes of the samples that are missing at the end of the file; 0 or less if none are.
    """

    path: Path
    metadata: FrameMetadata
    black: dng.BlackLevel | None = None
    shading: Shading | None = None
    missing: float = 0

    def read_samples(self) -> np.ndarray:
        """Decode the samples of the crop, (height, width) uint16; UserError if the file cannot be read.

        Black levels that differ from cell to cell are brought to those of `metadata.levels`.
        """
        crop, levels = self.metadata.crop, self.metadata.levels
        assert crop
        assert levels
        if self.missing > 0:
            raise UserError(f"{self.path}: not a raw file, or corrupt (cut short by {self.missing:.0f} bytes)")
        with open_raw(self.path) as raw:
            samples = raw.raw_image_visible[_slices(crop)].copy()
        if samples.shape != (crop.height, crop.width):
            raise UserError(f"{self.path}: has changed since it was opened; run again")
        if self.black is not None:
            black = self.black.at(crop)
            level = _cell(black)
            excess = black - np.tile(level, (crop.height // 2 + 1, crop.width // 2 + 1))[: crop.height, : crop.width]
            # Clipped samples stay clipped.
            samples = np.where(samples < levels.white, (samples - excess).round().clip(0, 65535), samples)
        return samples.astype(np.uint16, copy=False)


def open_raw_file(path: Path, camera_file: Path, content: Mapping[str, object]) -> RawFile:
    """Read the metadata of a raw file.

    Args:
        path: the file.
        camera_file: path of the camera.yml beside it, for errors.
        content: content of the camera.yml, empty if there is none. Its values replace those of the raw file.

    Raises:
        UserError: the file cannot be read, does not hold a Bayer mosaic, or neither file has a value that is needed.
    """
    tags = read_tags(path)
    dng.check_layout(tags)
    with open_raw(path) as raw:
        _check_pattern(path, raw)
        size = (raw.sizes.height, raw.sizes.width)
        sources: dict[str, str] = {}
        warnings: list[str] = []
        crop = _crop(tags, raw, sources)
        if min(crop.height, crop.width) < 2:
            raise UserError(f"{path}: found {crop.width}x{crop.height} samples, expected at least 2x2")
        cfa = _colours(path, raw, crop)
        black = _black_level(tags, raw, size, sources)
        known: dict[str, object] = {"cfa": cfa, "black_level": _planes(_cell(black.at(_cell_of(crop))), cfa)}
        known["white_level"] = _white_level(tags, raw, sources)
        known |= _camera_colours(path, tags, raw, sources, warnings)
        profile = dng.noise_profile(tags) if dng.is_dng(tags) else None
        if profile:
            known["noise"] = dict(zip(("shot", "read"), profile, strict=True))
            sources["noise"] = "NoiseProfile"
        shot = describe_shot(tags, raw)
        turned = raw.sizes.flip
    described = check_camera(camera_file, content, known, path)
    sources |= {"rgb2cam" if key == "xyz2cam" else key: camera_file.name for key in content}
    noise = described.noise
    is_uniform = black.pattern.shape in ((1, 1), (2, 2)) and not len(black.rows) and not len(black.columns)
    own_black = is_uniform or sources["black_level"] == camera_file.name
    return RawFile(
        path,
        FrameMetadata(
            camera=described.camera,
            noise=NoiseLevel("camera", noise.shot, noise.read) if noise else UNKNOWN_NOISE,
            cfa=described.cfa,
            levels=Levels(described.black_level, described.white_level),
            crop=crop,
            turned=turned,
            exposure=shot.exposure,
            captured=shot.captured,
            make=shot.make,
            model=shot.model,
            lens=shot.lens,
            exif=shot.exif,
            gps=tags.gps,
            colour_tags=_colour_tags(tags) if sources["rgb2cam"] == "ColorMatrix" else {},
            sources=sources,
            warnings=tuple(warnings),
        ),
        black=None if own_black else black,
        shading=(dng.lens_shading(tags, size, crop, cfa) if dng.is_dng(tags) else None)
        or hdr_plus_shading(path, size, crop, cfa),
        missing=tags.missing,
    )


def _colour_tags(tags: Tags) -> dict[int, TagValue]:
    return {tag: tags.main[tag] for tag in dng.COLOUR_TAGS if tag in tags.main}


def _check_pattern(path: Path, raw: "rawpy.RawPy") -> None:
    pattern = raw.raw_pattern
    if pattern is None or pattern.shape != (2, 2):
        size = "no" if pattern is None else f"{pattern.shape[0]}x{pattern.shape[1]}"
        what = "an X-Trans sensor; " if size == "6x6" else ""
        raise UserError(f"{path}: {what}found {size} repeated colour filters, expected a Bayer mosaic (2x2)")


def _crop(tags: Tags, raw: "rawpy.RawPy", sources: dict[str, str]) -> Crop:
    """What a raw developer shows of the picture without its masked borders."""
    sizes = raw.sizes
    crop = dng.default_crop(tags) if dng.is_dng(tags) else None
    source = "DefaultCropOrigin, DefaultCropSize"
    if crop is None and 0 < sizes.crop_width < sizes.width and 0 < sizes.crop_height < sizes.height:
        # LibRaw counts from the first sample of the file.
        top, left = sizes.crop_top_margin - sizes.top_margin, sizes.crop_left_margin - sizes.left_margin
        crop, source = Crop(top, left, sizes.crop_height, sizes.crop_width), "LibRaw"
    if crop is None:
        return Crop(0, 0, sizes.height, sizes.width)
    top, left = max(crop.top, 0), max(crop.left, 0)
    height, width = min(crop.height, sizes.height - top), min(crop.width, sizes.width - left)
    sources["crop"] = source
    return Crop(top, left, height, width)


def _slices(crop: Crop) -> tuple[slice, slice]:
    return slice(crop.top, crop.top + crop.height), slice(crop.left, crop.left + crop.width)


def _cell_of(crop: Crop) -> Crop:
    return Crop(crop.top, crop.left, 2, 2)


def _cell(black: np.ndarray) -> np.ndarray:
    """The upper left 2 x 2 cell."""
    return black[:2, :2]


def _planes(cell: np.ndarray, cfa: CfaOrder) -> list[float]:
    """Values of a 2 x 2 cell in the order of raw planes."""
    return pack(extend_to_rggb(torch.from_numpy(cell.astype(np.float32))[None], cfa))[0, :, 0, 0].tolist()


def _colours(path: Path, raw: "rawpy.RawPy", crop: Crop) -> CfaOrder:
    """Colours of the upper left cell of the crop."""
    cfa = "".join(chr(raw.color_desc[colour]) for colour in _colour_numbers(raw, crop.top, crop.left).flat)
    for order in CFA_ORDERS:
        if order == cfa:
            return order
    raise UserError(f"{path}: found the colours {cfa}, expected a Bayer mosaic: {', '.join(CFA_ORDERS)}")


def _colour_numbers(raw: "rawpy.RawPy", top: int, left: int) -> np.ndarray:
    """LibRaw's numbers of the colours of a 2 x 2 cell, which starts at a sample of the picture without borders."""
    # `raw_colors_visible` would make an array as large as the picture.
    rows, columns = (np.arange(2) + raw.sizes.top_margin + top) % 2, (np.arange(2) + raw.sizes.left_margin + left) % 2
    pattern = raw.raw_pattern
    assert pattern is not None  # see _check_pattern
    return pattern[np.ix_(rows, columns)]


def _black_level(tags: Tags, raw: "rawpy.RawPy", size: tuple[int, int], sources: dict[str, str]) -> dng.BlackLevel:
    black = dng.black_level(tags) if dng.is_dng(tags) else None
    if black is None or (dng.has_masked_areas(tags) and not black.pattern.any()):
        sources["black_level"] = "LibRaw"  # which measures it in masked areas
        return dng.BlackLevel(np.array(raw.black_level_per_channel, dtype=float)[_colour_numbers(raw, 0, 0)])
    for offsets, side, name in zip((black.rows, black.columns), size, ("V", "H"), strict=True):
        if len(offsets) not in (0, side):
            found = f"BlackLevelDelta{name}: found {len(offsets)} numbers, expected {side}"
            raise UserError(f"{tags.path}: damaged DNG ({found})")
    sources["black_level"] = "BlackLevel"
    return black


def _white_level(tags: Tags, raw: "rawpy.RawPy", sources: dict[str, str]) -> float:
    white = dng.white_level(tags) if dng.is_dng(tags) else None
    sources["white_level"] = "LibRaw" if white is None else "WhiteLevel"
    return float(raw.white_level) if white is None else white


def _camera_colours(
    path: Path, tags: Tags, raw: "rawpy.RawPy", sources: dict[str, str], warnings: list[str]
) -> dict[str, object]:
    """White balance and colour matrix by the keys of a camera.yml, as far as the file has them."""
    matrices = dng.colour_matrices(tags) if dng.is_dng(tags) else {}
    matrix_source = "ColorMatrix"
    if not matrices:
        of_libraw = raw.rgb_xyz_matrix[:3].astype(float)
        if np.linalg.matrix_rank(of_libraw) == 3:
            matrices, matrix_source = {_D65_KELVIN: of_libraw}, "rgb_xyz_matrix of LibRaw"
    known: dict[str, object] = {}
    neutral = dng.as_shot_neutral(tags, matrices) if dng.is_dng(tags) else None
    if neutral is None:
        neutral = _libraw_neutral(path, raw, warnings)
    if neutral is not None:
        camera, sources["white_balance"] = neutral
        known["white_balance"] = {"red": camera[1] / camera[0], "blue": camera[1] / camera[2]}
    if matrices:
        # As LibRaw does: the matrix for the light nearest to that of sRGB, scaled so that white stays white.
        matrix = matrices[min(matrices, key=lambda kelvin: abs(kelvin - _D65_KELVIN))]
        sources["rgb2cam"] = matrix_source
        known["rgb2cam"] = rgb2cam_from_xyz2cam(torch.from_numpy(matrix)[None].float())[0].tolist()
        return known
    cam2rgb = raw.color_matrix[:, :3].astype(float)
    if np.linalg.matrix_rank(cam2rgb) == 3:
        sources["rgb2cam"] = "color_matrix of LibRaw"
        known["rgb2cam"] = np.linalg.inv(cam2rgb).tolist()
    return known


def _libraw_neutral(path: Path, raw: "rawpy.RawPy", warnings: list[str]) -> tuple[np.ndarray, str] | None:
    for gains, source in ((raw.camera_whitebalance, "camera"), (raw.daylight_whitebalance, "daylight")):
        if min(gains[:3]) > 0:
            if source == "daylight":
                warnings.append("the file does not say its white balance, daylight is assumed")
            return 1 / np.array(gains[:3]), f"{source}_whitebalance of LibRaw"
    return None
