"""What a dialect is, and how bodies are checked in all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import islice
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tamis.formats.fields import usable_id
from tamis.models.checkpoint import ORDER, OTHER
from tamis.models.first_stage import NONE, FirstStageArgument
from tamis.models.serializer import DocumentText
from tamis.serving.request import STATUS, Answered, Kind, RefusedError, RerankRequest

FIRST_STAGE: Final = ("first_stage", "first_stage_scores")
"""The fields of `Beside` about the first stage."""

_OURS: Final = (*FIRST_STAGE, "min_score")
"""Fields that no other server has: one that is misspelt is refused, for it would change nothing in silence."""

READING: Final = (
    "max_chunks_per_doc", "max_tokens_per_doc", "max_tokens_per_query", "truncate", "truncate_prompt_tokens",
    "truncation", "truncation_direction", "truncation_side",
)  # fmt: skip
"""Fields of any dialect that decide what is read: none is ignored where a dialect does not have it."""

_ALIKE: Final = 0.87  # likeness of names from which one is the other misspelt; first_page is less like first_stage
_LONGEST_NAME: Final = 40  # characters of a name that are compared
_BITS: Final = 64  # of a whole number that is an id; Python writes no number of thousands of digits
_LOOKED_AT: Final = 100  # unknown names that are compared: a body may hold millions of them


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way to ask and to be answered.

    Attributes:
        name: For metrics and logs.
        body: What a request may hold.
        read: From a checked body to what is asked for.
        answer: The answer's body.
        answer_type: Type of what `answer` returns, for the description of the interface.
        refuse: The body of a refusal; None for an empty one.
        statuses: Where they differ from `STATUS`.
    """

    name: str
    body: type[BaseModel]
    read: Callable[[Any], RerankRequest]
    answer: Callable[[RerankRequest, Answered], Any]
    answer_type: Any
    refuse: Callable[[RefusedError, int, str], Any]
    statuses: Mapping[Kind, int] = field(default_factory=dict)

    def asked(self, body: Mapping[str, Any]) -> RerankRequest:
        """What a body asks for.

        Raises:
            RefusedError: names the first field that cannot be used.
        """
        _check_spelling(body, self.body)
        if self.body.model_config["extra"] == "forbid":
            _check_fields(body, self.body)  # pydantic would tell each of a million fields
        _check_reading(body, self.body, self.name)
        try:
            return self.read(self.body.model_validate(body))
        except ValidationError as error:
            raise RefusedError("malformed", _line(error)) from None

    def status(self, kind: Kind) -> int:
        """HTTP status of a refusal."""
        return self.statuses.get(kind, STATUS[kind])


class Body(BaseModel):
    """Types are taken at their word: "3" is no number, but where it says so. Fields that are not known are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore")


class Beside(Body):
    """What every dialect takes beside its own fields: a first stage, its score of each document, the lowest score."""

    first_stage: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    first_stage_scores: Annotated[list[float], Field(fail_fast=True)] | None = None
    min_score: Annotated[float, Field(allow_inf_nan=False)] | None = None


class DialectText(Body):
    """A document as an object; `score` is the first stage's, `id` is for the log of queries."""

    text: str
    title: str | None = None
    score: float | None = None
    id: Any = None


class DialectId(Body):
    """A document of the server's index, by its id; `score` is the first stage's.

    It has no text: one beside an id would go unread.
    """

    id: str
    text: None = None
    score: float | None = None


Item = Annotated[str | DialectText | DialectId, Field(union_mode="left_to_right")]
"""A document. An object with a text is its text, whatever id it has: clients send ids of their own."""

Given = Annotated[list[Item], Field(fail_fast=True)]
"""Documents; the first that is none ends the check: a body may hold millions."""

Count = Annotated[int, Field(ge=1, le=2**31)]

# Servers in Python read these so, and there are clients that send "true" and 3.0; Cohere's and TEI's do not.
LaxFlag = Annotated[bool, Field(strict=False)]
LaxCount = Annotated[int, Field(strict=False, ge=1, le=2**31)]
LaxCountOrAll = Annotated[int, Field(strict=False, ge=0, le=2**31)]


def documents_of(given: Sequence[str | DialectText | DialectId]) -> list[DocumentText]:
    """Documents as the engine takes them."""
    return [_document(one) for one in given]


def _document(given: str | DialectText | DialectId) -> DocumentText:
    if isinstance(given, DialectId):
        return {"id": given.id}
    if isinstance(given, DialectText):
        return {"text": given.text, "title": given.title} if given.title else given.text
    return given


def ids_of(given: Sequence[Any]) -> list[str | None]:
    """What a client calls each document; None where it says nothing that can be an id."""
    return [_id_of(one) for one in given]


def _id_of(document: Any) -> str | None:
    found = document.get("id", document.get("_id")) if isinstance(document, Mapping) else getattr(document, "id", None)
    if isinstance(found, int) and not isinstance(found, bool) and found.bit_length() <= _BITS:
        return str(found)
    return found if isinstance(found, str) and usable_id(found) else None


