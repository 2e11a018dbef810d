"""Fetching: allowed hosts only, no redirects, no internal addresses, bounds of size and time."""

import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from segue.apps.server.errors import ApiError
from segue.apps.server.fetch import fetch, is_public
from segue.apps.server.settings import Settings
from serving import Served, file_of
from tiny_model import picture

PRIVATE = str(ipaddress.ip_address(0x0A000008))  # no address of one machine stands in a file


class Pictures(BaseHTTPRequestHandler):
    """A host that gives a picture, sends elsewhere, never ends, or drips."""

    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        try:
            if self.path == "/endless":
                for _ in range(10_000):
                    self.wfile.write(b"x" * 10_000)
            elif self.path == "/drip":
                for _ in range(100):
                    self.wfile.write(b"x")
                    time.sleep(0.05)
            else:
                self.wfile.write(file_of(picture()))
        except OSError:
            pass  # cut off, as the test means it to be

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[str]:
    Pictures.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def refusal(address: str, **settings: object) -> ApiError:
    with pytest.raises(ApiError) as refused:
        fetch(address, Settings(**settings), "here")
    assert refused.value.status == 400
    assert refused.value.param == "here"
    return refused.value


def test_an_allowed_host_is_fetched(host: str) -> None:
    settings = Settings(allowed_hosts=(host,), internal_hosts=True)
    assert fetch(f"http://{host}/a.png?x=1", settings, "here") == file_of(picture())
    assert Pictures.asked == ["/a.png?x=1"]


@pytest.mark.parametrize(
    "address",
    [
        "http://{host}/a.png",
        "http://allowed.example@{host}/a.png",
        "http://{host}/a.png#@allowed.example",
        "http://allowed.example:9/a.png",
        "http://[::1]/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://localhost/",
        "http:///a.png",
        "http://[broken/",
        "gopher://allowed.example/",
    ],
)
def test_other_hosts_are_never_asked(host: str, address: str) -> None:
    refusal(address.format(host=host), allowed_hosts=("allowed.example",), internal_hosts=True)
    assert Pictures.asked == []


def test_no_host_is_allowed_by_default(host: str) -> None:
    assert refusal(f"http://{host}/a.png").code == "host_not_allowed"
    assert Pictures.asked == []


def test_a_redirect_is_not_followed(host: str) -> None:
    error = refusal(f"http://{host}/away", allowed_hosts=(host,), internal_hosts=True)
    assert "redirect" in error.error.found
    assert Pictures.asked == ["/away"]


@pytest.mark.parametrize("number", ["127.0.0.1", PRIVATE, "169.254.169.254", "::1", "fd00::1", "0.0.0.0"])
def test_a_name_of_an_internal_address_is_refused(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (n, 80)) for n in ("93.184.215.14", number)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: answers)
    monkeypatch.setattr(socket, "create_connection", lambda *args: pytest.fail("a connection was made"))
    assert (
        refusal("http://pictures.example/a.png", allowed_hosts=("pictures.example",)).code
        == "host_not_allowed"
    )


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up, connected = [], []

    def look(*args: object, **options: object) -> list[object]:
        looked_up.append(args[0])
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 80))]

    def connect(address: tuple[str, int], *args: object) -> None:
        connected.append(address)
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", look)
    monkeypatch.setattr(socket, "create_connection", connect)
    refusal("http://pictures.example/a.png", allowed_hosts=("pictures.example",))
    assert looked_up == ["pictures.example"]
    assert connected == [("93.184.215.14", 80)]


def test_size_and_time_are_bounded(host: str) -> None:
    allowed = {"allowed_hosts": (host,), "internal_hosts": True}
    assert "more than" in refusal(f"http://{host}/endless", most_image=100_000, **allowed).error.found
    started = time.monotonic()
    refusal(f"http://{host}/drip", fetch_timeout=0.4, **allowed)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("number", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        (f"::ffff:{PRIVATE}", False),
        ("2002:7f00:1::", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("fe80::1%eth0", False),
    ],
)
def test_public_addresses(number: str, public: bool) -> None:
    assert is_public(number) is public


def test_hostile_addresses_through_the_server(served: Served) -> None:
    for address in ("file:///etc/passwd", "http://169.254.169.254/latest/meta-data/", "http://localhost:22/"):
        part = {"type": "image_url", "image_url": {"url": address}}
        status, _, answer = served.chat({"role": "user", "content": [part, "What is there?"]})
        assert status == 400
        assert answer["error"]["param"] == "messages.0.content.0"
