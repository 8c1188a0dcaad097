"""Changes of the training waveforms and spectrograms, against second libraries and by hand."""

import functools

import numpy as np
import pytest
import scipy.signal
import torch

from singtech.corpus.datamodule import Margins
from singtech.errors import InvalidValue
from singtech.models.network import Architecture
from singtech.models.oblong import OblongExtractor
from singtech.models.spectrogram import MultiResolutionSpectrogram
from singtech.streams import derive_seed
from singtech.training.augmentation import (
    Chain,
    Equaliser,
    Excerpt,
    FrequencyMasks,
    FrequencyMixStyle,
    NoiseFloor,
    Room,
    WhiteNoise,
    resample,
    stages,
    takes_one_generator,
)
from singtech.training.module import TechniqueModule
from singtech.training.phases import TrainNetwork

RATE = 8000


def seeded(clips, first=0):
    return [torch.Generator().manual_seed(derive_seed(0, f"{first + clip}")) for clip in range(clips)]


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def margins(clips, samples, before=None, after=None):
    sides = [np.full(clips, samples if side is None else side) for side in (before, after)]
    return Margins(samples, *sides)


@pytest.mark.parametrize(("decibels", "share"), [(0.0, 1.0), (20.0, 0.01)])
def test_white_noise_has_its_share_of_each_clips_power(decibels, share):
    tone = torch.sin(torch.arange(100_000) / 7)
    clips = torch.stack([tone, 0.1 * tone])
    added = WhiteNoise(decibels, decibels)(clips, torch.Generator().manual_seed(0)) - clips
    found = added.square().mean(dim=1) / clips.square().mean(dim=1)
    torch.testing.assert_close(found, torch.full((2,), share), rtol=0.03, atol=0)


@pytest.mark.parametrize("slope", [-1.0, 0.0, 2.0])
def test_a_noise_floor_has_its_share_of_the_power_and_its_slope(slope):
    clips = noise(2, 80_000) * torch.tensor([[1.0], [0.1]])
    added = NoiseFloor(RATE, 20, 20, slope, slope)(clips, seeded(2)) - clips
    found = added.square().mean(dim=1) / clips.square().mean(dim=1)
    torch.testing.assert_close(found, torch.full((2,), 0.01), rtol=1e-4, atol=0)
    frequencies, power = scipy.signal.welch(added.numpy(), RATE, nperseg=2048)
    band = (frequencies > 100) & (frequencies < 3800)
    fitted = [np.polyfit(np.log(frequencies[band]), np.log(each[band]), 1)[0] for each in power]
    np.testing.assert_allclose(fitted, -slope, atol=0.05)


def test_an_equaliser_raises_the_decibels_it_draws_interpolated_over_octaves():
    impulse = torch.zeros(1, 4096)
    impulse[0, 2048] = 1  # the response is symmetric around it
    response = Equaliser(RATE, decibels=9.0, bands=4)(impulse, seeded(1))[0]
    drawn = 9 * (2 * torch.rand(4, generator=seeded(1)[0]).numpy() - 1)
    frequencies, values = scipy.signal.freqz(response.numpy(), worN=np.array([50, 200, 800, 1000, 4000]), fs=RATE)
    knots = 50 * (4000 / 50) ** (np.arange(4) / 3)
    expected = np.interp(np.log(frequencies), np.log(knots), drawn)
    np.testing.assert_allclose(20 * np.log10(abs(values)), expected, atol=0.05)


def test_a_room_is_a_convolution_with_the_direct_sound_and_a_tail_that_falls_by_60_db():
    room, clips = Room(RATE, 0.3, 0.3, 6.0, 6.0), noise(2, 12_000)
    responses = room.responses(seeded(2)).numpy()
    assert responses[:, 0].tolist() == [1, 1]
    np.testing.assert_allclose(np.square(responses[:, 1:]).sum(axis=1), 10**-0.6, rtol=1e-5)
    level = np.square(responses[:, 1:]).mean(axis=0).reshape(12, -1).mean(axis=1)  # of 25 ms
    fall = np.polyfit(np.arange(12) * 0.025, 10 * np.log10(level), 1)[0]
    assert fall == pytest.approx(-60 / 0.3, rel=0.1)
    expected = [scipy.signal.fftconvolve(clip, each)[:12_000] for clip, each in zip(clips, responses, strict=True)]
    np.testing.assert_allclose(room(clips, seeded(2)), expected, atol=1e-4)


