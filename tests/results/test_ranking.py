"""The table at the end of a sweep: its runs best first, what differs, their intervals, and where to see them."""

import os

import pytest

from singtech.results.collate import collate
from singtech.results.ranking import format_ranking


@pytest.fixture
def collated(tmp_path):
    return lambda: collate(tmp_path)


def names(collated):
    return set(collated().results["run"])


def test_the_runs_of_the_sweep_are_listed_best_first(run, collated, tmp_path):
    run(0.5, alpha=0.2, accuracy=0.7)
    run(0.75, alpha=0.5, accuracy=0.6)
    run(0.25, alpha=1.0, accuracy=0.5)
    table = format_ranking(collated(), names(collated)).splitlines()
    assert table[1] == "The 3 runs of this sweep, best first:"
    assert table[3].split() == ["alpha", "macro-F1", "accuracy"]  # without predictions there is no interval
    assert [line.split()[-3:] for line in table[4:7]] == [
        ["0.5", "0.750", "0.600"],
        ["0.2", "0.500", "0.700"],
        ["1", "0.250", "0.500"],
    ]
    assert all(line.startswith("Late, cRT-WC ") for line in table[4:7])
    assert max(map(len, table[:8])) <= 80


def test_other_runs_and_incomplete_ones_are_not_listed(run, collated):
    kept = run(0.5).name
    run(0.6, seed=1)
    failed = run(0.7, seed=2, status="failed").name
    table = format_ranking(collated(), {kept, failed})
    assert "The run of this sweep:" in table
    assert "0.500" in table
    assert "0.600" not in table
    assert "0.700" not in table
    assert format_ranking(collated(), {failed}) == ""


def test_long_sweeps_show_the_best_and_count_the_others(run, collated):
    for seed in range(23):
        run(seed / 100, seed=seed)
    lines = format_ranking(collated(), names(collated)).splitlines()
    assert lines[3].split() == ["seed", "macro-F1", "accuracy"]
    assert lines[4].split()[-3] == "22"
    assert lines[24].startswith("and 3 others, in ")


def test_the_page_to_open_is_named_or_the_command_that_makes_it(run, collated, tmp_path):
    run(0.5)
    report = tmp_path / "tables" / "vocalset" / "report.html"
    command = f"    singtech report data=vocalset output_dir={tmp_path}"
    told = format_ranking(collated(), names(collated))
    assert told.endswith(f"To write the page to open, {report}:\n{command}")
    report.parent.mkdir(parents=True)
    report.touch()
    assert format_ranking(collated(), names(collated)).endswith(f"The page to open: {report}")
    os.utime(report, (1, 1))
    told = format_ranking(collated(), names(collated))
    assert told.endswith(f"{report} is older than these runs. To write it again:\n{command}")
