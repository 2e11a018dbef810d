"""`segue ask`: one question about one to nine images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Images = Annotated[
    list[str],
    typer.Argument(
        help="One to nine image files, in the order in which the answer numbers them.", metavar="IMAGE..."
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="A preset with weights, a folder, or agent:URL?model=NAME (docs/agent.md)."
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...; the first GPU if there is one.")]
MaxNewTokens = Annotated[int | None, typer.Option(help="Longest answer, in tokens.", show_default="256")]

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


def ask(
    images: Images,
    question: Annotated[str, typer.Option("--question", "-q", help="What to ask.", metavar="TEXT")],
    model: Model = "segue-mini",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for answer.json, answer.html and the overlays.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print answer.json in place of the text.")] = False,
    max_new_tokens: MaxNewTokens = None,
    device: Device = None,
    grammar: Grammar = True,
) -> None:
    """Ask one question about several images.

    Prints the answer, each grounded phrase in a colour, with its image and score. With --out the masks are
    written too: as COCO RLE in answer.json, drawn over the images, and as a page to open in a browser.
    """
    from segue.files import make_folder
    from segue.inference.inputs import MAX_NEW_TOKENS, check_budget, check_question, load_images

    # Everything a user can get wrong is looked at before torch is imported, which takes seconds.
    text = check_question(question)
    budget = check_budget(MAX_NEW_TOKENS if max_new_tokens is None else max_new_tokens)
    pictures, names = load_images(images)
    if out is not None:
        make_folder(out)
    from segue.cli.console import err, show_answer, show_paths
    from segue.loading import load

    session = load(model, device).session(pictures, names=names)
    answer = session.ask(text, max_new_tokens=budget, **free_writing(grammar))
    # stdout holds the result alone, so that it can be piped; paths and hints go to stderr.
    if as_json:
        import json

        typer.echo(json.dumps(answer.to_json(), ensure_ascii=False, indent=2))
    else:
        show_answer(answer)
    if out is not None:
        show_paths(answer.save(out))
    elif not as_json:
        err().print("add --out FOLDER to see the masks: overlays, answer.html, answer.json", style="dim")
