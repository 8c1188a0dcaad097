"""Rows and corpora as the tests of results make them; a disk that is full."""

import errno
from contextlib import contextmanager

import pytest

from tests.results.conftest import make_row, put_confusion, put_corpus, put_layers, run

__all__ = ["make_row", "put_confusion", "put_corpus", "put_layers", "run"]


@pytest.fixture
def fill_disk(monkeypatch):
    """`with fill_disk(n):` the disk is full after n files or folders were written."""

    @contextmanager
    def fill(room):
        left = iter(range(room))

        def sync(_):
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("singtech.io.atomic.sync_to_disk", sync)
            yield

    return fill
