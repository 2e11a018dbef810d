"""Answer of a server, whatever it calls things: a completion, an error, or a list of models.

Servers differ in where they put an answer (`content`, parts of it, tool arguments, fields for reasoning),
in where they put an error (the status, `error`, `detail`, inside a choice), and some send a stream of events
that nobody asked for. All of it is brought to one form here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from segue.chat_model.failures import NotACompletionError
from segue.chat_model.messages import ChatReply, Format
from segue.chat_model.refusals import status_in
from segue.chat_model.transport import Response

_REASONING = ("reasoning_content", "reasoning", "reasoning_text", "thinking", "thought", "thoughts",
              "reasoning_details")  # fmt: skip
_THOUGHT_PARTS = ("thinking", "reasoning", "thought", "redacted_thinking")
_NAMES = ("id", "name", "model", "model_name", "key")
_NOT_FOR_CHAT = re.compile(r"embed|rerank|whisper|tts|moderation", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class ServerAnswer:
    """An answer, read.

    Args:
        status: HTTP status; of an error that came with status 200, the one inside it.
        headers: Names in lower case.
        content: The body's JSON, events of a stream put together; None where it holds none.
        said: The server's own words about what went wrong; else the beginning of the body.
        body: The beginning of the body in lower case, for what is looked up in all of it.
        problem: Fields of the error object; empty without one.
    """

    status: int
    headers: Mapping[str, str]
    content: Any
    said: str
    body: str
    problem: Mapping[str, Any]

    @property
    def words(self) -> str:
        """Everything by which an error can be told, in lower case: message, type and code."""
        named = (self.problem.get(name) for name in ("type", "code"))
        return " ".join([self.said, *(name for name in named if isinstance(name, str))]).lower()


def read_answer(response: Response) -> ServerAnswer:
    """Read a response; never raises."""
    content = _content(response)
    problem = _problem(content, response.status)
    text = response.text()
    said = str(problem.get("message") or "") or _words(text)
    status = response.status if response.status >= 300 else status_in(problem)
    return ServerAnswer(
        status, response.headers, content, " ".join(said.split()), text[:20_000].lower(), problem
    )


def listed_models(content: Any) -> list[str]:
    """Names of the models for conversation in a list of models, whatever its shape.

    OpenAI has `{"data": [{"id": ...}]}`, others a bare list, `{"models": [{"name": ...}]}` or names alone.
    """
    listed = content
    if isinstance(content, Mapping):
        listed = next((content[k] for k in ("data", "models", "result") if content.get(k)), None)
        if listed is None and isinstance(content.get("id"), str):
            listed = [content]
    if isinstance(listed, Mapping):
        listed = [v if isinstance(v, Mapping) and _name(v) else k for k, v in listed.items()]
    names = [_name(entry) for entry in listed] if isinstance(listed, list) else []
    found = list(dict.fromkeys(name for name in names if name))
    # One chat model beside models that only embed is what local servers usually list.
    return [name for name in found if not _NOT_FOR_CHAT.search(name)] or found


def _name(entry: Any) -> str:
    if isinstance(entry, Mapping):
        if _NOT_FOR_CHAT.search(str(entry.get("type") or "")):
            return ""
        entry = next((entry[name] for name in _NAMES if isinstance(entry.get(name), str)), "")
    return entry if isinstance(entry, str) else ""


def read_completion(answer: ServerAnswer, format_: Format) -> ChatReply:
    """A completion as a `ChatReply`; NotACompletionError when the answer is not one."""
    content = answer.content
    if isinstance(content, list) and len(content) == 1:
        content = content[0]
    choices = _choices(content)
    if choices is None:
        raise NotACompletionError(
            "The server's answer is not a chat completion.",
            expected='a JSON object with "choices"',
            found=answer.said[:120] or "an empty body",
            where="the server's answer",
            fix="give the base address of an OpenAI-compatible server; it usually ends with /v1",
        )
    choice = next((c for c in choices if _said(c)), choices[0] if choices else {})
    message = _message(choice)
    arguments = tuple(_arguments(message))
    usage = content.get("usage")
    counted = usage if isinstance(usage, dict) else {}
    return ChatReply(
        text=_text_of(message.get("content")) or _text_of(choice.get("text")),
        refusal=_text_of(message.get("refusal")),
        finish_reason=str(choice.get("finish_reason") or choice.get("done_reason") or "stop"),
        format=format_,
        model=str(content.get("model") or ""),
        usage={k: v for k in ("prompt_tokens", "completion_tokens") if type(v := counted.get(k)) is int},
        arguments=arguments,
        reasoning=_reasoning(message),
        why_empty="" if choices else _why_no_choice(content),
    )


# ---- bodies ----------------------------------------------------------------------------------------------


def _content(response: Response) -> Any:
    """The body's JSON; events of a stream, or lines of JSON, put together."""
    text = response.text().lstrip("\ufeff \t\r\n")
    try:
        content = json.loads(text, strict=False)
        # Some proxies encode the body twice.
        return json.loads(content, strict=False) if isinstance(content, str) else content
    except (ValueError, RecursionError):
        pass
    events = list(_events(text))
    return _put_together(events, "[DONE]" in text) if events else None


