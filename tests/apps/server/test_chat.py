"""The official client against a running server."""

import json

import numpy as np
import openai
import pytest

from segue import masks
from segue.models.conversation_cache import ConversationCache
from serving import Served, data_url, shown, two
from tiny_model import TEXT, picture


@pytest.fixture
def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=served.base, api_key="none", max_retries=0)


@pytest.fixture
def name(client: openai.OpenAI) -> str:
    return client.models.list().data[0].id


def test_a_completion_has_text_and_masks(client: openai.OpenAI, name: str) -> None:
    done = client.chat.completions.create(model=name, messages=[shown(*two())])
    message = done.choices[0].message
    assert message.content == TEXT
    assert done.choices[0].finish_reason == "stop"
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
    found = message.segue["groundings"]
    assert [(g["index"], g["phrase"], g["image_index"]) for g in found] == [(0, "red mug", 0), (1, "lamp", 1)]
    assert [message.content[slice(*g["span"])] for g in found] == ["red mug", "lamp"]
    assert masks.decode(found[0]["segmentation"]).shape == (40, 60)
    assert [(i["width"], i["height"]) for i in message.segue["images"]] == [(60, 40), (60, 40)]


def test_answers_are_those_of_a_session(client: openai.OpenAI, name: str, tiny_model) -> None:
    done = client.chat.completions.create(model=name, messages=[shown(*two())])
    alone = tiny_model.session(list(two())).ask("Which is larger?")
    found = done.choices[0].message.segue["groundings"]
    assert len(found) == len(alone.groundings)
    for sent, own in zip(found, alone.groundings, strict=True):
        assert np.array_equal(masks.decode(sent["segmentation"]), own.mask)
    assert done.usage.completion_tokens == alone.new_tokens
    assert done.usage.prompt_tokens == alone.prompt_tokens


def test_the_stream_helper_adds_up_to_the_completion(client: openai.OpenAI, name: str) -> None:
    whole = client.chat.completions.create(model=name, messages=[shown(*two())])
    seen = []
    with client.chat.completions.stream(
        model=name, messages=[shown(*two())], stream_options={"include_usage": True}
    ) as stream:
        for event in stream:
            if event.type == "chunk" and event.chunk.choices:
                extra = event.chunk.choices[0].delta.model_extra or {}
                seen += [(g["index"], stream.current_completion_snapshot.choices[0].message.content)
                         for g in (extra.get("segue") or {}).get("groundings", [])]  # fmt: skip
        final = stream.get_final_completion()
    message = final.choices[0].message
    assert message.content == TEXT
    assert message.segue["groundings"] == whole.choices[0].message.segue["groundings"]
    assert message.segue["images"] == whole.choices[0].message.segue["images"]
    assert final.usage == whole.usage
    # The first mask comes before the end of the text.
    assert [index for index, _ in seen] == [0, 1]
    assert len(seen[0][1]) < len(TEXT)


def test_a_streamed_answer_without_masks_has_the_fields_of_a_whole_one(
    client: openai.OpenAI, name: str
) -> None:
    request = {"model": name, "messages": [shown(*two())], "stop": "red mug"}
    whole = client.chat.completions.create(**request).choices[0].message
    with client.chat.completions.stream(**request) as stream:
        streamed = stream.get_final_completion().choices[0].message
    assert streamed.content == whole.content == "The "
    assert streamed.segue["groundings"] == []
    assert streamed.segue == whole.segue


