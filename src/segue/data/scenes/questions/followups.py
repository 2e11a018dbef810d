"""Questions that refer back to the turn before."""

from __future__ import annotations

from segue.data.scenes.kinds import KINDS
from segue.data.scenes.questions.answers import Answer, Draft, Mention
from segue.data.scenes.questions.facts import Facts, Thing, beside, nearest
from segue.data.scenes.questions.functional import HOLD
from segue.data.scenes.questions.registry import FOLLOW_UPS, follow_up
from segue.data.scenes.questions.replies import here, in_one, mentions, no_such, one, placed
from segue.data.scenes.questions.spatial import SIDE_WORDS
from segue.data.scenes.questions.topics import PART_TOPICS, resolve
from segue.data.scenes.questions.wording import Speaker, number


def focus(previous: Draft) -> Thing | None:
    """Return what "it" means: the only thing of the last answer."""
    things = {(m.thing.image_index, m.thing.object_index): m.thing for m in previous.answer.mentions}
    return next(iter(things.values())) if len(things) == 1 else None


def _elsewhere(facts: Facts, say: Speaker, previous: Draft, topics: frozenset[str]) -> Draft | None:
    if previous.topic_image is None or not previous.topic or previous.topic[0] not in topics or facts.num_images < 2:
        return None
    j = say.rng.choice([j for j in range(facts.num_images) if j != previous.topic_image])
    question = say.ask(
        "[and |]what about {image_j}", "and in {image_j}", "and {image_j}", "how about {image_j}", "what about in {image_j}", "[and|now] the same for {image_j}",
        "same question for {image_j}", "~now turn to {image_j}", image_j=say.image(j, facts.num_images),
    )
    answer = resolve(facts, previous.topic, j)
    return None if answer is None else Draft(question, answer, previous.topic, j)


@follow_up("functional", "object", 2.0)
def same_use_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    return _elsewhere(facts, say, previous, frozenset({"purpose"}))


@follow_up("functional", "part", 2.0)
def same_part_use_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    return _elsewhere(facts, say, previous, frozenset({"part_purpose", "part_of_kind"}))


@follow_up("spatial", "object", 2.0)
def same_place_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    return _elsewhere(facts, say, previous, frozenset({"extreme", "largest", "smallest"}))


@follow_up("numerical", "object", 2.0)
def same_count_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    return _elsewhere(facts, say, previous, frozenset({"count"}))


@follow_up("numerical", "part", 2.0)
def same_part_count_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    return _elsewhere(facts, say, previous, frozenset({"count_part"}))


@follow_up("comparison", "object", 1.5)
def same_contents_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    return _elsewhere(facts, say, previous, frozenset({"contents", "kind", "colour"}))


@follow_up("comparison", "part", 1.5)
def same_part_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    return _elsewhere(facts, say, previous, frozenset({"part"}))


@follow_up("spatial", "object", 1.4)
def beside_it(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    it = focus(previous)
    if it is None:
        return None
    i, side = it.image_index, say.rng.choice(("left", "right", "left", "right", "above", "below"))
    found = beside(it, facts.images[i], side)
    if found is None or (not found and say.rng.random() < 0.6):
        return None
    question = say.ask(
        "what is {side} {it}", "and what is {side} {it}", "and {side} {it}", "[show|find] what is {side} {it}", "what do you see {side} {it}", "is there anything {side} {it}",
        "~moving on, what lies {side} {it}", side=say.pick(SIDE_WORDS[side]), it=_pronoun(previous),
    )
    return Draft(question, in_one(i, mentions(found), "there (is)", "There is nothing there"))


def _pronoun(previous: Draft) -> str:
    mention = previous.answer.mentions[0]
    return "them" if Mention(mention.thing).is_plural and mention.part is None else "it"


@follow_up("spatial", "object", 0.7)
def nearest_to_it(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    it = focus(previous)
    found = nearest(it, facts.images[it.image_index]) if it is not None and len(facts.images[it.image_index]) > 2 else None
    if it is None or found is None:
        return None
    question = say.ask(
        "what is [closest|nearest] to {it}", "and what is [closest|nearest] to {it}", "which [thing|object] is [closest|nearest] to {it}", "what is right next to {it}",
        "[show|find] its nearest neighbour", "and the [thing|object] nearest to {it}", "~starting from there, what comes first", it=_pronoun(previous),
    )
    return Draft(question, in_one(it.image_index, mentions([found]), "(it is)", ""))
