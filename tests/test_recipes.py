"""A person's own components, added from outside by the recipes of docs/how-to/, in a folder of their own."""

import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import singtech
from singtech import components, metrics
from singtech.cli import config
from singtech.config_paths import CONF
from singtech.training import trial
from singtech.training.phase_store import read_checkpoint
from tests.conftest import own_settings
from tests.recipes import RECIPES

ROOT = Path(singtech.__file__).parent.parent


@pytest.fixture
def folder(tmp_path, monkeypatch, own_corpus):
    """An empty folder of a person who knows the installed package alone; their modules are forgotten afterwards."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(components, "_user_folders", set())
    monkeypatch.setattr(trial, "_tested", set())
    config._compose.cache_clear()
    yield work
    forget()


def forget():
    """Forget a person's modules and settings, as the next process does."""
    for name in ("mine", "helper"):
        sys.modules.pop(name, None)
    config._compose.cache_clear()


@pytest.fixture
def own(own_corpus):
    return own_settings("../corpus", "outputs")


def fitting(settings, arguments):
    """The small corpus's settings but for those that the command's choices do not have."""
    groups = [name for name in ("front_end", "data") if any(a.startswith(f"{name}=") for a in arguments)]
    return [s for s in settings if not s.startswith(tuple(f"{group}{end}" for group in groups for end in "=."))]


@pytest.fixture
def run_recipe(call, folder, own):
    """Write a recipe's files and give one of its commands, on the small corpus; the row, and what was said."""

    def run(title, number=0, *more):
        RECIPES[title].write(folder)
        arguments = RECIPES[title].arguments(number)
        done = call("run", *arguments, *fitting(own, arguments), *more)
        assert done.status == 0, done.err
        return rows(folder)[-1], done

    return run


def rows(folder):
    """The rows of results.csv, as dictionaries, the newest last."""
    frame = pd.read_csv(folder / "outputs/results.csv", keep_default_na=False, dtype=str)
    written = {row.parent.name: row.stat().st_mtime_ns for row in (folder / "outputs/runs").glob("*/row.json")}
    return sorted(frame.to_dict("records"), key=lambda row: written[row["run"]])


def settings(row):
    """What a row differs in, without what the small corpus asks for."""
    small = {"batch_size", "front_end.n_fft", "front_end.win_lengths", "front_end.hop_length", "schedule"}
    return {name: value for name, value in json.loads(row["settings"]).items() if name not in small}


def stored(folder):
    """The names of finished phases."""
    return sorted(path.parent.name for path in (folder / "outputs/phases").glob("*/phase.json"))


def weights(folder, key):
    from safetensors.torch import load_file

    return load_file(folder / f"outputs/phases/{key}/weights.safetensors")


def mine(folder, text, name="mine"):
    (folder / f"{name}.py").write_text(text)


def imported(title, folder):
    """The module of a recipe's mine.py."""
    RECIPES[title].write(folder)
    return components.import_file(folder / "mine.py")


# The recipes' own claims, by hand or by a second library.


def test_the_focal_loss_is_what_the_paper_says(folder):
    loss = imported("A loss", folder).Focal(gamma=2.0)
    # p = 3/4 of the truth in one clip, 1/2 in the other: (1/16 · ln 4/3 + 1/4 · ln 2) / 2
    logits = torch.tensor([[math.log(3.0), 0.0], [1.0, 1.0]])
    expected = (math.log(4 / 3) / 16 + math.log(2) / 4) / 2
    assert float(loss(logits, torch.tensor([0, 1]))) == pytest.approx(expected)


def test_balanced_softmax_is_what_the_paper_says(folder):
    loss = imported("A loss", folder).BalancedSoftmax(torch.tensor([3, 1]))
    # equal logits: the shares of the clips, 3/4 and 1/4
    assert float(loss(torch.zeros(1, 2), torch.tensor([1]))) == pytest.approx(math.log(4))
    assert float(loss(torch.zeros(1, 2), torch.tensor([0]))) == pytest.approx(math.log(4 / 3))


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1, {"loss": "own", "loss._target_": "mine.BalancedSoftmax"}),
        (2, {"loss": "own", "loss._target_": "torch.nn.CrossEntropyLoss", "+loss.label_smoothing": 0.1}),
    ],
)
def test_a_loss(run_recipe, number, expected):
    row, _ = run_recipe("A loss", number)
    assert row["status"] == "complete"
    assert settings(row) == expected