def _events(text: str) -> Iterator[dict[str, Any]]:
    """JSON objects of a stream: lines `data: {...}`, or one object a line."""
    for line in text.splitlines():
        stripped = line.strip().removeprefix("data:").strip()
        if stripped.startswith("{"):
            try:
                event = json.loads(stripped, strict=False)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict):
                yield event


def _put_together(events: list[dict[str, Any]], done: bool) -> dict[str, Any]:
    """One completion of a stream's events, as if nobody had streamed."""
    whole: dict[str, Any] = {}
    message: dict[str, Any] = {}
    calls: dict[Any, str] = {}
    finish = ""
    for event in events:
        if isinstance(event.get("error"), (dict, str)) and event["error"]:
            return {"error": event["error"]}
        whole |= {k: v for k, v in event.items() if k in ("model", "usage", "id") and v}
        for choice in (_choices(event) or [])[:1]:
            if choice.get("error"):
                return {"error": choice["error"]}
            finish = str(choice.get("finish_reason") or choice.get("done_reason") or finish)
            finish = finish or ("stop" if choice.get("done") is True else "")
            delta = _message(choice) or {"content": choice.get("text")}
            for name in ("content", "refusal", *_REASONING):
                if piece := _text_of(delta.get(name), thoughts=name in _REASONING):
                    message[name] = message.get(name, "") + piece
            for call in _calls(delta):
                number = call.get("index", len(calls))
                calls[number] = calls.get(number, "") + _argument(call)
    # It broke on its way: 502 is one of the failures that are tried again.
    if not (finish or done):
        return {"error": {"code": 502, "message": "the server's stream of events ended before its last one"}}
    if calls:
        message["tool_calls"] = [{"function": {"arguments": text}} for text in calls.values()]
    return {**whole, "choices": [{"message": message, "finish_reason": finish or "stop"}]}


def _words(text: str) -> str:
    """The beginning of a body for people; of a page, its title."""
    title = _TITLE.search(text[:5000])
    return (f"a page with the title {title[1].strip()!r}" if title else text[:2000]) or "nothing"


# ---- errors ----------------------------------------------------------------------------------------------


def _problem(content: Any, status: int) -> dict[str, Any]:
    """The error in an answer as `{"message", "code", ...}`; empty where there is none."""
    if isinstance(content, list) and len(content) == 1:
        content = content[0]
    if not isinstance(content, Mapping):
        return {}
    found = content.get("error")
    choices = _choices(content)
    if not found and choices:
        found = choices[0].get("error") or _message(choices[0]).get("error")
        # A model that failed half-way may do better the next time.
        found = _as_problem(found, {"code": 502}) if found else found
    if not found and choices is None:
        found = content if status >= 300 or content.get("object") == "error" else None
        if (found is None and content.get("success") is False) or content.get("status") == "error":
            found = content
        if found is None and any(content.get(name) for name in ("detail", "errors", "error_message")):
            found = content
    return _as_problem(found, {}) if found else {}


def _as_problem(found: Any, default: dict[str, Any]) -> dict[str, Any]:
    if isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, Mapping):
        return {**default, "message": str(found)}
    # FastAPI says where in the request it found fault.
    where = ".".join(map(str, found["loc"])) + ": " if isinstance(found.get("loc"), list) else ""
    inner = next((found[k] for k in ("error", "detail", "errors") if found.get(k)), None)
    if not isinstance(found.get("message"), str) and inner is not None:
        return {**default, **{k: v for k, v in found.items() if k in ("code", "status", "type")},
                **_as_problem(inner, {})}  # fmt: skip
    message = next((found[k] for k in ("message", "msg", "error_message", "error_msg", "detail", "reason")
                    if isinstance(found.get(k), str)), "")  # fmt: skip
    # OpenRouter passes on what the provider behind it said.
    metadata = found.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    more = f" ({raw})" if isinstance(raw, str) and raw not in message else ""
    return {**default, **found, "message": where + (message or json.dumps(found, ensure_ascii=False)) + more}


