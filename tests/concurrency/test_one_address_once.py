"""Two requests that add the same number at the same moment: one of them is refused."""

import threading

import pytest
from django.db.models import QuerySet

from accounts.models.contact_methods import ContactMethod
from accounts.services import contact_methods
from accounts.services.contact_methods import create_contact_method
from heartbeat_project.kernel.errors import FieldError
from tests import factories
from tests.concurrency.test_detectors import at_once

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.serial,
    pytest.mark.usefixtures("close_connections"),
]


@pytest.fixture
def ana(settings):
    settings.SMS_PROVIDERS = ["gateway"]
    return factories.UserFactory()


def add_twice_at_once(ana):
    """Have one number added under two labels at the same moment; return what was raised."""
    return at_once(
        *(
            lambda label=label: create_contact_method(ana, actor=ana, kind="sms", label=label, address="+4915123456789")
            for label in ("One", "Two")
        )
    )


def test_one_of_them_is_refused(ana):
    (error,) = add_twice_at_once(ana)
    assert isinstance(error, FieldError)
    assert error.field == "address"
    assert ContactMethod.objects.filter(kind="sms").count() == 1


def test_without_the_lock_both_would_be_taken(ana, monkeypatch):
    meeting = threading.Barrier(2)
    real = contact_methods.refuse_duplicate

    def refuse_duplicate(*args, **options):
        real(*args, **options)
        meeting.wait(timeout=20)

    monkeypatch.setattr(QuerySet, "select_for_update", lambda queryset, **_: queryset)
    monkeypatch.setattr(contact_methods, "refuse_duplicate", refuse_duplicate)
    assert add_twice_at_once(ana) == []
    assert ContactMethod.objects.filter(kind="sms").count() == 2
