"""Policies, plays, bridges, windows, people, keys and the outbox, as forms."""

import re
from datetime import timedelta

import pytest
from django.test import override_settings

from accounts.models.access import ApiKey
from accounts.models.contact_methods import ContactMethod
from accounts.models.groups import Group
from accounts.models.users import User
from alerting.models.bridges import Bridge
from escalation.models.on_call import OutOfOffice
from escalation.models.policies import EscalationPolicy, ResponsePlay
from escalation.models.sending import StoredMail
from integrations.models.windows import MaintenanceWindow
from tests import factories


@pytest.fixture
def client(here, signed_in):
    return signed_in(here.people["Owner"])


def rows(prefix, *forms, initial=0):
    """Return the fields of an inline with these rows."""
    data = {f"{prefix}-TOTAL_FORMS": len(forms), f"{prefix}-INITIAL_FORMS": initial}
    return data | {
        f"{prefix}-{index}-{name}": value for index, form in enumerate(forms) for name, value in form.items()
    }


def role(name, **fields):
    base = {"role": name, "wait_minutes": 0, "between_members_minutes": 0, "retries": 0, "retry_interval_minutes": 5}
    return base | {"contact_labels": ""} | fields


POLICY = {"name": "Nights", "priority": "high", "notify_using": "user", "next_group_wait_minutes": 0, "repeats": 0}


def test_a_policy_is_made_and_each_edit_raises_its_version(client, here):
    url = "/admin/escalation/escalationpolicy/"
    fields = POLICY | {"enabled": "on"}
    response = client.post(f"{url}add/", fields | rows("roles", role("primary"), role("secondary", wait_minutes=5)))
    assert response.status_code == 302, response.context["errors"]
    policy = EscalationPolicy.objects.get(name="Nights")
    assert (policy.organization, policy.version) == (here.organization, 1)
    assert [(row.role, row.wait_minutes) for row in policy.roles.all()] == [("primary", 0), ("secondary", 5)]
    first, second = (
        {"id": row.pk, "policy": policy.pk} | role(row.role, wait_minutes=row.wait_minutes)
        for row in policy.roles.all()
    )
    client.post(
        f"{url}{policy.pk}/change/",
        fields | {"name": "Evenings"} | rows("roles", first, second | {"DELETE": "on"}, initial=2),
    )
    policy.refresh_from_db()
    assert (policy.name, policy.version) == ("Evenings", 2)
    assert [row.role for row in policy.roles.all()] == ["primary"]


def test_a_policy_without_a_role_or_with_a_taken_name_is_refused_at_the_form(client, here):
    url = "/admin/escalation/escalationpolicy/add/"
    response = client.post(url, POLICY | rows("roles"))
    assert response.status_code == 200
    assert "at least 1" in str(response.context["errors"]) or "at least one" in str(response.context["errors"])
    taken = here.objects["escalation_escalationpolicy"].name
    response = client.post(url, POLICY | {"name": taken.upper()} | rows("roles", role("primary")))
    assert list(response.context["adminform"].form.errors) == ["name"]
    assert not EscalationPolicy.objects.filter(name="Nights").exists()


def test_a_policy_in_use_is_not_deleted_and_says_by_what(client, here):
    integration = here.objects["integrations_inboundintegration"]
    policy = integration.escalation_policy
    response = client.post(f"/admin/escalation/escalationpolicy/{policy.pk}/delete/", {"post": "yes"}, follow=True)
    assert integration.name in response.content.decode()
    assert EscalationPolicy.objects.filter(pk=policy.pk).exists()
    unused = here.objects["escalation_escalationpolicy"]
    client.post(f"/admin/escalation/escalationpolicy/{unused.pk}/delete/", {"post": "yes"})
    assert not EscalationPolicy.objects.filter(pk=unused.pk).exists()


def test_what_messages_offer_is_ticked_in_a_table(client, here, signed_in):
    url = "/admin/escalation/escalationpolicy/"
    page = client.get(f"{url}add/").content.decode()
    boxes = re.findall(r'<input[^>]*name="allowed_actions"[^>]*>', page)
    assert len(boxes) == 4 * len(ContactMethod.Kind)
    assert all("checked" in box for box in boxes)
    assert 'aria-label="Close over SMS"' in page
    assert 'aria-label="Close over Apprise"' in page
    data = POLICY | {"allowed_actions": ["email:assign", "sms:assign"]}
    assert client.post(f"{url}add/", data | rows("roles", role("primary"))).status_code == 302
    policy = EscalationPolicy.objects.get(name="Nights")
    assert policy.allowed_actions == {channel: [] for channel in policy.allowed_actions} | {
        "email": ["assign"],
        "sms": ["assign"],
    }
    page = client.get(f"{url}{policy.pk}/change/").content.decode()
    assert page.count('name="allowed_actions" value="email:assign" aria-label="Assign over E-mail" checked') == 1
    onlooker = signed_in(here.people["Integrations Admin"]).get(f"{url}{policy.pk}/change/").content.decode()
    assert "E-mail: assign" in onlooker
    assert "Voice: nothing" in onlooker
    assert "Apprise: nothing" in onlooker


