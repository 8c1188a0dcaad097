"""Text for a terminal: it fits, cuts no word, has no rules; progress in a log file is lines, not a redrawn bar."""

import io
import sys
import time

import pytest

from singtech.io import terminal
from singtech.io.terminal import format_seconds, format_table, progress_bar, wrap


def test_words_are_left_and_numbers_right_without_rules():
    text = format_table(["", "alpha", "F1"], [["Late", 0.2, "0.652"], ["Early, joint", 1, "0.6"]])
    assert text.splitlines() == [
        "              alpha     F1",
        "Late            0.2  0.652",
        "Early, joint      1    0.6",
    ]


def test_long_words_are_wrapped_between_words():
    text = format_table(["column", "meaning"], [["f1", "macro-F1 over the techniques, each counts once"]], 2, width=32)
    assert text.splitlines() == [
        "column  meaning",
        "f1      macro-F1 over the",
        "        techniques, each counts",
        "        once",
    ]


def test_numbers_that_do_not_fit_come_below_beside_the_first_columns():
    text = format_table(["", "one", "two"], [["Late", "0.111", "0.222"]], width=12)
    assert text.splitlines() == ["        one", "Late  0.111", "", "        two", "Late  0.222"]


def test_a_word_longer_than_the_line_is_not_cut():
    name = "demo-oblong-dc_late-crt_wc"
    assert wrap(f"see {name} there", width=12).splitlines() == ["see", name, "there"]
    assert name in format_table(["name", "size"], [[name, "1 kB"]], width=12)


@pytest.mark.parametrize(("seconds", "words"), [(4.4, "4 s"), (89, "89 s"), (90, "2 min"), (5400, "1.5 h")])
def test_durations(seconds, words):
    assert format_seconds(seconds) == words


def test_progress_in_a_log_file_is_a_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "LINE_SECONDS", 0.05)
    for _ in progress_bar("cutting clips", "recordings", items=range(6)):
        time.sleep(0.02)
    text = capsys.readouterr().err
    assert 1 <= len(text.splitlines()) <= 3
    assert text.startswith("cutting clips: ")
    assert " of 6 recordings, 00:00" in text
    assert "\r" not in text


def test_short_work_leaves_no_line_in_a_log_file(capsys):
    with progress_bar("phase 1/2", "batches", 3) as bar:
        bar.set_postfix_str("epoch 1/3", refresh=False)
        terminal.print_above_bars("about 4 min left")
        bar.update(3)
    assert capsys.readouterr() == ("about 4 min left\n", "")


def test_a_bar_of_training_fits_80_columns(monkeypatch):
    class Screen(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Screen())
    with progress_bar("phase 2/2 classifier", "batches", 200) as bar:
        bar.dynamic_ncols, bar.ncols = None, 80  # this screen has no size
        bar.set_postfix_str("epoch 12/100, loss 1.234, F1 0.123")
        bar.update(50)
        text = str(bar)
    assert len(text) <= 80
    assert text.startswith("phase 2/2 classifier  25%|")
    assert text.endswith("F1 0.123")
