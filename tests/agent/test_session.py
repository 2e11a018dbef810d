"""The agent end to end against a server by script: good and hostile replies, several turns, verification."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segue
from chat_server import ChatServer, Step, fails, says
from segue.agent.address import AgentSettings, read_address
from segue.agent.box_masks import BoxFiller
from segue.agent.boxes import BoxUnits
from segue.agent.session import AgentAnswer, AgentModel, AgentSession, agent
from segue.chat_model import RecordingChatModel, ReplayChatModel
from segue.errors import InputError, ModelError
from segue.records import GroundedAnswer
from tiny_model import picture

IMAGES = [picture(100, 200), picture(300, 150, 200), picture(80, 80, 30)]
BOX = [250, 500, 750, 1000]
GOOD = {
    "answer": "The [red mug](1) is larger than the [lamps](2).",
    "objects": [
        {"id": 1, "phrase": "red mug", "image": 1, "box": BOX},
        {"id": 2, "phrase": "lamps", "image": 2, "box": [0, 0, 500, 500]},
        {"id": 2, "phrase": "lamps", "image": 3, "box": [500, 0, 1000, 500]},
    ],
}
TEXT = "The red mug is larger than the lamps."
MARKUP = (
    "The <p> red mug </p> [SEG] (IMAGE1) is larger than the <p> lamps </p> [SEG] (IMAGE2) [SEG] (IMAGE3)."
)


def session_of(server: ChatServer, *steps: Step, images: Any = IMAGES, **options: Any) -> AgentSession:
    server.script = list(steps)
    session = segue.load(server.address(**options)).session(images)
    assert isinstance(session, AgentSession)
    return session


def ask(server: ChatServer, *steps: Step, **options: Any) -> AgentAnswer:
    return session_of(server, *steps, **options).ask("Which is larger?")


def block(answer: GroundedAnswer, k: int = 0) -> tuple[slice, slice]:
    x, y, width, height = (int(v) for v in answer.groundings[k].box)
    return slice(y, y + height), slice(x, x + width)


def one(box: Any = BOX, image: Any = 1, **more: Any) -> dict[str, Any]:
    return {
        "answer": "A [mug](1).",
        "objects": [{"id": 1, "phrase": "mug", "image": image, "box": box} | more],
    }


# ---- two turns over three images -------------------------------------------------------------------------


def test_three_images_two_turns(chat_server: ChatServer) -> None:
    second = {
        "answer": "The [lamp](1) in image 2.",
        "objects": [{"id": 1, "phrase": "lamp", "image": 2, "box": [0, 0, 100, 100]}],
    }
    session = session_of(chat_server, says(GOOD), says(second))
    heard: list[str] = []
    first = session.ask("Which is larger?", stream=heard.append)
    assert isinstance(first, GroundedAnswer)
    assert (first.text, first.markup, heard) == (TEXT, MARKUP, [TEXT])
    assert [(g.phrase, g.image_index, g.mask.shape) for g in first.groundings] == [
        ("red mug", 0, (100, 200)), ("lamps", 1, (300, 150)), ("lamps", 2, (80, 80))]  # fmt: skip
    assert [first.text[slice(*g.span)] for g in first.groundings] == ["red mug", "lamps", "lamps"]
    expected = np.zeros((100, 200), bool)
    expected[50:100, 50:150] = True
    assert (first.groundings[0].mask == expected).all()
    assert first.groundings[0].box == [50.0, 50.0, 100.0, 50.0]
    assert (first.problems, first.notes, first.finished) == ([], [], True)
    assert first.model == "agent:scripted"
    answer = session.ask("And the smaller one?", max_new_tokens=50)
    assert [(g.phrase, g.image_index) for g in answer.groundings] == [("lamp", 1)]
    assert session.history == (first, answer)
    sent = chat_server.requests[1]
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
    assert len(chat_server.images(1)) == 3, "the images go along once, in the first message"
    assert chat_server.texts(1)[1:4] == ["Image 1:", "Image 2:", "Image 3:"]
    assert chat_server.texts(1)[4] == "Which is larger?"
    assert json.loads(chat_server.texts(1)[5]) == GOOD, "earlier answers are shown the way they are asked for"
    assert chat_server.texts(1)[6] == "And the smaller one?"
    assert (sent["temperature"], sent["max_tokens"]) == (0.0, 50 + 1792)


def test_answers_save_like_any_other(chat_server: ChatServer, tmp_path: Path) -> None:
    answer = ask(chat_server, says(GOOD))
    names = {path.name for path in answer.save(tmp_path)}
    assert names == {"answer.json", "answer.html", "image_1.png", "image_2.png", "image_3.png"}
    content = json.loads((tmp_path / "answer.json").read_text())
    assert content["model"] == "agent:scripted"
    assert chat_server.url not in (tmp_path / "answer.json").read_text()
    assert len(content["groundings"]) == 3


def test_a_failed_turn_leaves_the_session_as_it_was(chat_server: ChatServer) -> None:
    session = session_of(chat_server, says(GOOD), fails(401), says(GOOD))
    first = session.ask("Which is larger?")
    with pytest.raises(ModelError, match="HTTP 401"):
        session.ask("And now?")
    assert session.history == (first,)
    session.ask("And now?")
    assert len(session.history) == 2
    assert session.undo().question == "And now?"
    session.reset()
    assert session.history == ()


def test_added_turns_are_context_without_boxes(chat_server: ChatServer) -> None:
    session = session_of(chat_server, says(GOOD))
    session.add_turn("What is there?", "A <p> mug </p> [SEG] (IMAGE1).")
    session.ask("Which is larger?")
    assert chat_server.texts()[4:] == ["What is there?", "A mug.", "Which is larger?"]


def test_large_images_are_sent_smaller_and_masked_whole(chat_server: ChatServer) -> None:
    answer = ask(chat_server, says(one()), images=[picture(300, 600)], side=100)
    assert chat_server.images()[0].size == (100, 50)
    assert answer.groundings[0].mask.shape == (300, 600)


# ---- boxes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "units", "options"),
    [
        (BOX, BoxUnits.THOUSAND, {}),
        ([0.25, 0.5, 0.75, 1.0], BoxUnits.UNIT, {}),
        # The original is 1200 x 2400, the sent one 750 x 1500.
        ([375, 375, 1125, 750], BoxUnits.SENT, {"side": 1500}),
        ([600, 600, 1800, 1200], BoxUnits.ORIGINAL, {"side": 1500}),
        ([25, 25, 75, 50], BoxUnits.SENT, {"side": 100, "boxes": "sent"}),
        ([600, 600, 1800, 1200], BoxUnits.ORIGINAL, {"boxes": "original"}),
    ],
)
def test_boxes_of_every_kind_give_the_same_mask(
    chat_server: ChatServer, box: list[float], units: BoxUnits, options: dict[str, Any]
) -> None:
    answer = ask(chat_server, says(one(box)), images=[picture(1200, 2400)], **options)
    assert answer.trace.units is units
    assert answer.groundings[0].box == [600.0, 600.0, 1200.0, 600.0]
    if units is not BoxUnits.THOUSAND and "boxes" not in options:
        assert any(str(units) in note for note in answer.notes)


def test_what_one_reply_settles_holds_for_the_next(chat_server: ChatServer) -> None:
    session = session_of(
        chat_server, says(one([10, 10, 1300, 40])), says(one([15, 30, 150, 60])), images=[picture(100, 1500)],
        side=1500,
    )  # fmt: skip
    session.ask("What is there?")
    assert session.ask("And now?").groundings[0].box == [15.0, 30.0, 135.0, 30.0]


# ---- hostile replies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "noted"),
    [
        (says("Sure!\n```json\n" + json.dumps(GOOD) + "\n```\nBye."), ""),
        (says("<think>{\"answer\": \"no\"}</think>" + json.dumps(GOOD)), ""),
        (says(json.dumps(GOOD | {"answer": "draft"}) + json.dumps(GOOD)), "2 JSON objects"),
        (says(json.dumps(GOOD)[:-2], finish="length"), "ends early"),
        (says(GOOD | {"objects": [*GOOD["objects"], 3, "x"]}), "2 of 5 objects"),
        (says(GOOD | {"objects": [*GOOD["objects"], {"phrase": "sofa"}]}), "does not mention 'sofa'"),
    ],
)  # fmt: skip
def test_badly_wrapped_replies_give_the_whole_answer(chat_server: ChatServer, step: Step, noted: str) -> None:
    answer = ask(chat_server, step)
    assert (answer.text, answer.markup, len(answer.groundings)) == (TEXT, MARKUP, 3)
    assert any(noted in note for note in answer.notes) or not noted
    assert answer.finished is ("ends early" not in noted)


@pytest.mark.parametrize(
    "step",
    [
        says(None, reasoning_content=json.dumps(GOOD)),
        says("", reasoning="So the user wants JSON. " + json.dumps(GOOD)),
        says(None, tool_calls=[{"function": {"name": "answer", "arguments": json.dumps(GOOD)}}]),
        says("I call the tool.", tool_calls=[{"function": {"name": "answer", "arguments": GOOD}}]),
        says({"type": "object", "properties": GOOD}),
        says({"result": {"grounded_answer": GOOD}}),
        says(json.dumps(json.dumps(GOOD))),
        says({"answer": json.dumps(GOOD)}),
        says(str(GOOD)),
        says(json.dumps(GOOD).replace('{"answer"', "{ // the answer\n answer").replace("}]", "},]")),
        says({"Answer": GOOD["answer"], "Objects": json.dumps(GOOD["objects"])}),
        Step({"choices": [{"message": {"content": [{"type": "thinking", "text": "hm"},
                                                   {"type": "text", "text": json.dumps(GOOD)}]}}]}),
    ],
)  # fmt: skip
def test_answers_in_other_places_and_wrappers_have_their_masks(chat_server: ChatServer, step: Step) -> None:
    answer = ask(chat_server, step)
    assert (answer.text, answer.markup, len(answer.groundings)) == (TEXT, MARKUP, 3)
    assert len(chat_server.requests) == 1


def test_words_that_stand_in_the_reasoning_alone_are_better_than_none(chat_server: ChatServer) -> None:
    thought = says(None, reasoning_content="There is a mug.")
    answer = ask(chat_server, thought, thought)
    assert (answer.text, answer.groundings) == ("There is a mug.", [])
    assert any("reasoning" in note for note in answer.notes)
    with pytest.raises(ModelError, match="after 3 characters of reasoning"):
        ask(chat_server, *[says(None, reasoning_content="hmm", finish="length")] * 2)


def test_why_there_is_no_choice_is_said(chat_server: ChatServer) -> None:
    empty = Step({"choices": [], "prompt_feedback": {"blockReason": "SAFETY"}})
    with pytest.raises(ModelError, match="SAFETY"):
        ask(chat_server, empty, empty)


def test_boxes_in_pixels_of_images_that_had_to_be_sent_smaller(chat_server: ChatServer) -> None:
    too_long = fails(400, "the prompt exceeds the context size")
    answer = ask(chat_server, too_long, says(one([25, 25, 75, 50])), images=[picture(100, 200)], boxes="sent")
    assert chat_server.images()[0].size == (100, 50)
    assert answer.groundings[0].box == [50.0, 50.0, 100.0, 50.0]
    assert any("too long" in note for note in answer.notes)


@pytest.mark.parametrize(
    ("reply", "noted", "reason"),
    [
        (one(image=7), "", "identifier_out_of_range"),
        (one(image=None), "", "missing_identifier"),
        (one(image="the left one"), "", "missing_identifier"),
        (
            {"answer": "A [mug](1).", "objects": [{"id": 1, "phrase": "mug", "image": 1}]},
            "box is missing",
            None,
        ),
        (one(box=[1, 2, 3]), "cannot be read", None),
        (one(box=["a", 0, 0, 0]), "cannot be read", None),
        (one(box=[400, 400, 400, 400]), "less than a pixel", None),
        (one(box=[5000, 5000, 6000, 6000]), "less than a pixel", None),
        ({"answer": "A [mug](1).", "objects": []}, "no object belongs", None),
        ({"answer": "A [mug](1).", "objects": "none"}, "not a list", None),
        ({"answer": "A [mug](1)."}, "no object belongs", None),
    ],
)
def test_unusable_objects_cost_their_mask_only(
    chat_server: ChatServer, reply: Any, noted: str, reason: str | None
) -> None:
    answer = ask(chat_server, says(reply))
    assert (answer.text, answer.groundings) == ("A mug.", [])
    assert [problem.reason.value for problem in answer.problems] == ([reason] if reason else [])
    assert any(noted in note for note in answer.notes) or not noted
    assert answer.to_json()["groundings"] == []


def test_a_missing_number_means_the_only_image(chat_server: ChatServer) -> None:
    assert ask(chat_server, says(one(image=None)), images=IMAGES[:1]).groundings[0].image_index == 0


@pytest.mark.parametrize("bad", ["The red mug, I think.", "", None, "{", "[]", "\n\n", '{"error": "x"}'])
def test_a_reply_that_is_no_json_is_asked_for_once_more(chat_server: ChatServer, bad: str | None) -> None:
    answer = ask(chat_server, says(bad), says(GOOD))
    assert (answer.text, len(answer.groundings)) == (TEXT, 3)
    assert answer.trace.replies[0] == (bad or "")
    assert [m["role"] for m in chat_server.requests[1]["messages"]] == ["user", "assistant", "user"]
    assert "JSON object" in chat_server.texts(1)[-1]


def test_words_without_json_are_an_answer_without_masks(chat_server: ChatServer) -> None:
    answer = ask(chat_server, says("The red [mug](1), I think."), says(""))
    assert (answer.text, answer.groundings) == ("The red mug, I think.", [])
    assert "not the JSON" in answer.notes[-1]


def test_refusals(chat_server: ChatServer) -> None:
    answer = ask(chat_server, says(None, refusal="I can't help with that."))
    assert (answer.text, answer.notes) == ("I can't help with that.", ["the model refused to answer"])
    answer = ask(chat_server, says("I'm sorry, but I can't."), says("I'm sorry, but I can't."))
    assert answer.text == "I'm sorry, but I can't."
    with pytest.raises(ModelError, match="refused to answer"):
        ask(chat_server, says("", finish="content_filter"))


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([says(""), says("")], "said nothing"),
        ([says('{"answer": "", "objects": []}'), says('{"answer": "  "}')], "said nothing"),
        ([Step({"choices": []}), Step({})], "not a chat completion"),
        ([Step(b"<html>", 200)], "not a chat completion"),
        ([fails(429, Retry_After="99999")], "HTTP 429"),
        ([fails(500)], "HTTP 500"),
        ([Step(drop=True)], "cannot be reached"),
        ([Step(b"{", promise=99)], "cut off after 1 of 100 bytes"),
    ],
)
def test_what_cannot_be_answered_is_a_clear_error(
    chat_server: ChatServer, steps: list[Step], said: str
) -> None:
    session = session_of(chat_server, *steps)
    with pytest.raises(ModelError, match=said) as caught:
        session.ask("Which is larger?")
    error = caught.value
    assert all((error.expected, error.found, error.where, error.fix))
    assert session.history == ()


def test_a_slow_server(chat_server: ChatServer) -> None:
    session = session_of(chat_server, Step(delay=2.0), timeout=0.4)
    with pytest.raises(ModelError, match=r"within 0\.4 seconds"):
        session.ask("Which is larger?")


def test_a_server_that_knows_no_schema(chat_server: ChatServer) -> None:
    answer = ask(chat_server, fails(400, "response_format"), fails(400, "response_format"), says(GOOD))
    assert (answer.text, answer.trace.requests) == (TEXT, 3)


# ---- verification ----------------------------------------------------------------------------------------


def test_masks_are_kept_dropped_or_drawn_once_more(chat_server: ChatServer) -> None:
    verdicts = [
        {"verdict": "redraw", "box": [0, 0, 500, 500]}, {"verdict": "drop", "box": None},
        {"verdict": "keep", "box": None},
    ]  # fmt: skip
    answer = ask(chat_server, says(GOOD), *map(says, verdicts), verify=1)
    assert len(chat_server.requests) == 4, "a redrawn mask is not shown again"
    assert [(g.phrase, g.image_index) for g in answer.groundings] == [("red mug", 0), ("lamps", 2)]
    assert answer.groundings[0].box == [0.0, 0.0, 100.0, 50.0]
    assert answer.markup == MARKUP.replace(" [SEG] (IMAGE2)", "")
    assert any("drawn once more" in note for note in answer.notes)
    assert any("took it back" in note for note in answer.notes)
    (overlay,) = chat_server.images(1)
    assert overlay.size == (200, 100)
    shown, plain = (np.asarray(p.convert("RGB"), int) for p in (overlay, IMAGES[0]))
    changed = np.abs(shown - plain).sum(axis=2) > 60
    assert changed[60:90, 60:140].mean() > 0.9
    assert changed[:40].mean() < 0.05
    assert "red mug" in chat_server.texts(1)[-1]


def test_dropping_all_masks_leaves_words(chat_server: ChatServer) -> None:
    answer = ask(chat_server, says(one()), says({"verdict": "drop"}), verify=1)
    assert (answer.text, answer.markup, answer.groundings) == ("A mug.", "A mug.", [])


def test_a_broken_verdict_costs_nothing(chat_server: ChatServer) -> None:
    answer = ask(chat_server, says(GOOD), says("hm"), fails(500), says({"verdict": "redraw"}), verify=1)
    assert len(answer.groundings) == 3
    assert len([note for note in answer.notes if "kept as it is" in note or "not verified" in note]) == 3


# ---- parts and options -----------------------------------------------------------------------------------


def test_a_recording_replaces_the_server(chat_server: ChatServer, tmp_path: Path) -> None:
    chat_server.script = [says(GOOD)]
    loaded = segue.load(chat_server.address())
    assert isinstance(loaded, AgentModel)
    recording = RecordingChatModel(loaded.chat, tmp_path / "r.jsonl")
    live = agent(recording, BoxFiller()).session(IMAGES).ask("Which is larger?")
    again = agent(ReplayChatModel(tmp_path / "r.jsonl"), BoxFiller()).session(IMAGES).ask("Which is larger?")
    assert again.to_json() == live.to_json()


def test_sampling_options(chat_server: ChatServer) -> None:
    session = session_of(chat_server, says(GOOD), says(GOOD))
    session.ask("Which?", do_sample=True, temperature=0.7, seed=3)
    session.ask("Which?", do_sample=False)
    sent = [{k: r.get(k) for k in ("temperature", "seed")} for r in chat_server.requests]
    assert sent == [{"temperature": 0.7, "seed": 3}, {"temperature": 0.0, "seed": None}]
    with pytest.raises(InputError, match="num_beams"):
        session.ask("Which?", num_beams=4)
    with pytest.raises(InputError, match="question is empty"):
        session.ask(" ")


def test_the_address_is_read() -> None:
    settings = read_address(
        "agent:http://localhost:8000/v1?model=org/some+model:free&sam=a%20b/sam&verify=1&boxes=1000&side=768"
        "&tokens=0&timeout=9.5&retries=2"
    )
    assert settings == AgentSettings(
        "http://localhost:8000/v1", "org/some+model:free", "a b/sam", True, 768, BoxUnits.THOUSAND, 0, 9.5, 2
    )
    assert read_address("agent:https://localhost/v1") == AgentSettings("https://localhost/v1")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("agent:", "names no server"), ("agent:localhost:8000/v1", "names no server"),
        ("agent:http://localhost?modle=x", "is unknown"),
        ("agent:http://localhost?api_key=sk-1", "SEGUE_API_KEY"),
        ("agent:http://localhost?model=a&model=b", "given twice"),
        ("agent:http://localhost?verify=maybe", r"verify=1\|true"),
        ("agent:http://localhost?side=9", "side from 64"),
        ("agent:http://localhost?timeout=nan", "timeout from"),
        ("agent:http://localhost?tokens=many", "tokens from"),
        ("agent:http://localhost?boxes=xy", "boxes=auto"),
    ],
)  # fmt: skip
def test_wrong_addresses(address: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        segue.load(address)
    assert "sk-1" not in str(caught.value)
