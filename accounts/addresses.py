"""Addresses of contact methods: how each kind is checked, normalized and compared."""

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import phonenumbers
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from accounts.contact_kinds import CONTACT_KINDS, AddressType
from heartbeat_project.kernel.errors import FieldError

MAX_LENGTH: Final = 2_000  # characters; the width of the column
EMAIL_LENGTH: Final = 320  # characters; 64 of the local part, "@", and 255 of the domain
# Calls and messages to these numbers cost the caller extra. Their owner would earn money with each code that we send.
_COSTLY: Final = {phonenumbers.PhoneNumberType.PREMIUM_RATE, phonenumbers.PhoneNumberType.SHARED_COST}
_HOW_TO_ADD_A_BROWSER: Final = "Open your profile page in the browser that you want to add, and add it there."


def clean_address(kind: str, address: str) -> str:
    """Return the address as it is stored. Raises FieldError at `address` with a message that says what to enter."""
    address = address.strip()
    if len(address) > MAX_LENGTH:
        raise FieldError("address", f"Use at most {MAX_LENGTH:,} characters.", code="max_length")
    return _CLEANERS[CONTACT_KINDS[kind].address_type](address)


def comparable(kind: str, address: str) -> str:
    """Return the address in a form that is equal for two addresses if both lead to the same destination.

    `address` is a stored one. Phone numbers are already in E.164. E-mail addresses are compared in lower case:
    the domain has no case, and in practice mail servers ignore that of the local part. A browser is identified by its
    endpoint alone, since its keys may be renewed.
    """
    address_type = CONTACT_KINDS[kind].address_type
    if address_type is AddressType.EMAIL:
        return address.lower()
    if address_type is AddressType.PUSH_SUBSCRIPTION:
        try:
            return str(json.loads(address)["endpoint"])
        except (ValueError, TypeError, KeyError):
            return address
    if address_type is AddressType.WEB_ADDRESS:
        parts = urlsplit(address)
        default_port = {"http": 80, "https": 443}.get(parts.scheme)
        port = "" if parts.port in {None, default_port} else f":{parts.port}"
        query = f"?{parts.query}" if parts.query else ""
        return f"{parts.scheme}://{(parts.hostname or '').rstrip('.')}{port}{parts.path or '/'}{query}"
    if address_type is AddressType.APPRISE_URL:
        scheme, separator, target = address.partition("://")
        return f"{scheme.lower()}{separator}{target}"
    return address


def why_unavailable(kind: str) -> str:
    """Return why this installation cannot use the kind and what to do, or "" if it can use it."""
    if kind == "sms" and not settings.SMS_PROVIDERS:
        return "SMS is not set up here: ask an App Admin."
    if kind == "voice" and not settings.VOICE_PROVIDERS:
        return "Calls are not set up here: ask an App Admin."
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
        raise FieldError("address", "This phone number does not exist. Check the number and its country code.")
    if phonenumbers.number_type(number) in _COSTLY:
        raise FieldError("address", "This number costs the caller extra. Enter another number.")
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
        raise FieldError("address", "Enter the address without user name and password.")
    if not address.isascii():
        raise FieldError("address", "Enter the address in its encoded form. Copy it from the address bar of a browser.")
    return address


def _subscription(address: str) -> str:
    """Return a browser's push subscription (JSON) with only its endpoint and keys.

    The keys have the lengths of RFC 8291: an uncompressed P-256 point (65 bytes) and a secret of 16 bytes.
    """
    try:
        subscription: Any = json.loads(address)
        keys = {name: str(subscription["keys"][name]) for name in ("p256dh", "auth")}
        lengths = [len(base64.urlsafe_b64decode(keys[name] + "=" * (-len(keys[name]) % 4))) for name in keys]
        endpoint = _web_address(str(subscription["endpoint"]))
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error) as error:
        raise FieldError("address", _HOW_TO_ADD_A_BROWSER) from error
    if lengths != [65, 16]:
        raise FieldError("address", _HOW_TO_ADD_A_BROWSER)
    return json.dumps({"endpoint": endpoint, "keys": keys}, separators=(",", ":"))


def _apprise(address: str) -> str:
    scheme, separator, target = address.partition("://")
    if not separator or not target or any(character.isspace() for character in address):
        raise FieldError("address", "Enter an Apprise URL such as tgram://token/chat-id.")
    if scheme.lower() not in settings.APPRISE_SERVICES:
        raise FieldError("address", f"Use one of these services: {', '.join(settings.APPRISE_SERVICES)}.")
    return address


_CLEANERS: Final[dict[AddressType, Callable[[str], str]]] = {
    AddressType.EMAIL: _email,
    AddressType.PHONE_NUMBER: _phone_number,
    AddressType.PUSH_SUBSCRIPTION: _subscription,
    AddressType.WEB_ADDRESS: _web_address,
    AddressType.APPRISE_URL: _apprise,
}
