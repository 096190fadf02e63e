"""Each preset opens and closes with the sender's own bodies, and knows the sender's traps."""

import json
import re
from typing import Any

import pytest

from integrations.inbound.event import Action
from integrations.inbound.presets import NAMES, presets
from integrations.inbound.templates import compile_template

from .events import NOW, SENDERS, body_of, headers_of, mapped, one, words

# The places of a body that make up the key and the state; whatever else is in it may change.
KEPT = {
    "alertmanager": r"version|groupKey|truncatedAlerts|alerts\[\d\]\.status",
    "grafana": r"version|orgId|groupKey|truncatedAlerts|alerts\[\d\]\.status",
    "cloudwatch": r"Type|TopicArn|AlarmArn|NewStateValue",
    "github": r"action|repository\.full_name|workflow_run\.(path|head_branch|conclusion|head_repository\.full_name)",
    "gitlab": r"object_kind|project\.path_with_namespace|object_attributes\.(ref|tag|status)",
    "sentry": r"action|data\.issue\.id",
    "uptime_kuma": r"monitor\.id|heartbeat\.status",
    "zabbix": r"EVENT\.ID|EVENT\.VALUE",
}


def changed(value: Any, kept: str, path: str = "") -> Any:
    """Return a body in which each value is another one of its type, except those at the paths that are kept."""
    if isinstance(value, dict):
        return {key: changed(child, kept, f"{path}.{key}".lstrip(".")) for key, child in value.items()}
    if isinstance(value, list):
        return [changed(child, kept, f"{path}[{at}]") for at, child in enumerate(value)]
    if re.fullmatch(kept, path):
        return value
    if isinstance(value, str):
        if value[:1] == "{" and path == "Message":
            return json.dumps(changed(json.loads(value), kept))
        return f"another {value}"
    return value if value is None or isinstance(value, bool) else value + 7


def test_each_file_is_a_preset_and_each_template_compiles():
    assert {path.stem for path in SENDERS.parents[2].joinpath("integrations/inbound/presets").glob("*.toml")} == {
        *NAMES
    }
    for preset in presets().values():
        readings = [preset.reading, *(variant.reading for variant in preset.variants), preset.element]
        for reading in filter(None, readings):
            for template in reading.fields.values():
                assert compile_template(template).text == template
            assert {*reading.status_words} <= {*Action}


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_opens_and_closes_the_same_key(name):
    opening, closing = (one(body_of(name, body), headers_of(name)) for body in ("open", "close"))
    assert mapped(body_of(name, "open"), headers_of(name)).preset == name
    assert (opening.action, closing.action) == (Action.OPEN, Action.CLOSE)
    assert opening.source == closing.source == presets()[name].label
    assert opening.source_id == closing.source_id
    assert opening.subject
    assert opening.url.startswith("http")
    assert opening.faults == closing.faults == []


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_closes_when_every_other_field_has_changed(name):
    opening = one(body_of(name, "open"), headers_of(name))
    body = changed(body_of(name, "close"), KEPT[name])
    assert body != body_of(name, "close")
    closing = one(body, headers_of(name))
    assert closing.action is Action.CLOSE
    assert (closing.source, closing.source_name, closing.source_id) == (
        opening.source,
        "Shop",
        opening.source_id,
    )


@pytest.mark.parametrize("name", [*NAMES])
def test_a_preset_without_its_header_is_recognized_by_the_shape(name):
    is_header_needed = name in {"github", "sentry"}
    assert mapped(body_of(name, "open")).preset == ("" if is_header_needed else name)


def test_a_named_preset_is_used_unseen_and_none_switches_presets_off():
    body = {"groupKey": "g", "status": "resolved", "alerts": []}
    assert mapped(body).preset == ""
    assert mapped(body, preset="alertmanager").preset == "alertmanager"
    assert one(body, preset="alertmanager").source_id == "g"
    assert mapped(body_of("zabbix", "open"), preset="none").preset == ""
    assert mapped({}, preset="unknown").preset == ""