@pytest.mark.parametrize("rate", [0.5, 4.0, 8.0, 30.0])
def test_a_room_keeps_the_direct_sounds_share_of_a_modulation(rate):
    """Noise whose intensity is modulated; what is left of its depth is the transfer function at that rate."""
    seconds = 8.0
    time = torch.arange(int(seconds * RATE)) / RATE
    clips = (1 + torch.cos(2 * np.pi * rate * time)).sqrt() * noise(32, len(time))
    changed = Room(RATE, 0.5, 0.5, 5.0, 5.0)(clips, seeded(32))

    def depth(waveforms):
        intensity = waveforms.square().mean(dim=0)
        wave = torch.exp(-2j * np.pi * rate * time)
        return float(2 * (intensity * wave).mean().abs() / intensity.mean())

    direct = 10**0.5 / (1 + 10**0.5)
    assert direct == pytest.approx(0.76, abs=0.005)
    assert direct - 0.03 < depth(changed) / depth(clips) < 1.02


@pytest.mark.parametrize("length", [4700, 4800, 5088])
def test_resampling_is_scipys(length):
    waveforms = noise(2, length).cumsum(dim=1)
    waveforms -= waveforms.mean(dim=1, keepdim=True)
    spectrum = torch.fft.rfft(waveforms)
    spectrum[:, 2000:] = 0  # nothing at half the sample rate, which has no counterpart
    waveforms = torch.fft.irfft(spectrum, n=length)
    expected = scipy.signal.resample(waveforms.double().numpy(), 4800, axis=1)
    np.testing.assert_allclose(resample(waveforms, 4800), expected, atol=2e-3)


def test_another_excerpt_is_of_the_same_recording_and_begins_anywhere_it_can():
    count = torch.arange(2000.0).expand(500, 2000)  # 500 samples before and after clips of 1000
    starts = Excerpt(0.5)(count, seeded(500), margins(500, 500))[:, 0]
    assert (starts.min() < 10, starts.max() > 990) == (True, True)
    alone = Excerpt(0.5)(count, seeded(500), margins(500, 500, before=0, after=0))
    assert torch.equal(alone, count[:, 500:1500])
    first = Excerpt(0.5)(count, seeded(500), margins(500, 500, before=0, after=200))
    assert torch.equal(first - first[:, :1], count[:, :1000])
    assert (first[:, 0].min(), first[:, 0].max()) == (500, 700)
    assert 590 < first[:, 0].mean() < 610


