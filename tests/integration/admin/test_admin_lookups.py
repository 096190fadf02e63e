"""Lists of Configuration are searched, filtered and ordered as their pages offer it, and in no other way."""

from urllib.parse import quote

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models.users import User

EXPLODES = r"^(.+)(.+)(.+)(.+)\1\2\3\4.$"
HIDDEN = [
    f"accounts/user/?name__regex={quote(EXPLODES)}",
    "accounts/user/?name__regex=(",
    "accounts/user/?password__startswith=argon2",
    "accounts/user/?password=x",
    "accounts/user/?roles__users__password__startswith=argon2",
    "accounts/user/?calendar_feed__token__startswith=a",
    "accounts/user/?kind__regex=(",
    "accounts/user/?kind__in=standard,stakeholder",
    "accounts/user/?date_joined__year=2026",
    "accounts/apikey/?user__password__startswith=argon2",
    "accounts/apikey/?digest__startswith=a",
    "escalation/shift/?calendar_url__startswith=https",
    "escalation/shift/?group__members__user__email__contains=a",
    "integrations/inboundintegration/?heartbeat__integration__token__startswith=a",
    "integrations/inboundintegration/?token__startswith=a",
    "escalation/storedmail/?text__contains=code",
    "alerting/bridge/?access_code__startswith=1",
    "accounts/user/?_to_field=password",
    "accounts/user/?_popup=1",
    "accounts/user/?_facets=1",
    "accounts/user/add/?_to_field=password",
]
ODD = [
    "accounts/user/?q=%00",
    "accounts/user/?kind__exact=%00",
    "accounts/user/?%00=1",
    "accounts/user/?kind__exact=standard&kind__exact=stakeholder",
    f"accounts/user/?q={'a+' * 5_000}",
    f"accounts/user/?o={'1.-1.' * 5_000}",
    f"accounts/user/?kind__exact={'a' * 5_000}",
    "accounts/user/?" + "&".join(f"a{number}=1" for number in range(1_001)),
]


@pytest.mark.parametrize("addresses", [HIDDEN, ODD], ids=["hidden", "odd"])
def test_a_lookup_that_the_page_does_not_list_is_refused(here, signed_in, addresses):
    client = signed_in(here.people["Owner"])
    # Whatever the list would read of the database, an exploding expression included, is not asked.
    queries = {}
    answers = {}

    for address in addresses:
        with transaction.atomic(), CaptureQueriesContext(connection) as asked:
            answers[address[:80]] = client.get(f"/admin/{address}").status_code
        queries[address[:80]] = len(asked)

    assert answers == dict.fromkeys(answers, 400)
    assert max(queries.values()) <= 5, queries  # the session, the person and their roles


def test_the_reason_is_said(here, signed_in):
    page = signed_in(here.people["Owner"]).get("/admin/accounts/user/?name__regex=<b>").content.decode()

    assert "This list has no filter “name__regex”." in page


def test_what_the_pages_offer_is_answered(here, elsewhere, signed_in):
    client = signed_in(here.people["Owner"])
    group = here.objects["accounts_group"]

    for address in (
        "accounts/user/?kind__exact=standard&q=Basic&o=1.-2&p=1",
        "escalation/shift/?kind__exact=fixed&is_override__exact=0",
        f"escalation/shift/?group__id__exact={group.pk}",
        "escalation/escalationpolicy/?enabled__exact=1&priority__exact=high",
        "integrations/inboundintegration/?type=heartbeat&status=missed",
    ):
        assert client.get(f"/admin/{address}").status_code == 200, address
    foreign = elsewhere.objects["accounts_group"]
    shifts = client.get(f"/admin/escalation/shift/?group__id__exact={foreign.pk}").context["cl"]
    assert shifts.result_count == 0


def test_a_filter_by_what_is_no_id_finds_nothing_or_is_dropped(here, signed_in):
    client = signed_in(here.people["Owner"])

    for number in ("x", "-1", "9" * 30, "9" * 200):
        response = client.get(f"/admin/escalation/shift/?group__id__exact={number}", follow=True)
        assert response.status_code == 200, number


def test_views_that_look_up_any_object_are_not_there(here, signed_in):
    client = signed_in(here.people["Owner"])

    for address in (
        "autocomplete/?app_label=accounts&model_name=apikey&field_name=user&term=a",
        f"r/1/{here.people['Owner'].pk}/",
    ):
        assert client.get(f"/admin/{address}").status_code == 404, address


def test_an_action_with_very_many_ids_is_refused_and_changes_nothing(here, signed_in):
    client = signed_in(here.people["Owner"])
    before = User.objects.count()
    ids = [str(number) for number in range(2_000)]

    response = client.post("/admin/accounts/user/", {"action": "delete_selected", "_selected_action": ids})

    assert response.status_code == 400
    assert User.objects.count() == before
