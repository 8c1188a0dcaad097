"""The looks command: files, numbers by hand, and what it says where it cannot."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from singtech.cli.offsets import measure_clip
from singtech.models.cnn1d import Waveform
from singtech.models.spectrogram import MultiResolutionSpectrogram
from tests.conftest import call_command, own_settings, write_corpus

pytestmark = pytest.mark.usefixtures("undrawn")


def test_measures_by_hand():
    """One tap looks two cells up, the other one cell back."""
    across = np.zeros((2, 2, 1, 1))
    across[0, 0], across[1, 1] = 2, -1
    mask = np.array([0.5, 1.5]).reshape(2, 1, 1)
    told = measure_clip(across, mask, mask > 0, scale=(16, 8), units={"frequency": 10.0, "time": 5.0})
    expected = {
        **{"mask": 1, "on_map": 1, "variation_frequency_cells": 0, "variation_time_cells": 0},
        **{"absolute_frequency_cells": 1, "absolute_frequency_hertz": 160, "signed_frequency_cells": 1},
        **{"absolute_time_cells": 0.5, "absolute_time_milliseconds": 20, "signed_time_cells": -0.5},
    }
    assert told == pytest.approx(expected)


def test_a_tap_off_the_map_counts_for_nothing_and_variation_is_from_place_to_place():
    """Of two taps at two places the second meets the map nowhere; the first looks 1, then 3 cells up."""
    across, matters = np.zeros((2, 2, 2, 1)), np.zeros((2, 2, 1), dtype=bool)
    across[0, 0, :, 0], across[0, 1] = (1, 3), 99
    matters[0] = True
    told = measure_clip(across, np.ones((2, 2, 1)), matters, scale=(1, 1), units={"frequency": 1.0, "time": 1.0})
    assert told["on_map"] == 0.5
    assert told["absolute_frequency_cells"] == told["signed_frequency_cells"] == 2
    assert told["variation_frequency_cells"] == 1
    assert told["variation_time_cells"] == 0


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    place = tmp_path_factory.mktemp("looks")
    own = own_settings(write_corpus(place / "corpus"), place / "outputs")
    assert call_command("run", "-m", "dc=none,late", *own) == 0
    return own, place / "outputs"


def test_a_trained_run_is_looked_at(own, call):
    settings, outputs = own
    said = call("offsets", "dc=late", *settings)
    assert said.status == 0
    assert "vibrato.png" in said.out
    (folder,) = (outputs / "tables" / "choir" / "looks").iterdir()
    stems = ("straight", "trill", "vibrato", "offsets", "density")
    pictures = {f"{stem}.{suffix}" for stem in stems for suffix in ("png", "pdf")}
    animations = {f"{stem}.gif" for stem in stems[:3]}
    assert {path.name for path in folder.iterdir()} == {*pictures, *animations, "offsets.csv"}
    offsets = pd.read_csv(folder / "offsets.csv")
    assert set(offsets["layer"]) == {3, 4}
    assert set(offsets["technique"]) == {"straight", "trill", "vibrato"}
    assert (offsets["recordings"] == 2).all()
    assert (offsets["clips"] == 2).all()
    of_all = call("offsets", "dc=late", "looks.split=all", "looks.layer=3", "looks.animation=false", *settings)
    assert of_all.status == 0
    assert "vibrato.gif" not in of_all.out
    assert (pd.read_csv(folder / "offsets.csv")["recordings"] == 8).all()


@pytest.mark.parametrize(
    ("front_end", "message"),
    [
        (Waveform(), "front_end=Waveform: expected n_fft and hop_length"),
        (MultiResolutionSpectrogram(axis="mel", bands=128), "front_end.axis=mel cannot be drawn"),
    ],
)
def test_a_front_end_without_bins_in_hertz_is_named(own, call, monkeypatch, front_end, message):
    settings, _ = own
    network = SimpleNamespace(front_end=front_end)
    monkeypatch.setattr("singtech.cli.offsets.load_network", lambda *_: ("choir", network))
    monkeypatch.setattr("singtech.models.offsets.deformable_layers", lambda _: {3: None})
    said = call("offsets", "dc=late", *settings)
    assert said.status == 1
    assert message in said.err
    assert "Traceback" not in said.err


def test_a_figure_is_named_after_the_clip_that_it_shows(own, call, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "singtech.results.figures.save", lambda figure, stem: drawn.update({stem.name: figure.get_suptitle()}) or []
    )
    settings, _ = own
    assert call("offsets", "dc=late", "looks.animation=false", *settings).status == 0
    for technique in ("straight", "trill", "vibrato"):
        assert drawn[technique].startswith(f"{technique} — corpus choir\ndot/scales/{technique}/dot_{technique}_0,")


def test_one_clip_and_place_can_be_chosen(own, call):
    settings, outputs = own
    options = ["looks.recording=dot_trill_1", "looks.seconds=0.3", "looks.hertz=800"]
    assert call("offsets", "dc=late", *settings, *options).status == 0
    assert list(outputs.rglob("dot_scales_trill_dot_trill_1.png"))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["dc=none"], "dc=none: it has no deformable layer"),
        (["dc=late", "seed=9"], "is not trained yet; do so with `singtech run dc=late seed=9"),
        (
            ["dc=late", "looks.recording=dot_trill"],
            "several are called so; there are dot/scales/trill/dot_trill_0, dot",
        ),
        (["dc=late", "looks.recording=dot_trill_0", "looks.start=7"], "no clip there"),
        (["dc=late", "looks.hertz=90000"], "expected up to"),
        (["dc=late", "looks.layer=1"], "looks.layer=1: the deformable layers are 3, 4"),
        (["dc=late", "looks.split=train"], "looks.split=train: expected test or all"),
    ],
)
def test_what_cannot_be_looked_at_is_one_sentence(own, call, options, why):
    settings, _ = own
    said = call("offsets", *options, *settings)
    assert said.status == 1
    assert why in said.err
    assert "Traceback" not in said.err


def test_without_any_run_no_corpus_is_fetched(call, tmp_path, monkeypatch):
    monkeypatch.setattr("singtech.cli.offsets.prepare_corpus", lambda cfg: pytest.fail("it asked for the corpus"))
    said = call("offsets", "data=vocalset", "dc=late", f"output_dir={tmp_path}", "looks.layer=3")
    asked = f"`singtech run data=vocalset dc=late output_dir={tmp_path}`"
    assert said.err.splitlines()[-1] == f"error: no run on vocalset is in {tmp_path}; train one with {asked}."
