"""A power cut at a file operation: the same command again ends as if nothing had happened. One here, more below."""

import pytest

from tests.conftest import SMALL
from tests.faults.conftest import leftovers, outcome


def command(own_corpus, output_dir):
    """Two runs that share their first phase, on recordings that have to be cut first."""
    own = ["data=folder", "data.name=choir", f"data.root={own_corpus}", "data.split.test=[dot]"]
    short = ["schedule.features=2", "schedule.classifier=2", "trainer.progress=false"]
    return ["singtech.run", "-m", "alpha=0.2,0.5", *own, *short, *SMALL, f"output_dir={output_dir}"]


def killed_and_repeated(fork, own_corpus, tmp_path, deaths):
    """Outcomes after a kill at each of these operations and a repetition, beside that of an undisturbed sweep."""
    places = [tmp_path / f"killed_at_{death}" for death in deaths]
    commands = [command(own_corpus, place) for place in places]
    both = [twice for one in commands for twice in (one, one)]
    ended, said = fork(both, [number for death in deaths for number in (death, 0)])
    assert [end["status"] for end in ended[1::2]] == [0] * len(deaths), said
    return [end["status"] for end in ended[::2]], [(outcome(place), leftovers(place)) for place in places]


@pytest.fixture
def undisturbed(fork, own_corpus, tmp_path):
    """What the sweep comes to when nothing happens, and how many file operations it takes."""
    ended, said = fork([command(own_corpus, tmp_path / "undisturbed")], [0])
    assert ended[0]["status"] == 0, said
    return outcome(tmp_path / "undisturbed"), ended[0]["operations"]


def test_a_sweep_killed_half_way_ends_as_if_nothing_had_happened(fork, own_corpus, tmp_path):
    undisturbed, killed = (command(own_corpus, tmp_path / name) for name in ("undisturbed", "killed"))
    ended, said = fork([undisturbed, killed, killed], [0, 0.5, 0])
    assert [end["status"] for end in ended] == [0, -9, 0], said
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "undisturbed")
    assert leftovers(tmp_path / "killed") == []


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_sweep_killed_at_any_file_operation_ends_as_if_nothing_had_happened(fork, own_corpus, tmp_path, undisturbed):
    expected, operations = undisturbed
    deaths = list(range(1, operations + 1, max(1, operations // 80)))
    statuses, found = killed_and_repeated(fork, own_corpus, tmp_path, deaths)
    assert statuses.count(-9) >= len(deaths) - 2  # how many operations a sweep takes varies with its waits
    wrong = {place: (left, came_to == expected) for place, (came_to, left) in zip(deaths, found, strict=True)}
    wrong = {place: what for place, what in wrong.items() if what != ([], True)}
    assert wrong == {}
