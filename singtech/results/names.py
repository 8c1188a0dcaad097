"""What the names of singers and recordings tell, where they follow VocalSet's: female1, f1_scales_belt_a."""

import re

VOWELS = ("a", "e", "i", "o", "u")


def read_gender(singer: str) -> str:
    """Return female of female1 and male of male10; "" for other names."""
    found = re.fullmatch(r"(female|male)\d+", singer)
    return found[1] if found else ""


def read_vowel(recording: str) -> str:
    """Return the vowel of a recording whose name ends in it, such as …_a or …_a(1); "" for other names."""
    found = re.search(r"_([aeiou])(\(\d+\))?(\.\w+)?$", recording)
    return found[1] if found else ""