def test_another_speed_changes_pitch_and_keeps_the_length():
    excerpt, samples = Excerpt(0.0, 0.06), 8000
    width = samples + 2 * int(excerpt.margin * samples)
    tone = torch.sin(2 * np.pi * 1000 * torch.arange(width) / RATE).expand(200, width)
    changed = excerpt(tone, seeded(200), margins(200, (width - samples) // 2))
    assert changed.shape == (200, samples)
    window = torch.hann_window(samples)
    pitch = torch.fft.rfft(changed * window, n=8 * samples).abs().argmax(dim=1) / 8.0
    assert 940 <= pitch.min() < 943
    assert 1057 < pitch.max() <= 1060
    assert 0.999 < changed[:, 200:-200].abs().max() < 1.001


def test_a_faster_excerpt_of_a_single_clip_is_surrounded_by_zeros():
    excerpt = Excerpt(0.5, 0.06)
    side = int(excerpt.margin * 1000)
    waveforms = torch.cat([torch.zeros(50, side), torch.ones(50, 1000), torch.zeros(50, side)], dim=1)
    changed = excerpt(waveforms, seeded(50), margins(50, side, before=0, after=0))
    filled = (changed > 0.5).sum(dim=1)
    assert 935 < filled.min() < 960
    assert filled.max() == 1000


def test_mixstyle_gives_a_clip_the_mean_and_deviation_between_its_own_and_anothers():
    maps = noise(2, 1, 3, 400) * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1) + torch.tensor([0.0, 5.0]).view(2, 1, 1, 1)
    mixed = FrequencyMixStyle(0.3)(maps, seeded(2))
    generator = seeded(1)[0]
    torch.randint(1, 2, (), generator=generator)
    gammas = torch._standard_gamma(torch.full((2,), 0.3, dtype=torch.double), generator=generator)
    share = float(gammas[0] / gammas.sum())
    for band in range(3):
        own, other = maps[0, 0, band], maps[1, 0, band]
        assert float(mixed[0, 0, band].mean()) == pytest.approx(
            share * float(own.mean()) + (1 - share) * float(other.mean()), abs=1e-4
        )
        assert float(mixed[0, 0, band].std()) == pytest.approx(
            share * float(own.std()) + (1 - share) * float(other.std()), rel=1e-4
        )
    assert torch.corrcoef(torch.stack([mixed[0, 0, 0], maps[0, 0, 0]]))[0, 1] == pytest.approx(1, abs=1e-5)
    assert torch.equal(FrequencyMixStyle()(maps[:1], seeded(1)), maps[:1])


def test_the_partner_in_mixstyle_is_another_clip_all_equally_likely():
    maps = torch.arange(5.0).view(5, 1, 1, 1) + 0.001 * noise(5, 1, 1, 4)
    means = torch.stack([FrequencyMixStyle(0.05)(maps, seeded(5, 5 * n))[0].mean() for n in range(600)])
    partners = means.round()[((means - means.round()).abs() < 0.01) & (means > 0.5)]  # who gives all
    counts = torch.bincount(partners.long(), minlength=5)[1:]
    assert len(partners) > 150
    assert (counts > 0.7 * len(partners) / 4).all()


def test_masks_hide_bands_of_frequencies_up_to_their_width_and_no_time():
    maps = 1 + noise(400, 2, 40, 7).abs()
    masked = FrequencyMasks(1, 0.25)(maps, seeded(400))
    is_changed = masked != maps
    assert torch.equal(is_changed, is_changed[:, :1, :, :1].expand_as(maps))
    widths = is_changed[:, 0, :, 0].sum(dim=1)
    assert widths.unique().tolist() == list(range(11))
    assert ((is_changed[:, 0, 1:, 0] & ~is_changed[:, 0, :-1, 0]).sum(dim=1) <= 1).all()
    assert is_changed[:, 0, :, 0].any(dim=0).all()
    means = maps.mean(dim=(1, 2, 3), keepdim=True).expand_as(maps)
    assert torch.equal(masked[is_changed], means[is_changed])


EXCERPT = functools.partial(Excerpt, shift=0.5)
BUILT = {
    "excerpt": EXCERPT(speed=0.06),
    "noise": NoiseFloor(RATE),
    "equaliser": Equaliser(RATE),
    "room": Room(RATE),
    "masks": FrequencyMasks(),
    "chain": Chain({"excerpt": EXCERPT, "noise": NoiseFloor, "room": Room}, ["excerpt", "room", "noise"], RATE,
                   {"excerpt": 0.5, "noise": 0.5}),
}  # fmt: skip


@pytest.mark.parametrize("name", BUILT)
def test_what_a_clip_becomes_does_not_depend_on_its_batch(name):
    change = BUILT[name]
    ((kind, apply),) = stages(change).items()
    side = int(getattr(change, "margin", 0) * 4000)
    clips = noise(4, 4000 + 2 * side) if kind == "waveforms" else noise(4, 1, 30, 20)

    def run(rows):
        arguments = [margins(len(rows), side, after=100)] if side else []
        return apply(clips[rows], [seeded(4)[row] for row in rows], *arguments)

    whole = run([0, 1, 2, 3])
    assert whole.shape == (clips[:, : clips.shape[1] - 2 * side] if side else clips).shape
    torch.testing.assert_close(torch.cat([run([3, 1]), run([0]), run([2])]), whole[[3, 1, 0, 2]], rtol=1e-4, atol=1e-5)
    assert torch.equal(run([0, 1, 2, 3]), whole)


def test_a_part_of_a_chain_that_is_left_out_does_not_change_the_others():
    def chain(**probability):
        parts = {"equaliser": Equaliser, "noise": functools.partial(NoiseFloor, snr_low=40.0)}
        return Chain(parts, ["equaliser", "noise"], RATE, probability)

    clips = noise(40, 4000)
    both, one, other, none = (
        chain(equaliser=first, noise=second)(clips, seeded(40)) - clips
        for first, second in ((1.0, 0.5), (1.0, 0.0), (0.0, 0.5), (0.0, 0.0))
    )
    assert not none.any()
    has_noise = other.abs().amax(dim=1) > 0
    assert 10 < has_noise.sum() < 30
    assert torch.equal((both != one).any(dim=1), has_noise)


def test_a_chain_acts_before_and_after_the_front_end():
    parts = {"noise": WhiteNoise, "masks": FrequencyMasks, "mixstyle": FrequencyMixStyle}
    chain = Chain(parts, list(parts), RATE)
    assert set(stages(chain)) == {"waveforms", "spectrograms"}
    assert stages(None) == {}
    assert set(stages(FrequencyMasks())) == {"spectrograms"}
    assert takes_one_generator(WhiteNoise())
    assert not takes_one_generator(chain)
    clips, maps = noise(3, 400), noise(3, 1, 9, 8)
    assert not torch.equal(stages(chain)["waveforms"](clips, seeded(3)), clips)
    assert not torch.equal(stages(chain)["spectrograms"](maps, seeded(3)), maps)


def test_what_acts_on_spectrograms_is_applied_between_front_end_and_extractor():
    parts = functools.partial(MultiResolutionSpectrogram, n_fft=192, win_lengths=(192,), hop_length=50)
    network = Architecture(parts, functools.partial(OblongExtractor, dc=())).build(4800, 3, RATE, 0).eval()
    phase = TrainNetwork(epochs=1, optimizer=torch.optim.SGD)
    module = TechniqueModule(network, phase, torch.nn.CrossEntropyLoss(), 3, 0).eval()
    waveforms, seen = noise(2, 4800), []

    def change(maps):
        seen.append(maps)
        return torch.zeros_like(maps)

    silent = network(torch.zeros(2, 4800))
    torch.testing.assert_close(module(waveforms, change), silent)
    assert torch.equal(seen[0], network.front_end(waveforms))
    assert not torch.allclose(module(waveforms), silent)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: WhiteNoise(30, 20), "augment.snr_low=30: expected at most augment.snr_high=20"),
        (lambda: NoiseFloor(RATE, slope_low=3), "augment.slope_low=3: expected at most"),
        (lambda: Excerpt(0.6), "augment.shift=0.6: expected a share from 0 to 0.5"),
        (lambda: Excerpt(speed=-0.1), "augment.speed=-0.1: expected a share from 0 to 0.1"),
        (lambda: Equaliser(RATE, 0), "augment.decibels=0: expected a number above 0"),
        (lambda: Equaliser(RATE, bands=1), "augment.bands=1: expected a whole number from 2 up"),
        (lambda: Room(RATE, rt60_low=0), "augment.rt60_low=0: expected seconds above 0"),
        (lambda: Room(RATE, ratio_low=-1), "augment.ratio_low=-1: expected dB from 0 up"),
        (lambda: FrequencyMixStyle(0), "augment.alpha=0: expected a number above 0"),
        (lambda: FrequencyMasks(0), "augment.masks=0: expected a whole number from 1 up"),
        (lambda: FrequencyMasks(width=0.6), "augment.width=0.6: expected a share above 0, at most 0.5"),
        (lambda: FrequencyMasks()(noise(2, 1, 9), seeded(2)), "FrequencyMasks needs a front end with"),
        (lambda: Chain({"room": Room}, ["rooom"], RATE), "augment.order: there is no part rooom; there are room"),
        (lambda: Chain({"room": Room}, ["room"], RATE, {"room": 2}), "augment.probability.room=2: expected a number"),
        (lambda: Chain({"a": Room, "b": Excerpt}, ["a", "b"], RATE), "augment.order: b reads beyond the clip"),
    ],
)
def test_what_an_augmentation_cannot_be_is_refused(build, message):
    with pytest.raises(InvalidValue, match=message):
        build()
