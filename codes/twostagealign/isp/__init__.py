"""Camera model as pure functions on tensors: from sRGB to noisy raw planes and back."""

from twostagealign.isp.bayer import CFA_ORDERS, CfaOrder, demosaic, mosaic, pack, unmosaic, unpack
from twostagealign.isp.camera import Camera, join_cameras, protocol_camera, random_camera, rgb2cam_from_xyz2cam, xyz2cam
from twostagealign.isp.cfa import extend_to_rggb, red_position
from twostagealign.isp.defects import LEAST_FRAMES, find_defects, replace_defects
from twostagealign.isp.exposure import exposure_ratio, overview, overview_block
from twostagealign.isp.noise import (
    PROTOCOL_LEVELS,
    NoiseRange,
    add_noise,
    noise_map,
    protocol_noise,
    random_noise_levels,
)
from twostagealign.isp.noise_estimation import Rows, estimate_burst_noise, estimate_noise
from twostagealign.isp.photon_transfer import fit_photon_transfer, transfer_points
from twostagealign.isp.process import apply_gains, compress_gamma, process, tone_curve
from twostagealign.isp.rendering import Tone, automatic_stops, fade_highlights, render
from twostagealign.isp.saturation import find_saturation
from twostagealign.isp.sharpness import Sharpness
from twostagealign.isp.unprocess import apply_matrix, expand_gamma, invert_gains, invert_tone_curve, unprocess
from twostagealign.isp.white_point import ILLUMINANTS, neutral_of_white

__all__ = [
    "CFA_ORDERS",
    "ILLUMINANTS",
    "LEAST_FRAMES",
    "PROTOCOL_LEVELS",
    "Camera",
    "CfaOrder",
    "NoiseRange",
    "Rows",
    "Sharpness",
    "Tone",
    "add_noise",
    "apply_gains",
    "apply_matrix",
    "automatic_stops",
    "compress_gamma",
    "demosaic",
    "estimate_burst_noise",
    "estimate_noise",
    "expand_gamma",
    "exposure_ratio",
    "extend_to_rggb",
    "fade_highlights",
    "find_defects",
    "find_saturation",
    "fit_photon_transfer",
    "invert_gains",
    "invert_tone_curve",
    "join_cameras",
    "mosaic",
    "neutral_of_white",
    "noise_map",
    "overview",
    "overview_block",
    "pack",
    "process",
    "protocol_camera",
    "protocol_noise",
    "random_camera",
    "random_noise_levels",
    "red_position",
    "render",
    "replace_defects",
    "rgb2cam_from_xyz2cam",
    "tone_curve",
    "transfer_points",
    "unmosaic",
    "unpack",
    "unprocess",
    "xyz2cam",
]
