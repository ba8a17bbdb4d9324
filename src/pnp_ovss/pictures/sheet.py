"""Pictures and words put together on white: rows, columns, captions."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont


def fitted(picture: Image.Image, side_px: int, resample: Image.Resampling = Image.Resampling.LANCZOS) -> Image.Image:
    """The picture with its longer side of this length."""
    scale = side_px / max(picture.size)
    return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), resample)


def on_white(picture: Image.Image, size: tuple[int, int], at: tuple[int, int] = (0, 0)) -> Image.Image:
    """The picture on a white sheet of (width, height) px, its upper left corner at (x, y)."""
    sheet = Image.new("RGB", size, "white")
    sheet.paste(picture, at)
    return sheet


def beside(pictures: Sequence[Image.Image], *, gap_px: int = 0, cell_px: int = 0) -> Image.Image:
    """Pictures in a row, their tops level, each in a cell at least `cell_px` wide."""
    widths = [max(cell_px, picture.width) for picture in pictures]
    height = max(picture.height for picture in pictures)
    sheet = Image.new("RGB", (sum(widths) + gap_px * (len(widths) - 1), height), "white")
    for place, picture in enumerate(pictures):
        sheet.paste(picture, (sum(widths[:place]) + gap_px * place, 0))
    return sheet


def stacked(pictures: Sequence[Image.Image], *, gap_px: int = 0) -> Image.Image:
    """Pictures one below the other, their left sides level."""
    width = max(picture.width for picture in pictures)
    heights = [picture.height for picture in pictures]
    sheet = Image.new("RGB", (width, sum(heights) + gap_px * (len(heights) - 1)), "white")
    for place, picture in enumerate(pictures):
        sheet.paste(picture, (0, sum(heights[:place]) + gap_px * place))
    return sheet


def words(lines: Sequence[str], width_px: int, *, font_px: int, line_px: int, top_px: int = 0) -> Image.Image:
    """Lines of black text, each `line_px` high and beginning `top_px` below its upper edge."""
    sheet, font = Image.new("RGB", (width_px, line_px * len(lines)), "white"), ImageFont.load_default(font_px)
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        pen.text((0, number * line_px + top_px), line, fill="black", font=font)
    return sheet


def wrapped(text: str, width_px: int, font_px: int) -> list[str]:
    """The words of a text in lines of at most this width; a longer word has a line of its own."""
    font, lines = ImageFont.load_default(font_px), list[str]()
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width_px:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
