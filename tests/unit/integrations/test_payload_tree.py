"""The tree of a payload: what it offers to click is what templates and rules understand."""

from typing import Any

from integrations.admin.payload_tree import MAX_LINES, tree_of
from integrations.inbound.conditions import parse_path, values_at
from integrations.inbound.templates import compile_template

ODD = {
    "plain": 1,
    "in": 2,
    "items": 3,
    "a.b": 4,
    "a-b": 5,
    "with space": 6,
    'quo"te': 7,
    "back\\slash": 8,
    "ключ": 9,
    "0": 10,
    "[0]": 11,
    "list": [{"deep": {"not": 12}}],
}


def leaves(node):
    if not node.children:
        yield node
    for child in node.children:
        yield from leaves(child)


def test_each_value_is_found_by_its_template_and_by_its_path():
    tree, left_out = tree_of(ODD)
    assert left_out == 0
    found = list(leaves(tree))
    assert [int(node.value) for node in found] == list(range(1, 13))
    for node in found:
        context = {"payload": ODD}
        assert compile_template(node.template).render(context, limit=99) == node.value, node.template
        assert values_at(ODD, parse_path(node.path)) == [int(node.value)], node.path


def test_what_the_language_cannot_name_is_shown_without_a_template():
    tree, _ = tree_of({"_private": {"x": 1}, " ": 2})
    assert next(node.template for node in leaves(tree)) == ""
    assert compile_template(list(leaves(tree))[1].template).render({"payload": {" ": 2}}, limit=9) == "2"


def test_what_stands_below_a_key_without_a_path_has_none_either():
    tree, _ = tree_of({'a"]b': {"c": [1]}})
    assert [node.path for node in leaves(tree)] == [""]


def test_it_is_bounded_in_lines_depth_and_length():
    tree, left_out = tree_of([[number] for number in range(5_000)])
    lines = [tree]
    for node in lines:
        lines += node.children
    assert len(lines) == MAX_LINES
    assert left_out > 0
    deep: Any = 1
    for _ in range(60):
        deep = [deep]
    assert next(iter(leaves(tree_of(deep)[0]))).value.startswith("[[")
    assert len(tree_of("x" * 10_000)[0].value) == 201
