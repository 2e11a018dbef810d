"""Tokens and their limits, CORS, and addresses that are not there."""

from pathlib import Path

import pytest

from segue.apps.server.access import read_tokens
from segue.apps.server.settings import TokenLimits
from segue.errors import InputError
from serving import Served, shown, two

TOKENS = {"secret": TokenLimits("ann"), "slow": TokenLimits("bob", per_minute=2)}


def bearer(token: str, scheme: str = "Bearer") -> dict[str, str]:
    return {"Authorization": f"{scheme} {token}"}


def test_a_token_is_asked_for(serve) -> None:
    server = serve(tokens=TOKENS)
    assert server.send("GET", "/v1/models", headers=bearer("secret"))[0] == 200
    assert server.send("GET", "/v1/models", headers=bearer("secret", "bearer"))[0] == 200
    for headers in ({}, bearer("wrong"), bearer("secret", "Basic"), {"Authorization": "Bearer"}):
        status, found, answer = server.send("GET", "/v1/models", headers=headers)
        assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
        assert found["www-authenticate"] == "Bearer"
    assert server.send("GET", "/metrics")[0] == 401
    assert server.send("GET", "/healthz")[0] == 200


def test_a_tokens_requests_are_counted_alone(serve) -> None:
    server = serve(tokens=TOKENS)
    body = {"messages": [shown(*two())]}
    path = "/v1/chat/completions"
    seen = [server.send("POST", path, body, bearer("slow")) for _ in range(3)]
    assert [status for status, _, _ in seen] == [200, 200, 429]
    assert 1 <= int(seen[2][1]["retry-after"]) <= 31
    assert seen[2][2]["error"]["type"] == "rate_limit_error"
    assert server.send("POST", path, body, bearer("secret"))[0] == 200


def test_pictures_of_others_are_not_found_by_their_names(serve) -> None:
    server = serve(tokens=TOKENS)
    message = shown(two()[0])
    message["content"][0]["uuid"] = "mine"
    path = "/v1/chat/completions"
    assert server.send("POST", path, {"messages": [message]}, bearer("secret"))[0] == 200
    message["content"][0]["image_url"] = None
    assert server.send("POST", path, {"messages": [message]}, bearer("secret"))[0] == 200
    stolen = server.send("POST", path, {"messages": [message]}, bearer("slow"))
    assert stolen[2]["error"]["code"] == "image_not_found"


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((), "http://localhost:3000", True),
        ((), "https://evil.example", False),
        ((), "http://localhost.evil.example", False),
        (("https://app.example",), "https://app.example", True),
        (("*",), "https://evil.example", True),
    ],
)
def test_preflights_are_answered_with_the_headers_asked_for(serve, origins, origin, allowed) -> None:
    server = serve(cors_origins=origins, tokens=TOKENS)
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os,x-next",
    }
    status, headers, _ = server.send("OPTIONS", "/v1/chat/completions", headers=asked)
    if not allowed:
        assert status == 400
        assert "access-control-allow-origin" not in headers
        return
    assert status == 200
    assert headers["access-control-allow-origin"] in (origin, "*")
    assert {"authorization", "x-stainless-os", "x-next"} <= set(
        headers["access-control-allow-headers"].replace(" ", "").lower().split(",")
    )


def test_refusals_have_cors_headers_too(serve) -> None:
    server = serve(tokens=TOKENS)
    status, headers, _ = server.send("GET", "/v1/models", headers={"Origin": "http://localhost:3000"})
    assert (status, headers["access-control-allow-origin"]) == (401, "http://localhost:3000")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/none", 404),
        ("GET", "/v1/models/none", 404),
        ("GET", "/v1/models/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "/../../etc/passwd", 404),
        ("DELETE", "/v1/models", 405),
        ("POST", "/v1/responses", 404),
    ],
)
def test_other_addresses_are_told_in_openais_form(
    served: Served, method: str, path: str, status: int
) -> None:
    found, headers, answer = served.send(method, path)
    assert found == status
    assert set(answer) == {"error"}
    assert headers["content-type"] == "application/json"


def test_a_slash_at_the_end_does_no_harm(served: Served) -> None:
    assert served.send("GET", "/v1/models/")[2]["object"] == "list"
    name = served.send("GET", "/v1/models")[2]["data"][0]["id"]
    coded = "".join(f"%{byte:02X}" for byte in name.encode())
    assert served.send("GET", f"/v1/models/{coded}")[2]["id"] == name


def test_requests_are_counted(serve) -> None:
    server = serve()
    server.chat(shown(*two()))
    server.send("GET", "/nothing/at/all")
    text = server.send("GET", "/metrics")[2].decode()
    assert 'segue_requests_total{route="/v1/chat/completions",status="200"} 1.0' in text
    assert 'segue_requests_total{route="other",status="404"} 1.0' in text
    assert "segue_masks_total 2.0" in text
    assert "segue_requests_under_way 0.0" in text


def test_a_file_of_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokens.txt"
    path.write_text("# ours\nsecret name=ann per_minute=60 at_once=4\n\nplain # no limits\n")
    assert read_tokens(path) == {
        "secret": TokenLimits("ann", 60, 4),
        "plain": TokenLimits("token-2", None, None),
    }


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "a per_minute=0\n", "a limit=3\n", "a\na\n", "a at_once\n"]
)
def test_a_file_of_tokens_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.txt"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        read_tokens(path)
    assert str(path) in refused.value.where
