"""What `make bench` says: its columns, its operations and bytes, and a small run of its first part. Never a time."""

import csv
import json
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import bench, convolution, quick, quick_page, step, sweep
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


def test_operations_of_a_step_grow_with_the_spectrograms():
    whole, cut = (step_count((3, 4), 2, 0, shape=shape) for shape in ((3, 1025, 259), (3, 257, 97)))
    assert 0 < cut.flops < whole.flops / 5
    assert 0 < cut.bytes < whole.bytes / 5


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
    assert [(phase.trains, phase.epochs, phase.loss.keywords["alpha"]) for phase in trained] == [("head", 100, 0.3)]


def test_a_step_is_measured_on_the_runs_own_training():
    size = step.Size(30, batch=4, steps=2, turns=2)
    run, machine = step.run_for("late", feature_corpus(), size, MACHINE, "float32")
    assert run.setup.network.extractor.keywords["dc"] == [3, 4]
    assert (run.setup.batch_size, run.setup.max_batches, run.phases[0].epochs) == (4, 2, 3)
    assert machine.accelerator == "cpu"


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("only=speed", "no part speed"),
        ("fast", "not understood"),
        ("only=", "not understood"),
        ("quick=1", "true or false"),
    ],
)
def test_a_wrong_option_is_one_sentence(argument, problem):
    with pytest.raises(SystemExit, match=problem):
        bench.main([argument])


def test_its_parts_are_those_that_its_help_tells():
    assert all(f"\n    {part} " in bench.__doc__ for part in bench.PARTS)
    makefile = (Path(bench.__file__).parent.parent / "Makefile").read_text()
    assert "-m benchmarks.bench $(ARGS)" in makefile


TINY_SIZE = quick.Size(2, 4, 36_000, 12_000, quick.SMALL, (3, 257, 97), side=32, rounds=1)
WRITER = "import json, sys, time; file = open(sys.argv[-1], 'a'); print(json.dumps({'n': 1}), file=file, flush=True); "


def gpu_record():
    """What a GPU could give: Triton fast in layer 1, slow in layer 2, mixed in layer 3, and broken in layer 4."""
    machine = {"device": "NVIDIA T", "processor": "p", "flops": {"float32": 1e12, "bf16": 2e12}, "bandwidth": 1e12}
    machine |= {"memory_bytes": 8e9, "capability": "9.0", "size": {"batch": 64, "shape": [3, 1025, 259]}}
    parts = {"machine": [machine], "tests": [{"passed": 16, "failed": 0, "skipped": 0}]}
    for layer, gains in enumerate(((1.5, 4), (1.49, 1.2), (1.4, 1.6), (2, None)), start=1):
        parts[f"layer {layer}"] = rows = []
        for precision, gain in zip(("float32", "bf16"), gains, strict=True):
            row = {"layer": layer, "precision": precision, "batch": 64, "backend": "triton", "flops": 1e9, "bytes": 1e6}
            ours = {"ours_seconds": 2e-3, "torchvision_seconds": 2e-3 * gain} if gain else {"error": "ours: no kernel"}
            rows.append(row | ours)
    record = {"rehearsal": False, "date": "2026-01-01", "commit": "abc", "versions": {"torch": "2.14.1"}}
    record["parts"] = {name: {"rows": rows, "wall_seconds": 1.0} for name, rows in parts.items()}
    record["parts"]["paper"] = {"rows": [], "wall_seconds": 120.0, "error": "stopped after 120 s"}
    return record


def test_the_page_tells_which_triton_kernels_stay_and_what_failed(tmp_path):
    record = gpu_record()
    quick.derive(record)
    page = quick.write(record, tmp_path)
    assert page == tmp_path / "bench" / "nvidia-t.md"
    text = page.read_text()
    assert text == quick_page.render(json.loads(page.with_suffix(".json").read_text()))
    assert "- layer 1: keep, Triton gains 1.5 or more" in text
    assert "- layer 2: remove (`singtech/models/backends/fused.py`)" in text
    assert "- layer 3: keep in bf16 only" in text
    assert "- layer 4: not decided" in text
    assert text.startswith("# Measured on NVIDIA T\n")
    assert text.endswith("- layer 4 (bf16): ours: no kernel\n- paper: stopped after 120 s\n")
    first = record["parts"]["layer 1"]["rows"][0]
    assert (first["floor_seconds"], first["times_floor"]) == (1e-3, 2.0)  # 1e9 operations at 1e12 a second


