"""The text of HTML pages."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tamis.formats.web_page import WebPage, read_page

PAGE = """<!DOCTYPE html><html lang="pt_BR"><head><title>  Um
 t&iacute;tulo </title><style>p {color: red}</style><script>if (a < b) { document.write("<p>x") }</script></head>
<body><nav><ul><li>Menu<li>Mais</ul></nav><div role="navigation"><div>Outro</div> menu</div>
<h1>Um título</h1><p>Texto   com <b>negrito</b>,<br>e mais.<p>Sem fim
<ul><li>um<li>dois</ul><pre>linha 1
  linha 2</pre><template>oculto</template><p hidden>oculto</p><span aria-hidden="true">x</span>fim &amp; &#x4e2d;
</body></html>"""


def test_visible_text_line_by_line():
    page = read_page(PAGE)
    assert page.title == page.heading == "Um título"
    assert page.language == "pt-br"
    assert page.text.split("\n") == [
        "# Um título",
        "Texto com negrito,",
        "e mais.",
        "Sem fim",
        "um",
        "dois",
        "```",
        "linha 1",
        "  linha 2",
        "```",
        "fim & 中",
    ]


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("", WebPage("", "", "und")),
        ("no tags at all", WebPage("", "no tags at all", "und")),
        ("<p>a</p></nav></p>b", WebPage("", "a\nb", "und")),
        ("<nav>menu<p>a</nav>b", WebPage("", "b", "und")),
        ("<![if !vml]><p>a<![endif]>", WebPage("", "a", "und")),
        ("<![foo[x]]>a", WebPage("", "a", "und")),
        ("<html lang='not a tag!'><p>a", WebPage("", "a", "und")),
        ("<h2>a¶</h2><h1>b <i>c</i></h1>d", WebPage("", "## a\n# b c\nd", "und", "b c")),
        ("<pre># no heading</pre><pre> </pre>a", WebPage("", "```\n# no heading\n```\na", "und")),
        ("<pre>never closed", WebPage("", "```\nnever closed\n```", "und")),
        ("<title>a</title><svg><title>b</title></svg>c", WebPage("a", "c", "und")),
        ("<script>never closed <p>a", WebPage("", "", "und")),
    ],
)
def test_pages_as_people_write_them(page, expected):
    assert read_page(page) == expected


@pytest.mark.parametrize(
    ("page", "shown"),
    [  # by the HTML standard's rules for optional tags and for building the tree
        ("<p hidden>a<p>b", "b"),
        ("<p hidden>a<hr>b", "b"),
        ("<p hidden>a<br>b<p>c", "c"),
        ("<ul><li aria-hidden=true>x<li>y</ul><p>rest", "y\nrest"),
        ("<ul><li>x<li hidden>y</ul>rest", "x\nrest"),
        ("<ul><li hidden>x<ul><li>y</ul>z</ul>rest", "rest"),
        ("<dl><dt hidden>a<dd>b<dd hidden>c<dt>d</dl>e", "b\nd\ne"),
        ("<table><tr><td hidden>a<td>b<tr hidden><td>c<td>d<tr><td>e</table>f", "b\ne\nf"),
        ("<table><thead hidden><tr><th>a<tbody><tr><td>b</table>c", "b\nc"),
        ("<table><tr><td><p hidden>a<td>b</table>c", "b\nc"),
        ("<select><option hidden>a<option>b</select><p>c", "b\nc"),
        ("<select><option>a<option hidden>b</select><p>c", "a\nc"),
        ("<div hidden><td>a</div>b", "b"),
        ("<ul><li hidden>a<ul></li>b</ul></li>c</ul>d", "c\nd"),
        ("<div>a<p hidden>b</div>c", "a\nc"),
        ("<div>a<span hidden>b</div>c", "a\nc"),
        ("<p>a<span hidden>b<p>c", "a\nc"),
        ("<div hidden><p>a<p>b<table><tr><td>c</div>d</table>e</div>f", "f"),
        ("<p hidden><button><p>a</button>b</p>c", "c"),
        ("<b><p hidden>a</b>b</p>c", "c"),
        ("<p hidden>a<noscript><p>b</noscript>c<p>d", "d"),
        ("<p>a<noscript><div>b</div></p></noscript>c", "ac"),
    ],
)
def test_what_is_hidden_ends_where_a_browser_ends_it(page, shown):
    assert read_page(page).text == shown


def test_of_very_many_open_elements_the_innermost_count():
    assert read_page(f"{'<div>' * 2000}<p hidden>x<p>y</div>z").text == "y\nz"


@given(
    st.lists(
        st.sampled_from(
            [
                "<",
                ">",
                "<p>",
                "</p>",
                "<nav>",
                "</nav>",
                "<!",
                "<![",
                "]]>",
                "--",
                "&",
                "a",
                "<pre>",
                "\n",
                "<title>",
                "<?",
                "'",
                '"',
                "=",
                "<script>",
                "</",
            ]
        )
    ).map("".join)
)
@example("<![x")
def test_any_tags_are_read(page):
    read_page(page)
