"""Conversations of one to three turns about one to four drawn-up lists of findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from segue.mini.talk.asker import Exchange
from segue.mini.talk.kinds import Kinds
from segue.mini.talk.lists import OWNERS, ListMaker
from segue.mini.talk.questions import MARKED, MARKED_SHARE, WEIGHTS, Questions
from segue.mini.talk.statements import MOST_NAMES, SURE, Answer, Wanted
from segue.mini.talk.told_lists import IMAGE_SHARES
from segue.mini.talk.wording import wordings
from segue.models.mini.findings import Finding

TURN_SHARES = (0.2, 0.3, 0.5)
FOLLOW_UP_SHARE = 0.6
SIMPLE_WEIGHTS = {"find": 2, "where": 2, "which": 3, "exists": 1, "list": 2, "instance": 2}
"""Kinds of question of simple conversations."""
AGAIN = ("find", "where", "exists", "count")
"""Kinds that can be asked again of another image or another thing."""


@dataclass(frozen=True)
class Conversation:
    """Lists of findings, one an image, and what is said of them."""

    images: list[list[Finding]]
    exchanges: list[Exchange]

    @property
    def turns(self) -> list[tuple[str, str]]:
        """`(role, text or markup)`."""
        return [
            turn for e in self.exchanges for turn in (("user", e.question), ("assistant", e.answer.markup))
        ]

    @property
    def regions(self) -> list[tuple[int, Finding]]:
        """What each `<region>` of the questions means, in text order: image and finding under the mark."""
        return [marked for e in self.exchanges for marked in e.regions]

    @property
    def wanted(self) -> list[tuple[int, Finding]]:
        """What each `[SEG]` means, in text order: image and finding."""
        return [found for e in self.exchanges for found in e.found]


def compose(
    kinds: Kinds,
    rng: np.random.Generator,
    *,
    frequent: tuple[str, ...] = (),
    held_out: bool = False,
    images: list[list[Finding]] | None = None,
    turns: int | None = None,
    simple: bool = False,
    owners: float = OWNERS,
    marked: float = MARKED_SHARE,
) -> Conversation:
    """Draw lists and ask about them.

    Args:
        kinds: the names.
        rng: source of every choice.
        frequent: names that are drawn more often.
        held_out: word with what training never uses.
        images: lists to ask about in place of drawn ones.
        turns: 1 to 3 by default.
        simple: two plain questions about one or two images.
        owners: see `ListMaker`.
        marked: share of questions that point at a region; simple ones never do.

    Source: paper silent; ours.
    """
    if images is None:
        count = 1 + int(rng.choice(len(IMAGE_SHARES), p=IMAGE_SHARES))
        images = ListMaker(kinds, rng, frequent, owners).images(min(count, 2) if simple else count)
    questions = Questions(images, kinds, rng, held_out=held_out, free=not simple)
    asked = FollowUps(questions, SIMPLE_WEIGHTS) if simple else FollowUps(questions, marked=marked)
    number = turns or (2 if simple else 1 + int(rng.choice(len(TURN_SHARES), p=TURN_SHARES)))
    exchanges: list[Exchange] = []
    while len(exchanges) < number:
        made = None
        if exchanges and not simple and rng.random() < FOLLOW_UP_SHARE:
            made = asked.follow_up(exchanges[-1])
        exchanges.append(made or asked.question())
    return Conversation(images, exchanges)


class FollowUps:
    """Chooses what to ask next.

    Args:
        ask: the questions about the images.
        weights: how often each kind is asked in words.
        marked: share of questions that point.
    """

    def __init__(self, ask: Questions, weights: Mapping[str, float] = WEIGHTS, marked: float = 0.0) -> None:
        self.ask = ask
        self.names = [*weights, *MARKED]
        words, points = (np.array(list(table.values())) for table in (weights, MARKED))
        shares = [(1 - marked) * words / words.sum(), marked * points / points.sum()]
        self.shares = np.concatenate(shares)

    def question(self) -> Exchange:
        """A question that stands alone."""
        while True:
            made: Exchange | None = getattr(
                self.ask, f"ask_{self.names[self.ask.rng.choice(len(self.names), p=self.shares)]}"
            )()
            if made is not None:
                return made

    def follow_up(self, before: Exchange) -> Exchange | None:
        """A question that rests on the one before; None where none of some tries fits."""
        options = [self._image, self._thing, self._referring, self._instance, self._rest]
        for n in self.ask.rng.permutation(len(options)).tolist():
            made = options[n](before)
            if made is not None:
                return replace(made, regions=())
        return None

    def _image(self, before: Exchange) -> Exchange | None:
        """The same of another image."""
        ask = self.ask
        others = [k for k in ask.all if k not in before.scope]
        if len(before.scope) != 1 or not others or before.kind not in (*AGAIN, "list", "parts"):
            return None
        k = ask.pick(others)
        name = "then_other" if len(ask.all) == 2 and ask.chance(0.5) else "then_image"
        question = ask.word.question(name, k=None if name == "then_other" else k)
        if before.wanted is None or before.kind == "list":
            answer = Answer()
            ask.say.shows(answer, (k,))
        elif before.kind == "parts":
            answer = ask.parts(before.wanted, k)
        else:
            answer = ask.answer_kind(before.kind, before.wanted, (k,))
        return replace(before, question=question, answer=answer, scope=(k,))

    def _thing(self, before: Exchange) -> Exchange | None:
        """The same of another thing."""
        ask = self.ask
        if before.kind not in (*AGAIN, "which") or before.wanted is None:
            return None
        wanted, said = ask.wanted(before.scope, plain=True)
        assert wanted.thing is not None
        if wanted.names == before.wanted.names:
            return None
        question = ask.word.question("then_thing", thing=wanted.thing, said=said)
        answer = ask.answer_kind(before.kind, wanted, before.scope)
        return replace(before, question=question, answer=answer, wanted=wanted, said=said)

    def _referring(self, before: Exchange) -> Exchange | None:
        """What is asked of "it" or "them"."""
        ask, found = self.ask, before.found
        names = {f.name for _, f in found}
        if len(found) == 1 and before.kind not in ("instance", "largest"):
            ((k, finding),) = found
            return self._of_it(before, k, finding)
        if len(found) == 2 and found[0][1].size != found[1][1].size:
            smaller = ask.chance(0.3)
            answer = Answer()
            ask.sizes(answer, found, smaller=smaller)
            question = ask.word.question("then_smaller" if smaller else "then_larger")
            return replace(before, question=question, answer=answer, kind="larger", wanted=None)
        if len(names) == 1 and before.kind in ("exists", "count") and before.wanted is not None:
            answer = ask.answer_kind("find", before.wanted, before.scope)
            question = ask.word.question("then_show", fields={"it": "them"})
            return replace(before, question=question, answer=answer, kind="find")
        return None

    def _of_it(self, before: Exchange, k: int, finding: Finding) -> Exchange | None:
        ask = self.ask
        wanted = Wanted(frozenset({finding.name}), ask.kinds.thing(finding.name))
        many = wanted.thing is not None and wanted.thing.takes_are(1)
        it = {"it": "them" if many else "it", "its": "their" if many else "its"}
        alone = len(ask.say.matching(wanted, k)) == 1
        kind = ask.pick(("where", "show", "beside", "parts"))
        if kind in ("where", "show") and alone:
            answer = ask.answer_kind("where" if kind == "where" else "find", wanted, (k,))
            name, said = f"then_{kind}", "where" if kind == "where" else "find"
        elif kind == "beside":
            beside, answer = ask.beside(finding, k)
            name, said, it = "then_beside", "beside", it | {"beside": beside}
        elif kind == "parts" and finding.name in ask.kinds.parts:
            answer, name, said = ask.parts(wanted, k), "then_parts", "parts"
        else:
            return None
        question = ask.word.question(name, fields=it)
        return replace(before, question=question, answer=answer, kind=said, wanted=wanted, scope=(k,))

    def _instance(self, before: Exchange) -> Exchange | None:
        """One of the several that were named, or all of them again."""
        ask, found = self.ask, before.found
        images, names = {k for k, _ in found}, {f.name for _, f in found}
        if before.wanted is None or len(images) != 1 or len(names) != 1 or before.wanted.thing is None:
            return None
        (k,), every = images, ask.say.matching(before.wanted, next(iter(images)))
        if len(every) < 2 or len(every) > MOST_NAMES or any(f.colour for f in every):
            return None
        if len(found) == 1:
            answer = Answer()
            ask.say.here(answer, before.wanted, (k,))
            return replace(before, question=ask.word.question("then_both"), answer=answer, scope=(k,))
        side, chosen = ask.selection([f for _, f in found])
        if chosen is None:
            return None
        question = ask.word.question(
            "then_instance", fields={"which": ask.pick(wordings()["selections"][side])}
        )
        return replace(
            before, question=question, answer=ask.instance(chosen, side, k), kind="instance", scope=(k,)
        )

    def _rest(self, before: Exchange) -> Exchange | None:
        """Whether it is sure, what else there is, thanks."""
        ask = self.ask
        kind = ask.pick(("sure", "else", "thanks"))
        answer, scope = Answer(), before.scope
        if kind == "thanks":
            answer.say("You are welcome.")
            question = ask.word.question("then_thanks")
            return replace(before, question=question, answer=answer, kind="thanks", needs_images=False)
        if kind == "sure" and before.kind in (*AGAIN, "which", "instance"):
            found = [f for _, f in before.found]
            if not found:
                answer.say("I see none, but I may have missed it.")
            elif all(f.presence >= SURE for f in found):
                answer.say("Yes, I am sure.")
            else:
                answer.say("It is likely, but I am not certain.")
            return replace(before, question=ask.word.question("then_sure"), answer=answer, kind="sure")
        if kind == "else" and len(scope) == 1 and before.kind in (*AGAIN, "list", "instance"):
            (k,) = scope
            named = {f.name for _, f in before.found}
            found = [f for f in ask.say.objects(k) if f.name not in named]
            if not found:
                answer.say(f"I see nothing else in image {k + 1}.")
            else:
                answer.say(f"Image {k + 1} also shows ")
                ask.say.list_groups(answer, found, k)
                answer.say(".")
            question = ask.word.question("then_else", k=k if ask.chance(0.5) else None)
            return replace(before, question=question, answer=answer, kind="else", wanted=None)
        return None


def frequent_names() -> tuple[str, ...]:
    """Names that photographs show most often."""
    frequent = "person dog cat car chair bottle horse cow sheep bus train sofa bird bicycle motorcycle boat"
    clothes = "airplane tv cup trousers coat glasses hat"
    return (*frequent.split(), *clothes.split(), "dining table", "potted plant")
