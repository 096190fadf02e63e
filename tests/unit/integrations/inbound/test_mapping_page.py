"""Each example in docs/mapping.md is true."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from integrations.inbound.conditions import OPERATORS, holds, parse_path, values_at
from integrations.inbound.filters import FILTERS, TESTS
from integrations.inbound.rule_checks import _THEN, check_rules
from integrations.inbound.templates import NAMES, TemplateError, compile_template

PAGE = (Path(__file__).parents[4] / "docs" / "mapping.md").read_text("utf-8")
PAYLOAD, RULES = (json.loads(block) for block in re.findall(r"```json[a-z ]*\n(.*?)```", PAGE, re.DOTALL))
CONTEXT = {
    "payload": PAYLOAD,
    "headers": {"x-source": "rack 7"},
    "query": {},
    "integration": "Storage",
    "received_at": datetime(2026, 11, 27, 2, 30, tzinfo=UTC),
}


def rows(head):
    """Return the cells of the rows of all tables whose head begins so."""
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        first, _line, *others = table.splitlines()
        if first.startswith(head):
            found += [
                [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in others
            ]
    return found


RESULTS = rows("| template | result |")
REFUSED = rows("| template | what is said |")
PATHS = rows("| path | finds |")
CONDITIONS = rows("| condition | holds |")


@pytest.mark.parametrize(("template", "result"), [row[:2] for row in RESULTS])
def test_a_template_has_the_result_that_the_page_says(template, result):
    assert f"`{compile_template(template.strip('`')).render(CONTEXT, limit=1_000)}`" == result


@pytest.mark.parametrize(("template", "sentence"), REFUSED)
def test_a_template_is_refused_with_the_sentence_that_the_page_says(template, sentence):
    with pytest.raises(TemplateError) as refused:
        compile_template(template.strip("`"))
    assert str(refused.value) == sentence


@pytest.mark.parametrize(("path", "values"), PATHS)
def test_a_path_finds_what_the_page_says(path, values):
    assert values_at(PAYLOAD, parse_path(path.strip("`"))) == json.loads(values.strip("`"))


@pytest.mark.parametrize(("condition", "result"), [row[:2] for row in CONDITIONS])
def test_a_condition_holds_if_the_page_says_so(condition, result):
    condition = json.loads(condition.strip("`"))

    assert holds({"all": [condition]}, PAYLOAD) is {"yes": True, "no": False}[result]
    assert check_rules([{"when": {"all": [condition]}, "then": {}}]) == []


def test_the_rules_of_the_page_can_be_saved_and_the_first_holds():
    assert check_rules(RULES) == []
    assert [holds(rule["when"], PAYLOAD) for rule in RULES] == [True, False]


def test_the_page_has_an_example_of_each_filter_test_name_and_operator_and_names_what_then_has():
    templates = " ".join(row[0] for row in RESULTS)
    assert {name for name in FILTERS if f"| {name}" not in templates} == set()
    assert {name for name in TESTS if f"is {name}" not in templates.replace("is not ", "is ")} == set()
    assert {name for name in NAMES if f"`{name}`" not in PAGE} == set()
    assert {name for name in OPERATORS if f'"op": "{name}"' not in " ".join(row[0] for row in CONDITIONS)} == set()
    assert {name for name in _THEN if f"`{name}`" not in PAGE} == set()
    assert len(RESULTS) > 45
