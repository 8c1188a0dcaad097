"""How much memory `singtech predict` takes for recordings of 44.1 kHz in stereo: `python -m benchmarks.memory`.

Noise of each length goes through a small untrained network at 16 kHz, with pictures, in a fresh process.
"""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.starting import command_line
from singtech.inference.saved import Description, write_model

MINUTES = (1, 10, 30, 180)
RATE = 44100
PARTS = {
    "front_end": {"is": "MultiResolutionSpectrogram", "n_fft": 256, "win_lengths": [256], "hop_length": 500},
    "extractor": {"is": "OblongExtractor", "features": 6, "hidden": None},
    "head": {"is": "Linear"},
}


def write_noise(path: Path, minutes: int) -> None:
    """Write a WAV file of 16 bits, a minute at a time."""
    minute = np.random.default_rng(0).normal(scale=0.1, size=(60 * RATE, 2))
    with soundfile.SoundFile(path, "w", RATE, channels=2) as file:
        for _ in range(minutes):
            file.write(minute)


def main() -> None:
    """Print peak memory and time of each length."""
    with tempfile.TemporaryDirectory(prefix="singtech-bench-") as name:
        model, take = Path(name) / "model", Path(name) / "take.wav"
        model.mkdir()
        description = Description(PARTS, ("low", "high"), 16000, 48000)
        write_model(model, description.build(), description)
        for minutes in MINUTES:
            write_noise(take, minutes)
            command = command_line(("predict", f"network={model}", f"input={take}", f"to={name}/{minutes}"))
            started = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.perf_counter() - started
            print(f"{minutes:4} min: {usage.ru_maxrss / 1024:6.0f} MB, {seconds:5.0f} s, status {process.returncode}")


if __name__ == "__main__":
    main()
