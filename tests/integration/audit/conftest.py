"""An organization with one of everything that is configured, and a look at what the audit log has about it."""

from html.parser import HTMLParser

import pytest
from django.db import connection, connections

import manage
from accounts.models.audit import AuditEntry
from accounts.models.contact_methods import ContactMethod
from accounts.models.groups import GroupNesting
from accounts.models.users import OptOut
from escalation.models.on_call import CalendarFeed, OnCallReminderSettings
from escalation.models.policies import PlayTier
from tests import factories
from tests.chats import known_in_chat
from tests.integration.admin.conftest import make_tenant, signed_in  # noqa: F401 - a fixture


class Log:
    """The entries of an organization that were written since the log was looked at last."""

    def __init__(self, organization):
        self.organization = organization
        self.seen = 0
        self.new()

    def new(self, **conditions):
        entries = AuditEntry.objects.filter(organization=self.organization, id__gt=self.seen).order_by("id")
        self.seen = max([self.seen, *AuditEntry.objects.values_list("id", flat=True)])
        return [entry for entry in entries if all(getattr(entry, name) == value for name, value in conditions.items())]


@pytest.fixture
def full(db, now):
    """Return the tenant of the admin tests, with a row in each further table that is configured."""
    tenant = make_tenant(now)
    owner, basic = tenant.people["Owner"], tenant.people["Basic"]
    group = tenant.objects["accounts_group"]
    inner = factories.GroupFactory(organization=tenant.organization)
    GroupNesting.objects.create(group=group, child=inner, position=0)
    integration = tenant.objects["integrations_inboundintegration"]
    factories.ApiIntegrationFactory(organization=tenant.organization)
    factories.ChatIntegrationFactory(organization=tenant.organization)
    known_in_chat(basic)
    integration.recipient_users.add(owner)
    integration.recipient_groups.add(group)
    window = tenant.objects["integrations_maintenancewindow"]
    window.integrations.add(integration)
    PlayTier.objects.get(play=tenant.objects["escalation_responseplay"]).groups.add(group)
    OptOut.objects.create(user=basic, integration_id=integration.pk, created_at=now)
    CalendarFeed.objects.create(user=basic, token="a-secret-token")
    OnCallReminderSettings.objects.create(user=basic, remind_hours=2)
    ContactMethod.objects.create(
        user=owner, kind="webhook", label="Hook", address="https://hooks.example.com/very-secret", verified_at=now
    )
    return tenant


@pytest.fixture
def log(full):
    return Log(full.organization)


@pytest.fixture
def sql(db):
    """Return a function that runs a statement as somebody would who is connected to the database directly."""

    def run(statement, parameters=None):
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('application_name', 'psql', TRUE)")
            cursor.execute(statement, parameters)
            count = cursor.rowcount
            cursor.execute("SELECT set_config('application_name', 'heartbeat', TRUE)")
            return count

    return run


@pytest.fixture
def command(monkeypatch):
    """Return a function that runs `manage.py` within this process and the test's transaction."""
    monkeypatch.setattr(connections, "close_all", lambda: None)

    def run(*arguments):
        manage.main(["manage.py", *arguments])

    return run


class FormReader(HTMLParser):
    """Reads what a browser would send if the user changed nothing in the last form with this id, or the only one."""

    def __init__(self, form_id):
        super().__init__()
        self.form_id = form_id
        self.within = False
        self.fields = {}
        self.select = self.textarea = None

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "form":
            self.within = given.get("id") == self.form_id
        if not self.within:
            return
        name, kind = given.get("name"), given.get("type", "text")
        if tag == "input" and name and kind not in {"submit", "button"}:
            is_box = kind in {"checkbox", "radio"}
            if not is_box or "checked" in given:
                self.fields.setdefault(name, []).append(given.get("value") or ("on" if is_box else ""))
        elif tag == "select":
            self.select = name
        elif tag == "option" and self.select and "selected" in given:
            self.fields.setdefault(self.select, []).append(given.get("value", ""))
        elif tag == "textarea":
            self.textarea = name
            self.fields[name] = [""]

    def handle_endtag(self, tag):
        if tag == "form":
            self.within = False
        elif tag == "select":
            self.select = None
        elif tag == "textarea":
            self.fields[self.textarea] = [self.fields[self.textarea][0].removeprefix("\n")]
            self.textarea = None

    def handle_data(self, data):
        if self.within and self.textarea:
            self.fields[self.textarea][0] += data


def sent_by(page, form_id):
    """Return the fields of a form on a page, as a browser sends them."""
    reader = FormReader(form_id)
    reader.feed(page)
    return {name: values for name, values in reader.fields.items() if "__prefix__" not in name}
