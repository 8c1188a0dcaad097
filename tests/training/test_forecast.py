"""The time a sweep still takes: shared phases count once, each kind of phase has its own pace."""

from types import SimpleNamespace

import pytest

from singtech.training import planning
from singtech.training.planning import Forecast


def make_run(name, *keys, network="late"):
    """A run of 10 epochs of the network and 4 of the head, on 100 clips."""
    phases = (
        SimpleNamespace(trains="network", changes_extractor=True, epochs=10),
        SimpleNamespace(trains="head", changes_extractor=False, epochs=4),
    )
    return SimpleNamespace(name=lambda clips: name, keys=keys, phases=phases, network=network)


CORPUS = SimpleNamespace(rows=lambda split: range(100), fingerprint=lambda split: split)


@pytest.fixture
def stored(monkeypatch):
    """Seconds of each stored phase, by key."""
    seconds = {}
    monkeypatch.setattr(planning, "_network_digest", lambda run: run.network)
    monkeypatch.setattr(
        planning, "StoredPhase", lambda folder: SimpleNamespace(record={"seconds": seconds[folder.name]})
    )
    monkeypatch.setattr(Forecast, "_is_stored", lambda forecast, key: key in seconds)
    return seconds


def test_the_time_left_is_that_of_phases_that_no_run_has_trained(stored, tmp_path):
    forecast = Forecast(tmp_path)
    for name, keys in {"a": "F1", "b": "F2", "c": "G3"}.items():  # a and b share the features F
        assert forecast.add(make_run(name, *keys), CORPUS)
    assert forecast.seconds_left() is None
    forecast.note_epochs("a", 0, 2, 10, 20.0)  # 10 s an epoch: 8 of F and 10 of G are left
    assert forecast.seconds_left() == pytest.approx(180)
    stored |= {"F": 100.0, "1": 8.0}
    forecast.finish("a", SimpleNamespace(trained=(True, True)), 113.0)  # 5 s beside training
    assert forecast.seconds_left() == pytest.approx(8 + 100 + 8 + 2 * 5)
    stored |= {"2": 8.0}
    forecast.finish("b", SimpleNamespace(trained=(False, True)), 15.0)  # 7 s beside training, 6 on average
    assert forecast.seconds_left() == pytest.approx(100 + 8 + 6)
    forecast.finish("c")  # it failed
    assert forecast.seconds_left() == 0


def test_a_network_without_a_pace_has_that_of_the_others(stored, tmp_path):
    forecast = Forecast(tmp_path)
    forecast.add(make_run("a", "F", "1"), CORPUS)
    forecast.add(make_run("b", "G", "2", network="early"), CORPUS)
    stored |= {"F": 50.0, "1": 0.0}
    forecast.finish("a", SimpleNamespace(trained=(True, True)), 50.0)
    assert forecast.seconds_left() == pytest.approx(50)


def test_a_run_that_another_process_has_made_takes_no_time(stored, tmp_path, monkeypatch):
    forecast = Forecast(tmp_path)
    for name, keys in {"a": "F1", "b": "F2"}.items():
        forecast.add(make_run(name, *keys), CORPUS)
    stored |= {"F": 100.0, "1": 8.0, "2": 8.0}
    forecast.finish("a", SimpleNamespace(trained=(True, True)), 113.0)
    assert forecast.seconds_left() == pytest.approx(5)
    monkeypatch.setattr(planning, "is_complete", lambda folder: True)
    assert not forecast.add(make_run("b", "F", "2"), CORPUS)
    assert forecast.seconds_left() == 0
