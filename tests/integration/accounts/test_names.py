"""Names are seen, and have one spelling."""

import pytest

from accounts.services.groups import create_group
from accounts.services.saving import clean_name
from heartbeat_project.kernel.errors import FieldError
from integrations.models.integrations import InboundIntegration
from tests import factories

pytestmark = pytest.mark.django_db

COMPOSED, DECOMPOSED = "Zürich Café", "Zu\u0308rich Cafe\u0301"
INVISIBLE = [
    *("\u200b", "\u00ad\u2060\ufeff", "\u3164", "\u2800 \u2800", "\u202e\u202c", "\u0301\ufe0f"),
    "\u115f\u1160\uffa0",
]


@pytest.mark.parametrize("name", INVISIBLE)
def test_a_name_that_nobody_can_see_is_refused(name):
    with pytest.raises(FieldError, match="only invisible characters"):
        clean_name(name)


@pytest.mark.parametrize("name", ["a", "備", "✓", "\u200bbackup", "🫠", "1", "\ue000", "e\u0301"])
def test_a_name_of_which_something_can_be_seen_is_taken(name):
    assert clean_name(name)


def test_two_spellings_of_a_groups_name_are_one_name(organization, now):
    group = create_group(organization, actor=None, name=DECOMPOSED, now=now)

    assert group.name == COMPOSED
    with pytest.raises(FieldError) as caught:
        create_group(organization, actor=None, name=COMPOSED, now=now)
    assert (caught.value.field, caught.value.code) == ("name", "unique")


def test_the_api_refuses_a_heartbeat_with_an_invisible_name_and_one_in_another_spelling(organization, client_for):
    api = client_for(factories.UserFactory(organization=organization, roles=["Integrations Admin"]))
    policy = factories.PolicyFactory(organization=organization)

    def create(name):
        fields = {"name": name, "interval_minutes": 5, "escalation_policy": policy.pk}
        return api.post("/api/v1/integrations/", fields, format="json")

    assert create(COMPOSED.upper()).status_code == 201
    for name, code in ((DECOMPOSED, "unique"), ("\u200b\u3164", "invalid")):
        answer = create(name)
        assert answer.status_code == 400
        [error] = answer.json()["errors"]
        assert (error["pointer"], error["code"]) == ("/name", code)
    assert InboundIntegration.objects.count() == 1
