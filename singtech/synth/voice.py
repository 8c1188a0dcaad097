"""Synthesise one sung recording of the demo corpus, from notes to a waveform.

notes -> gestures, 400 points a second (`Voice`) -> one function per technique changes them -> glottal pulses
and breath noise -> vocal tract -> room. It is a source-filter model (Fant 1960) in NumPy and SciPy:
- glottal flow: Rosenberg's pulse C (JASA 1971), half a cosine up and a quarter down, differentiated, then a low-pass
  for the return phase; every period has its own length (jitter) and strength (shimmer);
- breath: noise whose level follows the opening of the glottis;
- tract: resonators in cascade (Klatt, JASA 1980), each of the overlapping frames of 40 ms has its own response.

Shapes: S samples, T control points (400 a second), R resonances of the tract, M frames of the tract filter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.signal

CONTROL_RATE = 400

VOWELS = ("a", "e", "i", "o", "u")

# F1, F2, F3 in Hz: the means of Hillenbrand et al. (JASA 1995), men's and women's "hod", "hayed", "heed", "hoed",
# "who'd". Higher resonances are those of a tube, 1000 Hz apart for a man.
FORMANTS = {
    "male": {
        "a": (768, 1333, 2522),
        "e": (476, 2089, 2691),
        "i": (342, 2322, 3000),
        "o": (497, 910, 2459),
        "u": (378, 997, 2343),
    },
    "female": {
        "a": (936, 1551, 2815),
        "e": (536, 2530, 3047),
        "i": (437, 2761, 3372),
        "o": (555, 1035, 2828),
        "u": (459, 1105, 2735),
    },
}
TUBE = {"male": 1.0, "female": 1.17}
RESONANCES = 8


@dataclass(frozen=True)
class Note:
    """A pitch (MIDI number, 69 is 440 Hz) on a vowel; without a vowel, a rest.

    consonant: its beginning: "" (from the last vowel), "n" (nasal or liquid), "t" (stop) or "s" (fricative).
    """

    seconds: float
    pitch: float
    vowel: str = "a"
    consonant: str = ""


class Singer:
    """A virtual singer: parameters of all recordings, from the singer's own random stream."""

    def __init__(self, name: str, rng: np.random.Generator) -> None:
        is_male = name.startswith("male")
        self.name = name
        self.voice = "male" if is_male else "female"
        self.tonic = (46 if is_male else 58) + rng.uniform(0, 5)  # MIDI number of the scale's lowest note
        self.tract = rng.uniform(0.93, 1.07)  # resonances relative to the voice type's mean: above 1 is a shorter tract
        # 0 to 1: how much F3, F4 and F5 approach each other, as in the singer's formant
        self.ring = rng.uniform(0.3, 0.9) if is_male else rng.uniform(0.1, 0.6)
        # share of a period in which the glottis is open
        self.open_quotient = rng.uniform(0.52, 0.66) + (0.0 if is_male else 0.04)
        self.closing = rng.uniform(0.18, 0.32)  # share of the open time in which it closes; small values sound pressed
        self.tilt = rng.uniform(2500, 6500)  # Hz, corner of the return phase's low-pass
        self.breath = rng.uniform(-34, -27)  # dB, breath noise relative to the pulses
        self.jitter = rng.uniform(0.003, 0.01)  # deviation of the periods, relative
        self.shimmer = rng.uniform(0.02, 0.06)  # deviation of the pulses' strength, relative
        self.vibrato_rate = rng.uniform(5.0, 6.5)  # Hz
        self.vibrato_extent = rng.uniform(40, 95)  # cents to either side
        self.trill_rate = rng.uniform(4.7, 6.8)  # Hz
        self.trill_interval = float(rng.choice([1.0, 2.0, 2.0]))  # semitones
        self.trillo_rate = rng.uniform(5.6, 8.6)  # Hz
        self.flap_rate = rng.uniform(17, 28)  # Hz, of the lips in a lip trill
        self.fry_rate = rng.uniform(26, 55)  # Hz, pulses a second
        self.glide_seconds = rng.uniform(0.08, 0.18)  # from one note to the next
        self.level = rng.uniform(-17, -9)  # dB below full scale of a straight tone's peak
        self.room_seconds = rng.uniform(0.15, 0.5)  # reverberation time
        self.room_level = rng.uniform(-22, -12)  # dB, reverberation relative to the direct sound
        self.noise_level = rng.uniform(-72, -60)  # dB below full scale of the room's noise


