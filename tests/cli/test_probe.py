"""`singtech probe`: a stored run's features, their table and its file; what is absent is one sentence."""

import errno
import shutil

import pandas as pd
import pytest

from tests.cli.test_full_disk import refuse_below
from tests.conftest import call_command, own_settings, write_corpus


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Outputs of a run on four singers, trained on their scales, which are all that they sing."""
    place = tmp_path_factory.mktemp("probe")
    own = own_settings(write_corpus(place / "corpus"), place / "outputs")
    assert call_command("run", *own, "data.train_contexts=[scales]") == 0
    return place / "outputs"


def test_a_runs_features_are_probed_and_nothing_is_trained(place, call):
    before = set((place / "phases").iterdir())
    done = call("probe", "run=late-crt_wc", f"output_dir={place}")
    assert (done.status, done.err) == (0, "")
    assert set((place / "phases").iterdir()) == before
    (path,) = (place / "tables" / "choir").glob("probe-choir-*late-crt_wc*.csv")
    table = pd.read_csv(path)
    (run,) = (place / "runs").glob("choir-*")
    assert set(table["run"]) == {run.name}
    assert table[["target", "singers", "classes", "clips"]].to_numpy().tolist() == [
        *(["singer", "same", 3, 18], ["technique", "same", 3, 18], ["technique", "new", 3, 6])
    ]
    lines = done.out.splitlines()
    assert lines[1].split() == "target singers classes accuracy [95 %] majority".split()
    assert lines[6].split() == "target singers balanced [95 %] chance".split()  # beside the others it is too wide
    assert [line.split()[:3] for line in lines[2:5]] == table[["target", "singers", "classes"]].astype(
        str
    ).to_numpy().tolist()
    assert lines[-1] == str(path)


@pytest.mark.parametrize("is_stored", [True, False])
def test_features_in_a_folder_that_may_only_be_read_are_read_or_computed(place, call, tmp_path, monkeypatch, is_stored):
    results = shutil.copytree(place, tmp_path / "results")
    stored = list(results.glob("phases/*/features/*.npy"))
    assert len(stored) == 2
    for path in [] if is_stored else stored:
        path.unlink()
    before = sorted(results.rglob("*"))
    refuse_below(results, errno.EROFS, monkeypatch)
    done = call("probe", "run=late", f"output_dir={results}", f"to={tmp_path}")
    assert (done.status, done.err) == (0, "")
    assert list((tmp_path / "choir").glob("probe-choir-*.csv"))
    assert sorted(results.rglob("*")) == before


def test_what_is_absent_is_one_sentence(place, call, tmp_path):
    for gone, said in (
        ("phases", "the run's phases are on the machine that trained it"),
        ("data", "are not here; make"),
    ):
        copy = shutil.copytree(place, tmp_path / gone)
        shutil.rmtree(copy / gone)
        done = call("probe", "run=late", f"output_dir={copy}")
        assert (done.status, done.err.count("\n")) == (1, 1)
        assert said in done.err
    assert "run=nobody: none is called so" in call("probe", "run=nobody", f"output_dir={place}").err
