"""Every admin page and API route, with every role, in one's own and another organization, against a table."""

from datetime import timedelta

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import NoReverseMatch, reverse
from rest_framework.test import APIClient

from accounts.api import group_contacts
from accounts.entitlements import BuiltinRole
from accounts.models.audit import AuditEntry
from accounts.services.api_keys import create_api_key
from accounts.services.users import create_user
from escalation.models.on_call import OutOfOffice
from heartbeat_project.urls import router
from integrations.maintenance.windows import create_window
from integrations.models.events import InboundEvent
from tests import factories
from tests.factories import WHEN
from tests.factories.shifts import make_shift
from tests.world import minutes

pytestmark = pytest.mark.django_db

ROLES = {
    "O": BuiltinRole.OWNER,
    "A": BuiltinRole.APP_ADMIN,
    "I": BuiltinRole.INTEGRATIONS_ADMIN,
    "B": BuiltinRole.BASIC,
    "$": BuiltinRole.BILLING_ADMIN,
    "S": BuiltinRole.SEND_MESSAGE,
    "V": BuiltinRole.SYSTEM_VIEWER,
}

# Resource: who may list, who sees the object of their own organization, who may change it. Everybody else gets 403;
# where the object is not theirs to see, 404. What is in one's own hands alone (keys, contact methods) is nobody else's.
API = {
    "integrations": ("OAIBSV", "OAIBSV", "OAI"),
    "integrations of type api": ("OAIBSV", "OAIBSV", "OAI"),
    "integrations of type chat": ("OAIBSV", "OAIBSV", "OAI"),
    "maintenance-windows": ("OAIBSV", "OAIBSV", "OAI"),
    "alerts": ("OAIBSV", "OAV", ""),
    "alerts of an integration": ("OAIBSV", "OAIV", ""),
    "bridges": ("OAIBSV", "OAIBSV", "OAI"),
    # Who may send alerts lists what may be launched, and the names of groups; the policy here is not for quick launch.
    "escalation-policies": ("OAIS", "OAI", "OA"),
    "response-plays": ("OAIS", "OAIS", "OA"),
    "groups": ("OAIBS", "OAIS", "OA"),
    "organizations": ("OAIB$SV", "OAIB$SV", "OA"),
    "shifts": ("OAIB", "OAI", "OA"),
    "out-of-office": ("OAIB$SV", "OAI", "OA"),
    "users": ("OAIB$SV", "OAIB$SV", "OA"),
    "roles": ("OAIB$SV", "OAIB$SV", "OA"),
    "contact-methods": ("OAIB$SV", "OA", "OA"),
    "api-keys": ("OAIB$SV", "", ""),
    "audit-log": ("OAV", "OAV", ""),
}
# So far that the entry is on the first page of the audit log.
AHEAD = timedelta(days=36_500)
# What stands at the same address as another resource.
ALSO_AT = {
    "alerts of an integration": "alerts",
    "integrations of type api": "integrations",
    "integrations of type chat": "integrations",
}
ALERT_ACTIONS = (
    "acknowledge",
    "unacknowledge",
    "assign",
    "give-back",
    "escalate",
    "hold",
    "resume",
    "close",
    "cancel",
    "reply",
    "responders",
    "reassign",
)
# Those who may are shown what is missing: here nobody is named.
DONE = {"responders": {400}, "reassign": {400}}
# What is read by those alone who may change.
WITH_ALL_RIGHTS = {"pings", "events"}
# What those do not see who see an object only to choose it.
NOT_TO_CHOOSE = {"usage", "on-call"}
READ_ACTIONS = {
    "integrations": ["pings", "events"],
    "alerts": ["timeline", "notifications"],
    "groups": ["on-call"],
    "escalation-policies": ["usage"],
    "response-plays": ["usage"],
}

