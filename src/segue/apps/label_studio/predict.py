"""Tasks to predictions: which questions a task asks, and the regions that their answers become."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segue.apps.label_studio.drawn import Drawn, read_drawn, results_of
from segue.apps.label_studio.label_config import ImageTag, LabelConfig
from segue.apps.label_studio.pictures import TaskPictures
from segue.apps.label_studio.regions import Place, regions_of
from segue.apps.server.engine import Job, events_of_job
from segue.apps.server.errors import refusal
from segue.apps.server.messages import Dialogue
from segue.apps.server.pictures import Picture
from segue.apps.server.regions import Mark
from segue.apps.server.sampling import Sampling
from segue.apps.server.segmentations import question_of
from segue.apps.server.service import Service, time_limit
from segue.inference.inputs import MAX_NEW_TOKENS, check_question
from segue.inference.regions import Region
from segue.protocol import markers
from segue.records import Grounding
from segue.records.conversation import MAX_IMAGES

if TYPE_CHECKING:
    from segue.inference.answer import SessionAnswer

QUESTION = "Where is the {label}?"
"""What is asked about each label of a task that asks nothing itself."""


@dataclass(frozen=True)
class Asking:
    """How tasks are asked about.

    Attributes:
        question: With `{label}`, for tasks without a prompt.
        prompt_key: Field of the task's data that holds its prompt.
        shape: "brush" or "polygon" where a project has both; None for what stands first.
    """

    question: str = QUESTION
    prompt_key: str = "prompt"
    shape: str | None = None


@dataclass(frozen=True)
class _Question:
    """A question, or a mark to be found in the other pictures.

    Attributes:
        text: In words; "" for a mark.
        label: That its regions get; None: that which fits the phrase.
        drawn: What the markers of the text point at, or the one mark.
    """

    text: str
    label: str | None = None
    drawn: tuple[Drawn, ...] = ()


@dataclass(frozen=True)
class _Shown:
    """A picture of a task: its tag, its place in a list, its address, and the field that this stands in."""

    image: ImageTag
    item: int | None
    address: Any
    where: str


class Predictor:
    """Asks a model about tasks.

    Args:
        service: The model and its queue.
        pictures: Where pictures come from.
        asking: What is asked.
    """

    def __init__(self, service: Service, pictures: TaskPictures, asking: Asking) -> None:
        self._service, self._pictures, self._asking = service, pictures, asking
        self._at_once = asyncio.Semaphore(service.settings.batch_size)

    async def predict(
        self, task: Mapping[str, Any], where: str, config: LabelConfig, context: Any, version: str
    ) -> dict[str, Any]:
        """A task's prediction: `result`, `score`, `model_version`.

        Raises:
            ApiError: A picture that cannot be had, or a prompt that cannot be asked.
        """
        data = task.get("data")
        if not isinstance(data, Mapping):
            raise refusal(
                "A task has no data.", where, code="invalid_value", expected='{"id": ..., "data": {...}}',
                found=repr(task)[:200], fix="send tasks as Label Studio does",
            )  # fmt: skip
        questions = list(self._questions(data, config, context))
        shown = list(_shown(data, config, f"{where}.data"))
        names = [(one.image.name, one.item) for one in shown]
        marked = {drawn: drawn.place(names) for question in questions for drawn in question.drawn}
        regions: list[dict[str, Any]] = []
        # More pictures than a conversation may have are asked about in groups, and got group by group.
        for number, group in enumerate(groups_of(len(shown), set(marked.values()))):
            files = await asyncio.to_thread(self._files, [shown[k] for k in group])
            async with self._service.decoded(files) as pictures:
                places = [
                    Place(shown[k].image, shown[k].item, (picture.image.height, picture.image.width))
                    for k, picture in zip(group, pictures, strict=True)
                ]
                spots = {drawn: group.index(k) for drawn, k in marked.items()}
                asked = [self._answer(question, pictures, spots) for question in questions]
                # Pictures that stand in every group show what was found in them once.
                told = [number == 0 or k not in marked.values() for k in group]
                for question, answer in zip(questions, await _all(asked), strict=True):
                    found = [g for g in _new(answer, question) if told[g.image_index]]
                    regions += _regions(found, question, places, config, data)
        scores = [region["score"] for region in regions]
        score = sum(scores) / len(scores) if scores else 0.0
        return {"result": regions, "score": score, "model_version": version}

    def _questions(self, data: Mapping[str, Any], config: LabelConfig, context: Any) -> Iterator[_Question]:
        drawn = read_drawn(context, self._service.settings.most_regions)
        typed, prompt = typed_prompt(context), data.get(self._asking.prompt_key)
        if typed is None and drawn and not points(prompt, drawn):
            # Whatever the task asks by itself, this is about what was drawn just now.
            for mark in drawn:
                yield _Question("", mark.label or None, (mark,))
            return
        if typed is not None and drawn and not points(typed, drawn):
            raise refusal(
                "The text does not speak of what was drawn.", "params.context", code="invalid_value",
                expected=f"{len(drawn)} markers such as [this], or a text alone", found=typed[:200],
                fix='write "Find [this] in the other images." or delete the regions',
            )  # fmt: skip
        prompt = typed or prompt
        if isinstance(prompt, str) and prompt.strip():
            said = tuple(drawn) if points(prompt, drawn) else ()
            yield _Question(question_of(check_question(prompt.strip())), drawn=said)
            return
        named: dict[str, str] = {}
        for image in config.images:
            named |= config.controls[image.name].labels_of(data)
        if not named:
            raise refusal(
                "There is nothing to ask about.", "tasks", code="invalid_value",
                expected=f"a text in the field {self._asking.prompt_key!r} of the task's data, a text area's "
                "text, or labels", found="neither prompt nor labels",
                fix="add labels to the configuration, or a prompt to the task",
            )  # fmt: skip
        for label, words in named.items():
            yield _Question(check_question(self._asking.question.replace("{label}", words)), label)

    def _files(self, group: Sequence[_Shown]) -> list[tuple[str, bytes]]:
        return [(one.where, self._pictures.file(one.address, one.where)) for one in group]

    async def _answer(
        self, question: _Question, pictures: Sequence[Picture], spots: Mapping[Drawn, int]
    ) -> SessionAnswer:
        from segue.inference.streaming import Done

        regions = await asyncio.to_thread(_pointed, question, pictures, spots)
        async with self._at_once, time_limit(self._service.settings.timeout):
            job = self._job(question, list(pictures), regions)
            async with aclosing(events_of_job(job, self._service.engine)) as events:
                async for event in events:
                    if isinstance(event, Done):
                        answer = event.answer
        self._service.metrics.answer(answer, len(pictures))
        return answer

    def _job(self, question: _Question, pictures: list[Picture], regions: tuple[Region, ...]) -> Job:
        sampling = Sampling(MAX_NEW_TOKENS)
        if not question.text:
            return Job(pictures, [], "", sampling, streamed=False, mark=Mark(regions[0]))
        pointed = (regions,) if regions else ()
        dialogue = Dialogue(question=question.text)
        return self._service.job(dialogue, pictures, sampling, streamed=False, pointed=pointed)


def points(prompt: Any, drawn: Sequence[Drawn]) -> bool:
    """Whether a prompt has a marker such as [this] for each region that was drawn."""
    return isinstance(prompt, str) and bool(drawn) and len(markers(prompt)) == len(drawn)


def _pointed(
    question: _Question, pictures: Sequence[Picture], spots: Mapping[Drawn, int]
) -> tuple[Region, ...]:
    images = [pictures[spots[drawn]].image for drawn in question.drawn]
    return tuple(
        drawn.region(spots[drawn], (image.height, image.width))
        for drawn, image in zip(question.drawn, images, strict=True)
    )


def groups_of(number: int, marked: Collection[int]) -> list[list[int]]:
    """Pictures that are asked about together, at most nine; each group has all marked ones.

    Literal: 12 pictures, 3 marked: [0, 1, 2, 3, 4, 5, 6, 7, 8] and [3, 9, 10, 11].

    Args:
        number: Of the task's pictures.
        marked: Places of pictures with a mark, from 0.

    Raises:
        ApiError: So many are marked that no other has room beside them.
    """
    others = [k for k in range(number) if k not in marked]
    room = MAX_IMAGES - len(marked)
    if others and room < 1:
        raise refusal(
            "Too many pictures are marked.", "params.context", code="invalid_value",
            expected=f"marks in at most {MAX_IMAGES - 1} pictures", found=f"in {len(marked)}",
            fix="draw on fewer pictures at a time",
        )  # fmt: skip
    parts = [others[k : k + room] for k in range(0, len(others), room)] if others else [[]]
    return [sorted([*marked, *part]) for part in parts if marked or part]


def _new(answer: SessionAnswer, question: _Question) -> list[Grounding]:
    """Groundings that show something new: a mark that is exact already is left out."""
    is_known = not question.text and question.drawn[0].is_mask
    return answer.groundings[1:] if is_known else answer.groundings


def _shown(data: Mapping[str, Any], config: LabelConfig, where: str) -> Iterator[_Shown]:
    for image in config.images:
        found = data.get(image.key)
        addresses = found if image.several and isinstance(found, list) else [found]
        for number, address in enumerate(addresses):
            item = number if image.several else None
            place = f"{where}.{image.key}" + ("" if item is None else f".{item}")
            yield _Shown(image, item, address, place)


async def _all(asked: list[Any]) -> list[SessionAnswer]:
    """All answers; the first failure ends the others."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in asked]
    return [task.result() for task in tasks]


