"""The networks and the blocks that they share."""

from twostagealign.archs.bigru import BidirectionalGRU
from twostagealign.archs.blocks import AttentionBlock, SimpleBlock, initialise
from twostagealign.archs.downsampler import LowResolutionFeatures
from twostagealign.archs.edvr import EDVR
from twostagealign.archs.frames import FrameFeatures
from twostagealign.archs.gcp_net import GCPNet
from twostagealign.archs.kpn import KPN
from twostagealign.archs.pcd_align import ModulatedDeformConv, PCDAlignment, deformable_layers
from twostagealign.archs.reconstruction import ReconstructionUNet
from twostagealign.archs.released import from_released, infer_network, is_released, to_released
from twostagealign.archs.single_frame import SingleFrameNet
from twostagealign.archs.two_stage import TwoStageNet
from twostagealign.archs.widening import widen

__all__ = [
    "EDVR",
    "KPN",
    "AttentionBlock",
    "BidirectionalGRU",
    "FrameFeatures",
    "GCPNet",
    "LowResolutionFeatures",
    "ModulatedDeformConv",
    "PCDAlignment",
    "ReconstructionUNet",
    "SimpleBlock",
    "SingleFrameNet",
    "TwoStageNet",
    "deformable_layers",
    "from_released",
    "infer_network",
    "initialise",
    "is_released",
    "to_released",
    "widen",
]
