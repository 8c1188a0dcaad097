"""--help teaches, fast and without torch, and a shell completes verbs, groups, choices, settings and options."""

import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from singtech import __version__
from singtech.__main__ import VERBS
from singtech.__main__ import main as singtech
from singtech.cli.usage import WITH_OPTIONS
from singtech.config_paths import CONF, EXPERIMENTS

ROOT = Path(__file__).parents[2]
DOCS = {
    "run": "Train and score one run, or a sweep of them.",
    "prepare": "Download a corpus, cut it into clips, and print its content.",
    "verify": "Compare VocalSet with its expected content.",
    "plan": "Count what a sweep would train, and estimate its time and disk space.",
    "tables": "Collate all runs and render the paper's tables and figures from them, without",
    "report": "Write a report of a corpus: one HTML page, to open in a browser.",
    "offsets": "Draw the sampling points of a trained network's deformable kernels.",
    "predict": "Name the techniques in recordings.",
    "export": "Write the network of a run as a folder that can be used alone.",
    "probe": "Decode singer, gender, context and technique from a trained run's features.",
    "examples": "Draw one clip of each technique as the network receives it.",
    "protocol": "Write the clips of the paper's protocol, or of a corpus, as a CSV.",
    "score": "Score the predictions of any system for the test clips of a protocol.",
    "pack": "Pack all complete runs into one file, without weights or sound.",
    "merge": "Add the runs of a packed file to a results folder.",
    "store": "List what `outputs/` holds, check it, or remove what no row uses.",
}


def test_the_verbs_are_listed_with_a_line_each(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["singtech", "--help"])
    assert singtech() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2 : 2 + len(VERBS)]] == list(VERBS)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("word", ["--version", "version", "-V"])
def test_the_version_is_told(monkeypatch, capsys, word):
    monkeypatch.setattr(sys, "argv", ["singtech", word])
    assert singtech() == 0
    assert capsys.readouterr().out == f"singtech {__version__}\n"
    assert __version__ in (Path(__file__).parents[2] / "pyproject.toml").read_text()


def test_an_unknown_verb_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["singtech", "trian"])
    assert singtech() == 2
    assert capsys.readouterr().err.startswith("error: trian: no such verb; there are run, prepare,")


@pytest.mark.parametrize("verb", VERBS)
def test_help_says_what_a_verb_does_within_80_columns(call, verb):
    done = call(verb, "--help")
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith(f"usage: singtech {verb} [")
    assert lines[2] == DOCS[verb]
    assert len(lines) <= 90
    assert max(map(len, lines)) <= 80
    assert "win_lengths" not in done.out  # no dump of the configuration
    if verb in WITH_OPTIONS:
        for option in fields(import_module(f"singtech.cli.{verb}").Options):
            assert re.search(rf"^  {option.name}=\S+ +\S", done.out, flags=re.MULTILINE)
    else:
        assert ("looks." in done.out) == (verb == "offsets")


def test_help_has_a_verbs_own_settings(call):
    settings = call("run", "--cfg", "job", "--package", "looks").out
    text = call("offsets", "--help").out
    for name in re.findall(r"^(\w+):", settings, flags=re.MULTILINE):
        assert f"looks.{name}=" in text


def test_help_whose_reader_has_gone_ends_without_a_word():
    piped = f"set -o pipefail; '{sys.executable}' -m singtech run --help | true"
    done = subprocess.run(["bash", "-c", piped], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_run_whose_reader_has_gone_is_interrupted_and_has_not_failed():
    code = "import sys, time; from singtech.cli.problems import run_verb; from singtech.run import say\n"
    code += "def job():\n  try:\n    while True: say('a line'), time.sleep(0.01)\n  except Exception: return 3\n"
    piped = f"set -o pipefail; '{sys.executable}' -c \"{code}sys.exit(run_verb(job))\" | head -1"
    done = subprocess.run(["bash", "-c", piped], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (141, "a line\n", "")


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_command_whose_streams_are_closed_ends_well(closed):
    command = f"'{sys.executable}' -m singtech store columns=true {closed}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_names_every_choice_of_every_group_and_stars_the_defaults(call):
    out = call("run", "--help", "data=demo").out
    words = set(re.findall(r"[\w*]+", out))
    files = [*CONF.glob("*/*.yaml"), *EXPERIMENTS.glob("*.yaml")]
    assert len(files) > 60
    assert {path.stem for path in files} <= {word.rstrip("*") for word in words}
    starred = {word for word in words if word.endswith("*")} - {"*"}
    papers = {"vocalset*", "late*", "crt_wc*", "oblong*", "auto*", "none*", "paper*", "cross_entropy*", "natural*"}
    assert starred == papers | {"adam*", "linear*"}
    for group in (path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"):
        (line,) = [line for line in out.splitlines() if line.startswith(f"  {group} ")]
        assert all(len(word) > 1 for word in line.split())


def test_hydras_own_flags_are_left_alone(call):
    assert "https://hydra.cc" in call("run", "--hydra-help").out
    assert call("run", "--cfg", "hydra").status == 0
    done = call("run", "--info")
    assert (done.status, done.err) == (0, "")
    assert "win_lengths" in done.out


def test_help_imports_no_torch():
    code = "import sys; sys.argv[1:] = ['--help']; import singtech.run as run; run.main(); "
    code += "assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_the_one_command_is_a_console_script():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"singtech": "singtech.__main__:main"}


TYPED = [
    ("singtech pre", {"prepare", "predict"}),
    ("singtech run strategy=crt_w", {"strategy=crt_wc", "strategy=crt_wfc"}),
    ("singtech run model=cnn1d model.", {"model.features=", "model.dropout="}),
    ("singtech store co", {"compare="}),
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """A folder with the console script, as an installation makes it."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "singtech"
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom singtech.__main__ import main\nsys.exit(main())\n")
    script.chmod(0o755)
    return folder


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(("typed", "offers"), TYPED)
def test_bash_completes(scripts, typed, offers):
    words = typed.split(" ")
    script = f"""
        PATH={scripts}:$PATH PYTHONPATH={ROOT}
        export PATH PYTHONPATH
        eval "$(singtech -sc install=bash)"
        complete -p singtech > /dev/null || exit 1
        COMP_LINE='{typed}' COMP_POINT={len(typed)} COMP_CWORD={len(words) - 1}
        hydra_bash_completion
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert offers <= set(done.stdout.split())
    assert all(word.startswith(words[-1]) for word in done.stdout.split())


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_installs_for_singtech_also_when_python_runs_it(shell):
    words = [sys.executable, "-m", "singtech", "-sc", f"install={shell}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"(hydra_bash_completion|-c|source) singtech\b|singtech -sc", done.stdout)
