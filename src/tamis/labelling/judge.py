"""A language model grades the pools that people grade, and what it says is held against what they say."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
import yaml
from pydantic import Field, ValidationError, field_validator

from tamis.artifacts import ItemStore, item_key, open_cache
from tamis.complaints import apply_changes, complaint_of
from tamis.costs.requests import counted
from tamis.costs.work import Estimate
from tamis.errors import SettingsError
from tamis.formats.prompt_files import read_prompt
from tamis.formulas.agreement import cohen_kappa, krippendorff_alpha
from tamis.formulas.ranking import logistic
from tamis.labelling.durable import put_file
from tamis.labelling.grade_log import GRADES, LOG, read_entries
from tamis.labelling.grading import Grading, qrels_text
from tamis.labelling.pools import Pools
from tamis.progress import track
from tamis.records import GIVEN, Document, Query, Tokens
from tamis.remote.attempts import Answer
from tamis.remote.budget import Wording, cost
from tamis.remote.endpoint import Endpoint
from tamis.remote.settings import RequestsSettings
from tamis.remote.spending import Ledger
from tamis.section import Section
from tamis.stages.scores.score import Unscored
from tamis.stages.scores.settings import JudgeTeacher
from tamis.stages.scores.teachers.cached import CachedScores, Group, GroupScores, ScoreGroups
from tamis.stages.scores.teachers.judge import JudgePrompt, LLMJudge, PairPrompt, bare, check_words, load_judge_prompt
from tamis.stages.scores.teachers.teaching import SPEED
from tamis.user_cache import user_cache

QRELS: Final = "qrels/model.tsv"
"""Where the model's judgements lie."""

YES_NO: Final = "yes-no"
SCALE: Final = "scale"

WORDS: Final = Wording("judge", "answers", "--depth or --questions", "most end with /v1", "max_chars and extra")

_SCALE_FILE: Final = Path(__file__).with_name("scale.yaml")


class ScalePrompt(PairPrompt):
    """The question, and the words that stand for each grade."""

    grades: dict[Literal["0", "1", "2"], tuple[str, ...]] = Field(min_length=3)
    lacking: ClassVar = "none of the grades' words"
    undecided: ClassVar = -1.0

    @field_validator("grades")
    @classmethod
    def _bare(cls, grades: dict[Any, tuple[str, ...]]) -> dict[Any, tuple[str, ...]]:
        found = {grade: tuple(bare(word) for word in words) for grade, words in grades.items()}
        check_words(found)
        return found

    def score(self, listed: Mapping[str, float]) -> float | None:
        """The likeliest grade, each by the sum of the probabilities of all tokens that spell it."""
        sums = {
            grade: math.fsum(math.exp(logprob) for token, logprob in listed.items() if bare(token) in words)
            for grade, words in self.grades.items()
        }
        best = max(sums, key=lambda grade: sums[grade])
        return float(best) if sums[best] > 0 else None


class JudgingSettings(Section):
    """The model, what may be spent on it, and how it is asked."""

    judge: JudgeTeacher
    requests: RequestsSettings = RequestsSettings()


def judging_settings(url: str, model: str, changes: Sequence[str] = ()) -> JudgingSettings:
    """Settings of a command line.

    Args:
        url: Address of the server up to the version.
        model: Name of the model, as the server calls it.
        changes: `judge.KEY=VALUE` and `requests.KEY=VALUE`.

    Raises:
        SettingsError: One that is not understood.
    """
    content: dict[str, Any] = {"judge": {"kind": "judge", "url": url, "model": model}}
    apply_changes(content, changes)
    try:
        return JudgingSettings.model_validate(content)
    except ValidationError as error:
        raise SettingsError(complaint_of(error, JudgingSettings)) from None


def read_judge_prompt(named: str) -> PairPrompt:
    """The prompt that a command line names.

    Args:
        named: `yes-no`, `scale`, or a YAML file with a prompt of one's own of either kind.

    Raises:
        InputError: The file cannot be read, or lacks something.
    """
    if named == YES_NO:
        return load_judge_prompt(None)
    file = _SCALE_FILE if named == SCALE else Path(named)
    scaled = named == SCALE or _has_grades(file)
    return read_prompt(
        file,
        ScalePrompt if scaled else JudgePrompt,
        f"a judge's prompt ({YES_NO}, {SCALE} or a YAML file)",
        yaml.BaseLoader,
    )


def _has_grades(file: Path) -> bool:
    """Whether a prompt is one of a scale; what cannot be read is none, and whoever reads it says why."""
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return False
    return isinstance(content, dict) and "grades" in content


def grade_of(score: float, prompt: PairPrompt) -> int | None:
    """The grade that a score stands for; None where the answer was not understood.

    Args:
        score: Of a scale the grade itself. Else log-odds of yes: below a third of probability 0, above two thirds 2.
        prompt: That was asked.
    """
    if score == prompt.undecided:
        return None
    if isinstance(prompt, ScalePrompt):
        return int(score)
    return min(2, int(3 * logistic(score)))


@dataclass(frozen=True)
class Agreement:
    """How far the model grades as people do.

    Attributes:
        passages: How many both have graded.
        alpha: Krippendorff's, of ordered grades; None where all grades are the same, as below.
        kappa: Cohen's, of grades as names.
        weighted_kappa: Cohen's with quadratic weights.
        table: Passages by people's grade and the model's, [3][3].
    """

    passages: int
    alpha: float | None
    kappa: float | None
    weighted_kappa: float | None
    table: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Judged:
    """What a model said of the pools.

    Attributes:
        grades: By question and document.
        undecided: Passages whose answer was not understood.
        failed: Passages for which no answer came.
        agreement: With people; None where they share no passage.
        money: What the folder has cost so far.
    """

    grades: Mapping[str, Mapping[str, int]]
    undecided: int
    failed: int
    agreement: Agreement | None
    money: float


