"""Base classes of the admin pages: entitlements, tenancy, saving through services, and their errors at the field."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, ORDER_VAR, PAGE_VAR, SEARCH_VAR
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import BadRequest
from django.core.paginator import Page, Paginator
from django.db import models, transaction
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet, construct_instance
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property, lazy

from accounts.entitlements import Entitlement
from accounts.models.audit import OBJECT_TYPES
from accounts.models.organizations import Organization
from accounts.models.users import User
from accounts.permissions import may
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.choice_fields import (
    NOT_YET,
    CheckBoxes,
    DropDown,
    RowChoice,
    RowChoices,
    is_search,
    remember_label,
)
from heartbeat_project.kernel.consequences import Consequence, Unconfirmed, confirm, consequences, seal
from heartbeat_project.kernel.errors import DomainError, FieldError

if TYPE_CHECKING:
    Admin = admin.ModelAdmin[Any]
    Inline = admin.TabularInline[Any, Any]
    AnyModelForm = forms.ModelForm[Any]
    InlineFormSet = BaseInlineFormSet[Any, Any, Any]
else:
    Admin, Inline, AnyModelForm = admin.ModelAdmin, admin.TabularInline, forms.ModelForm
    InlineFormSet = BaseInlineFormSet

# Keys in a request's META: the error that a service raised, for the form to show at its field; and the request's time.
_SERVICE_ERROR = "heartbeat.service_error"
_NOW = "heartbeat.now"
MAX_QUERY = 200  # characters of one search or filter of a list
MAX_QUOTED = 60  # characters of an unknown parameter's name that the error repeats
MAX_ROW_DIGITS = 5  # digits of the number of a row in a form
MAX_LEFT_OUT = 20  # rows that may be missing before the last one that was sent
_MINUTE = "%Y-%m-%dT%H:%M"
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def person(request: HttpRequest) -> User:
    """Return the user of a request that the admin site let in."""
    assert isinstance(request.user, User)  # noqa: S101 - for the type alone
    return request.user


def instant(request: HttpRequest) -> datetime:
    """Return the time of the request; all calls for one request return the same."""
    now: datetime = request.META.setdefault(_NOW, clock.now())
    return now


def organization_of(request: HttpRequest) -> Organization:
    """Return the organization of the user, the only one that the request may read or change."""
    return person(request).organization


class ServiceForm(AnyModelForm):
    """A form whose values go to a service; a FieldError of the service is shown at its field."""

    request: ClassVar[HttpRequest]
    # The form's name of each field that the service calls by another name.
    shown_at: ClassVar[dict[str, str]] = {}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})

    def clean(self) -> dict[str, Any] | None:
        """Add the error that the service raised when this request was first tried; see `changeform_view`.

        A form that was sent to search has an error, too, so that it is shown again and not saved.
        """
        cleaned = super().clean()
        if is_search(self.data) and not any(self.has_error(name, NOT_YET.code) for name in self.fields):
            self.add_error(None, NOT_YET)
        error = self.request.META.get(_SERVICE_ERROR)
        if isinstance(error, FieldError):
            name = self.shown_at.get(error.field, error.field)
            field = name if name in self.fields else None
            self.add_error(field, forms.ValidationError(_message_with_row(error), code=error.code))
        return cleaned

    def _post_clean(self) -> None:
        """Put the values on the instance without validating the model: the service does that, with better messages."""
        self.instance = construct_instance(self, self.instance, self._meta.fields, self._meta.exclude)


class IdsFirst(Paginator):  # type: ignore[type-arg] # not subscriptable at run time
    """Finds the ids of a page first: the database skips the rows before it in an index, and joins none of them."""

    def page(self, number: Any) -> Any:
        """Return the page. Raises InvalidPage for a number that is none."""
        number = self.validate_number(number)
        first = (number - 1) * self.per_page
        rows: Any = self.object_list
        ids = list(rows.values_list("pk", flat=True)[first : first + self.per_page])
        return Page(rows.filter(pk__in=ids), number, self)


class _OrganizationScoped:
    """Show and accept only objects of the user's organization in the fields of a form."""

    # Whether the fields are in the rows of a table instead of once on the page.
    in_rows: ClassVar[bool] = False

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **options)  # type: ignore[misc]
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget = field.widget.widget  # without its pop-ups, for which the user may lack the entitlement
        return field

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        options.setdefault("form_class", RowChoice)
        options.setdefault("widget", DropDown(in_row=self.in_rows))
        options.setdefault("queryset", of_organization(db_field.remote_field.model, request))
        return super().formfield_for_foreignkey(db_field, request, **options)  # type: ignore[misc]

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        options.setdefault("queryset", of_organization(db_field.remote_field.model, request))
        options.setdefault("form_class", RowChoices)
        options.setdefault("widget", CheckBoxes(in_row=self.in_rows))
        field = super().formfield_for_manytomany(db_field, request, **options)  # type: ignore[misc]
        if field is not None:
            field.help_text = db_field.help_text
        return field


