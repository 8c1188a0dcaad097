"""What README.md and the pages of docs/ tell people to type exists, composes, and, for their own recordings, runs."""

import re
import shlex
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from subprocess import CalledProcessError

import pandas as pd
import pytest
import soundfile
from hydra.errors import HydraException

from singtech.__main__ import VERBS
from singtech.cli.usage import WITH_OPTIONS
from singtech.config_paths import EXPERIMENTS
from singtech.results.experiments import read_experiment
from tests.cli.test_config import composed
from tests.conftest import SMALL, tone
from tests.pages import PAGES, ROOT, inline_commands, made_by_make, programs, read_blocks, shell_blocks
from tests.recipes import RECIPES

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
TABLES = (ROOT / "docs" / "reference" / "pages.md").read_text(encoding="utf-8")
OWN = ROOT / "docs" / "how-to" / "own-recordings.md"
OTHERS = {"cd", "eval", "git", "mlflow", "pip", "source", "wandb"}  # programs that are none of ours
FLAGS = {"-m", "--help", "--hydra-help"}
BLOCKS = [block for block in shell_blocks() if block.commands]


def check_singtech(verb, arguments):
    """Check that a verb, its options and its settings exist; of a sweep, the first value of each setting."""
    assert verb in VERBS
    options = {"--cfg": "job", "--config-dir": "my"}
    names = [each for each in arguments if each not in FLAGS and each not in options and each not in options.values()]
    assert [name for name in names if "=" not in name] == []
    known = set()
    if verb in WITH_OPTIONS:
        known = {option.name for option in fields(import_module(f"singtech.cli.{verb}").Options)}
    settings = [name for name in names if name.partition("=")[0] not in known]
    if verb in WITH_OPTIONS and verb not in ("protocol", "score"):
        assert settings == []
    elif "--config-dir" not in arguments:  # a recipe's, which tests/test_recipes.py runs
        settings = [word if "[" in word else word.split(",")[0] for word in settings]
        composed(*(word for word in settings if not word.startswith("hydra")))  # the extra's


def check_program(words):
    """Check one program of a command line."""
    if words[0] == "singtech" and not words[1].startswith("-"):
        check_singtech(words[1], words[2:])
    elif words[:3] == ["python", "-m", "singtech"]:
        check_singtech(words[3], words[4:])
    elif words[:3] == ["python", "-m", "singtech.run"]:
        check_singtech("run", words[3:])
    elif words[:2] == ["python", "-m"]:
        assert find_spec(words[2])
    elif words[0] == "make":
        for each in made_by_make(words):
            check_program(each)
    else:
        assert words[0] in OTHERS | {"singtech"} or words == ["python", "mine.py"], words


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page.name}, {block.heading}")
def test_every_command_of_a_block_exists_and_composes(block):
    for command in block.commands:
        for words in programs(command):
            check_program(words)


def test_the_commands_in_the_text_exist():
    commands = list(inline_commands())
    assert len(commands) > 50
    for _, command in commands:
        words = shlex.split(command)
        if words[0] == "make":
            assert set(words[1:2]) <= targets(), command
        elif words[0] == "singtech":
            check_singtech(words[1], words[2:])


def test_blocks_are_read_with_their_continued_lines():
    (plan,) = [block for block in read_blocks(OWN) if block.heading == "Use your own recordings"]
    assert [command.split()[1] for command in plan.commands] == ["verify", "run", "run", "tables"]
    assert plan.commands[1].endswith("strategy=joint,crt_wc")
    loop = "for gpu in 0 1; do CUDA_VISIBLE_DEVICES=$gpu singtech run -m a=1,2 & done; wait  # all"
    assert list(programs(loop)) == [["singtech", "run", "-m", "a=1,2"]]


@pytest.mark.parametrize(
    "command",
    [
        "singtech runs data=demo",
        "singtech run data=dmeo",
        "singtech run nothing=1",
        "singtech run demo",
        "singtech tables page=table3",
        "make nothing",
        'make table3 ARGS="data=dmeo"',
        "python -m benchmarks.nothing",
        "rm -rf outputs",
    ],
)
def test_a_command_that_does_not_exist_is_found(command):
    (words,) = programs(command)
    with pytest.raises((AssertionError, HydraException, CalledProcessError)):
        check_program(words)


def targets():
    """The targets of the Makefile."""
    (experiments,) = re.findall(r"^EXPERIMENTS = (.*)$", MAKEFILE, flags=re.MULTILINE)
    named = re.findall(r"^([a-z0-9_ -]+):", MAKEFILE, flags=re.MULTILINE)
    return {target for names in named for target in names.split()} | set(experiments.split())


def test_the_reference_names_every_experiment_and_the_makefile_makes_it():
    for path in EXPERIMENTS.glob("*.yaml"):
        assert f"| `{path.stem}` | `make {path.stem}`" in TABLES
        assert re.search(rf"\b{path.stem}\b", MAKEFILE)


def test_every_link_leads_to_a_file_and_a_heading():
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))]
    assert len(links) > 80
    for page, link in links:
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"(?ms)^```\w*\n.*?^```$", "", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_is_a_screen_or_two():
    assert len(README.split()) < 900


def test_the_heads_that_make_gains_trains_with_three_seeds_are_those_on_the_same_features():
    (heads,) = re.findall(r"^HEADS = ((?:.*\\\n)*.*)$", MAKEFILE, flags=re.MULTILINE)
    conditions = read_experiment(EXPERIMENTS / "imbalance.yaml").conditions
    on_features = {condition.name for condition in conditions if condition.group.startswith("Head")}
    assert set(re.findall(r"late_\w+", heads)) == on_features


def test_the_example_with_ones_own_recordings_runs(call, own_corpus, tmp_path, undrawn):
    for t, technique in enumerate(("straight", "trill", "vibrato")):  # a fifth singer, for five folds
        (own_corpus / "eve" / technique).mkdir(parents=True)
        soundfile.write(own_corpus / "eve" / technique / f"{t}.wav", tone(technique, 900 + t), 8000)
    small = [setting for setting in SMALL if not re.search("clip_seconds|hop_length", setting)]
    small += ["front_end.hop_length=166", "schedule=smoke"]  # 97 frames of 2 s, as few as Table 1's pooling takes
    place = f"output_dir={tmp_path / 'outputs'}"
    (example,) = [block for block in read_blocks(OWN) if block.heading == "Use your own recordings"]
    for words in map(shlex.split, example.commands):
        typed = [word.replace("FOLDER", str(own_corpus)) for word in words[2:]]
        done = call(words[1], *typed, place, *(small if words[1] == "run" else []))
        assert done.status == 0, done.err
    rows = pd.read_csv(tmp_path / "outputs" / "results.csv", keep_default_na=False)
    assert sorted(rows["fold"].astype(str)) == ["", "", *"0011223344"]
    assert set(rows["data"]) == {"choir"}
    assert set(rows["corpus_fingerprint"].value_counts()) == {12}
    assert pd.read_csv(tmp_path / "outputs" / "corpora" / "choir-fold_1.csv")["clips"].sum() == 27
    assert (tmp_path / "outputs" / "tables" / "choir" / "README.md").is_file()


def test_no_recipe_of_the_pages_is_left_out():
    shown = {command for block in BLOCKS for command in block.commands if "--config-dir" in command}
    assert shown <= {command for recipe in RECIPES.values() for command in recipe.commands}