def typed_prompt(context: Any) -> str | None:
    """What the annotator typed into a text area just now; None where it was something else."""
    texts = []
    for result in results_of(context):
        text = result["value"].get("text")
        words = [text] if isinstance(text, str) else text if isinstance(text, list) else []
        texts += [word for word in words if isinstance(word, str) and word.strip()]
    return " ".join(texts) or None


def _regions(
    groundings: Sequence[Grounding],
    question: _Question,
    places: Sequence[Place],
    config: LabelConfig,
    data: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    for grounding in groundings:
        place = places[grounding.image_index]
        control = config.controls[place.image.name]
        labels = control.labels_of(data)
        label = question.label if question.label in labels else None
        if label is None and question.label is None:
            label = fitting_label(labels, grounding.phrase, question.text)
        elif label is None and question.drawn:
            # Drawn with the label of another control.
            label = fitting_label(labels, question.label or "", "")
        if label is not None:
            yield from regions_of(grounding, place, control, label)


def fitting_label(labels: Mapping[str, str], phrase: str, question: str) -> str | None:
    """The label for a phrase: one whose words it holds, else one that the question names, else the first.

    Among several that fit, the one with the most words is meant ("left wheel" before "wheel"). A project
    whose labels fit nothing still gets its regions: their words stand beside them.
    """
    for text in (phrase, question):
        said = _words(text)
        fits = [(len(_words(name)), key) for key, name in labels.items() if _held(_words(name), said)]
        if fits:
            return max(fits, key=lambda fit: fit[0])[1]
    return next(iter(labels), None)


def _words(text: str) -> list[str]:
    # Plurals of labels and phrases need not agree: "mugs" and "mug" are one word here.
    return [re.sub(r"(?<=\w{2})s$", "", word) for word in re.findall(r"\w+", text.casefold())]


def _held(words: Sequence[str], said: Sequence[str]) -> bool:
    return bool(words) and any(
        list(said[k : k + len(words)]) == list(words) for k in range(len(said) - len(words) + 1)
    )
