"""Base classes of the management API: tenancy, filters, ETags, and one reading of the clock per request."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property, partial
from typing import Any, ClassVar, Final

from django.db import transaction
from django.db.models import Model, QuerySet
from django.utils.crypto import salted_hmac
from django.utils.http import parse_etags
from rest_framework import mixins, status
from rest_framework.exceptions import APIException
from rest_framework.permissions import SAFE_METHODS
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from accounts.models.users import User
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.api import PAGED_BY, Filters, NameFilter, Strict
from heartbeat_project.kernel.consequences import Consequence, consequences
from heartbeat_project.kernel.errors import DomainError
from heartbeat_project.kernel.named_parameters import NamedParameters

_SALT: Final = "accounts.api.etag"
_ETAG_LENGTH: Final = 32  # of 64 hexadecimal digits
# The actions whose responses show one object.
_SHOWING: Final = frozenset({"create", "retrieve", "update", "partial_update"})


class PreconditionFailed(APIException):
    """If-Match names another state of the object than the present one."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_code = "precondition_failed"
    default_detail = (
        "This was changed after you read it, so nothing was done. Read it again, and send the new ETag as If-Match."
    )


class InOrganization(NamedParameters, GenericViewSet[Any]):
    """A resource whose objects belong to the user's organization; an object of another organization is a 404.

    `organization_path` is the look-up from the object to its organization. Put DRF's mixins before this class, or use
    OrganizationViewSet for all of them. Serializers find the time of the request in `context["now"]`.

    Each object has an ETag, which changes with the fields that people set and not with what happens by itself. A
    request with If-Match is done only if the object still has this ETag: see `guarded`.
    """

    organization_path: ClassVar[str] = "organization"
    # The query parameters of the list. Resources whose objects have no name set their own.
    filters: ClassVar[type[Filters]] = NameFilter
    # The query parameters that each action accepts. A list also accepts its filters and those of pagination.
    parameters: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # The columns on which the ETag depends, of resources that only actions change; of others, the writable fields.
    etag_columns: ClassVar[tuple[str, ...]] = ()
    # Actions that are not about an object in the URL, but return one, and call `guarded` before they change it.
    etag_actions: ClassVar[frozenset[str]] = frozenset()
    # Attributes of an object with rows that services lock before the object itself. The same order avoids deadlocks.
    locked_first: ClassVar[tuple[str, ...]] = ()
    # Actions whose requests have no fields.
    without_body: ClassVar[frozenset[str]] = frozenset()
    # At most 18 digits, which fit a bigint.
    lookup_value_regex = "[0-9]{1,18}"
    http_method_names = ["get", "post", "put", "patch", "delete", "head", "options"]

    _if_match: list[str] | None = None  # the ETags of the request; None: it has no such header
    _was_compared = False
    _serializer: Any = None  # the last one that the view used

    def query_parameters(self) -> set[str]:
        """Return the names that `filters` and `parameters` have for the action of this request."""
        names = set(self.parameters.get(self.action, ()))
        return names | {*PAGED_BY, *self.filters().fields} if self.action == "list" else names

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check access and parameters; let a change with If-Match run in one transaction with the comparison."""
        super().initial(request, *args, **kwargs)
        if not self.detail:
            self._check_body()
        method = (request.method or "").lower()
        if request.method not in SAFE_METHODS and "If-Match" in request.headers and hasattr(self, method):
            self._if_match = parse_etags(request.headers["If-Match"])
            setattr(self, method, partial(self._in_one_transaction, getattr(self, method)))

    def _in_one_transaction(
        self, handler: Callable[..., Response], request: Request, *args: Any, **kwargs: Any
    ) -> Response:
        """Call the handler, and roll back all that it did unless it compared the ETag.

        An error of the domain rolls back what its service has rolled back, and nothing else, as without If-Match: wrong
        codes and passwords are counted.
        """
        error: Exception | None = None
        with transaction.atomic():
            try:
                response = handler(request, *args, **kwargs)
            except (DomainError, APIException) as refusal:
                error = refusal
            else:
                if not self._was_compared:
                    raise PreconditionFailed
        if error is not None:
            raise error
        return response

    def get_object(self) -> Any:
        """Return the object in the URL, locked if the request has If-Match. Raises Http404, PreconditionFailed."""
        instance = self.guarded(super().get_object(), again=super().get_object)
        self._check_body()
        return instance

    def _check_body(self) -> None:
        """Raise ValidationError for a field in the body of an action that has none."""
        if self.action in self.without_body and self.request.method == "POST":
            Strict(data=self.request.data or {}).is_valid(raise_exception=True)

    def guarded(self, instance: Any, *, again: Callable[[], Any]) -> Any:
        """Return the object for a change; with If-Match as it is stored now, locked until the transaction ends.

        `again` reads the object once it is locked: of two requests with the same ETag the second waits for the first,
        and then sees what it changed. Raises PreconditionFailed.
        """
        if self._if_match is None or self._was_compared:
            return instance
        self.lock(instance)
        instance = again()
        # A proxy that compresses answers marks their ETags as weak (W/). These ETags mean the same then.
        if "*" not in self._if_match and self.etag_of(instance) not in [
            etag.removeprefix("W/") for etag in self._if_match
        ]:
            raise PreconditionFailed
        self._was_compared = True
        return instance

    def lock(self, instance: Any) -> None:
        """Lock the row of the object until the transaction ends, and before it the rows that services lock first."""
        for row in (*(getattr(instance, name) for name in self.locked_first), instance):
            type(row)._base_manager.select_for_update(no_key=True).filter(pk=row.pk).first()  # noqa: SLF001

    def etag_of(self, instance: Any) -> str:
        """Return the ETag of the object as it is in memory: a keyed hash, because the fields may hold secrets."""
        if self.etag_columns:
            values: Any = [getattr(instance, column) for column in self.etag_columns]
        else:
            serializer: Any = self.serializer_class_of(instance)(instance, context=self.get_serializer_context())
            # Other serializers have no fields that can be set.
            values = serializer.writable_values(instance) if isinstance(serializer, Strict) else {}
        content = JSONRenderer().render([instance.pk, values])
        return f'"{salted_hmac(_SALT, content, algorithm="sha256").hexdigest()[:_ETAG_LENGTH]}"'

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        """Return a serializer, and remember it: its object is the one that the response shows."""
        kwargs.setdefault("context", self.get_serializer_context())
        serializer_class = self.serializer_class_of(args[0] if args else None, kwargs.get("data"))
        self._serializer = serializer_class(*args, **kwargs)
        return self._serializer

    def serializer_class_of(self, instance: Any, data: Any = None) -> type[Any]:  # noqa: ARG002 - for subclasses
        """Return the serializer class for an object or a list of them, or for the request that creates one."""
        serializer_class: type[Any] = self.get_serializer_class()
        return serializer_class

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Add the ETag of the object that the response shows."""
        response = super().finalize_response(request, response, *args, **kwargs)
        instance = getattr(self._serializer, "instance", None)
        if isinstance(instance, Model) and status.is_success(response.status_code) and self.shows_etag():
            response["ETag"] = self.etag_of(instance)
        return response

    def shows_etag(self) -> bool:
        """Answer whether the responses of the action show an object with its ETag."""
        return self.action in _SHOWING or self.action in self.etag_actions

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows that pass the filters of the list; other actions have none. Raises ValidationError."""
        queryset = super().filter_queryset(queryset)
        if self.action != "list":
            return queryset
        # As a plain dictionary: in an HTML form, which DRF takes a query string for, a missing boolean is false.
        filters = self.filters(data=self.request.query_params.dict(), context=self.get_serializer_context())
        filters.is_valid(raise_exception=True)
        return filters.narrow(queryset)

    @cached_property
    def now(self) -> datetime:
        """Return the time of this request; all calls for one request return the same."""
        return clock.now()

    @property
    def is_schema_generation(self) -> bool:
        """Whether drf-spectacular only inspects the view to write the OpenAPI document; there is no user then."""
        return bool(getattr(self, "swagger_fake_view", False))

    @property
    def user(self) -> User:
        """Return the user who sends the request; the permissions have refused anonymous requests."""
        assert isinstance(self.request.user, User)  # noqa: S101 - for the type
        return self.request.user

    def get_queryset(self) -> QuerySet[Any]:
        """Return the objects of the user's organization."""
        queryset = super().get_queryset()
        if self.is_schema_generation:
            return queryset.none()
        return queryset.filter(**{f"{self.organization_path}_id": self.user.organization_id})

    def get_serializer_context(self) -> dict[str, Any]:
        """Add `now`, the time of the request."""
        return {**super().get_serializer_context(), "now": self.now}