# Admin page (model): who sees the list and the page, who may change.
ADMIN = {
    "inboundintegration": ("OAI", "OAI"),
    "maintenancewindow": ("OAI", "OAI"),
    "escalationpolicy": ("OAI", "OA"),
    "responseplay": ("OAI", "OA"),
    "bridge": ("OAI", "OAI"),
    "organization": ("OA", "OA"),
    "user": ("OA", "OA"),
    "group": ("OAI", "OA"),
    "shift": ("OAI", "OA"),
    "outofoffice": ("OAI", "OA"),
    "role": ("OA", "OA"),
    "apikey": ("OAI", "OAI"),
    "storedmail": ("OA", ""),
    "inboundevent": ("OA", ""),
}


class Tenant:
    """One organization with a person of each role and one object of each resource."""

    def __init__(self, name: str) -> None:
        self.organization = factories.OrganizationFactory(name=name)
        self.people = {
            letter: factories.UserFactory(
                organization=self.organization,
                name=role.value,
                email=f"{role.value.lower().replace(' ', '.')}@{name}.example.com",
                roles=[role.value],
            )
            for letter, role in ROLES.items()
        }
        bystander = create_user(
            self.organization, email=f"bystander@{name}.example.com", name="Bystander", now=WHEN, roles=()
        )
        key, _ = create_api_key(bystander, name="theirs", now=WHEN)
        heartbeat = factories.HeartbeatFactory(organization=self.organization)
        policy = factories.PolicyFactory(organization=self.organization)
        window = create_window(
            self.organization,
            name="Upgrade",
            starts_at=WHEN,
            ends_at=WHEN + minutes(1),
            integrations=[heartbeat],
            now=WHEN,
        )
        custom = self.organization.roles.create(name="Custom")
        group = factories.GroupFactory(organization=self.organization, primary=[bystander])
        away = {"starts_at": WHEN, "ends_at": WHEN + minutes(60)}
        self.objects = {
            "integrations": heartbeat,
            "integrations of type api": factories.ApiIntegrationFactory(organization=self.organization),
            "integrations of type chat": factories.ChatIntegrationFactory(organization=self.organization),
            "maintenance-windows": window,
            "alerts": factories.AlertFactory(organization=self.organization),
            "alerts of an integration": factories.AlertFactory(
                organization=self.organization, integration_id=heartbeat.pk
            ),
            "bridges": factories.BridgeFactory(organization=self.organization),
            "escalation-policies": policy,
            "response-plays": factories.PlayFactory(organization=self.organization),
            "organizations": self.organization,
            "groups": group,
            "shifts": make_shift(group, primary=[bystander]),
            "out-of-office": OutOfOffice.objects.create(
                user=bystander, cover=factories.UserFactory(organization=self.organization), **away
            ),
            "users": bystander,
            "roles": custom,
            "contact-methods": bystander.contact_methods.get(),
            "api-keys": key,
            "audit-log": AuditEntry.objects.create(
                organization=self.organization, via="page", object_type="group", action="changed", at=WHEN + AHEAD
            ),
        }
        self.pages = {
            "inboundintegration": heartbeat,
            "maintenancewindow": window,
            "escalationpolicy": policy,
            "responseplay": self.objects["response-plays"],
            "bridge": self.objects["bridges"],
            "organization": self.organization,
            "user": bystander,
            "group": self.objects["groups"],
            "shift": self.objects["shifts"],
            "outofoffice": self.objects["out-of-office"],
            "role": custom,
            "inboundevent": InboundEvent.objects.create(
                organization=self.organization, type="email", state="unreadable", received_at=WHEN, raw=b"x", size=1
            ),
        }

    def api(self, letter: str) -> APIClient:
        client = APIClient(raise_request_exception=False)
        _, key = create_api_key(self.people[letter], name="walk", now=WHEN)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
        return client


@pytest.fixture
def ours():
    return Tenant("ours")


@pytest.fixture
def theirs():
    return Tenant("theirs")


def test_the_tables_know_every_resource_and_every_admin_page():
    # What stands below a group is seen by who sees the group: tests/integration/accounts/test_group_contacts.py.
    assert {prefix for prefix, _, _ in router.registry} == {*API, group_contacts.PREFIX} - {*ALSO_AT}
    assert {model._meta.model_name for model in admin.site._registry} == set(ADMIN)


