"""A language model as a judge: the log-odds of yes against no, from the probabilities of its answer's first token."""

import math
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import yaml
from pydantic import Field, field_validator, model_validator

from tamis.errors import ModelError
from tamis.formats.prompt_files import placeholders, read_prompt
from tamis.records import Tokens
from tamis.remote.attempts import RequestCodec
from tamis.remote.budget import estimated_tokens
from tamis.remote.client import Json, piece
from tamis.remote.endpoint import CHAT_TOKENS, request_body
from tamis.section import Section
from tamis.stages.scores.settings import JudgeTeacher
from tamis.stages.scores.teachers.cached import Group, GroupScores
from tamis.stages.scores.teachers.pair_server import PairServer
from tamis.stages.scores.teachers.teaching import Connection, Shared

LISTED: Final = 20
"""Likeliest tokens that are asked for: the most that OpenAI and vLLM give."""

LEAST: Final = -50.0
"""Lowest log-probability that is told apart from none."""

MOST_UNDECIDED: Final = 5
"""Answers in a row without a yes or a no among their likeliest tokens after which the judge is not understood."""

_SHIPPED: Final = Path(__file__).with_name("judge.yaml")
_AROUND: Final = " \t\r\n▁Ġ*\"'.,"  # beside a word in one token: spaces, as vocabularies write them too, and marks


class PairPrompt(Section):
    """A question about a query and a document."""

    prompt: str = Field(description="holds {query} and {document}")
    lacking: ClassVar[str]
    """What an answer lacks that is not understood."""
    undecided: ClassVar[float]
    """The score of such an answer."""

    @field_validator("prompt")
    @classmethod
    def _both_texts_are_shown(cls, text: str) -> str:
        found = placeholders(text)
        if found != {"query", "document"}:
            named = ", ".join(f"{{{one}}}" for one in sorted(found)) or "none"
            raise ValueError(f"expected the placeholders {{query}} and {{document}}, got {named}")
        return text

    def text(self, group: Group) -> str:
        """The question about one document."""
        (document,) = group.documents
        return self.prompt.format(query=group.query, document=document)

    @abstractmethod
    def score(self, listed: Mapping[str, float]) -> float | None:
        """What an answer says, None where it is not understood.

        Args:
            listed: Log-probability of each of the likeliest first tokens.
        """


