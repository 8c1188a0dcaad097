"""What `make bench` says: its columns, its operations and bytes, and a small run of its first part. Never a time."""

import csv
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import bench, convolution, step, sweep
from benchmarks.counts import Count, Layer, convolution_flops, deformable, layers
from benchmarks.counts import step as step_count
from benchmarks.machine import Machine, interleaved
from benchmarks.report import COLUMNS, Measurement, Report, Target
from benchmarks.straightforward import OblongCNN, training_step
from benchmarks.sweep import feature_corpus, network_epochs, paper_runs
from singtech.models.deformable import backends_on

CPU = torch.device("cpu")
TINY = Layer(2, channels=3, outputs=4, kernel=(1, 3), grid=(6, 5), pooled=(3, 2))
MACHINE = Machine(CPU, "a processor", "cpu, 1 thread", {"float32": 100.0, "bf16": 200.0}, bandwidth=10.0)


def test_layers_have_the_shapes_of_table_1():
    found = [(layer.channels, layer.outputs, layer.kernel, layer.grid) for layer in layers()]
    assert found == [
        (3, 32, (4, 1), (1025, 259)),
        (32, 64, (16, 1), (256, 64)),
        (64, 128, (1, 4), (64, 16)),
        (128, 128, (1, 16), (21, 5)),
    ]


def test_operations_of_a_step_without_deformable_layers_are_those_that_torch_counts():
    batch = 2
    network, spectrograms = OblongCNN(), torch.randn(batch, 3, 1025, 259)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    with FlopCounterMode(display=False) as counter:
        training_step(network, optimizer, (spectrograms, torch.tensor([0, 1])), torch.ones(10))
    transforms = batch * 3 * 259 * 2.5 * 2048 * 11
    assert step_count((), batch, parameters=0).flops - transforms == counter.get_total_flops()


def test_operations_and_bytes_of_a_deformable_convolution_counted_by_hand():
    sampled = 2 * 30 * 3 * 3  # clips, positions, taps, channels: the numbers of the columns
    products = 3 * 2 * sampled * 4  # forward and two backward, each with 4 outputs
    assert deformable(TINY, batch=2).flops == products + 3 * 8 * sampled
    assert deformable(TINY, batch=2, needs_input_gradient=False).flops == products + 2 * 8 * sampled
    numbers = 2 * 30 * (3 * 3 + 2 * 4 + 3 * 9) + 3 * 36
    assert deformable(TINY, batch=2).bytes == 4 * numbers
    assert deformable(TINY, batch=2, size=2).bytes == 4 * numbers - 2 * 2 * 30 * (3 * 3 + 2 * 4)


def test_a_first_layer_needs_no_gradient_of_its_input():
    first = Layer(1, 3, 4, (1, 3), (6, 5), (3, 2))
    assert convolution_flops(first, 4, 2) * 3 == convolution_flops(TINY, 4, 2) * 2


def test_the_floor_is_set_by_the_slower_of_operations_and_bytes():
    assert MACHINE.floor(Count(1000, 10)) == 10
    assert MACHINE.floor(Count(1000, 10), "bf16") == 5
    assert MACHINE.floor(Count(1000, 500)) == 50


def test_a_measurement_becomes_a_row_and_a_line_of_the_table(tmp_path):
    report = Report(MACHINE, tmp_path)
    report.add(Measurement("operator", "fast", 20.0, 100.0, "s", Count(1000, 10), target=Target("ratio", 4)))
    report.add(Measurement("prepare", "files", 50.0, 100.0, "x real time", target=Target("ratio", 1)))
    report.add(Measurement("start", "first line", 2.0, target=Target("ours", 3)))
    with (tmp_path / "bench.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["ratio"] for row in rows] == ["5.0", "0.5", ""]
    assert [row["target"] for row in rows] == ["4x: met", "1x: missed", "3 s: met"]
    assert (rows[0]["floor_seconds"], rows[0]["times_floor"]) == ("10.0", "2.0")
    assert rows[0]["machine"] == "a processor"
    assert report.markdown().count("\n|") == 5
    Report(MACHINE, tmp_path).add(Measurement("start", "again", 2.0))
    assert (tmp_path / "bench.csv").read_text().count("\n") == 5


def test_rows_are_not_added_to_a_file_with_other_columns(tmp_path):
    (tmp_path / "bench.csv").write_text("part,what\n")
    with pytest.raises(ValueError, match=r"bench\.csv has other columns than part, what, ours"):
        Report(MACHINE, tmp_path)


def test_every_backend_of_the_device_is_measured_beside_torchvision():
    found = list(convolution.of_layer(TINY, 2, CPU, "float32", bound=5, rounds=1))
    assert {m.what.split(": ")[1] for m in found} == set(backends_on(CPU)) - {"torchvision"}
    assert all(measurement.ours > 0 and measurement.straightforward > 0 for measurement in found)
    assert sum(measurement.target is not None for measurement in found) == 1


def test_what_is_measured_beside_torchvision_gives_its_gradients():
    example = convolution.inputs(TINY, 2, CPU)
    beside = convolution.both_ways(lambda *given: convolution.reference(*given, TINY.kernel), example)()
    ours = convolution.both_ways(lambda *given: convolution.deform_conv2d(*given, (0, 1)), example)()
    for found, expected in zip(ours, beside, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_ways_are_taken_in_turn():
    called = []
    ways = {name: lambda name=name: called.append(name) for name in "ab"}
    assert set(interleaved(ways, CPU, rounds=3, least_seconds=0)) == {"a", "b"}
    assert "".join(called[-6:]) == "ababab"


@pytest.mark.long
def test_the_papers_oblong_networks_are_trained_for_1300_epochs_instead_of_2200():
    epochs = network_epochs()
    assert sum(epochs.values()) == 1300
    assert epochs["late"] == 800
    phases = [phase for run in paper_runs() if run.names["model"] == "oblong" for phase in run.phases]
    assert sum(phase.epochs for phase in phases if phase.trains == "network") == 2200
    assert sum(phase.epochs for phase in phases if phase.trains == "head") == 1400
    assert feature_corpus().counts("train").sum() == 3615


def test_one_more_alpha_trains_the_papers_head_phase_alone(monkeypatch):
    trained = []
    monkeypatch.setattr(sweep, "train_phase", lambda task: trained.append(task.run.phases[task.number]))
    assert sweep.extra_alpha(MACHINE) >= 0
    assert [(phase.trains, phase.epochs, phase.loss.keywords["alpha"]) for phase in trained] == [("head", 100, 0.3)] * 3


def test_a_step_is_measured_on_the_runs_own_training():
    size = step.Size(30, batch=4, steps=2, turns=2)
    run, machine = step.run_for("late", feature_corpus(), size, MACHINE, "float32")
    assert run.setup.network.extractor.keywords["dc"] == [3, 4]
    assert (run.setup.batch_size, run.setup.max_batches, run.phases[0].epochs) == (4, 2, 3)
    assert machine.accelerator == "cpu"


@pytest.mark.parametrize(
    ("argument", "problem"), [("only=speed", "no part speed"), ("fast", "not understood"), ("only=", "not understood")]
)
def test_a_wrong_option_is_one_sentence(argument, problem):
    with pytest.raises(SystemExit, match=problem):
        bench.main([argument])


def test_its_parts_are_those_that_its_help_tells():
    assert all(f"\n    {part} " in bench.__doc__ for part in bench.PARTS)
    makefile = (Path(bench.__file__).parent.parent / "Makefile").read_text()
    assert "-m benchmarks.bench $(ARGS)" in makefile
