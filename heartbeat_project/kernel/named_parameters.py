"""Views that refuse query parameters that they do not know."""

from typing import Any

from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.views import APIView

from heartbeat_project.kernel.api import MAX_SHOWN

MAX_UNKNOWN_PARAMETERS = 10  # that one error lists


class NamedParameters(APIView):
    """A view that refuses query parameters that it does not know: an ignored filter would return too much."""

    def query_parameters(self) -> set[str]:
        """Return the names of the query parameters that this request may have."""
        return set()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check the parameters once the user is known to have access. Raises ValidationError."""
        super().initial(request, *args, **kwargs)
        method = (request.method or "").lower()
        if method != "options" and not hasattr(self, method):
            return  # 405
        allowed = self.query_parameters()
        errors = {
            name[:MAX_SHOWN]: [ErrorDetail("There is no such parameter.", code="unknown_parameter")]
            for name in [name for name in request.query_params if name not in allowed][:MAX_UNKNOWN_PARAMETERS]
        }
        for name in allowed & request.query_params.keys():
            if len(request.query_params.getlist(name)) > 1:
                errors[name] = [ErrorDetail("Give this parameter once.", code="given_twice")]
        if errors:
            raise ValidationError(errors)
