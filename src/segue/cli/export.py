"""`segue export`: the masks of an answer in the formats of annotation tools and libraries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from segue.inference.answer import SessionAnswer

Format = Literal["png", "index-png", "coco", "coco-results", "labelme", "yolo", "polygons", "datasets"]


def export(
    answer: Annotated[Path, typer.Argument(help="answer.json of segue ask, or the folder that holds it.")],
    form: Annotated[Format, typer.Option("--format", "-f", help="What to write.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")],
) -> None:
    """Write the masks of an answer for other programs; says what the format cannot hold."""
    content = read_answer(answer / "answer.json" if answer.is_dir() else answer)
    write_export(content, form, out)


def show_result(
    answer: SessionAnswer,
    content: Callable[[], dict[str, Any]] | None,
    file: str,
    out: Path | None,
    masks: Format | None,
) -> None:
    """Print an answer and write its files, as far as they are wanted.

    stdout holds the result alone, so that it can be piped; paths and hints go to stderr.

    Args:
        answer: Of any command that asks.
        content: What is printed as JSON, where that is wanted in place of the text.
        file: Its name among the files that are written.
        out: Folder for them.
        masks: A further format for the masks, in a folder of its name in `out`.
    """
    from segue.cli.console import err, show_answer, show_paths

    if content is not None:
        typer.echo(json.dumps(content(), ensure_ascii=False, indent=2))
    else:
        show_answer(answer)
    if out is not None:
        show_paths(answer.save(out))
        if masks is not None:
            write_export(answer.to_json(), masks, out / masks)
    elif content is None:
        err().print(f"add --out FOLDER to see the masks: overlays, answer.html, {file}", style="dim")


def write_export(content: dict[str, Any], form: Format, out: Path) -> None:
    """Write the masks of an answer, and say where and what the format cannot hold."""
    from segue.cli.console import show_paths, tell
    from segue.exports import export as write

    done = write(content, form, out)
    show_paths(done.paths)
    tell([f"not in {form}: {', '.join(done.lost)}"])


def read_answer(path: Path) -> dict[str, Any]:
    """The content of an answer.json, checked field by field and mask by mask.

    Raises:
        InputError: It cannot be read, or is no answer.
    """
    from pydantic import ValidationError

    from segue.errors import InputError
    from segue.inference.answer_file import AnswerFile
    from segue.masks import check_rle

    def refuse(found: str) -> InputError:
        return InputError(
            "This is no answer that can be exported.",
            expected="an answer.json of `segue ask ... --out`, see docs/answer_schema.md",
            found=found,
            where=str(path),
            fix="ask again with --out, and give that folder",
        )

    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        AnswerFile.model_validate(content)
    except OSError as error:
        raise refuse(error.strerror or str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise refuse(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except ValueError as error:
        raise refuse(f"no JSON: {error}") from None
    for number, g in enumerate(content["groundings"]):
        check_rle(g["segmentation"])
        image = content["images"][g["image_index"]] if g["image_index"] < len(content["images"]) else None
        if image is None or g["segmentation"]["size"] != [image["height"], image["width"]]:
            raise refuse(f"groundings.{number}: a mask of another size than its image")
    return content
