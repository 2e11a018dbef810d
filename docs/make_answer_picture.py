"""Draws the README's picture: overlays side by side, the question above, the answer below in colours.

python docs/make_answer_picture.py docs/images/answer.png "What do you see?" photos/*.png
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import segue
from segue.inference.visualize import colour, colour_numbers

GAP, LINE, FONT = 16, 30, 20


def main(out: str, question: str, *paths: str) -> None:
    """Ask `segue-mini` and write the picture."""
    answer = segue.load("segue-mini").session(images=list(paths)).ask(question)
    with tempfile.TemporaryDirectory() as folder:
        answer.save(folder)
        overlays = [Image.open(Path(folder) / f"image_{k + 1}.png").convert("RGB") for k in range(len(paths))]
    width = sum(o.width for o in overlays) + GAP * (len(overlays) + 1)
    height = max(o.height for o in overlays) + 3 * GAP + 2 * LINE
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT)
    draw.text((GAP, GAP // 2), question, fill="#555555", font=font)
    left = GAP
    for overlay in overlays:
        sheet.paste(overlay, (left, GAP + LINE))
        left += overlay.width + GAP
    x, y, done = float(GAP), float(height - LINE - GAP // 2), 0
    colours = [colour(n) for n in colour_numbers([g.span for g in answer.groundings])]
    for g, tint in sorted(zip(answer.groundings, colours, strict=True), key=lambda pair: pair[0].span):
        start, end = g.span
        for text, fill in ((answer.text[done:start], "black"), (answer.text[start:end], tint)):
            draw.text((x, y), text, fill=fill, font=font)
            x += draw.textlength(text, font=font)
        done = end
    draw.text((x, y), answer.text[done:], fill="black", font=font)
    sheet.save(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
