"""The form of integrations that open alerts for mails."""

import json
from typing import Any, Final

from django import forms

from integrations.admin.event_form import MORE_FIELDS as EVENT_FIELDS
from integrations.admin.event_form import EventForm
from integrations.inbound.mail_checks import EXTRACTED, MAX_SEQUENCE

MAX_LIST: Final = 20_000  # characters of a list of addresses
MAX_EXTRACT: Final = 10_000
MORE_FIELDS: Final = (
    "allowed_senders",
    "require_authenticated",
    "every_mail_opens",
    "extract",
    "aliases",
    "sequence",
    *(name for name in EVENT_FIELDS if name != "allow_get" and not name.startswith("signature_")),
)
_EXAMPLE: Final = '{"source_id": {"from": "body", "start": "Host:", "end": "\\n"}}'


def _lines(label: str, help_text: str) -> forms.CharField:
    widget = forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "autocapitalize": "none"})
    return forms.CharField(label=label, required=False, max_length=MAX_LIST, widget=widget, help_text=help_text)


class EmailForm(EventForm):
    """The fields of an Email integration, named as the service names them, but for the three of the delay."""

    shown_at = {**EventForm.shown_at, **{f"extract/{name}": "extract" for name in EXTRACTED}}
    # A mail has none of these.
    allow_get = signature_scheme = signature_header = signature_secret = None  # type: ignore[assignment]
    allowed_senders = _lines(
        "Allowed senders",
        "One in a line: an address, or a domain such as @example.org. Empty: everybody who knows the address. "
        "A sender's address is easy to forge; to be sure, require authentication as well.",
    )
    require_authenticated = forms.BooleanField(
        label="Require authenticated senders",
        required=False,
        help_text="The mail server in front must have checked DMARC, else SPF or DKIM (HEARTBEAT_MAIL_AUTHSERV_ID).",
    )
    every_mail_opens = forms.BooleanField(
        label="Every mail opens an alert of its own",
        required=False,
        help_text="Otherwise words such as PROBLEM and RECOVERY in the subject open and close the same alert.",
    )
    extract = forms.CharField(
        label="Take fields out of the mail",
        required=False,
        max_length=MAX_EXTRACT,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "class": "code"}),
        help_text=f"In JSON, such as {_EXAMPLE}. What is not found has its default.",
    )
    aliases = _lines("Aliases", "One in a line: further addresses whose mails come here, such as a shared mailbox.")
    sequence = forms.IntegerField(
        label="Order among integrations with the same alias",
        min_value=1,
        max_value=MAX_SEQUENCE,
        required=False,
        initial=1,
        help_text="The first whose senders and rules do not refuse a mail takes it.",
    )

    def _fill_in(self) -> None:
        super()._fill_in()
        stored = self.instance.event_settings
        self.initial.pop("allow_get", None)
        for field in ("aliases", "allowed_senders"):
            self.initial[field] = "\n".join(getattr(stored, field))
        for field in ("sequence", "every_mail_opens", "require_authenticated"):
            self.initial[field] = getattr(stored, field)
        self.initial["extract"] = json.dumps(stored.extract, indent=2, ensure_ascii=False) if stored.extract else ""

    def clean_aliases(self) -> list[str]:
        """Return the lines."""
        return list(self.cleaned_data["aliases"].split())

    def clean_allowed_senders(self) -> list[str]:
        """Return the lines."""
        return list(self.cleaned_data["allowed_senders"].split())

    def clean_sequence(self) -> int:
        """Return the first place if nothing was entered."""
        return self.cleaned_data["sequence"] or 1

    def clean_extract(self) -> Any:
        """Return the rules. Raises ValidationError for a text that is no JSON."""
        text = self.cleaned_data["extract"].strip()
        if not text:
            return {}
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
            raise forms.ValidationError(f"This is not JSON{where}.") from error
