"""Deformable convolution (Section 3.1): a convolution that predicts from its input the position of each tap.

`deform_conv2d` is the operation, computed by one of several backends (`singtech.models.backends`); `DeformableConv2d`
is the layer that also predicts the offsets and the mask. Stride and dilation are 1, as everywhere in the paper.
"""

import functools
import logging
from collections.abc import Callable
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from singtech.errors import InvalidValue, require_choice
from singtech.models.backends.compiled import deform_conv2d_numba
from singtech.models.backends.fused import deform_conv2d_triton
from singtech.models.backends.gathered import deform_conv2d_gather
from singtech.models.backends.reference import deform_conv2d_torchvision

log = logging.getLogger(__name__)


COMPUTE = {"torchvision": deform_conv2d_torchvision, "gather": deform_conv2d_gather}
COMPUTE |= {"numba": deform_conv2d_numba, "triton": deform_conv2d_triton}
BACKENDS = tuple(COMPUTE)
HAS_TRITON = find_spec("triton") is not None

# Channels, outputs, kernel, padding and map size of the trials on a GPU: small and large.
TRIALS = (
    (3, 32, (4, 1), (1, 0), (20, 12)),
    (64, 128, (1, 4), (0, 1), (20, 12)),
    (64, 128, (1, 4), (0, 1), (160, 110)),
)


def deform_conv2d(
    features: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    padding: tuple[int, int],
    backend: str = "auto",
) -> Tensor:
    """y(p0) = sum over the taps m of w(p_m) · mask_m(p0) · x(p0 + p_m + Δp_m(p0)), Section 3.1 and Zhu et al. (2019).

    Between grid points x is interpolated bilinearly; outside the map it is 0. The result has the size of `offset`. An
    even kernel needs one more row or column after the map's end; it counts as 0.

    Args:
        features: (B, C, F, T) the input map x.
        offset: (B, 2·M, F', T') Δp for each of the M = kh·kw taps: vertical (bins), then horizontal (frames).
        mask: (B, M, F', T') modulation of each tap, or None for 1 (DCNv1).
        weight: (O, C, kh, kw).
        padding: rows above and columns left of the map, where the kernel starts.
        backend: one of `BACKENDS`, or `auto` for the fastest that the device has, see `backends_on`.
    Returns:
        (B, O, F', T').
    Raises:
        InvalidValue: the backend is unknown, or does not run on this device.
    """
    compute = COMPUTE[backend_for(features.device, backend)]
    return compute(features, offset, mask, weight, padding)


def backend_for(device: torch.device, backend: str = "auto") -> str:
    """Choose the backend for a device: `backend` itself, or the fastest one for `auto`.

    Raises:
        InvalidValue: it is unknown, or does not run on that device.
    """
    available = backends_on(device)
    require_choice("trainer.deformable", backend, ("auto", *BACKENDS))
    if backend not in ("auto", *available):
        raise InvalidValue(
            f"trainer.deformable={backend}: not on {device.type} here, where there is {' or '.join(available)}."
        )
    if backend != "auto":
        return backend
    return available[1] if available[0] == "triton" and not triton_works(device) else available[0]


def backends_on(device: torch.device) -> tuple[str, ...]:
    """List the backends that run on a device, the fastest first.

    Their results are equal up to rounding. On CUDA, `triton` and `torchvision` sum the input's gradient in a random
    order, so `torch.use_deterministic_algorithms` allows only `gather`.
    """
    if device.type == "cpu":
        return "numba", "gather", "torchvision"
    if device.type != "cuda" or torch.are_deterministic_algorithms_enabled():
        return ("gather",)
    return ("triton", "torchvision", "gather") if HAS_TRITON else ("torchvision", "gather")


@functools.cache
def triton_works(device: torch.device) -> bool:
    """Whether the Triton kernels compile for this GPU and agree with the CPU. A process tries it once.

    If they fail, a warning names the reason, and torchvision's operator is used.
    """
    draw = torch.Generator().manual_seed(0)
    try:
        for channels, outputs, kernel, padding, size in TRIALS:
            shapes = ((2, channels, *size), (2, 8, *size), (2, 4, *size), (outputs, channels, *kernel))
            operands = [torch.randn(shape, generator=draw) for shape in shapes]
            expected = _differentiate(deform_conv2d_numba, operands, padding)
            for dtype, tolerance in ((torch.float32, 1e-2), (torch.bfloat16, 5e-2), (torch.float16, 5e-2)):
                features, *fields, weight = (operand.to(device) for operand in operands)
                results = _differentiate(deform_conv2d_triton, [features.to(dtype), *fields, weight.to(dtype)], padding)
                for result, exact in zip(results, expected, strict=True):
                    largest = float(exact.abs().max())
                    torch.testing.assert_close(result.cpu().float(), exact, rtol=tolerance, atol=tolerance * largest)
    except Exception as problem:
        reason = " ".join(str(problem).split())[:300]
        log.warning("deformable=triton fails on this GPU, torchvision is used: %s", reason)
        return False
    return True


