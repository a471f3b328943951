"""Losses on differentiable block matching."""

from torch import Tensor

from twostagealign.losses.charbonnier import charbonnier


def match_supervision(scores: Tensor, clean_scores: Tensor, valid: Tensor) -> Tensor:
    """Loss that pulls the scores of candidates towards their scores on clean frames.

    Args:
        scores: normalised scores computed on features of the noisy frames, (..., K).
        clean_scores: normalised scores of the same candidates computed on clean frames, (..., K).
        valid: True for candidates that count, (..., K), bool.

    Returns:
        Sum of Charbonnier distances over the valid candidates, a scalar.

    Source:
        Guo et al., CVPR 2022, differentiable block matching.
    """
    return charbonnier(scores[valid], clean_scores[valid])


def one_hot_pull(weights: Tensor, valid: Tensor) -> Tensor:
    """Loss that pulls the matching weights of each window towards a single winner.

    K weights that sum to 1 have the (unbiased) variance 1 / K if one of them is 1, and less otherwise.

    Args:
        weights: softmax weights of the candidates of each window, (..., K).
        valid: True for candidates that count, (..., K), bool.

    Returns:
        Sum over windows of |var(w) - 1/K|, a scalar. K is the number of valid candidates of the window, var their
        unbiased variance. Windows with fewer than two valid candidates count 0.

    Source:
        Guo et al., CVPR 2022, differentiable block matching.

    Example:
        >>> import torch
        >>> one_hot_pull(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.ones(2, 2, dtype=torch.bool))
        tensor(0.5000)
    """
    weights = weights.masked_fill(~valid, 0)
    count = valid.sum(dim=-1, keepdim=True, dtype=weights.dtype)
    deviation = (weights - weights.sum(dim=-1, keepdim=True) / count.clamp_min(1)).masked_fill(~valid, 0)
    variance = deviation.square().sum(dim=-1, keepdim=True) / (count - 1).clamp_min(1)
    return (variance - 1 / count.clamp_min(1)).abs().masked_fill(count < 2, 0).sum()
