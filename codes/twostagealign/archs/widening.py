"""Wider networks that start from the weights of a narrower one."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


@torch.no_grad()
def widen(wide: nn.Module, narrow: Mapping[str, Tensor]) -> None:
    """Set a network's weights so that it computes the same as a narrower one of the same class.

    A layer with a channels in the narrow network and b in the wide one maps channel k to channel k * b // a. The new
    channels between them keep the weights of ``wide``. Mapped channels ignore the new ones until training changes that.

    Args:
        wide: network, changed in place; each of its layers is at least as wide as the narrow network's.
        narrow: state dict of the narrower network.

    Raises:
        ValueError: the entries are not those of ``wide``, or an entry is larger than that of ``wide``.

    Source:
        Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016 (the idea; its new channels are
        copies of old ones).
    """
    state = wide.state_dict()
    if state.keys() != narrow.keys():
        names = sorted(state.keys() ^ narrow.keys())
        raise ValueError(f"entries {', '.join(names[:5])} are in one of the two networks only")
    transposed = {f"{name}.weight" for name, layer in wide.named_modules() if isinstance(layer, nn.ConvTranspose2d)}
    for name, target in state.items():
        source = narrow[name]
        if source.dim() != target.dim() or any(a > b for a, b in zip(source.shape, target.shape, strict=True)):
            raise ValueError(f"{name} has shape {list(source.shape)}, expected at most {list(target.shape)}")
        places = [torch.arange(a) * b // a for a, b in zip(source.shape, target.shape, strict=True)]
        if target.dim() > 1:
            outputs = 1 if name in transposed else 0
            target.index_fill_(outputs, places[outputs].to(target.device), 0)
        target[torch.meshgrid(*places, indexing="ij")] = source.to(target)
