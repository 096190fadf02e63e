"""The documents that list something list all of it."""

import re

import pytest

from script import decisions
from script.checks import ROOT

DOCUMENTS = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if path.name != "template.md")


def test_the_index_of_decisions_names_each_page_by_its_title():
    assert decisions.INDEX.read_text("utf-8") == decisions.index(), "run `python -m script.decisions`"


def test_no_two_decisions_have_one_number():
    numbers = [page.name[:4] for page in decisions.FOLDER.glob(decisions.PAGES)]
    assert len(numbers) == len({*numbers})


@pytest.mark.parametrize("first", ["Decisions", "# 7. A title", "# A title"])
def test_a_decision_whose_title_does_not_begin_with_its_number_is_refused(tmp_path, first):
    (tmp_path / "0008-a-title.md").write_text(f"{first}\n")
    with pytest.raises(ValueError, match=r"must begin with '# 8\. '"):
        decisions.index(tmp_path)


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_document_links_to_is_there(page):
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8")) if ":" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_words_of_the_glossary_are_in_their_order_and_each_is_there_once():
    words = re.findall(r"^\| ([^|]+?) \|", (ROOT / "docs/glossary.md").read_text("utf-8"), re.MULTILINE)[2:]
    assert len(words) >= 25
    assert words == sorted({*words}, key=str.lower)
