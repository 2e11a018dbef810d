"""`agent:http://localhost:8000/v1?model=NAME&sam=FOLDER`: a chat model and a SAM, named in one string.

What follows the `?` is for Segue; the server never sees it. A key never belongs into the string: answers and
metrics carry a model's name.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import unquote

from segue.agent.boxes import BoxUnits
from segue.chat_model import API_KEY_VARIABLES
from segue.errors import InputError

PREFIX = "agent:"

_UNITS = {"auto": None, "1": BoxUnits.UNIT, "1000": BoxUnits.THOUSAND, "sent": BoxUnits.SENT,
          "original": BoxUnits.ORIGINAL}  # fmt: skip


@dataclass(frozen=True)
class AgentSettings:
    """Parts and options of an agent; every field but the first is an option of the address.

    Attributes:
        url: Base address of the server.
        model: As the server calls it; empty for the only one that it lists.
        sam: Folder or hub name of a SAM or SAM 2 for `transformers`; "none" fills boxes instead; empty for
            one that is in the Hugging Face cache.
        verify: Show each mask back, to be kept, dropped or drawn once more.
        side: Longest side in pixels of the images that are sent.
        boxes: What box coordinates mean; None to decide for each reply.
        tokens: Budget for the JSON around the words of an answer, and for a model's own reasoning.
        timeout: Seconds for one request.
        retries: Further attempts after a failure that may pass.
    """

    url: str
    model: str = ""
    sam: str = ""
    verify: bool = False
    side: int = 1024
    boxes: BoxUnits | None = None
    tokens: int = 1792
    timeout: float = 120.0
    retries: int = 4


def is_agent(name: object) -> bool:
    """Tell whether a model's name is an agent's address."""
    return isinstance(name, str) and name.startswith(PREFIX)


def read_address(address: str) -> AgentSettings:
    """Take an address apart.

    Args:
        address: Begins with "agent:".

    Raises:
        InputError: No server, or an option that is unknown, given twice or of a wrong value.
    """
    url, _, query = address.removeprefix(PREFIX).partition("?")
    known = [field.name for field in fields(AgentSettings) if field.name != "url"]
    if not url.startswith(("http://", "https://")):
        raise _wrong("The agent's address names no server.", "agent:http://localhost:8000/v1?model=NAME",
                     url[:80] if "@" not in url else "another address")  # fmt: skip
    given: dict[str, Any] = {}
    for option in filter(None, query.split("&")):
        name, _, text = option.partition("=")
        # `unquote`, not `unquote_plus`: model names hold plus signs.
        value = unquote(text)
        if name not in known or name in given:
            what = "is given twice" if name in given else "is unknown"
            hint = f"; keys come from {API_KEY_VARIABLES[0]}" if "key" in name.lower() else ""
            raise _wrong(f"An option of the agent's address {what}.", ", ".join(known) + hint, name[:40])
        given[name] = _value(name, value)
    return AgentSettings(url, **given)


def _value(name: str, text: str) -> Any:
    if name in ("model", "sam"):
        return text
    if name == "verify":
        return _one_of(name, text, {"1": True, "true": True, "0": False, "false": False})
    if name == "boxes":
        return _one_of(name, text, _UNITS)
    kind, least, most = {
        "side": (int, 64, 8192),
        "tokens": (int, 0, 1_000_000),
        "timeout": (float, 0.1, 3600),
        "retries": (int, 0, 20),
    }[name]
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not least <= number <= most:
        raise _wrong("An option of the agent's address has a wrong value.", f"{name} from {least} to {most}",
                     repr(text[:40]))  # fmt: skip
    return number


def _one_of(name: str, text: str, values: dict[str, Any]) -> Any:
    if text.lower() not in values:
        raise _wrong("An option of the agent's address has a wrong value.",
                     f"{name}=" + "|".join(values), repr(text[:40]))  # fmt: skip
    return values[text.lower()]


def _wrong(summary: str, expected: str, found: str) -> InputError:
    return InputError(summary, expected=expected, found=found, where="model name", fix="see docs/agent.md")
