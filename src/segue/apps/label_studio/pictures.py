"""Files of a task's pictures: within it, in Label Studio itself, in a folder, or at allowed hosts."""

from __future__ import annotations

import base64
import json
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit
from urllib.request import Request, urlopen

from segue.apps.server.errors import ApiError, refusal
from segue.apps.server.fetch import fetch
from segue.apps.server.messages import PictureRef
from segue.apps.server.pictures import PictureStore, files_of
from segue.apps.server.settings import Settings
from segue.errors import InputError

_LOCAL_FILES = "/data/local-files/"
_RENEWED = 240.0
"""Seconds that an access token is used; Label Studio's last for 300."""


@dataclass(frozen=True)
class LabelStudio:
    """The Label Studio whose tasks are answered.

    Attributes:
        url: Its address; "" where tasks bring their pictures or name other hosts.
        token: Of a user who may read the project; a legacy token, or a personal access token.
        local_files: The folder that Label Studio serves as local files (its
            `LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT`), where this machine has it.
    """

    url: str = ""
    token: str = ""
    local_files: Path | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if self.url and not (parts.scheme in ("http", "https") and parts.hostname):
            raise InputError(
                "The address of Label Studio cannot be used.",
                expected="http://localhost:8080",
                found=self.url,
                where="--url",
                fix="give the address that a browser shows, without a page",
            )


class TaskPictures:
    """Gets pictures; its methods may be called from any thread.

    Args:
        label_studio: Where relative addresses lead.
        settings: Limits, and hosts that are allowed beside it.
    """

    def __init__(self, label_studio: LabelStudio, settings: Settings) -> None:
        self._studio, self._settings = label_studio, settings
        self._store = PictureStore(0)
        self._lock = threading.Lock()
        self._access = ("", 0.0)

    def file(self, address: Any, where: str) -> bytes:
        """The bytes of a picture.

        Args:
            address: As the task's data have it.
            where: Field of the request.

        Raises:
            ApiError: It is no address, not allowed, or nothing is there.
        """
        if not isinstance(address, str) or not address.strip():
            raise refusal(
                "A task has no picture where the configuration says.", where, code="invalid_value",
                expected="the address of a picture", found=repr(address)[:200], fix="mend the task's data",
            )  # fmt: skip
        address = address.strip()
        local = self._local(address)
        if local is not None:
            return self._read(local, where)
        if address.startswith("/") or self._is_own(address):
            return self._from_label_studio(address, where)
        ref = PictureRef(where, address)
        return files_of([ref], "label-studio", self._store, self._settings)[0][1]

    def _local(self, address: str) -> str | None:
        parts = urlsplit(address)
        if self._studio.local_files is None or not (
            parts.path == _LOCAL_FILES and (not parts.netloc or self._is_own(address))
        ):
            return None
        return parse_qs(parts.query).get("d", [""])[0]

    def _read(self, name: str, where: str) -> bytes:
        root = Path(self._studio.local_files or ".").resolve()
        try:
            path = (root / name.lstrip("/")).resolve()
            # A name such as ../../secret, or a link to somewhere else.
            if not path.is_relative_to(root) or not path.is_file():
                raise FileNotFoundError("nothing below the folder of local files")
            if path.stat().st_size > self._settings.most_image:
                raise OSError(f"more than {self._settings.most_image:,} bytes")
            return path.read_bytes()
        except (OSError, ValueError) as error:
            raise refusal(
                "A local file cannot be read.", where, code="image_not_fetched",
                expected="a picture below --local-files", found=f"{name!r:.150}: {error}"[:300],
                fix="check that --local-files is the folder that Label Studio serves",
            ) from None  # fmt: skip

    def _is_own(self, address: str) -> bool:
        return bool(self._studio.url) and _origin(address) == _origin(self._studio.url)

    def _from_label_studio(self, address: str, where: str) -> bytes:
        if not self._studio.url:
            raise refusal(
                "The picture lies in Label Studio, whose address is not known here.", where,
                code="image_not_fetched", expected="segue label-studio --url ADDRESS, with a token in "
                "LABEL_STUDIO_API_KEY", found=address[:200], fix="start the backend with --url",
            )  # fmt: skip
        whole = urljoin(self._studio.url.rstrip("/") + "/", address)
        host, port = _origin(self._studio.url)[1:]
        # Whoever started the backend named this host: it may be an internal one, and it alone gets the token.
        trusted = replace(self._settings, allowed_hosts=(f"{host}:{port}",), internal_hosts=True)
        return fetch(whole, trusted, where, self._authorization())

    def _authorization(self) -> dict[str, str]:
        token = self._studio.token
        if not token:
            return {}
        if not _is_refresh_token(token):
            return {"Authorization": f"Token {token}"}
        with self._lock:
            access, ends = self._access
            if time.monotonic() >= ends:
                access = self._renewed(token)
                self._access = (access, time.monotonic() + _RENEWED)
        return {"Authorization": f"Bearer {access}"}

    def _renewed(self, token: str) -> str:
        """An access token for a personal access token, which only buys such ones."""
        address = urljoin(self._studio.url.rstrip("/") + "/", "api/token/refresh")
        body = json.dumps({"refresh": token}).encode()
        request = Request(address, body, {"Content-Type": "application/json"})
        try:
            with urlopen(request, timeout=self._settings.fetch_timeout) as answer:
                return str(json.load(answer)["access"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _refused(f"{type(error).__name__}: {error}"[:200]) from None


def _refused(found: str) -> ApiError:
    return refusal(
        "Label Studio does not take the token.", None, status=502, code="token_refused",
        expected="an access token from api/token/refresh", found=found,
        fix="check LABEL_STUDIO_API_KEY and --url",
    )  # fmt: skip


def _origin(address: str) -> tuple[str, str, int]:
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        port = -1
    return parts.scheme, parts.hostname or "", port or (443 if parts.scheme == "https" else 80)


def _is_refresh_token(token: str) -> bool:
    """Whether a token is a JWT, as personal access tokens are; legacy ones are forty hexadecimal digits."""
    head = token.split(".")[0]
    try:
        return "alg" in json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except ValueError:
        return False
