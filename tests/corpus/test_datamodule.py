"""Batches: every clip once an epoch, in an order that the seed and the epoch alone decide."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from singtech.corpus.datamodule import EpochSampler, VocalSetDataModule


class Corpus:
    """`train` training clips and three test clips of four samples; a clip's samples are its number."""

    def __init__(self, train):
        self.waveforms = np.repeat(np.arange(train + 3, dtype=np.int16)[:, None], 4, axis=1)
        self.clips = pd.DataFrame({"split": ["train"] * train + ["test"] * 3})

    def rows(self, split):
        return np.flatnonzero((self.clips["split"] == split).to_numpy())

    def targets(self, split):
        return self.rows(split).astype(np.int64) % 2


def clips(loader):
    return [waveforms[:, 0].tolist() for waveforms, _ in loader]


def order(loader, epoch):
    loader.batch_sampler.sampler.set_epoch(epoch)  # where Lightning tells it
    return [clip for batch in clips(loader) for clip in batch]


def test_every_epoch_has_every_training_clip_once_in_another_order():
    loader = VocalSetDataModule(Corpus(10), batch_size=4).train_dataloader()
    first, second = order(loader, 0), order(loader, 1)
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert order(loader, 0) == first


def test_a_phase_that_goes_on_meets_the_order_of_its_absolute_epoch():
    whole = VocalSetDataModule(Corpus(10), batch_size=4).train_dataloader()
    second_half = VocalSetDataModule(Corpus(10), batch_size=4, first_epoch=5).train_dataloader()
    assert order(second_half, 2) == order(whole, 7)
    assert order(VocalSetDataModule(Corpus(10), batch_size=4, seed=1).train_dataloader(), 7) != order(whole, 7)


@pytest.mark.parametrize(
    ("train", "drop_last", "sizes"),
    [
        (10, False, [4, 4, 2]),
        (10, True, [4, 4]),
        (9, False, [4, 4]),
        (8, False, [4, 4]),
        (3, True, [3]),
        (1, False, [1]),
    ],
)
def test_the_last_smaller_batch_is_kept_unless_dropped_or_a_single_clip(train, drop_last, sizes):
    loader = VocalSetDataModule(Corpus(train), batch_size=4, drop_last=drop_last).train_dataloader()
    assert [len(batch) for batch in clips(loader)] == sizes
    assert len(loader) == len(sizes)


@pytest.mark.parametrize(("clips_left", "batches"), [(4, 3), (3, 2), (1, 2)])
def test_a_last_batch_with_less_than_two_clips_a_device_is_left_out_on_all_of_them(clips_left, batches):
    for rank in (0, 1):
        data = VocalSetDataModule(Corpus(16 + clips_left), batch_size=8)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2)
        assert len(list(data.train_dataloader())) == batches


def test_test_clips_come_in_the_corpuss_order_with_their_technique():
    loader = VocalSetDataModule(Corpus(10), batch_size=2).ordered_loader("test")
    assert clips(loader) == [[10, 11], [12]]
    assert torch.cat([targets for _, targets in loader]).tolist() == [0, 1, 0]


def test_waveforms_run_from_minus_one_to_one():
    samples = torch.tensor([[-32768, 0, 16384]], dtype=torch.int16)
    waveform, _ = VocalSetDataModule(Corpus(2)).on_after_batch_transfer((samples, torch.tensor([0])), 0)
    assert waveform.dtype == torch.float32
    assert waveform.tolist() == [[-1.0, 0.0, 0.5]]


def test_drawing_an_order_leaves_the_global_generator_alone():
    state = torch.random.get_rng_state()
    clips(VocalSetDataModule(Corpus(10), batch_size=4).train_dataloader())
    list(EpochSampler(10, seed=0))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_clips_that_are_resident_on_the_device_make_the_same_batches():
    corpus = Corpus(10)
    stored = VocalSetDataModule(corpus, batch_size=4)
    resident = VocalSetDataModule(corpus, batch_size=4, resident=torch.from_numpy(corpus.waveforms))
    for loader in (
        lambda data: data.train_dataloader(),
        lambda data: data.ordered_loader("test"),
        lambda d: d.recalibration_loader(),
    ):
        pairs = list(zip(loader(stored), loader(resident), strict=True))
        assert pairs
        for batch, by_row in pairs:
            assert by_row[0].ndim == 1
            ours, theirs = (data.on_after_batch_transfer(b, 0) for data, b in ((resident, by_row), (stored, batch)))
            assert ours[0].dtype == torch.float32
            assert torch.equal(ours[0], theirs[0])
            assert torch.equal(ours[1], theirs[1])


class Continued(Corpus):
    """Ten clips of three recordings: a test clip is in the first, the last clip of the second is padded."""

    sample_rate = 2

    def __init__(self):
        self.waveforms = np.arange(40, dtype=np.int16).reshape(10, 4) + 1
        self.clips = pd.DataFrame(
            {
                "recording": [*"aaaaa", *"bbb", *"cc"],
                "split": ["train", "train", "test", "train", "train", "train", "train", "train", "train", ""],
                "start": [0, 2, 4, 6, 8, 0, 2, 4, 0, 4.0],
                "samples": [4, 4, 4, 4, 4, 4, 4, 2, 4, 4],
            }
        )


@pytest.mark.parametrize("is_resident", [False, True])
def test_margins_are_of_the_training_clips_beside_a_clip_in_its_recording(is_resident):
    corpus = Continued()
    resident = torch.from_numpy(corpus.waveforms) if is_resident else None
    data = VocalSetDataModule(corpus, batch_size=8, resident=resident, margin=0.75)
    (batch,) = list(data.train_dataloader())
    waveforms, _, margins = data.on_after_batch_transfer(batch, 0)
    found = {}
    for clip, before, after in zip(waveforms * 32768, margins.before, margins.after, strict=True):
        found[int(clip[3])] = (int(before), int(after), clip[:3].tolist(), clip[7:].tolist())
        assert clip[3:7].tolist() == [clip[3] + n for n in range(4)]
    assert margins.samples == 3
    none = [0, 0, 0]
    assert found == {
        1: (0, 3, none, [5, 6, 7]),
        5: (3, 0, [2, 3, 4], none),  # a test clip follows
        13: (0, 3, none, [17, 18, 19]),
        17: (3, 0, [14, 15, 16], none),
        21: (0, 3, none, [25, 26, 27]),
        25: (3, 2, [22, 23, 24], [29, 30, 31]),  # of which the last is a padded clip's zero
        29: (3, 0, [26, 27, 28], none),
        33: (0, 0, none, none),
    }
    assert len(next(iter(data.ordered_loader("test")))) == len(next(iter(data.recalibration_loader()))) == 2


def test_a_sampler_decides_the_order_of_each_epoch_and_hears_how_far_the_phase_is():
    progress = []

    def draw(generator, share):
        progress.append(share)
        return torch.randint(5, (4,), generator=generator)

    loader = VocalSetDataModule(Corpus(10), batch_size=2, epochs=4, draw=draw).train_dataloader()
    drawn = [order(loader, epoch) for epoch in (0, 3, 0)]
    assert progress == [0.0, 0.75, 0.0]
    assert [len(epoch) for epoch in drawn] == [4, 4, 4]
    assert drawn[0] == drawn[2] != drawn[1]
