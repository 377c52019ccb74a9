"""Words of the command line's help."""

import pytest
import typer

from tamis.cli import app

COMMANDS = typer.main.get_group(app).commands
WORDS = [
    (f"{name} {parameter.name}", parameter.help)
    for name, command in COMMANDS.items()
    for parameter in command.params
    if parameter.name != "help"
]


@pytest.mark.parametrize(("where", "words"), WORDS, ids=[where for where, _ in WORDS])
def test_a_help_text_begins_with_what_it_is(where: str, words: str | None):
    assert words, where
    assert not words.startswith(("Of ", "How ", "What ", "Whether ", "Which ", "Likewise")), words
    assert not words.endswith("."), words


def test_every_command_says_what_it_does_in_a_sentence():
    for name, command in COMMANDS.items():
        assert command.help, name
        assert command.help.splitlines()[0].endswith("."), name
