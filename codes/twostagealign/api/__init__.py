"""The public interface, which `import twostagealign` offers.

Everything else in the package, besides `api.extending`, may change at any time.
"""

from twostagealign.api.bursts import EXAMPLES, RawBurst, burst_from_arrays, example, read_burst, simulate
from twostagealign.api.camera_profile import CameraProfile
from twostagealign.api.comparison import Comparison, Look
from twostagealign.api.pictures import psnr, ssim
from twostagealign.api.restorer import Restorer, load
from twostagealign.api.result import Result
from twostagealign.data import NoiseLevel
from twostagealign.data.camera.libraw import RAW_SUFFIXES
from twostagealign.data.pictures import PICTURE_SUFFIXES
from twostagealign.matching import Search
from twostagealign.models.shipped import ShippedModel, list_models
from twostagealign.restoration.quality import Quality
from twostagealign.restoration.tiling import FAST, Tiling
from twostagealign.runtime.errors import UserError

__all__ = [
    "EXAMPLES",
    "FAST",
    "PICTURE_SUFFIXES",
    "RAW_SUFFIXES",
    "CameraProfile",
    "Comparison",
    "Look",
    "NoiseLevel",
    "Quality",
    "RawBurst",
    "Restorer",
    "Result",
    "Search",
    "ShippedModel",
    "Tiling",
    "UserError",
    "burst_from_arrays",
    "example",
    "list_models",
    "load",
    "psnr",
    "read_burst",
    "simulate",
    "ssim",
]
