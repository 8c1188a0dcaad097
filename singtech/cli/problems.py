"""Report errors: a user's mistake as one sentence, a bug with its traceback."""

import difflib
import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any

from singtech.components import ComponentError, find_user_line
from singtech.errors import SingtechError
from singtech.io.atomic import escape_text
from singtech.io.interrupts import OutputClosed, Terminated, catch_signals, prepare_streams, raise_if_output_closed

DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LIBRARIES = ("hydra", "omegaconf", "submitit")  # their errors concern settings or the cluster
TYPE_NAMES = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false", "bool": "true or false"}
COMMON_NAMES = {  # names of other programs -> what singtech has
    "lr learning_rate": "optimizer.lr",
    "epochs max_epochs num_epochs n_epochs": "schedule.features and schedule.classifier",
    "device accelerator gpu gpus cuda": "trainer.accelerator, which takes a GPU if there is one",
    "fp16 amp half": "precision",
    "workers num_workers n_workers": "not needed: batches come from one memory-mapped file",
    "resume checkpoint ckpt": "not needed: the same command continues where it stopped",
    "batch bs": "batch_size",
    "wd weight_decay": "optimizer.weight_decay, with optimizer=adamw",
    "split val_split test_split": "data.split.test and data.split.validation",
    "early_stopping patience": "selection=best",
    "model_name arch architecture network": "model",
    "dataset corpus": "data",
    "path data_path data_dir data_root dataset_path": "data.root",
    "sr": "data.sample_rate",
    "classes labels num_classes": "data.techniques",
    "out output outdir save_dir log_dir": "output_dir",
    "experiment": "experiments",
    "random_seed manual_seed": "seed",
}
SHOW_TRACEBACKS = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"  # read it before `hydra_command` sets it
BUG_NOTE = "This is a bug in singtech: report it with this traceback, the command and `pip freeze`."
RESUME_NOTE = "the same command continues where this one stopped."


