"""Settings of a server: what it takes, how much of it at once, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class TokenLimits:
    """What one bearer token may ask for.

    Attributes:
        name: Stands in logs and metrics in the token's place.
        per_minute: Requests a minute; None for any number.
        at_once: Requests under way; None for any number.
    """

    name: str = "anyone"
    per_minute: int | None = None
    at_once: int | None = None


@dataclass(frozen=True)
class Settings:
    """Limits of a server; each protects memory or time of everybody else.

    Attributes:
        tokens: Bearer tokens and their limits; none means that no token is asked for.
        anyone: Limits where no token is asked for.
        cors_origins: Origins of web pages that may ask, beside those of this machine; "*" for all.
        allowed_hosts: Hosts (or host:port) whose pictures are fetched; none by default.
        internal_hosts: Whether an allowed host may have an address of the internal network.
        most_body: Bytes of a request's body, unpacked.
        most_bodies: Bytes of all bodies that are being received at a time.
        most_image: Bytes of one fetched picture.
        most_pixels: Pixels of one picture; known from its header, before it is decoded.
        most_pixels_at_once: Pixels of all pictures of the requests under way.
        most_messages: Messages of a conversation.
        most_characters: Characters of all its texts.
        most_regions: Regions that all its questions point at.
        most_kept_pictures: Bytes of picture files kept for `uuid`.
        queue: Requests under way, waiting or answered; further ones get 429.
        batch_size: Questions asked in one batch, where they are not streamed.
        kept_conversations: Conversations whose encoder outputs and keys and values are kept.
        timeout: Seconds for a whole request, from its body to the end of its answer.
        body_timeout: Seconds for a request's body; headers get the same.
        fetch_timeout: Seconds for one picture from an allowed host.
        grace: Seconds that requests under way have after SIGTERM.
        connections: Open connections.
        keep_alive: Seconds between two comments in a stream that has nothing to say.
    """

    tokens: dict[str, TokenLimits] = field(default_factory=dict, repr=False)
    anyone: TokenLimits = TokenLimits()
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    internal_hosts: bool = False
    most_body: int = 64 * MEBIBYTE
    most_bodies: int = 512 * MEBIBYTE
    most_image: int = 20 * MEBIBYTE
    most_pixels: int = 50_000_000
    most_pixels_at_once: int = 500_000_000
    most_messages: int = 200
    most_characters: int = 100_000
    most_regions: int = 16
    most_kept_pictures: int = 256 * MEBIBYTE
    queue: int = 64
    batch_size: int = 8
    kept_conversations: int = 8
    timeout: float = 300.0
    body_timeout: float = 30.0
    fetch_timeout: float = 5.0
    grace: float = 60.0
    connections: int = 1000
    keep_alive: float = 10.0
