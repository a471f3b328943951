"""Which parameters learn at which rate, and the optimizer's moments in a training state."""

from __future__ import annotations

from pathlib import Path

from torch import nn
from torch.optim import Adam

from twostagealign.archs import deformable_layers
from twostagealign.models import TwoStageRestorer
from twostagealign.runtime.errors import UserError
from twostagealign.training.state import OptimizerState


def build_optimizer(
    restorer: TwoStageRestorer, lr: float, features_lr: float, deform_lr: float | None, betas: tuple[float, float]
) -> Adam:
    """Adam over the network, the feature net and, if they have a rate of their own, the deformable layers.

    Args:
        restorer: the networks to train.
        lr: learning rate of the network.
        features_lr: learning rate of the feature net.
        deform_lr: learning rate of the deformable layers; None: that of the network.
        betas: decay of the two running means of Adam.

    Returns:
        The optimizer; its groups are named `network`, `features` and `deform`.

    Source: EDVR's code, where deformable layers, which can make training collapse, may learn more slowly.
    """
    rates = {"network": lr, "features": features_lr, "deform": deform_lr}
    groups = [
        {"name": name, "params": parameters, "lr": rates[name], "initial_lr": rates[name]}
        for name, parameters in _groups(restorer, deform_lr is not None).items()
    ]
    return Adam(groups, betas=betas)


def load_moments(optimizer: Adam, restorer: TwoStageRestorer, saved: OptimizerState, source: Path) -> None:
    """Load the moments of Adam, parameter by parameter; rates and betas stay those of the optimizer.

    The saved run may have had a group for deformable layers where this one has none, or the other way round.

    Args:
        optimizer: made by `build_optimizer` for the restorer.
        restorer: the networks.
        saved: the optimizer's part of a training state.
        source: the file that it comes from, which an error names.

    Raises:
        UserError: the moments do not fit the parameters.
    """
    groups = _groups(restorer, any(group.name == "deform" for group in saved.param_groups))
    if {group.name: len(group.params) for group in saved.param_groups} != {k: len(v) for k, v in groups.items()}:
        raise UserError(f"{source}: the optimizer's groups do not fit the networks; train from the weights instead")
    moments = {}
    for group in saved.param_groups:
        for index, parameter in zip(group.params, groups[group.name], strict=True):
            if index in saved.state:
                entry = saved.state[index]
                if not entry.exp_avg.shape == entry.exp_avg_sq.shape == parameter.shape:
                    raise UserError(f"{source}: the optimizer's moments do not fit the networks' parameters")
                moments[parameter] = entry
    own = optimizer.state_dict()
    order = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {index: moments[parameter].model_dump() for index, parameter in enumerate(order) if parameter in moments}
    optimizer.load_state_dict({"state": state, "param_groups": own["param_groups"]})


def _groups(restorer: TwoStageRestorer, deform: bool) -> dict[str, list[nn.Parameter]]:
    layers = deformable_layers(restorer.network).values() if deform else ()
    slow = [parameter for layer in layers for parameter in layer.parameters()]
    excluded = set(slow)
    groups = {
        "network": [parameter for parameter in restorer.network.parameters() if parameter not in excluded],
        "features": list(restorer.features.parameters()),
    }
    return groups | ({"deform": slow} if slow else {})
