"""Who acts is carried by each statement that writes, and by nothing else: not to the next request, nor to a neighbour."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import DatabaseError, connection, transaction

from accounts.models.audit import AuditEntry
from accounts.models.groups import Group
from heartbeat_project.kernel.audit import SETTING, Actor, acting
from tests import factories
from tests.conftest import NOON

pytestmark = pytest.mark.django_db(transaction=True)

ANA = Actor(via="page", user=1, name="Ana", organization=1, address="192.0.2.1")


@pytest.fixture
def group():
    return factories.GroupFactory(name="Databases")


def newest():
    entry = AuditEntry.objects.latest("id")
    return entry.actor_name, entry.via


def setting_of_the_connection():
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s, TRUE)", [SETTING])
        return cursor.fetchone()[0] or ""


def test_a_write_without_a_transaction_has_it_and_the_next_one_has_not(group):
    with acting(lambda: ANA):
        Group.objects.filter(pk=group.pk).update(description="1")
    assert newest() == ("Ana", "page")
    assert setting_of_the_connection() == ""
    Group.objects.filter(pk=group.pk).update(description="2")
    assert newest() == ("", "worker")


def test_a_write_in_a_transaction_has_it_and_the_next_transaction_has_not(group):
    with acting(lambda: ANA), transaction.atomic():
        Group.objects.filter(pk=group.pk).update(description="1")
        assert setting_of_the_connection()
    assert newest() == ("Ana", "page")
    assert setting_of_the_connection() == ""


def test_it_outlives_what_is_rolled_back(group):
    with acting(lambda: ANA), transaction.atomic():
        with pytest.raises(DatabaseError), transaction.atomic():
            Group.objects.filter(pk=group.pk).update(organization=None)
        Group.objects.filter(pk=group.pk).update(description="1")
    assert newest() == ("Ana", "page")


def test_what_is_rolled_back_leaves_no_entry(group):
    count = AuditEntry.objects.count()
    with acting(lambda: ANA), transaction.atomic():
        Group.objects.filter(pk=group.pk).update(description="1")
        transaction.set_rollback(True)
    assert AuditEntry.objects.count() == count


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        ("UPDATE accounts_group SET description = '100%' RETURNING name", None),
        ("UPDATE accounts_group SET description = %s RETURNING name", ["100%"]),
        ("UPDATE accounts_group SET description = %s RETURNING name", ("100%",)),
        ("UPDATE accounts_group SET description = %(text)s RETURNING name", {"text": "100%"}),
        ("  update accounts_group SET description = '100%%' RETURNING name", []),
        (
            "WITH new AS (SELECT '100%%'::text AS text) UPDATE accounts_group SET description = text FROM new RETURNING 'Databases'",
            {},
        ),
    ],
)
def test_every_form_of_a_statement_has_it_and_its_own_result(group, statement, parameters):
    with acting(lambda: ANA), connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        assert cursor.rowcount == 1
        assert cursor.fetchall() == [("Databases",)]
    group.refresh_from_db()
    assert group.description == "100%"
    assert newest() == ("Ana", "page")


def test_many_at_once_have_it(group):
    with acting(lambda: ANA), connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE accounts_group SET description = %s WHERE id = %s", [["1", group.pk], ["2", group.pk]]
        )
        assert cursor.rowcount == 2
    assert [entry.actor_name for entry in AuditEntry.objects.order_by("-id")[:2]] == ["Ana", "Ana"]
    assert setting_of_the_connection() == ""


def test_what_the_orm_reads_back_is_right(group):
    with acting(lambda: ANA):
        made = Group.objects.bulk_create(
            [Group(organization=group.organization, name=f"{n}", created_at=NOON) for n in range(3)]
        )
        assert all(row.pk for row in made)
        again, was_made = Group.objects.get_or_create(
            organization=group.organization, name="3", defaults={"created_at": NOON}
        )
        assert (was_made, Group.objects.get(pk=again.pk).name) == (True, "3")
        assert Group.objects.filter(name__in=["0", "1", "2", "3"]).update(description="x") == 4
        assert Group.objects.filter(name="3").delete()[0] == 1
    assert {entry.actor_name for entry in AuditEntry.objects.order_by("-id")[:9]} == {"Ana"}


def test_text_of_a_request_stays_text(group):
    bad = Actor(via="page", name="'; DROP TABLE accounts_group; --%s", address='"\\')
    with acting(lambda: bad):
        Group.objects.filter(pk=group.pk).update(description="1")
    entry = AuditEntry.objects.latest("id")
    assert (entry.actor_name, entry.address) == (bad.name, bad.address)


def test_people_at_once_and_one_after_the_other_are_never_mixed_up(group, client_for, close_connections):
    """Four people change four groups fifteen times, each time over a connection that somebody else may have had."""
    organization = group.organization
    people = [factories.UserFactory(organization=organization, roles=["App Admin"]) for _ in range(4)]
    groups = [factories.GroupFactory(organization=organization) for _ in people]
    clients = [client_for(person) for person in people]
    start = threading.Barrier(len(people))
    last = AuditEntry.objects.latest("id").pk

    def change(index):
        start.wait(30)
        for number in range(15):
            answer = clients[index].patch(
                f"/api/v1/groups/{groups[index].pk}/", {"description": f"{number}"}, format="json"
            )
            assert answer.status_code == 200, answer.content
            connection.close()  # to the pool
            if number % 3 == 0:
                with connection.cursor() as cursor:  # of nobody: a worker's
                    cursor.execute(
                        "UPDATE accounts_group SET description = description || '.' WHERE id = %s", [groups[index].pk]
                    )
                connection.close()

    with ThreadPoolExecutor(len(people)) as pool:
        list(pool.map(change, range(len(people))))

    entries = AuditEntry.objects.filter(id__gt=last, object_type="group")
    assert entries.count() == 4 * (15 + 5)
    person_of = {changed.pk: person.pk for changed, person in zip(groups, people, strict=True)}
    for entry in entries:
        by_itself = (entry.after or {})["description"].endswith(".")
        expected = (None, "worker") if by_itself else (person_of[entry.object_id or 0], "key")
        assert (entry.actor_id, entry.via) == expected


def test_a_refused_key_acts_as_nobody(group, client):
    """The session's user is not the actor of a request that was refused, nor is that of the request before."""
    answer = client.patch(f"/api/v1/groups/{group.pk}/", {}, headers={"api-key": "wrong"})
    assert answer.status_code == 401
    Group.objects.filter(pk=group.pk).update(description="2")
    assert newest() == ("", "worker")
