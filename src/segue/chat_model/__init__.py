"""Chat models behind one small protocol: any OpenAI-compatible server, and recordings of one.

Messages hold text and PIL images in any order; what a server is sent is made from them here and nowhere
else. No torch: data pipelines use this on machines without one.
"""

from __future__ import annotations

from segue.chat_model.failures import (
    BudgetSpentError,
    NotACompletionError,
    RefusedError,
    UnreachableError,
)
from segue.chat_model.limits import Budget, Prices, RateLimiter, RetryPolicy
from segue.chat_model.messages import ChatModel, ChatReply, Format, Message, fingerprint, image_part
from segue.chat_model.openai import API_KEY_VARIABLES, OpenAIChatModel
from segue.chat_model.recording import RecordingChatModel, ReplayChatModel

__all__ = [
    "API_KEY_VARIABLES",
    "Budget",
    "BudgetSpentError",
    "ChatModel",
    "ChatReply",
    "Format",
    "Message",
    "NotACompletionError",
    "OpenAIChatModel",
    "Prices",
    "RateLimiter",
    "RecordingChatModel",
    "RefusedError",
    "ReplayChatModel",
    "RetryPolicy",
    "UnreachableError",
    "fingerprint",
    "image_part",
]
