"""Export a trained network as one ONNX file, for programs without PyTorch, and check it with onnxruntime.

The file computes logits from waveforms, (B, S) float32 at the network's sample rate for any B, and includes the
spectrograms. It does not resample, cut a recording into windows or average them (see `singtech.inference.predictor`).
A deformable layer becomes ONNX's DeformConv. A random forest cannot be exported.
"""

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import torch
import torchvision  # noqa: F401  its import defines torch.ops.torchvision

from singtech.errors import InvalidValue
from singtech.inference.saved import Description
from singtech.models.deformable import choose_backend
from singtech.models.network import Network

ONNX = "model.onnx"
OPSET = 22  # version of the operators; DeformConv is from 19, DFT from 20
TOLERANCE = 1e-2  # largest difference between onnxruntime and PyTorch, as a share of a logit's range over the clips


def write_onnx(path: Path, network: Network, description: Description) -> float:
    """Write a network (on the CPU, in eval mode) if onnxruntime computes the same logits as PyTorch.

    Args:
        path: of the new file.
        network: (B, S) -> (B, K).
        description: clip length, and techniques and sample rate for the file's metadata.
    Returns:
        The largest difference over the clips of `make_test_clips`, as a share of the range of a logit over them.
    Raises:
        InvalidValue: the difference is above `TOLERANCE`, or the exporter or onnxruntime does not support the network.
    """
    import onnx

    if getattr(network.extractor, "frozen", False):
        raise InvalidValue("onnx=true: a frozen encoder is not exported; the folder without ONNX names it by its name.")
    clips = make_test_clips(description.samples, description.sample_rate)
    choose_backend(network, "torchvision")  # the only backend that the exporter supports
    try:
        with _silence_exporter():
            program = torch.onnx.export(
                network,
                (torch.from_numpy(clips[:2]),),
                dynamo=True,
                opset_version=OPSET,
                input_names=["waveform"],
                output_names=["logits"],
                dynamic_shapes={"waveform": {0: torch.export.Dim("clips")}},
                custom_translation_table={torch.ops.torchvision.deform_conv2d.default: _deform_conv},
                verbose=False,
            )
            model = program.model_proto  # type: ignore[union-attr]  # None without dynamo only
    except (torch.onnx.OnnxExporterError, RuntimeError) as problem:
        raise InvalidValue(
            f"onnx=true: this network cannot be exported ({' '.join(str(problem).split())[:200]})."
        ) from None
    finally:
        choose_backend(network, "auto")
    metadata = {
        "techniques": json.dumps(list(description.techniques), ensure_ascii=False),
        "sample_rate": str(description.sample_rate),
        "samples": str(description.samples),
    }
    model.doc_string = "Waveforms (clips, samples) with full scale at 1 to a logit for each technique."
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    difference = _measure_difference(model.SerializeToString(), network, clips)
    onnx.save_model(model, os.fspath(path))
    return difference


def make_test_clips(samples: int, sample_rate: int) -> np.ndarray:
    """Make (5, S) clips for the comparison: silence, noise, and a vibrato tone that is loud, soft or starts late.

    All but silence have noise at the level of 16 bits, like recordings. Without it, the logarithm of a spectrogram
    shows the rounding errors of the Fourier transform, which differ between programs.
    """
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4, samples))
    seconds = np.arange(samples) / sample_rate
    phase = 2 * np.pi * 220 * seconds + 0.7 * np.sin(2 * np.pi * 6 * seconds)  # 220 ± 4.2 Hz, six times a second
    voice = sum(np.sin(n * phase) / n for n in range(1, 20) if n * 225 < sample_rate / 2) / 4
    sounds = np.stack([noise[0] / 10, voice, voice / 100, voice * (seconds > seconds[-1] / 2)])
    return np.concatenate([np.zeros((1, samples)), sounds + noise / 32768]).astype(np.float32)


def _measure_difference(model: bytes, network: Network, clips: np.ndarray) -> float:
    """Measure the largest difference of onnxruntime's logits from PyTorch's, for all clips and for the first alone.

    Raises:
        InvalidValue: it is too large, or onnxruntime cannot run the model.
    """
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        results = [session.run(["logits"], {"waveform": batch})[0] for batch in (clips, clips[:1])]
    except Exception as problem:  # onnxruntime's errors have no common class
        raise InvalidValue(
            f"onnx=true: onnxruntime {onnxruntime.__version__} does not run it "
            f"({' '.join(str(problem).split())[:200]}); DeformConv needs 1.25 or later."
        ) from None
    with torch.inference_mode():
        expected = network(torch.from_numpy(clips)).numpy()
    largest = max(float(np.abs(logits - expected[: len(logits)]).max()) for logits in results)
    share = largest / max(float(np.ptp(expected, axis=0).max()), 1e-6 * float(np.abs(expected).max()))
    if not share <= TOLERANCE:
        raise InvalidValue(f"onnx=true: onnxruntime's logits differ by {share:.1g} of the range, above {TOLERANCE:g}.")
    return share


def _deform_conv(
    values, weight, offset, mask, bias, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups, parts, masked
):
    """Translate torchvision's operator to ONNX's DeformConv: the same sum, with the same order of offsets."""
    from onnxscript import opset22 as op

    return op.DeformConv(
        values,
        weight,
        offset,
        bias,
        mask if masked else None,
        kernel_shape=list(weight.shape[2:]),
        strides=[stride_h, stride_w],
        pads=[pad_h, pad_w, pad_h, pad_w],
        dilations=[dilation_h, dilation_w],
        group=groups,
        offset_group=parts,
    )


@contextmanager
def _silence_exporter() -> Iterator[None]:
    """Hide the exporter's messages, but not its errors."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
