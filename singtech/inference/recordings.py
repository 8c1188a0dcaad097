"""Read a recording in any format, for prediction, and measure its level. A corpus for training has WAV and FLAC alone.

WAV and FLAC are checked as in a corpus. Other formats are decoded by libsndfile (MP3, Ogg Vorbis, Opus, AIFF, AU, CAF),
or else by ffmpeg, if it is on the PATH (M4A, AAC, WMA, the sound of a video).
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from singtech.corpus.archive import OTHER_SUFFIXES, SUFFIXES
from singtech.corpus.audio import MAGIC_BYTES, MAX_SAMPLES, MAX_SECONDS, decode_channels, read_channels
from singtech.errors import Damaged
from singtech.io.atomic import escape_text

MAX_BYTES = 4 * MAX_SAMPLES  # of a file
FFMPEG_SECONDS = 600  # after which ffmpeg is stopped
# dBFS; number and block length of the absolute gate in ITU-R BS.1770. In VocalSet's breathy arpeggios the quietest
# 3 s are at -56 dBFS, the quietest 1.5 s, most of it a pause, at -63, and the pauses themselves at -71 to -78.
GATE = -70.0
GATE_SECONDS = 0.4


def is_recording(path: Path) -> bool:
    """Whether the name of a file in a folder is that of a recording; a file that is named itself is always tried."""
    return path.suffix.lower() in (*SUFFIXES, *OTHER_SUFFIXES) and not path.name.startswith("._") and path.is_file()


def require_readable_size(path: Path) -> None:
    """Check the size of a file before anything of it is read.

    Raises:
        Damaged: the file is larger than the longest recording that can be read.
        OSError: the file is not there.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise Damaged(f"it has {size / 1e9:.1f} GB, and at most {MAX_BYTES / 1e9:.1f} GB are read; cut it into parts")


def read_recording(path: Path) -> tuple[np.ndarray, int]:
    """Decode a recording to (S, C) float32 samples with full scale at 1, and its sample rate in Hz.

    Raises:
        Damaged: it cannot be decoded, is cut short or too long, or holds NaN, infinity or far too loud sounds.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        magic = file.read(4)
    if not magic or magic in MAGIC_BYTES:
        channels, header = read_channels(path.read_bytes())
        return channels, header.sample_rate
    with path.open("rb") as file, _muted():
        try:
            recording = soundfile.SoundFile(file)
        except (RuntimeError, TypeError):  # TypeError: a suffix for samples without a header
            recording = None
        if recording is not None:
            with recording:  # an MP3's header may count some samples more than there are
                channels, header = decode_channels(recording, may_miss=0.01)
            return channels, header.sample_rate
    channels, header = read_channels(_convert(path))
    return channels, header.sample_rate


def measure_levels(waveform: np.ndarray, sample_rate: int, edges: np.ndarray) -> np.ndarray:
    """Return the (M,) levels between edges in dBFS (RMS); a piece under 0.4 s is measured with its surroundings.

    Args:
        waveform: (S,) with full scale at 1.
        edges: (M + 1,) seconds.
    """
    margins = np.maximum(0, GATE_SECONDS - np.diff(edges)) / 2
    firsts = np.floor((edges[:-1] - margins) * sample_rate).clip(0, len(waveform) - 1).astype(int)
    lasts = np.ceil((edges[1:] + margins) * sample_rate).astype(int)
    powers = [np.square(waveform[a:b], dtype=np.float64).mean() for a, b in zip(firsts, lasts, strict=True)]
    return 10 * np.log10(np.maximum(powers, 1e-20))


def _convert(path: Path) -> bytes:
    """Decode a recording to a WAV file by ffmpeg, one second more than can be read at most.

    Raises:
        Damaged: ffmpeg is absent, or cannot decode it.
    """
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise Damaged(f"libsndfile {soundfile.__libsndfile_version__} cannot read it; install ffmpeg, which may")
    source = ["-protocol_whitelist", "file", "-i", f"file:{os.fspath(path.absolute())}"]  # no playlist of addresses
    sound = ["-vn", "-sn", "-dn", "-t", str(MAX_SECONDS + 1), "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]
    command = [ffmpeg, "-nostdin", "-v", "error", *source, *sound]
    try:
        done = subprocess.run(command, capture_output=True, timeout=FFMPEG_SECONDS)
    except subprocess.TimeoutExpired:
        raise Damaged(f"ffmpeg does not decode it within {FFMPEG_SECONDS} s") from None
    if done.returncode or not done.stdout:
        words = done.stderr.decode(errors="replace").split(": ")[-1]
        raise Damaged(f"neither libsndfile nor ffmpeg can read it ({escape_text(words.strip() or 'no sound')})")
    return done.stdout


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """Discard what decoders in C write to the standard error output."""
    try:
        saved = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
