"""What an error means for the next request."""

from __future__ import annotations

import pytest

from segue.chat_model import refusals

NO_IMAGES = (
    "image input is not supported by this server",
    "this model does not support images",
    "No endpoints found that support image input",
    "unknown variant `image_url`, expected `text`",
    "the loaded model is not a multimodal model",
    "vision is not enabled for this deployment",
    "content type 'image_url' is unsupported",
)
TOO_LONG = (
    # words, context, prompt
    ("maximum context length is 8192 tokens. however, you requested 9000 tokens (7000 in the messages, 2000 "
     "in the completion).", 8192, 7000),
    ("'max_tokens' is too large: 2048. this model's maximum context length is 4096 tokens and your request "
     "has 2600 input tokens (2048 > 4096 - 2600).", 4096, 2600),
    ("`inputs` tokens + `max_new_tokens` must be <= 4096. given: 2600 `inputs` tokens and 2048 "
     "`max_new_tokens`", 4096, 2600),
    ("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000", 200000, 190000),
    ("prompt is too long: 205,000 tokens > 200,000 maximum", 200000, 205000),
    ("the request exceeds the available context size, try increasing it", None, None),
    ("please reduce the length of the messages", None, None),
)  # fmt: skip


@pytest.mark.parametrize("said", NO_IMAGES)
@pytest.mark.parametrize("status", [400, 404, 422, 500, 503])
def test_a_model_without_eyes_is_final(said: str, status: int) -> None:
    said = said.lower()
    assert not refusals.passes(status, said, {})
    assert not refusals.may_be_about_format(status, said)
    assert "mmproj" in refusals.advice(status, said, ("KEY",), "")


@pytest.mark.parametrize(("said", "context", "prompt"), TOO_LONG)
def test_numbers_of_a_context_are_read(said: str, context: int | None, prompt: int | None) -> None:
    assert refusals.is_too_long(400, said)
    assert not refusals.passes(500, said, {})
    assert not refusals.may_be_about_options(400, said)
    room = refusals.room_in(said, {})
    assert (room.context, room.prompt) == (context, prompt)
    assert "side=" in refusals.advice(400, said, ("KEY",), "")


def test_numbers_in_the_error_object_count() -> None:
    room = refusals.room_in("too long", {"n_ctx": 4096, "n_prompt_tokens": 3000})
    assert room.left == 4096 - 3000 - 64
    assert refusals.ContextRoom(4096, None).left is None


@pytest.mark.parametrize(
    ("status", "said"),
    [(429, "rate limit reached: 30000 tokens per minute"), (503, "loading model"), (500, "internal error"),
     (502, "upstream provider overloaded"), (529, "overloaded"), (408, "")],
)  # fmt: skip
def test_what_passes_is_tried_again(status: int, said: str) -> None:
    assert refusals.passes(status, said, {})


@pytest.mark.parametrize(
    ("status", "said", "problem"),
    [
        (401, "wrong key", {}),
        (400, "bad request", {}),
        (429, "pay", {"code": "insufficient_quota"}),
        (429, "your credit balance is too low", {}),
        (500, "model requires more system memory (9 gib) than is available", {}),
        (500, "unsupported content part", {}),
        (501, "not implemented", {}),
    ],
)
def test_what_lasts_is_not(status: int, said: str, problem: dict[str, str]) -> None:
    assert not refusals.passes(status, said, problem)


@pytest.mark.parametrize(
    ("problem", "status"),
    [({}, 200), ({"code": 503}, 503), ({"code": "429"}, 429), ({"status": 404}, 404),
     ({"message": "rate limit exceeded"}, 429), ({"type": "overloaded_error"}, 503),
     ({"message": "request timed out"}, 504), ({"type": "invalid_request_error"}, 400), ({"code": 7}, 400)],
)  # fmt: skip
def test_a_status_is_found_in_words(problem: dict[str, object], status: int) -> None:
    assert refusals.status_in(problem) == status
