"""Where `conf/` and `experiments/` are: inside the installed package, or beside it in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
HOME = _PACKAGE if (_PACKAGE / "experiments").is_dir() else _PACKAGE.parent
CONF = HOME / "conf"
EXPERIMENTS = HOME / "experiments"


def register_home() -> None:
    """Let a configuration say where `experiments/` is, as `${singtech.home:}`."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("singtech.home", lambda: str(HOME), replace=True)
