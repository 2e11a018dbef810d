"""Tasks to predictions: which questions a task asks, and the regions that their answers become."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segue.apps.label_studio.label_config import ImageTag, LabelConfig
from segue.apps.label_studio.pictures import TaskPictures
from segue.apps.label_studio.regions import Place, regions_of
from segue.apps.server.engine import events_of_job
from segue.apps.server.errors import refusal
from segue.apps.server.messages import Dialogue
from segue.apps.server.pictures import Picture
from segue.apps.server.sampling import Sampling
from segue.apps.server.segmentations import question_of
from segue.apps.server.service import Service, time_limit
from segue.inference.inputs import MAX_NEW_TOKENS, check_question
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
    """A question, and the label that its regions get; None: that which fits the phrase."""

    text: str
    label: str | None = None


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
        regions: list[dict[str, Any]] = []
        # More pictures than a conversation may have are asked about in groups, and got group by group.
        for start in range(0, len(shown), MAX_IMAGES):
            group = shown[start : start + MAX_IMAGES]
            files = await asyncio.to_thread(self._files, group)
            async with self._service.decoded(files) as pictures:
                places = [
                    Place(one.image, one.item, (picture.image.height, picture.image.width))
                    for one, picture in zip(group, pictures, strict=True)
                ]
                asked = [self._answer(question.text, pictures) for question in questions]
                for question, answer in zip(questions, await _all(asked), strict=True):
                    regions += _regions(answer, question, places, config, data)
        scores = [region["score"] for region in regions]
        score = sum(scores) / len(scores) if scores else 0.0
        return {"result": regions, "score": score, "model_version": version}

    def _questions(self, data: Mapping[str, Any], config: LabelConfig, context: Any) -> Iterator[_Question]:
        prompt = typed_prompt(context) or data.get(self._asking.prompt_key)
        if isinstance(prompt, str) and prompt.strip():
            yield _Question(question_of(check_question(prompt.strip())))
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

    async def _answer(self, question: str, pictures: Sequence[Picture]) -> SessionAnswer:
        from segue.inference.streaming import Done

        dialogue = Dialogue(question=question)
        async with self._at_once, time_limit(self._service.settings.timeout):
            job = self._service.job(dialogue, list(pictures), Sampling(MAX_NEW_TOKENS), streamed=False)
            async with aclosing(events_of_job(job, self._service.engine)) as events:
                async for event in events:
                    if isinstance(event, Done):
                        answer = event.answer
        self._service.metrics.answer(answer, len(pictures))
        return answer


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
    """What the annotator typed into a text area just now; None where it was something else.

    Raises:
        ApiError: A point or box was drawn, which the model cannot take.
    """
    results = context.get("result") if isinstance(context, Mapping) else None
    texts, others = [], set()
    for result in results if isinstance(results, list) else []:
        value = result.get("value") if isinstance(result, Mapping) else None
        text = value.get("text") if isinstance(value, Mapping) else None
        words = [text] if isinstance(text, str) else text if isinstance(text, list) else []
        texts += [word for word in words if isinstance(word, str) and word.strip()]
        if not words and isinstance(result, Mapping):
            others.add(str(result.get("type")))
    if others and not texts:
        raise refusal(
            "The model takes prompts in words.", "params.context", code="invalid_value",
            expected="the text of a <TextArea>", found=f"a {', a '.join(sorted(others))}"[:200],
            fix='add <TextArea name="prompt" toName="..."/>, and turn off smart points and boxes',
        )  # fmt: skip
    return " ".join(texts) or None


def _regions(
    answer: SessionAnswer,
    question: _Question,
    places: Sequence[Place],
    config: LabelConfig,
    data: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    for grounding in answer.groundings:
        place = places[grounding.image_index]
        control = config.controls[place.image.name]
        labels = control.labels_of(data)
        label = question.label if question.label in labels else None
        if label is None and question.label is None:
            label = fitting_label(labels, grounding.phrase, question.text)
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
