"""The management API of accounts: who sees and changes what, tenancy, and bad input."""

import json
import re

import pytest
from django.core import mail
from rest_framework.test import APIClient

from accounts.models.access import ApiKey
from accounts.models.contact_methods import ContactMethod
from accounts.models.groups import Group
from accounts.models.users import Role, User
from accounts.services.api_keys import create_api_key
from accounts.services.contact_methods import create_contact_method
from escalation.notifications.verification import send_code
from heartbeat_project.kernel import clock
from tests.chats import known_in_chat
from tests.factories import GroupFactory, HeartbeatFactory, UserFactory

pytestmark = pytest.mark.django_db
API = "/api/v1"
ROLES = ["Owner", "App Admin", "Integrations Admin", "Basic", "Billing Admin", "Send Message", "System Viewer"]


@pytest.fixture
def admin(organization):
    return UserFactory(organization=organization, name="Adam", roles=["App Admin"])


@pytest.fixture
def ana(organization):
    return UserFactory(organization=organization, name="Ana")


@pytest.fixture
def api(admin, client_for):
    return client_for(admin)


@pytest.fixture
def anas(ana, client_for):
    return client_for(ana)


@pytest.fixture
def stranger():
    """Somebody of another organization, with a group and a contact method of their own."""
    user = UserFactory(name="Stranger", roles=["Owner"])
    GroupFactory(organization=user.organization, name="Strangers", primary=[user])
    return user


def pointers(response):
    assert response.status_code == 400, response.content
    assert response["Content-Type"] == "application/problem+json"
    return {error["pointer"] for error in response.json()["errors"]}


