"""Writes the index of docs/decisions/ from the titles of its pages.

python -m script.decisions
"""

import re
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parents[1] / "docs" / "decisions"
INDEX: Final = FOLDER / "README.md"
PAGES: Final = "[0-9][0-9][0-9][0-9]-*.md"
OPENING: Final = """# Decisions

One page each: context, options, decision, consequences. A new one starts from [template.md](template.md), takes the
next number, and stands in this list after `python -m script.decisions`. A decision that a later one replaces stays, and
says so in its first line. Number 36 was not used.

"""


def index(folder: Path = FOLDER) -> str:
    """Return the text of the index. Raises ValueError if a page's title does not begin with its number."""
    return OPENING + "".join(f"{line(page)}\n" for page in sorted(folder.glob(PAGES)))


def line(page: Path) -> str:
    """Return the line of the index for one page. Raises ValueError if its title does not begin with its number."""
    first = page.read_text("utf-8").split("\n", 1)[0]
    title = re.fullmatch(r"# (\d+)\. (.+)", first)
    if title is None or int(title[1]) != int(page.name[:4]):
        raise ValueError(f"{page.name} must begin with '# {int(page.name[:4])}. ' and its title, not with {first!r}")
    return f"* {int(title[1])}. [{title[2]}]({page.name})"


if __name__ == "__main__":
    INDEX.write_text(index(), "utf-8")
