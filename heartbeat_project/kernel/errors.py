"""Errors that every interface can show to a user."""


class DomainError(Exception):
    """A rule of the domain refused the request.

    `code` is stable and machine-readable, `title` names the kind of problem, `status` is the matching HTTP status.
    The message says what is wrong and what to do about it.
    """

    code = "refused"
    title = "The request was refused"
    status = 409


class FieldError(DomainError):
    """A rule refused the value of one field; nothing was saved."""

    code = "invalid"
    title = "The input is not valid"
    status = 400

    def __init__(self, field: str, message: str, *, code: str = "invalid") -> None:
        super().__init__(message)
        self.field = field
        self.code = code


class Forbidden(DomainError):
    """The user lacks the entitlement that this action needs."""

    code = "forbidden"
    title = "Not permitted"
    status = 403


class NotNow(DomainError):
    """The request cannot be served now; `retry_after` is the number of seconds to wait before the next try."""

    code = "busy"
    title = "Try again in a moment"
    status = 503

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooManyTries(NotNow):
    """Somebody tried too often."""

    code = "too_many_tries"
    title = "Too many tries"
    status = 429
