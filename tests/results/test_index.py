"""The page of all tables and pictures of a corpus."""

from matplotlib.figure import Figure

from singtech.results.index import write_index
from singtech.results.pages import Page


def test_the_index_says_how_much_is_there_and_holds_every_page_under_a_lower_heading_in_the_given_order(tmp_path):
    pages = [
        Page(name, "vocalset", name.title(), "It.", None, (), (), Figure(), (), [("a", "# b")], progress=progress)
        for name, progress in (("second", "1 of 3 runs"), ("first", "complete"))
    ]
    path = write_index(tmp_path, "demo", pages)
    assert path.name == "README.md"
    assert path.read_text(encoding="utf-8") == (
        "# The paper's tables and figures: demo corpus (synthetic voices): not VocalSet, not comparable with the paper"
        "\n\n"
        "| page                | what it is   | how much is there   |\n"
        "|:--------------------|:-------------|:--------------------|\n"
        "| [second](second.md) | Second       | 1 of 3 runs         |\n"
        "| [first](first.md)   | First        | complete            |\n\n"
        "## Second\n\nIt.\n\n![Second](second.png)\n\n### Missing\n\n- a: `# b`\n\n"
        "## First\n\nIt.\n\n![First](first.png)\n\n### Missing\n\n- a: `# b`\n"
    )
    assert write_index(tmp_path, "vocalset", []).read_text().startswith("# The paper's tables and figures: VocalSet\n")
