"""Optional packages: what a setting needs that is not installed is said before anything is made."""

from importlib.util import find_spec


def check_installed(setting: str, extra: str, *modules: str) -> None:
    """Refuse a setting whose packages are not here.

    Args:
        setting: as it was typed.
        extra: of this package, which installs them.
        modules: their names for import. A folder of such a name, as `wandb/` beside the results, is no package.
    Raises:
        ValueError: some are not installed; it says how to install them.
    """
    specs = {name: find_spec(name) for name in modules}
    missing = [name for name, spec in specs.items() if spec is None or spec.origin is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise ValueError(
            f'{setting}: {", ".join(missing)} {verb} not installed; do so with pip install "singtech[{extra}]".'
        )
