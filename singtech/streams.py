"""Independent streams of random numbers, each with a name.

The order of an epoch's clips, its dropout and each layer's initial weights come from the run's seed and a name, and not
from the state of a shared generator. So an interrupted phase continues with the same numbers, and conditions with the
same seed are paired.
"""

import hashlib


def derive_seed(seed: int, name: str) -> int:
    """Return the 63-bit seed of the stream `name`, for the seed of a run."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1
