"""The commands that make what a table or figure lacks."""

from collections.abc import Sequence

from singtech.places import CONF
from singtech.results.experiments import COMPARABLE, Condition, Experiment


def command(condition: Condition, data: str, seeds: Sequence[int], folds: Sequence[str] = ()) -> str:
    """The command that runs a condition with these seeds, on these folds."""
    model = "" if condition.model == "oblong" else f"model={condition.model} "
    spelled = f"{model}dc={condition.dc} strategy={condition.strategy} alpha={condition.alpha}"
    fold = f" data.fold={','.join(folds)}" if any(folds) else ""
    multirun = " -m" if len(seeds) * max(len(folds), 1) > 1 else ""
    asked = f"{condition.overrides or spelled}{fold} seed={','.join(map(str, seeds))}"
    return f"python -m singtech.run{multirun} {asked}{choice_of(data)}"


def sweep(experiment: Experiment, data: str, seeds: Sequence[int]) -> str:
    """The command that runs all that an experiment asks for."""
    return f"python -m singtech.run -m experiments={experiment.name} seed={','.join(map(str, seeds))}{choice_of(data)}"


def prepare(data: str) -> str:
    """The command that says what clips a corpus has."""
    return f"python -m singtech.prepare{choice_of(data)}"


def choice_of(data: str) -> str:
    """How a command names the corpus: the default not at all, a folder of one's own by its name."""
    if data == COMPARABLE:
        return ""
    is_choice = (CONF / "data" / f"{data}.yaml").is_file()
    return (
        f" data={data}" if is_choice else f' data=folder data.name={data} data.root=FOLDER "data.split.test=[SINGERS]"'
    )