# ---- completions -----------------------------------------------------------------------------------------


def _choices(content: Any) -> list[dict[str, Any]] | None:
    """The choices of a completion; one that has another name is brought to it. None for no completion."""
    if not isinstance(content, Mapping):
        return None
    for name in ("data", "result", "response"):
        if "choices" not in content and isinstance(content.get(name), Mapping):
            inner = _choices(content[name])
            if inner is not None:
                return inner
    if "choices" in content:
        choices = content["choices"]
        choices = [choices] if isinstance(choices, Mapping) else [] if choices is None else choices
        return [c for c in choices if isinstance(c, dict)] if isinstance(choices, list) else None
    if isinstance(content.get("message"), Mapping):  # Ollama's own way
        return [dict(content)]
    if isinstance(content.get("output"), list):  # OpenAI's "responses"
        items = [item for item in content["output"] if isinstance(item, Mapping)]
        parts = [item for item in items if item.get("type") in (None, "message", "output_text")]
        texts = "".join(_text_of(part.get("content")) or _text_of([part]) for part in parts)
        calls = [dict(item) for item in items if item.get("type") == "function_call"]
        return [{"message": {"content": texts, "tool_calls": calls}}]
    return None


def _message(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in ("message", "delta"):
        if isinstance(choice.get(name), Mapping):
            return choice[name]
    return {}


def _said(choice: Mapping[str, Any]) -> bool:
    message = _message(choice)
    return bool(_text_of(message.get("content")) or _text_of(choice.get("text")) or list(_arguments(message)))


def _text_of(content: Any, *, thoughts: bool = False) -> str:
    """A message's text; some servers send it in parts. Parts that hold thoughts are left out."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        content = [content]
    texts = []
    for part in content if isinstance(content, list) else []:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping) and (thoughts or part.get("type") not in _THOUGHT_PARTS):
            inner = next((part[k] for k in ("text", "content", "thinking", "summary", "value")
                          if part.get(k)), None)  # fmt: skip
            texts.append(inner if isinstance(inner, str) else _text_of(inner, thoughts=thoughts))
    return "".join(texts)


def _reasoning(message: Mapping[str, Any]) -> str:
    said = (_text_of(message.get(name), thoughts=True) for name in _REASONING)
    found = next((text for text in said if text.strip()), "")
    if not found and isinstance(message.get("content"), list):
        parts = [p for p in message["content"] if isinstance(p, Mapping) and p.get("type") in _THOUGHT_PARTS]
        found = _text_of(parts, thoughts=True)
    return found


def _calls(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Calls of tools in a message, in whichever of the three ways."""
    calls = message.get("tool_calls")
    listed = [c for c in calls if isinstance(c, Mapping)] if isinstance(calls, list) else []
    if isinstance(message.get("function_call"), Mapping):
        listed.append({"function": message["function_call"]})
    content = message.get("content")
    for part in content if isinstance(content, list) else []:
        if isinstance(part, Mapping) and ("input" in part or "arguments" in part or "json" in part):
            listed.append(part)
    return listed


def _argument(call: Mapping[str, Any]) -> str:
    inside = call.get("function")
    holder = inside if isinstance(inside, Mapping) else call
    value = next((holder[k] for k in ("arguments", "input", "parameters", "json") if holder.get(k)), "")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _arguments(message: Mapping[str, Any]) -> Iterator[str]:
    """Texts that a message passes to tools, and those that a server has parsed for us."""
    yield from (text for call in _calls(message) if (text := _argument(call)))
    if isinstance(message.get("parsed"), (dict, list)):
        yield json.dumps(message["parsed"], ensure_ascii=False)


def _why_no_choice(content: Mapping[str, Any]) -> str:
    about = {k: content[k] for k in ("prompt_filter_results", "prompt_feedback", "promptFeedback", "warning",
                                     "warnings", "message", "detail") if content.get(k)}  # fmt: skip
    words = json.dumps(about, ensure_ascii=False)[:300] if about else ""
    return "the server sent no choice; a filter may have taken it away" + (f": {words}" if words else "")
