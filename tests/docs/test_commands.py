"""The commands of the documentation run, page after page, on the demo with `schedule=smoke`; their scores mean nothing.

`SKIPPED` says what does not run here. `tests/test_readme.py` composes those commands, and other tests run them: on own
recordings (`tests/test_readme.py`), with own classes (`tests/test_recipes.py`), on a cluster (`make test-slurm`), with
optional packages (`make test-extras`). The sweeps of `gains.md` and `beyond.md` would take hours.
"""

import re

import pandas as pd
import pytest
import soundfile

from tests.conftest import tone
from tests.pages import made_by_make, programs, shell_blocks

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

SKIPPED = {
    "page": ("CONTRIBUTING", "gains", "beyond", "own-", "slurm", "loggers", "checked", "speed", "decisions"),
    "word": ("push=", "onnx=true"),
    "make": ("test", "check", "docs", "paper", "verdicts", "bench"),
}
ON_A_CORPUS = ("run", "plan", "prepare", "verify", "examples", "offsets", "score")


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A reader's folder, with songs."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("song.wav", "takes/one.wav", "more/two.flac"):
        (folder / name).parent.mkdir(exist_ok=True)
        soundfile.write(folder / name, [*tone("vibrato", 1)] * 6, 8000)
    return folder


def to_verbs(command):
    """The verbs of singtech that a command line starts, each with its arguments."""
    for words in programs(command):
        started = made_by_make(words) if words[0] == "make" and words[1] not in SKIPPED["make"] else [words]
        for each in started:
            if each[:2] == ["python", "-m"] and each[2].startswith("singtech"):
                each = ["singtech", *(["run"] if each[2] == "singtech.run" else []), *each[3:]]
            if each[0] == "singtech" and not each[1].startswith("-"):
                yield each[1], each[2:]


def on_the_demo(verb, arguments):
    """The arguments, for the demo and two batches a phase, with at most two values of a setting."""
    if verb not in ON_A_CORPUS:
        return arguments
    kept = [each for each in arguments if not re.match(r"(data|data\.root|schedule)=", each)]
    kept = [each if "[" in each else ",".join(each.split(",")[:2]) for each in kept]
    return [*kept, "data=demo", "schedule=smoke", "trainer.accelerator=cpu"]


@pytest.fixture
def run(reader, call, monkeypatch):
    """Run a verb in the reader's folder."""
    monkeypatch.chdir(reader)

    def called(verb, arguments):
        done = call(verb, *arguments)
        assert done.status == 0, f"{verb} {arguments}\n{done.out[-2000:]}\n{done.err[-2000:]}"

    return called


BLOCKS = [block for block in shell_blocks() if not block.page.name.startswith(SKIPPED["page"])]
COMMANDS = {
    command.partition(" #")[0].strip(): block.page.stem
    for block in BLOCKS
    for command in block.commands
    if not any(word in f"{command} " for word in SKIPPED["word"]) and list(to_verbs(command))
}


@pytest.mark.parametrize("command", COMMANDS, ids=[f"{page}: {command}" for command, page in COMMANDS.items()])
def test_a_command_runs(reader, run, command):
    for verb, arguments in to_verbs(command):
        arguments = on_the_demo(verb, name_runs(reader, arguments))
        if verb == "score":
            run("protocol", ["to=demo.csv", "data=demo"])
            clips = pd.read_csv(reader / "demo.csv").query("subset == 'test'")
            clips[["recording", "start", "technique"]].to_csv(reader / "system.csv", index=False)
            arguments = [*arguments, "replace=true"]
        run(verb, arguments)


def name_runs(reader, arguments):
    """The arguments, with names of runs for RUN."""
    names = iter(sorted(path.name for path in (reader / "outputs" / "runs").glob("*")))
    return [re.sub(r"(?<=[=,])RUN\b", lambda _: next(names), each) for each in arguments]


def test_what_the_tutorial_promises_is_there(reader):
    outputs = reader / "outputs"
    assert "synthetic" in (outputs / "tables/demo/README.md").read_text(encoding="utf-8")
    assert (outputs / "tables/demo/report.html").stat().st_size > 100_000
    rows = pd.read_csv(outputs / "results.csv")
    assert {"command", "protocol", "commit"} <= set(rows)
    assert (reader / "results.zip").is_file()
    assert list(reader.glob("theirs/runs/*"))
