"""The mapping of an integration, its rules and the limits: inbound.md 1, 2 and 7."""

import hashlib
import logging

import pytest

from integrations.inbound import mapping
from integrations.inbound.event import Action, Fault, MappingConfig, Then
from integrations.inbound.rules import apply_rules
from integrations.inbound.work import Work

from .events import body_of, mapped, one

PAYLOAD = {"title": "Disk full", "severity": "high", "status": "firing", "fingerprint": "f1", "tags": ["a", "b"]}


class TestFields:
    def test_the_mapping_counts_before_the_preset_and_the_preset_before_the_default(self):
        body = body_of("alertmanager", "open")
        event = one(body, mapping={"subject": "{{ payload.receiver }}: {{ payload.status | upper }}"})
        assert event.subject == "heartbeat: FIRING"
        assert event.source_id == body["groupKey"]

    def test_each_field_can_be_mapped(self):
        event = one(
            {"a": "A", "at": 1795161600},
            mapping={
                "source": "S {{ payload.a }}",
                "source_name": "N",
                "source_id": "{{ payload.a | lower }}",
                "subject": "[OK] {{ payload.a }}",
                "short_text": "short",
                "long_text": "long\ntext",
                "priority": "P2",
                "url": "https://x.example/{{ payload.a }}",
                "status": "RESOLVED",
                "event_at": "{{ payload.at }}",
            },
        )
        assert (event.source, event.source_name, event.source_id, event.subject) == ("S A", "N", "a", "[OK] A")
        assert (event.short_text, event.long_text, event.priority) == ("short", "long\ntext", "high")
        assert (event.url, event.action) == ("https://x.example/A", Action.CLOSE)
        assert event.event_at.isoformat() == "2026-11-20T08:00:00+00:00"

    def test_a_template_that_fails_gives_a_fault_and_the_next_one_is_used(self):
        event = one(PAYLOAD, mapping={"subject": "{{ payload.title", "source_id": "{{ payload.__class__ }}"})
        assert (event.subject, event.source_id) == ("Disk full", "f1")
        assert {fault.field for fault in event.faults} == {"subject", "source_id"}
        assert all(fault.text for fault in event.faults)

    @pytest.mark.parametrize(
        "subject",
        [
            "{{ payload.status }}: {{ payload.what }}",
            "{{ payload.what }} is {{ payload.status | upper }} ({{ payload.data.severity }})",
            "{{ payload.what }} is {{ 'UP' if payload.status == 'resolved' else 'DOWN' }}",
            "{{ payload.status }}",
        ],
    )
    def test_the_state_in_a_mapped_subject_is_no_part_of_the_id(self, subject):
        def event(what, status, severity):
            payload = {"status": status, "what": what, "title": f"{what} on web", "data": {"severity": severity}}
            return one(payload, mapping={"subject": subject})

        opened, closed = event("Disk", "firing", "critical"), event("Disk", "resolved", "ok")
        assert (opened.action, closed.action) == (Action.OPEN, Action.CLOSE)
        assert opened.subject != closed.subject
        assert opened.source_id == closed.source_id
        assert event("Memory", "firing", "critical").source_id != opened.source_id

    def test_what_stands_under_a_key_of_a_state_and_is_none_stays_in_the_id(self):
        subject = {"subject": "{{ payload.action }}"}
        ids = {one({"action": f"restart {host}"}, mapping=subject).source_id for host in ("web1", "web2")}
        assert len(ids) == 2

    def test_the_state_within_elements_is_no_part_of_their_ids(self):
        mapping = {
            "each": "{{ payload.alerts }}",
            "subject": "{{ payload.state }} {{ payload.what }} {{ payload.env }}",
        }
        ids = []
        for state in ("alerting", "ok"):
            alerts = [{"state": state, "what": what} for what in ("disk", "memory")]
            ids.append([event.source_id for event in mapped({"alerts": alerts, "env": "live"}, mapping=mapping).events])
        assert ids[0] == ids[1]
        assert len(set(ids[0])) == 2

    @pytest.mark.parametrize("field", ["subject", "source_id", "status", "priority", "url", "long_text", "source"])
    def test_a_template_that_finds_nothing_is_no_fault(self, field):
        plain, event = one(PAYLOAD), one(PAYLOAD, mapping={field: "{{ payload.missing.too }}"})
        assert event == plain

    @pytest.mark.parametrize(("field", "text"), [("priority", "huge"), ("url", "javascript:alert(1)")])
    def test_a_value_that_cannot_be_used_is_a_fault(self, field, text):
        event = one(PAYLOAD | {"link": "https://x.example"}, mapping={field: text})
        assert (event.priority, event.url) == ("high", "https://x.example")
        assert [fault.field for fault in event.faults] == [field]

    def test_wrong_types_become_text(self):
        event = one(
            {"n": 7, "list": ["a", "b"], "object": {"k": 1}, "null": None, "title": "t"},
            mapping={
                "source_id": "{{ payload.n }}",
                "subject": "{{ payload.list }}",
                "short_text": "{{ payload.object }}",
            },
        )
        assert (event.source_id, event.subject, event.short_text) == ("7", "a, b", '{"k": 1}')
        assert one({"title": "t"}, mapping={"subject": "{{ payload.null }}"}).subject == "t"

    def test_priority_none_can_be_mapped(self):
        assert one(PAYLOAD, mapping={"priority": "none"}).priority == "none"


