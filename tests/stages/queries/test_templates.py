"""Prompts: words in files, the recipe's wishes, and the document."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError, SettingsError
from tamis.records import Document
from tamis.stages.queries.prompts.templates import Mode, load_prompts, load_templates
from tamis.stages.queries.settings import PromptSettings

LANGUAGES = {"ar", "de", "en", "es", "fr", "hi", "it", "ja", "ko", "nl", "pt", "ru", "zh"}
KINDS = ("question", "keyword", "claim")
OWN = {
    "passage": "Text",
    "kinds": {"question": {"label": "Ask", "task": "Ask something about the text, in {braces}."}},
    "write_in": "In {language}.",
    "layout": "<<{instructions}|{examples}|{passage}|{label}>>",
}


def text(document: Document, mode: Mode = "completion", kind: str = "question", **wishes: Any) -> str:
    return load_prompts(PromptSettings(**wishes), mode)(document, kind).text


def own(tmp_path: Path, **changes: Any) -> Path:
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump({**OWN, **changes}), encoding="utf-8")
    return file


def test_every_language_has_words_for_everything() -> None:
    templates = load_templates()
    assert set(templates) == LANGUAGES
    for language, template in templates.items():
        assert template.language == language
        assert set(template.kinds) == set(KINDS)
        assert set(template.difficulty) == {"easy", "hard"}
        assert set(template.length) == {"short", "medium", "long"}
        assert "{persona}" in template.persona
        assert template.rules
        assert template.another
        assert template.style
        assert template.write_in
        assert len(template.examples) == 3
        assert all(set(example) == {"passage", *KINDS} for example in template.examples)


def test_no_words_are_shared_by_two_languages() -> None:
    words: list[str] = []
    for template in load_templates().values():
        words += [
            template.rules,
            template.another,
            template.style,
            template.write_in,
            *template.difficulty.values(),
            *template.length.values(),
        ]
        words += [kind.task for kind in template.kinds.values()]
        words += [text for example in template.examples for text in example.values()]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("mode", ["chat", "completion"])
@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_the_prompt_holds_the_document_and_the_words_of_its_language(language: str, mode: Mode) -> None:
    template = load_templates()[language]
    for kind in KINDS:
        prompt = text(Document("d", "Zyx 123.", language), mode, kind)
        examples = [f"{one['passage']}\n{template.kinds[kind].label}: {one[kind]}\n\n" for one in template.examples]
        assert all(example in prompt for example in examples)
        assert prompt.endswith(f"\n\n{template.passage}: Zyx 123.\n{template.kinds[kind].label}:")
        assert (template.kinds[kind].task in prompt) == (mode == "chat")
        assert (template.rules in prompt) == (mode == "chat")


def test_a_text_to_continue_is_examples_alone() -> None:
    prompt = text(Document("d", "长城很长。\n它建于明朝。", "zh-cn"))
    assert prompt.endswith("文章: 长城很长。它建于明朝。\n问题:")
    assert prompt.count("\n\n") == 3


def test_a_language_without_words_is_named_in_english() -> None:
    estonian = Document("d", "Tere maailm.", "et")
    assert text(estonian).startswith("Passage: ")
    assert text(estonian).endswith("\n\nPassage: Tere maailm.\nQuestion in Estonian:")
    assert text(estonian).count("Question: ") == 3
    chat = text(estonian, "chat", "claim")
    assert "\nWrite in Estonian.\n" in chat
    assert chat.endswith("Statement in Estonian:")
    for unknown in ("und", "xx-yy"):
        assert text(Document("d", "Qo.", unknown)).endswith("Question in the language of the passage:")


def test_wishes_are_told_in_the_documents_language() -> None:
    wishes = {"difficulty": "hard", "length": "short", "persona": "eine Ärztin"}
    german = load_templates()["de"]
    for mode in ("chat", "completion"):
        prompt = text(Document("d", "Der Nil.", "de"), mode, **wishes)  # type: ignore[arg-type]
        assert german.difficulty["hard"] in prompt
        assert german.length["short"] in prompt
        assert "Wer hier sucht: eine Ärztin." in prompt
        assert german.difficulty["easy"] not in prompt


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_the_number_of_examples(count: int) -> None:
    prompt = text(Document("d", "The Nile.", "en"), examples=count)
    assert prompt.count("Passage: ") == count + 1
    assert ("Write one question" in prompt) == (count == 0)  # without examples the task must be said
    assert len(load_prompts(PromptSettings(examples=count), "chat").shots()) == count * len(KINDS) * len(LANGUAGES)


def test_shots_are_the_queries_of_the_wanted_types() -> None:
    both = load_prompts(PromptSettings(kinds={"question": 1, "claim": 1}), "chat").shots()
    assert len(both) == 2 * 3 * len(LANGUAGES)
    assert "How do I get my unsaved work back after a crash?" in both
    assert "bread stale fridge" not in both


@pytest.mark.parametrize("mode", ["chat", "completion"])
@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_all_but_the_first_query_of_a_document_are_asked_for_another_point(language: str, mode: Mode) -> None:
    prompts = load_prompts(PromptSettings(), mode)
    first, second, third = (prompts(Document("d", "Zyx 123.", language), "claim", number) for number in range(3))
    another = load_templates()[language].another
    assert another not in first.text
    assert another in second.text
    assert second == third
    assert second.hash != first.hash
    assert second.text.replace(another + "\n", "").lstrip() == first.text


def test_an_own_template_without_words_for_another_point_asks_as_for_the_first(tmp_path: Path) -> None:
    prompts = load_prompts(PromptSettings(template=own(tmp_path), examples=0), "chat")
    assert prompts.wishes.kinds == {"question": 2.0}  # those of the usual mixture that it has
    assert prompts(Document("d", "Alpha.", "en"), "question", 1) == prompts(Document("d", "Alpha.", "en"), "question")


def style(tmp_path: Path, count: int = 9) -> Path:
    file = tmp_path / "style.txt"
    file.write_text("\ufeff" + "".join(f" asked {i:02}  so \r\n\n" for i in range(count)), encoding="utf-8")
    return file


@pytest.mark.parametrize("mode", ["chat", "completion"])
@pytest.mark.parametrize("language", ["en", "ja", "et"])
def test_a_few_examples_of_style_are_shown_in_turn(tmp_path: Path, language: str, mode: Mode) -> None:
    prompts = load_prompts(PromptSettings(like=style(tmp_path)), mode)
    made = [prompts(Document("d", "Alpha.", language), "question", 0, seed) for seed in range(40)]
    shown = [re.findall(r"^- (asked \d\d so)$", one.text, re.MULTILINE) for one in made]
    assert {len(one) for one in shown} == {4}
    assert all(len(set(one)) == 4 for one in shown)
    assert {line for one in shown for line in one} == {f"asked {i:02} so" for i in range(9)}
    words = load_templates().get(language, load_templates()["en"]).style
    assert all(f"{words}\n- asked" in one.text for one in made)
    assert prompts(Document("d", "Alpha.", language), "question", 0, 3) == made[3]
    assert len({one.hash for one in made}) == 1  # asked for in the same words, whichever of them are shown
    plain = load_prompts(PromptSettings(), mode)(Document("d", "Alpha.", language), "question")
    assert plain.hash != made[0].hash
    assert words not in plain.text


@pytest.mark.parametrize(("count", "advice"), [(0, "add"), (7, "add"), (51, "leave out")])
def test_too_few_or_too_many_examples_of_style_are_refused(tmp_path: Path, count: int, advice: str) -> None:
    said = (
        rf"^queries\.prompt\.like: .*style\.txt holds {count} different queries, expected 8 to 50, .*; {advice} some$"
    )
    with pytest.raises(SettingsError, match=said):
        load_prompts(PromptSettings(like=style(tmp_path, count)), "chat")
    for enough in (8, 50):
        assert len(load_prompts(PromptSettings(like=style(tmp_path, enough)), "chat").style) == enough


def test_an_own_template_needs_words_before_the_examples_of_style(tmp_path: Path) -> None:
    wishes = {"like": style(tmp_path), "examples": 0}
    with pytest.raises(InputError, match=r"own\.yaml: style: no words before the queries of queries\.prompt\.like"):
        load_prompts(PromptSettings(template=own(tmp_path), **wishes), "chat")
    mine = load_prompts(PromptSettings(template=own(tmp_path, style="As these:"), **wishes), "chat")
    assert "As these:\n- asked" in mine(Document("d", "Alpha.", "en"), "question").text


def test_a_long_passage_ends_with_a_sentence_after_at_most_700_characters() -> None:
    sentence = "Der Nil fließt durch elf Länder."
    prompt = text(Document("d", " ".join([sentence] * 100), "de"))
    passage = prompt.rsplit("Text: ", 1)[1].removesuffix("\nFrage:")
    assert 600 < len(passage) <= 700
    assert passage == " ".join([sentence] * (len(passage) // len(sentence)))


def test_a_single_long_sentence_is_cut() -> None:
    assert text(Document("d", "長" * 5000, "ja")).endswith("文章: " + "長" * 700 + "\n質問:")


def test_the_hash_tells_everything_but_the_document_apart() -> None:
    def hash_of(document: Document, mode: Mode = "chat", kind: str = "question", **wishes: Any) -> str:
        return load_prompts(PromptSettings(**wishes), mode)(document, kind).hash

    one, other = Document("1", "Alpha.", "en"), Document("2", "Beta. Gamma.", "en")
    first = hash_of(one)
    assert re.fullmatch("[0-9a-f]{12}", first)
    assert hash_of(other) == first
    others = [
        hash_of(Document("1", "Alpha.", "de")),
        hash_of(Document("1", "Alpha.", "et")),
        hash_of(Document("1", "Alpha.", "fi")),
        hash_of(one, "completion"),
        hash_of(one, kind="claim"),
        hash_of(one, difficulty="hard"),
        hash_of(one, length="long"),
        hash_of(one, persona="a nurse"),
        hash_of(one, examples=2),
    ]
    assert len({first, *others}) == 1 + len(others)


@given(st.text(), st.text())
def test_any_document_and_persona_can_be_put_into_words(passage: str, persona: str) -> None:
    for mode in ("chat", "completion"):
        prompt = load_prompts(PromptSettings(persona=persona), mode)(Document("d", passage, "et"), "question")  # type: ignore[arg-type]
        assert persona in prompt.text


def test_an_own_template_is_used_for_every_language(tmp_path: Path) -> None:
    wishes = {"template": own(tmp_path), "examples": 0}
    assert text(Document("d", "Der {Nil}.", "de"), **wishes) == (
        "<<Ask something about the text, in {braces}.\nIn German.\n\n||Der {Nil}.|Ask>>"
    )
    assert "In French." in text(Document("d", "Le Nil.", "fr"), **wishes)
    assert load_prompts(PromptSettings(**wishes), "chat").shots() == frozenset()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": "no document"}, "layout: holds no {passage}, so that no document would be shown"),
        (
            {"layout": "{passage} {query}"},
            "layout: unknown placeholder {query}; known here: {examples}, {instructions}",
        ),
        ({"layout": "{passage} {passage.x}"}, "layout: unknown placeholder {passage.x}; known here: "),
        ({"layout": "{passage} {"}, "layout: Single '{' encountered in format string; write a brace that is no pl"),
        ({"persona": "{name}"}, "persona: unknown placeholder {name}; known here: {persona}"),
        ({"kinds": {}}, "kinds: Dictionary should have at least 1 item"),
        ({"kinds": {"riddle": {"label": "a", "task": "b"}}}, "kinds.riddle"),
        ({"instructions": "x"}, "instructions: Extra inputs are not permitted"),
        ({"examples": [{"passage": "a", "question": "b"}]}, "examples: 1 of the first 2 have a passage and a query of"),
    ],
)
def test_an_own_template_that_cannot_be_used_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = own(tmp_path, **changes)
    with pytest.raises(InputError, match="^" + re.escape(f"{file}: {message}")) as error:
        load_prompts(PromptSettings(template=file, examples=2), "chat")
    assert "\n" not in str(error.value)


def test_wishes_that_an_own_template_has_no_words_for_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"own\.yaml: length: no 'short', which queries\.prompt\.length asks for"):
        load_prompts(PromptSettings(template=own(tmp_path), examples=0, length="short"), "chat")
    with pytest.raises(
        InputError, match=r"own\.yaml: kinds: no 'claim', which queries\.prompt\.kinds asks for; add it"
    ):
        load_prompts(PromptSettings(template=own(tmp_path), examples=0, kinds={"question": 1, "claim": 1}), "chat")


@pytest.mark.parametrize(
    ("raw", "message"), [(b"\xff", "not YAML in UTF-8"), (b"a: [", "not YAML"), (b"- a", "content: Input")]
)
def test_a_file_that_is_no_template_is_named(tmp_path: Path, raw: bytes, message: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_bytes(raw)
    with pytest.raises(InputError, match=re.escape(f"{file}: {message}")):
        load_prompts(PromptSettings(template=file), "chat")


def test_a_template_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read as a prompt template: No such file or directory"):
        load_prompts(PromptSettings(template=tmp_path / "none.yaml"), "chat")