def test_every_field_in_the_rows_of_a_policy_has_a_name(client, here):
    page = client.get("/admin/escalation/escalationpolicy/add/").content.decode()
    fields = re.findall(r'<(?:input|select)[^>]*name="roles-\d+-(?!id|policy)[^>]*>', page)
    assert len(fields) >= 18
    assert [field for field in fields if "aria-label=" not in field and 'type="hidden"' not in field] == []
    assert 'aria-label="Wait before (min)"' in page


def test_the_page_of_a_policy_lists_the_integrations_that_use_it(client, here):
    job = here.objects["integrations_inboundintegration"]
    page = client.get(f"/admin/escalation/escalationpolicy/{job.escalation_policy_id}/change/").content.decode()
    assert f'<a href="/admin/integrations/inboundintegration/{job.pk}/change/">{job}</a>' in page
    unused = here.objects["escalation_escalationpolicy"]
    page = client.get(f"/admin/escalation/escalationpolicy/{unused.pk}/change/").content.decode()
    assert "No integration follows it." in page


def test_a_policy_is_cloned_by_post(client, here, signed_in):
    policy = here.objects["escalation_escalationpolicy"]
    url = f"/admin/escalation/escalationpolicy/{policy.pk}/clone/"
    assert client.get(url).status_code == 405
    assert signed_in(here.people["Integrations Admin"]).post(url).status_code == 403
    client.post(url)
    assert EscalationPolicy.objects.filter(name=f"Copy of {policy.name}").exists()


def test_a_play_keeps_its_tiers_and_refuses_people_from_elsewhere(client, here, elsewhere):
    url = "/admin/escalation/responseplay/add/"
    fields = {"name": "Database down", "priority": "high", "enabled": "on"}
    ana = here.people["Basic"]
    foreign = rows("tiers", {"offset_minutes": 0, "users": [elsewhere.people["Basic"].pk]})
    assert client.post(url, fields | foreign).status_code == 200
    assert not ResponsePlay.objects.filter(name="Database down").exists()
    twice = rows("tiers", {"offset_minutes": 0, "users": [ana.pk]}, {"offset_minutes": 5})
    assert "Tier 2" in str(client.post(url, fields | twice).context["errors"])
    good = rows(
        "tiers",
        {"offset_minutes": 0, "users": [ana.pk]},
        {"offset_minutes": "0.5", "groups": [here.objects["accounts_group"].pk]},
    )
    assert client.post(url, fields | good).status_code == 302
    tiers = ResponsePlay.objects.get(name="Database down").tiers.all()
    assert [(float(tier.offset_minutes), tier.users.count(), tier.groups.count()) for tier in tiers] == [
        (0, 1, 0),
        (0.5, 0, 1),
    ]


def test_a_bridge_must_lead_somewhere_and_have_a_name_of_its_own(client, here):
    url = "/admin/alerting/bridge/add/"
    assert "phone_number" in client.post(url, {"name": "Line"}).context["adminform"].form.errors
    taken = here.objects["alerting_bridge"].name
    response = client.post(url, {"name": taken.upper(), "phone_number": "1"})
    assert list(response.context["adminform"].form.errors) == ["name"]
    response = client.post(url, {"name": "Line", "meeting_url": "javascript:alert(1)"})
    assert list(response.context["adminform"].form.errors) == ["meeting_url"]
    client.post(url, {"name": "Line", "meeting_url": "https://meet.example.com/x"})
    assert Bridge.objects.get(name="Line").organization == here.organization


