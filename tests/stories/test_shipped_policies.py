"""Each of the five policies that every organization has, notified as a table: at which minute who is notified, over
what.

The team has Ana and Bob as Primary, Sam as Secondary, Mia as Manager. Each of them also has a second address that they
want to be notified over two minutes later, and one that they never verified.
"""

from itertools import groupby

import pytest

from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db

OFFICIAL, PERSONAL = "{}@example.com", "{}@home.example.com"

FIVE_MINUTES = [
    (0, "ana", OFFICIAL),
    (0, "bob", OFFICIAL),
    (2, "ana", PERSONAL),
    (2, "bob", PERSONAL),
    (5, "sam", OFFICIAL),
    (7, "sam", PERSONAL),
    (10, "mia", OFFICIAL),
    (12, "mia", PERSONAL),
]
THIRTY_MINUTES = [
    (role_at + retry * 5, name, address)
    for role_at, names in ((0, ("ana", "bob")), (30, ("sam",)), (60, ("mia",)))
    for retry in range(6)
    for name in names
    for address in (OFFICIAL, PERSONAL)
]
ALL_HANDS = [(0, name, address) for name in ("ana", "bob", "sam", "mia") for address in (OFFICIAL, PERSONAL)]
ALL_HANDS_BY_EMAIL = [(0, name, OFFICIAL) for name in ("ana", "bob", "sam", "mia")]
MANAGER_BY_EMAIL = [(0, "mia", OFFICIAL)]

SHIPPED = {
    "Escalate after 5 minutes, user preference": FIVE_MINUTES,
    "Escalate after 30 minutes with 5 retries, centralized": THIRTY_MINUTES,
    "All hands, all contacts": ALL_HANDS,
    "All hands, e-mail only": ALL_HANDS_BY_EMAIL,
    "E-mail manager": MANAGER_BY_EMAIL,
}


def with_more_addresses(world, *names):
    for name in names:
        methods = world.person(name).contact_methods
        methods.create(
            label="Email-Personal",
            address=PERSONAL.format(name),
            position=1,
            delay_minutes=2,
            verified_at=world.now,
        )
        methods.create(label="Email-Old", address=f"{name}@old.example.com", position=2)


def test_there_are_five(world):
    assert {policy.name for policy in world.organization.escalation_policies.all()} == set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_policy_notifies_just_these_people_at_just_these_times(world, name):
    team = world.team("Database", primary=["ana", "bob"], secondary=["sam"], managers=["mia"])
    with_more_addresses(world, "ana", "bob", "sam", "mia")
    policy = world.organization.escalation_policies.get(name=name)
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team], escalation_policy=policy)
    world.ping(job)
    world.advance(minutes(5) - seconds(1))
    world.expect_nothing_else()
    silent_since, notified_until = world.now, seconds(-1)
    for minute, lines in groupby(sorted(SHIPPED[name]), key=lambda line: line[0]):
        world.advance(minutes(minute) - notified_until - seconds(1))
        world.expect_nothing_else()
        world.advance(seconds(1))
        notified_until = minutes(minute)
        assert world.now - silent_since == minutes(minute) + seconds(1)
        for _, who, address in lines:
            world.expect_page(who, about=job, address=address.format(who))
        world.expect_nothing_else()
    world.advance(minutes(300))
    world.expect_nothing_else()
