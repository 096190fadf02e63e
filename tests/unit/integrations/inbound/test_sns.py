"""Messages of Amazon SNS, signed by a key of our own and fetched from loopback."""

import base64
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from integrations.inbound import sns
from integrations.inbound.signatures import is_signed
from integrations.inbound.sns import Verdict, confirm, fetch_certificate, is_sns_address, verdict
from tests.providers.server import SILENCE, Provider, answer

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
TOPIC = "arn:aws:sns:us-east-1:123456789012:alarms"


def certificate_of(key):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = (
        builder.serial_number(1).not_valid_before(NOW - timedelta(days=2)).not_valid_after(NOW + timedelta(days=2))
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = certificate_of(KEY)


@pytest.fixture(autouse=True)
def empty_memory(monkeypatch):
    monkeypatch.setattr(sns, "_certificates", sns._Certificates())


@pytest.fixture
def amazon(settings, monkeypatch):
    """Amazon SNS on loopback: the one place that says which addresses are its own says so of this server."""
    settings.OUTGOING_ALLOW = [ip_network("127.0.0.1/32")]
    made = Provider(usual=lambda request: answer(200, PEM if request.path.endswith(".pem") else b"<ok/>"))
    monkeypatch.setattr(sns, "is_sns_address", lambda url: url.startswith(made.url))
    yield made
    made.close()


def message(amazon, kind="Notification", *, version="1", key=KEY, **more):
    fields = {
        "Type": kind,
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Subject": 'ALARM: "cpu"',
        "Message": '{"AlarmName": "é"}\nsecond line',
        "Timestamp": "2026-11-27T11:59:58.000Z",
        "SignatureVersion": version,
        "SigningCertURL": f"{amazon.url}/SimpleNotificationService-0123.pem",
        "UnsubscribeURL": f"{amazon.url}/?Action=Unsubscribe",
    }
    if kind != "Notification":
        del fields["Subject"]
        fields |= {"Token": "t" * 20, "SubscribeURL": f"{amazon.url}/?Action=ConfirmSubscription&Token=tt"}
    fields = {name: value for name, value in {**fields, **more}.items() if value is not None}
    # Written out, and not taken from the module: this is what Amazon documents.
    order = {
        "Notification": "Message MessageId Subject Timestamp TopicArn Type",
        "SubscriptionConfirmation": "Message MessageId SubscribeURL Timestamp Token TopicArn Type",
        "UnsubscribeConfirmation": "Message MessageId SubscribeURL Timestamp Token TopicArn Type",
    }[kind].split()
    text = "".join(f"{name}\n{fields[name]}\n" for name in order if name in fields)
    algorithm = {"1": hashes.SHA1, "2": hashes.SHA256}[version]()
    fields["Signature"] = base64.b64encode(key.sign(text.encode(), padding.PKCS1v15(), algorithm)).decode()
    return fields


@pytest.mark.parametrize("kind", ["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"])
@pytest.mark.parametrize("version", ["1", "2"])
def test_a_message_is_trusted_once_its_certificate_is_there(amazon, kind, version):
    sent = message(amazon, kind, version=version)
    assert verdict(sent, now=NOW) is Verdict.UNKNOWN
    assert amazon.requests == []
    assert fetch_certificate(sent, now=NOW)
    assert verdict(sent, now=NOW) is Verdict.TRUSTED
    assert fetch_certificate(sent, now=NOW)
    assert len(amazon.requests) == 1


def test_a_message_without_a_subject_is_trusted(amazon):
    sent = message(amazon, Subject=None)
    fetch_certificate(sent, now=NOW)
    assert verdict(sent, now=NOW) is Verdict.TRUSTED
    # Amazon writes an empty subject as null.
    assert verdict({**sent, "Subject": None}, now=NOW) is Verdict.TRUSTED


@pytest.mark.parametrize("name", ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type", "Signature"])
@pytest.mark.parametrize("value", [None, "", "Notification ", 7, [], "\ud800", "QUJD"])
def test_a_changed_message_is_forged(amazon, name, value):
    sent = message(amazon)
    fetch_certificate(sent, now=NOW)
    assert verdict({**sent, name: value}, now=NOW) is Verdict.FORGED
    assert verdict({key: text for key, text in sent.items() if key != name}, now=NOW) is Verdict.FORGED


@pytest.mark.parametrize("name", ["SubscribeURL", "Token"])
def test_a_changed_confirmation_is_forged(amazon, name):
    sent = message(amazon, "SubscriptionConfirmation")
    fetch_certificate(sent, now=NOW)
    assert verdict({**sent, name: f"{sent[name]}x"}, now=NOW) is Verdict.FORGED


@pytest.mark.parametrize("version", [None, "0", "3", 1, ["1"]])
def test_an_unknown_version_is_forged(amazon, version):
    sent = {**message(amazon), "SignatureVersion": version}
    fetch_certificate(sent, now=NOW)
    assert verdict(sent, now=NOW) is Verdict.FORGED


def test_another_key_is_forged(amazon):
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    sent = message(amazon, key=other)
    fetch_certificate(sent, now=NOW)
    assert verdict(sent, now=NOW) is Verdict.FORGED


@pytest.mark.parametrize("days", [-3, 3])
def test_a_certificate_counts_only_in_its_time(amazon, days):
    sent, now = message(amazon), NOW + timedelta(days=days)
    fetch_certificate(sent, now=now)
    assert verdict(sent, now=now) is Verdict.FORGED


def test_a_certificate_with_a_key_of_another_kind_is_forged(amazon):
    amazon.answers(answer(200, certificate_of(ec.generate_private_key(ec.SECP256R1()))))
    sent = message(amazon)
    assert fetch_certificate(sent, now=NOW)
    assert verdict(sent, now=NOW) is Verdict.FORGED


@pytest.mark.parametrize(
    "said",
    [
        answer(200, b"nothing"),
        answer(403, PEM),
        answer(302, location="/SimpleNotificationService-1.pem"),
        answer(200, PEM + b"x" * 20_000),
        SILENCE,
    ],
    ids=["no certificate", "refused", "redirect", "long", "silence"],
)
def test_without_a_certificate_nothing_is_known_and_it_is_tried_again_later(amazon, said):
    amazon.answers(said)
    sent = message(amazon)
    assert not fetch_certificate(sent, now=NOW, seconds=0.3)
    assert verdict(sent, now=NOW) is Verdict.UNKNOWN
    assert not fetch_certificate(sent, now=NOW + timedelta(seconds=29))
    assert len(amazon.requests) == 1
    assert fetch_certificate(sent, now=NOW + timedelta(seconds=31))


def test_a_certificate_is_fetched_again_after_a_day(amazon):
    sent = message(amazon)
    fetch_certificate(sent, now=NOW)
    assert verdict(sent, now=NOW + timedelta(hours=24)) is Verdict.UNKNOWN


def test_fetches_are_few_at_a_time_and_the_memory_is_small(amazon, monkeypatch):
    sent = message(amazon)
    for _ in range(sns.MAX_FETCHES):
        assert sns._certificates._places.acquire(blocking=False)
    assert not fetch_certificate(sent, now=NOW)
    for _ in range(sns.MAX_FETCHES):
        sns._certificates._places.release()
    monkeypatch.setattr(sns, "MAX_CERTIFICATES", 2)
    for number in range(4):
        assert fetch_certificate({"SigningCertURL": f"{amazon.url}/{number}.pem"}, now=NOW)
    assert len(sns._certificates._found) == 2


def test_a_subscription_is_confirmed(amazon):
    found = confirm(message(amazon, "SubscriptionConfirmation"), now=NOW)
    assert found.is_confirmed
    assert found.text == f"The subscription to {TOPIC} was confirmed."
    assert [request.path for request in amazon.requests] == [
        "/SimpleNotificationService-0123.pem",
        "/?Action=ConfirmSubscription&Token=tt",
    ]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"SubscribeURL": "http://127.0.0.1:1/?Action=ConfirmSubscription"}, "its address is not one of Amazon SNS."),
        ({"SubscribeURL": "{amazon}/?Action=DeleteTopic"}, "its address is not one of Amazon SNS."),
        ({"SubscribeURL": "{amazon}/?Action=ConfirmSubscription&x"}, "Amazon SNS did not sign the message."),
        ({"Signature": "QUJD"}, "Amazon SNS did not sign the message."),
        ({"SigningCertURL": "http://127.0.0.1:1/a.pem"}, "Amazon SNS did not sign the message."),
        ({"Type": "UnsubscribeConfirmation"}, "its address is not one of Amazon SNS."),
    ],
)
def test_an_address_that_is_not_sure_is_shown_and_not_opened(amazon, changes, why):
    sent = message(amazon, "SubscriptionConfirmation")
    sent |= {name: value.replace("{amazon}", amazon.url) for name, value in changes.items()}
    found = confirm(sent, now=NOW)
    assert not found.is_confirmed
    by_hand = f"If you know where it comes from, open it yourself: {sent['SubscribeURL']}"
    assert found.text == f"The subscription was not confirmed: {why} {by_hand}"
    assert [request.path for request in amazon.requests if not request.path.endswith(".pem")] == []


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([answer(500)], "the certificate of Amazon SNS could not be fetched."),
        ([answer(200, PEM), answer(403)], "Amazon SNS answered 403."),
        ([answer(200, PEM), answer(302, location="/x")], "Amazon SNS answered 302."),
        ([answer(200, PEM), SILENCE], "No answer in time"),
    ],
)
def test_a_confirmation_that_fails_says_why(amazon, said, why):
    amazon.answers(*said)
    found = confirm(message(amazon, "SubscriptionConfirmation"), now=NOW, seconds=0.3)
    assert not found.is_confirmed
    assert found.text.startswith(f"The subscription was not confirmed: {why}")