class TestAlertmanager:
    def test_the_group_is_open_while_a_member_is_whatever_the_root_says(self):
        body = body_of("alertmanager", "open")
        assert [member.is_open for member in one(body).members] == [True, False]
        body["alerts"][0]["status"] = "resolved"
        assert body["status"] == "firing"
        assert one(body).action is Action.CLOSE
        body["status"] = "resolved"
        body["alerts"][1]["status"] = "firing"
        assert one(body).action is Action.OPEN

    def test_members_that_were_left_out_may_still_fire(self):
        body = body_of("alertmanager", "close") | {"truncatedAlerts": 3}
        assert one(body).action is Action.UPDATE
        assert one(body_of("alertmanager", "open") | {"truncatedAlerts": 3}).action is Action.OPEN

    def test_a_member_is_known_by_its_fingerprint_or_else_by_its_labels(self):
        body = body_of("alertmanager", "open")
        body["alerts"][0]["fingerprint"] = ""
        first, second = (member.key for member in one(body).members)
        assert second == "0a1b2c3d4e5f6071"
        body["alerts"][0] |= {"startsAt": "2026-11-21T08:00:00Z", "status": "resolved"}
        body["alerts"][0]["labels"] = dict(reversed(body["alerts"][0]["labels"].items()))
        assert one(body).members[0].key == first
        body["alerts"][0]["labels"]["instance"] = "db3:9100"
        assert one(body).members[0].key != first

    def test_the_times_are_those_of_what_fires_and_of_what_ended(self):
        opening, closing = (one(body_of("alertmanager", name)) for name in ("open", "close"))
        assert opening.event_at.isoformat() == "2026-11-20T08:00:00.123456+00:00"
        assert closing.event_at.isoformat() == "2026-11-20T08:40:00+00:00"

    def test_a_date_in_the_year_1_is_none(self):
        body = body_of("alertmanager", "close")
        for alert in body["alerts"]:
            alert["endsAt"] = "0001-01-01T00:00:00Z"
        assert one(body).event_at is None

    def test_the_priority_is_the_highest_of_what_fires(self):
        body = body_of("alertmanager", "open")
        body["alerts"][0]["labels"]["severity"] = "warning"
        body["alerts"][1]["labels"]["severity"] = "critical"
        assert one(body).priority == "medium"
        body["alerts"][1]["status"] = "firing"
        assert one(body).priority == "critical"

    def test_the_subject_is_the_summary_or_the_name_with_the_group(self):
        body = body_of("alertmanager", "open")
        assert one(body).subject == "DiskFull node (2)"
        body["alerts"].pop()
        assert one(body).subject == "Disk of db2:9100 is 97 % full"
        body["alerts"][0]["annotations"] = {}
        assert one(body).subject == "DiskFull node"
        body["commonAnnotations"] = {"summary": "Disks are full"}
        assert one(body).subject == "Disks are full"

    def test_beyond_two_hundred_members_the_rest_is_one(self):
        body = body_of("alertmanager", "close")
        body["alerts"] = [{**body["alerts"][0], "fingerprint": f"f{number}"} for number in range(250)]
        assert one(body).action is Action.CLOSE
        body["alerts"][240]["status"] = "firing"
        event = one(body)
        assert event.action is Action.OPEN
        assert len(event.members) == 201
        assert (event.members[-1].subject, event.members[-1].is_open) == ("and 50 more", True)

    def test_a_group_of_many_closes(self):
        body = body_of("alertmanager", "close")
        body["alerts"] = [{"status": "resolved", "fingerprint": f"f{number}"} for number in range(5_000)]
        assert one(body).action is Action.CLOSE
        body["alerts"][-1]["status"] = "firing"
        assert one(body).action is Action.OPEN

    def test_each_alert_is_an_alert_of_ours_if_the_integration_splits(self):
        events = mapped(body_of("alertmanager", "open"), mapping={"each": "{{ payload.alerts }}"}).events
        assert [(event.action, event.source_id) for event in events] == [
            (Action.OPEN, "5ef77f1f8a3ecf8d"),
            (Action.CLOSE, "0a1b2c3d4e5f6071"),
        ]
        assert [event.subject for event in events] == ["Disk of db2:9100 is 97 % full", "Disk of db1:9100 is 97 % full"]
        assert [event.event_at.minute for event in events] == [0, 50]
        assert events[0].members == ()

    def test_a_group_without_alerts_has_the_status_of_its_root(self):
        body = body_of("alertmanager", "close") | {"alerts": []}
        assert one(body).action is Action.CLOSE


