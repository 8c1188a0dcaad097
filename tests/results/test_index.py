"""The page of all tables and pictures of a corpus."""

from dataclasses import replace

from singtech.places import EXPERIMENTS
from singtech.results.experiments import read_experiment
from singtech.results.index import write_index
from singtech.results.summaries import Answer

TABLE = read_experiment(EXPERIMENTS / "table3.yaml")


def test_the_index_says_how_much_is_there_and_holds_every_page_under_a_lower_heading_in_the_given_order(tmp_path):
    experiments = [replace(TABLE, name=name, title=name.title()) for name in ("second", "first")]
    answers = [Answer(e, "demo", made=made, asked=3) for e, made in zip(experiments, (1, 3), strict=True)]
    for experiment in experiments:
        page = f"# {experiment.title}\n\n![it]({experiment.name}.png)\n\n## Missing\n\n- a `# b`\n"
        (tmp_path / f"{experiment.name}.md").write_text(page, encoding="utf-8")
    path = write_index(tmp_path, "demo", answers)
    assert path.name == "README.md"
    assert path.read_text(encoding="utf-8") == (
        "# The paper's tables and figures: demo corpus (synthetic voices): not VocalSet, not comparable with the paper"
        "\n\n"
        "| page                | what it is   | how much is there   |\n"
        "|:--------------------|:-------------|:--------------------|\n"
        "| [second](second.md) | Second       | 1 of 3 runs         |\n"
        "| [first](first.md)   | First        | complete            |\n\n"
        "## Second\n\n![it](second.png)\n\n### Missing\n\n- a `# b`\n\n"
        "## First\n\n![it](first.png)\n\n### Missing\n\n- a `# b`\n"
    )
    assert write_index(tmp_path, "vocalset", []).read_text().startswith("# The paper's tables and figures: VocalSet\n")
