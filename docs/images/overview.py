"""Compose the picture of the README from what singtech draws of its demo.

make demo
singtech examples data=demo schedule=demo
singtech offsets data=demo schedule=demo condition=late_crt_wc
python docs/images/overview.py outputs
"""

import sys
from pathlib import Path

from PIL import Image

WIDTH, GAP = 1200, 16
COLOURS = 256


def compose(drawn: Path) -> Image.Image:
    """Put a clip beside Figure 3, and the kernels below them; `drawn` is `<output_dir>/tables/demo`."""
    (kernels,) = sorted(drawn.glob("looks/*late-crt_wc-alpha_0.2-seed_0*/vibrato.png"))
    paths = (drawn / "clips/vibrato.png", drawn / "figure3.png", kernels)
    clip, figure, looks = (Image.open(path).convert("RGB") for path in paths)
    height = round((WIDTH - GAP) / (clip.width / clip.height + figure.width / figure.height))
    top = [scale(image, height / image.height) for image in (clip, figure)]
    below = scale(looks, WIDTH / looks.width)
    picture = Image.new("RGB", (WIDTH, height + GAP + below.height), "white")
    picture.paste(top[0], (0, 0))
    picture.paste(top[1], (WIDTH - top[1].width, 0))
    picture.paste(below, (0, height + GAP))
    palette = picture.quantize(COLOURS, method=Image.Quantize.FASTOCTREE)  # keeps rare colours, as a curve's
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def scale(image: Image.Image, factor: float) -> Image.Image:
    """Scale both sides of an image."""
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    compose(Path(sys.argv[1]) / "tables" / "demo").save(Path(__file__).with_suffix(".png"), optimize=True)
