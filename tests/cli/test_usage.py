"""--help teaches, fast and without torch, and a shell completes groups, choices and settings."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from singtech.places import CONF, EXPERIMENTS

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "run": "Train and score one run, or a sweep of them.",
    "prepare": "Make a corpus ready and say what is in it.",
    "verify": "Compare VocalSet with what is known of it.",
    "plan": "What a sweep would do, before it does it.",
    "offsets": "Draw where a trained network's kernels look.",
    "examples": "Draw a clip of each technique as the network takes it in.",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does_within_65_lines(call, command):
    done = call(command, "--help")
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == COMMANDS[command]
    assert f"python -m singtech.{command} [group=choice …]" in lines[2]
    assert len(lines) <= 65
    assert max(map(len, lines)) <= 110
    assert "win_lengths" not in done.out  # no dump of the configuration


def test_help_has_a_commands_own_settings(call):
    settings = call("run", "--cfg", "job", "--package", "looks").out
    told = call("offsets", "--help").out
    for name in re.findall(r"^(\w+):", settings, flags=re.MULTILINE):
        assert f"looks.{name}=" in told
    assert "looks." not in call("run", "--help").out


@pytest.mark.parametrize("command", ["run", "tables"])
def test_help_whose_reader_has_gone_ends_without_a_word(command):
    piped = f"set -o pipefail; '{sys.executable}' -m singtech.{command} --help | true"
    done = subprocess.run(["bash", "-c", piped], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")


def test_help_names_every_choice_of_every_group_and_stars_the_defaults(call):
    out = call("run", "--help", "data=demo").out
    words = set(re.findall(r"[\w*]+", out))
    files = [*CONF.glob("*/*.yaml"), *EXPERIMENTS.glob("*.yaml")]
    assert len(files) > 60
    assert {path.stem for path in files} <= {word.rstrip("*") for word in words}
    starred = {word for word in words if word.endswith("*")} - {"*"}
    ours = {"vocalset*", "late*", "crt_wc*", "oblong*", "auto*", "none*", "paper*", "cross_entropy*", "natural*"}
    assert starred == ours | {"adam*", "linear*"}


@pytest.mark.parametrize("group", [path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"])
def test_help_has_a_line_for_every_group(call, group):
    (line,) = [line for line in call("run", "--help").out.splitlines() if line.startswith(f"  {group} ")]
    assert all(len(word) > 1 for word in line.split())


@pytest.mark.parametrize("command", ["tables", "store"])
def test_commands_without_hydra_answer_too(call, command):
    done = call(command, "--help")
    assert (done.status, done.err) == (0, "")
    assert "output_dir=FOLDER" in done.out


def test_hydras_own_help_and_configuration_are_left_alone(call):
    assert "https://hydra.cc" in call("run", "--hydra-help").out
    assert "win_lengths" in call("run", "--cfg", "job").out
    assert call("run", "--cfg", "hydra").status == 0


def test_help_imports_no_torch():
    code = "import sys; sys.argv[1:] = ['--help']; import singtech.run as run; run.main(); "
    code += "assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_every_command_has_a_console_script():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    modules = {path.stem for path in (ROOT / "singtech").glob("*.py") if '__name__ == "__main__"' in path.read_text()}
    assert set(scripts) == {f"singtech-{name}" for name in modules}
    for name, target in scripts.items():
        module, function = target.split(":")
        assert module == f"singtech.{name.removeprefix('singtech-')}"
        assert callable(getattr(import_module(module), function))


TYPED = [
    ("singtech-run strat", {"strategy="}),
    ("singtech-run strategy=crt_w", {"strategy=crt_wc", "strategy=crt_wfc"}),
    ("singtech-run -m dc=late experiments=table", {"experiments=table1", "experiments=table2", "experiments=table3"}),
    ("singtech-run loss=", {"loss=cross_entropy", "loss=own"}),
    ("singtech-run abl", {"ablation="}),
    ("singtech-run model=cnn1d model.", {"model.features=", "model.dropout="}),
    ("singtech-run data=demo schedule.", {"schedule.features=", "schedule.classifier=", "schedule.max_batches="}),
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """A folder with the console script, as an installation makes it."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "singtech-run"
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom singtech.run import main\nsys.exit(main())\n")
    script.chmod(0o755)
    return folder


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(("typed", "offered"), TYPED)
def test_bash_completes(scripts, typed, offered):
    words = typed.split(" ")
    asked = f"""
        PATH={scripts}:$PATH PYTHONPATH={ROOT}
        export PATH PYTHONPATH
        eval "$(singtech-run -sc install=bash)"
        complete -p singtech-run > /dev/null || exit 1
        COMP_LINE='{typed}' COMP_POINT={len(typed)} COMP_CWORD={len(words) - 1}
        hydra_bash_completion
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert offered <= set(done.stdout.split())
    assert all(word.startswith(words[-1]) for word in done.stdout.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_installs_for_the_console_script_also_when_python_is_asked(shell):
    asked = [sys.executable, "-m", "singtech.run", "--shell-completion", f"install={shell}"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "singtech-run" in done.stdout
    assert "run.py" not in done.stdout
