"""The pairs on which an export is compared with its model."""

import json
from itertools import islice
from pathlib import Path

from tamis.errors import InputError
from tamis.exporting.int8 import DEPTH, MOST_QUERIES
from tamis.exporting.int8 import TARGET as INT8
from tamis.models.rows import Pair
from tamis.stages.queries.prompts.templates import load_templates

COUNT = 200
# Scripts of which byte-level tokenizers make few tokens: a pair that is cut would compare how engines cut.
LANGUAGES = ("en", "de", "fr", "it", "ja", "ko", "nl", "pt", "ru", "zh", "es")


def builtin_pairs() -> list[Pair]:
    """200 pairs of the questions and passages in eleven languages that tamis shows to language models as examples.

    Every question meets its own passage and those that follow it, in its own language and in others.
    """
    words = load_templates()
    both = [(one["passage"], one["question"]) for language in LANGUAGES for one in words[language].examples]
    passages, questions = [passage for passage, _ in both], [question for _, question in both]
    steps = ((i, (i + step) % len(both)) for step in range(len(both)) for i in range(len(both)))
    return [(questions[i], passages[k]) for i, k in islice(steps, COUNT)]


def pairs_for(to: str, file: Path | None) -> list[Pair]:
    """The pairs for a target: of a file, or built-in ones where none is named.

    Raises:
        InputError: a line that cannot be used, or no file where a target cannot do without.
    """
    if to == INT8:
        if file is None:
            raise InputError(
                f"--to {to} needs --pairs FILE: JSONL of query and document of your own on each line, some 300, of "
                "which a half calibrates int8 and the others check it"
            )
        return read_pairs(file, MOST_QUERIES * DEPTH)
    return read_pairs(file) if file else builtin_pairs()


def read_pairs(file: Path, most: int = COUNT) -> list[Pair]:
    """The first pairs of a JSONL file with `query` and `document` on each line, 200 unless `most` says otherwise.

    Raises:
        InputError: names the line that cannot be used.
    """
    pairs: list[Pair] = []
    try:
        with file.open(encoding="utf-8-sig", newline="\n") as lines:
            for number, line in enumerate(islice(lines, most), 1):
                entry = json.loads(line)
                if not isinstance(entry, dict) or not all(isinstance(entry.get(k), str) for k in ("query", "document")):
                    raise InputError(f'{file}:{number}: expected {{"query": "...", "document": "..."}}')
                pairs.append((entry["query"], entry["document"]))
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}:{len(pairs) + 1}: no JSON in UTF-8: {error}") from None
    if len(pairs) < 2:
        raise InputError(f"{file}: {len(pairs)} pairs, expected at least 2")
    return pairs