@pytest.mark.parametrize("payload", [None, 7, "text", [], {}, {"Type": "SubscriptionConfirmation"}])
def test_what_is_no_message_is_forged(payload):
    assert verdict(payload, now=NOW) is Verdict.FORGED
    assert not fetch_certificate(payload, now=NOW)
    assert not confirm(payload, now=NOW).is_confirmed


def test_the_scheme_looks_at_signature_and_topic(amazon):
    sent = message(amazon)

    def signed(secret=""):
        return is_signed({"scheme": "sns", "secret": secret}, raw=b"", headers={}, payload=sent, now=NOW)

    assert not signed()
    fetch_certificate(sent, now=NOW)
    assert signed()
    assert signed(TOPIC)
    assert not signed(f"{TOPIC}2")


@pytest.mark.parametrize(
    "host", ["sns.us-east-1.amazonaws.com", "sns.us-gov-west-1.amazonaws.com", "sns.cn-north-1.amazonaws.com.cn"]
)
def test_addresses_of_amazon_sns(host):
    assert is_sns_address(f"https://{host}/SimpleNotificationService-0123.pem")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://sns.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com.evil.example/a.pem",
        "https://sns.us-east-1.amazonaws.com:444/a.pem",
        "https://user@sns.us-east-1.amazonaws.com/a.pem",
        "https://evil.example\\@sns.us-east-1.amazonaws.com/a.pem",
        "https://evil.example#@sns.us-east-1.amazonaws.com/a.pem",
        "https://evil.example/sns.us-east-1.amazonaws.com/a.pem",
        "https://sns.s3.amazonaws.com/a.pem",
        "https://sns.s3-us-west-2.amazonaws.com/a.pem",
        "https://s3.us-east-1.amazonaws.com/a.pem",
        "https://xsns.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com.cn.evil.example/a.pem",
        "https://sns.us-east-1.amazonaws.com\n/a.pem",
        "https://sns.us-eаst-1.amazonaws.com/a.pem",  # noqa: RUF001 (a Cyrillic letter)
        "https://[::1]/a.pem",
        "https://[/a.pem",
        "https://sns.us-east-1.amazonaws.com/" + "a" * 2000,
    ],
)
def test_addresses_of_others(url):
    assert not is_sns_address(url)
