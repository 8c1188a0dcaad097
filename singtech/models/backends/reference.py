"""torchvision's operator: the reference, and what a GPU without Triton takes."""

import torch
import torch.nn.functional as F
from torch import Tensor


def reference(
    features: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, padding: tuple[int, int]
) -> Tensor:
    """In the weight's precision. It pads alike on both sides: the input is padded here, as far as the result needs.

    Raises:
        ValueError: a result smaller than the padded map allows, which this operator cannot make.
    """
    from torchvision.ops import deform_conv2d

    top, left = padding
    bottom = offset.shape[2] - 1 + weight.shape[2] - top - features.shape[2]
    right = offset.shape[3] - 1 + weight.shape[3] - left - features.shape[3]
    if bottom < 0 or right < 0:
        raise ValueError(f"an output of {tuple(offset.shape[2:])}: torchvision's operator covers the whole map.")
    with torch.autocast(features.device.type, enabled=False):
        mask = None if mask is None else mask.float().to(weight.dtype)
        offset, padded = offset.to(weight.dtype), F.pad(features.to(weight.dtype), (left, right, top, bottom))
        return deform_conv2d(padded, offset, weight, mask=mask)
