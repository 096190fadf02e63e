"""The outbox of chats: what a platform refuses or fails to take, in which order messages go, and what is given up."""

from datetime import timedelta

import pytest

from alerting.models.alerts import Alert
from integrations.inbound.chat import outbox
from integrations.models.chat import ChatMessage, ChatThread
from integrations.upkeep.engine_work import is_work_due
from tests.chats import command, known_in_chat
from tests.providers.server import answer

pytestmark = pytest.mark.django_db


@pytest.fixture
def opened(slack, post):
    post(slack, command("Disk full"))
    return Alert.objects.get()


def change(alert, world, text="on it"):
    from alerting.services.alerts import reply

    ann = world.person("ann", roles=["App Admin"])
    return reply(alert, actor=ann, now=world.now, text=text)


@pytest.mark.parametrize(
    "failure", [answer(500), answer(200, {"ok": False, "error": "internal_error"}), answer(429, retry_after="7")]
)
def test_a_failure_is_tried_again_and_no_line_overtakes_its_alert(opened, world, platform, written, failure):
    platform.answers(failure)
    change(opened, world)
    assert [path for path, _ in written()] == ["/chat.postMessage"]
    root = ChatMessage.objects.get(kind="root")
    assert root.last_error
    assert root.next_attempt_at > world.now
    world.now = root.next_attempt_at
    texts = [message["text"] for _, message in written()]
    assert len(texts) == 2
    assert "Disk full" in texts[0]
    assert "Ann: on it" in texts[1]


@pytest.mark.parametrize("error", ["not_in_channel", "invalid_auth", "channel_not_found"])
def test_a_refusal_is_final_is_shown_and_ends_the_thread(opened, world, platform, written, error):
    change(opened, world)
    platform.answers(answer(200, {"ok": False, "error": error}))
    assert len(written()) == 1
    root, line = ChatMessage.objects.order_by("pk")
    assert root.last_error == f"Slack did not take it: {error}"
    assert {root.next_attempt_at, line.next_attempt_at} == {None}
    assert not ChatThread.objects.get().is_open


def test_what_fails_for_a_day_is_given_up(opened, world, platform, written):
    world.now += timedelta(days=1)
    platform.answers(answer(503))
    written()
    assert ChatMessage.objects.get().next_attempt_at is None


def test_a_lost_worker_leaves_a_lease_that_ends(opened, world, written):
    (claimed,) = outbox.claim(now=world.now)
    assert outbox.claim(now=world.now) == ()
    world.now += outbox.LEASE
    assert len(written()) == 1
    outbox.send(claimed, now=world.now)  # the worker that was slow comes back
    assert ChatMessage.objects.get().attempts == 2


def test_five_failures_in_a_row_open_the_circuit_breaker_of_this_platform(slack, post, world, platform, written):
    for number in range(7):
        post(slack, command("Disk full", trigger=str(number)))
    platform.usual = lambda _: answer(503)
    assert len(written()) == 5
    assert ChatMessage.objects.filter(last_error__startswith="Messages failed again").count() == 2


def test_the_engine_looks_for_messages_and_for_changes(opened, world, written):
    assert is_work_due(now=world.now)
    written()
    before = is_work_due(now=world.now)
    change(opened, world)
    assert is_work_due(now=world.now)
    written()
    assert is_work_due(now=world.now) == before


def test_updates_go_into_the_channel_or_nowhere_as_it_is_configured(slack, post, world, written):
    for number, updates in enumerate(["channel", "none"]):
        slack.chat_settings.updates = updates
        slack.chat_settings.save()
        post(slack, command("Disk full", trigger=str(number)))
        written()
        change(Alert.objects.latest("pk"), world)
        lines = written()
        assert [("thread_ts" in message) for _, message in lines] == ([False] if updates == "channel" else [])


def test_without_the_token_of_a_bot_the_alert_goes_to_the_address_for_answers(world, post, platform, written):
    made = world.chat("Small", recipients=["ana"], api_base=platform.url)
    post(made, command("Disk full", response_url=f"{platform.url}/commands/1"))
    ((path, message),) = written()
    assert path == "/commands/1"
    assert message["response_type"] == "in_channel"
    assert not ChatThread.objects.exists()


def test_work_that_waits_for_a_lock_is_done_later_and_answered_there(slack, world, platform, written, post):
    known_in_chat(world.person("ann", roles=["App Admin"]), "T1:U0ANN")
    from dataclasses import asdict

    from integrations.inbound.chat import slack as reader
    from integrations.inbound.chat.threads import write

    body = command("Disk full", response_url=f"{platform.url}/commands/2")
    read = reader.read(body, api_base=platform.url)
    write(slack, ChatMessage.Kind.WORK, body=asdict(read), url=read.answer_at, now=world.now)
    sent = dict(written())
    assert "opened" in sent["/commands/2"]["text"]
    assert Alert.objects.get().subject == "Disk full"
