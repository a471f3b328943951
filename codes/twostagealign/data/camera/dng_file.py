"""DNG files: restored pictures for raw converters, as linear RGB or mosaicked again."""

import math
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape

import cv2
import numpy as np
import tifffile

import twostagealign
from twostagealign.data.burst import NoiseLevel
from twostagealign.data.exif import SOFTWARE, exif_of
from twostagealign.data.metadata import FrameMetadata, TagValue
from twostagealign.data.tiff_entries import Entry, TiffType, make_entry
from twostagealign.isp import xyz2cam
from twostagealign.runtime.files import write_atomically

DngLayout = Literal["linear", "cfa"]
"""What a DNG holds: RGB of every pixel, or a Bayer mosaic."""

_LINEAR_RAW, _CFA = 34892, 32803  # PhotometricInterpretation
_D65 = 21  # EXIF LightSource
_SRGB = 2  # PreviewColorSpace
_WHITE = 65535
_PREVIEW_SIDE = 1024
_LEAST_SHOT = 1e-9  # raw converters refuse a noise profile without shot noise

_UNIQUE_MODEL, _MATRIX, _ILLUMINANT = 50708, 50721, 50778
_COLOUR_TYPES = {
    _UNIQUE_MODEL: TiffType.ASCII,
    _MATRIX: TiffType.SRATIONAL,  # ColorMatrix1
    50722: TiffType.SRATIONAL,  # ColorMatrix2
    50723: TiffType.SRATIONAL,  # CameraCalibration1
    50724: TiffType.SRATIONAL,  # CameraCalibration2
    50727: TiffType.RATIONAL,  # AnalogBalance
    _ILLUMINANT: TiffType.SHORT,  # CalibrationIlluminant1
    50779: TiffType.SHORT,  # CalibrationIlluminant2
    50931: TiffType.ASCII,  # CameraCalibrationSignature
    50932: TiffType.ASCII,  # ProfileCalibrationSignature
    50964: TiffType.SRATIONAL,  # ForwardMatrix1
    50965: TiffType.SRATIONAL,  # ForwardMatrix2
}
"""Tags that describe colours. Those of the reference frame are kept."""
_COUNTS = {TiffType.SRATIONAL: 9, TiffType.RATIONAL: 3, TiffType.SHORT: 1}
"""How many values each of these tags has, by its type."""

_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
 xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"><xmp:CreatorTool>{software}</xmp:CreatorTool>
<xmpMM:History><rdf:Seq><rdf:li rdf:parseType="Resource"><stEvt:action>converted</stEvt:action>
<stEvt:softwareAgent>{software}</stEvt:softwareAgent><stEvt:parameters>{settings}</stEvt:parameters></rdf:li></rdf:Seq>
</xmpMM:History></rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


def write_dng(
    path: Path,
    linear: np.ndarray,
    metadata: FrameMetadata,
    preview: np.ndarray,
    layout: DngLayout = "linear",
    noise: NoiseLevel | None = None,
    settings: str = "",
    keep_position: bool = False,
) -> None:
    """Write a restored picture as a DNG of 16 bits, atomically.

    Args:
        path: file to write; an existing one is replaced.
        linear: camera RGB before white balance, (height, width, 3) uint16, upright; 65535 is the white level.
        metadata: metadata of the reference frame.
        preview: the picture as sRGB, (height, width, 3) uint8; it is stored smaller.
        layout: "linear": all three colours of every pixel. "cfa": an RGGB mosaic of them, for raw converters that
            demosaic themselves.
        noise: noise of `linear`, for the noise reduction of raw converters; None: unknown.
        settings: how the picture was restored, for its history.
        keep_position: whether to keep the position where the picture was taken.

    Raises:
        UserError: the file cannot be written.

    Source:
        Adobe, "Digital Negative (DNG) Specification", version 1.7.
    """
    exif = exif_of(metadata, srgb=False, keep_position=keep_position)
    small = _shrink(preview)

    def write(temporary: Path) -> None:
        with tifffile.TiffWriter(temporary) as file:
            file.write(
                small,
                photometric="rgb",
                planarconfig="contig",
                subfiletype=1,  # a preview
                subifds=1,
                metadata=None,
                software=SOFTWARE,
                extratags=[*exif.begin(file), *_entries(_picture_tags(metadata, noise, settings))],
            )
            file.write(
                _mosaic(linear) if layout == "cfa" else linear,
                photometric=_CFA if layout == "cfa" else _LINEAR_RAW,
                planarconfig="contig",
                subfiletype=0,  # the picture itself
                metadata=None,
                software=False,
                extratags=_entries(_CFA_TAGS if layout == "cfa" else _LINEAR_TAGS),
            )

    write_atomically(path, write)


