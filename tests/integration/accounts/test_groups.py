"""Groups, their members, who may see and change them, and what holds a group in place."""

import pytest

from accounts.models.groups import Group
from accounts.selectors import nested_groups, visible_groups
from accounts.services.groups import MAX_MEMBERS, GroupInUse, Member, create_group, delete_group, update_group
from heartbeat_project.kernel.errors import FieldError, Forbidden
from tests.factories import WHEN, GroupFactory, HeartbeatFactory, PlayFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(organization):
    return UserFactory(organization=organization, roles=["App Admin"])


@pytest.fixture
def basic(organization):
    return UserFactory(organization=organization)


@pytest.fixture
def group(organization):
    return GroupFactory(organization=organization, name="Network")


def at(field):
    """Expect an error at this field."""
    return pytest.raises(FieldError, check=lambda error: error.field == field)


def members_of(group):
    return list(group.members.order_by("role", "position").values_list("user", "role", "position"))


class TestCreate:
    def test_members_come_in_the_order_given_and_may_hold_several_roles(self, organization, admin, basic, now):
        group = create_group(
            organization,
            actor=admin,
            now=now,
            name=" Network ",
            members=[
                Member(user=basic.pk),
                Member(user=admin.pk),
                Member(user=admin.pk, role="manager", position=7),
            ],
        )
        assert group.name == "Network"
        assert members_of(group) == [(admin.pk, "manager", 7), (basic.pk, "primary", 0), (admin.pk, "primary", 1)]

    def test_a_taken_name_is_reported_at_its_field_whatever_its_case(self, organization, admin, group, now):
        with at("name"):
            create_group(organization, actor=admin, now=now, name="NETWORK")
        assert Group.objects.count() == 1

    def test_it_takes_the_entitlement_in_the_same_organization(self, organization, basic, now):
        for actor in (basic, UserFactory(roles=["Owner"])):
            with pytest.raises(Forbidden):
                create_group(organization, actor=actor, now=now, name="Network")

    def test_a_wrong_member_is_reported_at_its_place_and_saves_nothing(self, organization, admin, basic, now):
        stranger = UserFactory()
        first = Member(user=basic.pk)
        for wrong, field in (
            (Member(user=stranger.pk), "members/1/user"),
            (Member(user=10**15), "members/1/user"),
            (Member(user=basic.pk, role="boss"), "members/1/role"),
            (first, "members/1"),
        ):
            with at(field):
                create_group(organization, actor=admin, now=now, name="Network", members=[first, wrong])
        assert not Group.objects.exists()

    def test_the_number_of_members_is_bounded(self, organization, admin, now):
        with at("members"):
            create_group(
                organization, actor=admin, now=now, name="Big", members=[Member(user=admin.pk)] * (MAX_MEMBERS + 1)
            )

    def test_members_are_written_without_a_query_each(self, organization, admin, now, django_assert_max_num_queries):
        people = [UserFactory(organization=organization) for _ in range(6)]
        with django_assert_max_num_queries(9):
            create_group(
                organization, actor=admin, now=now, name="Six", members=[Member(user=person.pk) for person in people]
            )


class TestUpdate:
    def test_members_are_replaced_only_when_given(self, admin, basic, group):
        update_group(group, now=WHEN, actor=admin, members=[Member(user=basic.pk)])
        update_group(group, now=WHEN, actor=admin, name="Net", description="Switches")
        group.refresh_from_db()
        assert (group.name, group.description) == ("Net", "Switches")
        assert members_of(group) == [(basic.pk, "primary", 0)]
        update_group(group, now=WHEN, actor=admin, members=[])
        assert members_of(group) == []

    def test_a_taken_name_is_reported_at_its_field(self, organization, admin, group):
        other = GroupFactory(organization=organization, name="Storage")
        with at("name"):
            update_group(other, now=WHEN, actor=admin, name="network")

    def test_a_manager_changes_their_own_group_and_no_other(self, organization, basic):
        own = GroupFactory(organization=organization, managers=[basic])
        other = GroupFactory(organization=organization, primary=[basic])
        assert update_group(own, now=WHEN, actor=basic, name="Mine").name == "Mine"
        with pytest.raises(Forbidden):
            update_group(other, now=WHEN, actor=basic, name="Mine too")

    def test_a_manager_without_the_entitlement_does_not(self, organization):
        viewer = UserFactory(organization=organization, roles=["System Viewer"])
        with pytest.raises(Forbidden):
            update_group(
                GroupFactory(organization=organization, managers=[viewer]), now=WHEN, actor=viewer, name="Mine"
            )

    def test_nobody_of_another_organization_does(self, group):
        with pytest.raises(Forbidden):
            update_group(group, now=WHEN, actor=UserFactory(roles=["Owner"]), name="Mine")