@pytest.mark.parametrize("letter", ROLES)
@pytest.mark.parametrize("resource", API)
def test_api_routes(ours: Tenant, theirs: Tenant, resource, letter):
    listing, seeing, changing = (letter in letters for letters in API[resource])
    api = ours.api(letter)
    address = ALSO_AT.get(resource, resource)
    root = f"/api/v1/{address}/"
    own, foreign = ours.objects[resource].pk, theirs.objects[resource].pk
    refused = {403, 404, 405}

    assert api.get(root).status_code == (200 if listing else 403)
    found = api.get(f"{root}{own}/").status_code
    assert found == 200 if seeing else found in refused
    if listing:
        shown = {row["id"] for row in api.get(root).json()["results"]}
        assert foreign not in shown
        assert (own in shown) == (seeing and resource != "contact-methods") or resource == "contact-methods"

    for name in READ_ACTIONS.get(address, []):
        found = api.get(f"{root}{own}/{name}/").status_code
        allowed = changing if name in WITH_ALL_RIGHTS else seeing
        allowed = allowed and not (name in NOT_TO_CHOOSE and letter == "S")
        assert found == 200 if allowed else found in refused, name
        assert api.get(f"{root}{foreign}/{name}/").status_code in refused, name

    # Nothing valid is sent: whoever may change is shown what is missing, everybody else that they may not.
    bad = {"no_such_field": 1}
    if address not in {"alerts", "api-keys", "audit-log", "contact-methods", "organizations", "out-of-office"}:
        assert api.post(root, bad, format="json").status_code == (400 if changing else 403)
    for method in (api.patch, api.put):
        found = method(f"{root}{own}/", bad, format="json").status_code
        assert found == 400 if changing and resource != "api-keys" else found in refused, method

    for verb in ("get", "patch", "put", "delete"):
        found = getattr(api, verb)(f"{root}{foreign}/", {}, format="json").status_code
        assert found in refused, (verb, found)
        assert found == 404 or not changing or found == 405, (verb, found)


@pytest.mark.parametrize("letter", ROLES)
def test_alert_actions_need_more_than_looking_on(ours: Tenant, theirs: Tenant, letter):
    api = ours.api(letter)
    own, foreign = ours.objects["alerts"].pk, theirs.objects["alerts"].pk
    for name in ALERT_ACTIONS:
        body = {"text": "x"} if name == "reply" else {}
        assert api.post(f"/api/v1/alerts/{foreign}/{name}/", body, format="json").status_code in {403, 404}, name
        found = api.post(f"/api/v1/alerts/{own}/{name}/", body, format="json").status_code
        # An Owner and an App Admin see and respond; a System Viewer sees; the others do not see this alert.
        expected = DONE.get(name, {200, 409}) if letter in "OA" else {403} if letter in "V$" else {404}
        assert found in expected, (name, found)


@pytest.mark.parametrize("letter", ROLES)
def test_viewing_an_integrations_alerts_is_no_right_to_act_on_them(ours: Tenant, letter):
    api = ours.api(letter)
    for name in ALERT_ACTIONS:
        body = {"text": "x"} if name == "reply" else {}
        own = ours.objects["alerts of an integration"].pk
        found = api.post(f"/api/v1/alerts/{own}/{name}/", body, format="json").status_code
        # An Integrations Admin sees it, as a System Viewer does.
        expected = DONE.get(name, {200, 409}) if letter in "OA" else {403} if letter in "IV$" else {404}
        assert found in expected, (name, found)


@pytest.mark.parametrize("letter", ROLES)
def test_nobody_but_admins_of_integrations_rotates_or_sees_the_url(ours: Tenant, theirs: Tenant, letter):
    api = ours.api(letter)
    own, foreign = ours.objects["integrations"], theirs.objects["integrations"]
    shown = api.get(f"/api/v1/integrations/{own.pk}/").json().get("api_url")
    assert (shown is not None) == (letter in "OAI")
    assert own.token not in api.get("/api/v1/integrations/").content.decode() or letter in "OAI"
    assert api.post(f"/api/v1/integrations/{foreign.pk}/rotate-token/").status_code == (404 if letter in "OAI" else 403)
    assert api.post(f"/api/v1/integrations/{own.pk}/rotate-token/").status_code == (200 if letter in "OAI" else 403)