class Voice:
    """The gestures of one recording without a technique: gliding pitches, vowels, consonants and a soft end.

    The function of the technique changes them in place.
    """

    def __init__(self, notes: Sequence[Note], singer: Singer, rng: np.random.Generator) -> None:
        tones = [i for i, note in enumerate(notes) if note.vowel]
        edges = np.cumsum([0.0] + [note.seconds for note in notes])  # s
        times = np.arange(int(np.ceil(edges[-1] * CONTROL_RATE)) + 1) / CONTROL_RATE
        index = np.clip(np.searchsorted(edges, times, side="right") - 1, 0, len(notes) - 1)
        # rests have the pitch and vowel of the nearest note
        nearest = np.array([min(tones, key=lambda j: abs(j - i)) for i in range(len(notes))])
        pitch = np.array([notes[j].pitch for j in nearest])[index]
        formants = np.array([_find_resonances(notes[j].vowel, singer) for j in nearest])[index]
        onsets = times - edges[index]

        loudness = np.isin(index, tones) * 10 ** ((pitch - singer.tonic) * rng.uniform(0.1, 0.3) / 20)  # dB a semitone
        loudness *= 1 - rng.uniform(0.0, 0.3) * (onsets < 0.03)  # legato: a slight dip from note to note
        consonants = np.array([note.consonant if note.vowel else "" for note in notes])[index]
        mouth, hiss = _make_consonants(consonants, onsets, formants, singer)

        pitch, formants = _smooth(pitch, singer.glide_seconds), _smooth(formants, 0.09)
        formants[:, 0] = np.maximum(formants[:, 0], _to_hz(pitch))  # a note above F1 opens the jaw, and F1 follows
        pitch += _drift(len(times), 4.0, 0.06, rng) + _drift(len(times), 1.0, 0.08, rng)
        loudness = mouth * _smooth(loudness, rng.uniform(0.05, 0.14)) * 10 ** (_drift(len(times), 2.0, 0.8, rng) / 20)

        self.seconds, self.times = edges[-1], times  # (T,) s
        self.pitch = pitch  # (T,) MIDI number
        self.loudness = loudness  # (T,) amplitude of the pulses
        # (T,) amplitude of the breath noise, relative to pulses of loudness 1
        self.breath = loudness * 10 ** ((singer.breath + rng.normal(0, 2)) / 20)
        self.hiss = hiss  # (T,) amplitude of the consonants' noise
        self.formants = formants  # (T, R) Hz
        self.onsets, self.lengths = onsets, np.diff(edges)[index]  # (T,) s since the note began; (T,) s, its length
        self.open_quotient = np.full_like(times, singer.open_quotient + rng.normal(0, 0.02))  # (T,)
        self.closing = singer.closing * rng.uniform(0.9, 1.1)
        self.tilt = singer.tilt * 2 ** rng.normal(0, 0.2)
        self.jitter, self.shimmer = singer.jitter, singer.shimmer
        self.uneven = 0.0  # every second period is longer by this, relative
        self.bandwidth = 1.0
        self.steady_breath = 0.3  # share of the breath noise that does not depend on the glottis
        self.level = 0.0  # dB relative to the singer's straight tone