class TestSource:
    def test_it_is_the_address_or_the_preset_or_the_type(self):
        assert one(PAYLOAD).source == "API"
        assert one(PAYLOAD, type_label="Email").source == "Email"
        assert one(body_of("zabbix", "open")).source == "Zabbix"
        assert one(body_of("zabbix", "open"), source="Prod").source == "Prod"
        assert one(body_of("zabbix", "open"), source="Prod", mapping={"source": "X"}).source == "X"

    @pytest.mark.parametrize(
        "text",
        ["Heartbeat", "HEARTBEAT", " heartbeat ", "\N{FULLWIDTH LATIN SMALL LETTER H}eartbeat", "heart\u200bbeat"],
    )
    def test_it_cannot_pretend_to_be_heartbeat(self, text):
        assert one(PAYLOAD, source=text).source == "API: Heartbeat"
        assert one(PAYLOAD, mapping={"source": text}).source == "API: Heartbeat"

    def test_it_cannot_pretend_to_be_manual(self):
        assert one(PAYLOAD, source="mAnual", type_label="Chat").source == "Chat: Manual"

    def test_the_name_is_that_of_the_integration(self):
        assert one(PAYLOAD).source_name == "Shop"


class TestLimits:
    def test_texts_are_cut(self):
        long = "x" * 30_000
        event = one({"title": long, "message": long}, source=long, mapping={"source_name": "{{ payload.title }}"})
        assert (len(event.subject), len(event.short_text), len(event.source)) == (300, 300, 100)
        assert (len(event.source_name), len(event.long_text)) == (200, 20_000)

    def test_a_long_source_id_is_its_hash(self):
        assert one({"fingerprint": "x" * 200}).source_id == "x" * 200
        assert one({"fingerprint": "x" * 201}).source_id == hashlib.sha256(b"x" * 201).hexdigest()
        assert one({"fingerprint": "x" * 201}).source_id != one({"fingerprint": "x" * 202}).source_id

    def test_subjects_that_differ_only_far_behind_are_two(self):
        first, second = (one({"title": "x" * 400 + end}) for end in "ab")
        assert first.subject == second.subject
        assert first.source_id != second.source_id


class TestStatusWords:
    def test_own_words_replace_those_of_their_action_only(self):
        words = {"close": ["weg", "Ist Gut"]}
        assert one({"status": "IST GUT"}, status_words=words).action is Action.CLOSE
        assert one({"status": "resolved"}, status_words=words).action is Action.OPEN
        assert one({"status": "ack"}, status_words=words).action is Action.ACKNOWLEDGE

    def test_own_words_count_before_those_of_a_preset(self):
        body = body_of("uptime_kuma", "open")
        assert one(body, status_words={"update": ["0"]}).action is Action.UPDATE

    def test_an_own_word_to_ignore_is_ignored(self):
        event = one({"status": "noise"}, status_words={"ignore": ["noise"]})
        assert (event.action, event.reason) == (Action.IGNORE, "rule")

    def test_a_mapped_status_counts_before_the_members_of_a_group(self):
        body = body_of("alertmanager", "open")
        assert one(body, mapping={"status": "resolved"}).action is Action.CLOSE