class TestUsers:
    def test_everybody_can_name_colleagues_but_not_read_more(self, anas, ana, admin):
        rows = {row["id"]: row for row in anas.get(f"{API}/users/").json()["results"]}
        assert set(rows) == {ana.pk, admin.pk}
        assert rows[admin.pk]["name"] == "Adam"
        assert [rows[admin.pk][field] for field in ("email", "time_zone", "roles")] == [None, None, None]
        assert rows[ana.pk]["email"] == ana.email
        assert anas.get(f"{API}/users/{admin.pk}/").json()["email"] is None

    def test_who_administers_security_reads_all(self, api, ana, organization):
        row = api.get(f"{API}/users/{ana.pk}/").json()
        assert row == {
            "id": ana.pk,
            "name": "Ana",
            "email": ana.email,
            "kind": "standard",
            "time_zone": "UTC",
            "chat_members": [],
            "roles": [organization.roles.get(name="Basic").pk],
            "is_owner": False,
            "is_active": True,
            "created_at": "2026-03-02T11:00:00Z",
        }

    def test_a_created_user_is_basic_unless_set_otherwise(self, api, organization):
        response = api.post(f"{API}/users/", {"name": "Ben", "email": "Ben@Example.com"}, format="json")
        assert response.status_code == 201
        body = response.json()
        assert body["email"] == "ben@example.com"
        assert body["roles"] == [organization.roles.get(name="Basic").pk]
        assert "password" not in body
        assert User.objects.get(pk=body["id"]).contact_methods.get().label == "Email-Official"
        given = {"name": "Cy", "email": "cy@example.com", "roles": [], "is_active": False, "kind": "stakeholder"}
        body = api.post(f"{API}/users/", given, format="json").json()
        assert (body["roles"], body["is_active"], body["kind"]) == ([], False, "stakeholder")

    def test_a_user_is_changed(self, api, ana, organization):
        viewer = organization.roles.get(name="System Viewer").pk
        change = {"name": "Anna", "time_zone": "Asia/Tokyo", "roles": [viewer], "password": "correct horse battery"}
        body = api.patch(f"{API}/users/{ana.pk}/", change, format="json").json()
        assert (body["name"], body["time_zone"], body["roles"]) == ("Anna", "Asia/Tokyo", [viewer])
        ana.refresh_from_db()
        assert ana.check_password("correct horse battery")

    def test_delete_deactivates_and_a_change_brings_back(self, api, ana):
        assert api.delete(f"{API}/users/{ana.pk}/").status_code == 204
        assert not User.objects.get(pk=ana.pk).is_active
        assert api.patch(f"{API}/users/{ana.pk}/", {"is_active": True}, format="json").json()["is_active"]

    def test_the_owner_cannot_be_deactivated(self, organization, client_for, api):
        owner = UserFactory(organization=organization, roles=["Owner"])
        assert client_for(owner).delete(f"{API}/users/{owner.pk}/").status_code == 409
        assert api.delete(f"{API}/users/{owner.pk}/").status_code == 403

    def test_the_owner_role_is_not_given(self, api, ana, organization):
        roles = {"roles": [organization.roles.get(name="Owner").pk]}
        response = api.patch(f"{API}/users/{ana.pk}/", roles, format="json")
        assert pointers(response) == {"/roles"}
        assert "transfer" in response.json()["errors"][0]["detail"]

    def test_ownership_is_transferred_by_the_owner_alone(self, organization, ana, api, client_for):
        owner = UserFactory(organization=organization, roles=["Owner"])
        url = f"{API}/users/{ana.pk}/transfer-ownership/"
        assert api.post(url).status_code == 403
        assert client_for(owner).post(url).json()["is_owner"] is True
        assert User.objects.get(organization=organization, is_owner=True) == ana

    @pytest.mark.parametrize("role", ROLES)
    def test_only_owner_and_app_admin_write(self, organization, ana, client_for, role):
        client = client_for(UserFactory(organization=organization, roles=[role]))
        allowed = role in {"Owner", "App Admin"}
        new = {"name": "Ben", "email": "ben@example.com"}
        assert client.post(f"{API}/users/", new, format="json").status_code == (201 if allowed else 403)
        assert client.patch(f"{API}/users/{ana.pk}/", {"name": "B"}, format="json").status_code == (
            200 if allowed else 403
        )
        assert client.delete(f"{API}/users/{ana.pk}/").status_code == (204 if allowed else 403)
        assert client.get(f"{API}/users/").status_code == 200

    def test_the_list_costs_the_same_for_many(self, api, organization, django_assert_num_queries):
        for _ in range(5):
            UserFactory(organization=organization)
        api.get(f"{API}/users/")
        with django_assert_num_queries(5):  # key, its roles; users, their roles and chat accounts
            assert len(api.get(f"{API}/users/").json()["results"]) == 6

    def test_the_list_is_paged(self, api, ana):
        page = api.get(f"{API}/users/", {"page_size": 1}).json()
        assert [row["id"] for row in page["results"]] == [ana.pk]
        assert len(api.get(page["next"]).json()["results"]) == 1