def test_both_ways_of_a_loss_are_one_outcome(run_recipe, folder):
    typed, _ = run_recipe("A loss", 0)
    assert settings(typed) == {"loss": "own", "loss._target_": "mine.Focal", "+loss.gamma": 2}
    keys = stored(folder)
    named, done = run_recipe("A loss", 3)
    assert settings(named) == {"loss": "my_focal"}
    assert stored(folder) == keys
    assert "nothing had to be trained" in done.out


def test_a_metric(run_recipe, folder, monkeypatch):
    row, _ = run_recipe("A loss", 1)
    RECIPES["A metric"].write(folder)
    (command,) = RECIPES["A metric"].commands
    assert shlex.split(command) == ["python", "mine.py"]
    done = subprocess.run([sys.executable, "mine.py"], env=environment(), capture_output=True, text=True, check=True)
    assert "Worst" in done.stdout
    after = rows(folder)[-1]
    recalls = [float(row[f"recall_{name}"]) for name in ("straight", "trill", "vibrato")]
    assert float(after["worst_recall"]) == pytest.approx(min(recalls))
    assert "worst_recall" not in metrics.METRICS  # of this process: nothing was changed but by the person's file


@pytest.mark.parametrize("number", [0, 1])
def test_a_network(run_recipe, folder, number):
    row, _ = run_recipe("A network", number)
    # 5 × 5 kernels over 3 spectrograms and a bias, for 8 channels; then 3 techniques
    assert int(row["parameters"]) == 8 * (3 * 25 + 1) + 3 * (8 + 1)
    assert row["model"] == ["own", "small"][number]
    assert row["dc"] == "none"


def test_a_pretrained_network_keeps_its_weights(run_recipe, folder):
    torch.manual_seed(5)
    linear = torch.nn.Linear(3, 12)
    torch.save(linear.state_dict(), folder / "weights.pt")
    row, _ = run_recipe("A pretrained network")
    for key in row["phases"].split():
        kept = weights(folder, key)
        assert torch.equal(kept["extractor.linear.weight"], linear.weight)
        assert torch.equal(kept["extractor.linear.bias"], linear.bias)
    assert int(row["epochs"]) == 1


def test_another_file_of_weights_is_another_run(run_recipe, folder):
    for seed in (5, 6):
        torch.manual_seed(seed)
        torch.save(torch.nn.Linear(3, 12).state_dict(), folder / "weights.pt")
        run_recipe("A pretrained network")
    one, other = rows(folder)
    assert one["phases"] != other["phases"]


HELPED = """
import helper
import torch.nn.functional as F


class Helped(torch.nn.Module):
    def forward(self, logits, targets):
        return helper.SCALE * F.cross_entropy(logits, targets)
"""


def test_a_file_with_the_name_of_one_of_ours_is_refused(call, own, folder):
    (folder / "my/loss").mkdir(parents=True)
    (folder / "my/loss/focal.yaml").write_text("_target_: torch.nn.CrossEntropyLoss\n")
    done = call("run", "--config-dir", "my", *own, "loss=focal")
    assert done.status == 1
    assert "my/loss/focal.yaml: singtech has a choice of this name; give yours another." in done.err


def test_a_changed_import_of_a_loss_is_another_loss(call, folder, own):
    mine(folder, "import torch\n" + HELPED)
    for scale in (1, 2, 2):
        mine(folder, "#" * scale + f"\nSCALE = {scale}\n", "helper")  # of another length: its bytecode is stale
        forget()
        done = call("run", *own, "loss=own", "loss._target_=mine.Helped")
        assert done.status == 0, done.err
    one, other = rows(folder)
    assert one["phases"] != other["phases"]
    assert "nothing had to be trained" in done.out


