"""Housekeeping: what is there, what a row came from, what differs, what is damaged, what may go."""

import hashlib
import os
import shlex
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
from omegaconf import OmegaConf

from singtech.io.lock import hold
from singtech.metrics import score_clips
from singtech.results.collate import collate
from singtech.results.rows import read_row, write_row
from singtech.training.inventory import check, remove, survey
from singtech.training.phase_store import torch_bytes
from tests.conftest import call_command, own_settings, write_corpus


@pytest.fixture
def outputs(tmp_path):
    return tmp_path / "outputs"


@pytest.fixture
def store(call, outputs):
    def called(*settings):
        return call("store", *settings, f"output_dir={outputs}")

    return called


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A place with a corpus and the outputs of a sweep of two runs."""
    place = tmp_path_factory.mktemp("swept")
    settings = own_settings(write_corpus(place / "corpus"), place / "outputs")
    argv = sys.argv
    assert call_command("run", "-m", "alpha=0.2,0.5", *settings, "trainer.progress=false") == 0
    sys.argv = argv
    return place


@pytest.fixture
def two_runs(swept, outputs):
    """A copy of those outputs, to be changed."""
    shutil.copytree(swept / "outputs", outputs)


@pytest.fixture
def own(swept, outputs):
    return own_settings(swept / "corpus", outputs)


def runs(outputs):
    return sorted((outputs / "runs").glob("[!.]*"))


def phases(outputs):
    return sorted((outputs / "phases").glob("[0-9a-f]*"))


def test_it_lists_runs_phases_and_clips_with_who_uses_them(two_runs, store, outputs):
    listed = store()
    assert listed.status == 0, listed.err
    assert max(map(len, listed.out.splitlines()[1:])) <= 80  # after the line that names the folder
    tables = {part.splitlines()[0]: part.splitlines()[2:] for part in listed.out.split("\n", 1)[1].split("\n\n")}
    shared = next(iter(set.intersection(*(set(read_row(run)["phases"].split()) for run in runs(outputs)))))
    rows = [line.split() for line in tables["phases:"] if not line.startswith(" ")]  # wrapped words follow
    users = {name: count for name, _, _, _, count, *_ in rows}
    assert users == {phase.name: "2" if phase.name == shared else "1" for phase in phases(outputs)}
    assert [line.split()[0] for line in tables["runs, complete:"]] == [run.name for run in runs(outputs)]
    assert len(tables["clips:"]) == 1
    assert "not used by any row" not in listed.out


def test_any_row_gives_the_command_and_configuration_that_make_it_again(call, own, two_runs, store, outputs):
    rows = pd.read_csv(outputs / "results.csv", keep_default_na=False)
    for _, row in rows.iterrows():
        shown = store(f"show={row['run']}")
        assert shown.status == 0, shown.err
        (command,) = [line for line in shown.out.splitlines() if line.startswith("singtech run ")]
        again = call("run", *shlex.split(command)[2:])
        assert "nothing had to be trained" in again.out
        configuration = OmegaConf.create(shown.out.split(command)[1])
        assert configuration.alpha == row["alpha"]
        assert configuration.data.clip_seconds == 0.6
        assert f"# commit: {row['commit']}" in shown.out or row["commit"] == ""  # outside a checkout
    assert len(pd.read_csv(outputs / "results.csv")) == 2
    for name in ("runs", "phases"):  # brought from a cluster: only the collated files
        shutil.rmtree(outputs / name)
    shown = store("show=alpha_0.5")
    assert "singtech run" in shown.out
    assert "the command shows the configuration with --cfg job" in shown.out


@pytest.mark.parametrize("added", [b"more: 1\n", b"# caf\xe9\n"])
def test_a_configuration_that_has_changed_is_named_with_the_command_that_shows_it(two_runs, store, outputs, added):
    configuration = runs(outputs)[0] / "config.yaml"
    configuration.write_bytes(configuration.read_bytes() + added)
    shown = store("show=alpha_0.2")
    assert shown.status == 1
    (line,) = shown.err.splitlines()
    assert line.startswith(f"error: {configuration} is damaged (it has changed since the run ended); this shows it")
    assert line.endswith(" --cfg job.")


@pytest.mark.parametrize("part", ["alpha", "nothing_like_it"])
def test_a_name_that_is_no_one_rows_is_told(two_runs, store, part):
    done = store(f"show={part}")
    assert done.status == 1
    assert "called so; there are " in done.err
    assert "Traceback" not in done.err


def test_two_runs_are_compared_by_what_decides_their_outcome(call, own, two_runs, store, outputs):
    compared = store("compare=alpha_0.2,alpha_0.5")
    assert compared.status == 0, compared.err
    first, second, _, _, line = compared.out.splitlines()[1:]
    assert ("alpha_0.2" in first, "alpha_0.5" in second) == (True, True)
    assert line.split() == ["phase", "2.loss.alpha", "0.2", "0.5"]
    call("run", "alpha=0.2", *own, "optimizer.lr=0.5", "front_end.level=rms", "trainer.progress=false")
    (other,) = [
        run.name for run in runs(outputs) if "alpha_0.2" in run.name and "optimizer.lr" in read_row(run)["settings"]
    ]
    (first,) = [run.name for run in runs(outputs) if "alpha_0.2" in run.name and run.name != other]
    lines = store(f"compare={first},{other}").out.splitlines()[5:]
    names = ("network.front_end.level", "phase 1.optimizer.lr", "phase 2.optimizer.lr")
    assert [line.split("  ")[0] for line in lines] == list(names)
    call("run", "strategy=joint", "alpha=0.2", *own)
    lines = store(f"compare={first},joint").out.splitlines()[5:]
    assert lines
    assert not any(" name " in line for line in lines)  # what a phase is called decides nothing
    assert any(line.split()[-1] == "—" for line in lines)  # joint training has no second phase
    assert "Nothing that decides the outcome" in store(f"compare={first},{first}").out


def test_what_no_row_uses_is_named_first_and_goes_only_when_one_is_sure(call, own, two_runs, store, outputs):
    assert "Every entry is used by a row" in store("remove=unused").out
    gone = next(run for run in runs(outputs) if "alpha_0.5" in run.name)
    only_its = set(read_row(gone)["phases"].split()) - {
        key for run in runs(outputs) if run != gone for key in read_row(run)["phases"].split()
    }
    shutil.rmtree(gone)
    collate(outputs)
    assert "Every entry is used by a row" in store("remove=unused").out
    assert "alpha=0.5" in store("show=alpha_0.5").out
    shutil.rmtree(outputs / "before-1")  # nobody needs its row
    before = sorted(path.name for path in phases(outputs))
    dry = store("remove=unused")
    assert f"{len(only_its)} entries" in dry.out
    assert sorted(path.name for path in phases(outputs)) == before
    done = store("remove=unused", "sure=true")
    assert done.status == 0, done.err
    assert {path.name for path in phases(outputs)} == set(before) - only_its
    again = call("run", "alpha=0.2", *own)
    assert "nothing had to be trained" in again.out


def test_what_somebody_works_on_or_has_begun_is_kept(two_runs, store, outputs):
    shutil.rmtree(outputs / "runs")
    (outputs / "results.csv").unlink()
    begun = outputs / "phases" / ".0123456789abcdef.work"
    begun.mkdir()
    with hold(phases(outputs)[0], "it is being trained"), hold(outputs / "phases" / "0123456789abcdef", "it is too"):
        kept = phases(outputs)[0]
        with ThreadPoolExecutor(1) as pool:  # the locks are this thread's own, so another one has to ask
            unused = [entry for entry in pool.submit(survey, outputs).result() if entry.is_unused]
            pool.submit(remove, unused, outputs).result()
        assert phases(outputs) == [kept]
        assert begun.exists()
    store("remove=unused", "sure=true")
    assert phases(outputs) == []
    assert not begun.exists()


def test_the_begun_phase_of_an_interrupted_run_is_kept(two_runs, store, outputs):
    run = runs(outputs)[0]
    row = read_row(run)
    write_row(run, row | {"status": "interrupted", "phases": f"{row['phases']} 0123456789abcdef"})
    begun = outputs / "phases" / ".0123456789abcdef.work"
    begun.mkdir()
    store("remove=unused", "sure=true")
    assert begun.exists()


def test_what_a_brought_table_uses_is_kept(two_runs, store, outputs):
    shutil.rmtree(outputs / "runs")
    before = survey(outputs)
    assert not any(entry.is_unused for entry in before)
    store("remove=unused", "sure=true")
    assert survey(outputs) == before


def test_clips_as_they_are_now_are_kept_without_a_row(call, own, two_runs, store, outputs):
    shutil.rmtree(outputs / "runs")
    (outputs / "results.csv").unlink()
    store("remove=unused", "sure=true")
    assert list((outputs / "data").glob("choir-*"))


def test_a_check_sets_aside_damaged_features_and_checkpoints_and_leaves_what_is_in_use(two_runs, store, outputs):
    features = next(path for phase in phases(outputs) for path in phase.glob("features/*.npy"))
    phase = features.parent.parent
    damage_byte(features)
    begun = outputs / "phases" / ".0123456789abcdef.work"
    begun.mkdir()
    (begun / "last.ckpt").write_bytes(b"half")
    with hold(phase, "it is being trained"), ThreadPoolExecutor(1) as pool:
        _, damaged, (busy,) = pool.submit(check, outputs).result()
    assert busy.startswith(f"{phase} was not checked: {phase} is in use by process {os.getpid()}")
    assert phase.exists()
    assert len(damaged) == 1
    assert (outputs / "phases" / ".0123456789abcdef.work.damaged-1" / "last.ckpt").exists()
    assert "is damaged (its SHA-256 has changed); set aside as" in store("check=true").out
    assert features.with_name(f".{features.name}.damaged-1").exists()
    assert (phase / "weights.safetensors").exists()


def test_a_phase_that_a_run_takes_up_meanwhile_is_kept(two_runs, outputs):
    gone = runs(outputs)[0]
    row = read_row(gone)
    shutil.rmtree(gone)
    (outputs / "results.csv").unlink()
    unused = [entry for entry in survey(outputs) if entry.is_unused]
    assert unused
    write_row(gone, row | {"status": "running"})  # a sweep begins
    assert remove(unused, outputs)[0] == []
    (gone / "row.json").write_text("{")  # which may name any phase
    assert [entry for entry in survey(outputs) if entry.is_unused] == []


def test_the_phases_of_a_damaged_row_stay_until_the_run_is_made_again(call, own, two_runs, store, outputs):
    before = phases(outputs)
    for run in runs(outputs):
        (run / "row.json").write_text("{")
    (outputs / "results.csv").unlink()
    assert store("check=true").status == 1
    assert runs(outputs) == []
    assert "Every entry is used by a row" in store("remove=unused").out
    call("run", "-m", "alpha=0.2,0.5", *own)
    assert phases(outputs) == before
    assert "2 entries" in store("remove=unused").out


def test_what_the_user_named_or_brought_without_its_row_is_told_and_stays(two_runs, store, outputs):
    best, (copied, bare), own = outputs / "phases" / "late-best", runs(outputs), outputs / "data" / "mine"
    phases(outputs)[0].rename(best)
    copied.rename(copied.with_name("my-best"))
    (bare / "row.json").unlink()
    own.mkdir()
    (own / "clips.npy").write_bytes(b"of the user's")
    before = sorted(outputs.rglob("*"))
    checked = store("check=true")
    assert checked.status == 0, checked.out
    for path, why in {
        best: "singtech gives no such name; rename it back.",
        copied.with_name(
            "my-best"
        ): f"row.json is the row of the run {copied.name}: rename the folder back, or remove this copy.",
        bare: "its row.json is absent; copy it here, or make the run again.",
        own: "singtech gives no such name; rename it back.",
    }.items():
        (line,) = [line for line in checked.out.splitlines() if line.startswith(f"{path} was not checked: ")]
        assert line.endswith(why)
    store("remove=unused", "sure=true")
    assert sorted(outputs.rglob("*")) == before


def test_a_run_on_a_disk_that_is_away_uses_everything(two_runs, store, outputs, caplog):
    run, phase = runs(outputs)[0], phases(outputs)[0]
    for path in (run, phase):
        path.symlink_to(path.rename(outputs / f"disk-{path.parent.name}"))
    away = [each.rename(outputs / f"away-{each.name}") for each in outputs.glob("disk-*")]
    collate(outputs)
    assert f"{run.name} is a link to {outputs / 'disk-runs'}, which is absent" in caplog.text
    shutil.rmtree(outputs / "before-1")
    assert "Every entry is used by a row" in store("remove=unused").out
    assert f"{run} is a link to {outputs / 'disk-runs'}" in " ".join(store().out.split())
    checked = store("check=true").out
    for path in (run, phase):
        assert f"{path} was not checked: it is a link to a folder that is absent." in checked
    for path in away:
        path.rename(path.with_name(path.name.removeprefix("away-")))
    assert store("check=true").status == 0
    assert len(collate(outputs).results) == 2


def test_what_a_newer_version_wrote_is_listed_checked_and_removed_by_nobody(two_runs, store, outputs):
    newer, begun = phases(outputs)[0], outputs / "phases" / ".0123456789abcdef.work"
    shutil.rmtree(outputs / "runs")
    (outputs / "results.csv").unlink()
    (newer / "phase.json").write_text('{"format": 2}')
    begun.mkdir()
    data = torch_bytes({"format": 2})
    (begun / "last.ckpt").write_bytes(hashlib.sha256(data).digest() + data)
    assert store().out.count("has format 2") == 2
    checked = store("check=true")
    assert checked.status == 0
    assert checked.out.count("was not checked") == 2
    store("remove=unused", "sure=true")
    assert phases(outputs) == [newer]
    assert (begun / "last.ckpt").exists()


def test_rows_that_were_brought_from_elsewhere_are_shown_and_stay(two_runs, store, outputs):
    brought = pd.read_csv(outputs / "results.csv", dtype=str, keep_default_na=False)
    theirs = brought.iloc[:1].assign(run="from_the_cluster", command="singtech run alpha=0.9")
    pd.concat([brought, theirs]).to_csv(outputs / "results.csv", index=False)
    before = (outputs / "results.csv").read_bytes()
    assert "singtech run alpha=0.9" in store("show=from_the_cluster").out
    assert (outputs / "results.csv").read_bytes() == before


def test_a_check_leaves_a_run_alone_that_got_nothing_right(two_runs, store, outputs):
    run = runs(outputs)[0]
    predictions = pd.read_csv(run / "predictions.csv", dtype={"technique": str})
    order = {"straight": "NA", "trill": "1", "vibrato": "2"}  # techniques with names that look like something else
    predictions["technique"] = predictions["technique"].map(order)
    predictions = predictions.rename(columns={f"logit_{name}": f"logit_{new}" for name, new in order.items()})
    wrong = {"NA": "1", "1": "2", "2": "NA"}
    for name in order.values():
        predictions[f"logit_{name}"] = [1.0 if wrong[true] == name else 0.0 for true in predictions["technique"]]
    predictions.to_csv(run / "predictions.csv", index=False)
    nothing = {"f1": 0.0, "accuracy": 0.0, "balanced_accuracy": 0.0, "top3_accuracy": 1.0}
    techniques = tuple(order.values())
    targets = predictions["technique"].map(techniques.index).to_numpy()
    logits = predictions.filter(like="logit_").to_numpy(dtype="float32")
    scores = score_clips(targets, logits, techniques)
    changed = nothing | {"files": ""} | {name: scores[name] for name in ("top2_accuracy", "auc", "calibration_error")}
    write_row(run, read_row(run) | changed)
    checked = store("check=true")
    assert checked.status == 0, checked.out


def damage_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def test_a_check_sets_aside_what_is_damaged_and_the_next_run_makes_it_again(call, own, two_runs, store, outputs):
    whole = store("check=true")
    assert whole.status == 0
    assert "every one whole" in whole.out
    before = {run.name: read_row(run)["f1"] for run in runs(outputs)}
    phase = phases(outputs)[0]
    damage_byte(phase / "weights.safetensors")
    run = runs(outputs)[1]
    write_row(run, read_row(run) | {"f1": 0.999})  # prettier than its predictions are
    clips = next((outputs / "data").glob("choir-*/clips.npy"))
    damage_byte(clips)
    checked = store("check=true")
    assert checked.status == 1
    assert "3 damaged; the runs that need them make them again." in checked.out
    assert f"{phase / 'weights.safetensors'} is not what was stored" in checked.out
    assert f"{run}: f1 is 0.999, its predictions give {before[run.name]}" in checked.out
    assert f"{clips.parent}: clip " in checked.out
    assert not phase.exists()
    assert not run.exists()
    assert not clips.exists()
    again = call("run", "-m", "alpha=0.2,0.5", *own)
    assert again.status == 0, again.err
    assert {run.name: read_row(run)["f1"] for run in runs(outputs)} == before
    call("run", "-m", "strategy=crt_wc", "alpha=0.2,0.5", *own)
    shutil.rmtree(runs(outputs)[0])
    shutil.rmtree(runs(outputs)[0])
    call("run", "-m", "alpha=0.2,0.5", *own)
    assert phase.exists()
    assert store("check=true").status == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["chekc=true"], "chekc=true: no such option (is check meant?); singtech store takes show,"),
        (["check=often"], "check=often: expected true or false"),
        (["remove=all"], "remove=all: expected unused"),
        (["compare=one"], "expected two runs with a comma between them"),
    ],
)
def test_a_wrong_setting_is_one_sentence(store, outputs, settings, message):
    outputs.mkdir()
    done = store(*settings)
    assert done.status == 1
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["store", "tables", "plan"])
def test_ctrl_c_ends_the_other_commands_in_one_line_too(call, outputs, monkeypatch, command):
    def press(*_):
        raise KeyboardInterrupt

    outputs.mkdir()
    for long_work in ("training.inventory.survey", "cli.tables.render", "cli.plan.describe_plan"):
        monkeypatch.setattr(f"singtech.{long_work}", press)
    done = call(command, f"output_dir={outputs}")
    assert done.status == 130
    assert done.err == "interrupted: the same command continues where this one stopped.\n"


def test_where_nothing_is_it_says_so(store):
    done = store()
    assert done.status == 1
    assert "there are no results yet" in done.err


def test_the_data_dictionary_is_printed(store):
    done = store("columns=true")
    assert done.status == 0
    assert "training time of the phases that this run trained" in " ".join(done.out.split())
    assert max(map(len, done.out.splitlines())) <= 80
