"""Checks of the settings that only Chat integrations have, before they are saved: each fault at its field."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from heartbeat_project.kernel.errors import FieldError
from integrations.models.chat import ChatSettings

# The fields of ChatSettings, in the order in which they are set.
CHAT_SETTINGS: Final = (
    "platform",
    "secrets",
    "api_base",
    "channels",
    "command",
    "open_from",
    "updates",
    "who_may_open",
)
_Platform = ChatSettings.Platform
# What each platform proves itself with comes first; then the further ones.
SECRETS: Final[Mapping[str, tuple[str, ...]]] = {
    _Platform.SLACK: ("signing_secret", "bot_token"),
    _Platform.MATTERMOST: ("command_token", "bot_token", "webhook_token"),
    _Platform.GENERIC: ("token",),
}
ORIGINS: Final = ("command", "mention", "message")
MAX_SECRET: Final = 1_000
MAX_CHANNELS: Final = 100
MAX_CHANNEL: Final = 100
MAX_BASE: Final = 500
_COMMAND: Final = re.compile(r"/[\w.-]{1,32}", re.ASCII)


def set_chat_settings(chat: ChatSettings, values: Mapping[str, Any]) -> None:
    """Set those of CHAT_SETTINGS that are among the values, and check them. Nothing is saved. Raises FieldError.

    A secret of None keeps the stored one, and an empty one forgets it; those of another platform are forgotten. Whoever
    enters another address enters the token of the bot again: it would be sent there, and nobody may read it.
    """
    before, base_before = chat.platform, chat.api_base
    for field in CHAT_SETTINGS:
        if field in values and field != "secrets":
            setattr(chat, field, values[field])
    if chat.platform not in _Platform.values:
        raise FieldError("platform", f"The platform must be one of {', '.join(_Platform.values)}.")
    stored = chat.secrets if chat.platform == before else {}
    chat.api_base = _clean_base(chat.api_base)
    given = values.get("secrets", {})
    chat.secrets = _new_secrets(chat.platform, given, stored)
    if chat.api_base != base_before and stored.get("bot_token") and given.get("bot_token") is None:
        text = "Enter the token of the bot again: it is sent to the address, which has changed."
        raise FieldError("secrets/bot_token", text)
    chat.channels = _clean_channels(chat.channels)
    _check_command(chat.command)
    _check_open_from(chat.open_from)
    if chat.updates not in ChatSettings.Updates.values:
        raise FieldError("updates", f"The updates must be one of {', '.join(ChatSettings.Updates.values)}.")
    if chat.who_may_open not in ChatSettings.WhoMayOpen.values:
        text = f"It must be one of {', '.join(ChatSettings.WhoMayOpen.values)}."
        raise FieldError("who_may_open", text)
    if chat.platform == _Platform.MATTERMOST and chat.secrets.get("bot_token") and not chat.api_base:
        raise FieldError("api_base", "Enter the address of the Mattermost server: the bot writes there.")


def _new_secrets(platform: str, given: Any, stored: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise FieldError("secrets", "The secrets are an object with a text for each.")
    names = SECRETS[platform]
    secrets = {name: value for name, value in stored.items() if name in names}
    for name, value in given.items():
        if name not in names:
            text = f"“{str(name)[:40]}” is no secret of this platform: there are {', '.join(names)}."
            raise FieldError("secrets", text)
        if value is None:
            continue
        if fault := _secret_fault(value):
            raise FieldError(f"secrets/{name}", f"{name}: {fault}")
        secrets[name] = value
    return {name: value for name, value in secrets.items() if value}


def _secret_fault(value: Any) -> str:
    """Return why this can be no secret; "" if it can."""
    if not isinstance(value, str):
        return "it must be a text."
    if len(value) > MAX_SECRET:
        return f"it may have at most {MAX_SECRET:,} characters."
    # It travels in headers.
    if not value.isascii() or not value.isprintable() or value != value.strip():
        return "it may have visible ASCII characters only, and no spaces around them."
    return ""


def _clean_base(given: Any) -> str:
    if not isinstance(given, str) or len(given) > MAX_BASE:
        raise FieldError("api_base", f"The address is a text of at most {MAX_BASE} characters.")
    value: str = given.strip().rstrip("/")
    if not value:
        return ""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    is_plain = value.isascii() and value.isprintable() and " " not in value and not (parts.query or parts.fragment)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or not is_plain:
        raise FieldError("api_base", "Enter an address that begins with https://, without user, query or fragment.")
    return value


def _clean_channels(value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_CHANNELS:
        raise FieldError("channels", f"The channels are a list of at most {MAX_CHANNELS}.")
    channels = []
    for channel in value:
        name = channel.strip().removeprefix("#") if isinstance(channel, str) else ""
        if not name or len(name) > MAX_CHANNEL or not name.isprintable():
            text = f"A channel is its id or its name, with at most {MAX_CHANNEL} characters."
            raise FieldError("channels", text)
        channels.append(name)
    return list(dict.fromkeys(channels))


def _check_command(value: Any) -> None:
    if not isinstance(value, str) or not _COMMAND.fullmatch(value):
        text = "The command is a slash and up to 32 letters, digits, dots, hyphens or underscores, such as /heartbeat."
        raise FieldError("command", text)


def _check_open_from(value: Any) -> None:
    is_list = isinstance(value, list) and all(isinstance(origin, str) for origin in value)
    if not is_list or len(set(value)) != len(value) or not set(value) <= set(ORIGINS):
        raise FieldError("open_from", f"It is a list of any of {', '.join(ORIGINS)}.")