class TestGrafana:
    def test_a_query_without_data_has_the_name_of_the_rule(self):
        event = one(body_of("grafana", "no_data"))
        assert (event.action, event.subject) == (Action.OPEN, "High memory usage: no data")
        assert event.members[0].subject == "High memory usage"

    def test_an_error_of_the_data_source_has_the_name_of_the_rule(self):
        body = json.loads(json.dumps(body_of("grafana", "no_data")).replace("DatasourceNoData", "DatasourceError"))
        assert one(body).subject == "High memory usage: error of the data source"

    @pytest.mark.parametrize("matches", [None, [], [{"value": 1, "metric": "m"}]])
    def test_legacy_alerting_pairs_by_the_rule_whatever_it_matched(self, matches):
        opening = one({**body_of("grafana", "legacy_open"), "evalMatches": matches})
        closing = one(body_of("grafana", "legacy_close"))
        assert (opening.action, closing.action) == (Action.OPEN, Action.CLOSE)
        assert opening.source_id == closing.source_id == "17"

    @pytest.mark.parametrize(
        ("state", "action", "priority"),
        [("no_data", Action.OPEN, "low"), ("pending", Action.IGNORE, ""), ("paused", Action.IGNORE, "")],
    )
    def test_states_of_legacy_alerting(self, state, action, priority):
        event = one({**body_of("grafana", "legacy_open"), "state": state})
        assert (event.action, event.priority) == (action, priority)

    def test_a_body_for_slack_opens_with_its_title(self):
        event = one({"channel": "x", "attachments": [{"title": "[Alerting] CPU", "text": "high", "color": "#D63232"}]})
        assert (event.action, event.subject) == (Action.OPEN, "CPU")


class TestCloudWatch:
    def test_missing_data_only_updates(self):
        body = body_of("cloudwatch", "open")
        body["Message"] = body["Message"].replace('"ALARM"', '"INSUFFICIENT_DATA"')
        assert one(body).action is Action.UPDATE
        assert one(body, status_words={"update": []}).action is Action.OPEN

    def test_a_message_without_the_frame_of_sns_and_a_composite_alarm_are_read(self):
        alarm = json.loads(body_of("cloudwatch", "open")["Message"])
        del alarm["Trigger"]
        event = one(alarm)
        assert (event.source, event.source_id) == ("CloudWatch", alarm["AlarmArn"])

    def test_an_event_of_eventbridge_is_read(self):
        body = {
            "source": "aws.cloudwatch",
            "detail-type": "CloudWatch Alarm State Change",
            "resources": ["arn:aws:cloudwatch:eu-west-1:1:alarm:db cpu"],
            "detail": {"alarmName": "db cpu", "state": {"value": "OK", "timestamp": "2026-11-20T08:31:12.345+0000"}},
        }
        event = one(body)
        assert (event.action, event.source_id) == (Action.CLOSE, "arn:aws:cloudwatch:eu-west-1:1:alarm:db cpu")

    def test_alarms_of_two_regions_with_one_name_are_two(self):
        body = body_of("cloudwatch", "open")
        other = {**body, "Message": body["Message"].replace("eu-west-1", "us-east-1")}
        assert one(body).source_id != one(other).source_id

    def test_no_secret_of_sns_is_in_the_text(self):
        text = one(body_of("cloudwatch", "open")).long_text
        assert "CPU of the database" in text
        assert "Unsubscribe" not in text

    @pytest.mark.parametrize("message", ["Disk full", "{broken", "[1]", ""])
    def test_another_message_of_sns_opens_with_its_text(self, message):
        body = {**body_of("cloudwatch", "open"), "Subject": None, "Message": message}
        event = one(body, headers_of("cloudwatch"))
        assert (event.action, event.subject, event.source) == (Action.OPEN, message or "Shop: event", "API")

    def test_json_without_a_subject_has_that_of_the_message(self):
        body = {**body_of("cloudwatch", "open"), "Subject": "Budget exceeded", "Message": '{"limit": 100}'}
        assert one(body).subject == "Budget exceeded"
        assert one({**body, "Message": '{"title": "Too much"}'}).subject == "Too much"

    def test_a_handshake_opens_nothing(self):
        event = one(
            {"Type": "SubscriptionConfirmation", "TopicArn": "a", "Message": "Confirm", "SubscribeURL": "https://x"}
        )
        assert (event.action, event.reason) == (Action.IGNORE, "untrusted")


