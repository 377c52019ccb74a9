"""Files of office programs: Word by mammoth, PowerPoint by python-pptx, Excel by openpyxl."""

import io
from collections.abc import Iterable, Iterator
from typing import Any, Final
from xml.etree import ElementTree

from tamis.formats.file_text import FileText
from tamis.formats.packed import unpacked
from tamis.formats.web_page import read_page
from tamis.text import one_line

_PROPERTIES: Final = "docProps/core.xml"
_TITLE_STYLES: Final = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => p:fresh"


def read_docx(raw: bytes) -> FileText:
    """Paragraphs, lists, tables, text boxes, notes and accepted changes of a Word document, with its headings.

    Raises:
        LeftOut: See `unpacked`.
    """
    import mammoth

    with unpacked(raw) as archive:
        title = _property_title(archive.read(_PROPERTIES)) if _PROPERTIES in archive.namelist() else ""
    page = mammoth.convert_to_html(
        io.BytesIO(raw), style_map=_TITLE_STYLES, convert_image=mammoth.images.img_element(lambda image: {})
    )
    read = read_page(page.value)
    return FileText(read.text, read.heading or title)


def read_pptx(raw: bytes) -> FileText:
    """The slides of a presentation: title as heading, then all other text, tables and the speaker's notes.

    Raises:
        LeftOut: See `unpacked`.
    """
    import pptx

    unpacked(raw).close()
    slides = pptx.Presentation(io.BytesIO(raw))
    text = "\n\n".join("\n".join(filter(None, _slide(slide))) for slide in slides.slides)
    first = next((one_line(title.text) for slide in slides.slides if (title := slide.shapes.title) is not None), "")
    return FileText(text, first or one_line(slides.core_properties.title or ""))


def read_xlsx(raw: bytes) -> FileText:
    """The sheets of a workbook: a heading each, then a line for each row, with the values that formulas gave.

    Raises:
        LeftOut: See `unpacked`.
    """
    import openpyxl

    unpacked(raw).close()
    book = openpyxl.load_workbook(io.BytesIO(raw), read_only=True, data_only=True)
    try:
        text = "\n".join(line for sheet in book.worksheets for line in _sheet(sheet))
        return FileText(text, one_line(book.properties.title or ""))
    finally:
        book.close()


def _property_title(properties: bytes) -> str:
    tree = ElementTree.fromstring(properties)
    return next((one_line(each.text) for each in tree.iterfind(".//{*}title") if each.text), "")


def _slide(slide: Any) -> Iterator[str]:
    title = slide.shapes.title
    if title is not None and title.text.strip():
        yield f"# {one_line(title.text)}"
    yield from _shapes(shape for shape in slide.shapes if title is None or shape.shape_id != title.shape_id)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        yield slide.notes_slide.notes_text_frame.text


def _shapes(shapes: Iterable[Any]) -> Iterator[str]:
    for shape in shapes:
        if hasattr(shape, "shapes"):  # a group
            yield from _shapes(shape.shapes)
        elif shape.has_text_frame:
            yield shape.text_frame.text
        elif getattr(shape, "has_table", False):
            yield from (" | ".join(one_line(cell.text) for cell in row.cells) for row in shape.table.rows)


def _sheet(sheet: Any) -> Iterator[str]:
    yield f"# {sheet.title}"
    sheet.reset_dimensions()  # some programs write them wrong, and rows would be missing
    for row in sheet.iter_rows(values_only=True):
        cells = [one_line(str(value)) for value in row if value is not None]
        if cells:
            yield " | ".join(cells)
