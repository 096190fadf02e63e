"""What every configuration page shares: entitlements, tenancy, saving through services, their errors at the field."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ERROR_FLAG
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.db import models, transaction
from django.db.models import QuerySet
from django.forms.models import construct_instance
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from accounts.entitlements import Entitlement
from accounts.models import Organization, User
from accounts.permissions import may
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.consequences import Consequence, Unconfirmed, confirm, consequences, seal
from heartbeat_project.kernel.errors import DomainError, FieldError

if TYPE_CHECKING:
    Admin = admin.ModelAdmin[Any]
    Inline = admin.TabularInline[Any, Any]
    AnyModelForm = forms.ModelForm[Any]
else:
    Admin, Inline, AnyModelForm = admin.ModelAdmin, admin.TabularInline, forms.ModelForm

# Where a request carries the error that a service raised, so that the form can show it at its field.
_REFUSED = "heartbeat.refused"
_NOW = "heartbeat.now"
_MINUTE = "%Y-%m-%dT%H:%M"
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def person(request: HttpRequest) -> User:
    """Return the user of a request that the admin site let in."""
    assert isinstance(request.user, User)  # noqa: S101 - for the type alone
    return request.user


def instant(request: HttpRequest) -> datetime:
    """Return the instant of the request, the same however often it is asked for."""
    now: datetime = request.META.setdefault(_NOW, clock.now())
    return now


def organization_of(request: HttpRequest) -> Organization:
    """Return the organization that the request may touch; there is no other."""
    return person(request).organization


class ServiceForm(AnyModelForm):
    """A form whose values go to a service; what the service refuses is shown at the field."""

    request: ClassVar[HttpRequest]
    # Where the service's name of a field is not the form's.
    shown_at: ClassVar[dict[str, str]] = {}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})

    def clean(self) -> dict[str, Any] | None:
        """Add the error with which the service answered the first try."""
        cleaned = super().clean()
        error = self.request.META.get(_REFUSED)
        if isinstance(error, FieldError):
            field = self.shown_at.get(error.field, error.field)
            said = forms.ValidationError(_placed(error), code=error.code)
            self.add_error(field if field in self.fields else None, said)
        return cleaned

    def _post_clean(self) -> None:
        """Put the values on the instance; what the model's constraints hold, the service says in words at the field."""
        self.instance = construct_instance(self, self.instance, self._meta.fields, self._meta.exclude)


class _Narrowed:
    """Offer and accept only objects of the user's organization."""

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **options)  # type: ignore[misc]
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget = field.widget.widget  # the pop-up windows behind it are not for every entitlement
        return field

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        options.setdefault("queryset", of_organization(db_field.remote_field.model, request))
        return super().formfield_for_foreignkey(db_field, request, **options)  # type: ignore[misc]

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        options.setdefault("queryset", of_organization(db_field.remote_field.model, request))
        options.setdefault("widget", CheckBoxes())
        field = super().formfield_for_manytomany(db_field, request, **options)  # type: ignore[misc]
        if field is not None:
            field.help_text = db_field.help_text
        return field


class CheckBoxes(forms.CheckboxSelectMultiple):
    """A box of check boxes that scrolls, and is narrowed by typing when it is long."""

    template_name = "parts/check_boxes.html"

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """Render with the project's templates, which the forms' own renderer does not know."""
        return render_to_string(self.template_name, self.get_context(name, value, attrs))


def of_organization(model: type[models.Model], request: HttpRequest) -> QuerySet[Any]:
    """Return the model's rows in the user's organization."""
    return model._default_manager.filter(organization_id=person(request).organization_id)  # noqa: SLF001


class OrganizationInline(_Narrowed, Inline):
    """Rows within a page; whoever may change the page may change them."""

    extra = 0

    def get_formset(self, request: HttpRequest, obj: Any = None, **options: Any) -> Any:
        """Name every field to who cannot see the column's heading above it."""
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


