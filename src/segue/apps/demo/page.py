"""The page in Gradio's parts, and what happens when they are used."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import gradio as gr

from segue.apps.demo.examples import Example, examples_for
from segue.apps.demo.marking import MarkPanel, mark_drawn, mark_typed, values_of
from segue.apps.demo.pictures import MOST_PICTURES, Picture
from segue.apps.demo.view import PictureView, conversation_html
from segue.apps.demo.visitor import FIND, LONGEST_QUESTION, Models, Visitor
from segue.errors import SegueError

SECONDS_KEPT = 3600
"""How long a visitor is remembered who does nothing."""
MOST_VISITORS = 200
MOST_WAITING = 64
"""Questions in the queue; who comes after is told so."""


class Seat:
    """A visitor and what is drawn for them: the state that Gradio keeps for each open page.

    Args:
        visitor: Who sits here.
        people: Where routes find visitors and pictures for as long as their page is remembered.
    """

    def __init__(self, visitor: Visitor, people: People) -> None:
        self.visitor, self.view = visitor, PictureView(visitor)
        self.marking = False
        self._people = people
        people.visitors[visitor.key] = visitor

    def __deepcopy__(self, memo: Any) -> Seat:
        """A seat for somebody new."""
        return Seat(Visitor(self.visitor.models), self._people)

    def shown(self, status: str = "", wrong: bool = False) -> dict[str, Any]:
        """All that changes on the page, by the names of its parts."""
        for picture in self.visitor.pictures:
            self._people.pictures[picture.key] = picture
        kind = "seg-status seg-wrong" if wrong else "seg-status"
        link = ""
        if self.visitor.answers:
            link = f'<a href="download/{self.visitor.key}" download="segue.zip">Download everything</a>'
        return {
            "talk": conversation_html(self.visitor.turns),
            "pictures": self.view.html(),
            "status": f'<p class="{kind}" role="status" aria-live="polite">{html.escape(status)}</p>',
            "download": f'<div class="seg-download">{link}</div>',
        }


class People:
    """Visitors and pictures that are remembered, by keys that cannot be guessed."""

    def __init__(self) -> None:
        self.visitors: WeakValueDictionary[str, Visitor] = WeakValueDictionary()
        self.pictures: WeakValueDictionary[str, Picture] = WeakValueDictionary()


def _said(error: SegueError) -> str:
    """An error for a visitor: what is wrong and what to do."""
    parts = [error.summary]
    if error.expected or error.found:
        parts.append(f"Expected: {error.expected}. Found: {error.found}.")
    if error.fix:
        parts.append(f"{error.fix[0].upper()}{error.fix[1:]}.")
    return " ".join(part for part in parts if part)


class Page:
    """The page: its parts in reading order, and the verbs behind them.

    Args:
        models: That visitors may choose among.
        people: Shared with the routes.
    """

    def __init__(self, models: Models, people: People) -> None:
        self._models = models
        self._examples = examples_for(models.names)
        self.blocks = gr.Blocks(title="Segue", analytics_enabled=False, delete_cache=(600, SECONDS_KEPT))
        self.blocks.state_session_capacity = MOST_VISITORS
        with self.blocks:
            self._seat = gr.State(Seat(Visitor(models), people), time_to_live=SECONDS_KEPT)
            self._lay_out()
            self._connect()
        # Answers grow one at a time: the model is one.
        self.blocks.queue(max_size=MOST_WAITING, default_concurrency_limit=8)

    def _lay_out(self) -> None:
        gr.HTML(
            '<h1 class="seg-title">Segue</h1><p class="seg-lead">Ask one to eight pictures a question: the '
            "phrases of the answer get masks, each in its picture. Point at a phrase or a mask, or reach it "
            "by Tab, to see the pair alone; click, Enter or Space keeps it.</p>",
            apply_default_css=False,
        )
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=330):
                self._drop = gr.File(
                    label=f"Pictures, up to {MOST_PICTURES}", show_label=False, file_count="multiple",
                    file_types=["image", ".heic", ".heif", ".avif"], height=110, elem_id="seg-drop",
                )  # fmt: skip
                self._marks = MarkPanel()
                self._pictures = gr.HTML(elem_id="seg-pictures", apply_default_css=False)
            with gr.Column(scale=2, min_width=330):
                self._talk = gr.HTML(elem_id="seg-talk", apply_default_css=False)
                self._status = gr.HTML(elem_id="seg-status", apply_default_css=False)
                self._question = gr.Textbox(
                    label="Your question", placeholder="Where is the cat?", lines=1, max_lines=4,
                    max_length=LONGEST_QUESTION, elem_id="seg-question",
                )  # fmt: skip
                with gr.Row(elem_classes="seg-buttons"):
                    self._ask = gr.Button("Ask", variant="primary", min_width=70)
                    self._stop = gr.Button("Stop", min_width=70)
                    self._undo = gr.Button("Undo", min_width=70)
                    self._new = gr.Button("Start over", min_width=90)
                self._download = gr.HTML(elem_id="seg-download", apply_default_css=False)
                self._model = gr.Dropdown(
                    self._models.names, value=self._models.names[0], label="Model",
                    visible=len(self._models.names) > 1, elem_id="seg-model",
                )  # fmt: skip
                self._buttons = [
                    gr.Button(e.label, size="sm", elem_classes="seg-example") for e in self._examples
                ]

    def _connect(self) -> None:
        shown = [self._talk, self._pictures, self._status, self._download]
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        self._drop.upload(self._add, [self._seat, self._drop], [*shown, self._drop], **private)
        gr.on(
            [self._ask.click, self._question.submit], self._answer, [self._seat, self._question],
            [*shown, self._question], concurrency_limit=1, concurrency_id="answers", **private,
        )  # fmt: skip
        self._stop.click(lambda seat: seat.visitor.stop(), [self._seat], None, queue=False, **private)
        self._undo.click(self._take_back, [self._seat], [*shown, self._question], **private)
        self._new.click(self._start_over, [self._seat], [*shown, self._question], **private)
        self._model.input(self._choose, [self._seat, self._model], shown, **private)
        self._connect_marks(shown, private)
        for button, example in zip(self._buttons, self._examples, strict=True):
            begin = button.click(
                self._begin(example), [self._seat], [*shown, self._question, self._model], **private
            )
            begin.success(
                self._answer, [self._seat, self._question], [*shown, self._question],
                concurrency_limit=1, concurrency_id="answers", **private,
            )  # fmt: skip

    def _connect_marks(self, shown: list[Any], private: dict[str, Any]) -> None:
        marks = self._marks
        marks.toggle.click(self._toggle, [self._seat], [marks.panel, marks.toggle], **private)
        changed = [*shown, *marks.numbers]
        for event, change, given in (
            (marks.drawn.change, mark_drawn, [marks.drawn]),
            (marks.apply.click, mark_typed, marks.numbers),
            (marks.remove.click, Visitor.unmark, []),
        ):
            event(partial(self._marked, change), [self._seat, *given], changed, **private)
        marks.find.click(
            self._find, [self._seat], shown, concurrency_limit=1, concurrency_id="answers", **private
        )

    # ---- what visitors do; each returns the values of the parts that it changes -------------------------

    def _values(self, seat: Seat, status: str = "", wrong: bool = False) -> tuple[Any, ...]:
        parts = seat.shown(status, wrong)
        return parts["talk"], parts["pictures"], parts["status"], parts["download"]

    def _add(self, seat: Seat, paths: list[str]) -> tuple[Any, ...]:
        try:
            return *self._values(seat, seat.visitor.add(paths)), None
        except SegueError as error:
            return *self._values(seat, _said(error), wrong=True), None

    def _toggle(self, seat: Seat) -> tuple[Any, ...]:
        seat.marking = not seat.marking
        words = "Stop marking" if seat.marking else "Mark a thing"
        return gr.update(visible=seat.marking), gr.update(value=words)

    def _marked(self, change: Callable[..., str], seat: Seat, *given: Any) -> tuple[Any, ...]:
        try:
            values = self._values(seat, change(seat.visitor, *given))
        except SegueError as error:
            # What was typed stays, to be corrected.
            return *self._values(seat, _said(error), wrong=True), *(gr.skip(),) * len(self._marks.numbers)
        return *values, *values_of(seat.visitor)

    def _find(self, seat: Seat) -> Iterator[tuple[Any, ...]]:
        for values in self._grown(seat, seat.visitor.find(), FIND):
            yield values[:-1]

    def _answer(self, seat: Seat, question: str) -> Iterator[tuple[Any, ...]]:
        yield from self._grown(seat, seat.visitor.ask(question), question)

    def _grown(self, seat: Seat, growing: Iterator[None], question: str) -> Iterator[tuple[Any, ...]]:
        """The parts whenever the last turn has grown, and what stands in the field of the question."""
        visitor, masks, status = seat.visitor, -1, "answering"
        try:
            for _ in growing:
                turn = visitor.turns[-1]
                parts = self._values(seat, "" if turn.answer else status)
                # Pictures are sent when a mask has come, not with every word.
                unchanged = masks == len(turn.groundings) and turn.answer is None
                masks = len(turn.groundings)
                yield (parts[0], gr.skip() if unchanged else parts[1], *parts[2:], "")
            stopped = not visitor.turns or visitor.turns[-1].answer is None
            done = "Stopped." if stopped or visitor.turns[-1].question != question else ""
            yield (*self._values(seat, done), question if done else "")
        except SegueError as error:
            yield (*self._values(seat, _said(error), wrong=True), question)

    def _take_back(self, seat: Seat) -> tuple[Any, ...]:
        try:
            question = seat.visitor.undo()
        except SegueError as error:
            return *self._values(seat, _said(error), wrong=True), gr.skip()
        said = "The last answer is forgotten." if question else "Nothing to undo."
        return *self._values(seat, said), gr.skip() if question == FIND else question

    def _start_over(self, seat: Seat) -> tuple[Any, ...]:
        try:
            seat.visitor.start_over()
        except SegueError as error:
            return *self._values(seat, _said(error), wrong=True), gr.skip()
        return *self._values(seat), ""

    def _choose(self, seat: Seat, model: str) -> tuple[Any, ...]:
        if model == seat.visitor.model:
            return (gr.skip(),) * 4  # Gradio tells of one choice twice
        try:
            return self._values(seat, seat.visitor.choose(model))
        except SegueError as error:
            return self._values(seat, _said(error), wrong=True)

    def _begin(self, example: Example) -> Callable[[Seat], tuple[Any, ...]]:
        def begin(seat: Seat) -> tuple[Any, ...]:
            visitor = seat.visitor
            visitor.start_over()
            model = example.model_of(self._models.names, visitor.model)
            if model is not None and model != visitor.model:
                visitor.choose(model)
            visitor.take(example.load())
            return *self._values(seat), example.question, visitor.model

        return begin
