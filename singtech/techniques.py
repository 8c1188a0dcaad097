"""The ten singing techniques of the paper (Section 4.1), in one fixed order, and how they are written.

Every array with a technique axis (logits, loss weights, confusion matrices, CSV columns) follows this order.
"""

TECHNIQUES = (
    "belt",
    "breathy",
    "inhaled",
    "lip_trill",
    "spoken",
    "straight",
    "trill",
    "trillo",
    "vibrato",
    "vocal_fry",
)

# VocalSet's folder female2/arpeggios/vibrado is a misspelling; its six recordings are vibrato.
MISSPELT = {"vibrado": "vibrato"}

_PRINTED = {"inhaled": "inhaled singing", "spoken": "spoken excerpt", "straight": "straight tone"}


def printed(technique: str) -> str:
    """The technique's name as the paper prints it: `lip_trill` is "lip trill", `spoken` is "spoken excerpt"."""
    return _PRINTED.get(technique, technique.replace("_", " "))
