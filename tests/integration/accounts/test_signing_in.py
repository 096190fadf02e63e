"""Sign-ins under attack: counted before they are judged, slowed and never locked, and all of them alike in cost."""

import contextlib
import ipaddress
import threading
import time
from collections import Counter
from datetime import timedelta

import pytest
from argon2.low_level import Type as Variety
from argon2.low_level import hash_secret
from django.db import connection, connections
from django.test import Client

from accounts import hashers
from accounts.hashers import Argon2, HashingIsBusy
from accounts.models.access import TryCount
from accounts.services import try_limits
from accounts.services.try_limits import (
    TRIES_OF_DEVICE,
    TRIES_OF_PLACE,
    TRIES_OF_WIDER_PLACE,
    count_tries,
    forgive,
    known_device,
    new_device,
    sign_in_try,
)
from accounts.services.users import create_user
from escalation.models.notifications import Notification
from escalation.responses import tokens
from heartbeat_project import middleware
from heartbeat_project.console.views.sign_in import DEVICE_COOKIE
from heartbeat_project.kernel import clock, fair_queue, proxies
from heartbeat_project.kernel.errors import NotNow, TooManyTries
from tests import factories
from tests.conftest import NOON

PASSWORD = "correct horse 12"

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana(db):
    return factories.UserFactory(name="Ana", email="ana@example.com", password=PASSWORD)


@pytest.fixture
def pauses(monkeypatch):
    """How long each try was made to wait, without the wait."""
    waited = []
    monkeypatch.setattr(
        fair_queue.Pauses, "pause", lambda _self, _source, *, seconds, **_bounds: waited.append(seconds)
    )
    return waited


@pytest.fixture
def hashes(monkeypatch):
    """How many hashes were made or checked."""
    made = []

    def counted(hashing):
        def count(*given):
            made.append(given)
            return hashing(*given)

        return count

    for name in ("encode", "verify"):
        monkeypatch.setattr(Argon2, name, counted(getattr(Argon2, name)))
    return made


def sign_in(client=None, *, place="198.51.100.1", email="ana@example.com", password=PASSWORD):
    return (client or Client()).post("/login/", {"username": email, "password": password}, REMOTE_ADDR=place)


class WrongPassword(Exception):
    """What is raised where a password is wrong."""


def from_(place):
    return proxies.sender_by_trust(place, ())


def fail(times, *, place="198.51.100.1", email="ana@example.com", device="", now=None):
    """Have so many tries counted as wrong."""
    for _ in range(times):
        with (
            contextlib.suppress(WrongPassword),
            sign_in_try(email, sender=from_(place), device=device, now=now or clock.now()),
        ):
            raise WrongPassword


def test_a_place_with_too_many_failures_is_refused_before_any_hash(ana, hashes, pauses):
    assert sign_in(password="wrong").status_code == 200
    fail(TRIES_OF_PLACE - 2)
    assert sign_in(password="wrong").status_code == 200
    hashes.clear()

    refused = sign_in()

    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 300
    assert "Too many tries. Try again in 5 minutes." in refused.content.decode()
    assert hashes == []
    assert sign_in(place="198.51.100.2").status_code == 302


def test_other_mails_and_browsers_from_one_place_are_one_place(ana, pauses):
    for number in range(TRIES_OF_PLACE):
        fail(1, email=f"user{number}@example.com")
    assert sign_in(Client(headers={"User-Agent": "another"})).status_code == 429


def test_an_account_is_slowed_and_never_locked_by_strangers_from_many_places(ana, pauses):
    for number in range(40):
        fail(1, place=f"203.0.113.{number}")
    assert pauses == [min((number - 10) / 2, 5) for number in range(11, 41)]

    assert sign_in(place="198.51.100.1").status_code == 302
    assert pauses[-1] == 5


