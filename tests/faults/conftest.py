"""Sweeps that are killed and asked for again, beside one that nothing disturbed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

# The command names output_dir.
CIRCUMSTANCES = ["seconds", "seconds_shared", "commit", "device", "status", "finished", "command"]
ROOT = Path(__file__).parents[2]
ALONE = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def fork():
    """Run commands in a child each, killed at a file operation or not, in turn or together; how each ended."""

    def forked(commands, deaths, *together):
        zygote = [sys.executable, str(Path(__file__).with_name("zygote.py")), json.dumps(commands), json.dumps(deaths)]
        zygote += together
        done = subprocess.run(zygote, capture_output=True, text=True, check=False, env=ALONE)
        lines = re.findall(r'\{"status": [^}]*\}', done.stdout)  # children at once may share a line
        assert len(lines) == len(commands), done.stdout + done.stderr
        return [json.loads(line) for line in lines], done.stdout + done.stderr

    return forked


def outcome(output_dir):
    """All that an undisturbed sweep and a disturbed one must have in common: bytes and rows."""
    files = {
        str(path.relative_to(output_dir)): path.read_bytes()
        for name in ("predictions.csv", "confusion.csv", "layers.csv", "config.yaml")
        for path in sorted((output_dir / "runs").glob(f"*/{name}"))
    }
    rows = pd.read_csv(output_dir / "results.csv", dtype=str, keep_default_na=False)
    assert set(rows["status"]) == {"complete"}
    return files, rows.drop(columns=CIRCUMSTANCES).to_dict("records")


def leftovers(output_dir):
    """What a finished sweep leaves nowhere but in the record of a killed one: half-written files, locks, phases."""
    return [
        str(path.relative_to(output_dir))
        for pattern in (".*.tmp", ".*.lock", ".*.work", ".*.damaged-*", "*.part")
        for path in sorted(output_dir.rglob(pattern))
        if path.relative_to(output_dir).parts[0] != "hydra"
    ]
