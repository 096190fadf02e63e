"""The check of rules says which rule and which condition is wrong, and how."""

import pytest

from integrations.inbound.rule_checks import check_rules


def faults(*, condition=None, then=None, **rule):
    when = {"all": [condition]} if condition is not None else {"all": []}
    return check_rules([{"name": "N", "when": when, "then": then if then is not None else {"action": "open"}, **rule}])


def test_rules_that_are_right():
    assert check_rules([]) == []
    assert check_rules([{"then": {}}]) == []
    assert faults(condition={"path": "a", "op": "exists"}, stop=False) == []
    assert (
        faults(
            then={
                "action": "update",
                "priority": "none",
                "escalation_policy": 5,
                "response_play": None,
                "recipient_groups": [1, 2],
                "recipient_users": [],
                "replace": True,
                "subject": "{{ payload.a | upper }}",
                "note": "plain",
                "delay": {"mode": "count_within", "minutes": 5, "count": 3},
            }
        )
        == []
    )
    assert faults(then={"delay": {"mode": "none"}}) == []


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        (5, "it must be an object with path, op and value."),
        ({"path": "a", "op": "exists", "foo": 1}, "“foo” is not known: there are path, op, value, not."),
        ({"op": "exists"}, "A path is missing: it is a text such as alerts[0].status, or “.” for the whole payload."),
        ({"path": ["a"], "op": "exists"}, "A path is missing: it is a text such as alerts[0].status, or “.” for the whole payload."),
        ({"path": "a[", "op": "exists"}, 'The path a[ cannot be read after a: in brackets stands [0], [*] or ["key"].'),
        ({"path": "a", "op": "exists", "not": "no"}, "not: it must be true or false."),
        ({"path": "a", "op": []}, "op: “[]” is not known: there are equals, contains, starts_with, ends_with, matches, in, exists, empty, above, below."),
        ({"path": "a", "op": "equals"}, "“equals” needs a text of at most 500 characters, or a number, as its value."),
        ({"path": "a", "op": "equals", "value": "x" * 501}, "“equals” needs a text of at most 500 characters, or a number, as its value."),
        ({"path": "a", "op": "contains", "value": " "}, "“contains” needs a value that is not empty."),
        ({"path": "a", "op": "above", "value": "x"}, "“above” needs a number as its value."),
        ({"path": "a", "op": "below", "value": True}, "“below” needs a number as its value."),
        ({"path": "a", "op": "in", "value": "x"}, "“in” needs a list of 1 to 100 texts or numbers as its value."),
        ({"path": "a", "op": "in", "value": []}, "“in” needs a list of 1 to 100 texts or numbers as its value."),
        ({"path": "a", "op": "in", "value": [["x"]]}, "“in” compares with texts of at most 500 characters, or numbers."),
        ({"path": "a", "op": "matches"}, "A regular expression must be a text that is not empty."),
        ({"path": "a", "op": "matches", "value": "("}, "The regular expression “(” cannot be read: missing ): (."),
        ({"path": "a", "op": "matches", "value": "a" * 501}, "A regular expression has at most 500 characters, this one has 501."),
    ],
)  # fmt: skip
def test_a_condition_that_is_wrong(condition, sentence):
    assert faults(condition=condition) == [f"Rule 1 (N), condition 1: {sentence}"]


@pytest.mark.parametrize(
    ("then", "sentence"),
    [
        ([], "then: it must be an object, with any of action, priority,"),
        ({"foo": 1}, "then: “foo” is not known: there are action,"),
        ({"action": "drop"}, "then: action: it must be one of open, update, acknowledge, close, ignore."),
        ({"action": ["open"]}, "then: action: it must be one of open,"),
        ({"priority": "p1"}, "then: priority: it must be one of critical, high, medium, low, none."),
        ({"escalation_policy": "5"}, "then: escalation_policy: it must be an id, or null."),
        ({"escalation_policy": True}, "then: escalation_policy: it must be an id, or null."),
        ({"escalation_policy": 1, "response_play": 2}, "then: either escalation_policy or response_play can be set, not both."),
        ({"recipient_groups": 5}, "then: recipient_groups: it must be a list of at most 500 ids."),
        ({"recipient_users": [0]}, "then: recipient_users: it must be a list of at most 500 ids."),
        ({"recipient_users": [2**63]}, "then: recipient_users: it must be a list of at most 500 ids."),
        ({"replace": 1}, "then: replace: it must be true or false."),
        ({"subject": " "}, "then: subject: it must be a text that is not empty."),
        ({"subject": 5}, "then: subject: it must be a text that is not empty."),
        ({"note": "{{ x }}"}, "then: note: “x” is not known: a template begins with payload,"),
        ({"delay": 5}, "then: delay: it must be an object with a mode, one of none, minutes, count, count_within."),
        ({"delay": {"mode": []}}, "then: delay: it must be an object with a mode,"),
        ({"delay": {"mode": "count_within", "minutes": 5}}, "then: delay: the mode “count_within” needs count, a whole number from 1."),
        ({"delay": {"mode": "minutes", "minutes": 0}}, "then: delay: the mode “minutes” needs minutes, a number from 0.1."),
        ({"delay": {"mode": "none", "x": 1}}, "then: delay: “x” is not known: there are mode, minutes, count."),
    ],
)  # fmt: skip
def test_a_then_that_is_wrong(then, sentence):
    [fault] = faults(then=then)

    assert fault.startswith(f"Rule 1 (N), {sentence}")


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ({}, "The rules are a list."),
        ([{"then": {}}] * 101, "There are 101 rules; at most 100 are possible."),
        ([5], "Rule 1, it must be an object with name, when and then."),
        ([{"then": {}, "foo": 1}], "Rule 1, “foo” is not known: there are name, when, then, stop."),
        ([{"then": {}}, {"name": 5, "then": {}}], "Rule 2, name: it must be a text of at most 100 characters."),
        ([{"stop": "yes", "then": {}}], "Rule 1, stop: it must be true or false."),
        ([{"name": "N"}], "Rule 1 (N), then: it must be an object, with any of"),
        ([{"when": [], "then": {}}], "Rule 1, when: it must be an object with either all or any."),
        ([{"when": {"all": [], "any": []}, "then": {}}], "Rule 1, when: it must be an object with either all or any."),
        ([{"when": {"all": {}}, "then": {}}], "Rule 1, when: all must be a list of conditions."),
        ([{"when": {"any": []}, "then": {}}], "Rule 1, when: any needs at least one condition."),
        ([{"when": {"all": [{}] * 21}, "then": {}}], "Rule 1, when: there are 21 conditions; at most 20 are possible."),
    ],
)
def test_a_rule_that_is_wrong(rules, sentence):
    [fault] = check_rules(rules)

    assert fault.startswith(sentence)


def test_each_condition_is_named_and_twenty_faults_are_enough():
    bad = {"path": "a[", "op": "exists"}
    good = {"path": "a", "op": "exists"}

    assert [fault.partition(": ")[0] for fault in faults(condition=None, when={"any": [good, bad, good, bad]})] == [
        "Rule 1 (N), condition 2",
        "Rule 1 (N), condition 4",
    ]
    assert len(check_rules([{"when": {"all": [bad] * 15}, "then": {}}] * 100)) == 20