def test_who_signed_in_with_this_browser_before_is_neither_slowed_nor_refused(ana, pauses):
    client = Client()
    assert sign_in(client).status_code == 302
    cookie = client.cookies[DEVICE_COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/login/")
    client.post("/logout/")
    fail(TRIES_OF_PLACE)  # a stranger behind the same address
    assert sign_in().status_code == 429
    pauses.clear()

    assert sign_in(client).status_code == 302
    assert pauses == []


def test_the_cookie_of_a_device_is_for_one_account_and_cannot_be_made_up():
    cookie = new_device("Ana@example.com")
    assert known_device(cookie, email="ana@example.com ")
    assert not known_device(cookie, email="ben@example.com")
    for forged in ("", "x", cookie[:-1], f"{cookie}x", "\x00", "a:b:c", "é" * 5_000):
        assert not known_device(forged, email="ana@example.com")


def test_a_browser_that_is_known_is_bounded_too(ana, hashes, pauses):
    client = Client()
    sign_in(client)
    client.post("/logout/")
    fail(TRIES_OF_DEVICE + TRIES_OF_PLACE, device=client.cookies[DEVICE_COOKIE].value)
    hashes.clear()

    assert sign_in(client).status_code == 429
    assert hashes == []


def test_what_is_right_is_not_counted(ana, pauses):
    for _ in range(3):
        assert sign_in().status_code == 302
    assert pauses == []
    assert set(TryCount.objects.values_list("tries", flat=True)) == {0}


def test_unknown_deactivated_and_passwordless_accounts_cost_one_hash_as_a_wrong_password_does(ana, hashes):
    organization = ana.organization
    factories.UserFactory(organization=organization, email="gone@example.com", password=PASSWORD, is_active=False)
    create_user(organization, email="none@example.com", name="None", now=NOON)
    said = set()
    for email in ("ana@example.com", "nobody@example.com", "gone@example.com", "none@example.com"):
        hashes.clear()
        response = sign_in(email=email, password="wrong")
        said.add((response.status_code, str(response.context["form"].errors), len(hashes)))

    assert len(said) == 1
    assert said.pop()[2] == 1


def test_an_old_hash_is_replaced_at_sign_in(ana):
    old = hash_secret(
        PASSWORD.encode(), b"0123456789", time_cost=2, memory_cost=102_400, parallelism=8, hash_len=32, type=Variety.ID
    )
    type(ana).objects.filter(pk=ana.pk).update(password=f"argon2{old.decode()}")

    assert sign_in().status_code == 302

    ana.refresh_from_db()
    assert "$m=19456,t=2,p=1$" in ana.password
    assert sign_in().status_code == 302


def test_a_password_that_cannot_be_checked_now_is_said_to_be_so_and_not_counted(ana, monkeypatch):
    monkeypatch.setattr(hashers, "WAIT_SECONDS_IN_TRANSACTION", 0.01)
    with hashers.QUEUE.turn("", seconds=1), hashers.QUEUE.turn("", seconds=1):
        busy = sign_in()
    assert (busy.status_code, busy["Retry-After"]) == (503, "5")
    assert "Too many passwords are being checked" in busy.content.decode()
    assert set(TryCount.objects.values_list("tries", flat=True)) == {0}


def test_a_current_password_that_cannot_be_checked_now_is_not_counted_either(ana, client_for, monkeypatch):
    monkeypatch.setattr(hashers, "WAIT_SECONDS_IN_TRANSACTION", 0.01)
    api, body = client_for(ana), {"password": "another horse 13", "current_password": PASSWORD}
    with hashers.QUEUE.turn("", seconds=1), hashers.QUEUE.turn("", seconds=1):
        busy = {api.patch("/api/v1/users/me/", body, format="json").status_code for _ in range(11)}
    assert busy == {503}
    assert api.patch("/api/v1/users/me/", body, format="json").status_code == 200


def test_the_api_and_configuration_say_that_they_are_busy_and_save_nothing(ana, client_for, monkeypatch):
    monkeypatch.setattr(hashers, "WAIT_SECONDS_IN_TRANSACTION", 0.01)
    boss = factories.UserFactory(organization=ana.organization, roles=["App Admin"], password=PASSWORD)
    api, pages = client_for(boss), Client()
    pages.force_login(boss)
    path = f"/admin/accounts/user/{ana.pk}/change/"
    fields = {"name": "Ana", "email": "ana@example.com", "kind": "standard", "time_zone": "UTC", "is_active": "on"}
    with hashers.QUEUE.turn("", seconds=1), hashers.QUEUE.turn("", seconds=1):
        over_api = api.patch(f"/api/v1/users/{ana.pk}/", {"password": "another horse 13"}, format="json")
        saved = pages.post(path, fields | {"password": "another horse 13"})

    assert (over_api.status_code, over_api["Retry-After"], over_api.json()["code"]) == (503, "5", "busy")
    assert saved.status_code == 302
    assert "Too many passwords are being checked" in pages.get(saved["Location"]).content.decode()
    ana.refresh_from_db()
    assert ana.check_password(PASSWORD)


def test_links_in_messages_need_no_hash(world, hashes, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: world.now)
    world.heartbeat("backup", every=timedelta(minutes=5), recipients=["ana"])
    world.advance(timedelta(minutes=5))
    link = "/r/" + tokens.token(Notification.objects.get().pk)
    with hashers.QUEUE.turn("", seconds=1), hashers.QUEUE.turn("", seconds=1):
        assert Client().get(link).status_code == 200
        assert Client().post(link, {"action": "acknowledge"})["Location"] == f"{link}?done"
    assert hashes == []


class TestCounting:
    within = timedelta(minutes=5)

    def count(self, *keys, now=NOON):
        return {key: count.tries for key, count in count_tries(keys, within=self.within, now=now).items()}

    def test_a_window_begins_with_its_first_try_and_ends(self):
        assert self.count("a", "b") == {"a": 1, "b": 1}
        assert self.count("a", now=NOON + timedelta(minutes=4)) == {"a": 2}
        assert self.count("a", now=NOON + timedelta(minutes=5)) == {"a": 1}

    def test_a_try_of_a_process_whose_clock_is_behind_does_not_begin_anew(self):
        self.count("a")
        assert self.count("a", now=NOON - timedelta(seconds=30)) == {"a": 2}

    def test_after_a_step_back_of_the_clock_nobody_waits_for_the_old_time(self):
        self.count("a", now=NOON + timedelta(days=2))
        assert self.count("a") == {"a": 1}

    def test_what_is_forgiven_never_goes_below_nothing(self):
        self.count("a")
        forgive(["a"])
        forgive(["a", "never counted"])
        assert TryCount.objects.get(key="a").tries == 0

    def test_old_counts_go_a_few_at_a_time(self):
        TryCount.objects.bulk_create([TryCount(key=f"old {n}", tries=1, until=NOON) for n in range(25)])
        later = NOON + timedelta(hours=2)
        for left in (15, 5, 0, 0):
            self.count("new", now=later)
            assert TryCount.objects.filter(until=NOON).count() == left


def all_at_once(threads, task):
    """Run the task in so many threads that begin together; it gets their numbers."""
    barrier = threading.Barrier(threads)

    def run(number):
        barrier.wait()
        try:
            task(number)
        finally:
            connections.close_all()

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(30)


@pytest.mark.django_db(transaction=True)
def test_of_a_hundred_wrong_tries_at_the_same_moment_twenty_are_judged():
    """Checked first and counted after, all of them would be the first."""
    judged, refused = [], []

    def guess(number):
        for attempt in range(10):
            email = f"user{number}-{attempt}@example.com"
            try:
                with sign_in_try(email, sender=from_("198.51.100.1"), device="", now=NOON):
                    judged.append(email)
                    raise WrongPassword  # noqa: TRY301 - it leaves the block
            except WrongPassword:
                pass
            except TooManyTries:
                refused.append(email)

    all_at_once(8, guess)

    assert (len(judged), len(refused)) == (TRIES_OF_PLACE, 80 - TRIES_OF_PLACE)
    # What was refused is no try of its account.
    assert TryCount.objects.filter(tries=1).count() == TRIES_OF_PLACE


@pytest.mark.django_db(transaction=True)
def test_forty_people_behind_one_address_sign_in_at_the_same_moment():
    """Counted before they wait for their turn, all but twenty would be taken for failures."""
    signed_in, refused = [], []

    def sign_in_with_the_right_password(number):
        try:
            with sign_in_try(f"user{number}@example.com", sender=from_("198.51.100.1"), device="", now=NOON):
                signed_in.append(number)
                time.sleep(0.01)
        except NotNow as error:
            refused.append(error)

    all_at_once(40, sign_in_with_the_right_password)

    assert (len(signed_in), refused) == (40, [])
    assert set(TryCount.objects.values_list("tries", flat=True)) == {0}


@pytest.mark.django_db(transaction=True)
def test_no_connection_is_held_while_a_hash_waits_or_a_try_is_slowed(ana, monkeypatch):
    held = []
    monkeypatch.setattr(fair_queue.Pauses, "pause", lambda *_, **__: held.append(connection.connection))
    turn = hashers.QUEUE.turn

    def watched(*given, **options):
        held.append(connection.connection)
        return turn(*given, **options)

    monkeypatch.setattr(hashers.QUEUE, "turn", watched)
    fail(10)
    sign_in(password="wrong")
    user = Client()
    assert sign_in(user, place="198.51.100.7").status_code == 302
    new = {"current_password": PASSWORD, "password": "another horse 13", "again": "another horse 13"}
    assert user.post("/profile/password/", new).status_code == 302
    # Each of the ten; slowed and checked, twice; the current password and the new one.
    assert len(held) == 10 + 2 + 2 + 2
    assert held == [None] * len(held)


@pytest.mark.django_db(transaction=True)
def test_a_hash_is_made_without_a_connection(ana, monkeypatch):
    held = []
    verify = hashers.Argon2PasswordHasher.verify

    def watched(*given):
        held.append(request.connection)
        return verify(*given)

    monkeypatch.setattr(hashers.Argon2PasswordHasher, "verify", watched)
    request = connections["default"]
    sign_in()
    assert held == [None]


def test_too_many_that_are_slowed_are_refused_and_not_counted(ana, monkeypatch):
    monkeypatch.setattr(try_limits, "_PAUSES", fair_queue.Pauses(in_all=0))
    for number in range(10):
        fail(1, place=f"203.0.113.{number}", now=NOON)
    with pytest.raises(HashingIsBusy):
        fail(1, place="203.0.113.99", now=NOON)
    # Ten places once each, the account ten times, and that Ana was added.
    assert Counter(TryCount.objects.values_list("tries", flat=True)) == {1: 10, 10: 1, 0: 1}


def source_of(monkeypatch, email, *, sender, device=""):
    """Return how somebody stands in the queue."""
    sources = []
    turn = hashers.QUEUE.turn

    def watched(source, **options):
        sources.append(source)
        return turn(source, **options)

    with monkeypatch.context() as patched:
        patched.setattr(hashers.QUEUE, "turn", watched)
        with sign_in_try(email, sender=sender, device=device, now=NOON):
            pass
    return sources[0]


def test_all_browsers_of_an_account_stand_in_the_queue_as_one(ana, monkeypatch):
    def source(email):
        return source_of(monkeypatch, email, sender=from_("192.0.2.1"), device=new_device(email))

    assert source("ana@example.com")[0] == "known"
    assert source("ana@example.com") == source("Ana@example.com") != source("ben@example.com")


def test_known_browsers_stand_in_the_queue_by_organization(ana, monkeypatch):
    def source(name, **options):
        email = f"{name}@example.com"
        factories.UserFactory(name=name, email=email, password=None, **options)
        return source_of(monkeypatch, email, sender=from_("192.0.2.1"), device=new_device(email))

    of_one = [source(name, organization=ana.organization)[:-1] for name in ("ben", "cid")]
    assert of_one == [("known", str(ana.organization_id))] * 2
    assert source("dan")[:-1] not in of_one


def test_strangers_stand_in_the_queue_by_network_and_then_by_account(ana, monkeypatch):
    first, second = (source_of(monkeypatch, f"{n}@example.com", sender=from_("2001:db8:1:2::9")) for n in "ab")
    assert first[:-1] == second[:-1] == ("stranger", "2001:db8:1::/48", "2001:db8:1:2::/64")
    assert first[-1] != second[-1]


def test_all_networks_of_48_bits_together_have_a_limit_that_is_wider(ana, pauses):
    for number in range(TRIES_OF_WIDER_PLACE):
        fail(1, place=f"2001:db8:7:{number:x}::1", email=f"user{number}@example.com")
    assert sign_in(place="2001:db8:7:ffff::1").status_code == 429
    assert sign_in(place="2001:db8:8:ffff::1").status_code == 302


class TestBehindAProxyThatIsNotNamed:
    """All people have one address then: what a stranger does must not keep everybody out."""

    most = 2

    @pytest.fixture(autouse=True)
    def few(self, monkeypatch):
        """Let few failures do: each costs a hash."""
        monkeypatch.setattr(try_limits, "TRIES_OF_PLACE", self.most)

    def client(self, **headers):
        return Client(headers={name.replace("_", "-"): value for name, value in headers.items()})

    def guess(self, times, **headers):
        client = self.client(**headers)
        return [
            sign_in(client, place="172.18.0.2", email=f"user{n}@example.com", password="wrong").status_code
            for n in range(times)
        ]

    @pytest.mark.parametrize(
        "headers",
        [
            {"x_forwarded_for": "172.18.0.1"},  # a gateway that hides who came
            {"x_forwarded_for": "8.8.4.4, 9.9.9.9"},  # another proxy in front of that
            {"x_forwarded_for": "unknown"},
            {"x_forwarded_proto": "https"},
            {"forwarded": "for=9.9.9.9"},
            {"via": "1.1 Caddy"},
        ],
    )
    def test_nobody_is_refused_for_what_others_did_who_may_stand_at_the_same_place(self, ana, hashes, headers):
        assert set(self.guess(self.most + 1, **headers)) == {200}
        assert sign_in(self.client(**headers), place="172.18.0.2").status_code == 302

    def test_so_it_is_where_it_adds_no_header_at_all(self, ana, hashes, settings):
        settings.HAS_UNKNOWN_PROXY = True
        assert set(self.guess(self.most + 1)) == {200}
        assert sign_in(place="172.18.0.2").status_code == 302

    def test_so_it_is_where_one_that_is_named_names_nobody(self, ana, hashes, settings):
        settings.TRUSTED_PROXIES = (ipaddress.ip_network("172.18.0.0/16"),)
        assert set(self.guess(self.most + 1)) == {200}
        assert sign_in(place="172.18.0.2").status_code == 302
        # The gateway of that network, as which all come who come from the machine itself.
        assert set(self.guess(self.most + 1, x_forwarded_for="172.18.0.1")) == {200}

    def test_so_it_is_where_a_container_runtime_hides_who_came(self, ana, hashes, monkeypatch):
        monkeypatch.setattr(middleware, "default_gateways", lambda: (ipaddress.ip_address("172.18.0.2"),))
        assert set(self.guess(self.most + 1)) == {200}
        assert sign_in(place="172.18.0.2").status_code == 302
        assert sign_in(place="172.18.0.3").status_code == 302

    def test_so_it_is_where_a_program_of_this_machine_passes_on_what_others_ask(
        self, ana, hashes, monkeypatch, settings
    ):
        monkeypatch.setattr(middleware, "is_own", lambda address: str(address) == "172.18.0.2")
        assert set(self.guess(self.most + 1)) == {200}
        assert sign_in(place="172.18.0.2").status_code == 302

        settings.TRUSTED_PROXIES = (ipaddress.ip_network("172.18.0.9/32"),)
        through_ours = self.client(x_forwarded_for="172.18.0.2")
        assert {
            sign_in(through_ours, place="172.18.0.9", password="wrong").status_code for _ in range(self.most + 1)
        } == {200}
        settings.TRUSTED_PROXIES = ()

        def guess_here():
            return [sign_in(place="127.0.0.1", email="x@example.com").status_code for _ in range(self.most + 1)]

        settings.HOST = "0.0.0.0"
        assert set(guess_here()) == {200}
        settings.HOST = "127.0.0.1"
        assert guess_here()[-1] == 429

    def test_so_it_is_where_a_proxy_that_is_named_sees_such_a_gateway(self, ana, hashes, monkeypatch, settings):
        settings.TRUSTED_PROXIES = (ipaddress.ip_network("172.18.0.2/32"),)
        monkeypatch.setattr(middleware, "default_gateways", lambda: (ipaddress.ip_address("172.18.0.1"),))
        assert set(self.guess(self.most + 1, x_forwarded_for="172.18.0.1")) == {200}
        assert self.guess(self.most + 1, x_forwarded_for="172.18.0.9")[-1] == 429

    def test_nobody_keeps_out_another_whom_they_name_over_a_proxy_that_sets_another_header(self, ana, hashes):
        assert set(self.guess(self.most + 1, x_forwarded_for="9.9.9.9", x_real_ip="8.8.4.4")) == {200}
        assert sign_in(self.client(x_real_ip="9.9.9.9"), place="172.18.0.2").status_code == 302

    @pytest.mark.parametrize("header", ["x_forwarded_for", "x_real_ip"])
    def test_one_client_that_it_names_is_refused_and_the_others_are_not(self, ana, hashes, header):
        assert self.guess(self.most + 1, **{header: "9.9.9.9"})[-1] == 429
        assert sign_in(self.client(**{header: "9.9.9.9"}), place="172.18.0.2").status_code == 429
        assert sign_in(self.client(**{header: "8.8.4.4"}), place="172.18.0.2").status_code == 302

    def test_made_up_clients_stand_in_the_queue_within_who_sends_them(self, ana, monkeypatch):
        forged = proxies.sender_by_claim("203.0.113.5", "junk, 7.7.7.7, 6.6.6.6, 8.8.4.4, 9.9.9.9")
        source = source_of(monkeypatch, "ana@example.com", sender=forged)
        assert source[:-1] == ("stranger", "203.0.113.5", "9.9.9.9", "8.8.4.4", "6.6.6.6")

    def test_more_of_one_account_are_made_to_wait_at_once_than_from_one_place(self, ana, monkeypatch):
        asked = []
        monkeypatch.setattr(fair_queue.Pauses, "pause", lambda *_, per_source, **__: asked.append(per_source))
        for sender in (proxies.Sender(("172.18.0.2",), is_one=False), from_("198.51.100.1")):
            for _ in range(11):
                with (
                    contextlib.suppress(WrongPassword, TooManyTries),
                    sign_in_try("ana@example.com", sender=sender, device="", now=NOON),
                ):
                    raise WrongPassword
        assert (asked[0], asked[-1]) == (try_limits.PAUSES_OF_MANY, try_limits.PAUSES_OF_PLACE)

    def test_the_account_is_slowed_all_the_same(self, ana, hashes, pauses):
        client = self.client(x_forwarded_proto="https")
        for _ in range(12):
            sign_in(client, place="172.18.0.2", password="wrong")
        assert pauses == [0.5, 1]
