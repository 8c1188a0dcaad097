"""A page of results as text for a terminal."""

from singtech.io.terminal import format_table, wrap
from singtech.results.pages import Page, Table

BOLD, STAR = "Bold is ", "A star marks "  # how a note begins that explains bold numbers


def plain(page: Page) -> str:
    """Render a page as text: sentences, tables, notes, and the commands of missing runs. Its figure is in a file."""
    parts = [wrap(page.heading), wrap(page.caption), "\n".join(_item(sentence) for sentence in page.lead)]
    for table in page.tables:
        parts += [wrap(table.title), "\n".join(map(_item, table.lead)), wrap(table.note), plain_table(table)]
    parts.append("\n".join(_item(note.replace(BOLD, STAR, 1)) for note in page.notes))
    if page.missing:
        parts += ["Missing:", "\n".join(f"{_item(what)}:\n    {command}" for what, command in page.missing)]
        parts.append(f"All at once, running only what is missing:\n    {page.sweep}" if page.sweep else "")
    return "\n\n".join(part for part in parts if part)


def plain_table(table: Table) -> str:
    """Render a table as text; a star follows each bold number."""
    is_starred = [any(line[number].is_bold for line in table.lines) for number in range(len(table.header))]
    lines = [
        [cell.text + ("*" if cell.is_bold else " ") * has for cell, has in zip(line, is_starred, strict=True)]
        for line in table.lines
    ]
    header = [name + " " * has for name, has in zip(table.header, is_starred, strict=True)]
    return format_table(header, lines, table.words)


def _item(sentence: str) -> str:
    return wrap(sentence, "  ", "- ")
