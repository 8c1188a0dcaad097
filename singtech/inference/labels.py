"""Timelines for other programs: Praat's TextGrid, and label files of Audacity and Sonic Visualiser."""

from collections.abc import Sequence

from singtech.inference.predictor import Segment


def format_text_grid(segments: Sequence[Segment]) -> str:
    """Write a timeline as a Praat TextGrid with one tier, "technique", an interval a segment.

    Args:
        segments: in order, without gaps.
    """
    end = f"{segments[-1].end:.6f}"
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end}"]
    lines += ["tiers? <exists>", "size = 1", "item []:", "    item [1]:", '        class = "IntervalTier"']
    lines += ['        name = "technique"', "        xmin = 0", f"        xmax = {end}"]
    lines.append(f"        intervals: size = {len(segments)}")
    for number, segment in enumerate(segments, 1):
        text = segment.technique.replace('"', '""')
        lines += [f"        intervals [{number}]:", f"            xmin = {segment.start:.6f}"]
        lines += [f"            xmax = {segment.end:.6f}", f'            text = "{text}"']
    return "\n".join(lines) + "\n"


def format_labels(segments: Sequence[Segment]) -> str:
    """Write a timeline as lines of start, end and technique with tabs between, which Audacity imports as labels.

    Sonic Visualiser imports them as a region layer: time, duration given as the end time, and label.
    """
    return "".join(f"{s.start:.6f}\t{s.end:.6f}\t{' '.join(s.technique.split())}\n" for s in segments)
