"""Which names a text uses for things that are certainly not in its images.

Public annotations are not all complete: in PACO an object counts as absent only where the annotators said so
(`AnnotatedImage.absent`), and a name of which a region was dropped is never certain. A sentence may speak of
what is not there by denying it ("no chair", "the chair is missing").

Source: PRIMA sec. 4 and A.4 (e); how absence is established is ours.
"""

from __future__ import annotations

from collections.abc import Sequence

from segue.datasets.m4seg.images import StoredImage
from segue.datasets.m4seg.lexicon import Lexicon, Match, Name, Token, tokens
from segue.datasets.m4seg.listing import Listing
from segue.datasets.m4seg.mentions import ParsedText

# Vocabulary classes that are common words in another meaning: they count only right after a determiner.
AMBIGUOUS = frozenset(
    {"can", "watch", "train", "fan", "light", "glass", "iron", "plant", "fly", "bear", "duck", "book", "park"}
    | {"box", "bow", "drill", "hammer", "belt", "sink", "plate", "remote", "board", "land", "stand", "screen"}
    | {
        "back",
        "face",
        "head",
        "base",
        "top",
        "bottom",
        "side",
        "front",
        "body",
        "cover",
        "saw",
        "clip",
        "bar",
    }
    | {
        "orange",
        "palm",
        "stool",
        "lock",
        "lead",
        "bat",
        "ground",
        "floor",
        "wall",
        "range",
        "counter",
        "sign",
    }
)
# Words for the images themselves and for whatever is in them.
SELF = frozenset(
    {"image", "picture", "photo", "photograph", "scene", "view", "object", "thing", "part", "frame"}
)
_DETERMINERS = frozenset(
    {"a", "an", "the", "this", "that", "these", "those", "its", "their", "his", "her", "some", "any", "each"}
    | {
        "every",
        "another",
        "both",
        "all",
        "several",
        "many",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "no",
    }
)
_DENYING = frozenset({"no", "without", "lacks", "lack", "lacking", "neither", "nor", "lacked", "excludes"})
_DENYING_OF = frozenset({"absence", "devoid", "free"})
_NOT = frozenset({"not", "isn't", "aren't", "doesn't", "don't", "never", "cannot", "wasn't", "weren't"})
_POSSESSING = frozenset(
    {"have", "contain", "show", "include", "feature", "display", "a", "an", "any", "there", "possess", "one"}
)
# What may stand between the denial and its noun: "no visible chair or table".
_PASSED_BY = frozenset(
    {"a", "an", "the", "any", "or", "nor", "visible", "other", "such", "additional", "single", "of", "have"}
    | {
        "contain",
        "show",
        "include",
        "feature",
        "display",
        "possess",
        "there",
        "is",
        "are",
        "clear",
        "separate",
    }
)
_AFTER = frozenset(
    {"is", "are", "was", "were", "be", "seems", "seem", "appears", "appear", "to", "also", "both"}
)
_AFTER |= frozenset({"completely", "entirely", "simply", "clearly", "in", "it", "at", "all", "just"})
_GONE = frozenset({"absent", "missing", "nowhere", "lacking"})
_SEEN = frozenset(
    {"visible", "present", "shown", "seen", "there", "included", "depicted", "found", "pictured"}
)
_FARTHEST = 6  # words after a noun within which its denial must stand


def absent_names(text: ParsedText, listing: Listing, lexicon: Lexicon) -> list[str]:
    """The names in a text, used without an identifier, of things that no image of the set shows.

    Names that the text denies, that some image may show for all that is known, or that are the head of a
    listed name ("table" where there is a "dining table") are not among them.
    """
    referred = [(mention.start, mention.end) for mention in text.mentions]
    found = []
    for match in lexicon.nouns(text.tokens):
        start, end = text.tokens[match.first].start, text.tokens[match.last].end
        # A name with an identifier is the parser's: it finds the wrong ones (`ParsedText.faults`).
        if any(start < last and end > first for first, last in referred):
            continue
        if not _counts_as_noun(match, text.tokens) or _is_denied(match, text.tokens, text.raw, lexicon):
            continue
        if any(_may_be_there(name, listing) for name in match.names):
            continue
        found.append(match.names[0].full)
    return found


def may_show(image: StoredImage, name: Name) -> bool:
    """Whether an image shows something of this name, or may show it for all that its annotation says."""
    if {name.key, name.owner} & image.unsure or any(name.full == image.full_name(r) for r in image.regions):
        return True
    # A closed list says what is absent; an object that is there may have any part unless that is listed.
    return image.absent is not None and not {name.key, name.owner} & image.absent


def _may_be_there(name: Name, listing: Listing) -> bool:
    if not name.part and (name.owner in listing.heads or name.owner in SELF):
        return True
    return any(may_show(image, name) for image in listing.images)


def _counts_as_noun(match: Match, found: Sequence[Token]) -> bool:
    words = {word for name in match.names for word in (name.owner, name.full)}
    if match.first != match.last or not words & AMBIGUOUS:
        return True
    return match.first > 0 and found[match.first - 1].text in _DETERMINERS


def _is_denied(match: Match, found: Sequence[Token], raw: str, lexicon: Lexicon) -> bool:
    return _denied_before(match, found, raw, lexicon) or _denied_after(match, found, raw)


def _denied_before(match: Match, found: Sequence[Token], raw: str, lexicon: Lexicon) -> bool:
    """Whether "no", "without", "does not have" reach the noun, past adjectives and other names only."""
    # Leftwards from the noun: in "no visible chair or table" the table passes "or", the name "chair" and
    # "visible", and reaches "no". Any other word, such as a verb, ends the search.
    position = match.first - 1
    joined_by_and = False
    while position >= 0 and _same_sentence(raw, found[position].end, found[position + 1].start):
        word = found[position].text
        if word in _DENYING:
            # "There is no dog and a cat sleeps": only "without" and the like reach past an "and".
            return not joined_by_and or word not in ("no", "nor")
        if word in _DENYING_OF:
            return found[position + 1].text in ("of", "from")
        # "does not have a chair" denies the chair; "is not near the chair" does not.
        if word in _NOT:
            return found[position + 1].text in _POSSESSING
        if word == "and":
            joined_by_and = True
        elif word not in _PASSED_BY and not lexicon.ending_at(found, position):
            return False
        position -= 1
    return False


def _denied_after(match: Match, found: Sequence[Token], raw: str) -> bool:
    """Whether "is absent", "are not visible" follow the noun."""
    for position in range(match.last + 1, min(match.last + 1 + _FARTHEST, len(found))):
        if not _same_sentence(raw, found[position - 1].end, found[position].start):
            return False
        word = found[position].text
        if word in _GONE:
            return True
        if word in _NOT:
            # "is not clearly visible": one word may stand between.
            return any(token.text in _SEEN for token in found[position + 1 : position + 3])
        # Numbers and "image" may pass: "the chair in image 2 is missing".
        if word not in _AFTER and word not in ("image", "images") and not found[position].is_number:
            return False
    return False


def _same_sentence(raw: str, end: int, start: int) -> bool:
    return not any(mark in raw[end:start] for mark in ".;!?:")


def lexicon_of(vocabulary: dict[str, set[str]]) -> Lexicon:
    """A lexicon of what can be said in words at all; names without letters are left out."""
    spoken = {
        owner: {part for part in parts if tokens(part)}
        for owner, parts in vocabulary.items()
        if any(not token.is_number for token in tokens(owner))
    }
    return Lexicon(spoken)