def first_stage_in(body: Beside, documents: Sequence[Any]) -> FirstStageArgument | None:
    """What a request says of its first stage; None where it says nothing.

    Args:
        body: The request.
        documents: As they came, strings or objects.

    Raises:
        RefusedError: a name without scores, scores that name no first stage, or that some documents lack.
    """
    inside = _scores_in(documents)
    if inside is not None and body.first_stage_scores is not None:
        raise RefusedError("malformed", "first_stage_scores: the documents hold scores too; send one of both")
    name, scores = body.first_stage, inside if body.first_stage_scores is None else body.first_stage_scores
    if scores is None:
        if name not in (None, NONE, ORDER):
            what = "comes without scores; send first_stage_scores, a number for each document, or order, or none"
            raise RefusedError("malformed", f"first_stage {name!r}: {what}")
        return name
    if name in (NONE, ORDER):
        what = "takes no scores; leave them out, or name what made them"
        raise RefusedError("malformed", f"first_stage {name!r}: {what}")
    return name or OTHER, scores


def _scores_in(documents: Sequence[Any]) -> list[float] | None:
    """The scores that documents bring with them; None where none does."""
    scores = [_score_in(document) for document in documents]
    found = [score for score in scores if score is not None]
    if found and len(found) < len(scores):
        what = "has no number in the field 'score', others have one; send one with each document or with none"
        raise RefusedError("malformed", f"document {scores.index(None)}: {what}")
    return found or None


def _score_in(document: Any) -> float | None:
    if isinstance(document, DialectText | DialectId):
        return document.score
    # A client of Cohere's first version may keep anything in a field of this name.
    score = document.get("score") if isinstance(document, Mapping) else None
    return score if isinstance(score, int | float) and not isinstance(score, bool) else None


def check_texts(query: str, documents: Sequence[Any], names: tuple[str, str] = ("query", "documents")) -> None:
    """Refuse an empty query and an empty list.

    Raises:
        RefusedError: of kind `empty`.
    """
    if not query.strip():
        raise RefusedError("empty", f"{names[0]} must not be empty or be only whitespace")
    if not documents:
        raise RefusedError("empty", f"list of {names[1]} must not be empty")


def _check_fields(body: Mapping[str, Any], known: type[BaseModel]) -> None:
    for name in body:
        if name not in known.model_fields:
            raise RefusedError("malformed", f"unknown field: parameter '{name[:100]}' is not a valid field")


def _check_reading(body: Mapping[str, Any], known: type[BaseModel], dialect: str) -> None:
    """Refuse a field about what is read that would be ignored, since it is another dialect's."""
    for name in READING:
        if body.get(name) is not None and name not in known.model_fields:
            own = ", ".join(one for one in READING if one in known.model_fields)
            raise RefusedError("malformed", f"{name}: unknown field in a body of {dialect}; what is read, say {own}")


def _check_spelling(body: Mapping[str, Any], known: type[BaseModel]) -> None:
    """Refuse a field of ours that would be ignored for its spelling, in the body or in a document."""
    for name in islice((name for name in body if name not in known.model_fields), _LOOKED_AT):
        if right := _meant(name):
            raise RefusedError("malformed", f"{name[:100]}: unknown field; did you mean {right!r}?")
    for place, side in body.items():
        documents = side if isinstance(side, list) else [side]
        names = dict.fromkeys(name for one in documents if isinstance(one, dict) for name in one)
        if wrong := next((name for name in islice(names, _LOOKED_AT) if _meant(name) == FIRST_STAGE[1]), None):
            said = f"unknown field {wrong[:100]!r} in a document; the first stage's score of a document is its 'score'"
            raise RefusedError("malformed", f"{place}: {said}")


def _meant(name: str) -> str | None:
    """The field of ours that a name may be meant for."""
    written = name[:_LONGEST_NAME].lower().replace("-", "_")
    likeness = {ours: SequenceMatcher(None, ours, written, autojunk=False).ratio() for ours in _OURS}
    nearest = max(_OURS, key=likeness.__getitem__)
    return nearest if likeness[nearest] >= _ALIKE or written.replace("_", "").startswith("firststage") else None


def _line(error: ValidationError) -> str:
    """One line of pydantic's report: the place of the first error, and all that was expected there."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    place = _place(found[0]["loc"])
    there = [one for one in found if _place(one["loc"]) == place]
    if any(_inside(one["loc"], DialectText) and one["type"] != "missing" for one in there):
        there = [one for one in there if not _inside(one["loc"], DialectId)]  # it has a text: no id was meant
    said = [_said(one["type"], one["loc"], one["msg"]) for one in there]
    expected = "expected " if found[0]["msg"].startswith("Input should be ") else ""
    return f"{place or 'body'}: {expected}{' or '.join(dict.fromkeys(said))}"


def _said(kind: str, location: tuple[int | str, ...], message: str) -> str:
    if kind in ("model_type", "dict_type"):
        return "an object"
    if kind == "none_required":
        return "an object with an id and no text"
    if kind == "missing" and len(location) > 1:
        return f"an object with the field {location[-1]!r}"
    if _inside(location, DialectText) or _inside(location, DialectId):
        return f"an object with {message.removeprefix('Input should be ')} in the field {location[-1]!r}"
    return message.removeprefix("Input should be ")


def _inside(location: tuple[int | str, ...], document: type[BaseModel]) -> bool:
    return location[-2:-1] == (document.__name__,)


def _place(location: tuple[int | str, ...]) -> str:
    """A field and perhaps an index; the rest are pydantic's own names of alternatives."""
    return ".".join(map(str, [*location[:1], *[part for part in location if isinstance(part, int)][:1]]))
