"""Zip archives as documents come in them, and EPUB, which is an archive of pages."""

import io
import posixpath
import zipfile
from collections.abc import Iterator
from urllib.parse import unquote
from xml.etree import ElementTree

from tamis.formats.encodings import decode_page
from tamis.formats.file_text import FileText, LeftOut
from tamis.formats.web_page import read_page
from tamis.text import one_line

_LARGEST = 256 << 20
_LARGEST_MARKUP = 64 << 20
_MARKUP = (".xml", ".rels", ".html", ".htm", ".xhtml", ".opf", ".ncx")
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"
_CONTAINER = "META-INF/container.xml"
_PAGES = ("application/xhtml+xml", "text/html")


def unpacked(raw: bytes) -> zipfile.ZipFile:
    """An archive that is safe to unpack: nothing comes out of it beyond what it says, and that is not too much.

    Raises:
        LeftOut: It is encrypted, damaged, or unpacks to more than 256 MiB, or to 64 MiB of markup.
    """
    if raw.startswith(_OLD_OFFICE):
        raise LeftOut("encrypted, or in a form of before 2007: save it anew without a password")
    try:
        archive = zipfile.ZipFile(io.BytesIO(raw))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError) as error:
        raise LeftOut("damaged: no archive that is whole", error) from error
    members = archive.infolist()
    markup = sum(member.file_size for member in members if member.filename.lower().endswith(_MARKUP))
    if sum(member.file_size for member in members) > _LARGEST or markup > _LARGEST_MARKUP:
        raise LeftOut(f"unpacks to more than {_LARGEST >> 20} MB, or {_LARGEST_MARKUP >> 20} MB of markup")
    if any(member.flag_bits & 1 for member in members):
        raise LeftOut("encrypted: save it without its password")
    return archive


def read_epub(raw: bytes) -> FileText:
    """The pages of a book in the order in which they are read.

    Raises:
        LeftOut: It is encrypted, damaged, too large or no book.
    """
    with unpacked(raw) as archive:
        try:
            place = _first(_tree(archive, _CONTAINER), "rootfile").attrib["full-path"]
            package = _tree(archive, place)
            names = list(_spine(package, posixpath.dirname(place)))
        except (KeyError, ElementTree.ParseError, StopIteration) as error:
            raise LeftOut("damaged or no EPUB", error) from error
        known = set(archive.namelist())
        pages = [read_page(decode_page(archive.read(name))) for name in names if name in known]
    text = "\n".join(page.text for page in pages)
    title = next((page.heading for page in pages if page.heading), "")
    return FileText(text, _said(package, "title") or title)  # its language is too often that of a template


def _tree(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    return ElementTree.fromstring(archive.read(name))


def _first(tree: ElementTree.Element, name: str) -> ElementTree.Element:
    return next(tree.iterfind(f".//{{*}}{name}"))


def _said(package: ElementTree.Element, name: str) -> str:
    return next((one_line(each.text) for each in package.iterfind(f".//{{*}}{name}") if each.text), "")


def _spine(package: ElementTree.Element, folder: str) -> Iterator[str]:
    items = {item.get("id"): item for item in package.iterfind(".//{*}item")}
    for each in package.iterfind(".//{*}itemref"):
        item = items.get(each.get("idref"))
        if item is not None and item.get("media-type") in _PAGES:
            yield posixpath.normpath(posixpath.join(folder, unquote(item.get("href", ""))))
