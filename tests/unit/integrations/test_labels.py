"""How tags, descriptions and priorities are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat_project.kernel.errors import FieldError
from integrations.models.labels import MAX_TAG, MAX_TAGS, clean_description, clean_priority, clean_tags, split_tags


@given(st.lists(st.text(max_size=120), max_size=25))
def test_tags_are_refused_or_come_back_the_same_from_the_text_that_a_form_shows(texts):
    try:
        tags = clean_tags(texts)
    except FieldError:
        return
    assert len(tags) <= MAX_TAGS
    assert all(0 < len(tag) <= MAX_TAG and tag == tag.lower() for tag in tags)
    assert clean_tags(split_tags(" ".join(tags))) == tags


def test_tags_are_in_lower_case_in_order_and_each_once():
    assert clean_tags(split_tags("Shop, env:Prod shop\nÜbersee")) == ["env:prod", "shop", "übersee"]


@pytest.mark.parametrize("tag", ["", " ", ":prod", "env:", "two words", "a,b", "a\x00", "\u200b", "x" * (MAX_TAG + 1)])
def test_what_is_no_tag_is_refused(tag):
    with pytest.raises(FieldError):
        clean_tags([tag])


def test_more_tags_than_the_bound_are_refused():
    assert len(clean_tags(str(n) for n in range(MAX_TAGS))) == MAX_TAGS
    with pytest.raises(FieldError):
        clean_tags(str(n) for n in range(MAX_TAGS + 1))


def test_a_description_keeps_its_lines_and_has_a_bound():
    assert clean_description(" one\r\ntwo ") == "one\ntwo"
    for wrong in ("x" * 2_001, "a\x07"):
        with pytest.raises(FieldError):
            clean_description(wrong)


def test_no_priority_is_that_of_the_policy_and_none_is_one():
    assert clean_priority("") is None
    assert clean_priority("none") == "none"
    with pytest.raises(FieldError):
        clean_priority("urgent")