class TestGitHub:
    @pytest.mark.parametrize(
        ("conclusion", "action"),
        [
            ("failure", Action.OPEN),
            ("timed_out", Action.OPEN),
            ("startup_failure", Action.OPEN),
            ("success", Action.CLOSE),
            ("cancelled", Action.IGNORE),
            ("skipped", Action.IGNORE),
            (None, Action.IGNORE),
        ],
    )
    def test_the_conclusion_decides_and_not_that_it_is_completed(self, conclusion, action):
        body = body_of("github", "open")
        body["workflow_run"]["conclusion"] = conclusion
        event = one(body, headers_of("github"))
        assert event.action is action
        assert event.reason == ("rule" if action is Action.IGNORE else "")

    def test_a_run_that_only_began_is_ignored(self):
        body = body_of("github", "close") | {"action": "in_progress"}
        assert one(body, headers_of("github")).action is Action.IGNORE

    def test_a_fork_with_a_branch_of_the_same_name_closes_nothing(self):
        body = body_of("github", "close")
        body["workflow_run"]["head_repository"]["full_name"] = "bob/shop"
        assert (
            one(body, headers_of("github")).source_id != one(body_of("github", "open"), headers_of("github")).source_id
        )

    def test_a_ping_is_a_test_and_a_push_reports_nothing(self):
        ping = one({"zen": "Keep it simple.", "hook_id": 1}, headers_of("github", x_github_event="ping"))
        push = one({"ref": "refs/heads/main", "commits": []}, headers_of("github", x_github_event="push"))
        assert (ping.action, ping.reason) == (Action.IGNORE, "test")
        assert (push.action, push.reason) == (Action.IGNORE, "rule")

    @pytest.mark.parametrize("kind", ["dependabot_alert", "code_scanning_alert", "secret_scanning_alert"])
    def test_security_alerts_open_and_close(self, kind):
        body = {"repository": {"full_name": "acme/shop"}, "alert": {"number": 4, "html_url": "https://github.com/a"}}
        headers = headers_of("github", x_github_event=kind)
        closing = "resolved" if kind == "secret_scanning_alert" else "fixed"
        events = [one({**body, "action": action}, headers) for action in ("created", "reopened", closing, "assigned")]
        assert [event.action for event in events] == [Action.OPEN, Action.OPEN, Action.CLOSE, Action.IGNORE]
        assert {event.source_id for event in events} == {f"acme/shop {kind} 4"}

    def test_deployments_and_check_suites_open_and_close(self):
        repository = {"full_name": "acme/shop", "html_url": "https://github.com/acme/shop"}
        for kind, field, more in (
            ("deployment_status", "state", {"deployment": {"environment": "production"}}),
            ("check_suite", "conclusion", {"action": "completed"}),
        ):
            headers = headers_of("github", x_github_event=kind)
            suite = {"app": {"slug": "ci", "name": "CI"}, "head_branch": "main"}
            bodies = [
                {"repository": repository, kind: {**suite, field: state}, **more}
                for state in ("failure", "success", "queued")
            ]
            events = [one(body, headers) for body in bodies]
            assert [event.action for event in events] == [Action.OPEN, Action.CLOSE, Action.IGNORE]
            assert len({event.source_id for event in events}) == 1


class TestGitLab:
    @pytest.mark.parametrize("status", ["running", "pending", "created", "canceled", "skipped", "manual"])
    def test_a_pipeline_that_neither_failed_nor_succeeded_is_ignored(self, status):
        body = body_of("gitlab", "open")
        body["object_attributes"]["status"] = status
        assert one(body, headers_of("gitlab")).action is Action.IGNORE

    def test_pipelines_of_a_branch_and_of_a_tag_with_one_name_are_two(self):
        body = body_of("gitlab", "open")
        branch = one(body).source_id
        body["object_attributes"]["tag"] = True
        assert one(body).source_id != branch

    def test_deployments_and_incidents_open_and_close(self):
        project = {"path_with_namespace": "acme/shop", "web_url": "https://gitlab.example/acme/shop"}
        deployments = [
            {"object_kind": "deployment", "status": status, "environment": "production", "project": project}
            for status in ("failed", "success", "running")
        ]
        incidents = [
            {"object_kind": "issue", "event_type": "incident", "project": project, "object_attributes": attributes}
            for attributes in (
                {"iid": 4, "title": "Shop is slow", "state": "opened", "action": "open", "url": "https://g.example/4"},
                {"iid": 4, "title": "Shop is slow", "state": "closed", "action": "close"},
                {"iid": 4, "title": "Shop is slower", "state": "opened", "action": "update"},
            )
        ]
        for bodies, kind, last in (
            (deployments, "Deployment Hook", Action.IGNORE),
            (incidents, "Issue Hook", Action.UPDATE),
        ):
            events = [one(body, {"x-gitlab-event": kind}) for body in bodies]
            assert [event.action for event in events] == [Action.OPEN, Action.CLOSE, last]
            assert len({event.source_id for event in events}) == 1

    def test_a_push_reports_nothing(self):
        body = {"object_kind": "push", "ref": "refs/heads/main", "project": {"id": 1}}
        assert one(body, {"x-gitlab-event": "Push Hook"}).reason == "rule"


