"""The networks: what is computed, with which weights."""

from twostagealign.archs.bigru import BidirectionalGRU
from twostagealign.archs.blocks import AttentionBlock, SimpleBlock, initialise
from twostagealign.archs.downsampler import LowResolutionFeatures
from twostagealign.archs.pcd_align import ModulatedDeformConv, PCDAlignment
from twostagealign.archs.reconstruction import ReconstructionUNet
from twostagealign.archs.released import from_released, infer_network_arguments, is_released, to_released
from twostagealign.archs.single_frame import SingleFrameNet
from twostagealign.archs.two_stage import FrameFeatures, TwoStageNet
from twostagealign.archs.widening import widen

__all__ = [
    "AttentionBlock",
    "BidirectionalGRU",
    "FrameFeatures",
    "LowResolutionFeatures",
    "ModulatedDeformConv",
    "PCDAlignment",
    "ReconstructionUNet",
    "SimpleBlock",
    "SingleFrameNet",
    "TwoStageNet",
    "from_released",
    "infer_network_arguments",
    "initialise",
    "is_released",
    "to_released",
    "widen",
]