class TestMe:
    def test_me_says_what_i_may_do(self, anas, ana):
        body = anas.get(f"{API}/users/me/").json()
        assert (body["id"], body["email"]) == (ana.pk, ana.email)
        assert body["entitlements"] == sorted(
            [
                "Groups_Update_GroupAccess",
                "Groups_View_GroupAccess",
                "Messages_View_GroupAccess",
                "Messages_View_UserAccess",
                "User_Update_UserAccess",
                "Users_Notifications_Update_UserAccess",
                "Users_View_UserAccess",
            ]
        )

    def test_i_change_my_name_zone_and_password(self, anas, ana):
        ana.set_password("correct horse battery")
        ana.save()
        change = {
            "name": "Anna",
            "time_zone": "Asia/Tokyo",
            "password": "horse battery correct",
            "current_password": "correct horse battery",
        }
        assert anas.patch(f"{API}/users/me/", change, format="json").json()["name"] == "Anna"
        ana.refresh_from_db()
        assert ana.time_zone == "Asia/Tokyo"
        assert ana.check_password("horse battery correct")

    def test_my_chat_accounts_are_shown_to_me_and_to_who_administers_and_nobody_writes_them(
        self, anas, ana, api, organization, client_for
    ):
        known_in_chat(ana, "T1:U012AB3CD")
        row = anas.get(f"{API}/users/me/").json()["chat_members"]
        assert [(entry["platform"], entry["member"]) for entry in row] == [("slack", "T1:U012AB3CD")]
        assert api.get(f"{API}/users/{ana.pk}/").json()["chat_members"] == row
        colleague = client_for(UserFactory(organization=organization))
        assert colleague.get(f"{API}/users/{ana.pk}/").json()["chat_members"] is None
        for client, url in ((anas, "users/me/"), (api, f"users/{ana.pk}/")):
            refused = client.patch(f"{API}/{url}", {"slack_id": "U0BEN"}, format="json")
            assert pointers(refused) == {"/slack_id"}
            client.patch(f"{API}/{url}", {"chat_members": []}, format="json")
        assert ana.chat_members.count() == 1

    def test_i_cannot_give_myself_rights(self, anas, organization):
        for field, value in {"roles": [], "is_active": False, "email": "x@example.com", "is_owner": True}.items():
            assert pointers(anas.patch(f"{API}/users/me/", {field: value}, format="json")) == {f"/{field}"}

    def test_without_roles_one_still_sees_oneself_and_changes_nothing(self, organization, client_for):
        client = client_for(UserFactory(organization=organization, roles=[]))
        assert client.get(f"{API}/users/me/").json()["entitlements"] == []
        assert client.patch(f"{API}/users/me/", {"name": "X"}, format="json").status_code == 403


class TestGroups:
    def test_round_trip(self, api, ana, admin):
        new = {
            "name": "Network",
            "description": "Switches",
            "members": [{"user": ana.pk}, {"user": admin.pk, "role": "manager", "position": 4}],
        }
        response = api.post(f"{API}/groups/", new, format="json")
        assert response.status_code == 201, response.content
        body = response.json()
        assert body["members"] == [
            {"user": ana.pk, "role": "primary", "position": 0},
            {"user": admin.pk, "role": "manager", "position": 4},
        ]
        url = f"{API}/groups/{body['id']}/"
        assert api.get(url).json() | {"warnings": []} == body
        changed = api.patch(url, {"members": [{"user": admin.pk, "role": "secondary"}]}, format="json").json()
        assert changed["members"] == [{"user": admin.pk, "role": "secondary", "position": 0}]
        assert changed["name"] == "Network"
        assert api.delete(url).status_code == 204

    def test_members_of_another_organization_do_not_exist(self, api, stranger):
        new = {"name": "Network", "members": [{"user": stranger.pk}]}
        assert pointers(api.post(f"{API}/groups/", new, format="json")) == {"/members/0/user"}
        assert not Group.objects.filter(name="Network").exists()

    def test_a_group_in_use_is_not_deleted(self, api, organization):
        group = GroupFactory(organization=organization)
        HeartbeatFactory(organization=organization, name="backup", recipient_groups=[group])
        response = api.delete(f"{API}/groups/{group.pk}/")
        assert response.status_code == 409
        assert "backup" in response.json()["detail"]

    def test_basic_users_see_their_own_and_change_it_as_manager(self, anas, ana, organization):
        managed = GroupFactory(organization=organization, name="A", managers=[ana])
        joined = GroupFactory(organization=organization, name="B", primary=[ana])
        other = GroupFactory(organization=organization, name="C")
        assert {row["id"] for row in anas.get(f"{API}/groups/").json()["results"]} == {managed.pk, joined.pk}
        assert anas.get(f"{API}/groups/{other.pk}/").status_code == 404
        answers = [
            anas.patch(f"{API}/groups/{group.pk}/", {"description": "x"}, format="json").status_code
            for group in (managed, joined, other)
        ]
        assert answers == [200, 403, 404]
        assert anas.post(f"{API}/groups/", {"name": "New"}, format="json").status_code == 403
        assert anas.delete(f"{API}/groups/{managed.pk}/").status_code == 403

    @pytest.mark.parametrize("role", ROLES)
    def test_who_views_and_who_adds(self, organization, client_for, role):
        client = client_for(UserFactory(organization=organization, roles=[role]))
        viewers = {"Owner", "App Admin", "Integrations Admin", "Basic", "Send Message"}
        assert client.get(f"{API}/groups/").status_code == (200 if role in viewers else 403)
        answer = client.post(f"{API}/groups/", {"name": "New"}, format="json").status_code
        assert answer == (201 if role in {"Owner", "App Admin"} else 403)

    def test_the_list_costs_the_same_for_many(self, api, organization, ana, django_assert_num_queries):
        for _ in range(5):
            GroupFactory(organization=organization, primary=[ana])
        api.get(f"{API}/groups/")
        with django_assert_num_queries(5):  # key, its roles; groups, their members, the groups within them
            assert len(api.get(f"{API}/groups/").json()["results"]) == 5