class TestVisible:
    def test_all_their_own_or_none(self, organization, admin, basic, group):
        own = GroupFactory(organization=organization, name="Own", primary=[basic], managers=[basic])
        GroupFactory(primary=[basic])
        assert set(visible_groups(admin)) == {group, own}
        assert list(visible_groups(basic)) == [own]
        viewer = UserFactory(organization=organization, roles=["System Viewer"])
        GroupFactory(organization=organization, primary=[viewer])
        assert not visible_groups(viewer).exists()


class TestDelete:
    def test_a_group_that_nothing_names_goes_with_its_members(self, admin, basic, group):
        update_group(group, now=WHEN, actor=admin, members=[Member(user=basic.pk)])
        delete_group(group, actor=admin)
        assert not Group.objects.exists()

    def test_a_group_that_an_integration_names_stays(self, organization, admin, group):
        HeartbeatFactory(organization=organization, name="backup", recipient_groups=[group])
        with pytest.raises(GroupInUse, match="“backup”"):
            delete_group(group, actor=admin)
        assert Group.objects.filter(pk=group.pk).exists()

    def test_a_group_that_a_play_names_stays(self, organization, admin, group):
        tier = PlayFactory(organization=organization, name="Outage").tiers.create(offset_minutes=5)
        tier.groups.add(group)
        with pytest.raises(GroupInUse, match="play tier"):
            delete_group(group, actor=admin)
        assert list(tier.groups.all()) == [group]

    def test_a_manager_does_not_delete(self, organization, basic):
        own = GroupFactory(organization=organization, managers=[basic])
        with pytest.raises(Forbidden):
            delete_group(own, actor=basic)

    def test_nobody_of_another_organization_does(self, group):
        with pytest.raises(Forbidden):
            delete_group(group, actor=UserFactory(roles=["Owner"]))


class TestNesting:
    def test_groups_within_groups_are_found_in_order_however_deep_and_once(
        self, organization, admin, now, django_assert_num_queries
    ):
        leaf = create_group(organization, actor=admin, now=now, name="Leaf")
        left = create_group(organization, actor=admin, now=now, name="Left", groups=[leaf])
        right = create_group(organization, actor=admin, now=now, name="Right", groups=[leaf])
        root = create_group(organization, actor=admin, now=now, name="Root", groups=[right, left])
        with django_assert_num_queries(1):
            found = nested_groups([root.pk, left.pk])
        assert found == {root.pk: [root.pk, right.pk, leaf.pk, left.pk], left.pk: [left.pk, leaf.pk]}

    def test_circles_and_strangers_are_refused(self, organization, admin, group, now):
        outer = create_group(organization, actor=admin, now=now, name="Outer", groups=[group])
        for inner in (outer, group):
            with at("groups/0"):
                update_group(group, now=WHEN, actor=admin, groups=[inner])
        with at("groups/0"):
            update_group(group, now=WHEN, actor=admin, groups=[GroupFactory()])
        assert nested_groups([group.pk]) == {group.pk: [group.pk]}

    def test_a_circle_that_is_there_all_the_same_ends(self, organization, group):
        other = GroupFactory(organization=organization)
        group.nestings.create(child=other)
        other.nestings.create(child=group)
        assert nested_groups([group.pk]) == {group.pk: [group.pk, other.pk]}

    def test_a_group_within_another_is_not_deleted(self, organization, admin, group, now):
        create_group(organization, actor=admin, now=now, name="Outer", groups=[group])
        with pytest.raises(GroupInUse, match="group “Outer”"):
            delete_group(group, actor=admin)

    def test_over_the_management_api(self, organization, admin, group, client_for):
        outer = GroupFactory(organization=organization, name="Outer")
        api = client_for(admin)
        answer = api.patch(f"/api/v1/groups/{outer.pk}/", {"groups": [group.pk]}, format="json")
        assert answer.json()["groups"] == [group.pk]
        refused = api.patch(f"/api/v1/groups/{group.pk}/", {"groups": [outer.pk]}, format="json")
        assert refused.json()["errors"][0]["code"] == "circle"
        assert api.patch(f"/api/v1/groups/{outer.pk}/", {"groups": []}, format="json").json()["groups"] == []
