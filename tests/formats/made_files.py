"""Files of office programs and the like, made byte by byte or by the libraries that others write them with."""

import io
import zipfile
from email.message import EmailMessage
from xml.sax.saxutils import escape

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
TYPES = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"


def zipped(**members):
    """A zip archive of members by their paths."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def docx(body, title="", **more):
    """A Word document of the XML of its body."""
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    members = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="{TYPES}"/></Types>',
        "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="r1" Type="{relation}" Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>',
        "word/styles.xml": f'<w:styles xmlns:w="{W}"><w:style w:type="paragraph" w:styleId="berschrift1">'
        '<w:name w:val="heading 1"/></w:style></w:styles>',
        "word/_rels/document.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relation'
        f'ships"><Relationship Id="r1" Type="{relation.removesuffix("officeDocument")}styles" Target="styles.xml"/>'
        "</Relationships>",
        "docProps/core.xml": '<p:coreProperties xmlns:p="http://schemas.openxmlformats.org/package/2006/metadata/core-'
        f'properties" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></p:coreProperties>',
        **more,
    }
    return zipped(**members)


def paragraph(text, style=""):
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}<w:r><w:t>{escape(text)}</w:t></w:r></w:p>"


def pptx_file():
    import pptx
    from pptx.util import Inches

    slides = pptx.Presentation()
    slide = slides.slides.add_slide(slides.slide_layouts[1])
    slide.shapes.title.text = "Ferien"
    slide.placeholders[1].text = "Wer frei nimmt, meldet es."
    group = slide.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame.text = "im Kasten"
    table = slide.shapes.add_table(1, 2, 0, 0, Inches(1), Inches(1)).table
    table.cell(0, 0).text, table.cell(0, 1).text = "Mai", "30 Tage"
    slide.notes_slide.notes_text_frame.text = "Langsam sprechen"
    stream = io.BytesIO()
    slides.save(stream)
    return stream.getvalue()


def xlsx_file():
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "Preise"
    for row in (["Ware", "Preis"], ["Brot", 3], ["Käse", 7.5], [None, None]):
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def epub(*chapters, title="Das Buch", language="de"):
    items = "".join(
        f'<item id="c{n}" href="text/c%20{n}.xhtml" media-type="application/xhtml+xml"/>' for n in range(len(chapters))
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in reversed(range(len(chapters))))
    members = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OPS/book.opf"/></rootfiles></container>',
        "OPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<metadata><dc:title>{title}</dc:title><dc:language>{language}</dc:language></metadata>"
        f"<manifest>{items}</manifest><spine>{spine}</spine></package>",
    }
    pages = {f"OPS/text/c {n}.xhtml": f"<html><body>{chapter}</body></html>" for n, chapter in enumerate(chapters)}
    return zipped(**members, **pages)


def eml(subject, text, html=""):
    mail = EmailMessage()
    mail["Subject"] = subject
    mail.set_content(text)
    if html:
        mail.clear_content()
        mail.set_content(html, subtype="html")
    mail.add_attachment(b"\x00\x01", maintype="application", subtype="octet-stream", filename="a.bin")
    return mail.as_bytes()


def pdf(lines, title="", bookmarks=(), trailer=""):
    """A PDF with a page for each list of lines; a bookmark is a title on a page."""
    objects = [b"", b"", b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"]
    kids = []
    for page in lines:
        shown = "".join(f"({line}) Tj T* " for line in page)
        stream = f"BT /F1 12 Tf 14 TL 72 720 Td {shown} ET".encode("cp1252") if page else b""
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream))
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %d 0 R/Resources<</Font<</F1 3 0 R>>>>>>"
            % len(objects)
        )
        kids.append(len(objects))
    first = len(objects) + 2
    marks = [
        f"<</Title({text})/Parent {first - 1} 0 R/Dest[{kids[page]} 0 R/Fit]"
        f"{f'/Next {first + n + 1} 0 R' if n + 1 < len(bookmarks) else ''}>>".encode()
        for n, (page, text) in enumerate(bookmarks)
    ]
    objects.append(f"<</First {first} 0 R/Last {first + len(marks) - 1} 0 R>>".encode() if marks else b"<<>>")
    objects[0] = b"<</Type/Catalog/Pages 2 0 R/Outlines %d 0 R>>" % len(objects)
    objects[1] = f"<</Type/Pages/Count {len(kids)}/Kids[{' '.join(f'{kid} 0 R' for kid in kids)}]>>".encode()
    objects += [*marks, f"<</Title({title})>>".encode()]
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer<</Size {len(objects) + 1}/Root 1 0 R"
    return body + f"{end}/Info {len(objects)} 0 R{trailer}>>\nstartxref\n{len(body)}\n%%EOF".encode()


ENCRYPTED = f"/Encrypt<</Filter/Standard/V 1/R 2/O<{'41' * 32}>/U<{'42' * 32}>/P -44>>/ID[<41><41>]"
