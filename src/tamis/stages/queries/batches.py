"""The requests of `queries.endpoint` as a batch file, and the answers to one, for servers that answer by tomorrow.

The form is that of OpenAI's and vLLM's batches: a JSON object a line. What is sent and how an answer is read is the
endpoint's, and so are the stores: a run cannot tell by which of both ways an answer came.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

from tamis.artifacts import writing
from tamis.errors import InputError, SettingsError
from tamis.formats.batch_answers import EXPECTED, answer_in, check_answers, object_in, opened, what_came
from tamis.records import QueryAnswer, QueryRequest, Tokens
from tamis.stages.queries.settings import EndpointSettings, QueriesSettings
from tamis.stages.queries.writers.answers import CUT
from tamis.stages.queries.writers.endpoint import answer_of, body_of, most_tokens, other_model, route_of
from tamis.stages.queries.writers.writers import QueryWriters
from tamis.text import clip, one_line
from tamis.whole_folder import whole_file

_KIND: Final = "endpoint"
_VERSION: Final = "/v1"
_KEPT: Final = 256
"""Answers that are kept in one piece."""


@dataclass(frozen=True)
class PromptFile:
    """What a file of prompts holds.

    Attributes:
        prompts: How many it holds.
        answered: How many requests of the recipe are answered already and not in it.
        tokens: What sending all that it holds can cost, at most.
    """

    prompts: int
    answered: int
    tokens: Tokens


@dataclass
class AnswerFile:
    """What came of a file of answers.

    Attributes:
        taken: Answers that are kept now, those without a query among them.
        empty: Those of them in which there is no text, as in a refusal; asking again would cost again.
        cut: Those of them that were cut at the most tokens of an answer, and are no queries.
        others: Those of them that say another model wrote them than the recipe names, by that name.
        known: Answers to requests that had one before.
        unusable: Answers without a query that say no cost; the next file of prompts asks again.
        failed: Requests that failed, by reason; the next file of prompts asks again.
        repeated: Further answers to one request; the first one counts.
        strange: Requests in the file that the recipe does not make.
        missing: Requests of the recipe that have no answer now.
        tokens: What the answers that are kept now have cost.
        broken: Lines that are no answers.
        complaint: What is wrong with the first of these; empty where there is none.
    """

    taken: int = 0
    empty: int = 0
    cut: int = 0
    others: Counter[str] = field(default_factory=Counter)
    known: int = 0
    unusable: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    strange: int = 0
    missing: int = 0
    tokens: Tokens = field(default_factory=Tokens)
    broken: int = 0
    complaint: str = ""

    def counted(self) -> list[str]:
        """What is to be said beside how many were taken, each with its number."""
        failed = [(count, f"failed ({reason})") for reason, count in self.failed.most_common()]
        counts = [
            (self.empty, "of them without a query"),
            (self.cut, "of them cut"),
            (self.known, "known before"),
            (self.repeated, "repeated"),
            *failed,
            (self.unusable, "without a query or a cost"),
            (self.strange, "to requests that the recipe does not make"),
            (self.broken, "lines not understood"),
        ]
        return [f"{count:,} {what}" for count, what in counts if count]


Tell = Callable[[AnswerFile | PromptFile, EndpointSettings, Path], None]
"""Told what came of a file, with the section that its requests are of."""


@dataclass
class _Lines:
    """The lines of a file of answers by custom id.

    Attributes:
        places: Where the first answer to each request begins. The answers themselves, which may be long as models
            think aloud, are not held.
        failed: Why a request failed.
    """

    places: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def ids(self) -> set[str]:
        """All ids."""
        return {*self.places, *self.failed}


def endpoint_of(settings: QueriesSettings, recipe: str) -> EndpointSettings:
    """The section whose requests a batch holds.

    Args:
        settings: The recipe's section.
        recipe: Its name, for the message.

    Raises:
        SettingsError: The recipe has none, or does not use it.
    """
    endpoint = settings.endpoint
    if endpoint is None or _KIND not in settings.generator:
        raise SettingsError(
            f"{recipe}: a batch holds what queries.endpoint would be asked; give that section with model (its url "
            "is not asked) and name endpoint in queries.generator"
        )
    return endpoint


def exchange(
    settings: EndpointSettings, answers: Path | None, prompts: Path | None, tell: Tell
) -> Callable[[QueryWriters], None]:
    """Make ready to take a file of answers, and then to write one of the prompts that are left; either may be missing.

    What needs no document is checked at once: nothing is read or written for what cannot be done.

    Args:
        settings: The section whose requests they are, see `endpoint_of`.
        answers: File to take.
        prompts: File to write.
        tell: Called when a file is done.

    Returns:
        What to do with the writers of the run. It raises InputError where a file of answers is damaged, once what is
        whole is taken and told; then no prompts are written.

    Raises:
        InputError: There are no answers in the file, or the prompts would replace something else than prompts.
    """
    if answers:
        check_answers(answers)
    if prompts:
        _spare_answers(prompts)

    def exchanged(writers: QueryWriters) -> None:
        if answers:
            found = read_answers(writers, answers)
            tell(found, settings, answers)
            if found.complaint:
                raise InputError(found.complaint)
        if prompts:
            tell(write_prompts(writers, prompts), settings, prompts)

    return exchanged


def write_prompts(writers: QueryWriters, path: Path) -> PromptFile:
    """Write every request that has no answer yet, a line each; the file appears whole.

    Raises:
        InputError: A file of answers lies there.
        RunError: It cannot be written.
    """
    settings = endpoint_of(writers.settings, "")
    _spare_answers(path)
    count, answered, tokens = 0, 0, Tokens()
    with writing(path, "make room or choose another file"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial, partial.open("w", encoding="ascii", newline="\n") as stream:
            for custom_id, request, _, known in _requests(writers):
                if known:
                    answered += 1
                    continue
                stream.write(json.dumps(_line(custom_id, request, settings)) + "\n")
                count, tokens = count + 1, tokens + most_tokens(request, settings)
    return PromptFile(count, answered, tokens)


def read_answers(writers: QueryWriters, path: Path) -> AnswerFile:
    """Take the answers to the recipe's requests, in whatever order; what is known already counts and costs nothing.

    A line that is no answer stops nothing: the others are taken, and `complaint` says what to tell the user.

    Raises:
        InputError: The file cannot be read, holds no answer, or none that the recipe asks for and that can be taken;
            then nothing is kept.
    """
    settings, found = endpoint_of(writers.settings, ""), AnswerFile()
    kept = writers.answers(_KIND)
    check_answers(path)
    with opened(path) as stream:
        lines = _sorted(stream, path, found)
        answers = _matched(writers, settings, stream, lines, found, path)
        while block := list(islice(answers, _KEPT)):
            kept.put(block)
            for _, answer in block:
                found.taken += 1
                found.tokens += answer.tokens
                found.cut += answer.reason == CUT
                found.empty += answer.reason != CUT and not one_line(answer.text)
    if not found.taken and not found.known:
        raise InputError(
            f"{path}: no answer can be taken of it ({', '.join(found.counted())}); see in the file what went wrong, "
            "write the prompts anew with --batch-out and have them answered again"
        )
    return found


def _requests(writers: QueryWriters) -> Iterator[tuple[str, QueryRequest, str, bool]]:
    """Custom id, request, key of the answer and whether that is there.

    An id names what all requests to the model have in common, then the request: the same model, settings, prompt,
    temperature and seed have the same one. It has 47 letters, digits and hyphens.
    """
    batch = writers.model_key(_KIND)[:8]
    for request, key, known in writers.keyed_requests(_KIND):
        yield f"tamis-{batch}-{key}", request, key, known


def _line(custom_id: str, request: QueryRequest, settings: EndpointSettings) -> dict[str, Any]:
    url = _VERSION + route_of(settings)
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body_of(request, settings)}


def _spare_answers(path: Path) -> None:
    """Answers cost something, and so may any other file: prompts are written over older prompts and nothing else."""
    if not path.is_file():
        return
    with path.open("rb") as stream:
        lines = [object_in(raw) or {} for raw in stream]
    if any("response" in one or "error" in one for one in lines):
        raise InputError(f"{path}: holds answers, which the prompts would replace; choose another file")
    if not all(one.keys() >= {"custom_id", "method", "body"} for one in lines):
        raise InputError(f"{path}: holds something else than prompts, which they would replace; choose another file")


def _sorted(stream: IO[bytes], path: Path, found: AnswerFile) -> _Lines:
    """Read a file of answers once; repetitions and broken lines are counted."""
    lines, start = _Lines(), 0
    for number, raw in enumerate(stream, 1):
        content = answer_in(raw)
        if content is None:
            _complain(found, raw, f"{path}, line {number}")
        elif reason := _failure(content):
            lines.failed[content["custom_id"]] = reason
        elif content["custom_id"] in lines.places:
            found.repeated += 1
        else:
            lines.places[content["custom_id"]] = start
        start += len(raw)
    return lines


def _matched(
    writers: QueryWriters, settings: EndpointSettings, stream: IO[bytes], lines: _Lines, found: AnswerFile, path: Path
) -> Iterator[tuple[str, QueryAnswer]]:
    """Go through the recipe's requests: the answers that are to be kept, by key; the others are counted."""
    theirs, first = lines.ids, ""
    ours: set[str] = set()
    for custom_id, request, key, known in _requests(writers):
        first = first or custom_id
        if custom_id in theirs:
            ours.add(custom_id)
        if known:
            found.known += custom_id in lines.places
            continue
        if custom_id in lines.places:
            stream.seek(lines.places[custom_id])
            content: dict[str, Any] = json.loads(stream.readline())
            answer = answer_of(request, content["response"]["body"], settings)
            if answer.final:
                found.others.update(other_model(content["response"]["body"], settings))
                yield key, answer
                continue
            found.unusable += 1
        elif custom_id in lines.failed:
            found.failed[lines.failed[custom_id]] += 1
        found.missing += 1
    found.strange = len(theirs) - len(ours)
    if theirs and not ours:
        raise InputError(
            f"{path}: answers none of this recipe's requests: it has {min(theirs)!r}, they have {first!r}; give the "
            "answers to a file that --batch-out wrote with the same model, prompts, seed and documents"
        )


def _failure(content: Mapping[str, Any]) -> str:
    """Why a line holds no answer, in a few words; empty where it holds one."""
    response, error = content.get("response"), content.get("error")
    status = response.get("status_code", 200) if isinstance(response, dict) else 200
    if not (isinstance(status, int) and 200 <= status < 300):
        return f"HTTP {clip(str(status), 20)}"
    if error:
        told = error.get("code") or error.get("message") if isinstance(error, dict) else error
        return clip(" ".join(str(told or "failed").split()), 60)
    body = response.get("body") if isinstance(response, dict) else None
    return "" if isinstance(body, dict) else "no answer"


def _complain(found: AnswerFile, raw: bytes, where: str) -> None:
    """Count a line that is no answer, and say what is wrong with the first one; blank lines are none."""
    if not raw.strip():
        return
    found.broken += 1
    if found.complaint:
        return
    came = what_came(raw)
    if not raw.endswith(b"\n") and object_in(raw) is None:
        found.complaint = f"{where} is cut: {came}; all whole lines are taken, fetch the file again for the rest"
    else:
        found.complaint = (
            f"{where}: got {came}, expected {EXPECTED}; all other answers are taken, mend the line and give the file "
            "again"
        )
