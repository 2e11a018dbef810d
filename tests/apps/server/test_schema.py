"""The description of the API, and whatever schemathesis makes of it: no 500, no server that dies."""

import json
import re

import pytest

from serving import Served, data_url, shown, two
from tiny_model import picture


def test_the_description_is_whole(served: Served) -> None:
    found = served.send("GET", "/openapi.json")[2]
    schemas = found["components"]["schemas"]
    named = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', json.dumps(found)))
    assert named
    assert named <= set(schemas)
    assert {"ChatRequest", "ChatAnswer", "RegionInput", "ErrorAnswer"} <= set(schemas)
    assert set(found["paths"]) >= {"/v1/chat/completions", "/v1/images/segmentations", "/v1/models"}


def test_answers_fit_their_description(served: Served) -> None:
    from segue.apps.server.schema import ChatAnswer, ErrorAnswer

    ChatAnswer.model_validate(served.chat(shown(*two()))[2])
    ErrorAnswer.model_validate(served.chat()[2])


@pytest.mark.slow
def test_schemathesis_finds_no_500(served: Served) -> None:
    import hypothesis
    import schemathesis
    from schemathesis.checks import not_a_server_error

    schema = schemathesis.openapi.from_dict(served.send("GET", "/openapi.json")[2])
    for outcome in schema.get_all_operations():
        operation = outcome.ok()

        @hypothesis.settings(
            max_examples=60, suppress_health_check=list(hypothesis.HealthCheck), deadline=None
        )
        @hypothesis.given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            case.call_and_validate(base_url=f"http://127.0.0.1:{served.port}", checks=[not_a_server_error])

        check()
    assert served.chat(shown(*two()))[0] == 200


JUNK = [None, True, 0, -1, 1e308, "", "x", "\ud800", [], [None], {}, {"a": None}, [[[]]], {"url": 3}]


@pytest.mark.parametrize("stream", [False, True])
def test_junk_in_any_place_is_no_500(served: Served, stream: bool) -> None:
    """Every field of a sound request, each replaced by each kind of junk."""
    sound = {
        "model": None,
        "messages": [
            {
                "role": "user",
                "name": "Ann",
                "content": [
                    {
                        "type": "image_url",
                        "image_url": {"url": data_url(picture()), "detail": "low"},
                        "uuid": "u",
                    },
                    {"type": "text", "text": "What is there?"},
                ],
            },
            {
                "role": "assistant",
                "content": "A mug.",
                "segue": {"groundings": [{"span": [2, 5], "image_index": 0, "phrase": "mug"}]},
            },
            {"role": "user", "content": "Go on.", "regions": []},
        ],
        "stream": stream,
        "stream_options": {"include_usage": True},
        "temperature": 0,
        "top_p": 1,
        "top_k": 1,
        "min_p": 0,
        "max_tokens": 1,
        "max_completion_tokens": 1,
        "seed": 1,
        "stop": ["a"],
        "n": 1,
        "logit_bias": {},
    }
    places = list(paths(sound))
    assert len(places) > 30
    seen = set()
    for place in places:
        for junk in JUNK:
            body = json.loads(json.dumps(sound))
            at = body
            for key in place[:-1]:
                at = at[key]
            at[place[-1]] = junk
            status, _, answer = served.send("POST", "/v1/chat/completions", body)
            assert status < 500, (place, junk, answer)
            assert status == 200 or answer["error"]["message"]
            seen.add(status)
    assert {200, 400} <= seen


def paths(value, before=()):
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in entries:
        yield (*before, key)
        yield from paths(inner, (*before, key))