def sing(
    notes: Sequence[Note], technique: str, singer: Singer, rng: np.random.Generator, sample_rate: int = 16000
) -> np.ndarray:
    """Synthesise the (S,) waveform, from -1 to 1, of notes in one of the ten techniques.

    Args:
        notes: notes and rests; their total length is that of the waveform.
        rng: the stream of this recording; the same stream gives the same samples.
    Raises:
        KeyError: the technique or a note's vowel is unknown.
    """
    voice = Voice(notes, singer, rng)
    PRODUCTIONS[technique](voice, singer, rng)
    excitation, hiss = _make_excitation(voice, rng, sample_rate)
    waveform = _apply_tract(excitation, voice, singer, sample_rate) + hiss
    return _room(waveform, voice, singer, rng, sample_rate)


def _make_consonants(
    consonants: np.ndarray, onsets: np.ndarray, formants: np.ndarray, singer: Singer
) -> tuple[np.ndarray, np.ndarray]:
    """Return (T,) the level of the voice in consonants and (T,) their noise; change the formants of nasals."""
    nasal = (consonants == "n") & (onsets < 0.07)
    stop = (consonants == "t") & (onsets < 0.08)
    fricative = (consonants == "s") & (onsets < 0.1)
    formants[nasal] = _find_resonances("u", singer) * np.array([0.7, 1.4] + [1.0] * (RESONANCES - 2))
    mouth = _smooth(1 - 0.6 * nasal - 1.0 * (stop | fricative), 0.03)
    return mouth.clip(0, 1), _smooth(0.25 * (stop & (onsets > 0.065)) + 0.12 * fricative, 0.02)


# The ten techniques. Each has a random degree, so that some recordings resemble another technique.


def straight(voice: Voice, singer: Singer, rng: np.random.Generator) -> None:
    """Hold the pitch, with the little vibrato that most singers have at the end of a note."""
    _add_vibrato(voice, singer.vibrato_rate, rng.choice([2.0, 6.0, 14.0]), rng)


def vibrato(voice: Voice, singer: Singer, rng: np.random.Generator) -> None:
    """Swing the pitch by 30 to 110 cents to either side, 5 to 6.5 times a second."""
    _add_vibrato(voice, singer.vibrato_rate, singer.vibrato_extent * rng.uniform(0.75, 1.2), rng)
    voice.level += rng.uniform(0, 2)


def belt(voice: Voice, singer: Singer, rng: np.random.Generator) -> None:
    """Brighten and press: short open time, sharp closure, and a low jaw that moves F1 to the second harmonic."""
    degree = rng.uniform(0.5, 1.0)
    voice.open_quotient -= 0.16 * degree
    voice.closing *= 1 - 0.45 * degree
    voice.tilt *= 1 + 3 * degree
    voice.breath *= 10 ** (-8 * degree / 20)
    second_harmonic = 2 * _to_hz(voice.pitch)
    lowest = voice.formants[:, 0] * (1 + 0.15 * degree)
    voice.formants[:, 0] = np.clip(second_harmonic, lowest, 1.3 * lowest)
    voice.level += 3 + 6 * degree
    _add_vibrato(voice, singer.vibrato_rate, rng.choice([4.0, 10.0, 30.0]), rng)


def breathy(voice: Voice, singer: Singer, rng: np.random.Generator) -> None:
    """Add breath: the glottis hardly closes, the pulses are round, and noise covers the upper harmonics."""
    degree = rng.uniform(0.35, 1.0)
    voice.open_quotient += (0.95 - voice.open_quotient) * degree
    voice.closing += (0.5 - voice.closing) * degree
    voice.tilt *= 1 - 0.88 * degree
    voice.breath *= 10 ** ((1 + 6 * degree) / 20)
    voice.bandwidth = 1 + 0.4 * degree
    voice.level -= 4 * degree + rng.uniform(0, 8)
    _add_vibrato(voice, singer.vibrato_rate, rng.choice([2.0, 6.0, 12.0]), rng)


