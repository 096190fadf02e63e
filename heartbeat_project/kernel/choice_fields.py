"""Form fields that choose among database rows, with widgets that list few of them and search for the others.

Of more rows than MAX_LISTED, a page has those that are chosen. The others are found by a part of their name: the button
"Find" sends the form, which is answered with the page and what was found, and saves nothing. The script of all pages
sends it in the background while somebody types. So a search finds what the form accepts, and nothing that its reader
may not choose.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.core.exceptions import EmptyResultSet
from django.db.models import Case, IntegerField, Q, QuerySet, Value, When
from django.forms.models import ModelChoiceIterator
from django.forms.utils import flatatt
from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from heartbeat_project.kernel.ids import read_id

# Rows that one field lists; those that are chosen are always listed.
MAX_LISTED: Final = 50
MAX_LISTED_IN_ROW: Final = 20  # of a field in the rows of a table
MAX_FOUND: Final = 20  # rows that a search lists
MAX_SEARCH: Final = 100  # characters
FIND: Final = "_find"  # the name of the button
_SEARCH: Final = "-find"  # follows a field's name in the name of its search
NOT_YET: Final = forms.ValidationError("Nothing is saved yet: choose from what was found.", code="find")

if TYPE_CHECKING:
    SingleChoice = forms.ModelChoiceField[Any]
    MultipleChoice = forms.ModelMultipleChoiceField[Any]
    WidgetBase = forms.widgets.ChoiceWidget
else:
    SingleChoice, MultipleChoice, WidgetBase = forms.ModelChoiceField, forms.ModelMultipleChoiceField, object


def is_search(data: Mapping[str, Any]) -> bool:
    """Return whether a form was sent to search for rows, so that nothing may be saved."""
    return FIND in data and any(name.endswith(_SEARCH) and data[name] for name in data)


class _Searching(WidgetBase):
    """A widget that lists all rows of a field if they are few, else the chosen ones and those that a search finds."""

    # The text of the search with which the form was sent.
    search = ""

    def __init__(self, *args: Any, in_row: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.in_row = in_row
        # The first rows by query, and labels by value.
        self.first_rows: dict[str, list[Any]] = {}
        self.known_labels: dict[str, str] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Searching":
        """Return a copy; the copies in the rows of one table share what was read, those of other forms do not."""
        copied: _Searching = super().__deepcopy__(memo)
        if not self.in_row:
            copied.first_rows, copied.known_labels = {}, {}
        return copied

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        self.search = str(data.get(f"{name}{_SEARCH}", ""))[:MAX_SEARCH].strip() if FIND in data else ""
        return super().value_from_datadict(data, files, name)

    def _listed(self, field: Any, chosen: Collection[str]) -> tuple[list[tuple[str, str]], str | None]:
        """Return the values and labels to list, and a sentence about the others; None if there are no others."""
        limit = MAX_LISTED_IN_ROW if self.in_row else MAX_LISTED
        rows = self._first_rows(field.queryset, limit + 1)
        if len(rows) <= limit:
            return _pairs(field, rows), None
        unknown = [value for value in chosen if value not in self.known_labels]
        self.known_labels.update(_pairs(field, _chosen_rows(field.queryset, unknown)))
        pairs = [(value, self.known_labels[value]) for value in chosen if value in self.known_labels]
        if not self.search:
            return pairs, "" if self.in_row else "Only what is chosen is listed: type a part of a name to find more."
        found = _found_rows(field.queryset, self.search)
        # First, because the list may be long, and only its beginning is in sight.
        pairs = [*(pair for pair in _pairs(field, found[:MAX_FOUND]) if pair[0] not in chosen), *pairs]
        if len(found) > MAX_FOUND:
            return pairs, f"The first {MAX_FOUND} of more that were found: type more of the name."
        return pairs, f"{len(found)} found." if found else "Nothing has this in its name."

    def _first_rows(self, queryset: QuerySet[Any], count: int) -> list[Any]:
        try:
            key = str(queryset.query)
        except EmptyResultSet:
            return []
        if key not in self.first_rows:
            self.first_rows[key] = list(queryset[:count])
        return self.first_rows[key]


class CheckBoxes(_Searching, forms.CheckboxSelectMultiple):
    """A scrolling list of check boxes, with a field that narrows it when it is long, or that searches for more."""

    template_name = "parts/check_boxes.html"
    note: str | None = None

    def optgroups(self, name: str, value: Any, attrs: Any = None) -> Any:
        choices: Any = self.choices
        if isinstance(choices, ModelChoiceIterator):
            self.choices, self.note = self._listed(choices.field, value)
        return super().optgroups(name, value, attrs)

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        return context | {"note": self.note, "search": self.search, "search_name": f"{name}{_SEARCH}"}

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """Render with the project's templates, which the renderer of Django's forms does not find."""
        return render_to_string(self.template_name, self.get_context(name, value, attrs))


class DropDown(_Searching, forms.Select):
    """A drop-down, rendered without a template for each option, with a field that searches for more if it is long."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        choices: Any = self.choices
        chosen = [entry for entry in self.format_value(value) if entry]
        pairs, note = self._listed(choices.field, chosen)
        if choices.field.empty_label is not None:
            pairs = [("", choices.field.empty_label), *pairs]
        attributes = flatatt(self.build_attrs(self.attrs, {**(attrs or {}), "name": name}))
        select = format_html("<select{}>{}</select>", attributes, _options_html(pairs, chosen or [""]))
        if note is None:
            return select
        context = {"note": note, "search": self.search, "search_name": f"{name}{_SEARCH}", "select": select}
        return render_to_string("parts/drop_down.html", context)


