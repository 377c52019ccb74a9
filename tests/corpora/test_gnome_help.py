import json

import pytest

from corpora.gnome_help import build_gnome_help
from tamis.errors import InputError
from tests.corpora.packaged import mallard_page, write_deb

ENGLISH = (
    "<steps><item><p>Open the system menu at the right of the top bar and choose the network you want.</p></item>"
    "<item><p>Type the password of the network and wait until the connection has been made.</p></item></steps>"
    "<p>If nothing happens, try again closer to the router.</p>"
)
GERMAN = (
    "<p>Öffnen Sie das Systemmenü rechts in der oberen Leiste und wählen Sie das gewünschte Netzwerk aus.</p>"
    "<note><p>Geben Sie das Passwort des Netzwerks ein und warten Sie, bis die Verbindung hergestellt ist.</p></note>"
)
RUSSIAN = (
    "<p>Откройте системное меню справа на верхней панели и выберите нужную сеть.</p>"
    "<p>Введите пароль сети и подождите, пока соединение не будет установлено, затем проверьте его ещё раз.</p>"
    "<p>Если ничего не происходит, попробуйте ещё раз ближе к маршрутизатору.</p>"
)


def page_name(locale, name):
    return f"usr/share/help/{locale}/gnome-help/{name}.page"


@pytest.fixture
def deb(tmp_path):
    files = {
        page_name("ru", "wifi"): mallard_page("Подключение к сети", "Как выйти в интернет без проводов.", RUSSIAN),
        page_name("de", "wifi"): mallard_page("Mit dem WLAN verbinden", "Connect without a cable.", GERMAN),
        page_name("de", "broken"): "<page",
        page_name("C", "wifi"): mallard_page("Connect to Wi-Fi", "Connect without a cable.", ENGLISH),
        page_name("C", "index"): mallard_page("All the help there is", "Everything.", ENGLISH),
        page_name("fr", "wifi"): mallard_page("Se connecter au réseau", "Connexion sans câble.", ENGLISH),
        "usr/share/help/de/other-help/wifi.page": mallard_page("Etwas anderes", "Ganz etwas anderes.", GERMAN),
    }
    return write_deb(tmp_path / "gnome-user-docs_43.0-2_all.deb", files)


def lines(path):
    return {line["_id"]: line for line in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


def test_titles_and_descriptions_are_queries_for_the_rest_of_the_page(deb, tmp_path):
    counts = build_gnome_help(deb, tmp_path / "out", pages_per_language=1)
    documents = lines(tmp_path / "out" / "corpus.jsonl")
    assert list(documents) == ["de/wifi", "en/wifi", "ru/wifi"]  # the French page was left in English
    assert documents["en/wifi"]["text"].startswith("Open the system menu")
    assert documents["en/wifi"]["text"].count("\n") == 2
    assert {key: line["text"] for key, line in lines(tmp_path / "out" / "queries.jsonl").items()} == {
        "t/de/wifi": "Mit dem WLAN verbinden",
        "t/en/wifi": "Connect to Wi-Fi",
        "d/en/wifi": "Connect without a cable.",
        "t/ru/wifi": "Подключение к сети",
        "d/ru/wifi": "Как выйти в интернет без проводов.",
    }
    assert (counts.languages, counts.same_language_pairs, counts.cross_language_pairs) == (3, 5, 10)


def test_titles_descriptions_and_credits_never_leak_into_documents(deb, tmp_path):
    build_gnome_help(deb, tmp_path / "out", pages_per_language=1)
    texts = [line["text"] for line in lines(tmp_path / "out" / "corpus.jsonl").values()]
    queries = [line["text"] for line in lines(tmp_path / "out" / "queries.jsonl").values()]
    assert not [text for text in texts for leak in [*queries, "A. Writer"] if leak in text]


def test_a_second_run_gives_the_same_bytes(deb, tmp_path):
    build_gnome_help(deb, tmp_path / "one", pages_per_language=1)
    build_gnome_help(deb, tmp_path / "two", pages_per_language=1)
    files = [path for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) == 5
    for file in files:
        assert file.read_bytes() == (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes()


def test_languages_with_few_pages_are_left_out(deb, tmp_path):
    assert build_gnome_help(deb, tmp_path / "out").documents == 0


def test_locales_become_language_tags(tmp_path):
    names = ("C", "pt_BR", "zh_CN", "sr@latin", "ca@valencia")
    sentences = "ABCDE"  # pages that differ, so that none counts as untranslated
    files = {
        page_name(locale, "wifi"): mallard_page("Title of it", "What it says", f"<p>{sentences[i] * 160}</p>")
        for i, locale in enumerate(names)
    }
    deb = write_deb(tmp_path / "gnome-user-docs_43.0-2_all.deb", files)
    build_gnome_help(deb, tmp_path / "out", pages_per_language=1)
    tags = [line["metadata"]["lang"] for line in lines(tmp_path / "out" / "corpus.jsonl").values()]
    assert tags == ["ca-valencia", "en", "pt-br", "sr-latn", "zh"]


def test_another_package_is_refused(tmp_path):
    deb = write_deb(tmp_path / "hello_1_all.deb", {"usr/bin/hello": ""})
    with pytest.raises(InputError, match=r"hello_1_all\.deb: holds no .*; expected the Debian package gnome-user-docs"):
        build_gnome_help(deb, tmp_path / "out")