def of_organization(model: type[models.Model], request: HttpRequest) -> QuerySet[Any]:
    """Return the model's rows in the user's organization."""
    return model._default_manager.filter(organization_id=person(request).organization_id)  # noqa: SLF001


class SentRows(InlineFormSet):
    """A formset that builds only the rows that were sent, whatever number the request claims.

    Each row that is built costs a query and more, so a large claimed number would be an easy attack.
    """

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        if form.instance.pk is not None:
            for name, field in form.fields.items():
                if isinstance(field, RowChoice):
                    remember_label(field, getattr(form.instance, name, None))

    def total_form_count(self) -> int:
        return min(super().total_form_count(), self._sent) if self.is_bound else super().total_form_count()

    def initial_form_count(self) -> int:
        return min(super().initial_form_count(), self._sent) if self.is_bound else super().initial_form_count()

    @cached_property
    def _sent(self) -> int:
        """Return the number of rows up to the last one that was sent. Raises BadRequest if too many are missing."""
        start = f"{self.prefix}-"
        numbers = {name.removeprefix(start).partition("-")[0] for name in self.data if name.startswith(start)}
        indexes = {
            int(number)
            for number in numbers
            if number.isascii() and number.isdecimal() and len(number) < MAX_ROW_DIGITS
        }
        if indexes and max(indexes) > len(indexes) + MAX_LEFT_OUT:
            raise BadRequest("Rows of this form are missing. Load the page again.")
        return max(indexes, default=-1) + 1