def inhaled(voice: Voice, singer: Singer, rng: np.random.Generator) -> None:
    """Sing while breathing in: noise that swells and stops, with a faint, unsteady voice."""
    voiced = rng.uniform(0.02, 0.12)
    progress = voice.times / voice.seconds
    swell = (0.3 + 0.7 * progress ** rng.uniform(0.7, 1.6)) * 10 ** (_drift(len(progress), 7.0, 1.5, rng) / 20)
    voice.breath = voice.loudness * swell
    voice.loudness = voiced * voice.breath * np.clip(1 + _drift(len(progress), 5.0, 0.8, rng), 0, 2)
    voice.steady_breath = 0.9
    voice.pitch += rng.uniform(0, 7) + _drift(len(progress), 6.0, 0.5, rng)
    voice.closing = 0.7  # the flow is reversed: the glottis opens at once and closes slowly
    voice.jitter, voice.shimmer = 0.05, 0.3
    voice.formants *= rng.uniform(1.0, 1.08)
    voice.bandwidth = rng.uniform(1.3, 2.0)
    voice.level -= rng.uniform(3, 9)


def lip_trill(voice: Voice, singer: Singer, rng: np.random.Generator) -> None:
    """Open and close the lips 15 to 30 times a second: the voice comes in puffs and is dull between them."""
    cycles = _count_cycles(voice, singer.flap_rate * rng.uniform(0.93, 1.07), 0.05, rng)
    puff = (0.5 + 0.5 * np.cos(2 * np.pi * cycles)) ** rng.uniform(1.0, 2.0)
    floor = rng.uniform(0.1, 0.3)
    muffled = _find_resonances("u", singer) * np.array([0.8, 0.9] + [1.0] * (RESONANCES - 2))
    voice.formants += rng.uniform(0.5, 0.9) * (muffled - voice.formants)
    voice.hiss += rng.uniform(0.02, 0.06) * voice.loudness * puff**3
    voice.breath = (voice.breath + 0.04 * voice.loudness) * puff
    voice.loudness *= floor + (1 - floor) * puff
    voice.pitch += 0.15 * (puff - 0.5)
    voice.tilt *= rng.uniform(0.5, 0.9)
    voice.bandwidth = 1.5
    voice.level -= rng.uniform(2, 7)


def spoken(voice: Voice, singer: Singer, rng: np.random.Generator) -> None:
    """Glide and stop: the pitch is never constant. It jumps with the stress and falls during the phrase."""
    stress = rng.normal(0, 2.0, len(voice.times))[np.cumsum(voice.onsets < 1 / CONTROL_RATE)]  # one for each syllable
    progress = voice.onsets / voice.lengths
    voice.pitch += _smooth(stress, 0.22) + 2 * np.cos(np.pi * voice.times / voice.seconds) + 1 - 2 * progress
    voice.pitch = _smooth(voice.pitch, 0.12)
    voice.jitter *= 1.5
    voice.loudness *= 1 - 0.5 * progress.clip(0, 1) ** 2
    voice.tilt *= 1.2


def trill(voice: Voice, singer: Singer, rng: np.random.Generator) -> None:
    """Alternate smoothly with the note a semitone or a tone above, 4.5 to 7 times a second."""
    cycles = _count_cycles(voice, singer.trill_rate * (0.85 + 0.15 * _fade_in(voice, 1.5)), 0.03, rng)
    swing = np.tanh(rng.uniform(1.2, 3.0) * np.sin(2 * np.pi * cycles))
    extent = singer.trill_interval * rng.uniform(0.85, 1.15)
    voice.pitch += extent * (0.5 + 0.5 * swing / np.abs(swing).max()) * _fade_in(voice, 0.2)
    voice.loudness *= 1 + 0.1 * swing
    voice.level += rng.uniform(-2, 2)


