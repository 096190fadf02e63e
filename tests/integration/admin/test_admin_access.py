"""Who may open which configuration page: entitlements, and nothing of another organization."""

import pytest
from django.test import Client
from django.urls import reverse

ROLES = ["Owner", "App Admin", "Integrations Admin", "Basic", "Billing Admin", "Send Message", "System Viewer"]
ADMINS = {"Owner", "App Admin"}
CONFIGURE = {*ADMINS, "Integrations Admin"}
# page -> who may look, who may add and change
PAGES = {
    "integrations_inboundintegration": (CONFIGURE, CONFIGURE),
    "integrations_maintenancewindow": (CONFIGURE, CONFIGURE),
    "escalation_escalationpolicy": (CONFIGURE, ADMINS),
    "escalation_responseplay": (CONFIGURE, ADMINS),
    "alerting_bridge": (CONFIGURE, CONFIGURE),
    "accounts_organization": (ADMINS, ADMINS),
    "accounts_user": (ADMINS, ADMINS),
    "accounts_group": (CONFIGURE, ADMINS),
    "escalation_shift": (CONFIGURE, ADMINS),
    "escalation_outofoffice": (CONFIGURE, ADMINS),
    "accounts_role": (ADMINS, ADMINS),
    "accounts_apikey": (CONFIGURE, CONFIGURE),
    "escalation_storedmail": (ADMINS, set()),
    "integrations_inboundevent": (ADMINS, set()),
}
NO_CHANGE = {"accounts_apikey", "escalation_storedmail", "integrations_inboundevent"}
NO_ADDING = {"accounts_organization"}


def url(page, what, *args):
    return reverse(f"admin:{page}_{what}", args=args)


@pytest.mark.parametrize("role", ROLES)
def test_each_page_opens_for_its_entitlement_and_for_nobody_else(here, signed_in, role):
    client = signed_in(here.people[role])
    for page, (lookers, changers) in PAGES.items():
        one = here.objects[page].pk
        # A key is its user's own, or anybody's for who administers security.
        own = page != "accounts_apikey" or role in ADMINS
        expected = {
            "changelist": 200 if role in lookers else 403,
            "add": 200 if role in changers and page not in NO_ADDING else 403,
            "change": (200 if own else 404) if role in lookers else 403,
        }
        found = {
            "changelist": client.get(url(page, "changelist")).status_code,
            "add": client.get(url(page, "add")).status_code,
            "change": client.get(url(page, "change", one)).status_code,
        }
        assert found == expected, (role, page)
        if role not in lookers:
            assert client.post(url(page, "delete", one), {"post": "yes"}).status_code == 403
        if role not in changers or page in NO_CHANGE:
            # What can only be read answers a POST like a GET, and takes nothing from it.
            assert client.post(url(page, "change", one), {"name": "stolen"}).status_code in {403, 404, 200}
            kept = type(here.objects[page]).objects.get(pk=one)
            assert str(kept) == str(here.objects[page])


@pytest.mark.parametrize("role", ROLES)
def test_the_index_lists_what_the_role_opens(here, signed_in, role):
    response = signed_in(here.people[role]).get("/admin/")
    if role not in CONFIGURE:
        assert response.status_code == 403
        return
    listed = {
        f"{page['model']._meta.app_label}_{page['model']._meta.model_name}"
        for section in response.context["app_list"]
        for page in section["models"]
    }
    assert listed == {page for page, (lookers, _) in PAGES.items() if role in lookers}


def test_the_sections_stand_in_their_order(here, signed_in):
    response = signed_in(here.people["Owner"]).get("/admin/")
    assert [section["name"] for section in response.context["app_list"]] == [
        "Integrations",
        "Escalation",
        "On call",
        "People",
        "System",
    ]
    for section in ("integrations", "escalation", "on-call", "accounts", "system"):
        assert signed_in(here.people["Owner"]).get(f"/admin/{section}/").status_code == 200
    for other in ("auth", "django_celery_beat", "alerting"):
        assert signed_in(here.people["Owner"]).get(f"/admin/{other}/").status_code == 404


def test_strangers_are_sent_to_the_sign_in_page_and_come_back(here):
    response = Client().get("/admin/integrations/inboundintegration/")
    assert response.status_code == 302
    assert response["Location"] == "/login/?next=/admin/integrations/inboundintegration/"
    assert Client().get("/admin/login/")["Location"] == "/login/?next=/admin/"


@pytest.mark.parametrize("page", PAGES)
def test_an_object_of_another_organization_does_not_exist(here, elsewhere, signed_in, page):
    client = signed_in(here.people["Owner"])
    foreign = elsewhere.objects[page].pk
    assert client.get(url(page, "change", foreign)).status_code == 404
    assert client.post(url(page, "change", foreign), {"name": "stolen"}).status_code == 404
    assert client.get(url(page, "delete", foreign)).status_code == 404
    assert client.post(url(page, "delete", foreign), {"post": "yes"}).status_code == 404
    assert client.get(url(page, "history", foreign)).status_code == 404
    assert type(elsewhere.objects[page]).objects.filter(pk=foreign).exists()


@pytest.mark.parametrize(
    "page", sorted(set(PAGES) - NO_ADDING - {"escalation_storedmail", "integrations_inboundevent"})
)
def test_no_form_offers_what_belongs_to_another_organization(here, elsewhere, signed_in, page):
    form = signed_in(here.people["Owner"]).get(url(page, "add")).context
    fields = [form["adminform"].form, *(each.formset.empty_form for each in form["inline_admin_formsets"])]
    offered = {
        (type(row).__name__, row.pk)
        for each in fields
        for field in each.fields.values()
        if hasattr(field, "queryset")
        for row in field.queryset
    }
    theirs = {(type(row).__name__, row.pk) for row in [*elsewhere.objects.values(), *elsewhere.people.values()]}
    assert not offered & theirs


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("nonsense", ["0", "99999999999999999999999", "x", "%00", "%ED%A0%80", "9" * 5000])
def test_nonsense_ids_do_not_exist(here, signed_in, page, nonsense):
    client = signed_in(here.people["Owner"])
    base = url(page, "changelist")
    assert client.get(f"{base}{nonsense}/change/").status_code == 404


@pytest.mark.parametrize("action", ["state", "logs", "rotate"])
def test_the_pages_of_one_integration_are_guarded_alike(here, elsewhere, signed_in, action):
    own = here.objects["integrations_inboundintegration"]
    foreign = elsewhere.objects["integrations_inboundintegration"]
    name = f"admin:integrations_inboundintegration_{action}"
    client = signed_in(here.people["Integrations Admin"])
    assert client.get(reverse(name, args=[own.pk])).status_code == 200
    assert client.get(reverse(name, args=[foreign.pk])).status_code == 404
    assert client.post(reverse(name, args=[foreign.pk])).status_code == 404
    assert signed_in(here.people["Basic"]).get(reverse(name, args=[own.pk])).status_code == 403
    foreign_token = foreign.token
    foreign.refresh_from_db()
    assert foreign.token == foreign_token


@pytest.mark.parametrize(
    "query", ["q=%F0", "p=0", "p=99999999999999999999", f"p={'9' * 200}", "o=9.9", f"o={'9.' * 99}", "e=1", "all="]
)
@pytest.mark.parametrize("page", PAGES)
def test_odd_queries_are_answered(here, signed_in, page, query):
    response = signed_in(here.people["Owner"]).get(f"{url(page, 'changelist')}?{query}")
    assert response.status_code in {200, 302}
