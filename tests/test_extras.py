"""Optional packages that are not installed, and what is none."""

import pytest

from singtech.errors import MissingExtra
from singtech.extras import check_installed


def test_what_is_missing_is_one_sentence_with_what_installs_it():
    check_installed("onnx=true", "onnx", "numpy", "torch")
    with pytest.raises(
        MissingExtra, match=r"^push: no_such is not installed; do so with pip install \"singtech\[hub\]\"\.$"
    ):
        check_installed("push", "hub", "numpy", "no_such")
    with pytest.raises(MissingExtra, match="no_such, nor_this are not installed"):
        check_installed("push", "hub", "no_such", "nor_this")


def test_a_folder_of_results_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "no_such").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match="no_such is not installed"):
        check_installed("logger=no_such", "no_such", "no_such")
