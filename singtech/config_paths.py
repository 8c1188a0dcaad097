"""Find `conf/` and `experiments/`: in the installed package, or beside it in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
HOME = _PACKAGE if (_PACKAGE / "experiments").is_dir() else _PACKAGE.parent
CONF = HOME / "conf"
EXPERIMENTS = HOME / "experiments"
_user_folders: list[Path] = []  # the user's own configuration folders


def add_user_folder(folder: Path) -> None:
    """Also read configuration files from the user's folder. They replace singtech's files of the same name."""
    folder = Path(folder).resolve()
    if folder not in _user_folders:
        _user_folders.insert(0, folder)


def find_config_file(group: str, choice: str) -> Path:
    """Return the file of a group's choice in the user's folders, or else in `conf/`, where it may not exist."""
    paths = [folder / group / f"{choice}.yaml" for folder in (*_user_folders, CONF)]
    return next((path for path in paths if path.is_file()), paths[-1])


def list_config_files(group: str) -> list[Path]:
    """List the files of a group, or of `experiments`, by name: singtech's and the user's own."""
    default_folder = EXPERIMENTS if group == "experiments" else CONF / group
    folders = [default_folder, *(folder / group for folder in reversed(_user_folders))]
    files = {path.stem: path for folder in folders for path in folder.glob("*.yaml")}
    return [files[name] for name in sorted(files)]


def register_home() -> None:
    """Define `${singtech.home:}` in configurations: the folder that holds `experiments/`."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("singtech.home", lambda: str(HOME), replace=True)
