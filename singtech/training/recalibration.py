"""Batch norm's statistics for evaluation ("precise BN", Wu and Johnson 2021), estimated after a phase of the network.

Dropout before a convolution increases the variance that batch norm measures in training (Li et al., CVPR 2019). So the
running statistics of training do not fit evaluation, where dropout is off. In this network the error grows from layer
to layer, until the network predicts one technique for every clip. The paper does not mention it; `batch_norm=running`
does exactly what the paper says.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from singtech.models.conv_block import channel_moments


def list_norms(network: nn.Module) -> list[Any]:
    """List the batch-norm layers with statistics for evaluation."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]


@torch.no_grad()
def recalibrate(network: nn.Module, waveforms: Iterable[Tensor]) -> None:
    """Set each running mean and variance that the features depend on to those of some clips, with dropout off.

    Each layer's statistics cover all clips equally, whatever the batch sizes. The layers before it normalise by batch,
    as in training. The weights do not change; the network is in eval mode afterwards.

    Args:
        network: with a `features` method, (B, S) -> (B, D).
        waveforms: (B, S) batches of training clips in random order, on the network's device.
    """
    norms = list_norms(network)
    moments = {norm: _Moments() for norm in norms}
    hooks = [norm.register_forward_pre_hook(moments[norm]) for norm in norms]
    counts = [norm.num_batches_tracked.clone() for norm in norms]
    network.eval()
    for norm in norms:
        norm.train()
    try:
        for waveform in waveforms:
            network.features(waveform)  # type: ignore[operator]
    finally:
        for hook in hooks:
            hook.remove()
        network.eval()
    for norm, count in zip(norms, counts, strict=True):
        if not moments[norm].count:
            continue  # in the head, or in an unused branch
        mean, variance = moments[norm].result()
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.num_batches_tracked.copy_(count)


class _Moments:
    """Mean and variance of each channel over all batches, in double precision."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.square = torch.zeros((), dtype=torch.float64)

    def __call__(self, norm: nn.Module, inputs: tuple[Tensor]) -> None:
        maps = inputs[0].detach()
        mean, variance = (moment.cpu().double() for moment in channel_moments(maps))
        count = maps.numel() // maps.shape[1]
        self.mean = (self.mean * self.count + mean * count) / (self.count + count)
        self.square = (self.square * self.count + (variance + mean.square()) * count) / (self.count + count)
        self.count += count

    def result(self) -> tuple[Tensor, Tensor]:
        """(C,) mean and (C,) unbiased variance, as batch norm stores it."""
        variance = (self.square - self.mean.square()).clamp(min=0)
        return self.mean, variance * self.count / max(self.count - 1, 1)