class PoolJudge:
    """A model that is asked about the pools of a folder. What it said lies in the cache that all runs share."""

    def __init__(
        self, folder: Path, pools: Pools, settings: JudgingSettings, prompt: PairPrompt, cache: ItemStore
    ) -> None:
        """Ask nothing yet.

        Args:
            folder: Of the pools; it is written down there what was paid.
            pools: What is judged.
            settings: The model.
            prompt: What it is asked.
            cache: Where answers are kept.
        """
        self._folder, self._pools, self._settings, self._prompt = folder, pools, settings, prompt
        self._items = ItemStore(folder / "items.sqlite")
        self._ledger = Ledger(self._items, f"judge {settings.judge.model}", settings.judge)
        self._codec = LLMJudge(settings.judge, prompt).codec
        self._cache = cache

    def close(self) -> None:
        """Close the folder's store."""
        self._items.close()

    def estimate(self) -> Estimate:
        """What is left to ask, and what it costs at most; nothing is sent."""
        left = self._scores().missing(self._asked())
        most = self._codec.most
        return Estimate([counted("judge", "judge", self._settings.judge, map(most, left))], free=0)

    def judge(self) -> Judged:
        """Ask about every passage that the cache does not know, and write `qrels/model.tsv`.

        Raises:
            ModelError: The server refuses a request, fails all the time, or its answers are not understood.
            RunError: The next request could exceed the budget; what was answered is kept.
        """
        asked = self._asked()
        if next(self._scores().missing(asked), None):
            spent = self._ledger.spent
            with (
                closing(Endpoint(self._settings.judge, self._codec, self._settings.requests, spent, WORDS)) as server,
                track("asking the judge", self._pools.size) as advance,
            ):
                self._scores(partial(self._paid, server)).ask(asked, advance)
        return self._judged(zip(asked, self._scores()(asked), strict=True))

    def _paid(
        self, server: Endpoint[Group, GroupScores], groups: Iterable[Group]
    ) -> Iterator[Answer[Group, GroupScores]]:
        """Answers, each written down as paid before it is kept: a kill between the two must not forget the money."""
        for answer in server.ask(groups):
            if answer.tokens != Tokens():
                self._items.put([self._ledger.entry(answer.tokens)])
            yield answer

    def _judged(self, found: Iterable[tuple[Unscored, np.ndarray]]) -> Judged:
        grades: dict[str, dict[str, int]] = {}
        undecided = failed = 0
        for (query, doc_ids), scores in found:
            for doc_id, score in zip(doc_ids, scores.tolist(), strict=True):
                if math.isnan(score):
                    failed += 1
                elif (grade := grade_of(score, self._prompt)) is None:
                    undecided += 1
                else:
                    grades.setdefault(query.query_id, {})[doc_id] = grade
        if grades:
            put_file(self._folder / QRELS, qrels_text(grades))
        people = Grading(self._pools, read_entries(self._folder / LOG)).medians()
        money = cost(self._ledger.spent, self._settings.judge)
        return Judged(grades, undecided, failed, agreement_of(people, grades), money)

    def _asked(self) -> list[Unscored]:
        questions, pools = self._pools.questions, self._pools.pools
        queries = [Query(q.query_id, q.text, q.language, "target", "", GIVEN) for q in questions.values()]
        return [(query, pools[query.query_id]) for query in queries]

    def _scores(self, ask: ScoreGroups = lambda groups: iter(())) -> CachedScores:
        """Scores of the cache, and of what is asked where something is; nobody by default."""
        judge = self._settings.judge
        # As of a teacher of a run: what that was told under the same prompt is not asked again.
        facts = judge.model_dump(mode="json", exclude=set(SPEED | {"template", "max_chars"}))
        identity = item_key(judge.kind, {**facts, "prompt": self._prompt.model_dump(mode="json")})
        documents = {one.doc_id: Document(one.doc_id, one.text, one.language) for one in self._pools.passages.values()}
        return CachedScores(ask, identity, documents, self._cache, 1, judge.max_chars)


def agreement_of(people: Mapping[str, Mapping[str, int]], model: Mapping[str, Mapping[str, int]]) -> Agreement | None:
    """How far a model grades as people do, over the passages that both have graded; None where there are none."""
    shared = [
        (grade, model[query_id][doc_id])
        for query_id, of in people.items()
        for doc_id, grade in of.items()
        if doc_id in model.get(query_id, {})
    ]
    if not shared:
        return None
    theirs, its = (np.array(side) for side in zip(*shared, strict=True))
    table = np.zeros((len(GRADES), len(GRADES)), dtype=np.int64)
    np.add.at(table, (theirs, its), 1)
    alpha = krippendorff_alpha(np.array([theirs, its], dtype=np.float64))
    kappa, weighted = cohen_kappa(theirs, its), cohen_kappa(theirs, its, weighted=True)
    rows = tuple(map(tuple, table.tolist()))
    return Agreement(len(shared), _known(alpha), _known(kappa), _known(weighted), rows)


def _known(figure: float) -> float | None:
    return None if math.isnan(figure) else figure


@contextmanager
def opened_judge(folder: Path, pools: Pools, settings: JudgingSettings, prompt: PairPrompt) -> Iterator[PoolJudge]:
    """A judge of the pools of a folder, with the cache that all runs of a user share."""
    with (
        closing(open_cache(user_cache())) as cache,
        closing(PoolJudge(folder, pools, settings, prompt, cache)) as judge,
    ):
        yield judge