def test_a_window_is_planned_in_the_readers_time_zone(client, here):
    User.objects.filter(pk=here.people["Owner"].pk).update(time_zone="Europe/Berlin")
    url = "/admin/integrations/maintenancewindow/add/"
    fields = {"name": "Upgrade", "starts_at": "2026-07-01T12:00", "ends_at": "2026-07-01T13:30"}
    assert "integrations" in client.post(url, fields).context["adminform"].form.errors
    chosen = {"integrations": [here.objects["integrations_inboundintegration"].pk]}
    backwards = fields | chosen | {"ends_at": "2026-07-01T11:00"}
    assert list(client.post(url, backwards).context["adminform"].form.errors) == ["ends_at"]
    for wrong in ("0001-01-01T00:00", "9999-12-31T23:59", "tomorrow"):
        assert "starts_at" in client.post(url, fields | chosen | {"starts_at": wrong}).context["adminform"].form.errors
    assert client.post(url, fields | chosen).status_code == 302
    window = MaintenanceWindow.objects.get(name="Upgrade")
    assert window.starts_at.isoformat() == "2026-07-01T10:00:00+00:00"
    assert window.ends_at - window.starts_at == timedelta(minutes=90)


USER = {"name": "Dora", "email": "Dora@Example.com", "kind": "standard", "time_zone": "Europe/Berlin"}


def test_a_user_is_added_with_roles_and_deactivated_but_never_deleted(client, here):
    basic = here.organization.roles.get(name="Basic")
    url = "/admin/accounts/user/"
    response = client.post(f"{url}add/", USER | {"roles": [basic.pk], "password": "correct horse 12"})
    assert response.status_code == 302, response.context["errors"]
    dora = User.objects.get(email="dora@example.com")
    assert list(dora.roles.all()) == [basic]
    assert dora.check_password("correct horse 12")
    assert dora.contact_methods.get().address == "dora@example.com"
    client.post(f"{url}{dora.pk}/change/", USER | {"roles": [basic.pk], "name": "Dora D."})
    dora.refresh_from_db()
    assert (dora.name, dora.is_active) == ("Dora D.", False)
    assert dora.check_password("correct horse 12")
    assert client.post(f"{url}{dora.pk}/delete/", {"post": "yes"}).status_code == 403


def test_nobody_is_made_owner_or_given_a_role_from_elsewhere(client, here, elsewhere):
    for wrong in (here.organization.roles.get(name="Owner"), elsewhere.organization.roles.get(name="App Admin")):
        response = client.post("/admin/accounts/user/add/", USER | {"roles": [wrong.pk]})
        assert list(response.context["adminform"].form.errors) == ["roles"]


def test_an_app_admin_cannot_change_the_owner(here, signed_in):
    owner = here.people["Owner"]
    response = signed_in(here.people["App Admin"]).post(
        f"/admin/accounts/user/{owner.pk}/change/", USER | {"email": "mine@example.com", "is_active": "on"}, follow=True
    )
    assert "Only the Owner" in response.content.decode()
    owner.refresh_from_db()
    assert owner.email != "mine@example.com"


def test_a_weak_password_and_a_taken_e_mail_are_said_at_their_fields(client, here, elsewhere):
    response = client.post("/admin/accounts/user/add/", USER | {"password": "short"})
    assert list(response.context["adminform"].form.errors) == ["password"]
    response = client.post("/admin/accounts/user/add/", USER | {"email": elsewhere.people["Owner"].email})
    assert list(response.context["adminform"].form.errors) == ["email"]


def test_a_group_keeps_its_members(client, here, elsewhere):
    url = "/admin/accounts/group/add/"
    ana, ben = here.people["Basic"], here.people["Send Message"]
    foreign = rows("members", {"user": elsewhere.people["Basic"].pk, "role": "primary", "position": 0})
    assert client.post(url, {"name": "Nights"} | foreign).status_code == 200
    assert not Group.objects.filter(name="Nights").exists()
    members = rows(
        "members",
        {"user": ana.pk, "role": "primary", "position": 0},
        {"user": ben.pk, "role": "manager", "position": 1},
    )
    assert client.post(url, {"name": "Nights"} | members).status_code == 302
    found = Group.objects.get(name="Nights").members.values_list("user_id", "role")
    assert set(found) == {(ana.pk, "primary"), (ben.pk, "manager")}


