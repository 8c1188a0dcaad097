"""Independent streams of random numbers, each named after what it is for.

Nothing random rests on what a shared generator was left at: the order of an epoch's clips, its dropout and each layer's
initial weights come from the run's seed and a name. So an interrupted phase goes on as if nothing had happened, and
conditions are paired over seeds.
"""

import hashlib


def stream_seed(seed: int, name: str) -> int:
    """A 63 bit seed for the stream called `name` of a run's seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1
