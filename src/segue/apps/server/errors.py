"""Errors in OpenAI's form, with expected / found / do this inside."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from segue.errors import ContextError, ImageError, InputError, SegueError

WRONG_REQUEST = 400


class ApiError(Exception):
    """A request that is answered with an error.

    Args:
        error: What is wrong, in words.
        status: HTTP status.
        param: Field of the request; None where it is none.
        code: Stable name of the cause, for programs.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        error: SegueError,
        status: int = WRONG_REQUEST,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(str(error))
        self.error, self.status, self.param, self.code = error, status, param, code
        self.headers = headers or {}

    @property
    def kind(self) -> str:
        """OpenAI's name for errors of this status."""
        if self.status >= 500:
            return "server_error"
        named = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
        return named.get(self.status, "rate_limit_error" if self.status == 429 else "invalid_request_error")

    def body(self) -> dict[str, Any]:
        """`{"error": {message, type, param, code, segue}}`."""
        error = self.error
        parts = {"expected": error.expected, "found": error.found, "where": error.where, "fix": error.fix}
        return {
            "error": {
                "message": str(error),
                "type": self.kind,
                "param": self.param,
                "code": self.code,
                "segue": {"summary": error.summary} | {k: v[:400] for k, v in parts.items() if v},
            }
        }

    def response(self) -> Response:
        """The answer to the request."""
        return json_response(self.body(), self.status, self.headers)


def refusal(
    summary: str,
    param: str | None,
    *,
    status: int = WRONG_REQUEST,
    code: str | None = None,
    headers: dict[str, str] | None = None,
    **fields: str,
) -> ApiError:
    """An error about a field of the request.

    Args:
        summary: What is wrong, a sentence.
        param: The field.
        status, code, headers: See `ApiError`.
        **fields: `expected`, `found`, `fix` of the `SegueError`.
    """
    error = InputError(summary, where=param or "", **fields)
    return ApiError(error, status, param=param, code=code, headers=headers)


def from_exception(error: BaseException, param: str | None = None) -> ApiError:
    """The answer to whatever went wrong while a request was worked on.

    Args:
        error: A user's mistake becomes 400; of anything else only that it happened is told.
        param: Field of the request that the mistake is in.
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ContextError):
        return ApiError(error, param=param or "messages", code="context_length_exceeded")
    if isinstance(error, ImageError):
        return ApiError(error, param=param or "messages", code="invalid_image")
    if isinstance(error, InputError):
        return ApiError(error, param=param or "messages", code="invalid_value")
    if isinstance(error, SegueError):
        return ApiError(error, 500, code="model_error")
    told = SegueError(
        "The server could not answer this request.",
        found=type(error).__name__,
        fix="try again; if it comes back, the server's log has the details",
    )
    return ApiError(told, 500, code="internal_error")


def dumps(value: Any) -> str:
    """JSON of ASCII characters: lone surrogates of a user's text cannot break it, nor end a stream's line."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer that no browser takes for a page."""
    safe = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} | (headers or {})
    return Response(dumps(value), status, safe, "application/json")
