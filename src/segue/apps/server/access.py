"""Who may ask, and how much: bearer tokens and their limits, ahead of every route."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segue.apps.server.errors import ApiError, refusal
from segue.apps.server.metrics import Metrics
from segue.apps.server.settings import Settings, TokenLimits
from segue.errors import InputError

_OPEN = ("/healthz", "/docs", "/openapi.json")
_ROUTES = (
    "/v1/chat/completions", "/v1/images/segmentations", "/v1/images/matches", "/v1/models", "/healthz",
    "/metrics", "/docs", "/openapi.json", "/predict", "/setup", "/webhook", "/health",
)  # fmt: skip


class Gate:
    """ASGI middleware: checks the token, counts the request, and takes a slash off the end of its path.

    Args:
        app: Behind it.
        settings: `tokens` and `anyone`.
        metrics: Counts every request.
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self._anyone = _Caller(settings.anyone)
        self._callers = {_digest(token): _Caller(limits) for token, limits in settings.tokens.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, status = time.monotonic(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        scope["path"] = scope["path"].rstrip("/") or "/"
        try:
            caller = self._caller(scope)
            scope.setdefault("state", {})["caller"] = caller.limits.name
            with caller.request(counts=scope["method"] == "POST"):
                await self._app(scope, receive, noted)
        except ApiError as error:
            await error.response()(scope, receive, noted)
        finally:
            path = scope["path"]
            route = next((r for r in _ROUTES if path == r or path.startswith(r + "/")), "other")
            self._metrics.request(route, status or 499, time.monotonic() - started)

    def _caller(self, scope: Scope) -> _Caller:
        if not self._callers or scope["path"] in _OPEN or scope["method"] == "OPTIONS":
            return self._anyone
        header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        scheme, _, token = header.strip().partition(" ")
        if scheme.lower() == "basic":
            # Programs that only know names and passwords: the token is the password.
            scheme, token = "bearer", _password(token)
        if scheme.lower() == "bearer":
            given = _digest(token.strip())
            # All are compared, whichever fits.
            found = [caller for known, caller in self._callers.items() if hmac.compare_digest(known, given)]
            if found:
                return found[0]
        raise refusal(
            "The token is wrong." if header else "A token is missing.", None, status=401,
            code="invalid_api_key", expected="Authorization: Bearer TOKEN, with a token of this server",
            fix="ask whoever runs the server for a token", headers={"WWW-Authenticate": "Bearer"},
        )  # fmt: skip


class _Caller:
    """Requests of one token: how many at once, and how many in the last minute."""

    def __init__(self, limits: TokenLimits) -> None:
        self.limits = limits
        self._at_once = 0
        # A bucket that fills evenly and holds a minute's worth.
        self._left = float(limits.per_minute or 0)
        self._seen = time.monotonic()

    def request(self, counts: bool) -> _Counted:
        """A request under way, as a context; only some count.

        Raises:
            ApiError: 429, when there are too many.
        """
        if counts:
            self._check_rate()
            if self.limits.at_once is not None and self._at_once >= self.limits.at_once:
                raise _too_many(f"{self.limits.at_once} requests at once", 1)
        return _Counted(self, int(counts))

    def _check_rate(self) -> None:
        most = self.limits.per_minute
        if most is None:
            return
        now = time.monotonic()
        self._left = min(float(most), self._left + (now - self._seen) * most / 60)
        self._seen = now
        if self._left < 1:
            raise _too_many(f"{most} requests a minute", int((1 - self._left) * 60 / most) + 1)
        self._left -= 1


class _Counted:
    def __init__(self, caller: _Caller, number: int) -> None:
        self._caller, self._number = caller, number

    def __enter__(self) -> None:
        self._caller._at_once += self._number

    def __exit__(self, *error: Any) -> None:
        self._caller._at_once -= self._number


def _too_many(limit: str, seconds: int) -> ApiError:
    return refusal(
        "Too many requests with this token.", None, status=429, code="rate_limit_exceeded",
        expected=f"at most {limit}", fix=f"send it again in {seconds} seconds",
        headers={"Retry-After": str(seconds)},
    )  # fmt: skip


def _password(encoded: str) -> str:
    """The password of `Basic` credentials; "" where they cannot be read."""
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")[2]
    except ValueError:
        return ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def read_tokens(path: Path) -> dict[str, TokenLimits]:
    """Read a file of tokens: one a line, with `name=`, `per_minute=` and `at_once=` behind it; `#` comments.

    Raises:
        InputError: It cannot be read, holds no token, or one twice, or a limit that is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(
            "The file of tokens cannot be read.", expected="a text file, a token a line", found=str(error),
            where=str(path), fix="check --tokens",
        ) from None  # fmt: skip
    found: dict[str, TokenLimits] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if words:
            token, *options = words
            if token in found:
                raise _bad_line(path, number, "the same token twice")
            found[token] = _limits(options, f"token-{len(found) + 1}", path, number)
    if not found:
        raise _bad_line(path, len(lines), "no token")
    return found


def _limits(options: list[str], name: str, path: Path, number: int) -> TokenLimits:
    values = dict(option.partition("=")[::2] for option in options)
    name = values.pop("name", name)
    if set(values) - {"per_minute", "at_once"} or not all(
        v.isdecimal() and int(v) > 0 for v in values.values()
    ):
        raise _bad_line(path, number, " ".join(options))
    counts = {key: int(value) for key, value in values.items()}
    return TokenLimits(name, counts.get("per_minute"), counts.get("at_once"))


def _bad_line(path: Path, number: int, found: str) -> InputError:
    return InputError(
        "A file of tokens has a line that cannot be used.",
        expected="TOKEN [name=NAME] [per_minute=N] [at_once=N]", found=found, where=f"{path}:{number}",
        fix="correct the line",
    )  # fmt: skip
