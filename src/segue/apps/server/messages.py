"""Messages of a chat completion, in the spellings that clients really send, as one dialogue over pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from segue.apps.server.errors import ApiError, refusal
from segue.apps.server.past_answers import PastAnswer, joined, past_answer
from segue.apps.server.regions import RegionRef, marked_question, read_regions
from segue.apps.server.sampling import refuse_unheeded
from segue.apps.server.settings import Settings
from segue.inference.inputs import whole_unicode
from segue.protocol import identifier
from segue.records.conversation import MAX_IMAGES

_TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
_IMAGE_PARTS = ("image_url", "input_image", "image")
_ROLES = ("system", "developer", "user", "assistant")


@dataclass(frozen=True)
class PictureRef:
    """A picture as a message names it.

    Attributes:
        where: Its field, `messages.0.content.1`.
        address: A data URL, another URL, or bare base64; None where only `uuid` names it.
        uuid: Name under which the client knows it.
    """

    where: str
    address: str | None
    uuid: str | None = None


@dataclass
class Dialogue:
    """A conversation as the messages tell it.

    Attributes:
        pictures: Of all messages, in order; the answer numbers them so.
        turns: Earlier questions and their answers.
        question: To be answered now.
        pointed: What each question points at: those of the turns, and the new one last.
    """

    pictures: list[PictureRef] = field(default_factory=list)
    turns: list[tuple[str, PastAnswer]] = field(default_factory=list)
    question: str = ""
    pointed: list[tuple[RegionRef, ...]] = field(default_factory=list)


def read_dialogue(body: dict[str, Any], settings: Settings) -> Dialogue:
    """Read `messages`.

    Instructions (system, developer) are read ahead of the next question: the models know no other place for
    them. User messages in a row are one question.

    Raises:
        ApiError: A message that cannot be honoured whole; the error names it.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise refusal(
            "`messages` is no list of messages.", "messages", code="invalid_type",
            expected='[{"role": "user", "content": ...}, ...]', found=repr(messages)[:200],
            fix="send the messages of the conversation, oldest first",
        )  # fmt: skip
    if len(messages) > settings.most_messages:
        raise refusal(
            "The conversation has too many messages.", "messages", code="too_many_messages",
            expected=f"at most {settings.most_messages}", found=str(len(messages)),
            fix="begin a new conversation, or leave the oldest turns out",
        )  # fmt: skip
    return _Reader(settings).read(messages)


