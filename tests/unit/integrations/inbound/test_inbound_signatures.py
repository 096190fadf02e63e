"""Who signed an event: each sender's way, with its own published examples where there are any."""

import base64
import gzip
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest

from integrations.inbound.signatures import SCHEMES, challenge, faults, is_signed

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))
BODY = '{"text": "é"}'.encode()
SECRET = "It's a Secret to Everybody"
KEY = b"a key of 32 bytes, more or less!"
STANDARD = "whsec_" + base64.b64encode(KEY).decode()


def signed(scheme, headers, *, secret=SECRET, header=None, body=BODY, now=NOW):
    config = {"scheme": scheme, "secret": secret, **({"header": header} if header else {})}
    return is_signed(config, raw=body, headers=headers, payload=None, now=now)


def digest(body=BODY, key=None):
    return hmac.new(key or SECRET.encode(), body, hashlib.sha256)


def standard(*, name="msg_1", stamp=STAMP, body=BODY, key=KEY):
    text = digest(f"{name}.{stamp}.".encode() + body, key).digest()
    return {
        "webhook-id": name,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(text).decode(),
    }


def slack(*, stamp=STAMP, body=BODY):
    text = digest(f"v0:{stamp}:".encode() + body).hexdigest()
    return {"x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={text}"}


BASIC = {"authorization": "Basic " + base64.b64encode("ann:pass:wörd".encode()).decode()}
# scheme, headers, more of the configuration
RIGHT = {
    "github": ("github", {"x-hub-signature-256": f"sha256={digest().hexdigest()}"}, {}),
    "sentry": ("sentry", {"sentry-hook-signature": digest().hexdigest()}, {}),
    "standard": ("standard", standard(), {"secret": STANDARD}),
    "standard without a prefix": ("standard", standard(), {"secret": STANDARD.removeprefix("whsec_").rstrip("=")}),
    "gitlab": ("gitlab_token", {"x-gitlab-token": SECRET}, {}),
    "slack": ("slack", slack(), {}),
    "hex": ("hmac_sha256", {"x-sum": digest().hexdigest().upper()}, {"header": "X-Sum"}),
    "prefixed hex": ("hmac_sha256", {"x-sum": f"sha256={digest().hexdigest()}"}, {"header": "X-Sum"}),
    "base64": ("hmac_sha256", {"x-sum": base64.b64encode(digest().digest()).decode()}, {"header": "x-sum"}),
    "header": ("header", {"authorization": "Bearer abc"}, {"header": "Authorization", "secret": "Bearer abc"}),
    "basic": ("basic", BASIC, {"secret": "ann:pass:wörd"}),
}
ALL = pytest.mark.parametrize(("scheme", "headers", "more"), RIGHT.values(), ids=RIGHT)
OF_BODY = [name for name in RIGHT if name not in {"gitlab", "header", "basic"}]
OVER_BODY = pytest.mark.parametrize(("scheme", "headers", "more"), [RIGHT[name] for name in OF_BODY], ids=OF_BODY)


@ALL
def test_a_right_signature_is_taken(scheme, headers, more):
    assert signed(scheme, headers, **more)


def test_the_example_of_github_is_taken():
    header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert signed("github", {"x-hub-signature-256": header}, body=b"Hello, World!")


@ALL
def test_another_secret_or_none_is_refused(scheme, headers, more):
    wrong = {"standard": "whsec_" + base64.b64encode(b"another").decode()}.get(scheme, "another:secret")
    assert not signed(scheme, headers, **{**more, "secret": wrong})
    assert not signed(scheme, headers, **{**more, "secret": ""})
    assert not signed(scheme, headers, **{**more, "secret": None})


@OVER_BODY
def test_another_body_is_refused(scheme, headers, more):
    assert not signed(scheme, headers, **more, body=BODY + b" ")


@ALL
@pytest.mark.parametrize(
    "value",
    [None, "", "é", "\ud800", "\0", "sha256=", "v1,", "v0=", "Basic", "Basic é", " ", "v1, " * 9999, "=" * 9999],
)
def test_headers_that_are_missing_or_strange_are_refused(scheme, headers, more, value):
    for name in headers:
        others = {key: text for key, text in headers.items() if key != name}
        assert not signed(scheme, others if value is None else {**others, name: value}, **more)


@OVER_BODY
def test_a_compressed_body_may_be_signed_before_or_after_it_was_compressed(scheme, headers, more):
    packed = gzip.compress(BODY)
    assert signed(scheme, {**headers, "content-encoding": "gzip"}, **more, body=packed)
    assert not signed(scheme, headers, **more, body=packed)
    assert not signed(scheme, {**headers, "content-encoding": "gzip"}, **more, body=packed[:-12])
    assert not signed(scheme, {**headers, "content-encoding": "gzip"}, **more, body=gzip.compress(bytes(2_000_000)))
    sent = {"x-hub-signature-256": f"sha256={digest(packed).hexdigest()}", "content-encoding": "gzip"}
    assert signed("github", sent, body=packed)


