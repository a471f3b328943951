"""Which parameters learn how fast."""

from __future__ import annotations

from torch.optim import Adam

from twostagealign.archs import ModulatedDeformConv
from twostagealign.models import TwoStageRestorer
from twostagealign.options.schema import OptimizerOptions


def build_optimizer(restorer: TwoStageRestorer, options: OptimizerOptions) -> Adam:
    """Adam over the network, the feature net and, where they have a rate of their own, the deformable layers.

    Args:
        restorer: whose parameters are trained.
        options: rates and betas.

    Returns:
        The optimizer; its groups are named `network`, `features` and `deform`.

    Source: EDVR's code, where deformable layers, which can make training collapse, may learn more slowly.
    """
    deform = []
    if options.deform_lr is not None:
        layers = [layer for layer in restorer.network.modules() if isinstance(layer, ModulatedDeformConv)]
        deform = [parameter for layer in layers for parameter in layer.parameters()]
    slow = set(deform)
    groups = [
        {
            "name": "network",
            "params": [parameter for parameter in restorer.network.parameters() if parameter not in slow],
            "lr": options.lr,
        },
        {"name": "features", "params": list(restorer.features.parameters()), "lr": options.features_lr},
    ]
    if deform:
        groups.append({"name": "deform", "params": deform, "lr": options.deform_lr})
    return Adam(groups, betas=options.betas)
