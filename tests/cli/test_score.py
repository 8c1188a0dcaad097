"""`singtech protocol` and `singtech score`: any system on the same clips, beside the runs."""

import pandas as pd
import pytest

from singtech.metrics import softmax
from singtech.results.collate import collate
from tests.conftest import call_command, own_settings, write_corpus

TECHNIQUES = ["straight", "trill", "vibrato"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The results of one short run on a person's own corpus, and the settings of that corpus; to be read only."""
    folder = tmp_path_factory.mktemp("scored") / "a name with spaces"
    settings = own_settings(write_corpus(folder / "corpus"), folder / "outputs")
    assert call_command("run", *settings) == 0
    return folder / "outputs", [word for word in settings if word.startswith(("data", "output_dir"))]


@pytest.fixture
def exported(outputs, tmp_path):
    """The run's predictions as each form of a file."""
    (path,) = (outputs[0] / "runs").glob("choir-oblong-*/predictions.csv")
    predictions = pd.read_csv(path)
    logits = predictions[[f"logit_{name}" for name in TECHNIQUES]].to_numpy()
    clips = predictions[["recording", "start"]]
    forms = {
        "labels": clips.assign(technique=[TECHNIQUES[k] for k in logits.argmax(axis=1)]),
        "probabilities": clips.join(pd.DataFrame(softmax(logits), columns=[f"probability_{t}" for t in TECHNIQUES])),
        "logits": predictions,
    }
    for name, frame in forms.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


@pytest.mark.parametrize("form", ["labels", "probabilities", "logits"])
def test_the_predictions_of_a_run_score_as_the_run_did(call, outputs, exported, form):
    output_dir, corpus = outputs
    done = call("score", f"input={exported / form}.csv", f"name={form}", *corpus, "against=choir-oblong")
    assert done.status == 0, done.err
    results = collate(output_dir).results.set_index("model")
    run, system = results.loc["oblong"], results.loc[form]
    names = ["f1", "accuracy", "balanced_accuracy", "f1_trill", "recall_straight"]
    with_ranks = ["top2_accuracy", "top3_accuracy", "auc", "calibration_error", "auc_vibrato"]
    names += with_ranks if form != "labels" else []
    assert system[names].tolist() == pytest.approx(run[names].tolist(), abs=1e-6)
    assert form != "labels" or system[with_ranks].isna().all()
    same = ["clips_test", "singers_test", "data_fingerprint", "protocol", "training_counts"]
    assert system[same].tolist() == run[same].tolist()
    lines = [line.split() for line in done.out.splitlines() if line.startswith(("macro-F1", "accuracy", "F1 of"))]
    assert len(lines) == 5
    assert {line[-2] for line in lines} == {"+0.000"}  # one test singer, so no interval
    again = call("score", f"input={exported / form}.csv", f"name={form}", *corpus)
    assert again.out.splitlines()[0].endswith(", scored before")


def test_what_is_scored_is_listed_checked_and_shown_but_not_exported(call, outputs, exported, tmp_path):
    output_dir, corpus = outputs
    assert call("score", f"input={exported / 'labels.csv'}", "name=My system", "seed=2", *corpus).status == 0
    done = call("store", "check=true", f"output_dir={output_dir}")
    assert (done.status, "damaged" in done.out) == (0, False)
    shown = call("store", "show=My_system", f"output_dir={output_dir}").out
    assert "\nsingtech score input=" in shown
    assert "'name=My system' " in shown
    assert call("store", f"output_dir={output_dir}").status == 0
    done = call("export", "run=My_system", f"to={tmp_path / 'exported'}", f"output_dir={output_dir}")
    assert "is a scored system: its predictions are stored, and no network." in done.err


def test_the_clips_of_a_corpus_and_of_a_fold(call, outputs, tmp_path):
    _, corpus = outputs
    done = call("protocol", f"to={tmp_path / 'clips.csv'}", *corpus)
    assert done.out == f"{tmp_path / 'clips.csv'}: 18 train and 6 test clips of choir\n"
    clips = pd.read_csv(tmp_path / "clips.csv")
    assert clips.columns.tolist() == ["recording", "start", "technique", "singer", "context", "subset"]
    assert set(clips["singer"][clips["subset"] == "test"]) == {"dot"}
    done = call("protocol", f"to={tmp_path / 'fold.csv'}", *corpus, "data.fold=1", "data.folds=4")
    assert done.out == f"{tmp_path / 'fold.csv'}: 18 train and 6 test clips of choir, fold 1\n"


def test_the_official_clips_need_no_audio_and_no_corpus(call, tmp_path):
    done = call("protocol", f"to={tmp_path / 'clips.csv'}", f"output_dir={tmp_path / 'out'}")
    assert done.out == f"{tmp_path / 'clips.csv'}: 3,615 train and 1,318 test clips of vocalset\n"
    split = "data.split.validation=[female1]"
    done = call("protocol", f"to={tmp_path / 'clips.csv'}", f"output_dir={tmp_path / 'out'}", split)
    assert " validation and 1,318 test clips of vocalset" in done.out
    done = call("protocol", f"to={tmp_path / 'clips.csv'}", "data.split.test=[female99]")
    assert done.err.startswith("error: data.split.test names female99; there are female1,")
    assert not (tmp_path / "out").exists()  # it may be read-only


WRONG = [
    (["input=absent.csv"], "error: input=absent.csv: there is no such file."),
    ([], "error: input is not set: give it a value."),
    (["nam=x"], "error: "),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG)
def test_a_mistake_is_one_sentence(call, words, sentence):
    done = call("score", *words)
    assert done.status != 0
    assert done.err.startswith(sentence)
    assert "Traceback" not in done.err


def test_a_run_on_other_clips_cannot_be_compared(call, outputs, exported, tmp_path):
    _, corpus = outputs
    fold = [*corpus, "data.fold=0", "data.folds=4"]
    call("protocol", f"to={tmp_path / 'fold.csv'}", *fold)
    done = call("score", f"input={tmp_path / 'fold.csv'}", "name=fold", *fold, "against=choir-oblong")
    assert done.status == 1
    assert "it was tested on other clips or techniques, so nothing can be paired." in done.err
