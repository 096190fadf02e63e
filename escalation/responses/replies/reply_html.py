"""Extract the text of an HTML mail up to the first quoted part (pure).

The parser of the standard library takes minutes for a document that was made to be slow. This one builds no tree, looks
at each character once, and stops at the first quoted part or when it has enough text.
"""

import re
from html import unescape
from typing import Final

# Characters of the document that are read, and of the text that is returned.
HTML_LENGTH: Final = 100_000
TEXT_LENGTH: Final = 8_000
# A tag contains no "<", so that an unclosed one fails at the next "<". Possessive repeats: matching takes linear time.
_TAG: Final = re.compile(r"""<(/?)([A-Za-z][A-Za-z0-9]*+)((?:[^<>"']|"[^"<]*+"|'[^'<]*+')*+)>""")
_ATTRIBUTE: Final = re.compile(
    r"""(?<![\w-])(?:class|id)\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'>]++))""", re.IGNORECASE
)
_BLOCKS: Final = frozenset(
    {"address", "body", "br", "dd", "div", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre"}
    | {"section", "table", "td", "th", "tr", "ul"}
)
# Elements whose content is not displayed, with the pattern at which each ends.
_UNSEEN: Final = {
    "head": re.compile(r"</head|<body", re.IGNORECASE),
    **{name: re.compile(f"</{name}", re.IGNORECASE) for name in ("script", "style", "template", "title")},
}
# How mail programs mark quoted parts: by class (Gmail, Yahoo, Proton, Thunderbird) and by id (Outlook).
_QUOTED: Final = frozenset(
    {"gmail_quote", "gmail_attr", "gmail_signature", "yahoo_quoted", "protonmail_quote", "moz-cite-prefix"}
    | {"moz-signature", "appendonsend", "divrplyfwdmsg", "mail-editor-reference-message-container"}
)


def read_html(html: str) -> str:
    """Return the displayed text before the first quoted part, with a line for each block."""
    html = html[:HTML_LENGTH]
    text: list[str] = []
    length = position = 0
    while position < len(html) and length < TEXT_LENGTH:
        piece, position = _next(html, position)
        if position < 0:
            break
        text.append(piece)
        length += len(piece)
    return "".join(text)[:TEXT_LENGTH]


def _next(html: str, position: int) -> tuple[str, int]:
    """Return the text of the next tag or text at `position`, and the position after it; -1 ends the reading."""
    if html[position] != "<":
        ends = html.find("<", position)
        ends = len(html) if ends < 0 else ends
        return _one_space(unescape(html[position:ends])), ends
    if html.startswith(("<!", "<?"), position):
        mark = "-->" if html.startswith("<!--", position) else ">"
        ends = html.find(mark, position)
        return "", ends + len(mark) if ends >= 0 else -1
    tag = _TAG.match(html, position)
    if tag is None:
        return "<", position + 1
    closes, name, attributes = tag[1], tag[2].lower(), tag[3]
    if not closes and (name == "blockquote" or _is_quoted(attributes)):
        return "", -1
    if not closes and name in _UNSEEN:
        match = _UNSEEN[name].search(html, tag.end())
        return "", match.start() if match else -1
    return "\n" if name in _BLOCKS else "", tag.end()


def _is_quoted(attributes: str) -> bool:
    words = (word for values in _ATTRIBUTE.findall(attributes) for value in values for word in value.lower().split())
    return not _QUOTED.isdisjoint(words)


def _one_space(text: str) -> str:
    """Return the text with each run of white space as one space, as a page displays it."""
    words = " ".join(text.split())
    begins = " " if text[:1].isspace() else ""
    ends = " " if words and text[-1:].isspace() else ""
    return f"{begins}{words}{ends}"
