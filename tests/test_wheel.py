"""The wheel holds the package with its configuration, file by file as in the checkout, and nothing else."""

import subprocess
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("singtech", "hydra_plugins", "conf", "experiments")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """What is in it, built without a network: a name and bytes for each file."""
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder
    (built,) = builder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("dist")), versions=["standard"])
    with ZipFile(built) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def checkout():
    """The files of the package, and of what it needs beside it, that git knows or would."""
    asked = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run([*asked, *FOLDERS], cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git and a checkout")
    names = [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    return {name: (ROOT / name).read_bytes() for name in names}


def test_the_wheel_is_the_checkout_file_by_file(wheel):
    moved = ("conf/", "experiments/")
    inside = {f"singtech/{name}" if name.startswith(moved) else name: data for name, data in checkout().items()}
    assert {"singtech/conf/config.yaml", "singtech/experiments/paper.csv", "singtech/corpus/vocalset.csv"} <= set(
        inside
    )
    packed = {name: data for name, data in wheel.items() if ".dist-info/" not in name}
    assert sorted(packed) == sorted(inside)
    assert [name for name in packed if packed[name] != inside[name]] == []


def test_beside_it_the_wheel_has_metadata_alone(wheel):
    beside = {name.partition("/")[2] for name in wheel if ".dist-info/" in name}
    assert beside == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
