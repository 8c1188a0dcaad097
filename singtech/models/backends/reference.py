"""Deformable convolution by torchvision's operator: the reference, and the backend for a GPU without Triton."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def deform_conv2d_torchvision(
    features: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, padding: tuple[int, int]
) -> Tensor:
    """torchvision's operator in weight.dtype, asymmetric padding applied first.

    The operator pads both sides equally, so the features are padded here. It reads invalid memory where an offset is
    NaN. So each NaN becomes 0 before the operator, and the output at its position becomes NaN.

    Raises:
        ValueError: the output would be smaller than the map; torchvision's operator cannot compute this.
    """
    from torchvision.ops import deform_conv2d

    top, left = padding
    bottom = offset.shape[2] - 1 + weight.shape[2] - top - features.shape[2]
    right = offset.shape[3] - 1 + weight.shape[3] - left - features.shape[3]
    if bottom < 0 or right < 0:
        raise ValueError(f"an output of {tuple(offset.shape[2:])}: torchvision's operator covers the whole map.")
    # an offset that leaves the map from any position
    far = sum(features.shape[2:]) + sum(offset.shape[2:]) + sum(weight.shape[2:])
    with torch.autocast(features.device.type, enabled=False):
        mask = None if mask is None else mask.float().to(weight.dtype)
        is_nan = offset.isnan().any(dim=1, keepdim=True)  # (B, 1, F', T')
        finite_offset = offset.to(weight.dtype).nan_to_num(0, far, -far).clamp(-far, far)
        padded = F.pad(features.to(weight.dtype), (left, right, top, bottom))
        return deform_conv2d(padded, finite_offset, weight, mask=mask).masked_fill(is_nan, math.nan)
