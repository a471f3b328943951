"""Weight names in the checkpoints that the authors of the methods released, and ours."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

Released = Literal["TwoStageNet", "GCPNet", "LowResolutionFeatures"]
"""Name of the class whose weights a released checkpoint holds."""

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
_FEATURES_AND_RECONSTRUCTION = {
    "feature_extract.simple_block": "features.stem",
    **_attention("feature_extract_acse1", "features.attention1"),
    **_attention("feature_extract_acse2", "features.attention2"),
    **_attention("feature_extract_acse3", "features.attention3"),
    **_attention("feature_extract_acse4", "features.attention4"),
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
}


def _alignment(pyramid: str, levels: str, suffix: str) -> dict[str, str]:
    """Names of the alignment: where the pyramid and its levels are, and what the levels' names end with."""
    names = {}
    for level in ("2", "3"):
        names[f"{pyramid}fea_L{level}_conv1"] = f"alignment.down{level}.0"
        names[f"{pyramid}fea_L{level}_conv2"] = f"alignment.down{level}.2"
    for level, convolutions in (
        ("3", ("compare", "refine")),
        ("2", ("compare", "merge", "refine")),
        ("1", ("compare", "merge", "refine")),
    ):
        theirs, ours = f"{levels}L{level}", f"alignment.level{level}"
        for number, name in enumerate(convolutions, start=1):
            names[f"{theirs}_offset_conv{number}{suffix}"] = f"{ours}.{name}"
        names[f"{theirs}_dcnpack{suffix}"] = f"{ours}.deform"
        names[f"{theirs}_dcnpack{suffix}.conv_offset_mask"] = f"{ours}.deform.predictor"
        names[f"{theirs}_fea_conv{suffix}"] = f"{ours}.fuse"
    return names


_PREFIXES: dict[Released, dict[str, str]] = {
    "TwoStageNet": {
        **_FEATURES_AND_RECONSTRUCTION,
        **_alignment("pcd_align.", "pcd_align.pcd_align.", "_1"),
        "ConvBGRU.forward_net.convz": "fusion.cell.update",
        "ConvBGRU.forward_net.convr": "fusion.cell.reset",
        "ConvBGRU.forward_net.convq": "fusion.cell.candidate",
        "ConvBGRU.conv_1x1": "fusion.merge",
    },
    "GCPNet": {
        **_FEATURES_AND_RECONSTRUCTION,
        **_alignment("", "pcd_align.", ""),
        **{f"feature_guided{i}.simple_block": f"green.block{i}" for i in range(1, 7)},
        **{f"feature_guided{i}_lam": f"green.modulation{i}.scale" for i in (1, 2, 3, 4, 6)},
        **{f"feature_guided{i}_beta": f"green.modulation{i}.shift" for i in (1, 2, 3, 4, 6)},
        "feature_guided6_up": "green.upsample",
        **{f"pcd_align.L{i}_rnn.conv": f"alignment.level{i}.memory.cell.gates" for i in (1, 2, 3)},
        **{f"pcd_align.L{i}_rnn_conv": f"alignment.level{i}.memory.mix" for i in (1, 2, 3)},
        "pcd_align.cas_offset_conv1": "alignment.cascade.compare",
        "pcd_align.cas_offset_conv2": "alignment.cascade.refine",
        "pcd_align.cas_dcnpack": "alignment.cascade.deform",
        "pcd_align.cas_dcnpack.conv_offset_mask": "alignment.cascade.deform.predictor",
        "merge": "merge",
    },
    "LowResolutionFeatures": {"simple_block": "layers"},
}
# A top-level part that no other released network has -> the class.
_TELLING: dict[str, Released] = {
    "ConvBGRU": "TwoStageNet",
    "feature_guided1": "GCPNet",
    "simple_block": "LowResolutionFeatures",
}


def is_released(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the names of a released checkpoint."""
    return _class(state) is not None


def from_released(state: Mapping[str, Tensor]) -> tuple[Released, dict[str, Tensor]]:
    """Rename a released state dict to our names.

    Args:
        state: as loaded from a released checkpoint, perhaps with a leading ``module.`` on every name.

    Returns:
        Name of the class that the weights belong to, and the renamed state. Unknown names stay as they are, so that a
        strict ``load_state_dict`` reports them.

    Raises:
        ValueError: the names are not those of a released checkpoint.
    """
    name = _class(state)
    if name is None:
        raise ValueError(f"state has names like {next(iter(state), None)!r}, expected those of a released checkpoint")
    prefixes = _PREFIXES[name]
    return name, {_rename(key.removeprefix("module."), prefixes): value for key, value in state.items()}


def to_released(name: Released, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename our state dict to released names, the inverse of :func:`from_released`.

    Args:
        name: name of the class that the weights belong to.
        state: state dict of that class.

    Returns:
        The same tensors under the released names.
    """
    ours_to_released = {ours: released for released, ours in _PREFIXES[name].items()}
    return {_rename(key, ours_to_released): value for key, value in state.items()}


def infer_network(state: Mapping[str, Tensor]) -> dict[str, str | int]:
    """Read class and constructor arguments of a released network from the shapes of its weights.

    Args:
        state: state dict of a `TwoStageNet` or a `GCPNet`, with our names.

    Returns:
        A type node: ``{"type": "TwoStageNet", "nf": ..., "groups": ...}``, or that of a GCPNet, with ``frames`` too.

    Raises:
        ValueError: a weight that tells is missing.
    """
    stem, predictor, merge = "features.stem.0.weight", "alignment.level1.deform.predictor.weight", "merge.weight"
    for name in (stem, predictor):
        if name not in state:
            raise ValueError(f"state has no {name!r}, expected the weights of a TwoStageNet or a GCPNet")
    nf, groups = state[stem].shape[0], state[predictor].shape[0] // (3 * 9)
    if merge in state:
        return {"type": "GCPNet", "nf": nf, "groups": groups, "frames": state[merge].shape[1] // nf}
    return {"type": "TwoStageNet", "nf": nf, "groups": groups}


def _class(state: Mapping[str, Tensor]) -> Released | None:
    parts = {name.removeprefix("module.").partition(".")[0] for name in state}
    return next((name for part, name in _TELLING.items() if part in parts), None)


def _rename(name: str, prefixes: Mapping[str, str]) -> str:
    prefix, dot, _ = name.rpartition(".")
    while dot:
        if prefix in prefixes:
            return prefixes[prefix] + name[len(prefix) :]
        prefix, dot, _ = prefix.rpartition(".")
    return name
