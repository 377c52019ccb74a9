"""Mails as files: subject and body; attachments stay unread."""

from email import message_from_bytes
from email.policy import default

from tamis.formats.file_text import FileText, LeftOut
from tamis.formats.markup import lines_of
from tamis.formats.web_page import read_page
from tamis.text import one_line


def read_mail(raw: bytes) -> FileText:
    """The body of a mail, plain or else the text of its page, with its subject as title.

    Raises:
        LeftOut: It has no body that is text.
    """
    mail = message_from_bytes(raw, policy=default)
    body = mail.get_body(preferencelist=("plain", "html"))
    if body is None:
        raise LeftOut("no text in it, attachments only")
    content = body.get_content()
    text = read_page(content).text if body.get_content_subtype() == "html" else lines_of(content)
    return FileText(text, one_line(str(mail.get("subject", ""))))