def test_a_rehearsal_is_marked_and_never_takes_a_gpus_files(tmp_path):
    record = gpu_record() | {"rehearsal": True}
    page = quick.write(record, tmp_path)
    assert page.name == "rehearsal.md"
    assert "say nothing about a GPU" in page.read_text()
    assert json.loads(page.with_suffix(".json").read_text())["rehearsal"] is True


@pytest.mark.parametrize(
    ("ends", "error"),
    [
        ("raise ValueError('no')", "exit status 1: ValueError: no"),
        ("import os; os.kill(os.getpid(), 11)", "ended by signal 11"),
        ("time.sleep(60)", "stopped after 5 s"),
        ("file.write('{'); file.flush(); sys.exit(3)", "exit status 3"),
    ],
)
def test_a_part_that_fails_keeps_the_rows_that_it_gave(ends, error):
    started = time.monotonic()
    found = quick.run_part([sys.executable, "-c", WRITER + ends], 5)
    assert found["rows"] == [{"n": 1}]
    assert found["error"] == error
    assert time.monotonic() - started < 50
    assert "error" not in quick.run_part([sys.executable, "-c", WRITER], 60)


def test_the_other_parts_run_after_one_that_fails(monkeypatch, tmp_path, capsys):
    record, called = gpu_record(), []

    def run_part(command, limit):
        called.append((command[-2:], limit))
        return record["parts"].get(command[-2], {"rows": [], "wall_seconds": 400.0, "error": "gone"})

    monkeypatch.setattr(quick, "run_part", run_part)
    with pytest.raises(SystemExit, match=r"5 errors, see the end of .*nvidia-t\.md"):
        quick.main("cuda", tmp_path)
    assert [name for (name, _), _ in called] == list(quick.PARTS)
    assert sum(limit for _, limit in called[:1]) == quick.PARTS["machine"].limit
    assert "epochs: gone" in (tmp_path / "bench" / "nvidia-t.md").read_text()


def test_one_way_that_fails_leaves_the_seconds_of_the_other():
    def fails():
        raise RuntimeError("out of\nmemory")

    found = quick.timed({"torchvision": fails, "ours": lambda: None}, CPU, rounds=1)
    assert found["error"] == "torchvision: RuntimeError: out of memory"
    assert found["ours_seconds"] > 0
    assert "torchvision_seconds" not in found


def test_a_layer_gives_a_row_for_each_precision_also_where_torchvision_fails(monkeypatch):
    monkeypatch.setattr(quick, "layers", lambda shape: [TINY])
    found = list(quick.measure_layer(1, TINY_SIZE, CPU))
    assert [(row["precision"], row["backend"]) for row in found] == [("float32", "numba"), ("bf16", "numba")]
    assert all(row["ours_seconds"] > 0 and row["torchvision_seconds"] > 0 for row in found)
    monkeypatch.setattr(convolution, "straightforward", None)
    found = list(quick.measure_layer(1, TINY_SIZE, CPU))
    assert all("torchvision: TypeError" in row["error"] and row["ours_seconds"] > 0 for row in found)


@pytest.mark.parametrize(
    ("cases", "status", "must_run", "row"),
    [
        ("<testcase name='a'/><testcase name='b'/>", 0, True, {"passed": 2, "failed": 0, "skipped": 0}),
        (
            "<testcase name='a'><failure/></testcase><testcase name='b'/>",
            1,
            True,
            {"passed": 1, "failed": 1, "skipped": 0, "error": "failed: a"},
        ),
        (
            "<testcase name='a'><skipped/></testcase>",
            0,
            True,
            {"passed": 0, "failed": 0, "skipped": 1, "error": "not all GPU tests ran"},
        ),
        ("<testcase name='a'><skipped/></testcase>", 0, False, {"passed": 0, "failed": 0, "skipped": 1}),
        ("", 5, False, {"passed": 0, "failed": 0, "skipped": 0}),
        ("", 5, True, {"passed": 0, "failed": 0, "skipped": 0, "error": "not all GPU tests ran"}),
        ("", 2, False, {"passed": 0, "failed": 0, "skipped": 0, "error": "pytest: exit status 2"}),
    ],
)
def test_gpu_tests_are_counted_and_none_may_be_left_out_on_a_gpu(cases, status, must_run, row):
    results = ElementTree.ElementTree(
        ElementTree.fromstring(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    )
    assert quick.count_tests(results, status, must_run) == row


def test_a_small_gpu_takes_fewer_clips_a_step(monkeypatch):
    for gigabytes, batch in ((16, 16), (24, 64)):
        about = type("About", (), {"total_memory": gigabytes * 1e9})
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device, about=about: about)
        assert quick.size_for(torch.device("cuda")).batch == batch
    assert quick.size_for(CPU) == quick.REHEARSAL
