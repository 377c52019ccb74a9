"""Functions of the user's own as parts of a run: a teacher, a retriever, a writer of queries.

A function is no setting: what enters the keys of stages is the name and the version that the user gives it. A recipe
file may name such a part, too; whoever runs it gives the function.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, PrivateAttr, ValidationError

from tamis.errors import InputError, SettingsError
from tamis.section import NAME, Section
from tamis.text import clip

TeacherFunction = Callable[[str, list[str]], ArrayLike]
"""Gives numbers [documents] for a query and texts of documents, higher is more relevant, any scale."""

RetrieverFunction = Callable[[list[str], int], tuple[Sequence[Sequence[str]], Sequence[ArrayLike]]]
"""Gives ids and scores, [queries][at most k] each, for texts of queries and k; higher is better."""

WriterFunction = Callable[[list[str]], Sequence[str | Sequence[str]]]
"""Gives a query, or several, or none, for each text of a document: [documents]."""


class OwnPart(Section):
    """A function of the user's own with the name and version that stand for it."""

    name: str = Field(
        pattern=NAME, description="Name of the function in keys and reports, of letters, digits, '.', '_' and '-'."
    )
    version: str = Field(
        min_length=1, description="Version of the function. Change it whenever the function's answers change."
    )
    _function: Callable[..., Any] | None = PrivateAttr(default=None)

    def __init__(self, function: Callable[..., Any] | None = None, /, **facts: Any) -> None:
        """Take a function by what stands for it.

        Raises:
            SettingsError: what is given is no function, or its name or version is none.
        """
        called = type(self).__name__
        if function is not None and not callable(function):
            raise SettingsError(f"tamis.{called}: got {clip(repr(function), 60)}, expected a function")
        try:
            super().__init__(**facts)
        except ValidationError as error:
            found = error.errors(include_url=False)[0]
            field, told = ".".join(map(str, found["loc"])), clip(repr(found["input"]), 60)
            wanted = found["msg"].removeprefix("String ").removeprefix("Input ")
            raise SettingsError(f"tamis.{called}: {field} is {told}; it {wanted}") from None
        self._function = function

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # reading a recipe does not come by here

    @property
    def function(self) -> Callable[..., Any]:
        """What is called; see `check`."""
        self.check()
        assert self._function is not None
        return self._function

    def check(self) -> None:
        """Refuse a part that the recipe names and whose function nobody gave.

        Raises:
            SettingsError: it is one.
        """
        if self._function is None:
            raise SettingsError(
                f"{self.name!r} is a function of your own that this recipe only names; give it in Python, by "
                f"tamis.run(recipe, ...) with tamis.{type(self).__name__}(function, name={self.name!r}, "
                f"version={self.version!r})"
            )

    @property
    def identity(self) -> list[str]:
        """What stands for it in keys."""
        return [self.name, self.version]

    @classmethod
    def among(cls, given: object, argument: str) -> Self:
        """What was given for an argument, if it is such a part.

        Raises:
            SettingsError: it is a bare function or something else.
        """
        if isinstance(given, cls):
            return given
        wanted = f"tamis.{cls.__name__}(function, name=..., version=...)"
        told = getattr(given, "__name__", clip(repr(given), 60))
        raise SettingsError(f"{argument}: got {told} without a name and a version; give {wanted}")


class Teacher(OwnPart):
    """A function of one's own that scores documents, as a part of the teacher.

    Example:
        >>> def shared_words(query: str, documents: list[str]) -> list[float]:
        ...     return [len(set(query.split()) & set(text.split())) for text in documents]
        >>> Teacher(shared_words, name="shared-words", version="1", weight=0.5).score("a b", ["b c", "d"])
        (1.0, 0.0)
    """

    kind: Literal["own"] = Field(default="own", description="Type of the teacher: a function of your own.")
    weight: float = Field(default=1.0, gt=0, description="Weight of its z-scores in the teacher's sum.")

    def __init__(self, function: TeacherFunction, /, *, name: str, version: str, weight: float = 1.0) -> None:
        """Take a function as a teacher.

        Args:
            function: Given the text of a query and a list of texts of documents; returns as many numbers, higher is
                more relevant, on any scale. One that is not finite means that there is no score, and the query is
                dropped and counted.
            name: Stands for it in keys and reports.
            version: Changed by you whenever its answers change; scores of the same name and version are used again.
            weight: Weight of its z-scores beside those of the recipe's other teachers, above 0.

        Raises:
            SettingsError: a name, version or weight that is none.
        """
        super().__init__(function, kind="own", name=name, version=version, weight=weight)

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def score(self, query: str, documents: Sequence[str]) -> tuple[float, ...]:
        """Scores, [documents].

        Raises:
            InputError: the function gave something else than a number for each document.
        """
        found = numbers(self.function(query, list(documents)))
        if found is None or found.shape != (len(documents),):
            came = "no numbers" if found is None else f"shape {list(found.shape)}"
            raise InputError(
                f"teacher {self.name!r}: expected {len(documents)} numbers, one for each document, got {came} "
                f"(query {clip(query, 60)!r})"
            )
        return tuple(found.tolist())