_LINEAR_TAGS: dict[int, tuple[TiffType, TagValue]] = {
    50714: (TiffType.SHORT, (0, 0, 0)),  # BlackLevel
    50717: (TiffType.LONG, (_WHITE,) * 3),  # WhiteLevel
}
_CFA_TAGS: dict[int, tuple[TiffType, TagValue]] = {
    33421: (TiffType.SHORT, (2, 2)),  # CFARepeatPatternDim
    33422: (TiffType.BYTE, (0, 1, 1, 2)),  # CFAPattern
    50710: (TiffType.BYTE, (0, 1, 2)),  # CFAPlaneColor
    50711: (TiffType.SHORT, (1,)),  # CFALayout: rectangular
    50714: (TiffType.SHORT, (0,)),  # BlackLevel
    50717: (TiffType.LONG, (_WHITE,)),  # WhiteLevel
}


def _picture_tags(
    metadata: FrameMetadata, noise: NoiseLevel | None, settings: str
) -> dict[int, tuple[TiffType, TagValue]]:
    """Tags of the first page that describe the whole picture."""
    camera = metadata.camera
    gains = np.array([camera.red_gain.item(), 1.0, camera.blue_gain.item()])
    stops = math.log2(camera.rgb_gain.item()) + metadata.exposure.baseline
    printable = "".join(character for character in settings if character.isprintable())
    xmp = _XMP.format(software=escape(SOFTWARE), settings=escape(printable)).encode()
    tags: dict[int, tuple[TiffType, TagValue]] = {
        700: (TiffType.BYTE, xmp),
        50706: (TiffType.BYTE, (1, 4, 0, 0)),  # DNGVersion
        50707: (TiffType.BYTE, (1, 1, 0, 0)),  # DNGBackwardVersion
        50728: (TiffType.RATIONAL, tuple((gains.min() / gains).tolist())),  # AsShotNeutral, at most 1
        50730: (TiffType.SRATIONAL, (stops,)),  # BaselineExposure
        50966: (TiffType.ASCII, "TwoStageAlign"),  # PreviewApplicationName
        50967: (TiffType.ASCII, twostagealign.__version__),  # PreviewApplicationVersion
        50970: (TiffType.LONG, (_SRGB,)),  # PreviewColorSpace
    }
    if noise:
        tags[51041] = (TiffType.DOUBLE, (max(noise.shot, _LEAST_SHOT), noise.read**2))  # NoiseProfile
    return tags | _colour_tags(metadata)


def _colour_tags(metadata: FrameMetadata) -> dict[int, tuple[TiffType, TagValue]]:
    """Matrices of the reference frame; where its file has none, the one that restoration uses."""
    given = dict(metadata.colour_tags)
    if _MATRIX not in given:
        matrix = tuple(xyz2cam(metadata.camera)[0].flatten().tolist())
        given = {_MATRIX: matrix, _ILLUMINANT: (_D65,)}
    given.setdefault(_UNIQUE_MODEL, f"{metadata.make} {metadata.model}".strip() or "TwoStageAlign")
    return {
        number: (kind, given[number])
        for number, kind in _COLOUR_TYPES.items()
        if number in given and (kind not in _COUNTS or len(given[number]) == _COUNTS[kind])
    }


def _entries(tags: dict[int, tuple[TiffType, TagValue]]) -> list[Entry]:
    entries = [make_entry(number, value, kind) for number, (kind, value) in tags.items()]
    return [entry for entry in entries if entry]


def _mosaic(linear: np.ndarray) -> np.ndarray:
    """Keep one colour of each pixel, RGGB: (height, width)."""
    mosaic = linear[..., 1].copy()
    mosaic[::2, ::2] = linear[::2, ::2, 0]
    mosaic[1::2, 1::2] = linear[1::2, 1::2, 2]
    return mosaic


def _shrink(picture: np.ndarray) -> np.ndarray:
    """Shrink a picture to the size of a preview."""
    height, width = picture.shape[:2]
    scale = min(1.0, _PREVIEW_SIDE / max(height, width))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
