"""What the README tells people to type exists, composes, and, for their own recordings, runs."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
import soundfile

from singtech.__main__ import VERBS
from singtech.cli.usage import WITH_OPTIONS
from singtech.config_paths import EXPERIMENTS
from singtech.results.experiments import read_experiment
from tests.cli.test_config import composed
from tests.conftest import SMALL, tone

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCS = "\n".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
TYPED = re.findall(
    r"(?:python -m |^    |`)singtech[. ]([a-z]+)\b((?:[^`\n\\#]|\\\n)*)", README + DOCS, flags=re.MULTILINE
)


def settings_of(words):
    """The overrides of a command, sweeps cut down to their first value."""
    overrides = [word for word in shlex.split(words.replace("\\\n", " ")) if "=" in word and "<" not in word]
    return [word if "[" in word else word.split(",")[0] for word in overrides]


def test_every_command_of_the_readme_composes():
    assert len(TYPED) > 10
    for command, words in TYPED:
        assert command in VERBS
        if command not in WITH_OPTIONS:
            composed(*(word for word in settings_of(words) if not word.startswith("hydra")))  # the extra's


def test_every_make_target_of_the_readme_is_there():
    makefile = (ROOT / "Makefile").read_text()
    (experiments,) = re.findall(r"^EXPERIMENTS = (.*)$", makefile, flags=re.MULTILINE)
    targets = set(re.findall(r"^([a-z0-9_]+):", makefile, flags=re.MULTILINE)) | set(experiments.split())
    told = set(re.findall(r"(?:`|^    )make ([a-z0-9_]+)", README + DOCS, flags=re.MULTILINE))
    assert len(told) > 10
    assert told <= targets


def test_the_readme_names_every_experiment_and_the_makefile_makes_it():
    makefile = (ROOT / "Makefile").read_text()
    for path in EXPERIMENTS.glob("*.yaml"):
        assert f"| `{path.stem}` | `make {path.stem}`" in README
        assert re.search(rf"\b{path.stem}\b", makefile)


def test_the_heads_that_make_gains_trains_with_three_seeds_are_those_on_the_same_features():
    (heads,) = re.findall(r"^HEADS = ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    conditions = read_experiment(EXPERIMENTS / "imbalance.yaml").conditions
    on_features = {condition.name for condition in conditions if condition.group.startswith("Head")}
    assert set(re.findall(r"late_\w+", heads)) == on_features


@pytest.fixture(scope="module")
def own_example():
    """The commands of the section on one's own recordings, as typed."""
    section = README.split("## Your own")[1].split("\n## ")[0]
    return re.findall(r"^    singtech (\w+)((?:[^\n\\]|\\\n)*)", section, flags=re.MULTILINE)


def test_the_example_with_ones_own_recordings_runs(call, own_corpus, tmp_path, own_example, undrawn):
    for t, technique in enumerate(("straight", "trill", "vibrato")):  # a fifth singer, for five folds
        (own_corpus / "eve" / technique).mkdir(parents=True)
        soundfile.write(own_corpus / "eve" / technique / f"{t}.wav", tone(technique, 900 + t), 8000)
    small = [setting for setting in SMALL if not re.search("clip_seconds|hop_length", setting)]
    small += ["front_end.hop_length=166", "schedule=smoke"]  # 97 frames of 2 s, as few as Table 1's pooling takes
    place = f"output_dir={tmp_path / 'outputs'}"
    assert [command for command, _ in own_example] == ["verify", "run", "run", "tables"]
    for command, words in own_example:
        typed = [word.replace("FOLDER", str(own_corpus)) for word in shlex.split(words.replace("\\\n", " "))]
        done = call(command, *typed, place, *(small if command == "run" else []))
        assert done.status == 0, done.err
    rows = pd.read_csv(tmp_path / "outputs" / "results.csv", keep_default_na=False)
    assert sorted(rows["fold"].astype(str)) == ["", "", *"0011223344"]
    assert set(rows["data"]) == {"choir"}
    assert set(rows["corpus_fingerprint"].value_counts()) == {12}
    assert pd.read_csv(tmp_path / "outputs" / "corpora" / "choir-fold_1.csv")["clips"].sum() == 27
    assert (tmp_path / "outputs" / "tables" / "choir" / "README.md").is_file()