def _differentiate(compute: Callable[..., Tensor], operands: list[Tensor], padding: tuple[int, int]) -> list[Tensor]:
    """Compute the output, and the four gradients of its sum."""
    with torch.enable_grad(), torch.autocast(operands[0].device.type, enabled=False):
        leaves = [operand.clone().requires_grad_() for operand in operands]
        output = compute(*leaves, padding)
        return [output.detach(), *torch.autograd.grad(output.float().sum(), leaves)]


class DeformableConv2d(nn.Conv2d):
    """A convolution that keeps the map's size. A second one predicts its offsets and mask from the same input.

    The second one has the same kernel size and starts at zero, so that training starts from the plain convolution: no
    offset, and a mask of 2·sigmoid(0) = 1. The deformable convolution has no bias. (The paper names only offsets; its
    parameter counts fit only with the mask and without a bias.)

    Args:
        in_channels, out_channels, kernel_size: as for `torch.nn.Conv2d`.
        padding: see `paddings`; with `both` an even kernel makes the map one larger.
        modulated: also predict the mask (DCNv2); without it the layer is DCNv1.
        directions: `both`, or `along` to move the taps only along the kernel's long side.
    Attributes:
        backend: see `deform_conv2d`; `choose_backend` changes it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int],
        padding: str = "same",
        modulated: bool = True,
        directions: str = "both",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, bias=False)
        require_choice("directions", directions, ("both", "along"))
        self.taps = kernel_size[0] * kernel_size[1]
        self.pads = paddings(kernel_size, padding)
        self.modulated, self.directions, self.backend = modulated, directions, "auto"
        axes = 2 if directions == "both" else 1
        self.shift = ZeroConv2d(in_channels, (axes + modulated) * self.taps, kernel_size)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, F, T) -> (B, O, F, T); each axis is one longer if `both` pads an even kernel."""
        offset, mask = self.offset_and_mask(features)
        top_left = (self.pads[2], self.pads[0])
        return deform_conv2d(features, offset, mask, self.weight, top_left, self.backend)

    def offset_and_mask(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Predict each tap's offset, and its weight.

        Args:
            features: (B, C, F, T).
        Returns:
            (B, 2·M, F', T') offsets, vertical then horizontal for each tap, in bins and frames; (B, M, F', T') mask
            between 0 and 2, or None if the layer is not modulated.
        """
        with torch.autocast(features.device.type, enabled=False):  # half precision cannot hold positions
            field = self.shift(F.pad(features.to(self.weight.dtype), self.pads))
        if self.directions == "both":
            offset = field[:, : 2 * self.taps]
        else:
            along = field[:, : self.taps]
            pair = (along, torch.zeros_like(along))
            if self.kernel_size[1] > self.kernel_size[0]:
                pair = pair[::-1]
            offset = torch.stack(pair, dim=2).flatten(1, 2)
        return offset, 2 * torch.sigmoid(field[:, -self.taps :]) if self.modulated else None


def choose_backend(network: nn.Module, backend: str) -> None:
    """Set the backend of all deformable layers of a network; `auto` is the fastest on the device."""
    for layer in network.modules():
        if isinstance(layer, DeformableConv2d):
            layer.backend = backend


class ZeroConv2d(nn.Conv2d):
    """A convolution whose weights and biases start at zero."""

    bias: Tensor

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


def paddings(kernel_size: tuple[int, int], padding: str) -> tuple[int, int, int, int]:
    """Compute the zeros around the map in the order of `F.pad`: left, right, top, bottom.

    `same` keeps the size; an even kernel gets one more row after the end, as in torch's own "same", so that plain and
    deformable layers have the same grid. `both` is k//2 on both sides.
    """
    require_choice("padding", padding, ("same", "both"))
    difference = 1 if padding == "same" else 0
    height, width = kernel_size
    return (width - difference) // 2, width // 2, (height - difference) // 2, height // 2
