"""Optional packages: a setting whose package is not installed is refused before any work."""

from importlib.util import find_spec

from singtech.errors import MissingExtra


def check_installed(setting: str, extra: str, *modules: str) -> None:
    """Refuse a setting whose packages are not installed.

    Args:
        setting: as the user typed it.
        extra: the extra of singtech that installs them.
        modules: their names for import. A folder of such a name, as `wandb/` beside the results, is no package.
    Raises:
        MissingExtra: some are not installed; it says how to install them.
    """
    specs = {name: find_spec(name) for name in modules}
    missing = [name for name, spec in specs.items() if spec is None or spec.origin is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise MissingExtra(
            f'{setting}: {", ".join(missing)} {verb} not installed; do so with pip install "singtech[{extra}]".'
        )
