"""Columns that several apps use."""

from django.db import models


class MinutesColumn(models.DecimalField):  # type: ignore[type-arg] # it takes none at run time
    """A duration in minutes with one decimal place (0.1 is six seconds)."""

    def __init__(self, **options: object) -> None:
        super().__init__(**{"max_digits": 6, "decimal_places": 1, "default": 0, **options})  # type: ignore[arg-type]