class TestSentry:
    def headers(self, resource):
        return headers_of("sentry", sentry_hook_resource=resource)

    def test_an_alert_of_an_issue_is_closed_by_the_issue(self):
        opening = one(body_of("sentry", "event_alert"), self.headers("event_alert"))
        closing = one(body_of("sentry", "close"), self.headers("issue"))
        assert (opening.action, opening.priority) == (Action.OPEN, "high")
        assert opening.source_id == closing.source_id == "issue 1170820242"

    @pytest.mark.parametrize(
        ("action", "result"),
        [("unresolved", "open"), ("archived", "close"), ("ignored", "close"), ("assigned", "update")],
    )
    def test_what_happens_to_an_issue(self, action, result):
        assert one({**body_of("sentry", "open"), "action": action}, self.headers("issue")).action == result

    def test_a_metric_alert_opens_and_closes(self):
        opening, closing = (
            one(body_of("sentry", name), self.headers("metric_alert")) for name in ("metric_open", "metric_close")
        )
        assert (opening.action, opening.priority, closing.action) == (Action.OPEN, "critical", Action.CLOSE)
        assert opening.source_id == closing.source_id == "metric 18"
        assert opening.subject == closing.subject == "Too many errors"

    def test_a_metric_and_an_issue_with_one_number_are_two(self):
        metric = body_of("sentry", "metric_open")
        metric["data"]["metric_alert"]["id"] = "1170820242"
        issue = one(body_of("sentry", "open"), self.headers("issue"))
        assert one(metric, self.headers("metric_alert")).source_id != issue.source_id

    def test_an_installation_is_ignored_and_an_unknown_resource_opens(self):
        assert one({"action": "created", "data": {}}, self.headers("installation")).action is Action.IGNORE
        assert one({"action": "critical", "data": {"title": "x"}}, self.headers("new")).action is Action.OPEN

    def test_the_body_of_the_former_plugin_opens(self):
        body = {
            "id": "27379932",
            "project_name": "Shop",
            "culprit": "checkout",
            "level": "error",
            "url": "https://sentry.example/27379932/",
            "message": "This is an example",
            "event": {"title": "ReferenceError"},
        }
        event = one(body)
        assert (event.source, event.source_id, event.subject) == ("Sentry", "issue 27379932", "ReferenceError")


class TestUptimeKuma:
    def test_the_button_test_is_a_test(self):
        event = one(body_of("uptime_kuma", "test"))
        assert (event.action, event.reason) == (Action.IGNORE, "test")

    def test_a_notice_of_a_certificate_is_one_alert_however_many_days_are_left(self):
        body = body_of("uptime_kuma", "certificate")
        later = {**body, "msg": body["msg"].replace("14 days", "7 days")}
        first, second = one(body), one(later)
        assert (first.action, first.priority) == (Action.OPEN, "low")
        assert first.source_id == second.source_id
        assert first.subject != second.subject
        assert one({**body, "msg": body["msg"].replace("Shop", "Docs")}).source_id != first.source_id

    @pytest.mark.parametrize("status", [2, 3])
    def test_pending_and_maintenance_are_ignored(self, status):
        body = body_of("uptime_kuma", "open")
        body["heartbeat"]["status"] = status
        assert one(body).action is Action.IGNORE

    def test_another_notice_opens(self):
        assert one({"heartbeat": None, "monitor": None, "msg": "The proxy is gone"}).action is Action.OPEN