def test_a_pretrained_network_is_not_in_every_checkpoint(call, folder, own):
    torch.save(torch.nn.Linear(3, 12).state_dict(), folder / "weights.pt")
    RECIPES["A pretrained network"].write(folder)
    with (folder / "mine.py").open("a") as file:
        file.write(STOPS_LATER)
    network = [*RECIPES["A pretrained network"].arguments(), "schedule.classifier=2"]
    more = ["data.split.validation=[cid]", "selection=best", "sampler=own", "sampler._target_=mine.StopsLater"]
    done = call("run", *own, *network, *more)
    assert done.status == 1
    (checkpoint,) = (folder / "outputs/phases").glob("*/last.ckpt")
    state = read_checkpoint(checkpoint)
    best = state["callbacks"]["BestEpoch"]["weights"]
    assert {name.split(".")[1] for name in state["state_dict"] if name.startswith("network.")} == {"classifier"}
    assert {name.split(".")[1] for name in best if name.startswith("network.")} == {"classifier"}


STOPS_LATER = """

class StopsLater:
    def __init__(self, targets):
        self.clips = len(targets)

    def __call__(self, generator, progress):
        if progress > 0:
            raise RuntimeError("tired")
        return torch.randperm(self.clips, generator=generator)
"""


def test_a_head(run_recipe, folder):
    row, _ = run_recipe("A head")
    assert settings(row) == {"head": "own", "head._target_": "mine.Cosine", "+head.scale": 8}
    kept = weights(folder, row["phases"].split()[-1])
    assert {name for name in kept if name.startswith("classifier")} == {"classifier.weight"}


def test_a_front_end(run_recipe, folder):
    row, _ = run_recipe("A front end")
    assert settings(row)["front_end"] == "own"
    assert row["status"] == "complete"
    clip = torch.sin(2 * math.pi * 1000 * torch.arange(4800) / 8000)[None]
    spectrogram = sys.modules["mine"].LogSpectrogram(192, 48)(clip)
    assert spectrogram.shape == (1, 1, 97, 101)
    assert int(spectrogram[0, 0, :, 50].argmax()) == 24  # 1000 Hz in bins of 8000 / 192 Hz


def test_a_sampler(run_recipe, folder):
    row, _ = run_recipe("A sampler")
    assert settings(row) == {"sampler": "own", "sampler._target_": "mine.SquareRoot"}
    sampler = sys.modules["mine"].SquareRoot(torch.tensor([0] * 16 + [1] * 4))
    drawn = torch.cat([sampler(torch.Generator().manual_seed(n), 0.0) for n in range(500)])
    assert float((drawn < 16).double().mean()) == pytest.approx(4 / (4 + 2), abs=0.02)


def test_an_augmentation_changes_the_network_and_no_stored_feature(run_recipe, call, folder, own):
    call("run", *own)
    run_recipe("An augmentation")
    plain, augmented = rows(folder)
    assert settings(augmented) == {"augment": "own", "augment._target_": "mine.Shift"}
    one, other = (weights(folder, each["phases"].split()[0]) for each in (plain, augmented))
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_an_optimizer(run_recipe, folder):
    row, _ = run_recipe("An optimizer", 0, "strategy=head")
    assert settings(row) == {"optimizer": "own", "optimizer._target_": "mine.SignDescent", "+optimizer.lr": 0.002}
    before, after = (weights(folder, key)["classifier.weight"] for key in row["phases"].split())
    steps = (after - before) / 0.002  # two batches: each weight went up or down twice, or came back
    assert steps.round().unique().tolist() in ([-2, 0, 2], [-2, 2])
    assert torch.allclose(steps, steps.round(), atol=1e-3)


def test_a_rewrite_of_the_head(run_recipe, folder):
    row, _ = run_recipe("A rewrite of the head")
    assert row["strategy"] == "adjusted"
    before, after = (weights(folder, key) for key in row["phases"].split())
    third = 0.5 * math.log(3)  # 6 training clips of each of 3 techniques
    assert torch.allclose(after["classifier.bias"] - before["classifier.bias"], torch.full((3,), third), atol=1e-6)
    assert torch.equal(after["classifier.weight"], before["classifier.weight"])
    assert int(row["epochs"]) == 1


