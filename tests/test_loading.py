"""What a notebook needs: a corpus, a run and all results in one line each, equal to what the commands stored."""

import multiprocessing
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

import singtech
from singtech.errors import Damaged, InvalidValue, NotThere
from tests.conftest import call_command, own_settings, write_corpus
from tests.pages import ROOT, read_blocks


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Outputs of a run on four singers."""
    place = tmp_path_factory.mktemp("loading")
    assert call_command("run", *own_settings(write_corpus(place / "corpus"), place / "outputs")) == 0
    return place / "outputs"


@pytest.fixture(scope="module")
def run(place):
    return singtech.load_run("late-crt_wc", output_dir=place)


def test_a_corpus_of_the_results_is_opened_by_its_name(place, run):
    corpus = singtech.load_corpus("choir", output_dir=place)
    assert corpus.identity() == run.corpus.identity()
    assert not GlobalHydra.instance().is_initialized()  # a notebook may compose configurations of its own


def test_a_lost_quote_in_the_settings_of_a_corpus_names_the_file(place, tmp_path):
    (tmp_path / "corpora").mkdir()
    lengths = pd.read_csv(place / "corpora" / "choir.csv", dtype=str, keep_default_na=False)
    lengths.assign(settings="data=folder 'data.root=my corpus").to_csv(tmp_path / "corpora" / "choir.csv", index=False)
    with pytest.raises(Damaged, match=r"corpora/choir\.csv is damaged \(No closing quotation\); `singtech prepare`"):
        singtech.load_corpus("choir", output_dir=tmp_path)


def test_an_apostrophe_may_stand_in_the_path_of_the_results(tmp_path):
    corpus = singtech.load_corpus("demo", output_dir=tmp_path / "ann's")
    assert corpus.folder.is_relative_to(tmp_path / "ann's")


def test_settings_are_those_of_the_command_line(place):
    corpus = singtech.load_corpus("choir", "data.split.test=[ann]", output_dir=place)
    assert set(corpus.table("test")["singer"]) == {"ann"}
    with pytest.raises(InvalidValue, match="nowhere"):
        singtech.load_corpus("nowhere", output_dir=place)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("Demo", [], r"data=Demo: no such choice; .*is demo meant"),
        ("10", [], "data=10: no such choice"),
        ("null", [], "data=null: no such choice"),
        ("demo", ["data.flod=0"], "data.flod: no such setting .is data.fold meant"),
        ("demo", ["data.clip_seconds=abc"], "data.clip_seconds=abc: expected a number."),
        ("demo", ["data.fold=0,1"], "data.fold=0,1: several values"),
    ],
)
def test_a_wrong_name_or_setting_is_told_as_on_the_command_line(place, name, settings, said):
    with pytest.raises(InvalidValue, match=said):
        singtech.load_corpus(name, *settings, output_dir=place)


def test_threads_and_notebooks_with_hydra_configurations_of_their_own(place, tmp_path):
    with initialize_config_dir(str(tmp_path), version_base=None), ThreadPoolExecutor(4) as threads:
        own = GlobalHydra.instance().hydra
        corpora = list(threads.map(lambda _: singtech.load_corpus("choir", output_dir=place), range(4)))
        assert GlobalHydra.instance().hydra is own
    assert len({corpus.key for corpus in corpora}) == 1


def test_a_run_is_found_by_its_folder_and_in_a_forked_process(place, run):
    for folder in (place / "runs" / run.row["run"], f"{place}/runs/{run.row['run']}/"):
        assert singtech.load_run(folder, output_dir=place).row["run"] == run.row["run"]
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert repr(pool.apply_async(singtech.load_run, ("late", place)).get(timeout=60)) == repr(run)


def test_a_split_without_clips_has_no_features(run):
    with pytest.raises(InvalidValue, match="features of choir: it has no validation clip"):
        run.features("validation")


def test_settings_may_have_letters_beyond_ascii(place, tmp_path):
    folder = tmp_path / "chœur"
    folder.symlink_to(place.parent / "corpus")
    names = ("data.name=chœur", f"data.root={folder}", "data.split.test=[dot]", "data.sample_rate=8000")
    corpus = singtech.load_corpus("folder", *names, "data.clip_seconds=0.6", output_dir=tmp_path / "outputs")
    assert corpus.name == "chœur"


def test_batches_are_ready_for_the_network_and_give_the_stored_logits(run):
    logits, targets = [], []
    for waveforms, labels in run.corpus.batches("test", batch_size=5):
        assert waveforms.dtype.is_floating_point
        assert waveforms.abs().max() <= 1
        logits.append(run.network(waveforms).detach().numpy())
        targets.append(labels.numpy())
    predictions, techniques = run.predictions, np.array(run.corpus.techniques)
    assert (techniques[np.concatenate(targets)] == predictions["technique"]).all()
    assert (techniques[np.concatenate(logits).argmax(axis=1)] == predictions["predicted"]).all()
    shares = predictions[[f"probability_{name}" for name in techniques]]
    assert shares.sum(axis=1).to_numpy() == pytest.approx(1)


def test_predictions_and_results_have_the_runs_score(place, run):
    assert f1_score(run.predictions["technique"], run.predictions["predicted"], average="macro") == pytest.approx(
        run.row["f1"]
    )
    results = singtech.results(place)
    assert results["run"].tolist() == [run.row["run"]]
    assert results["condition"].tolist() == [run.condition]


def test_features_train_a_head_of_another_library(run):
    features = run.features("train")
    head = LogisticRegression().fit(features, run.corpus.targets("train"))
    assert features.shape == (len(run.corpus.rows("train")), 30)
    assert head.predict(run.features()).shape == run.corpus.targets("test").shape
    same = run.features("test", corpus=run.corpus)
    assert (same == run.features("test")).all()


def test_clips_of_another_length_are_refused(place, run):
    longer = singtech.load_corpus("choir", "data.clip_seconds=2.0", output_dir=place)
    with pytest.raises(InvalidValue, match="features of choir: clips of .* samples"):
        run.features("test", corpus=longer)


@pytest.mark.parametrize("text", ["", "[1]", "a: 1", "model: 3", "x: ["])
def test_a_damaged_configuration_is_named_with_the_command_that_makes_it_again(place, text):
    (path,) = (place / "runs").glob("*/config.yaml")
    whole = path.read_bytes()
    try:
        path.write_text(text)
        with pytest.raises(Damaged, match=r"config\.yaml is damaged .*make the run again: singtech run"):
            singtech.load_run("late", output_dir=place).corpus  # noqa: B018
    finally:
        path.write_bytes(whole)


def test_what_is_absent_is_named(tmp_path):
    with pytest.raises(NotThere, match="no complete run"):
        singtech.load_run("late", output_dir=tmp_path)
    with pytest.raises(NotThere, match="no results yet"):
        singtech.results(tmp_path)
    with pytest.raises(AttributeError, match="no attribute 'load_runs'"):
        singtech.load_runs  # noqa: B018


@pytest.mark.parametrize("first", ["import singtech.results.collate", "import singtech"])
def test_results_can_be_called_before_and_after_a_module_of_the_package_is_imported(first, place):
    code = f"{first}\nimport singtech\nprint(len(singtech.results({str(place)!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_the_page_on_python_runs_as_it_stands(place, monkeypatch, capsys):
    (block,) = [block for block in read_blocks(ROOT / "docs" / "how-to" / "python.md") if block.language == "python"]
    monkeypatch.chdir(place.parent)
    left = {}
    exec(compile(block.text.replace('"demo"', '"choir"'), "python.md", "exec"), left)
    assert left["logits"].shape[1] == 3
    assert left["run"].condition in capsys.readouterr().out
