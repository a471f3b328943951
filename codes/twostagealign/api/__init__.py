"""The public interface, which `import twostagealign` offers.

Everything else in the package, besides `api.extending`, may change at any time.
"""

from twostagealign.api.bursts import RawBurst, burst_from_arrays, read_burst, simulate
from twostagealign.api.camera_profile import CameraProfile
from twostagealign.api.pictures import psnr, ssim
from twostagealign.api.restorer import Restorer, load
from twostagealign.api.result import Result
from twostagealign.data import NoiseLevel
from twostagealign.matching import Search
from twostagealign.models.shipped import ShippedModel, list_models
from twostagealign.restoration.quality import Quality
from twostagealign.restoration.tiling import FAST, Tiling
from twostagealign.runtime.errors import UserError

__all__ = [
    "FAST",
    "CameraProfile",
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
    "list_models",
    "load",
    "psnr",
    "read_burst",
    "simulate",
    "ssim",
]
