"""Base of all records: strict, frozen, no unknown fields, and errors that say where and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from segue.errors import RecordError, SegueError


class StrictRecord(BaseModel):
    """A frozen pydantic model whose wrong values raise RecordError instead of pydantic's own error."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    optional_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that the JSON form leaves out while they are empty, unless they were given."""

    if not TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None:
            try:
                super().__init__(**data)
            except ValidationError as error:
                raise explain(error, type(self).__name__) from None

        # Tells pydantic that nested records are to be validated in one go, not through this __init__.
        __init__.__pydantic_base_init__ = True

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, in the order and with the names of the schema; `image` counts from 1."""
        written: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            given = name in self.model_fields_set and value is not None
            if name in self.optional_fields and not value and not given:
                continue
            if name == "image_index":
                written["image"] = value + 1
            else:
                written[name] = _plain(value)
        return written


def _plain(value: Any) -> Any:
    """Copy records, lists and mappings into plain JSON values."""
    if isinstance(value, StrictRecord):
        return value.to_json()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def explain(error: ValidationError, name: str) -> RecordError:
    """Turn the first finding of pydantic into a RecordError; one of our own keeps its fields."""
    first = error.errors(include_url=False)[0]
    # pydantic names the member of a union that it tried, such as "bbox.2.int": no part of the file.
    place = ".".join(str(part) for part in first["loc"] if part not in ("int", "float"))
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, SegueError):
        return RecordError(
            cause.summary,
            expected=cause.expected,
            found=cause.found,
            where=", ".join(part for part in (place, cause.where) if part),
            fix=cause.fix,
        )
    kind = first["type"]
    summary, expected, found = "A field has a wrong value.", first["msg"], shown(first["input"])
    expected = expected.removeprefix("Value error, ").removeprefix("Input should be ")
    if kind == "missing":
        summary, expected, found = "A field is missing.", f"the field {first['loc'][-1]!r}", "nothing"
    elif kind in ("extra_forbidden", "unexpected_keyword_argument"):
        summary, expected, found = "Unknown field.", "fields of gconv/1 only", repr(first["loc"][-1])
    return RecordError(
        summary, expected=expected, found=found, where=f"{place} of {name}", fix="correct this field"
    )


def shown(value: Any) -> str:
    """Show a value in an error: its start, and its type where the text alone would not tell."""
    text = repr(value)
    return (
        f"{text[:77]}... ({type(value).__name__})" if len(text) > 80 else f"{text} ({type(value).__name__})"
    )