class TestContactMethods:
    def test_adding_and_verifying_ones_own(self, anas, ana):
        new = {"label": "Email-Personal", "address": "ana@home.example.com", "delay_minutes": 0.5}
        body = anas.post(f"{API}/contact-methods/", new, format="json").json()
        assert (body["user"], body["verified_at"], body["delay_minutes"]) == (ana.pk, None, 0.5)
        url = f"{API}/contact-methods/{body['id']}"
        assert anas.post(f"{url}/send-code/").status_code == 202
        send_code(body["id"], now=clock.now())
        code = re.search(r"\d{6}", mail.outbox[0].body).group()
        wrong = f"{(int(code) + 1) % 10**6:06}"
        assert pointers(anas.post(f"{url}/verify/", {"code": wrong}, format="json")) == {"/code"}
        assert anas.post(f"{url}/verify/", {"code": code}, format="json").json()["verified_at"]
        assert anas.post(f"{url}/verify/", {"code": code}, format="json").status_code == 409
        assert anas.post(f"{url}/send-code/").status_code == 409

    def test_five_wrong_tries_are_kept_though_each_was_an_error(self, anas, ana):
        method = create_contact_method(ana, actor=ana, label="Other", address="o@example.com")
        send_code(method.pk, now=clock.now())
        url = f"{API}/contact-methods/{method.pk}/verify/"
        answers = [anas.post(url, {"code": "no"}, format="json").status_code for _ in range(6)]
        assert answers == [400] * 5 + [409]

    def test_one_sees_ones_own_and_security_sees_all(self, anas, api, ana, admin, stranger):
        own = ana.contact_methods.get().pk
        assert [row["id"] for row in anas.get(f"{API}/contact-methods/").json()["results"]] == [own]
        everybodys = {row["user"] for row in api.get(f"{API}/contact-methods/").json()["results"]}
        assert everybodys == {ana.pk, admin.pk}
        found = api.get(f"{API}/contact-methods/", {"user": ana.pk}).json()["results"]
        assert [row["id"] for row in found] == [own]
        assert anas.get(f"{API}/contact-methods/", {"user": admin.pk}).json()["results"] == []
        assert anas.get(f"{API}/contact-methods/{admin.contact_methods.get().pk}/").status_code == 404

    @pytest.mark.parametrize("wanted", ["", "x", "-1", "٣", "9" * 40, "1 OR 1=1"])
    def test_a_filter_that_is_no_id_is_reported(self, api, wanted):
        assert pointers(api.get(f"{API}/contact-methods/", {"user": wanted})) == {"/user"}

    def test_security_adds_for_others_and_nobody_else_does(self, anas, api, ana, admin):
        new = {"label": "Other", "address": "o@example.com"}
        assert api.post(f"{API}/contact-methods/", {**new, "user": ana.pk}, format="json").json()["user"] == ana.pk
        assert anas.post(f"{API}/contact-methods/", {**new, "user": admin.pk}, format="json").status_code == 403

    def test_it_keeps_its_person_and_kind(self, api, ana, admin):
        url = f"{API}/contact-methods/{ana.contact_methods.get().pk}/"
        assert pointers(api.patch(url, {"user": admin.pk}, format="json")) == {"/user"}
        assert api.patch(url, {"user": ana.pk, "kind": "email", "position": 2}, format="json").json()["position"] == 2

    def test_email_official_stays(self, anas, ana):
        url = f"{API}/contact-methods/{ana.contact_methods.get().pk}/"
        assert anas.delete(url).status_code == 409
        assert anas.patch(url, {"enabled": False}, format="json").status_code == 409

    def test_another_one_can_be_removed(self, anas, ana):
        method = create_contact_method(ana, actor=ana, label="Other", address="o@example.com")
        assert anas.delete(f"{API}/contact-methods/{method.pk}/").status_code == 204
        assert ana.contact_methods.count() == 1

    def test_the_list_costs_the_same_for_many(self, api, organization, django_assert_num_queries):
        for _ in range(5):
            UserFactory(organization=organization)
        api.get(f"{API}/contact-methods/")
        with django_assert_num_queries(3):  # key, its roles; contact methods
            assert len(api.get(f"{API}/contact-methods/").json()["results"]) == 6