class LongSelect(forms.Select):
    """A drop-down of fixed choices, rendered without a template for each option: 600 time zones take 5 ms, not 50."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        attributes = flatatt(self.build_attrs(self.attrs, {**(attrs or {}), "name": name}))
        pairs = [(str(choice), str(label)) for choice, label in self.choices]
        return format_html("<select{}>{}</select>", attributes, _options_html(pairs, self.format_value(value)))


class RowChoice(SingleChoice):
    """A field that chooses one row. `labels_of` makes the labels of several rows at once; None: one by one."""

    widget = DropDown
    labels_of: Any = None

    def clean(self, value: Any) -> Any:
        """Return the row. Raises ValidationError if the form was sent to search in this field."""
        if getattr(self.widget, "search", ""):
            raise NOT_YET
        return super().clean(value)


class RowChoices(MultipleChoice):
    """A field that chooses several rows."""

    widget = CheckBoxes
    labels_of: Any = None

    def clean(self, value: Any) -> Any:
        """Return the rows. Raises ValidationError if the form was sent to search in this field."""
        if getattr(self.widget, "search", ""):
            raise NOT_YET
        return super().clean(value)


def remember_label(field: Any, row: Any) -> None:
    """Let the widgets of this field in all rows of a table know the label of a row that one of them has chosen."""
    if isinstance(field.widget, DropDown) and row is not None:
        field.widget.known_labels.update(_pairs(field, [row]))


def _pairs(field: Any, rows: Sequence[Any]) -> list[tuple[str, str]]:
    if labels_of := getattr(field, "labels_of", None):
        labels = labels_of(rows)
    else:
        labels = [field.label_from_instance(row) for row in rows]
    return [(str(field.prepare_value(row)), str(label)) for row, label in zip(rows, labels, strict=True)]


def _options_html(options: Iterable[tuple[str, str]], chosen: Collection[str]) -> SafeString:
    return format_html_join(
        "\n",
        '<option value="{}"{}>{}</option>',
        ((value, SafeString(" selected") if value in chosen else "", label) for value, label in options),
    )


def _chosen_rows(rows: QuerySet[Any], values: Iterable[str]) -> list[Any]:
    ids = [number for value in values if (number := read_id(value))]
    return list(rows.filter(pk__in=ids)) if ids else []


def _found_rows(rows: QuerySet[Any], text: str) -> list[Any]:
    """Return up to MAX_FOUND + 1 rows with the text in their name or e-mail address; names that begin with it first."""
    condition = Q(name__icontains=text)
    if any(field.name == "email" for field in rows.model._meta.get_fields()):  # noqa: SLF001 - documented Meta API
        condition |= Q(email__icontains=text)
    begins_first = Case(When(name__istartswith=text, then=Value(0)), default=Value(1), output_field=IntegerField())
    return list(rows.filter(condition).order_by(begins_first, "name", "pk")[: MAX_FOUND + 1])