class TestEach:
    def test_each_element_is_an_event_and_its_keys_come_first(self):
        body = {
            "severity": "low",
            "name": "outer",
            "alerts": [
                {"fingerprint": "a", "status": "firing", "title": "A", "severity": "high"},
                {"fingerprint": "b", "status": "ok", "title": "B"},
            ],
        }
        events = mapped(body, mapping={"each": "{{ payload.alerts }}", "short_text": "{{ payload.name }}"}).events
        assert [(e.action, e.source_id, e.subject, e.priority, e.short_text) for e in events] == [
            (Action.OPEN, "a", "A", "high", "outer"),
            (Action.CLOSE, "b", "B", "low", "outer"),
        ]
        assert "outer" not in events[0].long_text

    def test_elements_are_never_merged_by_what_is_around_them(self):
        body = {"fingerprint": "outer", "title": "Disks", "list": [{"x": 1}, {"x": 2}, "three"]}
        events = mapped(body, mapping={"each": "{{ payload.list }}"}).events
        assert len({event.source_id for event in events}) == 3
        assert [event.subject for event in events] == ["Disks 1", "Disks 2", "three"]

    def test_a_list_of_objects_is_split_by_itself(self):
        events = mapped([{"title": "a"}, {"title": "b", "status": "ok"}]).events
        assert [(event.subject, event.action) for event in events] == [("a", Action.OPEN), ("b", Action.CLOSE)]
        assert len(mapped(["a", {"title": "b"}]).events) == len(mapped([]).events) == 1

    def test_each_may_name_the_whole_payload(self):
        assert len(mapped([{"title": "a"}, "b"], mapping={"each": "{{ payload }}"}).events) == 2

    @pytest.mark.parametrize("each", ["{{ payload.title }}", "{{ payload.alerts", "x{{ payload.tags }}"])
    def test_an_each_that_is_no_list_is_a_fault_and_the_event_stays_whole(self, each):
        event = one(PAYLOAD, mapping={"each": each})
        assert [fault.field for fault in event.faults] == ["each"]
        assert event.source_id == "f1"

    def test_an_each_that_finds_nothing_leaves_the_event_whole(self):
        assert one(PAYLOAD, mapping={"each": "{{ payload.alerts }}"}) == one(PAYLOAD)

    @pytest.mark.parametrize(
        ("last", "count", "action"),
        [("ok", 250, Action.CLOSE), ("firing", 250, Action.OPEN), ("ok", 1_500, Action.OPEN)],
    )
    def test_beyond_two_hundred_elements_the_rest_is_one(self, last, count, action):
        body = [{"fingerprint": str(number), "status": "ok"} for number in range(count)]
        body[230]["status"] = last
        events = mapped(body).events
        assert len(events) == 201
        assert (events[-1].subject, events[-1].action) == (f"Shop: and {count - 200} more", action)
        assert events[-1].source_id == mapped(body[:-1]).events[-1].source_id
        assert mapped({"list": body}, mapping={"each": "{{ payload.list }}"}).events[-1] == events[-1]


def rule(then, *conditions, stop=True, kind="all"):
    return {"name": "r", "when": {kind: list(conditions)}, "then": then, "stop": stop}


def condition(path, op, value=None, **more):
    return {"path": path, "op": op, "value": value, **more}