class TestZabbix:
    @pytest.mark.parametrize("missing", ["{EVENT.ID}", "*UNKNOWN*", ""])
    def test_a_macro_without_a_value_is_nobodys_key(self, missing):
        bodies = [body_of("zabbix", "open") | {"EVENT.ID": missing, "TRIGGER.ID": trigger} for trigger in ("7", "8")]
        first, second = (one(body) for body in bodies)
        assert (first.source_id, second.source_id) == ("7", "8")
        third = one(body_of("zabbix", "open") | {"EVENT.ID": missing, "TRIGGER.ID": missing})
        assert third.source_id.startswith("auto:")

    @pytest.mark.parametrize("name", ["update", "acknowledge"])
    def test_an_update_updates_or_acknowledges(self, name):
        assert one(body_of("zabbix", name)).action == name

    @pytest.mark.parametrize(
        ("number", "priority"), [*enumerate(["none", "low", "medium", "medium", "high", "critical"])]
    )
    def test_the_six_severities(self, number, priority):
        assert one(body_of("zabbix", "open") | {"EVENT.NSEVERITY": number}).priority == priority

    def test_parameters_may_be_spelled_like_those_of_zabbix_own_media_types(self):
        body = {key.lower().replace(".", "_"): value for key, value in body_of("zabbix", "close").items()}
        assert (one(body).action, one(body).source_id) == (Action.CLOSE, "90211")


# Senders without a preset. Their bodies are built from documented fields and not confirmed; see the fixtures' README.
OTHERS = words(
    "azure_monitor checkmk cloudevents datadog google_cloud jenkins nagios netdata newrelic pingdom prtg uptimerobot veeam"
)
# Its page has this mapping: the message, which would be the key, has the value in it.
MAPPINGS = {
    "netdata": {"source_id": "{{ payload.space ~ ' ' ~ payload.context ~ ' ' ~ payload.chart if payload.chart }}"}
}


@pytest.mark.parametrize("sender", OTHERS)
def test_the_default_keys_carry_another_sender(sender):
    opening, closing = (
        one(body_of(sender, name), headers_of(sender), mapping=MAPPINGS.get(sender, {})) for name in ("open", "close")
    )
    assert mapped(body_of(sender, "open"), headers_of(sender)).preset == ""
    assert (opening.action, closing.action) == (Action.OPEN, Action.CLOSE)
    assert opening.source_id == closing.source_id
    assert opening.subject != "Shop: event"


@pytest.mark.parametrize("sender", ["nagios", "newrelic"])
def test_an_acknowledgement_acknowledges_the_same_key(sender):
    event = one(body_of(sender, "acknowledge"))
    assert event.action is Action.ACKNOWLEDGE
    assert event.source_id == one(body_of(sender, "open")).source_id


class TestCloudEvents:
    def test_what_is_inside_is_recognized(self):
        body = body_of("cloudevents", "open") | {"data": body_of("alertmanager", "close")}
        assert (mapped(body).preset, one(body).action) == ("alertmanager", Action.CLOSE)
        assert one(body).source_id == one(body_of("alertmanager", "open")).source_id

    def test_the_attributes_may_be_headers(self):
        body = body_of("cloudevents", "close")
        headers = {f"ce-{name}": body[name] for name in ("specversion", "id", "source", "type", "subject")}
        event = one(body["data"], headers)
        assert (event.action, event.source_id) == (Action.CLOSE, "/acme/storage db2/var")

    def test_a_batch_is_an_event_each(self):
        events = mapped([body_of("cloudevents", "open"), body_of("cloudevents", "close")]).events
        assert [event.action for event in events] == [Action.OPEN, Action.CLOSE]

    def test_an_event_without_data_has_a_subject(self):
        body = {"specversion": "1.0", "id": "1", "source": "/s", "type": "example.disk.filled", "subject": "db2"}
        assert one(body).subject == "example.disk.filled db2"


@pytest.mark.parametrize(
    ("body", "action", "key"),
    [
        ({"routing_key": "r", "event_action": "resolve", "dedup_key": "d", "payload": {"summary": "s"}}, "close", "d"),
        ({"routing_key": "r", "event_action": "trigger", "dedup_key": "d", "payload": {"summary": "s"}}, "open", "d"),
        ({"message": "m", "alias": "a", "priority": "P1"}, "open", "a"),
        ({"alert_uid": "u", "title": "t", "state": "ok", "message": "m"}, "close", "u"),
        ({"source": "S", "source_id": "i", "source_status": "Close", "description": "d"}, "close", "i"),
    ],
)
def test_the_shapes_of_other_alerting_products_work(body, action, key):
    event = one(body)
    assert (event.action, event.source_id) == (action, key)


def test_no_fixture_is_later_than_now():
    for name in NAMES:
        event = one(body_of(name, "open"), headers_of(name))
        assert event.event_at is None or event.event_at < NOW
