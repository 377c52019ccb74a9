from corpora.html_sections import cut_sections
from tests.corpora.packaged import docbook_page


def test_each_heading_starts_a_section_with_its_own_text():
    page = docbook_page("Chapter 1. Basics", [("what", "1.1. What?", "<p>One<br />two.</p>"), ("why", "1.2. Why?", "")])
    sections = [(part.level, part.anchor, part.heading, part.paragraphs) for part in cut_sections(page)]
    assert sections == [
        (1, "chapter", "Chapter 1. Basics", []),
        (2, "what", "1.1. What?", ["One two."]),
        (2, "why", "1.2. Why?", []),
    ]


def test_list_items_listings_and_rows_are_paragraphs():
    inner = (
        "<p>Do:</p><ul><li><p>one</p></li><li>two</li></ul><pre>apt\n  update</pre>"
        "<table><tr><td>a</td> <td>b</td></tr></table>"
    )
    assert cut_sections(docbook_page("C", [("x", "H", inner)]))[1].paragraphs == [
        "Do:",
        "one",
        "two",
        "apt update",
        "a b",
    ]


def test_cross_references_and_navigation_leave_no_text():
    inner = '<p>See <a class="xref" href="#y" title="1.2. Why?">Section 1.2, “Why?”</a> and <a href="#z">this</a>.</p>'
    section = cut_sections(docbook_page("Chapter 1. Basics", [("x", "H", inner)]))[1]
    assert section.paragraphs == ["See and this."]


def test_line_ends_inside_chinese_sentences_leave_no_space():
    assert cut_sections(docbook_page("C", [("x", "H", "<p>你好\n世界 with\nLatin</p>")]))[1].paragraphs == [
        "你好世界 with Latin"
    ]


def test_tags_that_are_never_closed_do_not_swallow_the_rest():
    page = docbook_page("C", [("x", "H", "<div><p>one<b>two</p></div></i>"), ("y", "I", "<p>three</p>")])
    assert [part.paragraphs for part in cut_sections(page)[1:]] == [["onetwo"], ["three"]]


def test_character_references_are_read():
    page = docbook_page("C", [("x", "a &amp; b", "<p>&lt;tag&gt; &#233;</p>")])
    assert (cut_sections(page)[1].heading, cut_sections(page)[1].paragraphs) == ("a & b", ["<tag> é"])