def test_a_kind_of_phase(run_recipe, folder):
    row, _ = run_recipe("A kind of phase", 0, "optimizer.lr=1e-12")
    before, after = (weights(folder, key)["classifier.weight"] for key in row["phases"].split())
    assert torch.allclose(after, before / 4, atol=1e-6)  # what the optimizer adds is nothing
    assert row["strategy"] == "shrunk"


@pytest.mark.parametrize(
    ("number", "strategy", "dc", "expected"),
    [
        (0, "balanced_head", "late", {}),
        (1, "balanced_head", "early", {}),
        (2, "crt_wc", "late", {"optimizer.lr": 1e-5}),
        (4, "crt_wc", "late", {"model.features": 60}),
    ],
)
def test_a_strategy_a_condition_an_ablation(run_recipe, number, strategy, dc, expected):
    row, _ = run_recipe("A condition or a table", number)
    assert (row["strategy"], row["dc"], settings(row)) == (strategy, dc, expected)


def test_a_corpus(call, folder, own_corpus):
    own_corpus.rename(folder / "choir")
    RECIPES["A corpus"].write(folder)
    done = call("run", *RECIPES["A corpus"].arguments(), "schedule=smoke", "trainer.accelerator=cpu")
    assert done.status == 0, done.err
    row = rows(folder)[-1]
    assert (row["data"], row["singers_test"], row["clips_train"], row["clips_test"]) == ("choir", "dot", "18", "6")
    assert json.loads(row["settings"]).keys() <= {"front_end", "schedule"}


def test_a_clip_that_is_too_short_asks_for_longer_ones(call, folder, own_corpus):
    own_corpus.rename(folder / "choir")
    RECIPES["A corpus"].write(folder)
    arguments = [*RECIPES["A corpus"].arguments(), "schedule=smoke", "trainer.accelerator=cpu"]
    done = call("run", *arguments, "data.clip_seconds=0.6")
    assert "use longer clips (data.clip_seconds)" in done.err
    done = call("run", *arguments, "data.clip_seconds=2.97")
    assert done.status == 0, done.err


def test_every_recipe_has_a_test():
    here = Path(__file__).read_text()
    assert len(RECIPES) >= 13
    assert [title for title in RECIPES if f'"{title}"' not in here] == []


