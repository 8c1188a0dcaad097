"""Optional packages: a setting fails before any work if its package is not installed."""

from importlib.util import find_spec

from singtech.errors import MissingExtra


def check_installed(setting: str, extra: str, *modules: str) -> None:
    """Check that the packages of a setting are installed.

    Args:
        setting: as the user typed it.
        extra: the extra of singtech that installs the packages.
        modules: the names to import. A folder such as `wandb/` beside the results is not a package.
    Raises:
        MissingExtra: a package is not installed; the message says how to install it.
    """
    specs = {name: find_spec(name) for name in modules}
    missing = [name for name, spec in specs.items() if spec is None or spec.origin is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise MissingExtra(
            f'{setting}: {", ".join(missing)} {verb} not installed; do so with pip install "singtech[{extra}]".'
        )
