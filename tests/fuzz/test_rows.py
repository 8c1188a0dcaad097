"""Rows and collated files, damaged: one bad run never spoils the others, and a bad file is named in a sentence."""

import json
import shutil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from singtech.results.collate import CONFUSIONS, LAYERS, RESULTS, collate, read_collated
from singtech.results.rows import read_rows, write_row
from tests.fuzz.contract import JSON, LETTERS, bounded, damaged, kept

ROW = {
    **{"run": "one", "data": "vocalset", "fold": "", "model": "oblong", "dc": "late", "strategy": "crt_wc"},
    **{"alpha": 0.2, "seed": 0, "settings": "{}", "f1": 0.5, "f1_belt": 0.25, "clips_test": 100, "status": "complete"},
    **{"device": "cpu", "finished": "2026-01-01T00:00:00+00:00", "corpus_fingerprint": "c", "data_fingerprint": "d"},
}
LAYERS_OF_A_RUN = (
    "number,layer,channels,output,deformable,parameters\n1,Conv,32,32×1×1,False,480\n2,FC,10,10,False,8390\n"
)
CONFUSION_OF_A_RUN = "technique,belt,trill\nbelt,3,0\ntrill,1,2\n"
LENGTHS = "technique,split,recordings,minutes,clips,corpus_fingerprint\nbelt,train,3,0.5,9,c\nbelt,test,1,0.25,4,c\n"


@pytest.fixture
def outputs(tmp_path):
    """A folder with one good run, and place for others."""
    folder = tmp_path / "runs" / "one"
    write_row(folder, ROW)
    (folder / "layers.csv").write_text(LAYERS_OF_A_RUN, encoding="utf-8")
    (folder / "confusion.csv").write_text(CONFUSION_OF_A_RUN, encoding="utf-8")
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora" / "vocalset.csv").write_text(LENGTHS, encoding="utf-8")
    for name in ("other", "other/deeper"):
        (tmp_path / "runs" / name).mkdir()
    return tmp_path


def together(outputs):
    """That all runs are collated, and that the file says of them what the rows do, again and again."""
    rows = {row["run"]: row for row in read_rows(outputs / "runs")}
    frame = kept(collate, outputs, refused=()).results
    found = kept(read_collated, outputs, refused=())
    written = (outputs / RESULTS).read_bytes()
    assert kept(collate, outputs, refused=()).results.equals(frame)
    assert (outputs / RESULTS).read_bytes() == written
    assert set(frame["run"]) == set(found.results["run"]) == set(rows)
    assert "one" in rows
    for line in frame.to_dict("records"):
        assert (line["alpha"], line["seed"]) == (rows[line["run"]]["alpha"], rows[line["run"]]["seed"])
    return found


@bounded(15)
@given(damaged([json.dumps(ROW | {"run": "two"}, indent=1).encode()], hot=-1))
def test_a_damaged_row_leaves_the_other_run(outputs, data):
    (outputs / "runs" / "other" / "row.json").write_bytes(data)
    together(outputs)


@bounded(20)
@given(
    st.dictionaries(st.sampled_from([*ROW, "clips", "number", "minutes", "f1_x"]) | st.text(LETTERS), JSON, max_size=3)
)
@example({"run": "../../one"})
@example({"finished": 5})
@example({"run": "a\0b"})
def test_a_row_that_says_anything_leaves_the_other_run(outputs, said):
    (outputs / "runs" / "other" / "row.json").write_text(json.dumps(ROW | {"run": "two"} | said))
    together(outputs)


@pytest.mark.parametrize("name", ["layers.csv", "confusion.csv"])
def test_damaged_layers_and_confusions_of_a_run_leave_those_of_the_other(name, outputs):
    write_row(outputs / "runs" / "two", ROW | {"run": "two", "dc": "none"})
    whole = (outputs / "runs" / "one" / name).read_bytes()

    @bounded(10)
    @given(damaged([whole], hot=60))
    @example(b"\xff\xfe")
    @example(b"technique,a\n\na,1\n")
    @example(b"technique,a\na,many\n")
    @example(LAYERS_OF_A_RUN.replace("480", "many").encode())
    @example(b'"' + b"x" * 200_000)
    def each(data):
        (outputs / "runs" / "two" / name).write_bytes(data)
        found = together(outputs)
        assert set(found.layers.loc[found.layers["dc"] == "late", "parameters"]) == {480, 8390}
        ours = found.confusions[found.confusions["run"] == "one"]
        assert dict(zip(zip(ours["technique"], ours["predicted"], strict=True), ours["clips"], strict=True)) == {
            ("belt", "belt"): 3,
            ("trill", "belt"): 1,
            ("trill", "trill"): 2,
        }

    each()


@pytest.mark.parametrize("name", [RESULTS, LAYERS, CONFUSIONS, "corpora/vocalset.csv"])
def test_a_damaged_collated_file_is_read_as_numbers_or_named(name, outputs):
    collate(outputs)
    shutil.rmtree(outputs / "runs")
    path = outputs / name
    whole = path.read_bytes()

    @bounded(15)
    @given(damaged([whole], hot=100))
    def each(data):
        path.write_bytes(data)
        found = kept(read_collated, outputs, refused=ValueError)
        if found is not None:
            assert found.results.dtypes[["alpha", "f1", "seed"]].astype(str).tolist() == ["float64", "float64", "int64"]
            assert found.layers.dtypes[["number", "parameters"]].astype(str).tolist() == ["int64", "int64"]
            assert found.confusions["clips"].dtype == "int64"
            assert (found.lengths["vocalset"]["clips"] >= 0).all()
            assert not any(set(data) & set("/\\\0") or data in ("", "..") for data in found.corpora)

    each()
