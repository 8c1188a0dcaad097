"""Lay the features of test clips out on a plane: clips that a network takes for alike lie side by side.

The principal components are scikit-learn's, of features standardised over these clips. Where umap-learn is installed,
its layout is beside them, with its defaults and the seed 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from singtech.results.clips import ClipProbabilities

NEIGHBOURS = 15  # UMAP's default


@dataclass(frozen=True, eq=False)
class ClipFeatures:
    """Features of test clips, from a run of each condition that shares them.

    Attributes:
        conditions: their labels.
        run: the name of the first run.
        clips: (M,) their numbers among the N of `ClipProbabilities`.
        features: (M, D).
    """

    conditions: tuple[str, ...]
    run: str
    clips: np.ndarray
    features: np.ndarray


def lay_out(features: np.ndarray) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Lay (M, D) features out, M > 1: by the method's name (M, 2) points from -1 to 1, and the titles of both axes."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    standard = StandardScaler().fit_transform(features.astype(float))
    if standard.shape[1] == 1:
        standard = np.pad(standard, [(0, 0), (0, 1)])
    pca = PCA(2, svd_solver="full")
    with np.errstate(invalid="ignore"):  # equal clips have no variance
        points = pca.fit_transform(standard)
    shares = np.nan_to_num(pca.explained_variance_ratio_)
    axes = [f"component {k}: {100 * share:.0f} % of the variance" for k, share in enumerate(shares, 1)]
    layouts = {"PCA": (_scale(points), axes)}
    if len(features) > NEIGHBOURS and find_spec("umap"):
        import umap

        points = umap.UMAP(random_state=0, n_jobs=1).fit_transform(standard)
        layouts["UMAP"] = (_scale(points), ["UMAP 1", "UMAP 2"])
    return layouts


def describe_maps(clips: ClipProbabilities, features: Sequence[ClipFeatures]) -> list[dict]:
    """Each map for the page: the indices of its conditions, its run, and the layouts.

    One clip has no map, nor have features that are not finite.

    Points, in thousandths, have the order of the clips in the page's recordings; None for a clip without features.
    """
    order = np.concatenate([rows.index for _, rows in clips.clips.groupby("recording", sort=True)])
    maps: list[dict] = []
    for each in features:
        if len(each.features) < 2 or not np.isfinite(each.features).all():
            continue
        layouts = []
        for name, (points, axes) in lay_out(each.features).items():
            by_clip: dict[int, list[int]] = dict(
                zip(each.clips.tolist(), np.rint(1000 * points).astype(int).tolist(), strict=True)
            )
            layouts.append({"name": name, "axes": axes, "points": [by_clip.get(int(n)) for n in order]})
        indices = [clips.labels.index(label) for label in each.conditions]
        maps.append({"conditions": indices, "run": each.run, "layouts": layouts})
    return maps


def _scale(points: np.ndarray) -> np.ndarray:
    """(M, 2) points about their middle, both axes in the same unit, the farthest at 1."""
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    return (points - middle) / (np.abs(points - middle).max() or 1)
