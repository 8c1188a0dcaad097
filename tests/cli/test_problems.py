"""A user's mistake is one sentence; a bug shows its traceback and how to report it."""

import errno
import traceback

import pytest

from singtech.__main__ import main
from singtech.cli.problems import BUG_NOTE, run_verb, suggest_setting
from singtech.errors import InvalidValue


def fail(problem):
    def job():
        raise problem

    return job


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (InvalidValue("alpha=-1: expected a number from 0 up."), "alpha=-1: expected a number from 0 up."),
        (OSError(errno.ENOSPC, "No space left on device", "runs"), "no room on the disk for runs (No space left on"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), "runs: Permission denied."),
        (MemoryError(), "out of memory (MemoryError): use a free device"),
        (RuntimeError("CUDA out of memory. Tried"), "out of memory (CUDA out of memory. Tried): use a free device"),
    ],
)
def test_what_a_user_can_fix_is_one_sentence(problem, sentence, capsys):
    assert run_verb(fail(problem)) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {sentence}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("problem", [KeyError("f1"), TypeError("no"), RuntimeError("no"), AttributeError("no")])
def test_anything_else_is_a_bug_that_says_how_to_report_it(problem):
    with pytest.raises(type(problem)) as bug:
        run_verb(fail(problem))
    assert "".join(traceback.format_exception(bug.value)).splitlines()[-1] == BUG_NOTE


@pytest.mark.parametrize(("status", "result"), [(0, None), (0, 0), (3, 3)])
def test_a_commands_status_is_what_it_returns(status, result):
    assert run_verb(lambda: result) == status


@pytest.mark.parametrize(
    ("names", "ours"),
    [
        ("lr learning_rate train.lr optimizer.learning_rate", "optimizer.lr"),
        (
            "epochs max_epochs num_epochs trainer.max_epochs",
            "schedule.features and schedule.classifier",
        ),
        ("device gpu gpus cuda trainer.gpus", "trainer.accelerator, which takes a GPU if there is one"),
        ("num_workers workers", "not needed: batches come from one memory-mapped file"),
        ("batch bs", "batch_size"),
        ("wd weight_decay optimizer.weight_decay", "optimizer.weight_decay, with optimizer=adamw"),
        ("data.path data_dir path", "data.root"),
        ("dataset", "data"),
        ("out output save_dir", "output_dir"),
        ("random_seed", "seed"),
    ],
)
def test_the_names_of_other_programs_point_to_ours(names, ours):
    for name in names.split():
        assert suggest_setting(name) == f"; here {name.rpartition('.')[2]} is {ours}"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("n_fft", "front_end.n_fft"), ("fold", "data.fold"), ("alhpa", "alpha"), ("model.dropuot", "model.dropout")],
)
def test_a_name_without_its_group_or_misspelt_is_recognised(name, meant):
    assert suggest_setting(name) == f" (is {meant} meant?)"


@pytest.mark.parametrize("command", ["run", "plan", "prepare"])
@pytest.mark.parametrize(
    "words", ["--lr 1e-3", "--lr=1e-3", "-lr 1e-3", "lr 1e-3", "lr = 1e-3", "lr: 1e-3", "lr =1e-3"]
)
def test_a_setting_in_the_form_of_another_program_is_one_sentence(call, command, words):
    done = call(command, "data=demo", *words.split())
    assert done.status == 1
    assert done.err.strip().endswith(
        ": no setting; here lr is optimizer.lr; a setting is written name=value, such as seed=1."
    )
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("lr=1e-3", "lr: no such setting; here lr is optimizer.lr; --cfg job shows those there are."),
        ("optimizer=sgd", "adamw, own, rmsprop; optimizer=own takes any class, by optimizer._target_."),
        ("model=resnet", "wavlm, whisper; model=own takes any class, by model._target_."),
        ("data=/x", "data=/x: no such choice; there are demo, folder, table, vocalset."),
        ("hydra/launcher=basci", "hydra/launcher=basci: no such choice; there are basic"),
        ("optimizer.momentum=0.9", "optimizer.momentum: no such setting; +optimizer.momentum passes it to the class"),
        ("alpha=null", "error: alpha=null: expected a value."),
        ("trainer.progress=maybe", "error: trainer.progress=maybe: expected true or false."),
        ("condition=null", "condition=null: no such choice; there are all,"),
        ("seed=range(0,3)", "seed=range(0,3): several values; add -m before the settings"),
        ("alpha=0,5", "alpha=0,5: several values; add -m before the settings"),
        ("+condition=late", "+condition: condition has a choice already; omit the + to replace it."),
        ("--resolve", "--package and --resolve go with --cfg job"),
        ("-pseed", "--package and --resolve go with --cfg job"),
        ("--config=x.yaml", "could match --config-path"),
        ("trainer.accelerator=cuda:0", "Omit trainer.accelerator to compute on what is there."),
    ],
)
def test_what_is_not_here_is_told_with_what_is(call, tmp_path, setting, said):
    done = call("run", setting, f"output_dir={tmp_path / 'outputs'}")
    assert done.status == 1
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def test_information_needs_no_setting(call):
    assert call("run", "--info").status == 0
    assert call("plan", "--info", "searchpath").status == 0


def test_a_root_that_is_not_there_is_not_made(call, tmp_path):
    done = call("run", f"data.root={tmp_path / 'nope'}", f"output_dir={tmp_path / 'outputs'}")
    assert done.status == 1
    assert "found nothing; expected VocalSet's zip or its unpacked folder." in done.err
    assert not (tmp_path / "nope").exists()


@pytest.mark.parametrize("words", ["run output_dir=", "run data.root=", "predict to=", "pack to="])
def test_an_empty_path_is_not_the_current_folder(monkeypatch, capsys, words):
    monkeypatch.setattr("sys.argv", ["singtech", *words.split()])
    assert main() == 2
    assert capsys.readouterr().err == f"error: {words.split()[1]}: its value is missing; name a path.\n"


@pytest.mark.parametrize("words", ["tables output_dir=~/nowhere", "store output_dir=~/nowhere"])
def test_a_tilde_is_the_home_folder_though_the_shell_left_it(monkeypatch, tmp_path, capsys, words):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["singtech", *words.split()])
    assert main() == 1
    assert f"{tmp_path}/nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("predict network=x input=b.wav", "input=b.wav: no recording there"),
        ("predict network=x input=~/a.wav", "input=~/a.wav: no recording there"),
        ("predict network=x input=~nobody-here/a.wav", "input=~nobody-here/a.wav: no recording there"),
        (
            "predict network={here} input={here}/a.wav code=~nobody-here/x.py",
            "~nobody-here/x.py: there is no such file",
        ),
        ("verify data.root='~nobody-here'", "data.root=~nobody-here: VocalSet is absent"),
    ],
)
def test_a_user_without_a_home_folder_and_an_unknown_one(monkeypatch, tmp_path, call, words, why):
    def find_no_user(_):
        raise KeyError("as in a container")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.wav").touch()
    for name in ("MPLCONFIGDIR", "NUMBA_CACHE_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))  # to be as it was when the test ends
    monkeypatch.delenv("HOME")
    for find in ("getpwuid", "getpwnam"):
        monkeypatch.setattr(f"pwd.{find}", find_no_user)
    done = call(*words.format(here=tmp_path).split())
    assert (done.status, why in done.err) == (1, True)
