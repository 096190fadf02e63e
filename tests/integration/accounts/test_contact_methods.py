"""Contact methods: added, verified, switched; Email-Official stays."""

import re
from datetime import timedelta

import pytest
from django.core import mail

from accounts.models.contact_methods import ContactMethod
from accounts.services.contact_methods import (
    CODE_LIVES,
    CODE_TRIES,
    MAX_METHODS,
    AlreadyVerified,
    CodeNotUsable,
    OfficialStays,
    create_contact_method,
    delete_contact_method,
    request_code,
    update_contact_method,
    verify_contact_method,
)
from accounts.services.users import NotTheOwner, deactivate_user
from escalation.notifications.verification import send_code
from escalation.tasks import send_verification_code
from heartbeat_project.kernel.errors import FieldError, Forbidden
from heartbeat_project.kernel.wakeup import WakeUp
from tests.factories import WHEN, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana(organization):
    return UserFactory(organization=organization, name="Ana")


@pytest.fixture
def admin(organization):
    return UserFactory(organization=organization, roles=["App Admin"])


@pytest.fixture
def method(ana):
    return create_contact_method(ana, actor=ana, label="Email-Personal", address="ana@home.example.com")


@pytest.fixture
def official(ana):
    return ana.contact_methods.get(label="Email-Official")


def at(field):
    """Expect an error at this field."""
    return pytest.raises(FieldError, check=lambda error: error.field == field)


def sent_code():
    return re.search(r"\b\d{6}\b", mail.outbox[-1].body).group()


def another(code):
    return f"{(int(code) + 1) % 10**6:06}"


class TestCreate:
    def test_a_new_one_comes_last_and_is_not_verified(self, ana, method, official):
        assert list(ana.contact_methods.all()) == [official, method]
        assert method.verified_at is None
        assert method.enabled

    def test_it_comes_last_though_the_others_were_moved(self, ana, official):
        update_contact_method(official, actor=ana, position=3)
        method = create_contact_method(ana, actor=ana, label="Other", address="a@example.com")
        assert list(ana.contact_methods.all()) == [official, method]

    def test_who_administers_security_may_add_for_others(self, ana, admin):
        assert create_contact_method(ana, actor=admin, label="Other", address="a@example.com").verified_at is None

    def test_nobody_else_may(self, organization, ana):
        for actor in (UserFactory(organization=organization), UserFactory(roles=["Owner"])):
            with pytest.raises(Forbidden):
                create_contact_method(ana, actor=actor, label="Other", address="a@example.com")

    def test_an_admin_does_not_add_for_the_owner(self, organization, admin):
        with pytest.raises(NotTheOwner):
            create_contact_method(
                UserFactory(organization=organization, roles=["Owner"]),
                actor=admin,
                label="Other",
                address="a@example.com",
            )

    def test_ones_own_need_the_entitlement(self, organization):
        nobody = UserFactory(organization=organization, roles=[])
        with pytest.raises(Forbidden):
            create_contact_method(nobody, actor=nobody, label="Other", address="a@example.com")

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("label", " "),
            ("label", "x" * 41),
            ("label", "email-official"),
            ("address", "nowhere"),
            ("kind", "pigeon"),
            ("delay_minutes", -1),
            ("delay_minutes", 44_641),
        ],
    )
    def test_a_wrong_value_is_reported_at_its_field(self, ana, field, value):
        fields = {"label": "Other", "address": "a@example.com", field: value}
        with at(field):
            create_contact_method(ana, actor=ana, **fields)
        assert ana.contact_methods.count() == 1

    def test_their_number_is_bounded(self, ana):
        ContactMethod.objects.bulk_create(
            ContactMethod(user=ana, label=f"L{number}", address="a@example.com") for number in range(MAX_METHODS - 1)
        )
        with at("label"):
            create_contact_method(ana, actor=ana, label="One more", address="a@example.com")


class TestOfficial:
    @pytest.mark.parametrize(
        "change", [{"enabled": False}, {"address": "else@example.com"}, {"label": "Mail"}, {"label": "email-official"}]
    )
    def test_it_keeps_its_name_address_and_use(self, ana, official, change):
        with pytest.raises(OfficialStays):
            update_contact_method(official, actor=ana, **change)

    def test_its_order_and_delay_may_change(self, ana, official):
        update_contact_method(official, actor=ana, position=3, delay_minutes=2.5, enabled=True, address=ana.email)
        official.refresh_from_db()
        assert (official.position, float(official.delay_minutes)) == (3, 2.5)
        assert official.verified_at is not None

    def test_it_cannot_be_removed(self, ana, official):
        with pytest.raises(OfficialStays):
            delete_contact_method(official, actor=ana)
        assert ContactMethod.objects.filter(pk=official.pk).exists()


class TestUpdate:
    def test_a_new_address_has_to_be_verified_again(self, ana, method, now):
        send_code(method.pk, now=now)
        old = sent_code()
        ContactMethod.objects.filter(pk=method.pk).update(verified_at=now)
        changed = update_contact_method(method, actor=ana, address="new@example.com")
        assert changed.verified_at is None
        with pytest.raises(CodeNotUsable):
            verify_contact_method(changed, code=old, actor=ana, now=now)

    def test_other_changes_keep_it_verified(self, ana, method, now):
        ContactMethod.objects.filter(pk=method.pk).update(verified_at=now)
        changed = update_contact_method(
            method, actor=ana, enabled=False, label="Home", position=0, address=method.address
        )
        assert (changed.verified_at, changed.enabled, changed.label) == (now, False, "Home")

    def test_a_taken_label_is_reported_at_its_field(self, ana, method):
        with at("label"):
            update_contact_method(method, actor=ana, label="EMAIL-OFFICIAL")

    def test_only_the_person_or_who_administers_security(self, organization, ana, admin, method):
        with pytest.raises(Forbidden):
            update_contact_method(method, actor=UserFactory(organization=organization), enabled=False)
        with pytest.raises(Forbidden):
            delete_contact_method(method, actor=UserFactory(organization=organization))
        update_contact_method(method, actor=admin, enabled=False)
        delete_contact_method(method, actor=admin)
        assert ana.contact_methods.count() == 1