class _Reader:
    """Goes through the messages once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._dialogue = Dialogue()
        self._asked: list[str] = []
        self._shown: list[int] = []
        self._regions: list[RegionRef] = []
        self._characters = 0

    def read(self, messages: list[Any]) -> Dialogue:
        for number, message in enumerate(messages):
            where = f"messages.{number}"
            role = self._role(message, where)
            if role != "user":
                refuse_unheeded({"regions": message.get("regions")}, f"{where}.")
            if role == "assistant":
                self._answered(message, where)
            else:
                self._ask(message, role, where)
        self._close(f"messages.{len(messages) - 1}")
        return self._dialogue

    def _role(self, message: Any, where: str) -> str:
        if not isinstance(message, dict):
            raise _wrong("A message is no object.", where, '{"role": ..., "content": ...}', message)
        role = message.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            found = f"role {role!r}"[:200]
            raise _wrong("This role is not supported.", f"{where}.role", ", ".join(_ROLES), found)
        if message.get("tool_calls") or message.get("function_call"):
            name = "tool_calls" if message.get("tool_calls") else "function_call"
            raise _wrong(f"`{name}` is not supported.", f"{where}.{name}", "no tools", message[name])
        if message.get("audio"):
            raise _wrong("`audio` is not supported.", f"{where}.audio", "texts and images", message["audio"])
        return role

    # ---- questions ---------------------------------------------------------------------------------------

    def _ask(self, message: dict[str, Any], role: str, where: str) -> None:
        texts = []
        for kind, value, _ in self._parts(message, where):
            if kind == "text":
                texts.append(value)
            else:
                self._show(value)
        text = self._counted("\n".join(t for t in texts if t.strip()), where)
        if text and (name := self._name(message, where)):
            text = f"{name}: {text}"
        if text:
            self._asked.append(text)
        self._point(message, where)

    def _point(self, message: dict[str, Any], where: str) -> None:
        pointed = sum(map(len, self._dialogue.pointed)) + len(self._regions)
        most = self._settings.most_regions
        self._regions += read_regions(message.get("regions"), f"{where}.regions", most, pointed)

    def _show(self, picture: PictureRef) -> None:
        pictures = self._dialogue.pictures
        if len(pictures) == MAX_IMAGES:
            raise refusal(
                "The conversation has too many images.", picture.where, code="too_many_images",
                expected=f"at most {MAX_IMAGES} images in all messages",
                found=f"image {MAX_IMAGES + 1}",
                fix="ask about the images that matter, or in several conversations",
            )  # fmt: skip
        self._shown.append(len(pictures))
        pictures.append(picture)

    def _question(self) -> str:
        """What was asked since the last answer; a turn that only shows pictures says which."""
        text = "\n".join(self._asked) or " ".join(identifier(k) for k in self._shown)
        regions = tuple(self._regions)
        self._dialogue.pointed.append(regions)
        self._asked, self._shown, self._regions = [], [], []
        return marked_question(text, regions)

    def _close(self, where: str) -> None:
        if not self._asked:
            asks = not self._shown
            raise refusal(
                "The last message is an answer; nothing is asked." if asks else "The question is empty.",
                where, code="invalid_value", expected="a last message of the role user, with text",
                found="no text", fix="end with a question in words",
            )  # fmt: skip
        self._dialogue.question = self._question()
        if not self._dialogue.pictures:
            raise refusal(
                "The conversation shows no image.", "messages", code="image_required",
                expected="at least one picture, as a part of type image_url", found="texts only",
                fix="add an image_url part with a data URL to a user message",
            )  # fmt: skip

    # ---- answers -----------------------------------------------------------------------------------------

    def _answered(self, message: dict[str, Any], where: str) -> None:
        texts = []
        for kind, value, place in self._parts(message, where):
            if kind != "text":
                raise _wrong("An assistant's message shows an image.", place, "text", "a picture")
            texts.append(value)
        if not texts and isinstance(message.get("refusal"), str):
            texts = [message["refusal"]]
        text = self._counted("\n".join(texts), where)
        name = self._name(message, where)
        answer = past_answer(text, message.get("segue"), where)
        if name and text:
            answer = joined(PastAnswer(f"{name}:"), answer, " ")
        turns = self._dialogue.turns
        if self._asked or self._shown or self._regions:
            turns.append((self._question(), answer))
        elif turns:
            turns[-1] = (turns[-1][0], joined(turns[-1][1], answer, "\n"))
        elif text:
            raise _wrong(
                "The conversation begins with an answer.", where, "a user message first", "an assistant's"
            )

    # ---- parts -------------------------------------------------------------------------------------------

    def _parts(self, message: dict[str, Any], where: str) -> Iterator[tuple[str, Any, str]]:
        """(kind, text or `PictureRef`, field) of a message's content."""
        content, where_content = message.get("content"), f"{where}.content"
        if isinstance(content, str):
            yield "text", whole_unicode(content), where_content
        elif isinstance(content, list):
            for number, part in enumerate(content):
                yield (*_part(part, f"{where_content}.{number}"), f"{where_content}.{number}")
        elif content is None and message.get("role") != "assistant" and not message.get("images"):
            raise _wrong("A message has no content.", where_content, "a text or a list of parts", content)
        elif content is not None:
            raise _wrong("A content is neither text nor list.", where_content, "a text or parts", content)
        # As Ollama's own clients send them.
        images = message.get("images") or []
        if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
            raise _wrong("`images` is no list of pictures.", f"{where}.images", "base64 texts", images)
        for number, image in enumerate(images):
            place = f"{where}.images.{number}"
            yield "image", PictureRef(place, image), place

    def _name(self, message: dict[str, Any], where: str) -> str:
        name = message.get("name")
        if name is not None and (not isinstance(name, str) or len(name) > 64):
            raise _wrong("A name cannot be used.", f"{where}.name", "a text of up to 64 characters", name)
        return whole_unicode(name or "").strip()

    def _counted(self, text: str, where: str) -> str:
        self._characters += len(text)
        if self._characters > self._settings.most_characters:
            raise refusal(
                "The conversation is longer than the server reads.", "messages",
                code="context_length_exceeded",
                expected=f"at most {self._settings.most_characters:,} characters in all messages",
                found=f"more, at {where}", fix="ask in fewer words, or leave the oldest turns out",
            )  # fmt: skip
        return text