# In a process of its own, as a person calls it.


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_a_class_is_found_in_the_folder_where_the_command_is_given(folder, own):
    RECIPES["A loss"].write(folder)
    command = [sys.executable, "-m", "singtech.run", *own, *RECIPES["A loss"].arguments(), "strategy=head"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert settings(rows(folder)[-1])["loss._target_"] == "mine.Focal"


# What a loss is given, and where it acts.

NOTING = """
import torch

NOTES = []


class Noting(torch.nn.Module):
    def __init__(self, class_counts, techniques):
        super().__init__()
        self.counts, self.techniques = class_counts, techniques

    def forward(self, logits, targets):
        NOTES.append((self.counts.tolist(), list(self.techniques), tuple(logits.shape), tuple(targets.shape)))
        return 2 * torch.nn.functional.cross_entropy(logits, targets)
"""


def test_a_loss_is_given_counts_logits_and_targets(call, folder, own, own_corpus):
    for path in (own_corpus / "ann/scales").glob("trill/*_0.wav"):
        path.unlink()
    mine(folder, NOTING)
    done = call("run", *own, "loss=own", "loss._target_=mine.Noting")
    assert done.status == 0, done.err
    notes = sys.modules["mine"].NOTES
    assert {tuple(counts) for counts, *_ in notes[1:]} == {(6, 5, 6)}  # the first is the try before training
    assert {tuple(names) for _, names, *_ in notes[1:]} == {("straight", "trill", "vibrato")}
    in_trial, *in_training = [shapes for _, _, *shapes in notes]
    assert in_trial == [(2, 3), (2,)]
    assert in_training == [[(4, 3), (4,)]] * 2  # two batches of the head's phase; none of the features' phase


# What does not fit ends before anything trains, in one sentence.

UNFIT = """
import collections

import torch
from torch import nn


class Vector(nn.Module):
    def forward(self, logits, targets):
        return nn.functional.cross_entropy(logits, targets, reduction="none")


class NeedsMore(nn.Module):
    def __init__(self, class_counts, gamma):
        super().__init__()


class Constant(nn.Module):
    def forward(self, logits, targets):
        return torch.ones((), requires_grad=True)


class Raises(nn.Module):
    def forward(self, logits, targets):
        raise KeyError("nothing of that name")


class NoWidth(nn.Module):
    def __init__(self, shape):
        super().__init__()

    def forward(self, inputs):
        return inputs.mean(dim=(2, 3))


class WrongWidth(NoWidth):
    out_features = 7


class WrongShape(nn.Module):
    def forward(self, waveforms):
        return waveforms

    def shape(self, samples):
        return (1, 97, 97)


class OneTechnique(nn.Linear):
    def __init__(self, features, techniques):
        super().__init__(features, 1)


class OutOfRange:
    def __init__(self, targets):
        self.clips = len(targets)

    def __call__(self, generator, progress):
        return [self.clips] * self.clips


class Repeated:  # as many clips of each technique as the most frequent has
    def __init__(self, targets):
        counts = torch.bincount(targets)
        each = [torch.nonzero(targets == k).flatten() for k in range(len(counts))]
        self.indices = torch.cat([rows.repeat(int(counts.max()))[: int(counts.max())] for rows in each])

    def __call__(self, generator, progress):
        return self.indices


class Shorter:
    def __call__(self, waveforms, generator):
        return waveforms[:, :-1]


class Stepping(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    def step(self, closure=None):
        return torch.enable_grad()(closure)()


class KeepsDeque(Stepping):
    def step(self, closure=None):
        weights = self.param_groups[0]["params"][0]
        self.state[weights]["seen"] = collections.deque([1.0])
        return super().step(closure)


class NoClosure(Stepping):
    def step(self):
        pass
"""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("loss=own", "loss._target_=mine.Vector"), ["loss Vector", "shape ()", "(2,)"]),
        (("loss=own", "loss._target_=mine.NeedsMore"), ["loss NeedsMore", "'gamma'"]),
        (("loss=own", "loss._target_=mine.Constant"), ["loss Constant", "depends on the logits"]),
        (("loss=own", "loss._target_=mine.Raises"), ["loss Raises", "mine.py, line 25", "KeyError"]),
        (("loss=own",), ["loss._target_"]),
        (
            ("loss=own", "loss._target_=mine.Vektor"),
            ["loss._target_=mine.Vektor", "module 'mine' has no attribute 'Vektor'"],
        ),
        (("loss=own", "loss._target_=yours.Vector"), ["No module named 'yours'", "current folder"]),
        (("model=own", "model._target_=mine.NoWidth"), ["model NoWidth", "out_features"]),
        (("model=own", "model._target_=mine.WrongWidth"), ["model WrongWidth", "(2, 7)", "(2, 3)"]),
        (("front_end=own", "front_end._target_=mine.WrongShape"), ["front_end WrongShape", "(2, 1, 97, 97)"]),
        (("head=own", "head._target_=mine.OneTechnique"), ["head OneTechnique", "(2, 3)", "(2, 1)"]),
        (("sampler=own", "sampler._target_=mine.OutOfRange"), ["sampler OutOfRange", "from 0 to 6"]),
        (("sampler=own", "sampler._target_=mine.Repeated"), ["sampler Repeated", "as many indices as clips"]),
        (("augment=own", "augment._target_=mine.Shorter"), ["augment Shorter", "(2, 4800)", "(2, 4799)"]),
        (("optimizer=own", "optimizer._target_=mine.KeepsDeque"), ["optimizer KeepsDeque", "tensors and plain values"]),
        (("optimizer=own", "optimizer._target_=mine.NoClosure"), ["optimizer NoClosure", "positional argument"]),
    ],
)
def test_what_does_not_fit_ends_before_anything_trains(call, folder, own, arguments, words):
    mine(folder, UNFIT)
    refused(call("run", *fitting(own, arguments), *arguments), folder, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class Mine(:\n    pass\n", ["mine.py, line 1", "SyntaxError"]),
        ("import torch\n\nMine = undefined\n", ["mine.py, line 3", "NameError", "undefined"]),
        ("import missing_package\n", ["mine", "missing_package"]),
    ],
)
def test_a_file_that_cannot_be_imported_ends_before_anything_trains(call, folder, own, text, words):
    mine(folder, text)
    refused(call("run", *own, "loss=own", "loss._target_=mine.Mine"), folder, words)


