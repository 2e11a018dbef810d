"""PRIMA's way of writing: `the <p> red mug </p> [SEG] (IMAGE1) is smaller`.

Blanks, stated exactly, because a round trip depends on them. `render` writes `<p>`, one blank, the phrase,
one blank, `</p>`, and for each mask one blank, `[SEG]`, one blank, the identifier. `parse` takes away what
`render` adds: at most one blank after `<p>` and before `</p>`, all blanks between `</p>` (or an identifier)
and a `[SEG]` that belongs to the same phrase, and the blanks between `[SEG]` and its identifier. Every
other blank of the text stays.

A span of length zero has no phrase and is written without `<p></p>` and without additional blanks:

    render("It is .", [MarkedSpan(6, 6, (0,))]) == "It is [SEG] (IMAGE1)."

`parse` reports such a `[SEG]` as unplaced, NO_PHRASE, with its image index and its place in the text, and
`ParsedAnswer.marked_spans` gives the span back. It cannot follow another span with nothing but blanks (or
identifiers) between them, because it would read as one more mask of that span: `render` refuses.

Where taking out a tag would make a new one of its neighbours ("[SE[SEG]G]"), a blank is put in its place, so
that the clean text never contains a tag literal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from segue.errors import InputError
from segue.protocol.answers import (
    MarkedSpan,
    Note,
    ParsedAnswer,
    ParsedGrounding,
    Reason,
    Source,
    Unplaced,
)
from segue.protocol.tags import (
    PHRASE_END,
    PHRASE_START,
    SEG_TOKEN,
    TAG_LITERALS,
    TAG_PATTERN,
    IdentifierState,
    contains_tag,
    identifier,
    is_blank,
    overview,
    read_identifier,
)

# "image 2", "Image #2". Blanks are bounded: a model's runs of them must not cost time.
_MENTION = re.compile(r"\bimage[ \t]{0,2}#?[ \t]{0,2}([0-9]{1,4})\b", re.IGNORECASE | re.ASCII)
# A full stop counts before a blank only: "3.5 metres" is one sentence.
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z)|\n")
# Longest literal minus one: only so many characters on both sides of a removed tag can form a new literal.
_REACH = 6
# Two or more characters of a literal at the very end. A lone "<" or "[" is more often prose.
_CUT_TAG = re.compile(r"(?:\[SEG?|\[S|\[OBJ?|\[O|<p|</p?|<im?a?g?e?)\Z")


class PrimaDialect:
    """Render and parse PRIMA's markup.

    Source: PRIMA section 3.2; every rule for malformed text is ours, paper silent.
    """

    name = "prima"
    phrase_opening = PHRASE_START
    one_by_one = False

    def names_images(self, num_images: int) -> bool:
        """Always: PRIMA names the image even if there is only one."""
        return True

    def opening(self, num_images: int) -> str:
        """The overview sentence and a line break; see `segue.protocol.overview`."""
        return overview(num_images) + "\n"

    def as_past_turn(self, markup: str, num_images: int) -> str:
        """An earlier answer as context: as it was, with stray tags taken out.

        A model may write `<image>`, which in a prompt would ask for another image's visual tokens.
        """
        parsed = self.parse(markup, num_images)
        try:
            return self.render(parsed.text, parsed.marked_spans(), num_images)
        except InputError:
            return parsed.text

    def render(self, text: str, spans: Sequence[MarkedSpan], num_images: int | None = None) -> str:
        """Write `text` with the tags of `spans`.

        Example: `render("the mugs", [MarkedSpan(4, 8, (0, 1))])` is
        "the <p> mugs </p> [SEG] (IMAGE1) [SEG] (IMAGE2)".

        Args:
            text: The clean answer, without tag literals.
            spans: Ordered, not overlapping, each with at least one image index.
            num_images: How many images the conversation has, if known. PRIMA names the image even if there
                is only one; other dialects need not.

        Returns:
            The markup.

        Raises:
            InputError: A tag literal in `text`, or spans that are out of the text, out of order,
                overlapping, without images, or (length zero) directly after another span.
        """
        if literal := contains_tag(text):
            raise InputError(
                "A clean text contains a tag.",
                expected="text without " + ", ".join(TAG_LITERALS),
                found=f"{literal!r} at character {text.index(literal)}",
                where=repr(text[:60]),
                fix="pass the text through segue.protocol.escape_user_text, or mark the place with a span",
            )
        parts: list[str] = []
        done = 0
        for number, span in enumerate(spans):
            _check_span(text, span, number, done)
            parts.append(text[done : span.start])
            parts.append(self.marked(text, span, num_images))
            done = span.end
        parts.append(text[done:])
        return "".join(parts)

    def marked(self, text: str, span: MarkedSpan, num_images: int | None) -> str:
        """One span with its tags: `<p> mugs </p> [SEG] (IMAGE1) [SEG] (IMAGE2)`."""
        masks = " ".join(f"{SEG_TOKEN} {identifier(k)}" for k in span.image_indices)
        if span.start == span.end:
            return masks
        return f"{PHRASE_START} {text[span.start : span.end]} {PHRASE_END} {masks}"

    def parse(self, markup: str, num_images: int, *, lenient: bool = False) -> ParsedAnswer:
        """Take an answer apart; never raises, linear in the length of `markup`.

        Args:
            markup: What the model wrote.
            num_images: How many images the conversation has.
            lenient: Infer a missing identifier from the sentence or the previous `[SEG]`.

        Returns:
            Text, groundings, unplaced `[SEG]` and notes; every `[SEG]` is in groundings or in unplaced.
        """
        return _Reading(markup, num_images, lenient).run()


def _check_span(text: str, span: MarkedSpan, number: int, done: int) -> None:
    """Raise InputError unless the span, after `done` characters, can be written and read back."""
    problem = ""
    if not 0 <= span.start <= span.end <= len(text):
        problem = f"a range within 0..{len(text)}"
    elif span.start < done:
        problem = f"a start at or after {done}, where the span before ends"
    elif not span.image_indices:
        problem = "at least one image index (a phrase without a mask needs no span)"
    elif span.start == span.end and number > 0 and is_blank(text[done : span.start]):
        problem = "words between an empty span and the span before it (else it reads as a mask of that one)"
    if problem:
        raise InputError(
            "A span cannot be written as markup.",
            expected=problem,
            found=f"({span.start}, {span.end}) with images {list(span.image_indices)}",
            where=f"span {number} of {text[:60]!r}",
            fix="order the spans by start, keep them apart, and give each the images of its masks",
        )


@dataclass(slots=True)
class _Phrase:
    """A closed phrase of the clean text, waiting for its [SEG]."""

    start: int
    end: int
    sentence: int
    used: bool = False


@dataclass(slots=True)
class _Seg:
    """A [SEG] while reading: its image if known, and how."""

    ordinal: int
    span: tuple[int, int]
    image_index: int | None
    source: Source
    reason: Reason | None
    detail: str


class _Reading:
    """One pass over a markup, left to right, one step per tag; holds the state between tags."""

    def __init__(self, markup: str, num_images: int, lenient: bool) -> None:
        self.markup = markup
        self.num_images = num_images
        self.lenient = lenient
        self.parts: list[str] = []
        # Of the clean text so far; counted along, for a join at every tag would not be linear.
        self.length = 0
        self.tail = ""
        self.open_at: int | None = None
        self.just_opened = False
        self.just_stray = False
        self.phrases: list[_Phrase] = []
        # What a [SEG] standing right here belongs to; an empty range after a [SEG] without a phrase.
        self.attached: _Phrase | None = None
        self.segs: list[_Seg] = []
        self.notes: list[Note] = []
        self.sentence = 0
        self.mentioned: int | None = None
        self.previous: int | None = None

    def run(self) -> ParsedAnswer:
        """Walk over the tags, then over the rest of the text."""
        position = 0
        # Not finditer: a [SEG] moves the position past its identifier.
        while match := TAG_PATTERN.search(self.markup, position):
            gap, tag = self.markup[position : match.start()], match[0]
            position = match.end()
            if tag == SEG_TOKEN:
                position = self._seg(gap, position)
            elif tag == PHRASE_START:
                self._phrase_start(gap)
            elif tag == PHRASE_END:
                self._phrase_end(gap)
            else:
                self._write(gap)
                self._note(Reason.STRAY_TAG, f"the model wrote {tag}, which does not belong into an answer")
        self._write(self.markup[position:])
        if self.open_at is not None:
            self._note(Reason.UNCLOSED_PHRASE, f"{PHRASE_START} without {PHRASE_END} and without {SEG_TOKEN}")
        if cut := _CUT_TAG.search(self.tail):
            self._note(Reason.TRUNCATED_TAG, f"the answer ends inside a tag: {cut[0]!r} stays in the text")
        return self._finish()

    # ---- tags ----------------------------------------------------------------------------------------------

    def _phrase_start(self, gap: str) -> None:
        self._write(gap)
        if self.open_at is not None:
            self._note(Reason.NESTED_TAGS, f"{PHRASE_START} inside {PHRASE_START}: the inner one counts")
        self.open_at, self.just_opened, self.attached = self.length, True, None

    def _phrase_end(self, gap: str) -> None:
        if self.open_at is None:
            # Blanks between a phrase and a second `</p>` belong to the markup; a [SEG] may still follow.
            if self.attached is None or gap.strip():
                self._write(gap)
                self.just_stray = True
            self._note(Reason.STRAY_TAG, f"{PHRASE_END} closes nothing")
            return
        gap = self._after_opening(gap)
        self._write(gap.removesuffix(" "))
        self._close()

    def _seg(self, gap: str, position: int) -> int:
        """Handle a [SEG]; returns the index in the markup after its identifier."""
        state, image_index, after = read_identifier(self.markup, position)
        phrase = self.attached = self._phrase_for_seg(gap)
        phrase.used = True
        seg = _Seg(len(self.segs), (phrase.start, phrase.end), None, Source.EXPLICIT, None, "")
        found = self.markup[position : min(after, position + 60)].strip()
        self._locate(seg, state, image_index, found)
        self.segs.append(seg)
        if seg.image_index is not None:
            self.previous = seg.image_index
            if seg.source is Source.EXPLICIT:
                # An image that was guessed is no mention: one guess must not carry the next.
                self.mentioned = seg.image_index
        return after

    def _phrase_for_seg(self, gap: str) -> _Phrase:
        """Write the text before a [SEG] and choose its phrase."""
        attached = self.attached
        if self.open_at is not None:
            self._write(self._after_opening(gap).rstrip())
            self._note(
                Reason.UNCLOSED_PHRASE, f"{PHRASE_START} without {PHRASE_END}: the phrase ends at {SEG_TOKEN}"
            )
            return self._close()
        if attached is not None and is_blank(gap):
            # Blanks alone belong to the markup, not to the text; identifiers among them stay.
            self._write(gap if gap.strip() else "")
            return attached
        self._write(gap)
        return self._detached_phrase()

    def _detached_phrase(self) -> _Phrase:
        """The last phrase of this sentence that still waits for a [SEG], else an empty one at this place."""
        last = self.phrases[-1] if self.phrases else None
        if last is not None and not last.used and last.sentence == self.sentence:
            self._note(Reason.DETACHED_SEG, f"words stand between {PHRASE_END} and {SEG_TOKEN}")
            return last
        return _Phrase(self.length, self.length, self.sentence)

    def _locate(self, seg: _Seg, state: IdentifierState, image_index: int | None, found: str) -> None:
        """Decide on the image of a [SEG], or on the reason why it has none."""
        if state is IdentifierState.VALID and image_index is not None:
            if 0 <= image_index < self.num_images:
                seg.image_index = image_index
            else:
                seg.reason = Reason.IDENTIFIER_OUT_OF_RANGE
                seg.detail = f"{found} names none of the {self.num_images} image(s)"
            return
        reason, detail = {
            IdentifierState.MALFORMED: (Reason.MALFORMED_IDENTIFIER, f"{found!r} is no image identifier"),
            IdentifierState.CUT_OFF: (Reason.TRUNCATED_TAG, f"the answer ends inside {found!r}"),
        }.get(state, (Reason.MISSING_IDENTIFIER, f"no image identifier after {SEG_TOKEN}"))
        if self.num_images == 1:
            seg.image_index, seg.source = 0, Source.INFERRED
        elif self.lenient and self.mentioned is not None:
            seg.image_index, seg.source = self.mentioned, Source.SENTENCE
        elif self.lenient and self.previous is not None:
            seg.image_index, seg.source = self.previous, Source.PREVIOUS
        else:
            seg.reason, seg.detail = reason, detail
            return
        if self.num_images == 1 and reason is Reason.MISSING_IDENTIFIER:
            return  # one image needs no identifier; `source` already says that it was inferred
        self._note(reason, f"{detail}; placed in image_index {seg.image_index} ({seg.source.value})")

    # ---- text ----------------------------------------------------------------------------------------------

    def _after_opening(self, gap: str) -> str:
        """Drop the one blank that follows `<p>`, when this gap is the one directly after it."""
        if self.just_opened:
            self.just_opened = False
            return gap.removeprefix(" ")
        return gap

    def _close(self) -> _Phrase:
        start = self.length if self.open_at is None else min(self.open_at, self.length)
        self.open_at = None
        phrase = _Phrase(start, self.length, self.sentence)
        self.phrases.append(phrase)
        self.attached = phrase
        return phrase

    def _write(self, piece: str) -> None:
        """Append plain text, and never let the removal of a tag create a new literal."""
        piece = self._after_opening(piece)
        if self.just_stray:
            self.just_stray = False
            # "a </p> b" without its tag has two blanks; the second one goes.
            if self.tail.endswith(" "):
                piece = piece.removeprefix(" ")
        if not piece:
            return
        self.attached = None
        self._follow_sentence(piece)
        # "[SE" was written, and "G]" follows: the blank keeps them from becoming a tag.
        if contains_tag(self.tail + piece[:_REACH]):
            piece = " " + piece
        self.parts.append(piece)
        self.length += len(piece)
        self.tail = (self.tail + piece)[-_REACH:]

    def _follow_sentence(self, piece: str) -> None:
        """Keep `sentence` and `mentioned` up to date; each piece is scanned once."""
        begin = 0
        for end in _SENTENCE_END.finditer(piece):
            self.sentence += 1
            self.mentioned = None
            begin = end.end()
        # Behind the last sentence end alone; 1-based in the text, 0-based from here on.
        for mention in _MENTION.finditer(piece, begin):
            index = int(mention[1]) - 1
            if 0 <= index < self.num_images:
                self.mentioned = index

    def _note(self, reason: Reason, detail: str) -> None:
        self.notes.append(Note(reason, detail, self.length))

    def _finish(self) -> ParsedAnswer:
        text = "".join(self.parts)
        groundings: list[ParsedGrounding] = []
        unplaced: list[Unplaced] = []
        for seg in self.segs:
            start, end = seg.span
            if seg.reason is not None:
                unplaced.append(Unplaced(seg.ordinal, seg.reason, seg.detail, None, seg.span))
            elif start == end or seg.image_index is None:
                detail = f"no phrase before {SEG_TOKEN}; its image_index is {seg.image_index}"
                unplaced.append(Unplaced(seg.ordinal, Reason.NO_PHRASE, detail, seg.image_index, seg.span))
            else:
                groundings.append(
                    ParsedGrounding(text[start:end], seg.span, seg.image_index, seg.ordinal, seg.source)
                )
        # Only at the end is it known that no [SEG] came, so these notes are sorted in by their place.
        for phrase in self.phrases:
            if not phrase.used:
                detail = f"no {SEG_TOKEN} follows {text[phrase.start : phrase.end][:60]!r}"
                self.notes.append(Note(Reason.PHRASE_WITHOUT_SEG, detail, phrase.start))
        notes = sorted(self.notes, key=lambda note: note.offset)
        return ParsedAnswer(text, tuple(groundings), tuple(unplaced), tuple(notes))
