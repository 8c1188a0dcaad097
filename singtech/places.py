"""Where `conf/` and `experiments/` are: inside the installed package, or beside it in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
HOME = _PACKAGE if (_PACKAGE / "experiments").is_dir() else _PACKAGE.parent
CONF = HOME / "conf"
EXPERIMENTS = HOME / "experiments"
_own: list[Path] = []  # a person's own configuration folders


def use_own_folder(folder: Path) -> None:
    """Take configuration files from a person's own folder too, before ours of the same name."""
    folder = Path(folder).resolve()
    if folder not in _own:
        _own.insert(0, folder)


def config_file(group: str, choice: str) -> Path:
    """The file of a group's choice: in a person's own folder, or else in `conf/`, where it may not exist."""
    places = [folder / group / f"{choice}.yaml" for folder in (*_own, CONF)]
    return next((path for path in places if path.is_file()), places[-1])


def config_files(group: str) -> list[Path]:
    """All files of a group by name, ours and a person's own; `experiments` too."""
    ours = EXPERIMENTS if group == "experiments" else CONF / group
    folders = [ours, *(folder / group for folder in reversed(_own))]
    files = {path.stem: path for folder in folders for path in folder.glob("*.yaml")}
    return [files[name] for name in sorted(files)]


def register_home() -> None:
    """Let a configuration say where `experiments/` is, as `${singtech.home:}`."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("singtech.home", lambda: str(HOME), replace=True)