def test_a_message_sent_back_continues_the_conversation(
    client: openai.OpenAI, name: str, tiny_model, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, begin = [], ConversationCache.begin

    def watched(self, ids, images, image_token_id):
        kept.append((begin(self, ids, images, image_token_id), len(ids)))
        return kept[-1][0]

    monkeypatch.setattr(ConversationCache, "begin", watched)
    pictures = (picture(shade=61), picture(shade=201))
    first = client.chat.completions.create(model=name, messages=[shown(*pictures)])
    back = [shown(*pictures), first.choices[0].message, {"role": "user", "content": "And the other one?"}]
    second = client.chat.completions.create(model=name, messages=back)
    session = tiny_model.session(list(pictures))
    session.ask("Which is larger?")
    assert second.choices[0].message.content == session.ask("And the other one?").text
    assert second.usage.prompt_tokens == session.history[-1].prompt_tokens
    # All but the second question was read before: by the server's session as by one's own.
    assert kept[0][0] == 0
    assert kept[1] == kept[3]
    assert kept[1][0] >= first.usage.prompt_tokens + first.usage.completion_tokens - 2


def test_plain_text_sent_back_is_a_past_answer_without_masks(served: Served) -> None:
    told = {"role": "assistant", "content": "A mug. [SEG] <p> is a word."}
    status, _, answer = served.chat(shown(*two()), told, {"role": "user", "content": "What is there?"})
    assert status == 200
    assert answer["choices"][0]["message"]["content"]


def test_an_image_is_named_by_its_uuid_later(client: openai.OpenAI, name: str) -> None:
    first = shown(*two())
    first["content"][0]["uuid"] = "mug-photo"
    done = client.chat.completions.create(model=name, messages=[first])
    by_content = done.choices[0].message.segue["images"][1]["uuid"]
    later = [
        {"type": "image_url", "image_url": None, "uuid": "mug-photo"},
        {"type": "image_url", "image_url": None, "uuid": by_content},
        {"type": "text", "text": "Which is larger?"},
    ]
    again = client.chat.completions.create(model=name, messages=[{"role": "user", "content": later}])
    assert again.choices[0].message.segue == done.choices[0].message.segue
    later[0]["uuid"] = "never-sent"
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": later}])
    assert refused.value.code == "image_not_found"
    assert refused.value.param == "messages.0.content.0"


def test_errors_are_openais_with_ours_inside(client: openai.OpenAI, name: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=name, messages=[shown(*two())], n=2)
    assert (refused.value.param, refused.value.type) == ("n", "invalid_request_error")
    assert set(refused.value.body["segue"]) == {"summary", "expected", "found", "where", "fix"}
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-9", messages=[shown(*two())])
    assert missing.value.code == "model_not_found"


def test_a_stop_text_ends_text_and_masks(served: Served) -> None:
    status, _, answer = served.chat(shown(*two()), stop=[" larger", "never"])
    choice = answer["choices"][0]
    assert (status, choice["finish_reason"]) == (200, "stop")
    assert choice["message"]["content"] == TEXT[: TEXT.index(" larger")]
    assert [g["phrase"] for g in choice["message"]["segue"]["groundings"]] == ["red mug"]


def test_a_stream_is_data_lines_and_an_early_error_has_a_status(served: Served) -> None:
    status, headers, content = served.chat(shown(*two()), stream=True, stop="larger")
    lines = [line for line in content.decode().split("\n") if line]
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line[6:]) for line in lines[:-1]]
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
    assert text == TEXT[: TEXT.index("larger")]
    status, headers, content = served.chat(shown(*two(), text="mug " * 2000), stream=True)
    assert (status, content["error"]["code"]) == (400, "context_length_exceeded")


def test_sampling_with_a_seed_is_repeatable(served: Served) -> None:
    drawn = {"temperature": 1.5, "seed": 3, "max_tokens": 20}
    texts = [served.chat(shown(*two()), **drawn)[2]["choices"][0]["message"]["content"] for _ in range(2)]
    assert texts[0] == texts[1]


def test_pictures_of_later_turns_are_added(served: Served) -> None:
    one, other = two()
    answer = served.chat(shown(one))[2]["choices"][0]["message"]
    later = {"role": "user", "content": [{"type": "image_url", "image_url": data_url(other)}]}
    status, _, both = served.chat(shown(one), answer, later, {"role": "user", "content": "Which is larger?"})
    assert status == 200
    assert len(both["choices"][0]["message"]["segue"]["images"]) == 2
