import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.mdoc import mdoc_text
from corpora.roff import read_roff
from corpora.roff_escapes import arguments, plain


def read(source, name="ls"):
    return [(section.heading, section.paragraphs) for section in read_roff(source.encode(), name)]


def body(*lines):
    """Paragraphs of a page with one section."""
    return read("\n".join([".TH LS 1", ".SH DESCRIPTION", *lines]))[0][1]


def test_a_page_is_cut_at_its_sections():
    source = (
        '.\\" A comment\n.TH LS 1\n.SH NAME\nls \\- list\n.SH "SEE  ALSO"\n.BR dir (1),\n.I vdir\n.SH\nEXAMPLE\nText.\n'
    )
    assert read(source) == [
        ("NAME", ["ls - list"]),
        ("SEE ALSO", ["dir(1), vdir"]),
        ("EXAMPLE", ["Text."]),
    ]


def test_lines_are_joined_until_a_macro_or_an_empty_line_ends_the_paragraph():
    assert body("one", "two \\", "three", ".PP", "four", "", "five", ".SS Below", "six") == [
        "one two three",
        "four",
        "five",
        "Below",
        "six",
    ]


def test_a_tag_stands_before_its_text():
    assert body(".TP", ".B \\-a", "do not hide", ".IP \\(bu 2", "an item", ".IP", "more") == [
        "-a do not hide",
        "• an item",
        "more",
    ]


def test_lines_of_chinese_and_japanese_are_joined_without_a_space():
    assert body("ディレクトリの", "内容を list する") == ["ディレクトリの内容を list する"]


def test_rows_of_a_table_are_paragraphs_and_its_format_is_none():
    rows = [".TS", "allbox;", "l l", "lb l.", "Name\tWert", "_", "T{", "eins", "T}\t1", ".TE", "after"]
    assert body(*rows) == ["Name Wert", "eins", "1", "after"]


@pytest.mark.parametrize(
    "hidden",
    [
        [".de XX", "definition", ".."],
        [".ig", "ignored", ".."],
        [".EQ", "x over y", ".EN"],
        ["'\\\" t", '.\\" comment', ".", "'"],
        [".if t \\{", "printed", ".if x \\{ deeper", ".\\}", "printed too", ".\\}"],
        [".ie t printed", ".el also printed"],
        [".ad l", ".hy 0", ".nr X 1", ".UR https://example.org"],
    ],
)
def test_definitions_comments_and_what_is_for_printers_are_hidden(hidden):
    assert body("before", *hidden, "after") == ["before after"]


def test_what_is_for_terminals_is_shown():
    assert body(".if n \\{", "shown", ".\\}", "after") == ["shown after"]


def test_a_definition_without_end_hides_the_rest():
    assert body("before", ".de XX", "definition") == ["before"]
    assert body("before", ".if t \\{", "printed") == ["before"]


def test_pages_of_bsd_are_read_too():
    source = (
        ".Dd May 1, 2020\n.Dt KILL 1\n.Os\n.Sh NAME\n.Nm kill\n.Nd end a process\n.Sh SYNOPSIS\n.In signal.h\n.Ft int\n"
        '.Fn kill "pid_t pid" "int sig"\n.Sh DESCRIPTION\n.Nm\nsends a signal, see\n.Xr signal 7 .\n'
        ".Bl -tag -width indent\n.It Fl s Ar name\nThe name.\n.El\n"
    )
    assert read(source, "kill") == [
        ("NAME", ["kill - end a process"]),
        ("SYNOPSIS", ["#include <signal.h>", "int", "kill(pid_t pid, int sig)"]),
        ("DESCRIPTION", ["kill sends a signal, see signal(7).", "-s name The name."]),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Op Fl a Ar file", "-a file"),
        ("Nm ls Fl l", "ls -l"),
        ("Nm Fl l", "page -l"),
        ("Nm ,", "page,"),
        ("Dq Ar x Ns y .", "xy."),
        ("Xr ls", "ls"),
        ("Ux and Fx", "UNIX and FreeBSD"),
        ("Fl", "-"),
    ],
)
def test_mdoc_lines_become_words(line, expected):
    assert mdoc_text(line.split(), "page") == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (r"\fBbold\fP and \f(CWcode\f[R]", "bold and code"),
        (r"\s-2small\s0 \m[red]red\m[]", "small red"),
        (r"a\-b \(em c\(co", "a-b — c©"),
        (r"\[u00E9]t\['e] \(:uber \[vs]", "été über š"),
        (r"\[u0065_0301] \[uD800] \[char233] \[nothing]", "e\u0301  é "),
        (r"l\*(Aqami, \*(lqa\*(rq", "l'ami, “a”"),
        (r"a\ b\~c\|d\&e\e", "a b cde\\"),
        (r"\h'2n'in\v'1'", "in"),
        (r"text \" comment", "text "),
        (r"back\\slash", "back\\slash"),
    ],
)
def test_escapes_become_characters_or_nothing(line, expected):
    assert plain(line) == expected


def test_quotes_hold_arguments_together():
    assert arguments('one "two words" "a ""b""" with\\ space "open end') == [
        "one",
        "two words",
        'a "b"',
        "with\\ space",
        "open end",
    ]


def test_the_coding_of_the_first_line_is_obeyed():
    page = ".SH 名前\nカタログ"
    assert read_roff(b"'\\\" -*- coding: EUC-JP -*-\n" + page.encode("euc-jp"), "a")[0].paragraphs == ["カタログ"]
    assert read_roff(b'.\\" coding: unheard-of\n' + page.encode(), "a")[0].paragraphs == ["カタログ"]
    assert read_roff(".SH NOM\nété".encode("latin-1"), "a")[0].paragraphs == ["été"]


def test_a_page_that_points_to_another_one_has_no_sections():
    assert read('.\\" Comment\n.so man1/gzip.1\n') == []
    assert read("no macros at all") == []


MACROS = st.sampled_from(
    [".SH", ".Sh", ".SS", ".TP", ".TS", ".TE", "l.", ".if n \\{", ".\\}", ".de", "..", ".Fn", ".Nm", ".MR", ".IP", "\\"]
)


@given(st.lists(MACROS | st.text(alphabet="ab\\\"' \t.([*u", max_size=12), max_size=12))
def test_any_page_can_be_read(lines):
    for section in read_roff("\n".join(lines).encode(), "a"):
        for text in (section.heading, *section.paragraphs):
            assert text == text.strip()
            assert "\n" not in text


@given(st.binary(max_size=60))
def test_any_bytes_can_be_read(content):
    read_roff(b".SH A\n" + content, "a")