class Retriever(OwnPart):
    """A function of one's own that finds documents, in place of the recipe's search for candidates.

    Example:
        >>> def first(queries: list[str], k: int) -> tuple[list[list[str]], list[list[float]]]:
        ...     return [["a"] for query in queries], [[1.0] for query in queries]
        >>> Retriever(first, name="first", version="1").find(["where?"], 10)
        [{'a': 1.0}]
    """

    def __init__(self, function: RetrieverFunction, /, *, name: str, version: str) -> None:
        """Take a function as a first stage.

        Args:
            function: Given a list of texts of queries and k; returns a list of ids of documents for each query, and a
                list of as many scores, [queries][at most k] both. Higher scores are better; the order does not count.
            name: Stands for it in keys and reports.
            version: Changed by you whenever its answers change.

        Raises:
            SettingsError: a name or version that is none.
        """
        super().__init__(function, name=name, version=version)

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def find(self, queries: Sequence[str], k: int) -> list[dict[str, float]]:
        """Score of each document that was found, by id, [queries]; what is beyond the k best counts no more.

        Raises:
            InputError: the function gave something else than ids and finite scores for each query.
        """
        answer = self.function(list(queries), k)
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise InputError(f"retriever {self.name!r}: expected a pair of ids and scores, got {_told(answer)}")
        ids, scores = answer
        if len(ids) != len(queries) or len(scores) != len(queries):
            raise InputError(
                f"retriever {self.name!r}: {len(queries)} queries, but ids for {len(ids)} and scores for {len(scores)}"
            )
        return [self._found(*one, k) for one in zip(queries, ids, scores, strict=True)]

    def _found(self, query: str, ids: Iterable[str], scores: ArrayLike, k: int) -> dict[str, float]:
        doc_ids, values = [str(doc_id) for doc_id in ids], numbers(scores)
        right = values is not None and values.shape == (len(doc_ids),) and np.isfinite(values).all()
        if not right or len(set(doc_ids)) < len(doc_ids):
            raise InputError(
                f"retriever {self.name!r}: query {clip(query, 60)!r} got {len(doc_ids)} ids and {_told(scores)}; "
                "expected each id once, and a finite number for each"
            )
        assert values is not None
        best = np.argsort(-values, kind="stable")[:k].tolist()
        return {doc_ids[place]: float(values[place]) for place in best}


class Writer(OwnPart):
    """A function of one's own that writes queries.

    Example:
        >>> def beginnings(documents: list[str]) -> list[str]:
        ...     return [text.split(".")[0] for text in documents]
        >>> Writer(beginnings, name="beginnings", version="1").write(["A b. C."])
        [['A b']]
    """

    def __init__(self, function: WriterFunction, /, *, name: str, version: str) -> None:
        """Take a function as a writer of queries.

        Args:
            function: Given a list of texts of documents, as far as the model reads them; returns for each a query, or a
                list of queries, which may be empty.
            name: Stands for it in keys, reports and ids of queries.
            version: Changed by you whenever its answers change; queries of the same name and version are used again.

        Raises:
            SettingsError: a name or version that is none.
        """
        super().__init__(function, name=name, version=version)

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def write(self, documents: Sequence[str]) -> list[list[str]]:
        """Queries, [documents][any number].

        Raises:
            InputError: the function gave something else than queries for each document.
        """
        answer = self.function(list(documents))
        if isinstance(answer, str | Mapping) or not hasattr(answer, "__len__") or len(answer) != len(documents):
            raise InputError(
                f"writer {self.name!r}: expected queries for each of {len(documents)} documents, got {_told(answer)}"
            )
        return [self._texts(one) for one in answer]

    def _texts(self, given: object) -> list[str]:
        queries = [given] if isinstance(given, str) else given
        if not isinstance(queries, list | tuple) or not all(isinstance(text, str) for text in queries):
            raise InputError(f"writer {self.name!r}: expected a query or a list of queries, got {_told(given)}")
        return list(queries)


def numbers(given: ArrayLike) -> np.ndarray | None:
    """What a function gave as float64 of any shape, [...]; None where it holds something else than numbers."""
    try:
        return np.asarray(given, np.float64)
    except (TypeError, ValueError):
        return None


def _told(given: object) -> str:
    """What came, in a few words."""
    return f"{len(given)} of {type(given).__name__}" if hasattr(given, "__len__") else type(given).__name__
