"""Fields beside the messages: honoured, or refused by name."""

from typing import Any

import pytest

from segue.apps.server.errors import ApiError
from segue.apps.server.sampling import read_sampling
from segue.inference.inputs import MAX_NEW_TOKENS


def test_null_is_absent_and_greedy_the_default() -> None:
    names = ("temperature", "top_p", "max_tokens", "seed", "stop", "n", "tools", "logit_bias", "regions")
    assert read_sampling(dict.fromkeys(names)) == read_sampling({})
    assert read_sampling({}).options == {}
    assert read_sampling({}).max_new_tokens == MAX_NEW_TOKENS


def test_both_names_of_the_budget_hold() -> None:
    assert read_sampling({"max_tokens": 9}).max_new_tokens == 9
    assert read_sampling({"max_tokens": 9, "max_completion_tokens": 3.0}).max_new_tokens == 3


def test_sampling_is_asked_for_by_a_temperature() -> None:
    asked = read_sampling({"temperature": 0.7, "top_p": 0, "top_k": -1, "min_p": 0.1, "seed": 4})
    assert asked.options == {"do_sample": True, "temperature": 0.7, "top_k": 0, "top_p": 1e-6, "min_p": 0.1}
    assert asked.seed == 4
    assert read_sampling({"temperature": 0.001, "top_p": 0.5}).options == {}


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [], "tool_choice": "auto", "response_format": {"type": "text"}},
        {"n": 1, "logprobs": False, "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}},
        {"user": "a", "metadata": {}, "store": False, "reasoning_effort": "low", "whatever": [1]},
    ],
)
def test_what_changes_nothing_is_let_be(body: dict[str, Any]) -> None:
    assert read_sampling(body) == read_sampling({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("n", True),
        ("logprobs", True),
        ("tools", [{"type": "function"}]),
        ("tool_choice", "required"),
        ("response_format", {"type": "json_object"}),
        ("presence_penalty", 0.5),
        ("logit_bias", {"5": 1}),
        ("regions", [{"image_index": 0}]),
        ("guided_json", {}),
        ("modalities", ["audio"]),
        ("images", ["x"]),
        ("temperature", 2.1),
        ("temperature", -0.1),
        ("temperature", "hot"),
        ("temperature", True),
        ("temperature", 10**400),
        ("top_p", 1.1),
        ("max_tokens", 0),
        ("max_tokens", 2.5),
        ("max_completion_tokens", -3),
        ("seed", 1 << 64),
        ("stop", 3),
        ("stop", ["a"] * 17),
        ("stop", [""]),
    ],
)
def test_what_is_not_honoured_is_named(name: str, value: Any) -> None:
    with pytest.raises(ApiError) as refused:
        read_sampling({name: value})
    assert (refused.value.status, refused.value.param) == (400, name)
