"""From a zip to tables by the commands alone, on small corpora: a person's own, and the demo's synthetic voices."""

import shutil

import pandas as pd

from tests.conftest import SMALL


def test_from_a_zip_to_tables(call, own_corpus, tmp_path):
    shutil.make_archive(tmp_path / "corpus", "zip", own_corpus)
    place = [f"output_dir={tmp_path / 'outputs'}"]
    own = ["data=folder", "data.name=choir", f"data.root={tmp_path / 'corpus.zip'}", "data.split.test=[dot]", *place]
    prepared = call("prepare", *own, *SMALL)
    assert prepared.status == 0, prepared.err
    assert "vibrato" in prepared.out
    swept = call("run", "-m", "experiments=table3", "schedule=smoke", *own, *SMALL)
    assert swept.status == 0, swept.err
    rows = pd.read_csv(tmp_path / "outputs" / "results.csv", keep_default_na=False)
    assert len(rows) == 3
    rendered = call("tables", *place)
    assert rendered.status == 0, rendered.err
    table = (tmp_path / "outputs" / "tables" / "choir" / "table3.md").read_text()
    assert "corpus choir: not VocalSet" in table
    (said,) = [line for line in table.splitlines() if "schedule=smoke" in line]  # named once, and where it differs
    assert said.startswith("- ")
    assert "front_end.n_fft=192" in said
    assert (tmp_path / "outputs" / "tables" / "choir" / "figure3.png").stat().st_size > 5000


def test_the_demo_corpus_goes_the_same_way(call, tmp_path, table3_alone):
    small = [
        "+data.source.clips_train=40",
        "+data.source.clips_test=20",
        "data.split.test=[female8,male3,male5,male10]",
        f"output_dir={tmp_path / 'outputs'}",
    ]
    done = call("run", "data=demo", "schedule=smoke", "batch_size=4", "trainer.accelerator=cpu", *small)
    assert done.status == 0, done.err
    row = pd.read_csv(tmp_path / "outputs" / "results.csv", keep_default_na=False).iloc[0]
    assert row["data"] == "demo"
    assert row["singers_test"].split()
    rendered = call("tables", "data=demo", "show=table3", f"output_dir={tmp_path / 'outputs'}")
    assert "demo corpus (synthetic voices): not VocalSet" in " ".join(rendered.out.split())
