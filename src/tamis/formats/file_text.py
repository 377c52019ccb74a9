"""What a file says, whatever its form, and why nothing could be read of one."""

from dataclasses import dataclass

from tamis.languages import UNKNOWN_LANGUAGE
from tamis.text import one_line


@dataclass(frozen=True, slots=True)
class FileText:
    """What a reader took out of one file.

    Attributes:
        text: What a person reads there. A heading is a line of its own that begins with one `#` for each level, as in
            Markdown, a listing stands between lines of three backticks.
        title: On one line, empty where the file gives none: its name stands for it then.
        language: Lower-case tag, `und` where the file does not say.
    """

    text: str
    title: str = ""
    language: str = UNKNOWN_LANGUAGE


class LeftOut(Exception):
    """A file that gives no document.

    Attributes:
        reason: A few fixed words that say what to do, counted in the manifest.
        detail: What else is known, as a library said it.
    """

    def __init__(self, reason: str, detail: object = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = one_line(str(detail))[:200]


def titled(text: str, title: str) -> str:
    """A text with its title as the first line, unless it stands there already, as a heading or plain.

    Args:
        text: Any text.
        title: One line; may be empty.
    """
    first = text.lstrip().partition("\n")[0].lstrip("#").strip()
    return text if not title or one_line(first).startswith(title) else f"{title}\n{text}"