class JudgePrompt(PairPrompt):
    """The question, and the words that answer it."""

    yes: tuple[str, ...] = Field(min_length=1)
    no: tuple[str, ...] = Field(min_length=1)
    lacking: ClassVar = "neither yes nor no"
    undecided: ClassVar = 0.0

    @field_validator("yes", "no")
    @classmethod
    def _bare(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(bare(word) for word in words)

    @model_validator(mode="after")
    def _words_say_one_thing(self) -> "JudgePrompt":
        check_words({"yes": self.yes, "no": self.no})
        return self

    def score(self, listed: Mapping[str, float]) -> float | None:
        """The log-odds of yes against no."""
        return log_odds(listed, self.yes, self.no)


def load_judge_prompt(path: Path | None) -> JudgePrompt:
    """The prompt of a file, or the one that comes with tamis.

    Raises:
        InputError: The file cannot be read, or lacks something.
    """
    # Everything is text: to YAML's usual reader, yes and no are truth values.
    return read_prompt(path or _SHIPPED, JudgePrompt, "a judge's prompt", yaml.BaseLoader)


def check_words(answers: Mapping[str, Collection[str]]) -> None:
    """Refuse words that do not tell answers apart.

    Args:
        answers: Words of each answer, as `bare` gives them.

    Raises:
        ValueError: One has no letter or digit, or stands for two answers.
    """
    owner: dict[str, str] = {}
    for answer, words in answers.items():
        for word in words:
            if not word:
                raise ValueError(f"{answer}: a word of it is empty; every token without a letter would be that answer")
            if owner.setdefault(word, answer) != answer:
                raise ValueError(
                    f"{word!r} stands for {owner[word]} and for {answer}; give each answer words of its own"
                )


def bare(token: str) -> str:
    """A token as a word: in small letters, without what stands around it."""
    return token.strip(_AROUND).casefold()


def log_odds(listed: Mapping[str, float], yes: Collection[str], no: Collection[str]) -> float | None:
    """Log-odds of yes against no, each the sum of the probabilities of all tokens that spell it.

    Of a side that no listed token spells, all is known is that each of its tokens is no likelier than the least likely
    listed one, and than all that is not listed together; that bound is taken.

    Args:
        listed: Log-probability of each of the likeliest tokens.
        yes: Words that mean yes, as `bare` gives them.
        no: Words that mean no.

    Returns:
        -50 to 50, higher is surer of yes; None where neither side is listed.
    """
    kept = {token: max(logprob, LEAST) for token, logprob in listed.items()}
    sides = [[logprob for token, logprob in kept.items() if bare(token) in words] for words in (yes, no)]
    if not any(sides):
        return None
    rest = 1.0 - math.fsum(math.exp(logprob) for logprob in kept.values())
    bound = max(LEAST, min(*kept.values(), math.log(max(rest, math.exp(LEAST)))))
    said = [math.log(math.fsum(math.exp(logprob) for logprob in side)) if side else bound for side in sides]
    return said[0] - said[1]


def judge_teacher(settings: JudgeTeacher, place: int, shared: Shared) -> PairServer:
    """A judge, asked about one document at a time.

    Raises:
        InputError: Its template cannot be read.
    """
    prompt, wording = load_judge_prompt(settings.template), ("most end with /v1", "max_chars and extra")
    server = Connection(settings, place, shared, LLMJudge(settings, prompt).codec, wording)
    return PairServer(server, shared, 1, {"prompt": prompt.model_dump(mode="json")})


class LLMJudge:
    """What a judge is asked and how its answer is read; `codec` is for `Endpoint`."""

    def __init__(self, settings: JudgeTeacher, prompt: PairPrompt) -> None:
        """Nothing is sent.

        Args:
            settings: The server and its model.
            prompt: The question.
        """
        self._settings, self._prompt = settings, prompt
        self._undecided = 0
        self.codec: RequestCodec[Group, GroupScores] = RequestCodec(
            "/chat/completions", dict, self._body, self._most, self._score, lambda _: 1, "verdict"
        )

    def _body(self, group: Group) -> dict[str, Any]:
        ours = {
            "model": self._settings.model,
            "messages": [{"role": "user", "content": self._prompt.text(group)}],
            "temperature": 0,
            "max_tokens": 1,
            "logprobs": True,
            "top_logprobs": LISTED,
        }
        return request_body(ours, self._settings.extra)

    def _most(self, group: Group) -> Tokens:
        return Tokens(estimated_tokens(self._prompt.text(group)) + CHAT_TOKENS, 1, 1)

    def _score(self, group: Group, answer: Json) -> GroupScores | None:
        """What the prompt makes of the answer; its `undecided` where the likeliest tokens spell none of its words.

        Raises:
            ModelError: The server tells no probabilities, or spells none all the time.
        """
        try:
            choice = answer["choices"][0]  # type: ignore[call-overload]  # the client lets objects through only
            told = choice.get("logprobs")
        except (KeyError, IndexError, TypeError, AttributeError):
            return None
        if not told:
            raise ModelError(
                f"{self._settings.url}: {self._settings.model} answers without logprobs, of which a judge's score is "
                "made; take a server and a model that give top_logprobs (vLLM, llama.cpp, OpenAI), or another teacher"
            )
        listed = _listed(told)
        if not listed:
            return None
        score = self._prompt.score(listed)
        self._undecided = 0 if score is not None else self._undecided + 1
        if self._undecided >= MOST_UNDECIDED:
            likeliest = max(listed, key=lambda token: listed[token])
            raise ModelError(
                f"{self._settings.url}: {self._prompt.lacking} is among the likeliest tokens of {self._undecided} "
                f"answers in a row, the last one begins with {piece(repr(likeliest))}; if {self._settings.model} "
                "thinks aloud, switch that off in extra ({chat_template_kwargs: {enable_thinking: false}}), or change "
                "the template"
            )
        return (self._prompt.undecided if score is None else score,)


def _listed(told: Any) -> dict[str, float]:
    """Log-probability of the first token and of those that could have stood there; empty where they are not told."""
    try:
        first = told["content"][0]
        rows: Iterable[Any] = [*(first.get("top_logprobs") or ()), first]
        found = {row["token"]: float(row["logprob"]) for row in rows if isinstance(row["token"], str)}
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError):
        return {}
    return {token: logprob for token, logprob in found.items() if not math.isnan(logprob)}