class TestRoles:
    def test_everybody_reads_them(self, anas, organization):
        rows = anas.get(f"{API}/roles/").json()["results"]
        assert [row["name"] for row in rows] == ROLES[::-1]
        assert all(row["is_builtin"] is True for row in rows)

    def test_round_trip_of_a_custom_role(self, api):
        new = {"name": "Auditor", "entitlements": ["AuditTrail_View"]}
        body = api.post(f"{API}/roles/", new, format="json").json()
        assert (body["is_builtin"], body["entitlements"]) == (False, ["AuditTrail_View"])
        url = f"{API}/roles/{body['id']}/"
        assert api.patch(url, {"entitlements": []}, format="json").json()["entitlements"] == []
        assert api.delete(url).status_code == 204

    def test_builtin_ones_and_those_held_are_conflicts(self, api, ana, organization):
        basic = organization.roles.get(name="Basic")
        assert api.patch(f"{API}/roles/{basic.pk}/", {"name": "B"}, format="json").status_code == 409
        assert api.delete(f"{API}/roles/{basic.pk}/").status_code == 409

    def test_only_security_writes(self, anas, organization):
        assert anas.post(f"{API}/roles/", {"name": "A", "entitlements": []}, format="json").status_code == 403

    def test_an_unknown_entitlement_is_reported_at_its_place(self, api):
        new = {"name": "Auditor", "entitlements": ["AuditTrail_View", "Everything"]}
        assert pointers(api.post(f"{API}/roles/", new, format="json")) == {"/entitlements/1"}


class TestApiKeys:
    def test_the_key_is_shown_once_and_works_until_it_is_revoked(self, anas, ana):
        response = anas.post(f"{API}/api-keys/", {"name": "cron"}, format="json")
        assert response.status_code == 201
        made = response.json()
        client = APIClient()
        client.credentials(HTTP_API_KEY=made["key"])
        assert client.get(f"{API}/users/me/").json()["id"] == ana.pk
        url = f"{API}/api-keys/{made['id']}/"
        shown = anas.get(url).json()
        assert "key" not in shown
        assert shown["prefix"] == made["key"][:10]
        assert shown["last_used_at"]
        assert anas.delete(url).status_code == 204
        assert client.get(f"{API}/users/me/").status_code == 401
        assert anas.get(url).json()["revoked_at"]

    def test_one_sees_ones_own_even_as_admin(self, api, anas, ana):
        theirs = ApiKey.objects.get(user=ana)
        assert theirs.pk not in [row["id"] for row in api.get(f"{API}/api-keys/").json()["results"]]
        assert api.delete(f"{API}/api-keys/{theirs.pk}/").status_code == 404

    def test_a_key_cannot_be_changed(self, anas, ana):
        url = f"{API}/api-keys/{ApiKey.objects.get(user=ana).pk}/"
        response = anas.patch(url, {"name": "x"}, format="json")
        assert response.status_code == 405
        assert "DELETE" in response["Allow"]