def run_verb(job: Callable[[], int | None]) -> int:
    """Call `job`, print its error as one sentence, and return the exit status.

    Raises:
        Exception: the error is a bug, or HYDRA_FULL_ERROR=1 asks for tracebacks.
    """
    prepare_streams()
    try:
        with catch_signals(), raise_if_output_closed():
            return job() or 0
    except OutputClosed:
        return 128 + signal.SIGPIPE
    except Terminated:
        print(f"terminated: {RESUME_NOTE}", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        print(f"interrupted: {RESUME_NOTE}", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as problem:
        if needs_traceback(problem):
            raise
        print(f"error: {describe_error(problem)}", file=sys.stderr)
        return 1


def needs_traceback(problem: Exception) -> bool:
    """Whether to show the traceback of an error, to which a line is added on how to report a bug."""
    is_bug = not is_fixable(problem)
    if is_bug and BUG_NOTE not in getattr(problem, "__notes__", ()):
        problem.add_note(BUG_NOTE)
    return is_bug or SHOW_TRACEBACKS


def is_fixable(problem: BaseException) -> bool:
    """Whether the user can fix an error: by settings, files, disk space or a change of their own code."""
    return (
        isinstance(problem, SingtechError | OSError)  # an OSError comes from the disk, network or a program
        or is_out_of_memory(problem)
        or type(problem).__module__.partition(".")[0] in LIBRARIES
        or type(problem).__name__ == "MisconfigurationException"  # Lightning's; its import takes seconds
        or bool(find_user_line(problem))
    )


def is_disk_full(problem: BaseException) -> bool:
    """Whether the disk is full, so that other runs would fail too."""
    return isinstance(problem, OSError) and problem.errno in DISK_FULL_ERRNOS


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether the GPU or the machine has too little memory. torch's errors are recognised by their words."""
    is_torch = isinstance(problem, RuntimeError) and re.search("out of memory|can't allocate memory", str(problem))
    return isinstance(problem, MemoryError) or bool(is_torch)


def describe_error(problem: BaseException) -> str:
    """Describe an error to a user in one line, without what would steer a terminal."""
    return escape_text(_describe(problem))


def _describe(problem: BaseException) -> str:
    library = type(problem).__module__.partition(".")[0]
    text = " ".join(str(problem).split()) or type(problem).__name__
    if library in ("hydra", "omegaconf"):
        return _describe_settings_error(problem) or text.split(" full_key:")[0].split(" object_type=")[0]
    if library == "submitit":
        return f"hydra/launcher: {text}"
    if is_out_of_memory(problem):
        return (
            f"out of memory ({text[:200]}): use a free device, or try precision=bf16-mixed, or "
            "a smaller batch_size, which makes other runs."
        )
    if isinstance(problem, OSError) and is_disk_full(problem):
        path = f" for {problem.filename}" if problem.filename else ""
        return (
            f"no room on the disk{path} ({problem.strerror}): make room there and run the same command again; it "
            "continues where this one stopped."
        )
    if isinstance(problem, OSError) and problem.strerror and problem.filename:
        return f"{problem.filename}: {problem.strerror}."
    line = "" if isinstance(problem, ComponentError) else find_user_line(problem)
    return f"{line}: {type(problem).__name__}: {text}" if line else text


def _describe_settings_error(problem: BaseException) -> str:
    """Describe an error of Hydra or OmegaConf; "" if its own message is clear."""
    from hydra.errors import MissingConfigException, OverrideParseException
    from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

    if isinstance(problem, MissingConfigException) and "submitit" in str(problem.missing_cfg_file):
        return 'hydra/launcher=slurm: its extra is not installed here; do so with pip install "singtech[slurm]".'
    choice_match = re.match("((?:hydra/)?[^/]+)/(.*)", str(getattr(problem, "missing_cfg_file", "")))
    if choice_match and isinstance(problem, MissingConfigException) and problem.options:
        group, choice = choice_match.groups()
        own = f"; {group}=own takes any class, by {group}._target_" * ("own" in problem.options)
        similar = suggest_name(choice.lower(), problem.options)
        return f"{group}={choice}: no such choice; there are {', '.join(sorted(problem.options))}{similar}{own}."
    if isinstance(problem, OverrideParseException):
        return (
            f"{problem.override}: not understood as name=value; does a space, a bracket or a comma in it want quotes, "
            'as in "data.split.test=[ann, ben]"?'
        )
    text = str(problem)
    if name_match := re.match(r"Could not override '([^']*)'", text):
        return _describe_unknown_setting(name_match[1])
    if sweep_match := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '([^']*)'", text):
        return f"{sweep_match[1]}: several values; add -m before the settings to run each of them."
    if "does not support sweep type" in text:
        return "interval(): expected values one by one, as in alpha=0,0.5,1, or a range()."
    if twice := re.match(r"Multiple values for ([^.]+)\.", text):
        return f"+{twice[1]}: {twice[1]} has a choice already; omit the + to replace it."
    if isinstance(problem, OmegaConfBaseException) and (key_match := re.match(r"(?s)(.*?)\s+full_key: (\S+)", text)):
        reason, name = key_match.groups()
        if isinstance(problem, ConfigKeyError):
            return _describe_unknown_setting(name)
        if isinstance(problem, MissingMandatoryValue):
            return f"{name} is not set: give it a value."
        is_not = "(?:of type '.*' could not be converted to|is not a valid)"
        value_match = re.search(rf"Value '(.*)' {is_not} (\w+)", reason, re.DOTALL)
        if value_match and value_match[2] in TYPE_NAMES:
            return f"{name}={value_match[1]}: expected {TYPE_NAMES[value_match[2]]}."
        if reason.endswith("is not Optional"):
            return f"{name}=null: expected a value."
        if reason.startswith("Cannot assign"):
            return f"{name}: it holds settings and takes no value{suggest_setting(name)}."
        if "is not a ListConfig" in reason:
            return f"{name}: expected a list in brackets, such as [3,4] or [belt,trill]."
        return f"{name}: {' '.join(reason.split()).rstrip('.')}."
    return describe_error(problem.__cause__) if isinstance(problem.__cause__, OmegaConfBaseException) else ""


def _describe_unknown_setting(name: str) -> str:
    """Say that a setting does not exist, and what is meant if that is known."""
    from singtech.settings import COMPONENTS

    group = name.partition(".")[0]
    argument = f"; +{name} passes it to the class" * (group in COMPONENTS and group != name)
    return f"{name}: no such setting{suggest_setting(name)}{argument}; --cfg job shows those there are."


def suggest_setting(name: str) -> str:
    """Say what is meant by the name of a setting that does not exist; "" if that is not known."""
    from omegaconf import OmegaConf

    from singtech.config_paths import CONF
    from singtech.settings import COMPONENTS, Settings, flatten

    group, _, leaf = name.rpartition(".")
    for names, ours in COMMON_NAMES.items():
        if leaf in names.split() and ours != name:
            return f"; here {leaf} is {ours}"
    schema: Any = OmegaConf.to_container(OmegaConf.structured(Settings))
    known: list[str] = [*schema, *flatten(schema)]
    for component in COMPONENTS:
        for path in sorted(CONF.glob(f"{component}/*.yaml")):
            settings = flatten(OmegaConf.to_container(OmegaConf.load(path)))
            known += [f"{component}.{each.removeprefix(f'{component}.')}" for each in settings]
    known = [each for each in known if each != name]  # it may belong to another choice of its group
    if inside := [each.removeprefix(f"{group}.") for each in known if group and each.startswith(f"{group}.")]:
        return suggest_name(leaf, inside).replace("is ", f"is {group}.")
    same = [each for each in known if each.rpartition(".")[2] == name]
    return f" (is {same[0]} meant?)" if same else suggest_name(name, known)


def suggest_name(name: str, names: Iterable[str]) -> str:
    """Ask if the user means the most similar of the names; "" if none is similar."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (is {close[0]} meant?)" if close else ""
