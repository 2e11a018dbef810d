"""What can be said of images whose findings are known, each phrase with what it names.

The wording is that of `segue.data.own.statements`, so that a user's own data continue what the model speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from segue import protocol
from segue.data.language import english
from segue.data.own.statements import numbered
from segue.data.own.things import Thing
from segue.mini.talk.kinds import Kinds
from segue.models.mini.findings import Finding

CLAIMED, SURE = 0.5, 0.8
"""Presence from which on a finding is said to be there; from which on without any doubt."""

HEDGED = 0.3
"""Presence from which on what is asked for is spoken of with a doubt, where nothing is claimed."""

MOST_NAMES, MOST_SEGS = 6, 6
"""Names of one list; masks of one phrase."""


@dataclass(frozen=True)
class Mention:
    """Characters `[start, end)` name these findings of one image, a `[SEG]` each."""

    start: int
    end: int
    image_index: int
    findings: tuple[Finding, ...]


@dataclass
class Answer:
    """An answer under construction."""

    text: str = ""
    mentions: list[Mention] = field(default_factory=list)

    def say(self, text: str) -> Answer:
        """Add plain text."""
        self.text += text
        return self

    def ground(self, phrase: str, k: int, findings: Sequence[Finding]) -> Answer:
        """Add a phrase for some findings of image k."""
        start = len(self.text)
        self.mentions.append(Mention(start, start + len(phrase), k, tuple(findings[:MOST_SEGS])))
        return self.say(phrase)

    def sentence(self) -> Answer:
        """Begin another sentence."""
        return self.say(" ") if self.text else self

    def join(self, pieces: Sequence[Callable[[], object]]) -> Answer:
        """Write pieces as a list: "A", "A and B", "A, B and C"."""
        for position, piece in enumerate(pieces):
            if position:
                self.say(" and " if position == len(pieces) - 1 else ", ")
            piece()
        return self

    @property
    def markup(self) -> str:
        """With tags, one `[SEG]` for each finding."""
        spans = [
            protocol.MarkedSpan(m.start, m.end, (m.image_index,) * len(m.findings)) for m in self.mentions
        ]
        return protocol.render(self.text, spans)


@dataclass(frozen=True)
class Wanted:
    """What a question asks for.

    Attributes:
        names: those of the findings that fit.
        thing: as the answer calls it where it is missing ("dog", "animal"); None for a purpose.
        use: what it is for ("sit on").
        colour: which it must have where colours are told.
    """

    names: frozenset[str]
    thing: Thing | None = None
    use: str = ""
    colour: str | None = None

    def fits(self, finding: Finding) -> bool:
        """Whether a finding is one."""
        return finding.name in self.names and (self.colour is None or finding.colour in (None, self.colour))

    def no(self) -> str:
        """Write "is no dog", "are no trousers", "is nothing to sit on"."""
        if self.thing is None:
            return f"is nothing to {self.use}"
        colour = f"{self.colour} " if self.colour else ""
        return f"{'are' if self.thing.takes_are(1) else 'is'} no {colour}{self.thing.phrase()}"

    def one(self) -> str:
        """Write "is one", "are some", "is something"."""
        if self.thing is None:
            return "is something"
        if self.thing.takes_are(1):
            return "are some"
        return "is one" if english.is_countable(self.thing.phrase()) else "is some"


Group = tuple[Thing, str, list[Finding]]
"""Findings of one name (and colour): its words, "red " or nothing, and the findings."""


class Statements:
    """Sentences about images.

    Args:
        images: their findings, as they are spelled.
    """

    def __init__(self, images: Sequence[Sequence[Finding]], kinds: Kinds) -> None:
        self.images, self.kinds = images, kinds
        self.all = tuple(range(len(images)))
        self.claimed = [[f for f in image if f.presence >= CLAIMED] for image in images]

    # What there is.

    def matching(self, wanted: Wanted, k: int) -> list[Finding]:
        """What an image is said to show of it."""
        return [f for f in self.claimed[k] if wanted.fits(f)]

    def having(self, wanted: Wanted, scope: Sequence[int] | None = None) -> list[int]:
        """The images that show it."""
        return [k for k in (self.all if scope is None else scope) if self.matching(wanted, k)]

    def groups(self, findings: Sequence[Finding]) -> list[Group]:
        """By name and colour, in the order in which each comes first."""
        found: dict[tuple[str, str], list[Finding]] = {}
        for f in findings:
            found.setdefault((f.name, f"{f.colour} " if f.colour else ""), []).append(f)
        return [(self.kinds.thing(name), colour, fs) for (name, colour), fs in found.items()]

    def objects(self, k: int) -> list[Finding]:
        """What a list of the image's contents names: no parts, and what is only likely if nothing is sure."""
        whole = [f for f in self.claimed[k] if not self.kinds.thing(f.name).owner]
        return [f for f in whole if f.presence >= SURE] or whole

    # Pieces.

    def phrase(self, answer: Answer, group: Group, k: int) -> None:
        """Write "dogs" with its masks."""
        thing, colour, found = group
        answer.ground(colour + thing.phrase(len(found)), k, found)

    def the(self, answer: Answer, group: Group, k: int) -> None:
        """Write "the dogs in image 2"."""
        answer.say("the ")
        self.phrase(answer, group, k)
        answer.say(f" in image {k + 1}")

    def some(self, answer: Answer, group: Group, k: int, *, counted: bool = False) -> None:
        """Write "a dog", "dogs", "hair", "the dog's head"; "one dog", "two dogs" when counted."""
        thing, colour, found = group
        if thing.owner:
            answer.say("the ")
        elif english.is_countable(thing.phrase()):
            if counted:
                answer.say(f"{english.number(len(found))} ")
            elif len(found) == 1:
                answer.say(f"{english.article(colour or thing.phrase())} ")
        self.phrase(answer, group, k)

    def list_groups(self, answer: Answer, findings: Sequence[Finding], k: int) -> None:
        """Write "a dog, cups and the dog's head"."""
        groups = self.groups(findings)[:MOST_NAMES]
        answer.join([_piece(self.some, answer, group, k) for group in groups])

    # Sentences.

    def here(self, answer: Answer, wanted: Wanted, scope: Sequence[int]) -> None:
        """Write "Here is the dog in image 1." or why there is none."""
        pieces = [(g, k) for k in self.having(wanted, scope) for g in self.groups(self.matching(wanted, k))]
        if not pieces:
            self.absent(answer, wanted, scope)
            return
        many = len(pieces) > 1 or _are(pieces[0][0])
        answer.sentence().say(f"Here {'are' if many else 'is'} ")
        answer.join([_piece(self.the, answer, group, k) for group, k in pieces]).say(".")

    def where(self, answer: Answer, wanted: Wanted, scope: Sequence[int]) -> None:
        """Write "The dog is on the left of image 1 and the dogs are in image 2." or why there is none."""
        pieces = [(g, k) for k in self.having(wanted, scope) for g in self.groups(self.matching(wanted, k))]
        if not pieces:
            self.absent(answer, wanted, scope)
            return
        start = len(answer.text)
        answer.join([_piece(self._at, answer, group, k) for group, k in pieces]).say(".")
        answer.text = answer.text[:start] + answer.text[start].upper() + answer.text[start + 1 :]

    def _at(self, answer: Answer, group: Group, k: int) -> None:
        answer.say("the ")
        self.phrase(answer, group, k)
        found = group[2]
        place = f"{place_of(found[0])} of" if len(found) == 1 else "in"
        answer.say(f" {'are' if _are(group) else 'is'} {place} image {k + 1}")

    def exists(
        self,
        answer: Answer,
        wanted: Wanted,
        scope: Sequence[int],
        *,
        lead: str = "",
        counted: bool = False,
        rest: bool = True,
    ) -> None:
        """Write "There is a dog in image 1 and dogs in image 2. There is no dog in image 3."."""
        present = self.having(wanted, scope)
        if not present:
            self.absent(answer, wanted, scope, lead="No, " if lead else "")
            return
        groups = {k: self.groups(self.matching(wanted, k)) for k in present}
        are = _are(groups[present[0]][0])
        opening = f"{lead}there {'are' if are else 'is'} "
        answer.sentence().say(opening[0].upper() + opening[1:])
        answer.join([_piece(self._some_in, answer, groups[k], k, counted) for k in present]).say(".")
        missing = [k for k in scope if k not in present]
        if missing and rest:
            answer.say(f" There {wanted.no()} in {numbered(missing)}.")

    def _some_in(self, answer: Answer, groups: Sequence[Group], k: int, counted: bool) -> None:
        few = groups[:MOST_NAMES]
        answer.join([_piece(self.some, answer, group, k, counted=counted) for group in few])
        answer.say(f" in image {k + 1}")

    def absent(self, answer: Answer, wanted: Wanted, scope: Sequence[int], lead: str = "") -> None:
        """Write why nothing is marked: a doubt, an image in which it is, or nothing known at all."""
        answer.sentence()
        if not any(self.claimed):
            doubts = self._doubts(wanted, scope)
            if doubts is None:
                self.unknown(answer)
                return
        doubts = self._doubts(wanted, scope)
        if doubts is not None:
            k, group = doubts
            answer.say("There may be ")
            self.some(answer, group, k)
            answer.say(f" in image {k + 1}, but I am not sure.")
            return
        said = f"{lead}there {wanted.no()} in {numbered(scope)}"
        answer.say(said[0].upper() + said[1:])
        elsewhere = [k for k in self.having(wanted) if k not in scope]
        if elsewhere:
            answer.say(f"; there {wanted.one()} in {numbered(elsewhere)}")
        answer.say(".")

    def _doubts(self, wanted: Wanted, scope: Sequence[int]) -> tuple[int, Group] | None:
        """Unsure findings of it in the first image that has some."""
        for k in scope:
            found = [f for f in self.images[k] if f.presence >= HEDGED and wanted.fits(f)]
            if found:
                return k, self.groups(found)[0]
        return None

    def unknown(self, answer: Answer, scope: Sequence[int] | None = None) -> None:
        """Write that nothing is known in these images."""
        if scope is not None and len(scope) < len(self.all):
            answer.say(f"I do not know what {numbered(scope)} {'shows' if len(scope) == 1 else 'show'}.")
        else:
            answer.say(f"I do not know what {'this shows' if len(self.all) == 1 else 'these images show'}.")

    def shows(self, answer: Answer, scope: Sequence[int]) -> None:
        """Write "Image 1 shows a dog and cups. I do not know what image 2 shows."."""
        known = [k for k in scope if self.claimed[k]]
        if not known:
            self.unknown(answer, scope)
            return
        for k in scope:
            answer.sentence()
            if k not in known:
                self.unknown(answer, [k])
                continue
            if not any(f.presence >= SURE for f in self.claimed[k]):
                # Pages and patterns look a little like something; what is known well is sure.
                self.unknown(answer, [k])
                answer.say(" I may see ")
            else:
                answer.say(f"Image {k + 1} shows ")
            self.list_groups(answer, self.objects(k) or self.claimed[k], k)
            answer.say(".")


def place_of(finding: Finding) -> str:
    """Where in the picture it is: "at the top left", "in the middle"."""
    side, height = finding.words[2:4]
    if side == "middle":
        return "in the middle" if height == "halfway" else f"at the {height}"
    return f"on the {side}" if height == "halfway" else f"at the {height} {side}"


def _are(group: Group) -> bool:
    thing, _, found = group
    return thing.takes_are(len(found))


def _piece(write: Callable[..., None], *arguments: object, **options: object) -> Callable[[], object]:
    return lambda: write(*arguments, **options)
