"""Names in the checkpoints that the authors of the method released, and ours."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

Kind = Literal["network", "features"]

_ATTENTION = {
    "square_conv": "square",
    "extract_conv": "extract",
    "res_block1.simple_block": "refine1",
    "res_block2.simple_block": "refine2",
    "down": "squeeze",
    "up": "excite",
    "spatial_att": "spatial",
}


def _attention(released: str, ours: str) -> dict[str, str]:
    return {f"{released}.{theirs}": f"{ours}.{name}" for theirs, name in _ATTENTION.items()}


# Released prefix -> our prefix; the longest one that fits a name counts.
_PREFIXES: dict[Kind, dict[str, str]] = {
    "network": {
        "feature_extract.simple_block": "features.stem",
        **_attention("feature_extract_acse1", "features.attention1"),
        **_attention("feature_extract_acse2", "features.attention2"),
        **_attention("feature_extract_acse3", "features.attention3"),
        **_attention("feature_extract_acse4", "features.attention4"),
        "pcd_align.fea_L2_conv1": "alignment.down2.0",
        "pcd_align.fea_L2_conv2": "alignment.down2.2",
        "pcd_align.fea_L3_conv1": "alignment.down3.0",
        "pcd_align.fea_L3_conv2": "alignment.down3.2",
        "pcd_align.pcd_align.L3_offset_conv1_1": "alignment.level3.compare",
        "pcd_align.pcd_align.L3_offset_conv2_1": "alignment.level3.refine",
        "pcd_align.pcd_align.L3_dcnpack_1": "alignment.level3.deform",
        "pcd_align.pcd_align.L3_dcnpack_1.conv_offset_mask": "alignment.level3.deform.predictor",
        "pcd_align.pcd_align.L2_offset_conv1_1": "alignment.level2.compare",
        "pcd_align.pcd_align.L2_offset_conv2_1": "alignment.level2.merge",
        "pcd_align.pcd_align.L2_offset_conv3_1": "alignment.level2.refine",
        "pcd_align.pcd_align.L2_dcnpack_1": "alignment.level2.deform",
        "pcd_align.pcd_align.L2_dcnpack_1.conv_offset_mask": "alignment.level2.deform.predictor",
        "pcd_align.pcd_align.L2_fea_conv_1": "alignment.level2.fuse",
        "pcd_align.pcd_align.L1_offset_conv1_1": "alignment.level1.compare",
        "pcd_align.pcd_align.L1_offset_conv2_1": "alignment.level1.merge",
        "pcd_align.pcd_align.L1_offset_conv3_1": "alignment.level1.refine",
        "pcd_align.pcd_align.L1_dcnpack_1": "alignment.level1.deform",
        "pcd_align.pcd_align.L1_dcnpack_1.conv_offset_mask": "alignment.level1.deform.predictor",
        "pcd_align.pcd_align.L1_fea_conv_1": "alignment.level1.fuse",
        "ConvBGRU.forward_net.convz": "fusion.cell.update",
        "ConvBGRU.forward_net.convr": "fusion.cell.reset",
        "ConvBGRU.forward_net.convq": "fusion.cell.candidate",
        "ConvBGRU.conv_1x1": "fusion.merge",
        "feature_up": "reconstruction.upsample",
        "conv_block_s1.simple_block": "reconstruction.encoder1.0",
        **_attention("acse_block_s1", "reconstruction.encoder1.1"),
        "pool1": "reconstruction.down1",
        "conv_block_s2.simple_block": "reconstruction.encoder2.0",
        **_attention("acse_block_s2", "reconstruction.encoder2.1"),
        "pool2": "reconstruction.down2",
        "conv_block_s3.simple_block": "reconstruction.bottleneck.0",
        **_attention("acse_block_s3", "reconstruction.bottleneck.1"),
        "conv_block_s3_2.simple_block": "reconstruction.bottleneck.2",
        "up1": "reconstruction.up2",
        "conv_block_s4.simple_block": "reconstruction.decoder2.0",
        **_attention("acse_block_s4", "reconstruction.decoder2.1"),
        "up2": "reconstruction.up1",
        "conv_block_s5.simple_block": "reconstruction.decoder1",
    },
    "features": {"simple_block": "layers"},
}


def is_released(state: Mapping[str, Tensor]) -> bool:
    """Tell whether a state dict carries released names (of either network)."""
    return _kind(state) is not None


def from_released(state: Mapping[str, Tensor]) -> tuple[Kind, dict[str, Tensor]]:
    """Rename a released state dict to our names.

    Args:
        state: as loaded from a released checkpoint, perhaps with a leading ``module.`` on every name.

    Returns:
        ``"network"`` for a :class:`TwoStageNet`, ``"features"`` for a :class:`LowResolutionFeatures`, and the renamed
        state. Names that are not known stay as they are, so that a strict ``load_state_dict`` reports them.

    Raises:
        ValueError: if the names are those of neither network.
    """
    kind = _kind(state)
    if kind is None:
        raise ValueError(f"state has names like {next(iter(state), None)!r}, expected those of a released checkpoint")
    return kind, {_rename(name.removeprefix("module."), _PREFIXES[kind]): value for name, value in state.items()}


def to_released(kind: Kind, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a state dict of ours to released names, the inverse of :func:`from_released`.

    Args:
        kind: ``"network"`` or ``"features"``.
        state: state dict of a :class:`TwoStageNet` or a :class:`LowResolutionFeatures`.

    Returns:
        The same tensors under the released names.
    """
    ours_to_released = {ours: released for released, ours in _PREFIXES[kind].items()}
    return {_rename(name, ours_to_released): value for name, value in state.items()}


def infer_network_arguments(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Read the constructor arguments of a :class:`TwoStageNet` from the shapes of its weights.

    Args:
        state: state dict with our names.

    Returns:
        ``{"nf": ..., "groups": ...}``.

    Raises:
        ValueError: if a weight that tells is missing.
    """
    stem, predictor = "features.stem.0.weight", "alignment.level1.deform.predictor.weight"
    for name in (stem, predictor):
        if name not in state:
            raise ValueError(f"state has no {name!r}, expected the weights of a TwoStageNet")
    return {"nf": state[stem].shape[0], "groups": state[predictor].shape[0] // (3 * 9)}


def _kind(state: Mapping[str, Tensor]) -> Kind | None:
    tops = {name.removeprefix("module.").partition(".")[0] for name in state}
    if "ConvBGRU" in tops:  # the one part that no other released network has
        return "network"
    return "features" if "simple_block" in tops else None


def _rename(name: str, prefixes: Mapping[str, str]) -> str:
    prefix, dot, _ = name.rpartition(".")
    while dot:
        if prefix in prefixes:
            return prefixes[prefix] + name[len(prefix) :]
        prefix, dot, _ = prefix.rpartition(".")
    return name
