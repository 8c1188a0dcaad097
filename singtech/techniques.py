"""The ten singing techniques of the paper (Section 4.1), in one fixed order.

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

# VocalSet misspells the folder female2/arpeggios/vibrado; its six recordings are vibrato.
CORRECT_SPELLINGS = {"vibrado": "vibrato"}