def test_built_in_roles_are_read_only_and_own_ones_are_made(client, here):
    basic = here.organization.roles.get(name="Basic")
    url = "/admin/accounts/role/"
    assert client.get(f"{url}{basic.pk}/change/").status_code == 200
    assert client.post(f"{url}{basic.pk}/change/", {"name": "Mine"}).status_code == 403
    assert client.post(f"{url}{basic.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(f"{url}add/", {"name": "Readers", "entitlements": ["AuditTrail_View"]})
    assert here.organization.roles.get(name="Readers").entitlements == ["AuditTrail_View"]


def test_a_key_is_shown_once_and_can_be_revoked(client, here):
    response = client.post("/admin/accounts/apikey/add/", {"name": "Deploy"})
    secret = response.context["secret"]
    assert secret in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    key = ApiKey.objects.get(name="Deploy")
    assert key.user == here.people["Owner"]
    page = client.get(f"/admin/accounts/apikey/{key.pk}/change/").content.decode()
    assert secret not in page
    client.post(f"/admin/accounts/apikey/{key.pk}/delete/", {"post": "yes"})
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_the_outbox_shows_messages_safely_and_goes_when_mail_is_sent(client, here):
    message = here.objects["escalation_storedmail"]
    url = "/admin/escalation/storedmail/"
    page = client.get(f"{url}{message.pk}/change/").content.decode()
    assert 'sandbox=""' in page
    preview = client.get(f"{url}{message.pk}/preview/")
    assert preview.content == b"<p>html"
    assert preview["Content-Security-Policy"].startswith("sandbox;")
    assert preview["X-Frame-Options"] == "SAMEORIGIN"
    with override_settings(EMAIL_URL="smtp://127.0.0.1"):
        assert client.get(url).status_code == 200
        StoredMail.objects.all().delete()
        assert client.get(url).status_code == 403
    assert client.get(url).status_code == 200


@pytest.mark.parametrize(
    ("page", "factory"),
    [
        ("escalation/escalationpolicy", "PolicyFactory"),
        ("alerting/bridge", "BridgeFactory"),
        ("accounts/group", "GroupFactory"),
        ("accounts/user", "UserFactory"),
    ],
)
def test_lists_cost_the_same_however_long_they_are(client, here, django_assert_max_num_queries, page, factory):
    for _ in range(60):
        getattr(factories, factory)(organization=here.organization)
    with django_assert_max_num_queries(15):
        response = client.get(f"/admin/{page}/")
    assert len(response.context["cl"].result_list) == 50


def test_an_empty_list_says_so_and_a_search_without_results_leads_back(client, here):
    OutOfOffice.objects.all().delete()
    page = client.get("/admin/escalation/outofoffice/").content.decode()
    assert "There is nothing here yet." in page
    assert "The button above adds the first one." in page
    assert "0 out of office" not in page
    found = client.get("/admin/accounts/user/?q=zzz").content.decode()
    assert "Nothing found" in found
    assert "There is nothing here yet." not in found
    assert "Nothing found" not in client.get("/admin/accounts/user/").content.decode()


def test_a_policy_says_how_many_follow_it_and_stops_them_with_a_tick(client, here, now):
    from alerting.models.alerts import Alert
    from tests.integration.escalation.posting import page

    policy = here.objects["escalation_escalationpolicy"]
    url = f"/admin/escalation/escalationpolicy/{policy.pk}/change/"
    assert "No escalation of an open alert follows it now." in client.get(url).content.decode()
    page(here.organization, policy=policy, users=[here.people["Basic"]], name="backup", now=now)
    assert "1 escalation of an alert that is not over follows it now" in client.get(url).content.decode()
    assert "follows it now" in client.get(url.replace("change", "delete")).content.decode()
    form = POLICY | rows("roles", role("primary"))
    refused = client.post(url, form | {"enabled": "on", "stop_running": "on"})
    assert "only together with disabling" in refused.content.decode()
    assert client.post(url, form | {"stop_running": "on"}).status_code == 302
    run = Alert.objects.get(run__policy=policy).run
    assert (run.next_step_at, run.position["stopped"]) == (None, True)


def test_a_play_says_how_many_follow_it_and_stops_them_with_a_tick(client, here, now):
    from alerting.models.alerts import Alert
    from escalation.engine.start import EscalationStarter, Route

    play = here.objects["escalation_responseplay"]
    alert = factories.AlertFactory(organization=here.organization)
    EscalationStarter(now=now).start([(Route(here.organization.pk, None, play), [alert.pk])])
    url = f"/admin/escalation/responseplay/{play.pk}/change/"
    assert "1 escalation of an alert that is not over follows it now" in client.get(url).content.decode()
    form = {"name": "Drill", "priority": "high", "stop_running": "on"}
    tier = {"offset_minutes": 0, "users": [here.people["Owner"].pk]}
    assert client.post(url, form | rows("tiers", tier)).status_code == 302
    assert Alert.objects.get().run.position["stopped"]


def test_who_may_only_look_at_rules_sees_what_follows_them(here, signed_in):
    looking = signed_in(here.people["Integrations Admin"])
    for page_name in ("escalation_escalationpolicy", "escalation_responseplay"):
        app, model = page_name.split("_")
        shown = looking.get(f"/admin/{app}/{model}/{here.objects[page_name].pk}/change/")
        assert "No escalation of an open alert follows it now." in shown.content.decode()