def _part(part: Any, where: str) -> tuple[str, Any]:
    """Kind of a part, and its text or `PictureRef`."""
    if isinstance(part, str):
        return "text", whole_unicode(part)
    if not isinstance(part, dict):
        raise _wrong("A part is no object.", where, '{"type": "text", "text": ...}', part)
    kind = part.get("type")
    if kind is None:
        kind = "text" if isinstance(part.get("text"), str) else "image_url" if "image_url" in part else None
    if not isinstance(kind, str) or (kind not in _TEXT_PARTS and kind not in _IMAGE_PARTS):
        expected = ", ".join([*_TEXT_PARTS, *_IMAGE_PARTS])
        raise _wrong(f"Parts of type {kind!r:.60} are not supported.", f"{where}.type", expected, kind)
    if kind in _TEXT_PARTS:
        if any(part.get(name) for name in ("image_url", "image")):
            raise _wrong("A text part holds a picture.", where, "one part each for image and text", "both")
        text = part.get(_TEXT_PARTS[kind])
        if not isinstance(text, str):
            raise _wrong(
                f"A part of type {kind} has no text.", f"{where}.{_TEXT_PARTS[kind]}", "a text", text
            )
        return "text", whole_unicode(text)
    if part.get("text"):
        raise _wrong("An image part holds a text.", where, "one part each for image and text", "both")
    return "image", _picture(part, kind, where)


def _picture(part: dict[str, Any], kind: str, where: str) -> PictureRef:
    if part.get("file_id"):
        raise _wrong("`file_id` is not supported.", f"{where}.file_id", "a data URL", part["file_id"])
    refuse_unheeded({"regions": part.get("regions")}, f"{where}.")
    uuid, name = part.get("uuid"), "image_url"
    address = part.get("image_url")
    if kind == "image" and address is None:
        name = "source" if "source" in part else "image"
        address = part.get(name)
        if isinstance(address, dict) and "data" in address:
            # Anthropic's form; what the bytes are is told by the bytes.
            address = address["data"]
    for holder in (part, address):
        if isinstance(holder, dict):
            _check_detail(holder.get("detail"), where)
    if isinstance(address, dict):
        link = address
        address, uuid = link.get("url"), link.get("uuid") if uuid is None else uuid
    if uuid is not None and (not isinstance(uuid, str) or not 0 < len(uuid) <= 256):
        raise _wrong("A uuid cannot be used.", f"{where}.uuid", "a text of 1 to 256 characters", uuid)
    if address is None and uuid is None:
        raise _wrong("An image part has no image.", f"{where}.{name}", "a data URL, or a uuid", part)
    if address is not None and not isinstance(address, str):
        raise _wrong("An image's address is no text.", f"{where}.{name}", "a data URL", address)
    return PictureRef(where, address, uuid)


def _check_detail(detail: Any, where: str) -> None:
    # Pictures are read at the one size that the model has, whichever of these is asked for.
    if detail not in (None, "", "auto", "low", "high", "original"):
        raise _wrong("`detail` has an unknown value.", f"{where}.detail", "auto, low or high", detail)


def _wrong(summary: str, param: str, expected: str, found: Any) -> ApiError:
    return refusal(
        summary, param, code="invalid_value", expected=expected,
        found=found if isinstance(found, str) else repr(found)[:200], fix=f"change {param}",
    )  # fmt: skip
