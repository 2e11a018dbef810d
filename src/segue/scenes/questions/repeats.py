"""Follow-ups that repeat the last question: "what about image 2?", "and to cut paper?"."""

from __future__ import annotations

from collections.abc import Sequence

from segue.scenes.kinds import KINDS
from segue.scenes.questions.answers import Draft
from segue.scenes.questions.facts import Facts
from segue.scenes.questions.functional import HOLD, choose_part_purpose, choose_purpose, things_in
from segue.scenes.questions.numerical import choose_kind, choose_part
from segue.scenes.questions.registry import follow_up
from segue.scenes.questions.replies import part_name
from segue.scenes.questions.topics import resolve
from segue.scenes.questions.wording import SUPERLATIVES, Speaker


def _elsewhere(facts: Facts, say: Speaker, previous: Draft, topics: Sequence[str]) -> Draft | None:
    if (
        previous.topic_image is None
        or not previous.topic
        or previous.topic[0] not in topics
        or facts.num_images < 2
    ):
        return None
    j = say.rng.choice([j for j in range(facts.num_images) if j != previous.topic_image])
    answer = resolve(facts, previous.topic, j)
    # Most answers that find nothing are dropped, so that few dialogues are about what is not there.
    if answer is None or (not answer.mentions and say.rng.random() < 0.6):
        return None
    question = say.ask(
        "[and |]what about {image_j}",
        "and in {image_j}",
        "and {image_j}",
        "how about {image_j}",
        "[and|now] the same for {image_j}",
        "same question for {image_j}",
        "~now turn to {image_j}",
        "~and if you look at {image_j}",
        image_j=_other_image(facts, say, j),
    )
    return Draft(question, answer, previous.topic, j)


def _other_image(facts: Facts, say: Speaker, image_index: int) -> str:
    """Name an image that was not spoken of; of two it may be "the other image"."""
    if facts.num_images == 2 and say.rng.random() < 0.25:
        return f"the other {say.noun}"
    return say.image(image_index, facts.num_images)


@follow_up("functional", "object", 12.0)
def same_purpose_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """What about image 2?"""
    return _elsewhere(facts, say, previous, ("purpose",))


@follow_up("functional", "part", 12.0)
def same_part_purpose_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """And in the last image?"""
    return _elsewhere(facts, say, previous, ("part_purpose", "useful_part"))


@follow_up("spatial", "object", 12.0)
def same_superlative_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """And in image 2?"""
    return _elsewhere(facts, say, previous, ("superlative",))


@follow_up("spatial", "part", 12.0)
def same_largest_part_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """And in image 2?"""
    return _elsewhere(facts, say, previous, ("largest_part",))


@follow_up("numerical", "object", 12.0)
def same_count_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """How about image 2?"""
    return _elsewhere(facts, say, previous, ("count", "count_colour", "count_contents"))


@follow_up("numerical", "part", 12.0)
def same_part_count_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """How about image 2?"""
    return _elsewhere(facts, say, previous, ("count_part",))


@follow_up("comparison", "object", 12.0)
def same_contents_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """And image 2?"""
    return _elsewhere(facts, say, previous, ("contents", "kind"))


@follow_up("comparison", "part", 12.0)
def same_part_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """And in image 2?"""
    return _elsewhere(facts, say, previous, ("part", "part_of_kind"))


def _instead(
    facts: Facts, say: Speaker, previous: Draft, topic: tuple[str, ...], **slots: str
) -> Draft | None:
    """Repeat the last question for something else: "and to cut paper?", "and the rightmost?"."""
    answer = resolve(facts, topic, previous.topic_image)
    if topic == previous.topic or answer is None or (not answer.mentions and say.rng.random() < 0.5):
        return None
    question = say.ask(
        "and {what}",
        "and {what} [there|then]",
        "what about {about}",
        "how about {about}",
        "now {what}",
        "and what about {about}",
        "~next, {what}",
        "~same again, but {what}",
        **slots,
    )
    return Draft(question, answer, topic, previous.topic_image)


@follow_up("functional", "object", 8.0)
def other_purpose(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """And to cut paper?"""
    if not previous.topic or previous.topic[0] != "purpose":
        return None
    purpose = choose_purpose(say, things_in(facts, previous.topic_image))
    return _instead(
        facts, say, previous, ("purpose", purpose), what=f"to {purpose}", about=f"something to {purpose}"
    )


@follow_up("functional", "part", 8.0)
def other_part_purpose(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """And the part to pour from?"""
    if not previous.topic or previous.topic[0] != "part_purpose":
        return None
    purpose = choose_part_purpose(say, things_in(facts, previous.topic_image))
    what = "to hold things by" if purpose == HOLD else f"to {purpose}"
    return _instead(
        facts, say, previous, ("part_purpose", purpose), what=f"the part {what}", about=f"the part {what}"
    )


@follow_up("spatial", "object", 4.0)
def other_superlative(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """And the rightmost?"""
    if not previous.topic or previous.topic[0] != "superlative":
        return None
    which = say.rng.choice(tuple(SUPERLATIVES))
    name = f"the {say.pick(SUPERLATIVES[which])}{say.pick(' one', '')}"
    return _instead(facts, say, previous, ("superlative", which), what=name, about=name)


@follow_up("numerical", "object", 1.0)
def other_count(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """And how many mugs?"""
    if not previous.topic or not previous.topic[0].startswith("count"):
        return None
    kind = choose_kind(say, things_in(facts, previous.topic_image))
    plural = KINDS[kind].plural
    what = say.pick(f"how many {plural}", f"{plural}", f"the {plural}")
    return _instead(facts, say, previous, ("count", kind), what=what, about=say.pick(plural, f"the {plural}"))


@follow_up("numerical", "part", 1.2)
def other_part_count(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """And with a handle?"""
    if not previous.topic or not previous.topic[0].startswith("count"):
        return None
    part = part_name(choose_part(say, things_in(facts, previous.topic_image)))
    # Without the article that `part_name` gave it.
    topic = ("count_part", part.removeprefix("a ").removeprefix("an "))
    return _instead(
        facts,
        say,
        previous,
        topic,
        what=say.pick(f"how many with {part}", f"with {part}"),
        about=f"things with {part}",
    )


@follow_up("comparison", "part", 1.2)
def other_part(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """And what has a lid?"""
    if not previous.topic or previous.topic[0] not in ("part", "kind", "contents"):
        return None
    part = choose_part(say, things_in(facts, previous.topic_image))
    return _instead(
        facts,
        say,
        previous,
        ("part", part),
        what=f"what has {part_name(part)}",
        about=f"things with {part_name(part)}",
    )
