"""API keys: made, used, refused."""

from datetime import timedelta

import pytest

from accounts.models.access import ApiKey
from accounts.services.api_keys import create_api_key, note_use, revoke_api_key
from accounts.services.users import deactivate_user
from heartbeat_project.kernel.errors import FieldError, Forbidden
from heartbeat_project.kernel.ids import digest
from tests.factories import WHEN, UserFactory

pytestmark = pytest.mark.django_db
ME = "/api/v1/users/me/"


@pytest.fixture
def ana(organization):
    return UserFactory(organization=organization)


@pytest.fixture
def key(ana, now):
    return create_api_key(ana, name="laptop", now=now)


def test_only_the_hash_and_the_beginning_are_kept(key):
    row, secret = key
    assert secret.startswith("hb_")
    assert len(secret) == 35
    stored = ApiKey.objects.filter(pk=row.pk).values().get()
    assert stored["key_hash"] == digest(secret)
    assert stored["prefix"] == secret[:10]
    assert secret not in str(stored)


def test_of_a_short_key_that_was_given_less_is_shown(ana, now):
    row, secret = create_api_key(ana, name="given", now=now, key="abcdefghi")
    assert (row.prefix, secret) == ("abc", "abcdefghi")


@pytest.mark.parametrize("name", ["", "  ", "x" * 101])
def test_a_key_has_a_name(ana, now, name):
    with pytest.raises(FieldError, check=lambda error: error.field == "name"):
        create_api_key(ana, name=name, now=now)


@pytest.mark.parametrize("header", ["HTTP_AUTHORIZATION", "HTTP_API_KEY"])
def test_either_header_signs_in(client, ana, key, header):
    value = f"Bearer {key[1]}" if header == "HTTP_AUTHORIZATION" else key[1]
    response = client.get(ME, **{header: value})
    assert response.status_code == 200
    assert response.json()["id"] == ana.pk


def test_the_scheme_is_read_in_any_case(client, key):
    assert client.get(ME, HTTP_AUTHORIZATION=f"bearer {key[1]}").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"HTTP_AUTHORIZATION": "Bearer nonsense"},
        {"HTTP_AUTHORIZATION": "Bearer"},
        {"HTTP_AUTHORIZATION": "Bearer \xff\xfe\x80"},
        {"HTTP_AUTHORIZATION": "Basic YTpi"},
        {"HTTP_API_KEY": ""},
        {"HTTP_API_KEY": "schlüssel\x80"},
        {"HTTP_API_KEY": "\x00"},
    ],
)
def test_anything_else_is_a_401_with_a_challenge(client, key, headers):
    response = client.get(ME, **headers)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert response["Content-Type"] == "application/problem+json"


def test_a_bad_key_is_not_saved_by_a_session(client, ana):
    client.force_login(ana)
    assert client.get(ME).status_code == 200
    assert client.get(ME, HTTP_API_KEY="nonsense").status_code == 401


def test_a_revoked_key_is_refused_and_revoking_twice_keeps_the_first_time(client, ana, key, now):
    row, secret = key
    revoke_api_key(row, actor=ana, now=now)
    revoke_api_key(row, actor=ana, now=now + timedelta(hours=1))
    row.refresh_from_db()
    assert row.revoked_at == now
    assert client.get(ME, HTTP_API_KEY=secret).status_code == 401


def test_the_key_of_a_deactivated_user_is_refused(client, ana, organization, key):
    deactivate_user(ana, now=WHEN, actor=UserFactory(organization=organization, roles=["App Admin"]))
    assert client.get(ME, HTTP_API_KEY=key[1]).status_code == 401


def test_who_may_revoke(organization, ana, key, now):
    admin = UserFactory(organization=organization, roles=["App Admin"])
    for stranger in (UserFactory(organization=organization), UserFactory(roles=["Owner"])):
        with pytest.raises(Forbidden):
            revoke_api_key(key[0], actor=stranger, now=now)
    owners, _ = create_api_key(UserFactory(organization=organization, roles=["Owner"]), name="owner's", now=now)
    with pytest.raises(Forbidden):
        revoke_api_key(owners, actor=admin, now=now)
    revoke_api_key(key[0], actor=admin, now=now)
    assert not ApiKey.objects.filter(pk=key[0].pk, revoked_at=None).exists()


def test_the_last_use_is_kept_to_the_minute_and_never_goes_back(ana, key, now, django_assert_num_queries):
    row, _ = key
    note_use(row, now=now + timedelta(seconds=59))
    row.refresh_from_db()
    assert row.last_used_at == now
    with django_assert_num_queries(0):
        note_use(row, now=now + timedelta(seconds=59))
    stale = ApiKey.objects.get(pk=row.pk)
    note_use(row, now=now + timedelta(minutes=5))
    note_use(stale, now=now + timedelta(minutes=2))
    row.refresh_from_db()
    assert row.last_used_at == now + timedelta(minutes=5)


def test_a_request_reads_key_user_organization_and_roles_in_two_queries_and_writes_nothing(
    client, ana, key, django_assert_num_queries
):
    client.get(ME, HTTP_API_KEY=key[1])
    # And one for the chats that the user is linked in.
    with django_assert_num_queries(2 + 1):
        assert client.get(ME, HTTP_API_KEY=key[1]).json()["entitlements"]