class TestTenancy:
    def test_objects_of_another_organization_are_not_found(self, api, stranger, now):
        key, _ = create_api_key(stranger, name="k", now=now)
        others = {
            "users": stranger.pk,
            "groups": Group.objects.get(organization=stranger.organization).pk,
            "contact-methods": stranger.contact_methods.get().pk,
            "roles": stranger.organization.roles.first().pk,
            "api-keys": key.pk,
        }
        for resource, pk in others.items():
            url = f"{API}/{resource}/{pk}/"
            assert api.get(url).status_code == 404, url
            assert api.delete(url).status_code == 404, url
            if resource != "api-keys":
                assert api.patch(url, {}, format="json").status_code == 404, url
        assert api.post(f"{API}/users/{stranger.pk}/transfer-ownership/").status_code == 404
        assert api.post(f"{API}/contact-methods/{others['contact-methods']}/send-code/").status_code == 404
        assert User.objects.get(pk=stranger.pk).is_active

    def test_lists_leave_them_out(self, api, stranger):
        for resource in ("users", "groups", "contact-methods", "roles", "api-keys"):
            rows = api.get(f"{API}/{resource}/").json()["results"]
            assert "Stranger" not in json.dumps(rows)
        assert Role.objects.count() == 14
        assert len(api.get(f"{API}/roles/").json()["results"]) == 7

    def test_ids_in_a_list_are_bounded_and_looked_up_together(
        self, api, ana, organization, django_assert_max_num_queries
    ):
        url = f"{API}/users/{ana.pk}/"
        roles = [role.pk for role in organization.roles.exclude(name="Owner")]
        assert pointers(api.patch(url, {"roles": [roles[0]] * 501}, format="json")) == {"/roles"}
        with django_assert_max_num_queries(28):
            changed = api.patch(url, {"roles": roles * 20}, format="json").json()
        assert sorted(changed["roles"]) == roles

    def test_their_ids_do_not_exist_as_values(self, api, ana, stranger):
        role = stranger.organization.roles.get(name="Basic").pk
        assert pointers(api.patch(f"{API}/users/{ana.pk}/", {"roles": [role]}, format="json")) == {"/roles"}
        new = {"label": "Other", "address": "o@example.com", "user": stranger.pk}
        assert pointers(api.post(f"{API}/contact-methods/", new, format="json")) == {"/user"}
        assert not ContactMethod.objects.filter(label="Other").exists()


WRONG_TEXT = ["\x00", "a\x00b", "\ud800", "", "   ", None, [], {}, True, "x" * 100_000]
WRONG_NUMBERS = ["x", "", None, [], {}, -1, 10**30, 1.5, "\ud800", "\x00"]
WRONG_IDS = ["x", None, [], {}, True, -1, 0, 10**30, 2**63, "9" * 400, "\ud800", "\x00"]


def send(client, method, url, body):
    """Send the body as a client would that writes surrogates and huge numbers into its JSON."""
    return client.generic(method, url, json.dumps(body), content_type="application/json")


