"""A second installation with a key of its own is kept from a database; a key that is changed on purpose is not."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

from accounts.services.installation_key import other_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def start(settings):
    def with_key(key: str, *fallbacks: str, **options: bool) -> None:
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = key, list(fallbacks)
        call_command("bootstrap", **options)

    return with_key


def test_a_start_with_another_key_is_refused_with_what_to_do(start, now):
    start("first")
    start("first")
    with pytest.raises(ImproperlyConfigured, match=r"another SECRET_KEY.*secret_key of its data folder.*FALLBACKS"):
        start("second")
    assert "another SECRET_KEY" in other_key(now=now)
    start("first")
    assert other_key(now=now) == ""


def test_a_key_is_changed_by_naming_the_former_one_or_by_force(start, now):
    start("first")
    start("second", "first")
    start("second")
    with pytest.raises(ImproperlyConfigured):
        start("first")
    start("third", new_secret_key=True)
    start("third")
    assert other_key(now=now) == ""