class TestRules:
    def test_the_first_rule_that_holds_stops(self):
        rules = [
            rule({"priority": "low"}, condition("severity", "equals", "no")),
            rule({"priority": "critical"}, condition("severity", "equals", "HIGH")),
            rule({"priority": "medium"}, condition("severity", "exists")),
        ]
        assert one(PAYLOAD, rules=rules).priority == "critical"

    def test_rules_that_go_on_add_to_each_other(self):
        rules = [
            rule(
                {"recipient_groups": [1], "recipient_users": [7], "note": "First", "escalation_policy": 3},
                stop=False,
            ),
            rule({"recipient_groups": [2, 1], "note": "{{ payload.title }}", "delay": {"mode": "none"}}, stop=False),
            rule({"subject": "{{ payload.title | upper }}"}),
            rule({"subject": "never"}),
        ]
        event = one(PAYLOAD, rules=rules)
        assert event.then == Then(
            escalation_policy=3,
            recipient_groups=[1, 2],
            recipient_users=[7],
            note="First\nDisk full",
            delay={"mode": "none"},
        )
        assert (event.subject, event.short_text) == ("DISK FULL", "DISK FULL")

    def test_a_rule_may_replace_recipients_and_a_play_replaces_a_policy(self):
        rules = [
            rule({"recipient_groups": [1], "escalation_policy": 3}, stop=False),
            rule({"recipient_users": [5], "replace": True, "response_play": 9}),
        ]
        assert one(PAYLOAD, rules=rules).then == Then(
            response_play=9, recipient_groups=[], recipient_users=[5], replace=True
        )

    @pytest.mark.parametrize("action", [*Action])
    def test_a_rule_sets_the_action_whatever_the_status_says(self, action):
        event = one(PAYLOAD | {"status": "ok"}, rules=[rule({"action": str(action)})])
        assert event.action is action
        assert event.reason == ("rule" if action is Action.IGNORE else "")

    def test_a_subject_of_a_rule_does_not_change_the_key(self):
        rules = [rule({"subject": "Other"}, condition("status", "equals", "firing"))]
        body = {"title": "Disk full", "status": "firing"}
        assert one(body, rules=rules).source_id == one(body | {"status": "ok"}, rules=rules).source_id

    @pytest.mark.parametrize(
        ("rules", "no_rule", "action"),
        [
            ([rule({"priority": "low"}, condition("a", "exists"))], "ignore", Action.IGNORE),
            ([rule({"priority": "low"}, condition("a", "exists"))], "continue", Action.OPEN),
            ([rule({"priority": "low"}, condition("title", "exists"))], "ignore", Action.OPEN),
            ([], "ignore", Action.OPEN),
        ],
    )
    def test_if_no_rule_holds_the_integration_decides(self, rules, no_rule, action):
        event = one(PAYLOAD, rules=rules, no_rule=no_rule)
        assert (event.action, event.reason) == (action, "rule" if action is Action.IGNORE else "")

    def test_a_rule_sees_one_element_of_a_list_and_what_is_around_it(self):
        rules = [rule({"priority": "critical"}, condition("x", "equals", 2), condition("region", "equals", "eu"))]
        body = {"region": "eu", "list": [{"x": 1}, {"x": 2}]}
        events = mapped(body, mapping={"each": "{{ payload.list }}"}, rules=rules).events
        assert [event.priority for event in events] == ["", "critical"]

    @pytest.mark.parametrize(
        "broken",
        [
            rule({"priority": "low"}, {"path": "a[", "op": "exists"}),
            rule({"priority": "low"}, {"path": "title", "op": "matches", "value": "("}),
            rule({"priority": "low"}, {"path": "title", "op": "unheard"}),
            rule({"priority": "low"}, {"op": "exists"}),
            rule({"priority": "low"}, "nonsense"),
            "nonsense",
        ],
    )
    def test_a_rule_that_fails_does_not_hold_and_is_a_fault(self, broken):
        event = one(PAYLOAD, rules=[broken, rule({"priority": "critical"})])
        assert event.priority == "critical"
        assert [fault.field for fault in event.faults] == ["rules"]

    def test_if_a_rule_failed_nothing_is_ignored_since_it_might_have_held(self):
        broken = rule({"priority": "low"}, {"path": "title", "op": "matches", "value": "("})
        assert one(PAYLOAD, rules=[broken], no_rule="ignore").action is Action.OPEN

    def test_rules_that_are_too_much_work_give_one_fault_and_the_event_opens(self):
        event = one({"tags": ["x" * 10_000] * 100, "title": "Disk full"})
        rules = [rule({"priority": "low"}, condition(f"tags[{number}]", "equals", "y")) for number in range(100)]
        config = MappingConfig(name="Shop", type_label="API", rules=rules, no_rule="ignore")
        result = apply_rules(event, config, {"payload": {"tags": ["x" * 10_000] * 100}}, work=Work(50_000))
        assert result.action is Action.OPEN
        assert [fault.field for fault in result.faults] == ["rules"]

    def test_a_text_of_a_rule_that_fails_is_a_fault(self):
        event = one(PAYLOAD, rules=[rule({"subject": "{{ x", "priority": "low"})])
        assert (event.subject, event.priority) == ("Disk full", "low")
        assert event.faults[0].text.startswith("Rule 1, subject:")


class TestWhatNobodyExpects:
    def test_any_error_becomes_the_default_and_a_fault(self, monkeypatch, caplog):
        def fail(*args, **kwargs):
            raise RecursionError("deep")

        monkeypatch.setattr(mapping, "recognize", fail)
        with caplog.at_level(logging.CRITICAL):
            event = one(PAYLOAD, source="Heartbeat")
        assert (event.action, event.subject, event.source) == (Action.OPEN, "Shop: event", "API: Heartbeat")
        assert "title: Disk full" in event.long_text
        assert [fault.field for fault in event.faults] == ["payload"]

    def test_the_fault_of_the_body_is_the_first(self):
        assert one("x", fault="not JSON", mapping={"subject": "{{"}).faults[0] == Fault("payload", "not JSON")