def trillo(voice: Voice, singer: Singer, rng: np.random.Generator) -> None:
    """Interrupt a note at the glottis 5 to 9 times a second, a little faster towards its end."""
    cycles = _count_cycles(voice, singer.trillo_rate * (0.88 + 0.12 * _fade_in(voice, 3.0)), 0.04, rng)
    gate = 1 / (1 + np.exp(-rng.uniform(4, 9) * (np.cos(2 * np.pi * cycles) + rng.uniform(0.0, 0.5))))
    floor = rng.uniform(0.02, 0.25)
    voice.breath *= 1 + rng.uniform(0, 6) * (1 - gate)
    voice.loudness *= floor + (1 - floor) * gate
    voice.pitch -= rng.uniform(0.05, 0.4) * (1 - gate)
    voice.jitter *= 1.5
    voice.level += rng.uniform(-3, 1)


def vocal_fry(voice: Voice, singer: Singer, rng: np.random.Generator) -> None:
    """Make irregular pulses, 20 to 70 a second, that hardly follow the melody; some begin as a normal voice."""
    follows = rng.uniform(0.0, 0.35)
    melody = voice.pitch - voice.pitch.mean()
    fry = 69 + 12 * np.log2(singer.fry_rate / 440) + follows * melody + _drift(len(voice.times), 3.0, 1.5, rng)
    slide = rng.choice([0.0, 0.0, 0.5]) + 1e-3
    transition = np.clip((voice.times - rng.uniform(0.1, 0.4)) / slide, 0, 1)
    voice.pitch += transition * (fry - voice.pitch)
    open_seconds = rng.uniform(0.004, 0.007)
    voice.open_quotient = np.clip(open_seconds * _to_hz(voice.pitch), 0.1, 0.6)
    voice.closing *= 0.7
    voice.jitter = rng.uniform(0.1, 0.3)
    voice.shimmer = rng.uniform(0.15, 0.4)
    voice.uneven = rng.uniform(0.0, 0.3)
    voice.tilt *= rng.uniform(0.8, 1.6)
    voice.breath *= rng.uniform(0.3, 1.5)
    voice.level -= rng.uniform(2, 9)


Production = Callable[[Voice, Singer, np.random.Generator], None]
ALL = (belt, breathy, inhaled, lip_trill, spoken, straight, trill, trillo, vibrato, vocal_fry)
PRODUCTIONS: dict[str, Production] = {production.__name__: production for production in ALL}


def _add_vibrato(voice: Voice, rate: float, extent: float, rng: np.random.Generator) -> None:
    """Swing the pitch by `extent` cents to either side, more during each note, and the loudness a little."""
    cycles = _count_cycles(voice, rate * rng.uniform(0.95, 1.05), 0.03, rng)
    swing = np.sin(2 * np.pi * cycles)
    growth = np.clip(voice.onsets / (0.5 * voice.lengths).clip(0.1, 0.6), 0, 1)
    depth = _smooth(0.35 + 0.65 * growth, 0.15) * (1 + _drift(len(swing), 1.5, 0.15, rng))
    voice.pitch += extent / 100 * depth * swing
    voice.loudness *= 1 + 0.001 * extent * depth * np.roll(swing, rng.integers(30))


def _count_cycles(voice: Voice, rate: np.ndarray | float, unsteadiness: float, rng: np.random.Generator) -> np.ndarray:
    """Return the (T,) count of cycles at `rate` Hz; the rate drifts by `unsteadiness`, relative."""
    rates = rate * (1 + _drift(len(voice.times), 2.0, unsteadiness, rng))
    return rng.uniform() + np.cumsum(rates * np.ones_like(voice.times)) / CONTROL_RATE


def _fade_in(voice: Voice, seconds: float) -> np.ndarray:
    """Return (T,) values that rise from 0 to 1 over the first seconds of each note."""
    return np.clip(voice.onsets / seconds, 0, 1)


def _find_resonances(vowel: str, singer: Singer) -> np.ndarray:
    """Return the (R,) resonances in Hz of a vowel in this singer's tract; `ring` moves F3 to F5 together."""
    tube = 1000 * TUBE[singer.voice]
    resonances = np.array([*FORMANTS[singer.voice][vowel], *(tube * (np.arange(3, RESONANCES) + 0.5))])
    resonances[2:5] += singer.ring * (TUBE[singer.voice] ** 0.6 * np.array([2600, 3000, 3500]) - resonances[2:5])
    return resonances * singer.tract


