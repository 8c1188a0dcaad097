"""Augmentations that do not change the technique, and a chain of them.

They change what tells recordings apart: where a clip begins, the noise floor, the colour of microphone and room. None
shifts pitch by a phase vocoder or hides a long stretch of time: that makes jitter and tremolo, which are techniques.
A random gain alone would do nothing, because the front end normalises the level (`singtech.models.level`).

Of the libraries, audiomentations augments one numpy array after the other, and torch-audiomentations needs torchaudio.
Both draw from global random states, so that a clip's numbers would depend on all clips before it.

Clip i of a batch draws from `generators[i]` alone, on the CPU; the arithmetic is batched on the clips' device.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from singtech.components import build
from singtech.corpus.datamodule import Margins
from singtech.errors import InvalidValue, require, require_choice

Generators = Sequence[torch.Generator]
LOWEST_HZ = 50.0  # voices have nothing below


class WhiteNoise:
    """Add white noise at a random signal-to-noise ratio per clip. The numbers depend on the whole batch.

    Args:
        snr_low, snr_high: in dB; the ratio is uniform between them.
    Raises:
        InvalidValue: the lower is above the higher.
    """

    def __init__(self, snr_low: float = 20.0, snr_high: float = 60.0) -> None:
        require_order("snr", snr_low, snr_high)
        self.snr_low, self.snr_high = snr_low, snr_high

    def __call__(self, waveforms: Tensor, generator: torch.Generator) -> Tensor:
        """(B, S) waveforms -> (B, S)."""
        share = torch.rand(len(waveforms), 1, generator=generator)
        snr = self.snr_low + share * (self.snr_high - self.snr_low)
        noise = torch.randn(waveforms.shape, generator=generator).to(waveforms)
        power = waveforms.square().mean(dim=1, keepdim=True)
        return waveforms + noise * (power * (10 ** (-snr / 10)).to(waveforms)).sqrt()


class Excerpt:
    """Another excerpt of the clip's recording: it begins elsewhere and, if you like, runs faster or slower.

    The audio is that of the clip and of the training clips beside it in the same recording. All starts are equally
    likely that need no other audio. Where a recording is too short for a faster excerpt, zeros surround it.

    Args:
        shift: most that the start moves, as a share of the clip, from 0 to 0.5.
        speed: most that the speed changes, from 0 to 0.1; pitch and tempo change together, as on a tape. 0.06 is a
            semitone; a vibrato of 6 Hz stays between 5.6 and 6.4 Hz.
    Raises:
        InvalidValue: a share is out of range.
    """

    def __init__(self, shift: float = 0.5, speed: float = 0.0) -> None:
        for name, value, most in (("shift", shift, 0.5), ("speed", speed, 0.1)):
            require(0 <= value <= most, f"augment.{name}", value, f"a share from 0 to {most}")
        self.shift, self.speed, self.margin = shift, speed, shift + 2 * speed

    def __call__(self, waveforms: Tensor, generators: Generators, margins: Margins) -> Tensor:
        """(B, M + S + M) waveforms -> (B, S)."""
        width, samples = waveforms.shape[1], waveforms.shape[1] - 2 * margins.samples
        edge = int(min(64, self.speed * samples / 4))  # cut off, because the Fourier transform is periodic
        step = 2 * max(1, samples // 1024)  # few different lengths, so that clips share transforms
        draws = uniform(generators, 2)
        spans: dict[int, list[tuple[int, int]]] = {}  # length of the excerpt -> (clip, its start)
        for clip, (place, pace) in enumerate(draws.tolist()):
            length = samples
            if self.speed:
                length = (samples + 2 * edge) * (1 + self.speed * (2 * pace - 1))
                length = min(step * round(length / step), width)
            centre = margins.samples + (samples - length) // 2
            reach = int(self.shift * samples)
            first = max(margins.samples - int(margins.before[clip]), centre - reach)
            last = min(margins.samples + samples + int(margins.after[clip]) - length, centre + reach)
            start = centre if last < first else first + int(place * (last - first + 1))
            spans.setdefault(length, []).append((clip, start))
        excerpts = waveforms.new_empty(len(waveforms), samples)
        for length, members in sorted(spans.items()):
            group = torch.stack([waveforms[clip, start : start + length] for clip, start in members])
            if self.speed:
                group = resample(group, samples + 2 * edge)[:, edge : edge + samples]
            excerpts[[clip for clip, _ in members]] = group
        return excerpts


def resample(waveforms: Tensor, samples: int) -> Tensor:
    """(B, N) periodic waveforms -> (B, samples), by the Fourier transform, like `scipy.signal.resample`."""
    length = waveforms.shape[1]
    spectrum = torch.fft.rfft(waveforms)[:, : min(length, samples) // 2 + 1]
    return torch.fft.irfft(spectrum, n=samples) * (samples / length)


class NoiseFloor:
    """Add noise of a random colour at a random signal-to-noise ratio per clip.

    The front end normalises the level, so a random noise floor is also what a random gain before the microphone does.
    Below 20 dB the noise would sound like breath, which is a technique.

    Args:
        sample_rate: in Hz.
        snr_low, snr_high: in dB; the ratio is uniform between them.
        slope_low, slope_high: the power falls as frequency to the power -slope above 50 Hz, the slope is uniform
            between them: -1 is blue noise, 0 white, 1 pink, 2 brown.
    Raises:
        InvalidValue: a lower number is above the higher.
    """

    def __init__(
        self,
        sample_rate: int,
        snr_low: float = 20.0,
        snr_high: float = 60.0,
        slope_low: float = -1.0,
        slope_high: float = 2.0,
    ) -> None:
        require_order("snr", snr_low, snr_high)
        require_order("slope", slope_low, slope_high)
        self.sample_rate, self.snr, self.slope = sample_rate, (snr_low, snr_high), (slope_low, slope_high)

    def __call__(self, waveforms: Tensor, generators: Generators) -> Tensor:
        """(B, S) waveforms -> (B, S)."""
        samples = waveforms.shape[1]
        snr, slope = uniform(generators, 2, low=(self.snr[0], self.slope[0]), high=(self.snr[1], self.slope[1])).T
        bins = samples // 2 + 1
        spectrum = torch.stack([torch.randn(bins, 2, generator=generator) for generator in generators]).to(waveforms)
        frequencies = torch.fft.rfftfreq(samples, 1 / self.sample_rate).to(waveforms)
        colour = frequencies.clamp(min=LOWEST_HZ) ** (-slope.to(waveforms)[:, None] / 2) * (frequencies > 0)
        noise = torch.fft.irfft(torch.view_as_complex(spectrum) * colour, n=samples)
        power = waveforms.square().mean(dim=1) * 10 ** (-snr.to(waveforms) / 10)
        return waveforms + noise * (power / noise.square().mean(dim=1)).sqrt()[:, None]


class Equaliser:
    """Raise and lower frequencies per clip, by random decibels at a few of them.

    Args:
        sample_rate: in Hz.
        decibels: most at any frequency; above 0.
        bands: number of frequencies, equally spaced on a logarithmic axis from 50 Hz to half the sample rate; between
            them the decibels are interpolated, so that the response has no sharp peak that could sound like a formant.
    Raises:
        InvalidValue: the decibels are not above 0, or there are less than two bands.
    """

    def __init__(self, sample_rate: int, decibels: float = 6.0, bands: int = 6) -> None:
        require(decibels > 0, "augment.decibels", decibels, "a number above 0")
        require(bands >= 2, "augment.bands", bands, "a whole number from 2 up")
        self.sample_rate, self.decibels, self.bands = sample_rate, decibels, bands

    def __call__(self, waveforms: Tensor, generators: Generators) -> Tensor:
        """(B, S) waveforms -> (B, S)."""
        gains = uniform(generators, self.bands, low=-self.decibels, high=self.decibels).to(waveforms)
        frequencies = torch.fft.rfftfreq(waveforms.shape[1], 1 / self.sample_rate).to(waveforms)
        octaves = (frequencies.clamp(min=LOWEST_HZ) / LOWEST_HZ).log2()
        place = octaves / octaves[-1] * (self.bands - 1)
        band = place.floor().clamp(max=self.bands - 2).long()
        share = place - band
        curve = gains[:, band] * (1 - share) + gains[:, band + 1] * share
        return torch.fft.irfft(torch.fft.rfft(waveforms) * 10 ** (curve / 20), n=waveforms.shape[1])


class Room:
    """Put each clip into a room of its own: the direct sound, then noise that decays exponentially.

    Reverberation fills the gaps of a modulation. Of the depth of any modulation of the intensity, however fast, at
    least the direct sound's share of the energy stays: 76 % at 5 dB, the lowest ratio by default.

    Args:
        sample_rate: in Hz.
        rt60_low, rt60_high: seconds in which the reverberation falls by 60 dB; above 0, uniform between them.
        ratio_low, ratio_high: energy of the direct sound over that of the reverberation, in dB; from 0 up, uniform.
    Raises:
        InvalidValue: a lower number is above the higher, or out of range.
    """

    def __init__(
        self,
        sample_rate: int,
        rt60_low: float = 0.1,
        rt60_high: float = 0.5,
        ratio_low: float = 5.0,
        ratio_high: float = 20.0,
    ) -> None:
        require_order("rt60", rt60_low, rt60_high)
        require_order("ratio", ratio_low, ratio_high)
        require(rt60_low > 0, "augment.rt60_low", rt60_low, "seconds above 0")
        require(ratio_low >= 0, "augment.ratio_low", ratio_low, "dB from 0 up")
        self.sample_rate, self.rt60, self.ratio = sample_rate, (rt60_low, rt60_high), (ratio_low, ratio_high)

    def __call__(self, waveforms: Tensor, generators: Generators) -> Tensor:
        """(B, S) waveforms -> (B, S)."""
        samples, responses = waveforms.shape[1], self.responses(generators).to(waveforms)
        length = -(-(samples + responses.shape[1]) // 1024) * 1024
        spectrum = torch.fft.rfft(waveforms, n=length) * torch.fft.rfft(responses, n=length)
        return torch.fft.irfft(spectrum, n=length)[:, :samples]

    def responses(self, generators: Generators) -> Tensor:
        """(B, R) impulse responses, of which the first sample, 1, is the direct sound."""
        rt60, ratio = uniform(generators, 2, low=(self.rt60[0], self.ratio[0]), high=(self.rt60[1], self.ratio[1])).T
        length = math.ceil(self.rt60[1] * self.sample_rate)
        tails = torch.stack([torch.randn(length, generator=generator) for generator in generators])
        tails *= 10 ** (-3 * torch.arange(1, length + 1) / self.sample_rate / rt60[:, None])
        tails *= (10 ** (-ratio / 20) / tails.norm(dim=1))[:, None]
        return torch.cat([torch.ones(len(tails), 1), tails], dim=1)


class FrequencyMixStyle:
    """Mix the frequency-wise mean and deviation of each spectrogram with those of another clip (Kim et al. 2022).

    Each frequency's mean and deviation over channels and frames become share * own + (1 - share) * other's, with a
    share from Beta(alpha, alpha) per clip. The other clip is any of those that are augmented together. So it depends
    on the batch, on the number of devices, and in a chain with a probability on the chosen clips; the seed gives all.
    A clip alone does not change.

    Args:
        alpha: above 0; the smaller, the nearer the shares are to 0 or 1.
    Raises:
        InvalidValue: alpha is not above 0.
    """

    acts_on = "spectrograms"

    def __init__(self, alpha: float = 0.3) -> None:
        require(alpha > 0, "augment.alpha", alpha, "a number above 0")
        self.alpha = alpha

    def __call__(self, spectrograms: Tensor, generators: Generators) -> Tensor:
        """(B, C, F, T) spectrograms -> (B, C, F, T)."""
        require_spectrograms(self, spectrograms)
        clips = len(spectrograms)
        if clips < 2:
            return spectrograms
        steps = [int(torch.randint(1, clips, (), generator=generator)) for generator in generators]
        others = [(clip + step) % clips for clip, step in enumerate(steps)]
        alphas = torch.full((2,), self.alpha, dtype=torch.double)
        gammas = torch.stack([torch._standard_gamma(alphas, generator=generator) for generator in generators])
        shares = (gammas[:, 0] / gammas.sum(dim=1)).to(spectrograms)[:, None, None, None]
        variances, means = torch.var_mean(spectrograms.detach(), dim=(1, 3), keepdim=True)
        deviations = (variances + 1e-6).sqrt()
        mean = shares * means + (1 - shares) * means[others]
        deviation = shares * deviations + (1 - shares) * deviations[others]
        return (spectrograms - means) / deviations * deviation + mean


class FrequencyMasks:
    """Replace bands of each spectrogram by the clip's mean (Park et al. 2019, without masks in time).

    Args:
        masks: number of bands, from 1 up.
        width: of the widest band, as a share of all frequencies, above 0, at most 0.5; uniform from 0.
    Raises:
        InvalidValue: a number is out of range.
    """

    acts_on = "spectrograms"

    def __init__(self, masks: int = 2, width: float = 0.1) -> None:
        require(masks >= 1, "augment.masks", masks, "a whole number from 1 up")
        require(0 < width <= 0.5, "augment.width", width, "a share above 0, at most 0.5")
        self.masks, self.width = masks, width

    def __call__(self, spectrograms: Tensor, generators: Generators) -> Tensor:
        """(B, C, F, T) spectrograms -> (B, C, F, T)."""
        require_spectrograms(self, spectrograms)
        place, width = uniform(generators, 2, self.masks).to(spectrograms.device).unsqueeze(-1).unbind(dim=1)
        bins = spectrograms.shape[2]
        widths = (width * (int(self.width * bins) + 1)).floor()  # from 0 to the widest
        starts = (place * (bins - widths + 1)).floor()
        numbers = torch.arange(bins, device=spectrograms.device)
        is_masked = ((numbers >= starts) & (numbers < starts + widths)).any(dim=1)  # (B, F)
        mean = spectrograms.mean(dim=(1, 2, 3), keepdim=True)
        return torch.where(is_masked[:, None, :, None], mean, spectrograms)


class Chain:
    """Several augmentations, one after the other, each for some of the clips.

    Each part draws from a generator of its own per clip, so that the others' numbers stay if one is left out by a
    probability of 0. A part that takes one generator for a batch gets that of the first clip.

    Args:
        parts: by name.
        order: the names, first to last. A part that reads beyond the clip, such as `Excerpt`, must be the first.
        probability: of each part per clip, by name; 1 for those not named.
        sample_rate: in Hz.
    Raises:
        InvalidValue: a name is unknown, a probability out of range, or a part at the wrong place.
    """

    def __init__(
        self,
        parts: Mapping[str, Callable],
        order: Sequence[str],
        sample_rate: int,
        probability: Mapping[str, float] | None = None,
    ) -> None:
        self.probability = dict(probability or {})
        for setting, names in {"order": order, "probability": self.probability}.items():
            unknown = [name for name in names if name not in parts]
            if unknown:
                raise InvalidValue(f"augment.{setting}: there is no part {unknown[0]}; there are {', '.join(parts)}.")
        for name, value in self.probability.items():
            require(0 <= value <= 1, f"augment.probability.{name}", value, "a number from 0 to 1")
        self.parts = {name: build(parts[name], sample_rate=sample_rate) for name in order}
        late = [name for name in list(self.parts)[1:] if margin_of(self.parts[name])]
        if late:
            raise InvalidValue(f"augment.order: {late[0]} reads beyond the clip, so it must be the first.")
        self.margin = max(map(margin_of, self.parts.values()), default=0.0)

    def __call__(
        self, clips: Tensor, generators: Generators, margins: Margins | None = None, kind: str = "waveforms"
    ) -> Tensor:
        """Apply the parts that act on a kind, `waveforms` or `spectrograms`: (B, …) -> (B, …)."""
        choices = uniform(generators, len(self.parts))
        seeds = [torch.randint(2**62, (len(self.parts),), generator=generator) for generator in generators]
        for number, (name, part) in enumerate(self.parts.items()):
            if acts_on(part) != kind:
                continue
            whole = clips
            if margin_of(part) and margins is not None:
                clips = clips[:, margins.samples : clips.shape[1] - margins.samples]
            chosen = (choices[:, number] < self.probability.get(name, 1.0)).nonzero()[:, 0]
            if not len(chosen):
                continue
            own = [torch.Generator().manual_seed(int(seeds[clip][number])) for clip in chosen]
            own_margins = None if margins is None else margins.of(chosen.numpy())
            rows = chosen.to(clips.device)
            clips = clips.index_copy(0, rows, augment(part, whole[rows], own, own_margins))
        return clips


def augment(part: Any, clips: Tensor, generators: Generators, margins: Margins | None = None) -> Tensor:
    """Call an augmentation with what it takes: (B, …) -> (B, …)."""
    if takes_one_generator(part):
        return part(clips, generators[0])
    return part(clips, generators, margins) if margin_of(part) else part(clips, generators)


def stages(augmentation: Any) -> dict[str, Any]:
    """Return what of an augmentation acts on `waveforms` and on `spectrograms`, where anything does."""
    if isinstance(augmentation, Chain):
        return {kind: partial(augmentation, kind=kind) for kind in map(acts_on, augmentation.parts.values())}
    return {} if augmentation is None else {acts_on(augmentation): partial(augment, augmentation)}


def acts_on(augmentation: Any) -> str:
    """Return `waveforms`, or `spectrograms`.

    Raises:
        InvalidValue: its attribute of this name is something else.
    """
    kind = getattr(augmentation, "acts_on", "waveforms")
    require_choice(f"{type(augmentation).__name__}.acts_on", kind, ("waveforms", "spectrograms"))
    return kind


def margin_of(augmentation: Any) -> float:
    """Return the share of a clip that it reads of the recording before and after each clip."""
    return getattr(augmentation, "margin", 0.0)


def takes_one_generator(augmentation: Any) -> bool:
    """Whether it takes one generator for a batch, under the name `generator`."""
    return "generator" in inspect.signature(augmentation).parameters


def uniform(generators: Generators, *shape: int, low: Any = 0.0, high: Any = 1.0) -> Tensor:
    """(B, *shape) numbers between `low` and `high`, numbers or one for each of a vector, a clip's by its generator."""
    shares = torch.stack([torch.rand(shape, generator=generator) for generator in generators])
    low, high = torch.tensor(low), torch.tensor(high)
    return low + shares * (high - low)


def require_order(name: str, low: float, high: float) -> None:
    """Require that the ends of a range are in order."""
    require(low <= high, f"augment.{name}_low", low, f"at most augment.{name}_high={high}")


def require_spectrograms(change: Any, inputs: Tensor) -> None:
    """Require the front end's output to be spectrograms."""
    if inputs.ndim != 4:
        name, shape = type(change).__name__, tuple(inputs.shape[1:])
        raise InvalidValue(f"{name} needs a front end with (channels, frequencies, frames), not {shape}.")
