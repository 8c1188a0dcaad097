"""Changes of the training waveforms."""

import pytest
import torch

from singtech.training.augmentation import WhiteNoise


@pytest.mark.parametrize(("decibels", "share"), [(0.0, 1.0), (20.0, 0.01)])
def test_white_noise_has_its_share_of_each_clips_power(decibels, share):
    tone = torch.sin(torch.arange(100_000) / 7)
    clips = torch.stack([tone, 0.1 * tone])
    noise = WhiteNoise(decibels, decibels)(clips, torch.Generator().manual_seed(0)) - clips
    found = noise.square().mean(dim=1) / clips.square().mean(dim=1)
    torch.testing.assert_close(found, torch.full((2,), share), rtol=0.03, atol=0)
