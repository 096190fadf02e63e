"""The integration of an address is read whole, as a query of Django's would read it."""

import pytest

from integrations.inbound.addresses import api_integration
from integrations.models.events import EventSettings
from integrations.models.integrations import InboundIntegration
from tests import factories
from tests.conftest import NOON

pytestmark = pytest.mark.django_db


def test_it_has_the_values_of_all_columns_with_their_types():
    shop = factories.ApiIntegrationFactory(
        mapping={"subject": "{{ payload.a }}"},
        rules=[{"name": "ü", "when": {"all": []}, "then": {"action": "ignore"}}],
        auto_close_minutes=1.5,
        signature={"scheme": "sns"},
    )
    read = api_integration(shop.token, now=NOON)
    assert read is not None
    for model, row in ((InboundIntegration, read), (EventSettings, read.event_settings)):
        assert not row._state.adding
        stored = model.objects.get(pk=shop.pk)
        for field in model._meta.concrete_fields:
            value, expected = (getattr(one, field.attname) for one in (row, stored))
            assert (value, type(value)) == (expected, type(expected)), field
