"""Addresses of contact methods: what each kind takes, how it is written, and how it is shown to others."""

import base64
import binascii
import json
from typing import Any, Final
from urllib.parse import urlsplit

import phonenumbers
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from accounts.models import ContactMethod
from heartbeat_project.kernel.errors import FieldError

MAX_LENGTH: Final = 2_000
EMAIL_LENGTH: Final = 320
_Kind = ContactMethod.Kind
# Numbers that cost whoever calls them: a code would be a way to earn money.
_COSTLY: Final = {phonenumbers.PhoneNumberType.PREMIUM_RATE, phonenumbers.PhoneNumberType.SHARED_COST}


def clean_address(kind: str, address: str) -> str:
    """Return the address as it is stored; raise FieldError at `address`, saying what to enter instead."""
    address = address.strip()
    if len(address) > MAX_LENGTH:
        raise FieldError("address", f"Use at most {MAX_LENGTH:,} characters.", code="max_length")
    if kind in {_Kind.SMS, _Kind.VOICE}:
        return _phone_number(address)
    if kind == _Kind.PUSH:
        return _subscription(address)
    if kind in {_Kind.CHAT, _Kind.WEBHOOK}:
        return _web_address(address)
    if kind == _Kind.APPRISE:
        return _apprise(address)
    return _email(address)


def why_unavailable(kind: str) -> str:
    """Return why this installation cannot use the kind, and what can be done; nothing when it can."""
    providers = {_Kind.SMS: settings.SMS_PROVIDERS, _Kind.VOICE: settings.VOICE_PROVIDERS}
    if kind in providers and not providers[_Kind(kind)]:
        what = "SMS" if kind == _Kind.SMS else "calls"
        return f"This installation has no provider for {what} yet. Whoever runs it can set one up (see .env.example)."
    return ""


def _email(address: str) -> str:
    try:
        validate_email(address)
    except ValidationError as error:
        raise FieldError("address", "Enter an e-mail address such as ana@example.com.") from error
    if len(address) > EMAIL_LENGTH:
        raise FieldError("address", f"Use at most {EMAIL_LENGTH} characters.", code="max_length")
    return address


def _phone_number(address: str) -> str:
    """Return the number in E.164."""
    try:
        number = phonenumbers.parse(address, None)
    except phonenumbers.NumberParseException as error:
        raise FieldError("address", "Enter a phone number with its country code, such as +49 1512 3456789.") from error
    if not phonenumbers.is_valid_number(number):
        raise FieldError("address", "There is no such phone number. Check it, country code included.")
    if phonenumbers.number_type(number) in _COSTLY:
        raise FieldError("address", "Numbers that cost the caller extra cannot be used.")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _web_address(address: str) -> str:
    try:
        parts = urlsplit(address)
        usable = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        usable = False
    if not usable or any(character.isspace() for character in address):
        raise FieldError("address", "Enter an address such as https://hooks.example.com/heartbeat.")
    if parts.username or parts.password:
        raise FieldError("address", "An address with a user name or password in it cannot be used.")
    if not address.isascii():
        raise FieldError("address", "Enter the address in its encoded form: copy it from the address bar of a browser.")
    return address


def _subscription(address: str) -> str:
    """Return a browser's subscription without what is not needed of it."""
    try:
        given: Any = json.loads(address)
        keys = {name: str(given["keys"][name]) for name in ("p256dh", "auth")}
        lengths = [len(base64.urlsafe_b64decode(keys[name] + "=" * (-len(keys[name]) % 4))) for name in keys]
        endpoint = _web_address(str(given["endpoint"]))
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error) as error:
        raise FieldError("address", "A browser is added from that browser, in its own profile page.") from error
    if lengths != [65, 16]:
        raise FieldError("address", "A browser is added from that browser, in its own profile page.")
    return json.dumps({"endpoint": endpoint, "keys": keys}, separators=(",", ":"))


def _apprise(address: str) -> str:
    scheme, separator, rest = address.partition("://")
    if not separator or not rest or any(character.isspace() for character in address):
        raise FieldError("address", "Enter an Apprise URL such as tgram://token/chat-id.")
    if scheme.lower() not in settings.APPRISE_SERVICES:
        raise FieldError("address", f"Use one of these services: {', '.join(settings.APPRISE_SERVICES)}.")
    return address
