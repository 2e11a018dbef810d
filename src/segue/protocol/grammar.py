"""What an answer may go on with: image identifiers that exist, and tags that close.

    written "a <p> mug"              not next: <p>, [SEG], the end. First </p>.
    written "a <p> mug </p> [SEG]"   next, of two images: " (IMAGE1)" or " (IMAGE2)", nothing else.

`parse` understands whatever a model writes; with this a model writes nothing that has to be excused. It
cannot keep a token budget from ending an answer inside a phrase.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from segue.protocol.answers import Dialect
from segue.protocol.tags import (
    IMAGE_TOKEN,
    OBJ_TOKEN,
    PHRASE_END,
    PHRASE_START,
    SEG_TOKEN,
    IdentifierState,
    identifier,
    read_identifier,
)

END = ""
"""Stands for the end of the answer among tags."""

_LONGEST_GAP = 8
"""Blanks that `read_identifier` passes over."""


@dataclass(frozen=True)
class AnswerGrammar:
    """Grammar of one answer.

    Args:
        dialect: Of the markup.
        num_images: That the conversation shows.

    Source: paper silent; ours.
    """

    dialect: Dialect
    num_images: int

    @property
    def required(self) -> bool:
        """Whether an identifier has to follow every `[SEG]`."""
        return self.dialect.names_images(self.num_images)

    @property
    def names(self) -> list[str]:
        """Identifiers of the images that exist."""
        return [identifier(k) for k in range(self.num_images)]

    def undecided(self, written: str) -> bool:
        """Whether what comes next still belongs to the identifier of the `[SEG]` before `written`."""
        if self.required:
            bare = written.removeprefix(" ")
            return not any(bare.startswith(name) for name in self.names)
        state, _, _ = read_identifier(written, 0)
        return state is IdentifierState.CUT_OFF or (len(written) <= _LONGEST_GAP and not written.strip())

    def permits(self, written: str) -> bool:
        """Whether a `[SEG]` may be followed by a text that begins so.

        Where the dialect leaves identifiers out (one image), anything is permitted but the name of an image
        that does not exist.
        """
        if self.required:
            bare = written.removeprefix(" ")
            return any(name.startswith(bare) or bare.startswith(name) for name in self.names)
        # As it stands, and as it would be if the number ended here: "(IMAGE2" must not come to be "(IMAGE2)".
        for text in (written, written + ")"):
            state, index, _ = read_identifier(text, 0)
            if state is IdentifierState.VALID and index not in range(self.num_images):
                return False
        return True

    def forbidden(self, tags: Iterable[str]) -> frozenset[str]:
        """Tags (and `END`) that may not come next.

        Args:
            tags: Of the answer so far, in order.
        """
        opened = None
        for tag in tags:
            if tag in (PHRASE_START, OBJ_TOKEN):
                opened = tag
            elif tag in (PHRASE_END, SEG_TOKEN):
                opened = None
        never = {IMAGE_TOKEN} | {OBJ_TOKEN} - {self.dialect.phrase_opening}
        if opened == PHRASE_START:
            return frozenset({*never, PHRASE_START, OBJ_TOKEN, SEG_TOKEN, END})
        if opened == OBJ_TOKEN:
            return frozenset({*never, PHRASE_START, PHRASE_END, OBJ_TOKEN, END})
        return frozenset({*never, PHRASE_END})
