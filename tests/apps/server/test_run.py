"""uvicorn with clocks: slow loris, too many connections, SIGTERM in the middle."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from serving import Served, received, shown, two
from tiny_model import TEXT

LINES = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n"


def closed(link: socket.socket) -> bool:
    link.settimeout(5)
    try:
        return link.recv(1) == b""
    except ConnectionResetError:
        return True


def test_slow_heads_are_cut_off(serve) -> None:
    server = serve(body_timeout=0.4)
    links = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(20)]
    for link in links[:10]:
        link.sendall(LINES)
    for k in range(3):  # a byte now and then does not help
        time.sleep(0.1)
        for link in links[:10]:
            link.sendall(f"X-{k}: y\r\n".encode())
    assert server.send("GET", "/healthz")[0] == 200
    assert all(closed(link) for link in links)
    for link in links:
        link.close()


def test_a_slow_second_head_is_cut_off(serve) -> None:
    server = serve(body_timeout=0.4)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as link:
        link.sendall(LINES + b"\r\n")
        assert b"max_images" in received(link)
        link.sendall(LINES)
        assert closed(link)


def test_a_slow_reader_of_the_clock_is_not_cut_off(serve) -> None:
    """A connection that is kept alive between two requests may wait longer than a head may take."""
    server = serve(body_timeout=0.3)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as link:
        for _ in range(2):
            link.sendall(LINES + b"\r\n")
            assert b"max_images" in received(link)
            time.sleep(0.5)


def test_connections_are_bounded(serve) -> None:
    server = serve(connections=5)
    links = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(8)]
    assert sum(closed(link) for link in links[5:]) == 3
    for link in links:
        link.close()


def test_what_is_no_http_is_told_in_openais_form(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as link:
        link.sendall(b"NONSENSE\r\n\r\n")
        answer = received(link)
    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_http"


@pytest.fixture
def process(tiny_model_folder: Path, repository: Path):
    command = [sys.executable, "-m", "segue.cli", "serve", "--model", str(tiny_model_folder), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(repository / "src")}
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    yield running
    running.kill()
    running.communicate()


def test_sigterm_lets_requests_under_way_finish(process: subprocess.Popen) -> None:
    line = process.stderr.readline()
    while not (found := re.search(r"http://127\.0\.0\.1:[0-9]+/v1", line)):
        assert line, "the server ended"
        line = process.stderr.readline()
    client = openai.OpenAI(base_url=found[0], api_key="none", max_retries=0)
    name = client.models.list().data[0].id

    def ask(number: int) -> str:
        done = client.chat.completions.create(model=name, messages=[shown(*two())])
        return done.choices[0].message.content

    with ThreadPoolExecutor(8) as pool:
        streamed = client.chat.completions.create(model=name, messages=[shown(*two())], stream=True)
        first = next(streamed)
        asked = [pool.submit(ask, number) for number in range(8)]
        time.sleep(0.15)
        process.send_signal(signal.SIGTERM)
        text = "".join(c.choices[0].delta.content or "" for c in [first, *streamed])
        answers = [(done.exception(), None if done.exception() else done.result()) for done in asked]
    assert text == TEXT
    # A request that had not reached the server is refused a connection; none is cut off or wrong.
    assert all(answer == TEXT or isinstance(error, openai.APIConnectionError) for error, answer in answers)
    assert sum(answer == TEXT for _, answer in answers) >= 4
    assert process.wait(30) == 0