def _make_excitation(voice: Voice, rng: np.random.Generator, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Make (S,) pulses and breath noise that enter the tract, and (S,) noise of the consonants at the lips."""
    samples = round(voice.seconds * sample_rate)
    times = np.arange(samples) / sample_rate
    oversampling = -(-32000 // sample_rate)  # draw pulses at 32 kHz or more, then decimate: their corners alias
    pulses, opening = _make_pulses(voice, rng, samples * oversampling, sample_rate * oversampling)
    if oversampling > 1:
        pulses = scipy.signal.resample_poly(pulses, 1, oversampling)
        opening = opening[::oversampling]
    decay = np.exp(-2 * np.pi * min(voice.tilt, 0.45 * sample_rate) / sample_rate)
    pulses = scipy.signal.lfilter([1 - decay], [1, -decay], pulses)
    breath = rng.standard_normal(samples) * np.interp(times, voice.times, voice.breath)
    breath *= voice.steady_breath + (1 - voice.steady_breath) * opening
    high = scipy.signal.butter(2, min(2500, 0.3 * sample_rate), "highpass", fs=sample_rate, output="sos")
    hiss = scipy.signal.sosfilt(high, rng.standard_normal(samples) * np.interp(times, voice.times, voice.hiss))
    return pulses + breath, hiss


def _make_pulses(voice: Voice, rng: np.random.Generator, samples: int, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Make (S,) the derivative of the glottal flow, times the loudness, and (S,) the flow, 0 (closed) to 1."""
    times = np.arange(samples) / rate
    hertz = np.interp(times, voice.times, _to_hz(voice.pitch))
    period = (np.cumsum(hertz) / rate).astype(int)
    numbers = np.arange(period[-1] + 1)
    lengths = 1 + voice.jitter * rng.standard_normal(len(numbers)).clip(-2.5, 2.5) + voice.uneven * (-1.0) ** numbers
    hertz /= lengths.clip(0.3)[period]
    phase = np.cumsum(hertz) / rate
    period = phase.astype(int)
    phase -= period
    strength = (1 + voice.shimmer * rng.standard_normal(period[-1] + 1)).clip(0.1, 2)[period]

    open_quotient = np.interp(times, voice.times, voice.open_quotient)
    fall = open_quotient * voice.closing
    rise = open_quotient - fall
    up = np.pi * np.minimum(phase / rise, 1)
    down = np.pi / 2 * ((phase - rise) / fall).clip(0, 1)
    flow = np.where(phase < rise, 0.5 - 0.5 * np.cos(up), np.cos(down))
    derivative = np.where(phase < rise, np.sin(up) / rise, np.where(down < np.pi / 2, -np.sin(down) / fall, 0))
    derivative /= np.sqrt(0.5 / rise + 0.5 / fall)  # the root mean square of a period
    return derivative * strength * np.interp(times, voice.times, voice.loudness), flow


def _apply_tract(excitation: np.ndarray, voice: Voice, singer: Singer, sample_rate: int) -> np.ndarray:
    """Filter the (S,) excitation with the vocal tract: half-overlapping frames of 40 ms, each with its response."""
    hop = round(0.02 * sample_rate)
    frames = -(-len(excitation) // hop) + 1
    centres = np.arange(frames) * hop / sample_rate
    formants = np.stack([np.interp(centres, voice.times, track) for track in voice.formants.T], axis=1)
    formants, frame_index = np.unique(5 * np.round(formants / 5), axis=0, return_inverse=True)  # many frames are equal
    response = _tract_response(formants, voice.bandwidth, singer, sample_rate, 4 * hop)

    padded = np.zeros((frames + 1) * hop)
    padded[hop : hop + len(excitation)] = excitation
    window = scipy.signal.get_window("hann", 2 * hop)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[::hop] * window  # (M, 2 hop)
    filtered = scipy.fft.irfft(scipy.fft.rfft(pieces, 4 * hop) * response[frame_index.ravel()], 4 * hop)
    waveform = np.zeros((frames + 3) * hop)
    for quarter in range(4):
        waveform[quarter * hop :][: frames * hop] += filtered[:, quarter * hop : (quarter + 1) * hop].ravel()
    return waveform[hop : hop + len(excitation)]


def _tract_response(formants: np.ndarray, bandwidth: float, singer: Singer, sample_rate: int, n_fft: int) -> np.ndarray:
    """Return the (M, n_fft // 2 + 1) response of resonators in cascade, with the dip of the pockets at the larynx."""
    delay = np.exp(-2j * np.pi * np.arange(n_fft // 2 + 1) / n_fft)

    def resonator(hertz: np.ndarray, width: np.ndarray) -> np.ndarray:
        radius = np.exp(-np.pi * width / sample_rate)
        first = 2 * radius * np.cos(2 * np.pi * hertz / sample_rate)
        return (1 - first[:, None] * delay + (radius**2)[:, None] * delay**2) / (1 - first + radius**2)[:, None]

    pocket = np.array([4600.0 * TUBE[singer.voice] ** 0.3 * singer.tract])
    response = resonator(pocket, np.array([800.0])) if pocket[0] < 0.45 * sample_rate else np.ones((1, len(delay)))
    hertz = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    response = response * (1 + 1j * hertz / 2000) / (1 + 1j * hertz / 6000)  # radiation: high frequencies go forwards
    for hertz in formants.T:
        if hertz.max() < 0.48 * sample_rate:
            response = response / resonator(hertz, bandwidth * (45 + 0.025 * hertz))
    return response


def _room(waveform: np.ndarray, voice: Voice, singer: Singer, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Add the singer's room to a (S,) waveform: reverberation, the level of this recording, and noise."""
    times = np.arange(round(singer.room_seconds * sample_rate)) / sample_rate
    response = rng.standard_normal(len(times)) * 10 ** (-3 * times / singer.room_seconds)
    response *= 10 ** (singer.room_level / 20) / np.sqrt(np.sum(response**2))
    response[: round(0.004 * sample_rate)] = 0
    response[0] = 1
    output = scipy.signal.fftconvolve(waveform, response)[: len(waveform)]
    peak = min(10 ** ((singer.level + voice.level + rng.normal(0, 1.5)) / 20), 0.95)
    output *= peak / max(np.abs(output).max(), 1e-9)
    pole = np.exp(-2 * np.pi * 300 / sample_rate)
    noise = scipy.signal.lfilter([1 - pole], [1, -pole], rng.standard_normal(len(waveform)))
    return (output + noise * 10 ** (singer.noise_level / 20) / noise.std()).clip(-1, 1)


def _to_hz(pitch: np.ndarray | float) -> np.ndarray | float:
    return 440.0 * 2.0 ** ((pitch - 69) / 12)


def _smooth(curve: np.ndarray, seconds: float) -> np.ndarray:
    """Smooth the steps of a (T, ...) curve over some seconds; its ends do not change."""
    reach = max(1, round(seconds * CONTROL_RATE / 2))
    window = np.hanning(2 * reach + 3)[1:-1]
    padded = np.pad(curve, [(reach, reach)] + [(0, 0)] * (curve.ndim - 1), mode="edge")
    window = (window / window.sum()).reshape(-1, *[1] * (curve.ndim - 1))
    return scipy.signal.fftconvolve(padded, window, mode="valid", axes=0)


def _drift(points: int, rate: float, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Return a (points,) random curve around 0 with `rate` random points a second."""
    knots = rng.standard_normal(int(points / CONTROL_RATE * rate) + 3)
    positions = np.arange(points) / CONTROL_RATE * rate + rng.uniform()
    return deviation * np.interp(positions, np.arange(len(knots)), knots)
