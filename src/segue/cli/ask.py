"""`segue ask`: one question about one to nine images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from segue.cli.export import Format, show_result
from segue.cli.option_groups import LoadingOptions, expand_groups

Batch = Annotated[
    Path | None,
    typer.Option(help="JSONL file: images and question of a conversation a line; goes on where it stopped."),
]
OPENING = "One to nine image files, in the order in which the answer numbers them."
Images = Annotated[
    list[str],
    typer.Argument(help=OPENING, metavar="IMAGE..."),
]
Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="A preset with weights, a folder, or agent:URL?model=NAME (docs/agent.md)."
    ),
]
MaxNewTokens = Annotated[int | None, typer.Option(help="Longest answer, in tokens.", show_default="256")]

Zoom = Annotated[bool, typer.Option("--zoom", help="Draw small masks again, each in a crop around it.")]

Wording = Literal["refer", "describe"]  # as in segue.protocol, which is not imported before it is needed
Grammar = Annotated[
    bool,
    typer.Option(
        "--grammar/--no-grammar",
        help="Only identifiers of images that exist, and tags that close; off, the model writes freely.",
    ),
]


def free_writing(grammar: bool) -> dict[str, Any]:
    """Options of a session's `ask`; none where nothing is unusual: a chat model knows no grammar."""
    return {} if grammar else {"constrained": False}


@expand_groups
def ask(
    place: LoadingOptions,
    images: Annotated[list[str] | None, typer.Argument(help=OPENING, metavar="[IMAGE...]")] = None,
    question: Annotated[
        str | None, typer.Option("--question", "-q", help="What to ask.", metavar="TEXT")
    ] = None,
    model: Model = "segue-mini",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for answer.json, answer.html and the overlays.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print answer.json in place of the text.")] = False,
    masks: Annotated[
        Format | None, typer.Option("--masks", help="With --out: the masks in this format too.")
    ] = None,
    max_new_tokens: MaxNewTokens = None,
    grammar: Grammar = True,
    region: Annotated[
        list[str] | None,
        typer.Option(
            help="What a marker such as [this] of the question points at, one for each, in order.",
            metavar="1:MASK.PNG|1:X0,Y0,X1,Y1|1:X,Y",
        ),
    ] = None,
    wording: Annotated[
        Wording | None,
        typer.Option(
            help="As the model's family was trained: for the thing that --question names, or for all.",
            metavar="refer|describe",
        ),
    ] = None,
    zoom: Zoom = False,
    batch: Batch = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Conversations at a time, with --batch.", min=1, show_default="8")
    ] = None,
) -> None:
    """Ask one question about several images, or many questions with --batch.

    Prints the answer, each grounded phrase in a colour, with its image and score. With --out the masks are
    written too: as COCO RLE in answer.json, drawn over the images, and as a page to open in a browser.
    """
    from segue.files import make_folder
    from segue.inference.inputs import MAX_NEW_TOKENS, check_budget, check_question, load_images

    budget = check_budget(MAX_NEW_TOKENS if max_new_tokens is None else max_new_tokens)
    if wording == "describe" and batch is None:
        question = question or ""
    _check_mode(images or [], question, batch, out, batch_size)
    if batch is not None and wording is not None:
        raise typer.BadParameter("it needs one question", param_hint="--wording")
    if masks is not None and (batch is not None or out is None):
        raise typer.BadParameter("it needs one question, and --out FOLDER to write to", param_hint="--masks")
    if batch is not None and region:
        raise typer.BadParameter("it needs one question", param_hint="--region")
    if batch is not None and out is not None:
        return _ask_file(batch, out, model, place, budget, grammar, batch_size)
    # Everything a user can get wrong is looked at before torch is imported, which takes seconds.
    text = check_question(question or "") if wording != "describe" else question or ""
    pictures, names = load_images(images or [])
    regions = _regions(text, region or [], [(picture.height, picture.width) for picture in pictures])
    if out is not None:
        make_folder(out)
    from segue.cli.growing import ask_growing, loading

    with loading(model):
        loaded = place.load(model)
        session = loaded.session(pictures, names=names)
    if wording is not None:
        from segue.protocol import word_question

        text = word_question(wording, text, getattr(session, "dialect", "a chat model"))
    options = {"max_new_tokens": budget} | free_writing(grammar) | regions
    answer = session.ask(text, **options) if as_json else ask_growing(session, text, **options)
    if zoom:
        answer = loaded.zoom(answer)
    show_result(answer, answer.to_json if as_json else None, "answer.json", out, masks)


def _regions(text: str, given: list[str], image_hws: list[tuple[int, int]]) -> dict[str, Any]:
    """Options of a session's `ask` for regions as they are written; none where none is given."""
    if not given:
        return {}
    from segue.inference.regions import read_region
    from segue.protocol import mark_question

    regions = [read_region(one).checked(image_hws, f"--region {one}") for one in given]
    mark_question(text, [region.image_index for region in regions])
    return {"regions": regions}


def _check_mode(
    images: list[str], question: str | None, batch: Path | None, out: Path | None, batch_size: int | None
) -> None:
    """InputError unless either one conversation is given, or a file of them and a folder for the answers."""
    from segue.errors import InputError

    given = {"IMAGE": images, "--question": question is not None, "--batch": batch, "--out": out}
    wrong = ""
    if batch is not None:
        if images or question is not None or out is None:
            wrong = "--batch FILE.jsonl and --out DIR, and neither images nor --question"
    elif not images or question is None:
        wrong = "images and --question TEXT, or --batch FILE.jsonl"
    elif batch_size is not None:
        wrong = "--batch together with --batch-size"
    if wrong:
        raise InputError(
            "It is not clear what to ask.",
            expected=wrong,
            found=", ".join(name for name, value in given.items() if value) or "nothing",
            where="options",
            fix="see `segue ask --help`",
        )


def _ask_file(
    batch: Path,
    out: Path,
    model: str,
    place: LoadingOptions,
    budget: int,
    grammar: bool,
    size: int | None,
) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from segue.cli.console import err, show_paths, tell
    from segue.evaluation.question_file import ANSWERS, answer_file, read_questions
    from segue.inference.batching import BATCH_SIZE

    asked = read_questions(batch)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err(), disable=not err().is_terminal) as bar:
        task = bar.add_task("conversations", total=len(asked))
        failed = answer_file(
            place.load(model),
            asked,
            out,
            batch_size=size or BATCH_SIZE,
            precision=place.precision,
            progress=lambda done, total: bar.update(task, completed=done),
            max_new_tokens=budget,
            **free_writing(grammar),
        )
    show_paths([out / ANSWERS])
    if failed:
        tell([f"{failed} of {len(asked)} conversations have a failure, which their lines tell"])