class OrganizationInline(_OrganizationScoped, Inline):
    """Rows within a page; users who may change the page may change them."""

    formset = SentRows
    extra = 0
    in_rows = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows with the objects that they name, whose labels the page shows."""
        named = [field.name for field in self.opts.fields if field.is_relation and field.name in (self.fields or ())]
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.select_related(*named) if named else rows

    def get_formset(self, request: HttpRequest, obj: Any = None, **options: Any) -> Any:
        """Set an aria-label on every field for screen readers: rows have no labels, only headings of columns."""
        formset = super().get_formset(request, obj, **options)
        for field in formset.form.base_fields.values():
            field.widget.attrs.setdefault("aria-label", field.label)
        return formset

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._page.has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._page.has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._page.has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._page.has_change_permission(request, obj)

    @property
    def _page(self) -> Admin:
        return self.admin_site.get_model_admin(self.parent_model)


class OrganizationAdmin(_OrganizationScoped, Admin):
    """The pages for one kind of object of the user's own organization.

    A subclass sets the entitlements for viewing, changing and adding (any one of each tuple is enough), and calls its
    services in `save_through` and `delete_through`.
    """

    view_needs: ClassVar[tuple[Entitlement, ...]] = ()
    change_needs: ClassVar[tuple[Entitlement, ...]] = ()
    add_needs: ClassVar[tuple[Entitlement, ...] | None] = None
    organization_path: ClassVar[str] = "organization"
    singular: ClassVar[str]
    plural: ClassVar[str]
    # A new object's noun in the title of its page (default: `singular`), and the label of the button that saves it.
    added: ClassVar[str] = ""
    submit_label: ClassVar[str] = "Save"
    # Look-ups with which other pages link to the list, in addition to those of its filters.
    linked_lookups: ClassVar[tuple[str, ...]] = ()
    delete_label: ClassVar[str] = "Delete"
    # Whether a change can leave heartbeats without anybody to notify. If so, the user is asked to confirm it.
    warns: ClassVar[bool] = False

    form = ServiceForm
    actions = None
    paginator = IdsFirst
    list_per_page = 50
    list_max_show_all = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _holds(request, (*self.view_needs, *self.change_needs))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _holds(request, self.change_needs)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _holds(request, self.change_needs if self.add_needs is None else self.add_needs)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(**{self.organization_path: organization_of(request).pk})

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the object. Raises Http404 for one of another organization."""
        row = super().get_object(request, object_id, from_field)
        if row is None:
            raise Http404
        return row

    def save_through(
        self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime
    ) -> models.Model:
        """Call the service with the form's values; `stored` is the object as stored now, None for a new one."""
        raise NotImplementedError

    def around_saving(self, request: HttpRequest, object_id: str | None) -> AbstractContextManager[None]:
        """Return a context manager around the transaction that saves."""
        return nullcontext()

    def delete_through(self, request: HttpRequest, obj: Any, *, now: datetime) -> None:
        """Call the service that deletes."""
        raise NotImplementedError

    def delete_says(self, obj: Any) -> str:
        """Return the effects of a deletion as sentences, for the page that asks for confirmation."""
        return "This cannot be undone."

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        form = super().get_form(request, obj, change, **options)
        return type(form.__name__, (form,), {"request": request})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Do nothing: the service saves the object and the rows within its page together, in `save_related`."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        # The form has already put its values on its own instance; services compare with what is stored.
        stored = self.get_queryset(request).get(pk=form.instance.pk) if change else None
        with self._collect_warnings(request, [stored, *form.cleaned_data.values()]) as warnings:
            saved = self.save_through(request, form, formsets, stored=stored, now=instant(request))
        # Raises Unconfirmed, which rolls back the transaction of the whole request.
        confirm(warnings, confirmed=request.POST.get("confirmed", ""))
        self._show_warnings(request, warnings)
        form.instance.pk = saved.pk

    def _collect_warnings(
        self, request: HttpRequest, values: Iterable[object]
    ) -> AbstractContextManager[list[Consequence]]:
        rows = [value for value in values if self.warns and isinstance(value, models.Model)]
        return consequences(rows, actor=person(request), now=instant(request))

    def _show_warnings(self, request: HttpRequest, warnings: Iterable[Consequence]) -> None:
        for consequence in warnings:
            messages.warning(request, consequence.detail)

    def construct_change_message(
        self,
        request: HttpRequest,
        form: Any,
        formsets: Any,
        add: bool = False,
    ) -> Any:
        """Log the changed fields without the rows within the page, which the service saved and not their formset."""
        return super().construct_change_message(request, form, [], add)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show or save the form.

        If the service raises an error, everything is rolled back by then. A FieldError is shown in the same form: the
        view runs a second time, and `ServiceForm.clean` adds the error, so nothing is saved.
        """
        context = self._words() | (extra_context or {})
        saving = self.around_saving(request, object_id) if request.method == "POST" else nullcontext()
        try:
            with saving:
                return super().changeform_view(request, object_id, form_url, context)
        except FieldError as error:
            request.META[_SERVICE_ERROR] = error
            return super().changeform_view(request, object_id, form_url, context)
        except Unconfirmed as error:
            sent_fields: list[tuple[str, object]] = []
            for name, values in request.POST.lists():
                if name != "confirmed":
                    sent_fields += [(name, value) for value in values]
            context |= self.admin_site.each_context(request)
            context |= {"title": "Do you want this?", "sent_fields": sent_fields}
            context |= {"consequences": error.consequences, "seal": seal(error.consequences), "opts": self.opts}
            return render(request, "admin/consequences.html", context)
        except DomainError as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(request.path)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any) -> Any:
        original = context.get("original")
        context |= {
            "title": str(original) if original else f"Add {self.added or self.singular}",
            "subtitle": None,
            "show_save_and_continue": False,
            "show_save_and_add_another": False,
            "submit_label": "Save" if original else self.submit_label,
            "delete_label": self.delete_label,
            "audit_query": self._audit_query(request, original),
        }
        return super().render_change_form(request, context, *args, **options)

    def _audit_query(self, request: HttpRequest, original: models.Model | None) -> str:
        """Return the query of the page with the object's entries in the audit log; "" if there is none to show."""
        object_type = self.singular.lower().replace(" ", "_").removeprefix("inbound_")
        if original is None or object_type not in OBJECT_TYPES or not may(request.user, Entitlement.AUDIT_VIEW):
            return ""
        return urlencode({"object_type": object_type, "object_id": original.pk})

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Return nothing: `delete_says` describes the deletion, since a list of all rows might have millions."""
        return [], {}, set(), []

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with self._collect_warnings(request, [obj]) as warnings:
            self.delete_through(request, obj, now=instant(request))
        self._show_warnings(request, warnings)

    def _preview_deletion(self, request: HttpRequest, object_id: str) -> list[Consequence]:
        """Return the consequences of a deletion: delete the object, then roll back."""
        if not self.warns:
            return []
        try:
            # Tried alone first: most rows are in use, and who would be notified without them need not be computed.
            with transaction.atomic():
                self._delete(request, object_id)
                transaction.set_rollback(True)
            with transaction.atomic():
                row = self.get_object(request, object_id)
                with self._collect_warnings(request, [row]) as warnings:
                    self._delete(request, object_id)
                transaction.set_rollback(True)
        except DomainError:
            return []  # the deletion itself shows this error
        return warnings

    def _delete(self, request: HttpRequest, object_id: str) -> None:
        # A copy of the row, because a deletion sets the id of its object to None.
        self.delete_through(request, self.get_object(request, object_id), now=instant(request))

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        row = self.get_object(request, object_id)
        context = self._words() | {"delete_says": self.delete_says(row), "title": f"Delete {row}?"}
        if request.method != "POST" and self.has_delete_permission(request, row):
            context["consequences"] = self._preview_deletion(request, object_id)
        try:
            return super().delete_view(request, object_id, context | (extra_context or {}))
        except DomainError as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(self.page_of(row))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        self._check_query(request)
        return super().changelist_view(request, self._words() | {"title": self.plural} | (extra_context or {}))

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow only the look-ups of the page's own filters and links: others could read columns that no page shows."""
        return lookup in self._lookups()

    def _lookups(self) -> set[str]:
        filters = (getattr(entry, "parameter_name", f"{entry}__exact") for entry in self.list_filter)
        return {*filters, *self.linked_lookups}

    def _check_query(self, request: HttpRequest) -> None:
        """Raise BadRequest for parameters that the list's own form and links never send."""
        allowed = {SEARCH_VAR, ORDER_VAR, PAGE_VAR, ALL_VAR, ERROR_FLAG, *self._lookups()}
        for name, values in request.GET.lists():
            if name not in allowed:
                raise BadRequest(f"This list has no filter “{name[:MAX_QUOTED]}”.")
            if len(values) > 1:
                raise BadRequest(f"The address has “{name}” more than once.")
            if len(values[0]) > MAX_QUERY:
                raise BadRequest(f"Use at most {MAX_QUERY} characters for a search or a filter.")

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().history_view(request, object_id, self._words() | (extra_context or {}))

    def page_of(self, obj: models.Model) -> str:
        """Return the address of an object's page."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[obj.pk])

    def _words(self) -> dict[str, Any]:
        return {
            "singular": self.singular,
            "plural": self.plural,
            "section": self.admin_site.section_of(self.model),  # type: ignore[attr-defined] # our own site
        }


def _zone_help(more_help: str) -> str:
    return f"{timezone.get_current_timezone_name().replace('_', ' ')}, your time zone.{more_help}"


_lazy_zone_help = lazy(_zone_help, str)


def time_field(label: str, *, required: bool = True, more_help: str = "") -> forms.DateTimeField:
    """Return a form field for a date and time in the time zone of the user; its help text names the zone."""
    field = forms.DateTimeField(
        label=label,
        required=required,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format=_MINUTE),
        help_text=_lazy_zone_help(more_help),
        validators=[_in_this_century],
    )
    field.input_formats = [_MINUTE, f"{_MINUTE}:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"]
    return field


def _in_this_century(at: datetime) -> None:
    if not _EARLIEST <= at < _LATEST:
        raise forms.ValidationError("Enter a date between 2000 and 2099.")


def moment(field: str, label: str, *, empty: str = "never") -> Callable[[Any], str]:
    """Return a column for a list that shows a time in the time zone of the user, or `empty` if there is none."""

    @admin.display(description=label, ordering=field)
    def format_time(obj: Any) -> str:
        at = getattr(obj, field)
        return f"{timezone.localtime(at):%Y-%m-%d %H:%M}" if at else empty

    return format_time


def rows_of(formset: Any) -> Iterable[dict[str, Any]]:
    """Yield the values of each row that is filled in and not marked for deletion."""
    for form in formset.forms:
        row = dict(form.cleaned_data)
        if row and not row.pop("DELETE", False):
            yield {name: value for name, value in row.items() if name not in {"id", formset.fk.name}}


def _message_with_row(error: FieldError) -> str:
    """Return the message of an error, with the number of its row: the field `tiers/1/users` gives “Tier 2: …”."""
    rows, _, path = error.field.partition("/")
    index = path.partition("/")[0]
    return f"{rows.removesuffix('s').capitalize()} {int(index) + 1}: {error}" if index.isdecimal() else str(error)


def _holds(request: HttpRequest, needs: tuple[Entitlement, ...]) -> bool:
    return any(may(request.user, entitlement) for entitlement in needs)
