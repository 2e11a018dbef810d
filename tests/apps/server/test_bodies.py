"""Bodies: packed, chunked, huge, slow, and not JSON."""

import gzip
import json
import socket
import time
import zlib

import pytest

from segue.apps.server.bodies import read_json
from segue.apps.server.errors import ApiError
from serving import Served, received, shown, two

PATH = "/v1/chat/completions"


def body() -> bytes:
    return json.dumps({"messages": [shown(*two())]}).encode()


def text(answer: dict) -> str:
    return answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("packed", "headers"),
    [
        (gzip.compress, {"Content-Encoding": "gzip"}),
        (zlib.compress, {"Content-Encoding": "deflate"}),
        (lambda data: b"\xef\xbb\xbf" + data, {}),
        (lambda data: data.decode().encode("utf-16"), {}),
        (bytes, {"Content-Type": "text/plain"}),
    ],
)
def test_bodies_are_read_in_any_honest_form(served: Served, packed, headers) -> None:
    plain = served.send("POST", PATH, body())[2]
    status, _, answer = served.send("POST", PATH, packed(body()), headers)
    assert (status, text(answer)) == (200, text(plain))


def test_a_packed_bomb_is_not_unpacked(serve) -> None:
    server = serve(most_body=1 << 20)
    started = time.monotonic()
    status, _, answer = server.send(
        "POST", PATH, gzip.compress(b"0" * (200 << 20)), {"Content-Encoding": "gzip"}
    )
    assert (status, answer["error"]["code"]) == (413, "request_too_large")
    assert time.monotonic() - started < 5
    status, _, answer = server.send("POST", PATH, gzip.compress(body())[:-20], {"Content-Encoding": "gzip"})
    assert (status, answer["error"]["code"]) == (400, "invalid_encoding")
    assert server.send("POST", PATH, b"x", {"Content-Encoding": "br"})[0] == 415


def test_a_body_of_200_mb_is_refused_and_never_held(served: Served) -> None:
    piece, pieces = b"x" * (1 << 20), 200
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as link:
        link.sendall(f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: {pieces << 20}\r\n\r\n".encode())
        for _ in range(pieces):
            link.sendall(piece)
        answer = received(link)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"request_too_large" in answer
    assert served.app.state.service.bodies._held == 0


def test_chunks_without_a_length_are_counted(serve) -> None:
    server = serve(most_body=100_000)
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as link:
        link.sendall(f"POST {PATH} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(3):
            link.sendall(b"c350\r\n" + b"x" * 50_000 + b"\r\n")
        link.sendall(b"0\r\n\r\n")
        answer = received(link)
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_slow_body_is_given_up(serve) -> None:
    server = serve(body_timeout=0.3)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as link:
        link.sendall(f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n".encode())
        link.sendall(b"{")
        assert link.recv(1 << 16).startswith(b"HTTP/1.1 408")
    assert server.chat(shown(*two()))[0] == 200


def test_all_bodies_share_a_budget(serve) -> None:
    server = serve(most_bodies=100)
    status, headers, answer = server.send("POST", PATH, body())
    assert (status, answer["error"]["code"]) == (429, "server_busy")
    assert headers["retry-after"]


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b'{"a": NaN}', b"[" * 100_000, b"\xff\xfe", b'{"a": ' + b"9" * 5000 + b"}"],
)
def test_what_is_no_json_object_is_told(data: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        read_json(data)
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")