class TestCode:
    def test_the_code_that_was_sent_verifies(self, ana, method, now):
        assert send_code(method.pk, now=now)
        assert mail.outbox[-1].to == ["ana@home.example.com"]
        verified = verify_contact_method(method, code=f" {sent_code()} ", actor=ana, now=now + timedelta(minutes=29))
        assert verified.verified_at == now + timedelta(minutes=29)
        assert verified.code_digest == ""

    def test_a_code_that_was_sent_before_a_change_of_the_key_verifies(self, ana, method, now, settings):
        assert send_code(method.pk, now=now)
        settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"

        assert verify_contact_method(method, code=sent_code(), actor=ana, now=now).verified_at == now

    def test_the_code_is_not_stored(self, method, now):
        send_code(method.pk, now=now)
        row = ContactMethod.objects.filter(pk=method.pk).values().get()
        assert sent_code() not in str(row)
        assert len(row["code_digest"]) == 64

    def test_a_code_belongs_to_one_contact_method(self, ana, method, now):
        other = create_contact_method(ana, actor=ana, label="Other", address="other@example.com")
        send_code(other.pk, now=now)
        code = sent_code()
        ContactMethod.objects.filter(pk=method.pk).update(
            code_digest=ContactMethod.objects.get(pk=other.pk).code_digest, code_expires_at=now + CODE_LIVES
        )
        with at("code"):
            verify_contact_method(method, code=code, actor=ana, now=now)

    def test_it_expires(self, ana, method, now):
        send_code(method.pk, now=now)
        with pytest.raises(CodeNotUsable):
            verify_contact_method(method, code=sent_code(), actor=ana, now=now + CODE_LIVES)

    def test_after_five_wrong_tries_the_right_one_is_refused_until_a_new_code(self, ana, method, now):
        send_code(method.pk, now=now)
        code = sent_code()
        for _ in range(CODE_TRIES):
            with at("code"):
                verify_contact_method(method, code=another(code), actor=ana, now=now)
        with pytest.raises(CodeNotUsable):
            verify_contact_method(method, code=code, actor=ana, now=now)
        assert send_code(method.pk, now=now + timedelta(minutes=2))
        assert verify_contact_method(method, code=sent_code(), actor=ana, now=now + timedelta(minutes=3)).verified_at

    def test_without_a_code_nothing_is_right(self, ana, method, now):
        for code in ("", "000000", "\ud800", "\x00"):
            with pytest.raises(CodeNotUsable):
                verify_contact_method(method, code=code, actor=ana, now=now)

    def test_nobody_else_verifies_not_even_the_admin(self, admin, method, now):
        send_code(method.pk, now=now)
        with pytest.raises(Forbidden):
            verify_contact_method(method, code=sent_code(), actor=admin, now=now)

    def test_the_task_may_come_twice_and_codes_are_a_minute_apart(self, method, now):
        assert send_code(method.pk, now=now)
        assert not send_code(method.pk, now=now + timedelta(seconds=59))
        assert send_code(method.pk, now=now + timedelta(seconds=60))
        assert len(mail.outbox) == 2

    def test_verified_once_is_verified(self, ana, method, now):
        send_code(method.pk, now=now)
        verify_contact_method(method, code=sent_code(), actor=ana, now=now)
        with pytest.raises(AlreadyVerified):
            verify_contact_method(method, code="000000", actor=ana, now=now)
        with pytest.raises(AlreadyVerified):
            request_code(method, actor=ana)
        assert not send_code(method.pk, now=now + timedelta(hours=1))

    def test_a_deactivated_person_gets_none(self, ana, admin, method, now):
        deactivate_user(ana, now=WHEN, actor=admin)
        assert not send_code(method.pk, now=now)

    def test_a_code_that_could_not_be_sent_may_be_asked_for_at_once(self, method, now, settings):
        settings.EMAIL_BACKEND = "tests.integration.accounts.test_contact_methods.DeadBackend"
        assert not send_code(method.pk, now=now)
        method.refresh_from_db()
        assert "no route" in method.send_error
        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
        assert send_code(method.pk, now=now)

    def test_asking_rings_for_the_task_with_the_id_alone(
        self, ana, method, monkeypatch, django_capture_on_commit_callbacks
    ):
        woken = []
        monkeypatch.setattr("heartbeat_project.kernel.wakeup.WAKER.put", woken.append)
        with django_capture_on_commit_callbacks(execute=True):
            request_code(method, actor=ana)
            other = create_contact_method(ana, actor=ana, label="Other", address="other@example.com")
        assert woken == [
            WakeUp(
                task_name="escalation.send_verification_code",
                queue="delivery",
                kwargs={"contact_method_id": pk},
                or_here=True,
            )
            for pk in (method.pk, other.pk)
        ]

    def test_the_task_sends_the_code(self, method):
        assert send_verification_code.name == "escalation.send_verification_code"
        send_verification_code(contact_method_id=method.pk, added_later=True)
        assert len(mail.outbox) == 1


class DeadBackend:
    def __init__(self, **options):
        pass

    def open(self):
        raise OSError("no route")

    def close(self):
        pass