@pytest.mark.parametrize("letter", ROLES)
def test_nobody_but_admins_of_integrations_reads_and_replays_events(ours: Tenant, theirs: Tenant, letter):
    api, may = ours.api(letter), letter in "OAI"
    for tenant in (ours, theirs):
        integration = tenant.objects["integrations of type api"]
        event = InboundEvent.objects.create(
            integration_id=integration.pk, type="api", state="read", received_at=WHEN, raw=b"{}", size=2
        )
        expected = 403 if not may else 404 if tenant is theirs else 200
        root = f"/api/v1/integrations/{integration.pk}/"
        assert api.get(f"{root}events/{event.pk}/").status_code == expected
        for dry_run in (True, False):
            found = api.post(f"{root}events/{event.pk}/replay/", {"dry_run": dry_run}, format="json")
            assert found.status_code == expected
        assert api.post(f"{root}test-mapping/", {"payload": {}}, format="json").status_code == expected


@pytest.mark.parametrize("letter", ROLES)
def test_nobody_but_admins_of_integrations_tests_the_paging(ours: Tenant, theirs: Tenant, letter):
    api, browser = ours.api(letter), Client()
    browser.force_login(ours.people[letter])
    own, foreign = ours.objects["integrations"], theirs.objects["integrations"]
    may = letter in "OAI"
    address = "/api/v1/integrations/{}/test-paging/"
    assert api.post(address.format(foreign.pk), {}, format="json").status_code == (404 if may else 403)
    assert api.post(address.format(own.pk), {"x": 1}, format="json").status_code == (400 if may else 403)
    assert api.post(address.format(own.pk), {}, format="json").status_code == (201 if may else 403)
    page = "/heartbeats/{}/test-paging/"
    for method in (browser.get, browser.post):
        assert method(page.format(foreign.pk)).status_code == (404 if may else 403)
    assert browser.get(page.format(own.pk)).status_code == (200 if may else 403)


@pytest.mark.parametrize("resource", API)
def test_nobody_signed_in_is_a_401(ours: Tenant, resource):
    answer = APIClient().get(f"/api/v1/{ALSO_AT.get(resource, resource)}/")
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"]
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("letter", ROLES)
@pytest.mark.parametrize("page", ADMIN)
def test_admin_pages(ours: Tenant, theirs: Tenant, page, letter):
    seeing, changing = (letter in letters for letters in ADMIN[page])
    model = next(model for model in admin.site._registry if model._meta.model_name == page)
    name = f"admin:{model._meta.app_label}_{page}"
    client = Client(raise_request_exception=False)
    client.force_login(ours.people[letter])
    refused = {302, 403, 404}

    assert client.get(reverse(f"{name}_changelist")).status_code == (200 if seeing else 403)
    own, foreign = ours.pages.get(page), theirs.pages.get(page)
    if own is not None:
        assert client.get(reverse(f"{name}_change", args=[own.pk])).status_code == (200 if seeing else 403)
    if foreign is not None:
        for suffix in ("change", "delete", "history"):
            url = reverse(f"{name}_{suffix}", args=[foreign.pk])
            assert client.get(url).status_code in refused, suffix
            assert client.post(url, {}).status_code in refused, suffix
            assert type(foreign).objects.filter(pk=foreign.pk).exists()
    try:
        add = client.get(reverse(f"{name}_add")).status_code
    except NoReverseMatch:
        add = 403
    assert add in ({200, 403} if changing else {403})
    if changing and page not in {"storedmail", "organization"}:
        assert add == 200


@pytest.mark.parametrize("letter", ROLES)
def test_the_admins_index_is_open_to_whoever_may_see_one_of_its_pages(ours: Tenant, letter):
    client = Client()
    client.force_login(ours.people[letter])
    assert client.get("/admin/").status_code == (200 if letter in "OAI" else 403)