class OrganizationAdmin(_Narrowed, Admin):
    """The pages for one kind of object of the user's own organization.

    A subclass says who may look and who may change (any one of the entitlements), and how its service saves
    and deletes.
    """

    view_needs: ClassVar[tuple[Entitlement, ...]] = ()
    change_needs: ClassVar[tuple[Entitlement, ...]] = ()
    add_needs: ClassVar[tuple[Entitlement, ...] | None] = None
    organization_path: ClassVar[str] = "organization"
    singular: ClassVar[str]
    plural: ClassVar[str]
    submit_label: ClassVar[str] = "Save"
    # Whether a change can leave heartbeats without anybody to notify: then it is asked first.
    warns: ClassVar[bool] = False

    form = ServiceForm
    actions = None
    list_per_page = 50
    list_max_show_all = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    # -- who may ---------------------------------------------------------------------------------------------------
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

    # -- which objects ---------------------------------------------------------------------------------------------
    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(**{self.organization_path: organization_of(request).pk})

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the object; one of another organization does not exist."""
        found = super().get_object(request, object_id, from_field)
        if found is None:
            raise Http404
        return found

    # -- saving ----------------------------------------------------------------------------------------------------
    def save_through(
        self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime
    ) -> models.Model:
        """Call the service with what the form says; `stored` is the object as it is now, None for a new one."""
        raise NotImplementedError

    def delete_through(self, request: HttpRequest, obj: Any, *, now: datetime) -> None:
        """Call the service that deletes."""
        raise NotImplementedError

    def delete_says(self, obj: Any) -> str:
        """Return what a deletion does, for the page that asks for confirmation."""
        return "It cannot be brought back."

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        form = super().get_form(request, obj, change, **options)
        return type(form.__name__, (form,), {"request": request})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Wait for the rows within the page: the service saves them together."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        # The form has already put its values on its own instance; services compare with what is stored.
        stored = self.get_queryset(request).get(pk=form.instance.pk) if change else None
        with self._watching(request, [stored, *form.cleaned_data.values()]) as found:
            saved = self.save_through(request, form, formsets, stored=stored, now=instant(request))
        # The error takes the whole request's transaction back.
        confirm(found, confirmed=request.POST.get("confirmed", ""))
        self._warn(request, found)
        form.instance.pk = saved.pk

    def _watching(self, request: HttpRequest, things: Iterable[object]) -> AbstractContextManager[list[Consequence]]:
        concerned = [thing for thing in things if self.warns and isinstance(thing, models.Model)]
        return consequences(concerned, actor=person(request), now=instant(request))

    def _warn(self, request: HttpRequest, found: Iterable[Consequence]) -> None:
        for one in found:
            messages.warning(request, one.detail)

    def construct_change_message(
        self,
        request: HttpRequest,
        form: Any,
        formsets: Any,
        add: bool = False,
    ) -> Any:
        """Name the changed fields; the rows within the page were saved by the service, not by their formset."""
        return super().construct_change_message(request, form, [], add)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show or save; a refusal of the service rolled everything back, and is shown in the same form."""
        context = self._words() | (extra_context or {})
        try:
            return super().changeform_view(request, object_id, form_url, context)
        except FieldError as error:
            request.META[_REFUSED] = error
            return super().changeform_view(request, object_id, form_url, context)
        except Unconfirmed as asked:
            given = [(name, value) for name, values in request.POST.lists() for value in values if name != "confirmed"]
            context |= self.admin_site.each_context(request) | {"title": "Do you want this?", "given": given}
            context |= {"consequences": asked.found, "seal": seal(asked.found), "opts": self.opts}
            return render(request, "admin/consequences.html", context)
        except DomainError as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(request.path)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any) -> Any:
        found = context.get("original")
        context |= {
            "title": str(found) if found else f"Add {self.singular}",
            "subtitle": None,
            "show_save_and_continue": False,
            "show_save_and_add_another": False,
            "submit_label": self.submit_label,
        }
        return super().render_change_form(request, context, *args, **options)

    # -- deleting --------------------------------------------------------------------------------------------------
    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Say it in words instead of listing every row that goes: there may be millions."""
        return [], {}, set(), []

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with self._watching(request, [obj]) as found:
            self.delete_through(request, obj, now=instant(request))
        self._warn(request, found)

    def _foretold(self, request: HttpRequest, obj: Any) -> list[Consequence]:
        """Return what the deletion would bring, by deleting and taking it back."""
        if not self.warns:
            return []
        try:
            with transaction.atomic():
                with self._watching(request, [obj]) as found:
                    self.delete_through(request, obj, now=instant(request))
                transaction.set_rollback(True)
        except DomainError:
            return []  # the deletion itself says why it is refused
        return found

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        found = self.get_object(request, object_id)
        context = self._words() | {"delete_says": self.delete_says(found), "title": f"Delete {found}?"}
        if request.method != "POST" and self.has_delete_permission(request, found):
            # Of the row as it was read anew: a deletion takes the id from the object that it is given.
            context["consequences"] = self._foretold(request, self.get_object(request, object_id))
        try:
            return super().delete_view(request, object_id, context | (extra_context or {}))
        except DomainError as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(self.page_of(found))

    # -- words and ways --------------------------------------------------------------------------------------------
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        if any("\x00" in value for _, values in request.GET.lists() for value in values):
            # Django's filters hand it to PostgreSQL, which refuses it; this is how Django itself drops a wrong filter.
            return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")
        return super().changelist_view(request, self._words() | {"title": self.plural} | (extra_context or {}))

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


def time_field(label: str, *, required: bool = True, help_text: str = "In your own time zone.") -> forms.DateTimeField:
    """Return a field for an instant, entered in the reader's zone."""
    field = forms.DateTimeField(
        label=label,
        required=required,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format=_MINUTE),
        help_text=help_text,
        validators=[_in_this_century],
    )
    field.input_formats = [_MINUTE, f"{_MINUTE}:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"]
    return field


def _in_this_century(at: datetime) -> None:
    if not _EARLIEST <= at < _LATEST:
        raise forms.ValidationError("Enter a date between 2000 and 2099.")


def moment(field: str, label: str) -> Callable[[Any], str]:
    """Return a column of a list that shows a time in the reader's zone."""

    @admin.display(description=label, ordering=field)
    def shown(obj: Any) -> str:
        at = getattr(obj, field)
        return f"{timezone.localtime(at):%Y-%m-%d %H:%M}" if at else "never"

    return shown


def rows_of(formset: Any) -> Iterable[dict[str, Any]]:
    """Yield what stands in each row that is filled in and not ticked for deletion."""
    for form in formset.forms:
        row = dict(form.cleaned_data)
        if row and not row.pop("DELETE", False):
            yield {name: value for name, value in row.items() if name not in {"id", formset.fk.name}}


def _placed(error: FieldError) -> str:
    """Return the message; that of a row within the page, such as `tiers/1/users`, says which row it is."""
    rows, _, rest = error.field.partition("/")
    place = rest.partition("/")[0]
    return f"{rows.removesuffix('s').capitalize()} {int(place) + 1}: {error}" if place.isdecimal() else str(error)


def _holds(request: HttpRequest, needs: tuple[Entitlement, ...]) -> bool:
    return any(may(request.user, entitlement) for entitlement in needs)
