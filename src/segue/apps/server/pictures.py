"""Pictures of a request: from data URLs, allowed hosts, or those seen before, decoded before any answer."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image

from segue.apps.server.errors import from_exception, refusal
from segue.apps.server.fetch import fetch
from segue.apps.server.inline import inline_bytes
from segue.apps.server.messages import PictureRef
from segue.apps.server.settings import Settings
from segue.errors import ImageError
from segue.images import content_hash, is_animated, load_image


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
        image: RGB.
        content: Its `content_hash`.
        uuid: "sha256:..." of its file, under which the server finds it again.
        notes: What its owner should know.
    """

    image: Image.Image = field(repr=False)
    content: str
    uuid: str
    notes: tuple[str, ...] = ()


class PictureStore:
    """Files of pictures that were sent, those asked for last first; threads may share it.

    Args:
        most_bytes: Of all files.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most, self._size = most_bytes, 0
        self._lock = threading.Lock()
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._names: OrderedDict[tuple[str, str], str] = OrderedDict()

    def put(self, data: bytes, caller: str, uuid: str | None = None) -> str:
        """Keep a file for a caller, by `uuid` where one is given; returns its name by content."""
        content = "sha256:" + hashlib.sha256(data).hexdigest()
        with self._lock:
            if content not in self._files:
                self._files[content] = data
                self._size += len(data)
            self._files.move_to_end(content)
            for name in {content, uuid or content}:
                self._names[caller, name] = content
                self._names.move_to_end((caller, name))
            while self._size > self._most:
                self._size -= len(self._files.popitem(last=False)[1])
            while len(self._names) > 4 * (len(self._files) + 256):
                self._names.popitem(last=False)
        return content

    def get(self, caller: str, uuid: str) -> bytes | None:
        """The file that this caller has sent under this name; names of others are not found."""
        with self._lock:
            content = self._names.get((caller, uuid))
            data = None if content is None else self._files.get(content)
            if content is not None and data is not None:
                self._files.move_to_end(content)
            return data


def files_of(
    refs: Sequence[PictureRef], caller: str, store: PictureStore, settings: Settings
) -> list[tuple[PictureRef, bytes]]:
    """Bytes of all pictures, none of them decoded yet.

    Raises:
        ApiError: One that cannot be had.
    """
    found = []
    for ref in refs:
        data = _file(ref, caller, store, settings)
        store.put(data, caller, ref.uuid)
        found.append((ref, data))
    return found


def decoded(data: bytes, where: str, settings: Settings, number: int) -> Picture:
    """Decode one picture; what the bytes are is told by the bytes, never by a label or a name.

    Args:
        data: Of its file.
        where: Field of the request.
        settings: `most_pixels`.
        number: Of the picture in the conversation, from 1, for notes.

    Raises:
        ApiError: It is no picture, damaged, or too large.
    """
    try:
        image = load_image(data, most_pixels=settings.most_pixels)
    except ImageError as error:
        error.where = where
        raise from_exception(error, where) from None
    notes = (f"image {number} is an animation: its first frame was read",) if is_animated(data) else ()
    return Picture(image, content_hash(image), "sha256:" + hashlib.sha256(data).hexdigest(), notes)


def _file(ref: PictureRef, caller: str, store: PictureStore, settings: Settings) -> bytes:
    address = ref.address
    if address is None:
        data = store.get(caller, ref.uuid or "")
        if data is None:
            raise refusal(
                "The server does not have this image.", ref.where, code="image_not_found",
                expected="the uuid of an image that was sent before, and not long ago", found=repr(ref.uuid),
                fix="send the image again, with its uuid beside it",
            )  # fmt: skip
        return data
    found = inline_bytes(address, ref.where)
    return fetch(address.strip(), settings, ref.where) if found is None else found
