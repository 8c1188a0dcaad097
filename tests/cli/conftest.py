"""Rows and corpora as the tests of results make them."""

from tests.results.conftest import make_row, put_confusion, put_corpus, put_layers, run

__all__ = ["make_row", "put_confusion", "put_corpus", "put_layers", "run"]
