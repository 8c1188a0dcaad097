"""A sweep that several processes of one machine share."""

import pandas as pd
import pytest

from singtech.side_by_side import asked, environment


def test_processes_take_the_gpus_in_turn_or_share_the_processor(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))
    assert [environment(n, 5, ["0", "3"])["CUDA_VISIBLE_DEVICES"] for n in range(5)] == ["0", "3", "0", "3", "0"]
    assert [environment(n, 3, [])["OMP_NUM_THREADS"] for n in range(3)] == ["2", "2", "2"]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert environment(0, 3, [])["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "trainer.side_by_side=0"], "expected how many processes sweep at once"),
        (["-m", "trainer.side_by_side=auto"], "expected how many processes sweep at once"),
        (["trainer.side_by_side=2"], "a single run has nothing to share out; add -m for a sweep."),
    ],
)
def test_a_number_of_processes_that_cannot_be_is_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        asked(arguments)


def test_two_processes_share_a_sweep_and_what_fails_is_listed_once(call, own, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    own = [setting for setting in own if "hop_length" not in setting]
    done = call("run", "-m", "front_end.hop_length=40,4000,50", "trainer.side_by_side=2", *own)
    assert done.status == 1
    rows = pd.read_csv(tmp_path / "outputs" / "results.csv", keep_default_na=False)
    assert rows["status"].tolist() == ["complete", "complete"]
    assert done.out.count(" trained (") == 4
    assert {line[:3] for line in done.out.splitlines() if " trained (" in line} <= {"[1]", "[2]"}
    assert done.err.count("1 run of this sweep failed:") == 1
    assert "too few for the pooling of Table 1" in done.err
    assert "Traceback" not in done.out + done.err
