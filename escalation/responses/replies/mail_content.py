"""All that an event needs of a mail, for `mail_child`: headers, text, attachments' names and what mail servers say.

Headers are decoded by hand, each in a try: the newer policies of the standard library raise at headers that real
programs send. Nothing here raises for content, but it may take time, which the child limits.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from binascii import a2b_qp
from collections.abc import Sequence
from email.message import Message
from html import unescape
from typing import Any, Final

# Characters of a header as it came and decoded, of the text, and of the HTML.
HEADER_LENGTH: Final = 4_000
VALUE_LENGTH: Final = 1_000
TEXT_LENGTH: Final = 100_000
HTML_LENGTH: Final = 400_000
KEPT_HTML: Final = 20_000
MAX_HEADERS: Final = 100
MAX_ADDRESSES: Final = 50
MAX_ATTACHMENTS: Final = 50
MAX_PARTS: Final = 200
MAX_DEPTH: Final = 20
_FIRST: Final = ("from", "to", "cc", "subject", "date", "message-id", "reply-to", "list-id")
_ENCODED: Final = re.compile(r"=\?([\w.:-]{1,60})(?:\*[\w-]{0,20})?\?([bq])\?([^?\s]{0,2000})\?=", re.IGNORECASE)
_BETWEEN: Final = re.compile(r"\?=\s{1,100}=\?")
_ID: Final = re.compile(r"<([^<>\s]{1,250})>")
# A tag contains no "<", so that an unclosed one fails at the next "<". Possessive repeats: matching takes linear time.
_TAG: Final = re.compile(r"""<(/?)([A-Za-z][A-Za-z0-9]*+)((?:[^<>"']|"[^"<]*+"|'[^'<]*+')*+)>""")
_HIDDEN: Final = re.compile(
    r"""display\s*+:\s*+none|visibility\s*+:\s*+hidden|(?<![\w-])hidden(?![\w-])""", re.IGNORECASE
)
_LINK: Final = re.compile(r"""(?<![\w-])href\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'>]++))""", re.IGNORECASE)
_BLOCKS: Final = frozenset(
    {"address", "article", "blockquote", "body", "br", "dd", "div", "dl", "dt", "footer", "h1", "h2", "h3", "h4", "h5"}
    | {"h6", "header", "hr", "li", "ol", "p", "pre", "section", "table", "tr", "ul"}
)
_UNSEEN: Final = frozenset({"head", "script", "style", "template", "title", "noscript", "object", "svg"})
# Elements without an end tag, which hide nothing behind them.
_EMPTY: Final = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})


def content_of(mail: Message, raw_headers: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return what rules and alerts can use of a mail; each text is cut, and can be stored."""
    headers: dict[str, list[str]] = {}
    for name, value in raw_headers:
        headers.setdefault(clean(name.strip().lower()[:100]), []).append(value)
    plain, html, attachments = _parts(mail)
    text = plain if plain.strip() else html_text(html)
    return {
        "from": _address(_first(headers, "from")),
        "to": _addresses(headers, ("to", "cc")),
        "subject": _first(headers, "subject"),
        "message_id": next(iter(_ids(headers, "message-id")), ""),
        "references": [*_ids(headers, "in-reply-to"), *_ids(headers, "references")][:20],
        "body": text[:TEXT_LENGTH],
        "html": html[:KEPT_HTML],
        "headers": {name: _first(headers, name) for name in _named(headers)},
        "authentication_results": [_decoded(value) for value in headers.get("authentication-results", ())[:10]],
        "spam": _spam(headers),
        "attachments": attachments,
        "is_report": _type_of(mail) == "multipart/report",
    }


def _named(headers: dict[str, list[str]]) -> list[str]:
    """Return the names of the headers that are kept, those that say most first."""
    names = [*(name for name in _FIRST if name in headers), *headers]
    return [name for name in dict.fromkeys(names) if name][:MAX_HEADERS]


def _first(headers: dict[str, list[str]], name: str) -> str:
    values = headers.get(name)
    return _decoded(values[0])[:VALUE_LENGTH] if values else ""


def _decoded(value: str) -> str:
    """Return a header on one line, with its encoded words decoded; what cannot be decoded stays as it is."""
    line = " ".join(clean(value[:HEADER_LENGTH]).split())
    return clean(_ENCODED.sub(_decoded_word, _BETWEEN.sub("?==?", line))).replace("\n", " ").replace("\r", " ").strip()


def _decoded_word(match: re.Match[str]) -> str:
    charset, encoding, text = match[1], match[2].lower(), match[3]
    try:
        if encoding == "b":
            raw = b64decode(text.encode("ascii", "ignore") + b"=" * (-len(text) % 4))
        else:
            raw = a2b_qp(text.encode("ascii", "ignore"), header=True)
    except (Base64Error, ValueError):
        return match[0]
    return decode(raw, charset) if raw or not text else match[0]


def decode(raw: bytes, charset: str) -> str:
    """Return bytes as text: by the charset that is said, else UTF-8, else Windows-1252, else Latin-1."""
    for name in (charset, "utf-8", "cp1252"):
        try:
            return raw.decode(name)
        except UnicodeDecodeError as error:
            # Only a half of a character at the end of a text that was cut.
            if error.reason == "unexpected end of data" and error.start:
                return raw[: error.start].decode(name)
        except (LookupError, ValueError):
            continue
    return raw.decode("latin-1")


def clean(text: str) -> str:
    """Return the text without characters that can be neither stored nor sent."""
    try:
        raw = text.encode("utf-8", "surrogateescape")  # non-ASCII bytes of a header
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "replace")
    try:
        return raw.decode("utf-8").replace("\x00", "")
    except UnicodeDecodeError:
        return decode(raw, "utf-8").replace("\x00", "")


def _address(value: str) -> dict[str, str]:
    """Return the address and the name in a header such as `Ana <ana@example.org>`."""
    name, bracket, rest = value.rpartition("<")
    if bracket and "@" in rest:
        return {"address": rest.partition(">")[0].strip().lower(), "name": name.strip().strip('"').strip()}
    words = [word for word in value.replace(",", " ").split() if "@" in word]
    return {"address": words[0].strip("<>()\"'").lower() if words else "", "name": ""}


def _addresses(headers: dict[str, list[str]], names: Sequence[str]) -> list[str]:
    values = ",".join(_decoded(value) for name in names for value in headers.get(name, ())[:5])
    found = (_address(part)["address"] for part in values.split(",")[: 2 * MAX_ADDRESSES])
    return [address for address in dict.fromkeys(found) if address][:MAX_ADDRESSES]


def _ids(headers: dict[str, list[str]], name: str) -> list[str]:
    """Return the message ids in a header; one without brackets, or in square ones as Exchange writes, as well."""
    value = clean(" ".join(headers.get(name, ())[:1])[:HEADER_LENGTH])
    ids = _ID.findall(value)
    if not ids and value.strip():
        ids = [value.split()[0].strip("<>[]\"'")[:250]]
    return [one for one in ids if one]


def _spam(headers: dict[str, list[str]]) -> str:
    """Return "yes" or "no" as the mail server in front says; "" if it says nothing."""
    for name in ("x-spam-flag", "x-spam-status", "x-spam"):
        word = _first(headers, name).lower().lstrip()
        if word:
            return "yes" if word.startswith(("yes", "true")) else "no"
    return ""


def _type_of(part: Message) -> str:
    try:
        return part.get_content_type().lower()
    except Exception:  # noqa: BLE001 - the library raises many kinds
        return "text/plain"


def _parts(mail: Message) -> tuple[str, str, list[str]]:
    """Return the first plain text, the first HTML, and the names of the attachments."""
    plain = html = ""
    attachments: list[str] = []
    waiting = [(mail, 0)]
    for _ in range(MAX_PARTS):
        if not waiting:
            break
        part, depth = waiting.pop()
        kind = _type_of(part)
        # Of other parts, the library would decode the text by a charset that it may not know.
        inner = part.get_payload() if part.is_multipart() else None
        if isinstance(inner, list) and kind != "message/rfc822":
            if depth < MAX_DEPTH:
                children = [child for child in inner[:MAX_PARTS] if isinstance(child, Message)]
                waiting += [(child, depth + 1) for child in reversed(children)]
            continue
        disposition = str(part.get("Content-Disposition", "")).partition(";")[0].strip().lower()
        if disposition == "attachment" or kind not in {"text/plain", "text/html"}:
            if len(attachments) < MAX_ATTACHMENTS:
                attachments.append(_name_of(part) or clean(kind[:100]))
        elif kind == "text/plain":
            plain = plain if plain.strip() else _text_of(part, 4 * TEXT_LENGTH)
        else:
            html = html or _text_of(part, HTML_LENGTH)
    return plain, html, attachments


def _name_of(part: Message) -> str:
    """Return the name of an attachment, as the text of its header says, without the library's own parser."""
    for header in ("Content-Disposition", "Content-Type"):
        for parameter in str(part.get(header, ""))[:HEADER_LENGTH].split(";")[1:20]:
            key, _, value = parameter.partition("=")
            if key.strip().lower() in {"filename", "name"}:
                return _decoded(value.strip().strip('"'))[:200]
    return ""


def _text_of(part: Message, limit: int) -> str:
    charset = _charset_of(part)
    # The library looks at the charset as well, and raises for some.
    del part["Content-Type"]
    raw = part.get_payload(decode=True)
    if not isinstance(raw, bytes):
        return ""
    return clean(decode(raw[:limit], charset)).replace("\r\n", "\n").replace("\r", "\n")


def _charset_of(part: Message) -> str:
    for parameter in str(part.get("Content-Type", ""))[:VALUE_LENGTH].split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip("\"'").lower()
            return charset if charset and "\x00" not in charset else "utf-8"
    return "utf-8"


def html_text(html: str) -> str:
    """Return what an HTML mail shows: a line for each block, links with their addresses, nothing that is hidden."""
    html = html[:HTML_LENGTH]
    text: list[str] = []
    position, hidden, depth, link = 0, "", 0, ""
    while position < len(html):
        if html[position] != "<":
            end = html.find("<", position)
            end = len(html) if end < 0 else end
            if not hidden:
                text.append(_one_space(unescape(html[position:end])))
            position = end
            continue
        if html.startswith(("<!", "<?"), position):
            mark = "-->" if html.startswith("<!--", position) else ">"
            end = html.find(mark, position)
            position = len(html) if end < 0 else end + len(mark)
            continue
        tag = _TAG.match(html, position)
        if tag is None:
            if not hidden:
                text.append("<")
            position += 1
            continue
        position = tag.end()
        closes, name = bool(tag[1]), tag[2].lower()
        if hidden:
            if name == hidden:
                depth += -1 if closes else 1
                hidden = hidden if depth else ""
            continue
        if not closes and (name in _UNSEEN or (name not in _EMPTY and _HIDDEN.search(tag[3]))):
            hidden, depth = name, 1
        elif name == "a":
            text.append(f" ({link})" if closes and link and link not in "".join(text[-2:]) else "")
            link = "" if closes else _target(tag[3])
        elif name in _BLOCKS:
            text.append("\n- " if name == "li" and not closes else "\n")
        elif name in {"td", "th"} and closes:
            text.append(" ")
    lines = (" ".join(line.split()) for line in "".join(text).splitlines())
    return "\n".join(line for line in lines if line and line != "-")


def _target(attributes: str) -> str:
    match = _LINK.search(attributes)
    address = unescape(next(filter(None, match.groups()), "")).strip()[:2_000] if match else ""
    return address if address.lower().startswith(("http://", "https://", "mailto:")) else ""


def _one_space(text: str) -> str:
    words = " ".join(text.split())
    before = " " if text[:1].isspace() else ""
    return f"{before}{words}{' ' if words and text[-1:].isspace() else ''}"
