"""Pictures that clients send, well-meant and hostile."""

import base64
import io
import struct
import time
import zlib

import pytest
from PIL import Image

from segue.apps.server.errors import ApiError
from segue.apps.server.messages import PictureRef
from segue.apps.server.pictures import PictureStore, decoded, files_of
from segue.apps.server.settings import Settings
from serving import Served, data_url, file_of, shown, two
from tiny_model import picture

BASE64 = base64.b64encode(file_of(picture())).decode()


def bomb(side: int) -> bytes:
    """A one-bit PNG of a few kilobytes that unfolds to side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + b"\xff" * ((side + 7) // 8)) * side, 9)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def fetched(address: str) -> bytes:
    return files_of([PictureRef("here", address)], "me", PictureStore(1 << 20), Settings())[0][1]


@pytest.mark.parametrize(
    "address",
    [
        f"data:image/png;base64,{BASE64}",
        f"DATA:image/jpg;charset=utf-8;base64,{BASE64}",
        f"data:;base64,{BASE64.rstrip('=')}",
        "data:image/png;base64," + "\r\n".join(BASE64[i : i + 76] for i in range(0, len(BASE64), 76)),
        f"data:image/png;base64,{BASE64.replace('+', '-').replace('/', '_')}",
        f"data:image/png;base64,{BASE64.replace('+', '%2B').replace('/', '%2F')}",
        BASE64,
    ],
)
def test_spellings_of_base64(address: str) -> None:
    assert fetched(address) == file_of(picture())


@pytest.mark.parametrize(
    "address",
    ["file:///etc/passwd", "/etc/passwd", "../../x.png", "ftp://a/b.png", "data:image/png;base64,A", ""],
)
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(ApiError) as refused:
        fetched(address)
    assert (refused.value.status, refused.value.param) == (400, "here")


@pytest.mark.parametrize(
    "data",
    [
        bomb(20_000),
        bomb(8_000),
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        b"GIF89a<script>alert(1)</script>",
        b"%PDF-1.7 " + file_of(picture()),
        file_of(picture())[:100],
        b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run\n",
        b"",
    ],
    ids=["bomb", "large", "svg", "gif of a script", "pdf polyglot", "cut off", "postscript", "empty"],
)
def test_hostile_files_are_refused_quickly(data: bytes) -> None:
    started = time.monotonic()
    with pytest.raises(ApiError) as refused:
        decoded(data, "here", Settings(), 1)
    assert (refused.value.status, refused.value.code) == (400, "invalid_image")
    assert time.monotonic() - started < 5


def test_a_polyglot_is_only_the_picture_that_it_is() -> None:
    page = b"<script>alert(1)</script>PK\x03\x04"
    found = decoded(file_of(picture()) + page, "here", Settings(), 1)
    assert found.image.tobytes() == picture().tobytes()


def test_of_an_animation_the_first_frame_is_read_and_said() -> None:
    out = io.BytesIO()
    first, second = (Image.new("RGB", (9, 9), colour) for colour in ("red", "blue"))
    first.save(out, "GIF", save_all=True, append_images=[second])
    found = decoded(out.getvalue(), "here", Settings(), 3)
    assert found.image.getpixel((0, 0)) == (255, 0, 0)
    assert found.notes == ("image 3 is an animation: its first frame was read",)


def test_the_store_is_bounded_and_private() -> None:
    store = PictureStore(250)
    names = [store.put(bytes([k]) * 100, "me", f"n{k}") for k in range(3)]
    assert store.get("me", "n0") is None
    assert store.get("me", "n2") == store.get("me", names[2]) == bytes([2]) * 100
    assert store.get("you", "n2") is None
    assert store.get("you", names[2]) is None


def test_names_of_a_store_are_bounded() -> None:
    store = PictureStore(1000)
    for k in range(5000):
        store.put(b"same", "me", f"n{k}")
    assert len(store._names) < 1100


@pytest.mark.parametrize("data", [bomb(20_000), b"<svg/>"], ids=["bomb", "svg"])
def test_a_hostile_picture_costs_its_own_request_only(served: Served, data: bytes) -> None:
    address = "data:image/png;base64," + base64.b64encode(data).decode()
    bad = {"role": "user", "content": [{"type": "image_url", "image_url": address}, "What is there?"]}
    for stream in (False, True):
        status, headers, answer = served.chat(bad, stream=stream)
        assert (status, answer["error"]["code"]) == (400, "invalid_image")
        assert headers["content-type"] == "application/json"
    assert served.chat(shown(*two()))[0] == 200


def test_all_pictures_of_all_turns_are_decoded(served: Served) -> None:
    broken = data_url(picture())[:-200]
    turns = [
        {"role": "user", "content": [{"type": "image_url", "image_url": broken}, "What is there?"]},
        {"role": "assistant", "content": "A mug."},
        shown(picture(shade=200)),
    ]
    status, _, answer = served.chat(*turns, stream=True)
    assert (status, answer["error"]["param"]) == (400, "messages.0.content.0")


def test_pictures_without_room_are_refused_for_now(serve) -> None:
    server = serve(most_pixels_at_once=3000)
    status, headers, answer = server.chat(shown(*two()))
    assert (status, answer["error"]["code"]) == (429, "server_busy")
    assert int(headers["retry-after"]) >= 1
    assert server.engine.pixels == 0
    assert server.chat(shown(picture()))[0] == 200