def refused(done, folder, words):
    assert done.status == 1
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.err
    assert [word for word in words if word not in errors[0]] == [], errors[0]
    assert "Traceback" not in done.err + done.out
    assert "bug" not in errors[0]
    assert stored(folder) == []
    assert "trained (" not in done.out


def test_a_component_of_the_last_phase_is_tried_before_the_first_trains(call, folder, own):
    mine(folder, "class Rewrite:\n    def __call__(self, head, class_counts):\n        head.nothing += 1\n")
    strategy = RECIPES["A rewrite of the head"].files["my/strategy/adjusted.yaml"]
    path = folder / "my/strategy/adjusted.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(strategy.replace("mine.LogitAdjusted, tau: 0.5", "mine.Rewrite"))
    done = call("run", "--config-dir", "my", *own, "strategy=adjusted")
    refused(done, folder, ["rewrite Rewrite", "mine.py, line 3", "AttributeError"])


# An exception while it trains.


def test_an_exception_in_training_names_the_file_and_line_and_asks_for_no_bug_report(call, folder, own):
    mine(folder, f"import torch\n{STOPS_LATER}")
    done = call("run", *own, "sampler=own", "sampler._target_=mine.StopsLater", "schedule.classifier=2")
    assert done.status == 1
    (error,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert f"{folder / 'mine.py'}, line 10, in __call__: RuntimeError: tired" in error
    assert "bug" not in done.err
    assert "Traceback" not in done.err
    assert len(stored(folder)) == 1  # of the network, which the sampler has no part in
    (row,) = rows(folder)
    assert (row["status"], row["reason"]) == ("failed", error.removeprefix("error: "))


@pytest.mark.long
def test_an_exception_on_several_devices_names_the_file_and_line_too(call, folder, own):
    mine(folder, f"import torch\n\n\nclass Own(Exception):\n    pass\n{STOPS_LATER}".replace("RuntimeError", "Own"))
    more = ["strategy=head", "schedule.classifier=2", "trainer.devices=2"]
    done = call("run", *own, *more, "sampler=own", "sampler._target_=mine.StopsLater")
    assert done.status == 1
    (error,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert f"{folder / 'mine.py'}, line 14, in __call__: Own: tired" in error
    assert "bug" not in done.err
    assert "Traceback" not in done.err
    (row,) = rows(folder)
    assert (row["status"], row["reason"]) == ("failed", error.removeprefix("error: "))


# Tables and commands.


@pytest.mark.usefixtures("table3_alone")
def test_tables_show_the_runs_under_their_settings_and_suggest_commands_that_repeat_them(run_recipe, call, folder, own):
    call("run", *own)
    call("run", *own, "condition=late_joint")
    run_recipe("A loss", 3)
    done = call("tables", "output_dir=outputs", "data=choir")
    assert done.status == 0, done.err
    (row,) = [row for row in rows(folder) if "loss" in settings(row)]
    (page,) = (folder / "outputs/tables/choir").glob("*/table3.md")
    text = page.read_text()
    for name, value in settings(row).items():
        assert f"{name}={value}" in text
    assert f"{float(row['f1']):.3f}" in text
    for place in (page, folder / "outputs/tables/choir/table3.md"):
        suggested = [
            line.split("`")[1] for line in place.read_text().splitlines() if line.startswith("- Late, cRT-WFC")
        ]
        (command,) = suggested
        asked = composed(command, folder)
        plain = composed(row["command"] if place == page else shlex.join(["singtech", "run", *own]), folder)
        for group in ("loss", "sampler", "optimizer", "front_end", "schedule", "batch_size"):
            assert asked[group] == plain[group]
        assert asked["strategy"] != plain["strategy"]  # cRT-WFC is missing, cRT-WC is there


def test_an_encoder_of_the_hub_is_one_file(call, folder):
    RECIPES["A frozen encoder"].write(folder)
    done = call("run", "--config-dir", "my", "model=my_encoder", "--cfg", "job")
    assert done.status == 0, done.err
    settings = yaml.safe_load(done.out)
    assert settings["model"]["name"] == "facebook/hubert-base-ls960"
    assert settings["front_end"]["_target_"] == "singtech.models.cnn1d.Waveform"
    assert [phase["_target_"].rpartition(".")[2] for phase in settings["strategy"]["phases"]] == ["TrainHead"]


@pytest.mark.usefixtures("undrawn")
def test_a_table_of_ones_own_shows_ones_own_condition_beside_ours(call, folder, own):
    recipe = RECIPES["A condition or a table"]
    recipe.write(folder)
    assert call("run", *recipe.arguments(3), *own).status == 0
    shown = call("tables", "output_dir=outputs", "data=choir", "show=heads")
    assert shown.status == 0, shown.err
    scores = {row["strategy"]: f"{float(row['f1']):.3f}" for row in rows(folder)}
    lines = [re.split(r"\s{2,}", line) for line in shown.out.splitlines() if re.search(r"\bours\b", line)]
    assert [(line[0], line[3].strip(" *")) for line in lines] == [
        ("Late, cRT-WC", scores["crt_wc"]),
        ("Early, balanced head", scores["balanced_head"]),
    ]


@pytest.mark.usefixtures("table3_alone")
def test_tables_show_the_code_that_was_run_last(run_recipe, call, folder):
    first, _ = run_recipe("A loss", 3)
    yaml = folder / "my/loss/my_focal.yaml"
    arguments = shlex.split(first["command"])[2:]
    text = yaml.read_text()
    for changed in (text.replace("2.0", "30.0"), text):  # and back, where nothing has to be trained
        yaml.write_text(changed)
        config._compose.cache_clear()
        assert call("run", *arguments).status == 0
    call("tables", "output_dir=outputs", "data=choir")
    page = folder / "outputs/tables/choir/table3.md"
    assert f"{float(first['f1']):.3f}" in page.read_text()
    assert "1 of other code or settings files than the newest run of the row" in page.read_text()


def test_the_command_of_a_row_repeats_it(run_recipe, call, folder):
    row, _ = run_recipe("A loss", 3)
    program, verb, *arguments = shlex.split(row["command"])
    assert (program, verb) == ("singtech", "run")
    done = call("run", *arguments)
    assert done.status == 0, done.err
    assert "nothing had to be trained" in done.out
    assert len(rows(folder)) == 1


def test_the_command_that_repeats_what_failed_in_a_sweep_names_the_configuration_folder(call, folder, own, monkeypatch):
    def fail(*_):
        raise MemoryError

    RECIPES["A loss"].write(folder)
    monkeypatch.setattr("singtech.training.run.train_phase", fail)
    done = call("run", "--config-dir", "my", "-m", *own, "loss=my_focal", "loss.gamma=2")
    assert done.status == 1
    repeated = done.err.split("repeat them with:\n")[1].splitlines()[0]
    assert composed(repeated.strip(), folder)["loss"] == {"_target_": "mine.Focal", "gamma": 2}


def composed(command, folder):
    """What Hydra composes of a command line, as plain values."""
    program, verb, *arguments = shlex.split(command)
    assert (program, verb) == ("singtech", "run")
    searched = []
    if "--config-dir" in arguments:
        place = arguments.index("--config-dir")
        _, path = arguments[place : place + 2]
        del arguments[place : place + 2]
        searched = [f"hydra.searchpath=[file://{ROOT},file://{Path(path).resolve()}]"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose("config", [*arguments, *searched]), resolve=True)
