"""Estimate of a job: requests, tokens and money, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from segue.chat_model import Message, Prices
from segue.datasets.generation.job import GenerationJob
from segue.errors import SegueError

_LOOKED_AT = 3
"""Items whose first request is built to measure prompts."""


@dataclass(frozen=True)
class Estimate:
    """Requests, tokens and money that the unfinished items will take.

    Attributes:
        items: Of the job.
        finished: Of these, from earlier runs.
        requests: Expected, without retries.
        most_requests: When every step of every item needs all its attempts.
        prompt_tokens, completion_tokens: Expected for `requests`.
        money: Expected; None where prices are unknown.
        measured: From this folder's own replies rather than guessed.
    """

    items: int
    finished: int
    requests: int
    most_requests: int
    prompt_tokens: int
    completion_tokens: int
    money: float | None
    measured: bool

    def lines(self) -> list[str]:
        """For a terminal."""
        basis = "measured on the replies so far" if self.measured else "guessed from the first items"
        cost = "unknown, since no prices are given" if self.money is None else f"about {self.money:.2f}"
        return [
            f"{self.items} items, {self.finished} of them finished",
            f"still to ask: about {self.requests} requests (at most {self.most_requests})",
            f"tokens: about {self.prompt_tokens} of prompts, {self.completion_tokens} of replies ({basis})",
            f"cost: {cost}",
        ]


@dataclass(frozen=True)
class Experience:
    """Means over what a folder holds: replies per finished item, and tokens per reply."""

    replies: float
    prompt_tokens: float
    completion_tokens: float


def estimate(
    job: GenerationJob, finished: int, attempts: int, prices: Prices | None, experience: Experience | None
) -> Estimate:
    """Estimate the rest of a job.

    Args:
        job: What shall be made.
        finished: Items that are done.
        attempts: Most replies to one request.
        prices: None where unknown.
        experience: None before the first reply; then the first items' prompts are measured, four characters
            to a token, and images as OpenAI counts them.

    Source: OpenAI's published rule for images (512-pixel tiles); the rest is ours.
    """
    left = len(job.items) - finished
    if experience is None:
        prompt = _prompt_tokens(job)
        experience = Experience(job.steps, prompt, job.reply_tokens)
        measured = False
    else:
        measured = True
    requests = round(left * experience.replies)
    prompts, replies = requests * experience.prompt_tokens, requests * experience.completion_tokens
    money = None if prices is None else prices.of(round(prompts), round(replies))
    # `steps` is the usual number; items seen so far may have taken more.
    most = left * job.steps * attempts
    return Estimate(
        len(job.items),
        finished,
        requests,
        max(most, requests),
        round(prompts),
        round(replies),
        money,
        measured,
    )


def _prompt_tokens(job: GenerationJob) -> float:
    """Mean tokens of the first requests; an item that cannot be asked about is passed over."""
    counts = []
    for item in job.items[:_LOOKED_AT]:
        # Only the first request: later ones depend on replies that nobody has yet.
        flow = job.make(item)
        try:
            counts.append(sum(map(_tokens_of, next(flow).messages)))
        except (StopIteration, SegueError):
            continue
        finally:
            flow.close()
    return sum(counts) / len(counts) if counts else 0.0


def _tokens_of(message: Message) -> float:
    return sum(len(p) / 4 if isinstance(p, str) else image_tokens(p) for p in message.content)


def image_tokens(image: Image.Image) -> int:
    """Tokens of an image: 85, and 170 for each 512-pixel tile of it, with 768 pixels on its short side."""
    # 1024 x 1024 becomes 768 x 768, which is 2 x 2 tiles: 85 + 4 * 170 = 765 tokens. Never enlarged.
    scale = min(1.0, 2048 / max(image.size), 768 / min(image.size))
    width, height = (round(side * scale) for side in image.size)
    return 85 + 170 * (-(-width // 512)) * (-(-height // 512))
