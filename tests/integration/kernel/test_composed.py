"""Composed query sets give what Django's own give, for any values, and are translated once."""

from datetime import timedelta

import pytest
from django.contrib.postgres.aggregates import ArrayAgg
from django.db import connection
from django.db.models import DateTimeField, F
from django.test.utils import CaptureQueriesContext

from accounts.models.contact_methods import ContactMethod
from accounts.models.groups import GroupMember
from accounts.models.users import User
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.composed import Composed, Parameter, one_of
from heartbeat_project.kernel.prepared import MANY
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def people():
    organization = factories.OrganizationFactory()
    return [factories.UserFactory(organization=organization, name=f"Person {n}") for n in range(3)]


def test_objects_come_with_their_related_ones_and_without_another_query(people):
    composed = Composed(
        lambda: ContactMethod.objects.filter(one_of("user_id", "users")).select_related("user").order_by("pk")
    )
    expected = list(ContactMethod.objects.filter(user__in=people[:2]).order_by("pk"))
    assert expected
    with CaptureQueriesContext(connection) as asked:
        found = composed(users=[person.pk for person in people[:2]])
        assert [method.user.name for method in found] == [method.user.name for method in found]
    assert len(asked) == 1
    assert [vars(method)["address"] for method in found] == [method.address for method in expected]
    assert all(not method._state.adding for method in found)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (lambda users: users.values_list("pk", flat=True), lambda user: user.pk),
        (lambda users: users.values_list("pk", "name"), lambda user: (user.pk, user.name)),
        (lambda users: users.values("pk", "name"), lambda user: {"pk": user.pk, "name": user.name}),
        (lambda users: users.annotate(again=F("name")), lambda user: user),
        (lambda users: users.annotate(ids=ArrayAgg("pk")).values_list("ids", flat=True), lambda user: [user.pk]),
    ],
)
def test_rows_have_the_form_that_the_query_set_gives_them(people, rows, expected):
    composed = Composed(lambda: rows(User.objects.filter(one_of("pk", "users")).order_by("pk")))
    for some in (people, people[1:], people[:1]):
        assert composed(users=[person.pk for person in some]) == [expected(person) for person in some]


def test_other_values_are_no_lists(people):
    composed = Composed(lambda: User.objects.filter(last_login__gt=Parameter("after", DateTimeField())))
    now = clock.now()
    User.objects.filter(pk=people[0].pk).update(last_login=now)
    assert composed(after=now - timedelta(seconds=1)) == people[:1]
    assert composed(after=now) == []


def test_an_empty_list_gives_nothing_without_a_query(people):
    composed = Composed(lambda: GroupMember.objects.filter(one_of("user_id", "users")))
    with CaptureQueriesContext(connection) as asked:
        assert composed(users=[]) == []
    assert not asked.captured_queries


@pytest.mark.parametrize("length", [1, MANY, MANY + 1, 2_000])
def test_a_long_list_is_planned_for_what_it_holds(people, length):
    composed = Composed(lambda: User.objects.filter(one_of("pk", "users")).values_list("pk", flat=True))
    ids = [people[0].pk, *range(10**9, 10**9 + length - 1)]
    before = _prepared()
    assert composed(users=ids) == [people[0].pk]
    assert (_prepared() > before) is (length <= MANY)


def _prepared():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        return cursor.fetchone()[0]


def test_it_is_composed_once(people):
    times = []

    def compose():
        times.append(1)
        return User.objects.filter(one_of("pk", "users")).values_list("pk", flat=True)

    composed = Composed(compose)
    assert [composed(users=[person.pk]) for person in people] == [[person.pk] for person in people]
    assert len(times) == 1
