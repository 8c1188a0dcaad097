"""Several processes that sweep one store at once."""

import pytest

from singtech.results.rows import read_rows
from tests.conftest import SMALL
from tests.faults.conftest import leftovers, outcome


def sweep(own_corpus, output_dir, *settings):
    """The command, on recordings that have to be cut first."""
    own = ["data=folder", "data.name=choir", f"data.root={own_corpus}", "data.split.test=[dot]"]
    place = ["schedule=smoke", "trainer.progress=false", f"output_dir={output_dir}"]
    return ["singtech.run", "-m", *own, *place, *SMALL, *settings]


def swept(fork, own_corpus, tmp_path, phases, *settings):
    """Sweep by one process and, elsewhere, by four at once; what both must have in common."""
    alone, said_alone = fork([sweep(own_corpus, tmp_path / "alone", *settings)], [0])
    assert alone[0]["status"] == 0, said_alone
    together, said = fork([sweep(own_corpus, tmp_path / "crowd", *settings)] * 4, [0] * 4, "together")
    assert [end["status"] for end in together] == [0] * 4, said
    assert len(list((tmp_path / "crowd" / "phases").glob("[0-9a-f]*"))) == phases
    assert said.count(" trained (") == said_alone.count(" trained (") == phases
    assert outcome(tmp_path / "crowd") == outcome(tmp_path / "alone")
    assert leftovers(tmp_path / "crowd") == []


@pytest.mark.long
def test_four_processes_that_sweep_one_store_train_each_phase_once_and_lose_no_row(fork, own_corpus, tmp_path):
    swept(fork, own_corpus, tmp_path, 5, "strategy=crt_wfc,crt_wc", "alpha=0,0.5")


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_four_processes_that_sweep_figure_3_train_its_fifteen_phases_once(fork, own_corpus, tmp_path):
    swept(fork, own_corpus, tmp_path, 15, "experiments=figure3")


def test_a_process_goes_on_with_other_runs_while_a_phase_is_trained_elsewhere(call, own, tmp_path, monkeypatch):
    """The first phase of dc=late is held by somebody who finishes when dc=none is done."""
    from singtech.cli import sweep
    from singtech.io import lock as locks

    call("run", "dc=late", *own, f"output_dir={tmp_path / 'elsewhere'}")
    (row,) = read_rows(tmp_path / "elsewhere" / "runs")
    place = tmp_path / "outputs" / "phases" / row["phases"].split()[0]
    lock = locks.get_lock_path(place)
    lock.parent.mkdir(parents=True)
    mark = ["filelock/2", "pid=1", "host=elsewhere", "mode=lease", "token=00", f"duration={locks.LEASE_SECONDS!r}"]
    lock.write_text("\n".join(mark) + "\n")
    seen = []

    def finish(seconds):
        seen.extend((row["dc"], row["status"]) for row in read_rows(tmp_path / "outputs" / "runs"))
        lock.unlink()

    monkeypatch.setattr(sweep.time, "sleep", finish)
    done = call("run", "-m", "dc=late,none", *own)
    assert done.status == 0, done.err
    assert "is being trained by process 1 on elsewhere; continuing with other runs." in done.out
    assert seen == [("none", "complete")]
    assert {row["dc"]: row["status"] for row in read_rows(tmp_path / "outputs" / "runs")} == {
        "late": "complete",
        "none": "complete",
    }