class TestBadInput:
    @pytest.mark.parametrize(
        ("resource", "good"),
        [
            ("users", {"name": "Ben", "email": "ben@example.com"}),
            ("groups", {"name": "Network"}),
            ("contact-methods", {"label": "Other", "address": "o@example.com"}),
            ("roles", {"name": "Auditor", "entitlements": []}),
            ("api-keys", {"name": "cron"}),
        ],
    )
    def test_wrong_text_and_unknown_fields_are_reported_at_their_place(self, api, resource, good):
        url = f"{API}/{resource}/"
        for field, value in good.items():
            if isinstance(value, str):
                for wrong in WRONG_TEXT:
                    assert pointers(send(api, "POST", url, {**good, field: wrong})) == {f"/{field}"}, wrong
        for field in ("surprise", "id", "a/b~c", "\ud800", "\x00"):
            response = send(api, "POST", url, {**good, field: 1})
            assert len(pointers(response)) == 1, field
        for body in ([], "x", None, 1, [good]):
            assert send(api, "POST", url, body).status_code == 400
        for raw in (b"{", b"\xff\xfe", b"", b"nul\x00", b'{"name": NaN}'):
            assert api.generic("POST", url, raw, content_type="application/json").status_code == 400
        assert api.post(url, "<x/>", content_type="application/xml").status_code == 415
        assert send(api, "POST", url, good).status_code == 201

    @pytest.mark.parametrize("wrong", WRONG_IDS)
    def test_wrong_ids_are_reported(self, api, ana, wrong):
        roles = send(api, "PATCH", f"{API}/users/{ana.pk}/", {"roles": [wrong]})
        assert {pointer.split("/")[1] for pointer in pointers(roles)} == {"roles"}
        member = send(api, "POST", f"{API}/groups/", {"name": "N", "members": [{"user": wrong}]})
        assert {pointer.split("/")[1] for pointer in pointers(member)} == {"members"}
        method = send(api, "POST", f"{API}/contact-methods/", {"label": "L", "address": "a@example.com", "user": wrong})
        assert pointers(method) == {"/user"}

    @pytest.mark.parametrize("wrong", WRONG_NUMBERS)
    def test_wrong_numbers_are_reported(self, api, admin, wrong):
        url = f"{API}/contact-methods/{admin.contact_methods.get().pk}/"
        assert pointers(send(api, "PATCH", url, {"position": wrong})) == {"/position"}
        if wrong != 1.5:
            assert pointers(send(api, "PATCH", url, {"delay_minutes": wrong})) == {"/delay_minutes"}

    @pytest.mark.parametrize("field", ["position", "delay_minutes", "user"])
    def test_a_number_beyond_all_numbers_is_reported(self, api, admin, field):
        url = f"{API}/contact-methods/{admin.contact_methods.get().pk}/"
        response = api.generic("PATCH", url, f'{{"{field}": 1e400}}', content_type="application/json")
        assert response.status_code == 400
        assert "a number is too large" in response.json()["detail"]

    @pytest.mark.parametrize("wrong", ["boss", "\ud800", "\x00", None, [], {}, 3, True])
    def test_wrong_choices_are_reported(self, api, admin, wrong):
        for resource, field, body in (
            ("users", "kind", {"name": "N", "email": "n@example.com", "kind": wrong}),
            ("contact-methods", "kind", {"label": "L", "address": "a@example.com", "kind": wrong}),
            ("groups", "members", {"name": "N", "members": [{"user": admin.pk, "role": wrong}]}),
            ("roles", "entitlements", {"name": "N", "entitlements": [wrong]}),
            ("users", "time_zone", {"name": "N", "email": "n@example.com", "time_zone": wrong}),
        ):
            reported = pointers(send(api, "POST", f"{API}/{resource}/", body))
            assert {pointer.split("/")[1] for pointer in reported} == {field}

    def test_a_page_mark_from_nowhere_is_a_404(self, api):
        assert api.get(f"{API}/users/", {"cursor": "nonsense"}).status_code == 404

    @pytest.mark.parametrize("pk", ["9" * 18, "9" * 19, "9" * 400, "x", "1.5", "-1", "%00", "%ED%A0%80", "%D9%A1"])
    def test_an_id_that_cannot_be_is_a_404(self, api, pk):
        for resource in ("users", "groups", "contact-methods", "roles", "api-keys"):
            assert api.get(f"{API}/{resource}/{pk}/").status_code == 404