@pytest.mark.parametrize(
    ("scheme", "sign", "more"), [("standard", standard, {"secret": STANDARD}), ("slack", slack, {})]
)
@pytest.mark.parametrize(("seconds", "is_taken"), [(-301, False), (-300, True), (300, True), (301, False)])
def test_a_signature_counts_for_five_minutes(scheme, sign, more, seconds, is_taken):
    assert signed(scheme, sign(), **more, now=NOW + timedelta(seconds=seconds)) is is_taken


@pytest.mark.parametrize(
    ("scheme", "sign", "more"), [("standard", standard, {"secret": STANDARD}), ("slack", slack, {})]
)
@pytest.mark.parametrize("stamp", ["", "-1", "1e9", "١٢٣", "9" * 5000, "nan", "12.5", "0x10"])
def test_a_time_that_is_none_is_refused(scheme, sign, more, stamp):
    assert not signed(scheme, sign(stamp=stamp), **more)


def test_one_of_several_signatures_is_enough():
    right, old = standard(), standard(key=b"the old key")
    both = f"{old['webhook-signature']} v1a,other {right['webhook-signature']}"
    assert signed("standard", {**right, "webhook-signature": both}, secret=STANDARD)
    many = " ".join([old["webhook-signature"]] * 30 + [right["webhook-signature"]])
    assert not signed("standard", {**right, "webhook-signature": many}, secret=STANDARD)
    assert not signed("standard", {**right, "webhook-id": "msg_2"}, secret=STANDARD)
    assert not signed("standard", right, secret="whsec_not base64")


@pytest.mark.parametrize("config", [{}, {"scheme": "none", "secret": "x"}, {"scheme": None}, {"scheme": ["github"]}])
def test_without_a_known_scheme_nothing_is_signed(config):
    assert not is_signed(config, raw=BODY, headers=RIGHT["github"][1], payload={}, now=NOW)


def test_only_basic_asks_for_a_password():
    assert challenge({"scheme": "basic"}) == 'Basic realm="Heartbeat", charset="UTF-8"'
    assert [challenge({"scheme": scheme}) for scheme in SCHEMES if scheme != "basic"] == [None] * (len(SCHEMES) - 1)


@ALL
def test_what_works_can_be_saved(scheme, headers, more):
    header = {"header": more["header"]} if "header" in more else {}
    assert faults({"scheme": scheme, "secret": more.get("secret", SECRET), **header}) == []


def test_sns_may_name_its_topic():
    assert faults({"scheme": "sns"}) == []
    assert faults({"scheme": "sns", "secret": "arn:aws:sns:us-east-1:1:alarms", "header": ""}) == []


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (None, "The signature must be an object with scheme, header and secret."),
        ([], "The signature must be an object with scheme, header and secret."),
        ({}, f"The scheme must be one of {', '.join(SCHEMES)}."),
        ({"scheme": ["github"]}, f"The scheme must be one of {', '.join(SCHEMES)}."),
        ({"scheme": "github", "secret": "x", "key": 1}, "A signature has no “key”."),
        ({"scheme": "github"}, "The secret is missing."),
        ({"scheme": "github", "secret": ""}, "The secret is missing."),
        ({"scheme": "github", "secret": 7}, "The secret must be text."),
        ({"scheme": "github", "secret": ["x"]}, "The secret must be text."),
        ({"scheme": "github", "secret": "x" * 1001}, "The secret may have at most 1,000 characters."),
        ({"scheme": "github", "secret": "x\n"}, "The secret begins or ends with a space or a line break."),
        ({"scheme": "github", "secret": "x\0y"}, "The secret has characters that cannot be typed."),
        ({"scheme": "github", "secret": "\ud800"}, "The secret has characters that cannot be typed."),
        (
            {"scheme": "github", "secret": "x", "header": "X-A"},
            "The scheme github has a header of its own: leave the header out.",
        ),
        (
            {"scheme": "header", "secret": "x"},
            "The scheme header needs the name of the header that holds the signature or the secret.",
        ),
        (
            {"scheme": "hmac_sha256", "secret": "x", "header": ["a"]},
            "The scheme hmac_sha256 needs the name of the header that holds the signature or the secret.",
        ),
        (
            {"scheme": "header", "secret": "x", "header": "a b"},
            "The header must be the name of an HTTP header, with at most 100 characters.",
        ),
        (
            {"scheme": "header", "secret": "é", "header": "x-a"},
            "The secret is sent in a header, so it may have ASCII characters only.",
        ),
        ({"scheme": "basic", "secret": "ann"}, "The secret must be user and password with a colon between them."),
        ({"scheme": "standard", "secret": "n b"}, "The secret must be “whsec_” and Base64, as the sender shows it."),
        ({"scheme": "sns", "secret": "x"}, "The secret of the scheme sns is the ARN of the topic, or nothing."),
    ],
)
def test_what_cannot_work_cannot_be_saved(config, sentence):
    assert faults(config) == [sentence]