class OrganizationViewSet(
    mixins.CreateModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    mixins.ListModelMixin,
    InOrganization,
):
    """Create, read, change, delete and list objects of the user's organization.

    Override `perform_create`, `perform_update` and `perform_destroy` to call the service, and set
    `serializer.instance` to the object that it returned.
    """


class WarningViewSet(OrganizationViewSet):
    """A resource whose changes can leave heartbeats without anybody to notify; its responses list them in `warnings`.

    A deletion with warnings responds 200 with them, otherwise 204.
    """

    warns: ClassVar[bool] = True

    def at_stake(self, serializer: Any) -> list[Any]:
        """Return the rows that a change concerns: the changed row, and those that the new values refer to."""
        values: list[Any] = [] if serializer.instance is None else [serializer.instance]
        for value in serializer.validated_data.values():
            values += value if isinstance(value, list) else [value]
        return [value for value in values if isinstance(value, Model)]

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # noqa: ARG002 - DRF's signature
        """Create through `perform_create`."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        with consequences(self.at_stake(serializer), actor=self.user, now=self.now) as warnings:
            self.perform_create(serializer)
        return Response({**serializer.data, **warnings_of(warnings)}, status=status.HTTP_201_CREATED)

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # noqa: ARG002 - DRF's signature
        """Change through `perform_update`."""
        instance = self.get_object()
        serializer = self.get_serializer(instance, data=request.data, partial=kwargs.pop("partial", False))
        serializer.is_valid(raise_exception=True)
        with consequences(self.at_stake(serializer), actor=self.user, now=self.now) as warnings:
            self.perform_update(serializer)
        if getattr(instance, "_prefetched_objects_cache", None):
            instance._prefetched_objects_cache = {}  # noqa: SLF001 - as DRF does
        return Response({**serializer.data, **warnings_of(warnings)})

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # noqa: ARG002 - DRF's signature
        """Delete through `perform_destroy`."""
        instance = self.get_object()
        with consequences([instance], actor=self.user, now=self.now) as warnings:
            self.perform_destroy(instance)
        return answer_of(warnings)


def warnings_of(warnings: list[Consequence]) -> dict[str, Any]:
    """Return the field `warnings` of a response: code and detail of each consequence."""
    return {"warnings": [{"code": consequence.code, "detail": consequence.detail} for consequence in warnings]}


def answer_of(warnings: list[Consequence]) -> Response:
    """Return the response to a change that has no other content: 200 with the warnings, or 204 without any."""
    return Response(warnings_of(warnings)) if warnings else Response(status=status.HTTP_204_NO_CONTENT)
