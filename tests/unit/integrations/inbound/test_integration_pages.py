"""The pages in docs/integrations say what the code does, and the mappings on them work."""

import json
import re
from pathlib import Path

import pytest

from integrations.inbound import default_keys
from integrations.inbound.event import Action
from integrations.inbound.presets import presets
from integrations.inbound.templates import compile_template

from .events import SENDERS, body_of, headers_of, one, words

PAGES = Path(__file__).resolve().parents[4] / "docs" / "integrations"
SENDER_PAGES = sorted(
    path for path in PAGES.glob("*.md") if path.name not in {"README.md", "api.md", "email.md", "chat.md"}
)
# Fields that a mapping has and none of the bodies on the pages.
MAPPED = {"source_id", "event_at", "subject", "priority", "url"}
TEMPLATE = re.compile(r"`(\{\{ (?:payload|\")[^`]*\}\})`", re.DOTALL)


def mappings_of(page: Path) -> list[dict[str, str]]:
    blocks = re.findall(r"^```json\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    found = [json.loads(block) for block in blocks]
    return [mapping for mapping in found if any("{{" in text for text in mapping.values())]


def test_there_is_a_page_for_each_of_the_senders_and_the_index_names_it():
    folders = {path.name for path in SENDERS.iterdir() if path.is_dir()}
    assert {page.stem.replace("-", "_") for page in SENDER_PAGES} == folders
    index = (PAGES / "README.md").read_text("utf-8")
    assert {*re.findall(r"^\| \[[^\]]+\]\(([\w-]+)\.md\)", index, re.MULTILINE)} == {page.stem for page in SENDER_PAGES}


def test_a_page_without_a_preset_says_that_it_is_unconfirmed():
    for page in SENDER_PAGES:
        text = page.read_text("utf-8")
        name = page.stem.replace("-", "_")
        assert (f"Preset `{name}`" in text) is (name in presets())
        assert ("Unconfirmed" in text) is (name not in presets())
        assert {"## At the sender", "## What becomes what", "## What it cannot do"} <= {*text.splitlines()}


@pytest.mark.parametrize("page", [page for page in SENDER_PAGES if mappings_of(page)], ids=lambda page: page.stem)
def test_the_mapping_of_a_page_opens_and_closes_one_key(page):
    sender = page.stem.replace("-", "_")
    for mapping in mappings_of(page):
        opening, closing = (
            one(body_of(sender, name), headers_of(sender), mapping=mapping) for name in ("open", "close")
        )
        assert (opening.action, closing.action) == (Action.OPEN, Action.CLOSE)
        assert opening.source_id == closing.source_id
        assert opening.faults == closing.faults == []
        assert {*mapping} <= MAPPED
        assert ("event_at" not in mapping) or (opening.event_at and closing.event_at)


def test_each_template_in_a_text_compiles():
    templates = [template for page in PAGES.glob("*.md") for template in TEMPLATE.findall(page.read_text("utf-8"))]
    assert len(templates) >= 8
    for template in templates:
        assert compile_template(template).is_expression or compile_template(template).text


@pytest.mark.parametrize(
    ("field", "keys"),
    [
        ("status", [*default_keys.STATUS_KEYS, *default_keys.FLAG_KEYS]),
        ("key", default_keys.SOURCE_ID_KEYS),
        ("subject", default_keys.SUBJECT_KEYS),
        ("priority", default_keys.PRIORITY_KEYS),
        ("link", default_keys.URL_KEYS),
        ("text", default_keys.TEXT_KEYS),
    ],
)
def test_the_table_of_the_api_page_has_the_keys_in_their_order(field, keys):
    row, *_ = re.findall(rf"^\| {field} \| (.*) \|$", (PAGES / "api.md").read_text("utf-8"), re.MULTILINE)
    named = [default_keys.plain_key(key) for text in re.findall(r"`([^`]+)`", row) for key in words(text)]
    assert [key for key in named if key != "false"] == [*keys]


def test_the_api_page_has_the_words_of_each_action():
    text = " ".join(words((PAGES / "api.md").read_text("utf-8")))
    assert " ".join(default_keys.CLOSE_WORDS[:-1]) + f', "{default_keys.CLOSE_WORDS[-1]}"' in text
    assert " ".join(default_keys.ACKNOWLEDGE_WORDS) in text
    assert " ".join(default_keys.WRAPPERS) in text
