"""Read a recording in any format, for prediction, and measure its level. A corpus for training has WAV and FLAC alone.

WAV and FLAC are checked as in a corpus. Other formats are decoded by libsndfile (MP3, Ogg Vorbis, Opus, AIFF, AU, CAF),
or else by ffmpeg, if it is on the PATH (M4A, AAC, WMA, the sound of a video).
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from singtech.corpus import audio
from singtech.corpus.archive import OTHER_SUFFIXES, SUFFIXES
from singtech.corpus.audio import MAGIC_BYTES, Header, Stream, mix_to_mono, read_blocks
from singtech.errors import Damaged
from singtech.io.atomic import escape_text

MAX_SECONDS = 24 * 3600  # of a recording
MAX_SURPLUS = 1 << 30  # bytes beside the sound, such as pictures; more means that the header is wrong
BLOCK = 1 << 20  # samples of all channels that are decoded at once
# dBFS; number and block length of the absolute gate in ITU-R BS.1770. In VocalSet's breathy arpeggios the quietest
# 3 s are at -56 dBFS, the quietest 1.5 s, most of it a pause, at -63, and the pauses themselves at -71 to -78.
GATE = -70.0
GATE_SECONDS = 0.4


def is_recording(path: Path) -> bool:
    """Whether a name in a folder is a recording's; a file named itself is always tried."""
    return path.suffix.lower() in (*SUFFIXES, *OTHER_SUFFIXES) and not path.name.startswith("._")


@contextlib.contextmanager
def open_recording(path: Path) -> Iterator[tuple[int, int, Iterator[np.ndarray]]]:
    """Open a recording: its sample rate in Hz, the samples in its header, and its sound in blocks.

    A block is (n,) float32 samples, mixed to one channel, with full scale at 1, and decoded when it is asked for.

    Raises:
        Damaged: it cannot be decoded, is cut short or too long, or holds NaN, infinity or far too loud sounds. What the
            header does not say, its blocks raise.
        OSError: the file cannot be read.
    """
    if path.is_fifo():  # it would be waited for
        raise Damaged("it is a pipe, no file")
    with path.open("rb") as file, contextlib.ExitStack() as stack:
        beginning = file.read(64)
        file.seek(0)
        if not beginning or beginning[:4] in MAGIC_BYTES:
            sound, header = audio.open_recording(file)
            blocks = read_blocks(sound, header, BLOCK // header.channels)
        elif other := _open_other(file):
            header = Header(other.frames, other.samplerate, other.channels, False)
            blocks = _mute(read_blocks(other, header, BLOCK // header.channels, may_miss=0.01))  # of an MP3's samples
        elif "".join(beginning.decode("utf-8-sig", "surrogateescape").split()).isprintable():
            raise Damaged("it is text, no sound")  # a page, a playlist, a pointer of Git LFS
        else:
            header, blocks = stack.enter_context(_run_ffmpeg(path))
        _check_length(header.samples, header.sample_rate)
        size = os.fstat(file.fileno()).st_size
        if size > 8 * header.samples * header.channels + MAX_SURPLUS:
            raise Damaged(f"its header has {header.samples:,} samples, too few for its {size / 1e9:.1f} GB")
        yield header.sample_rate, header.samples, map(mix_to_mono, blocks)


def _check_length(samples: int, sample_rate: int) -> None:
    if samples > MAX_SECONDS * sample_rate:
        raise Damaged(f"it is longer than {MAX_SECONDS // 3600} h; cut it into parts")


class LevelMeter:
    """Measures levels in a recording that comes in blocks: (M,) `levels` in dBFS (RMS) of the pieces until `edge`.

    Of the `samples` till now it keeps those of later pieces, which are `recent`.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate, self.samples, self.recent = sample_rate, 0, np.zeros(0, np.float32)
        self.edge, self.levels = 0.0, np.zeros(0)

    def listen(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield blocks of (n,) samples with full scale at 1 as they are."""
        for block in blocks:
            self.samples += len(block)
            self.recent = np.concatenate([self.recent, block])
            yield block

    def measure(self, edges: np.ndarray, until: float = np.inf) -> None:
        """Measure the next pieces between edges; one under 0.4 s is measured with its surroundings.

        Args:
            edges: seconds, in order.
            until: seconds, up to which no other edge will follow and more than 0.2 s after which were heard.
        """
        edges = edges[(edges >= self.edge) & (edges <= max(until, self.edge))]
        first = self.samples - len(self.recent)
        margins = np.maximum(0, GATE_SECONDS - np.diff(edges)) / 2
        begins = np.floor((edges[:-1] - margins) * self.sample_rate).clip(0, self.samples - 1).astype(int) - first
        ends = np.ceil((edges[1:] + margins) * self.sample_rate).astype(int) - first
        pieces = zip(begins, ends, strict=True)
        powers = np.array([np.square(self.recent[a:b], dtype=np.float64).mean() for a, b in pieces])
        self.levels = np.append(self.levels, 10 * np.log10(np.maximum(powers, 1e-20)))
        self.edge = edges[-1]
        self.recent = self.recent[max(0, int((self.edge - GATE_SECONDS) * self.sample_rate) - first) :]


def _open_other(file: BinaryIO) -> Stream | None:
    with _muted():
        try:
            return Stream(file)
        except (RuntimeError, TypeError):  # TypeError: a suffix for samples without a header
            return None


@contextlib.contextmanager
def _run_ffmpeg(path: Path) -> Iterator[tuple[Header, Iterator[np.ndarray]]]:
    """Decode a recording by ffmpeg through a pipe; ffmpeg is stopped at the end.

    Raises:
        Damaged: ffmpeg is absent, or cannot decode it. The blocks raise it too.
    """
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise Damaged(f"libsndfile {soundfile.__libsndfile_version__} cannot read it; install ffmpeg, which may")
    source = ["-protocol_whitelist", "file", "-i", f"file:{os.fspath(path.absolute())}"]  # no playlist of addresses
    sound = ["-vn", "-sn", "-dn", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]  # AU can be of any length
    command = [ffmpeg, "-nostdin", "-v", "error", "-max_alloc", str(1 << 28), *source, *sound]
    with (
        tempfile.TemporaryFile() as words,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words) as process,
    ):
        try:
            parts = _read_pipe(process, words)
            yield next(parts), parts
        finally:
            process.kill()


def _read_pipe(process: subprocess.Popen, words: BinaryIO) -> Iterator:
    """Yield the header and the blocks of the sound that ffmpeg writes.

    Args:
        words: ffmpeg's messages.
    """
    samples = 0
    with contextlib.suppress(RuntimeError):  # it writes nothing
        sound = Stream(process.stdout.fileno(), closefd=False)  # type: ignore[union-attr]  # a pipe
        header = Header(sound.frames, sound.samplerate, sound.channels, False)
        yield header._replace(samples=min(header.samples, MAX_SECONDS * header.sample_rate))
        for block in read_blocks(sound, header, BLOCK // header.channels, may_miss=1.0):
            samples += len(block)
            _check_length(samples, header.sample_rate)
            yield block
    if process.wait() or not samples:
        words.seek(0)
        text = words.read(4096).decode(errors="replace").strip().split(": ")[-1]
        raise Damaged(f"neither libsndfile nor ffmpeg can read it ({escape_text(text or 'no sound')})")


def _mute(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield blocks, each of which is decoded in silence."""
    while True:
        with _muted():
            block = next(blocks, None)
        if block is None:
            return
        yield block


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """Discard what decoders in C write to the standard error output."""
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
