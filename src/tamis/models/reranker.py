"""The deployed reranker: load a checkpoint of any family, score pairs, rank documents."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
import torch

from tamis.errors import InputError, ModelError
from tamis.formulas.arrays import IndexArray
from tamis.formulas.ranking import logistic, tie_key
from tamis.models.arguments import Activation, activated, count, formed, listed, pairs_of, renamed
from tamis.models.checkpoint import (
    CheckpointFacts,
    MinScore,
    find_checkpoint,
    load_warm,
    lowest_score,
    model_identity,
    read_facts,
)
from tamis.models.encoder import loading
from tamis.models.engines.choosing import AT_HAND, NAMES, InTorch, ScoringEngine, engine_scorer, faster
from tamis.models.engines.int8 import load_int8, refuse_elsewhere
from tamis.models.families import load_scorer
from tamis.models.first_stage import (
    FirstStage,
    FirstStageArgument,
    SummedRanking,
    doubt,
    first_stage_of,
    ranked_beside,
    weight_of,
)
from tamis.models.folders import holds_int8
from tamis.models.known.documents import KnownDocuments, checked_ids, is_named, with_texts
from tamis.models.parameters import scorer_parameters
from tamis.models.precision import Precision, chosen_device, chosen_precision, fastest_device, scoring_tokens
from tamis.models.remembered import REMEMBERED, CachedStates
from tamis.models.rows import Pair
from tamis.models.serializer import DocumentText, Serializer, document_text
from tamis.models.stream import WINDOW, WINDOW_OF_LONG, Scored, Scorer, score_stream
from tamis.models.warm_scorer import WarmScorer
from tamis.models.windows import Long, Windows, check_long
from tamis.progress import track

logger = logging.getLogger(__name__)

PROBE = [("a cat sleeps", "The cat is asleep."), ("a cat sleeps", "Interest rates rose."), ("1", "2")]
"""Pairs that no working reranker scores alike."""

NO_PAIR = (str, Mapping, set, frozenset)
"""What can be read one by one and is no pair all the same."""

DocumentPair = tuple[str, DocumentText]


class Ranked(TypedDict, total=False):
    """One ranked document, as sentence-transformers' `CrossEncoder.rank` returns it, with the model's logit beside.

    `id` is there of documents that were named by it.
    """

    corpus_id: int
    score: float
    logit: float
    text: str
    id: str


class Loading(NamedTuple):
    """How a model was loaded, for whoever loads it again.

    Attributes:
        precision: Number format that was asked for, `auto` resolved.
        engine: What was asked to compute the scores.
        others: Names of other arguments that do not have their defaults.
    """

    precision: Precision
    engine: ScoringEngine
    others: tuple[str, ...] = ()


class Reranker:
    """Scores how well documents answer a query.

    The float32 logit of a pair is the score that ranks; the bounded score is for show. Documents are strings, or
    mappings with `text` and perhaps `title`.

    Example:
        >>> reranker = Reranker("demo/model")  # doctest: +SKIP
        >>> reranker.rank("Wie installiere ich ein Paket?", documents, top_k=3)  # doctest: +SKIP

    Attributes:
        family: Which kind of reranker the checkpoint is, see `tamis.models.families`.
        serializer: How texts become tokens.
        activation: What makes a bounded score of the logit: `sigmoid`, `tanh` or `identity`.
        deployment: What a checkpoint that tamis made says about its use.
        tokenizer: The checkpoint's own.
        device: Where the weights lie.
        scorer: What tokenises and scores, see `tamis.models.stream`.
        engine: What computes the scores: `torch`, `openvino` or `onnx`; of `auto` torch until it has chosen.
        precision: Number format of the body: `float32`, `bfloat16` or `int8`.
        index: Documents that the model has read before; None for none.
        loading: How it was loaded.
        parameters: How many weights a token passes, and how many there are.
    """

    def __init__(
        self,
        path: str | Path,
        precision: Precision | Literal["auto"] = "float32",
        token_budget: int | None = None,
        max_tokens: int | None = None,
        device: str | None = None,
        trust_remote_code: bool = False,
        engine: ScoringEngine = "torch",
        index: str | Path | None = None,
    ) -> None:
        """Load a checkpoint; the family is found from its files.

        Args:
            path: Hugging Face folder or hub name, or `tamis-base` or `tamis-small`, which ship with this package; or a
                folder that `tamis export --to openvino-int8` wrote, which OpenVINO scores on a processor, whatever
                `engine` says.
            precision: Number format of the body; `auto` is bfloat16 where the machine multiplies it natively. The score
                is float32 either way. Of a folder in int8 it is that of all that is not in int8.
            token_budget: Most tokens per forward pass, padding included; None for what is fastest: as many as a
                processor's cache holds, or as fill a GPU.
            max_tokens: Most tokens of a pair, in place of what the checkpoint says; not for warm checkpoints.
            device: `cpu`, `cuda` ...; None takes a GPU where there is one.
            trust_remote_code: Run code that the checkpoint brings; only for bodies that transformers does not know.
            engine: What computes the scores on a processor: `openvino` and `onnx` make a graph of the model once and
                keep it in the user's cache; `auto` takes one where it agrees with torch and is faster, on the texts
                that are scored first. Where the engine cannot be had, torch scores, and a line in the log says why.
            index: Folder that `tamis index` made of documents with this model, a warm one: they are not read again,
                whether they come as texts or by id.

        Raises:
            InputError: no such engine, number format or device, or none for this folder; or an index that is of another
                model or cannot be read.
            ModelError: no such folder, an unknown family, no score head, broken, constant or non-finite weights.
        """
        if engine not in NAMES:
            raise InputError(f"engine is {engine!r}, expected one of {', '.join(NAMES)}")
        if not isinstance(index, str | Path | None):
            raise InputError(f"index is {index!r:.100}, expected the folder that `tamis index` made")
        where, chosen = chosen_device(device), chosen_precision(precision)
        budget = count("token_budget", token_budget) if token_budget else scoring_tokens(where)
        max_tokens = None if max_tokens is None else count("max_tokens", max_tokens)
        self.path = path
        path = find_checkpoint(path)
        facts = read_facts(path)
        in_int8 = holds_int8(path)
        if in_int8:
            refuse_elsewhere(Path(path), engine, device)
            where, engine = torch.device("cpu"), "torch"
        others = {
            "token_budget": token_budget,
            "max_tokens": max_tokens,
            "device": not in_int8 and where.type != fastest_device().type,
            "trust_remote_code": trust_remote_code,
        }
        self.loading = Loading(chosen, engine, tuple(name for name, given in others.items() if given))
        self.deployment = facts.deployment
        self._doubted: set[str] = set()
        self.engine, self.precision = "torch", str(chosen)
        self._undecided: tuple[str, Scorer, InTorch] | None = None
        self.scorer: Scorer
        if in_int8:
            self._load_int8(Path(path), facts, chosen, budget, max_tokens)
        elif facts.family == "warm":
            if max_tokens is not None:
                raise ModelError(f"{path}: max_tokens is set, but a warm checkpoint has a limit for each text")
            student = load_warm(path, facts, chosen, budget).to(where).requires_grad_(False)
            self.scorer = WarmScorer(student, budget)
            self.family, self.tokenizer = "warm", student.encoder.tokenizer
            self.serializer: Serializer = student.serializer
            self.activation = facts.activation or "sigmoid"
            self.device = student.device
        else:
            loaded = load_scorer(
                path, facts.family, facts.serializer, chosen, budget, where, max_tokens, trust_remote_code
            )
            self.scorer, self.serializer = loaded.scorer, loaded.scorer.rows.serializer
            self.family, self.tokenizer = loaded.family, loaded.tokenizer
            self.activation = facts.activation or loaded.activation
            self.device = loaded.scorer.model.device
        if not in_int8:
            self.parameters = scorer_parameters(self.scorer)
        self._probe()
        if engine != "torch":
            self._use_engine(engine, where, chosen, max_tokens, trust_remote_code)
        self.index = None if index is None else self._open_index(Path(index))

    def _load_int8(
        self, path: Path, facts: CheckpointFacts, precision: Precision, token_budget: int, max_tokens: int | None
    ) -> None:
        """Take over graphs in int8, which OpenVINO scores with."""
        found = load_int8(path, facts, precision, token_budget, max_tokens)
        self.scorer, self.serializer = found.scorer, found.serializer
        self.family, self.tokenizer, self.parameters = found.family, found.tokenizer, found.parameters
        self.activation = facts.activation or "sigmoid"
        self.device = torch.device("cpu")
        self.engine, self.precision = "openvino", "int8"

    def _open_index(self, folder: Path) -> KnownDocuments:
        """Let the scorer find documents in an index; says which files of documents have changed since."""
        if not isinstance(self.scorer, WarmScorer):
            raise ModelError(
                f"{self.path}: an index is for warm models, such as tamis-base; one of the family {self.family} reads "
                "both texts together from the start"
            )
        known = KnownDocuments(folder)
        known.check_model(model_identity(Path(self.path)), str(self.path))
        for file in known.changed_files():
            logger.warning(
                "%s: %s has changed since its documents were read; documents are known as they were, until tamis "
                "index is run again",
                folder,
                file,
            )
        self.scorer.known = known
        return known

    def _use_engine(
        self, wanted: ScoringEngine, where: torch.device, precision: Precision, max_tokens: int | None, trust: bool
    ) -> None:
        """Let another engine score, where it can."""
        if where.type != "cpu":
            logger.warning(
                "%s: torch scores on %s; engine %s is for processors, device='cpu'", self.path, where, wanted
            )
            return

        def exact() -> Scorer:
            if precision == "float32":
                return self.scorer
            return Reranker(self.path, max_tokens=max_tokens, device="cpu", trust_remote_code=trust).scorer

        def identity() -> str:
            return model_identity(Path(self.path))

        given = InTorch(str(self.path), self.family, self.scorer, precision, identity, exact)
        name, scorer = engine_scorer(wanted, given)
        if wanted == "auto" and name != "torch":
            self._undecided = name, scorer, given
        else:
            self.engine, self.scorer = name, scorer

    def decide(self, pairs: Sequence[Pair] = ()) -> None:
        """Let `auto` choose its engine; unless this is called, the first pairs that are scored decide.

        Args:
            pairs: Texts on which engines are compared, beside some of tamis' own where they are few.
        """
        if self._undecided is None:
            return
        (name, scorer, given), self._undecided = self._undecided, None
        ours = self.scorer
        if not (isinstance(ours, WarmScorer) and isinstance(scorer, WarmScorer)):
            if faster(name, scorer, given, pairs):
                self.engine, self.scorer = name, scorer
            return
        scorer.known, scorer.alone = ours.known, ours.alone
        memory, ours.memory = ours.memory, None  # nothing that was read before may win the race
        if faster(name, scorer, given, pairs):
            # States that torch read may be of another type.
            scorer.memory = None if memory is None else CachedStates(memory.most_bytes)
            self.engine, self.scorer = name, scorer
        else:
            ours.memory = memory

    def _probe(self) -> None:
        """Refuse a checkpoint whose scores are not finite or all the same."""
        with loading(self.path, "a reranker"):
            logits = self.score_pairs(PROBE).logits
        if not np.isfinite(logits).all():
            raise ModelError(f"{self.path}: scores are not finite; the weights are broken")
        if np.ptp(logits) == 0:
            raise ModelError(f"{self.path}: every pair gets the same score; the score head is missing or untrained")

    def remember(self, most_bytes: int = REMEMBERED, alone: bool = False) -> None:
        """Keep what a warm model makes of each text before it sees the other one, so that it is read once.

        For use by one thread at a time. The last bits of a score then depend on what was scored before, by some 1e-6 of
        a logit in float32; so nothing is remembered unless this is called. Models of other families read both texts
        together from the start and have nothing to remember.

        Args:
            most_bytes: Most bytes kept where the weights lie, 256 MiB by default; the longest unused goes first.
            alone: Read each text by itself, so that a score is the same whatever was scored before; slower for texts
                that come once.
        """
        if isinstance(self.scorer, WarmScorer):
            self.scorer.memory, self.scorer.alone = CachedStates(most_bytes), alone

    def predict(
        self,
        inputs: Any = None,
        *,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: Activation | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        long: Long = "first",
        **others: Any,
    ) -> Any:
        """Score pairs, as sentence-transformers' `CrossEncoder.predict`.

        Args:
            inputs: (query, document) pairs: a list, a generator, an array of two columns ...; or a single pair.
            prompt: Instruction, for models that take one.
            batch_size: Most pairs per forward pass, at least 1; None for as many as the token budget holds. No score
                depends on it.
            show_progress_bar: Say on standard error how many pairs are scored; None is no.
            activation_fn: Makes the score of the logit, in place of the checkpoint's own; `torch.nn.Identity()` gives
                the logits that rank.
            convert_to_numpy: Return an array; otherwise a list of tensors.
            convert_to_tensor: Return one tensor, whatever `convert_to_numpy` says.
            long: What becomes of documents that are longer than the model reads, see `rank`.
            others: What else sentence-transformers takes: older names, what has no effect on one label in one process
                (`num_workers`, `chunk_size`, `apply_softmax`), and `device` where the model lies there.

        Returns:
            float32 [pairs] in input order; a scalar for a single pair.

        Raises:
            InputError: what is no pair of texts, or an argument that cannot be followed.
        """
        more = renamed("predict", others, self.device)
        pairs, single = pairs_of(more.get("inputs", inputs))
        logits = self._score_told(pairs, long, prompt, batch_size, show_progress_bar).logits
        chosen = more.get("activation_fn", activation_fn)
        scores = bounded(logits, self.activation) if chosen is None else activated(logits, chosen)
        return formed(scores, single, convert_to_tensor, convert_to_numpy)

    def rank(
        self,
        query: str,
        documents: Iterable[DocumentText] | None = None,
        top_k: int | None = None,
        return_documents: bool = False,
        *,
        ids: Iterable[str] | None = None,
        prompt: str | None = None,
        first_stage: FirstStageArgument | None = None,
        min_score: MinScore | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: Activation | None = None,
        long: Long = "first",
        **others: Any,
    ) -> list[Ranked]:
        """Order documents by relevance, as sentence-transformers' `CrossEncoder.rank`.

        Args:
            query: The query.
            documents: The candidates: a list, a generator, an array, a column of a table. With an index, some may be
                mappings with nothing but an `id`.
            top_k: How many to return, at least 1; None for all.
            return_documents: Put each document's text beside its score.
            ids: In place of `documents`: ids of documents of the index.
            prompt: Instruction, for models that take one.
            first_stage: Name of the first stage (`bm25`, `hybrid`, `other`) and its score of each document, higher
                being better: its z-score is added with the weight that the checkpoint has for it, or for any other
                where it has none, which is logged. `"order"` where the documents come best first and their scores are
                not known. None or `"none"`, the default, since documents may come in any order: the model alone.
            min_score: Leave out documents whose `score` is below this, all of them if need be: where nothing fits the
                list is empty. `"model"` is the level that `tamis threshold` kept in the model.
            batch_size: Most pairs per forward pass, see `predict`.
            show_progress_bar: Say on standard error how many documents are scored; None is no.
            activation_fn: Makes the score in place of the checkpoint's own, see `predict`; documents are ordered by
                what it gives, equal ones as they were.
            long: What becomes of documents that are longer than the model reads. `first`: their beginning is read, and
                how many there are is logged once. `windows`: they are read window by window, and the best one counts;
                that takes as many times the work as a document has windows.
            others: See `predict`.

        Returns:
            Best first, `corpus_id` being the index into `documents`; what is equal is ordered by content. `score` holds
            the first stage and never rises down the ranking; `logit` is the model's own, without it.

        Raises:
            InputError: texts that are none, a first stage whose scores do not fit, or an argument that cannot be
                followed.
        """
        more = renamed("rank", others, self.device)
        most = None if top_k is None else count("top_k", top_k)
        lowest = lowest_score(min_score, self.deployment, self.path)
        check_long("long", long)
        named = _candidates(documents, ids)
        given = _documents(with_texts(named, self.index))
        if not given:
            return []
        first = first_stage_of(first_stage, len(given))
        pairs = [(query, document) for document in given]
        scored = self._score_told(pairs, long, prompt, batch_size, show_progress_bar)
        if scored.emptied:
            logger.warning("%d of %d documents are empty or did not fit", scored.emptied, len(given))
        texts = [document_text(document, self.serializer.title) for document in given]
        weight = self._weight(first, query) if first else 0.0
        ranking = ranked_beside(scored.logits, first, weight, [tie_key(query, text) for text in texts])
        scores, order = self._shown(ranking, more.get("activation_fn", activation_fn))
        ranked: list[Ranked] = []
        for index in order[:most]:
            if scores[index] < lowest:
                break  # scores never rise down the ranking
            entry: Ranked = {
                "corpus_id": int(index),
                "score": float(scores[index]),
                "logit": float(scored.logits[index]),
            }
            if return_documents:
                entry["text"] = texts[index]
            if is_named(one := named[index]):
                entry["id"] = one["id"]
            ranked.append(entry)
        return ranked

    def _score_told(
        self, pairs: list[DocumentPair], long: Long, prompt: str | None, batch_size: int | None, show: bool | None
    ) -> Scored:
        """As `_score_all`; how many documents were not read whole is logged once, and once again for queries."""
        scored = self._score_all(pairs, prompt, batch_size, show, long)
        if scored.cut and f"long {long}" not in self._doubted:
            self._doubted.add(f"long {long}")
            what = {
                "first": "%d of %d documents are longer than the model reads, the rest is not ranked; "
                "long='windows' (--long windows) ranks all of it",
                "windows": "%d of %d documents were read beside a query that is longer than the model reads: its rest "
                "was left out",
            }
            logger.warning(what[long], scored.cut, len(pairs))
        return scored

    def _shown(self, ranking: SummedRanking, activation: Activation | None) -> tuple[np.ndarray, IndexArray]:
        """The bounded scores of a ranking's documents, and their order by them."""
        if activation is None:
            return bounded(ranking.values, self.activation), ranking.order
        scores = activated(ranking.values, activation)
        return scores, ranking.order[np.argsort(-scores[ranking.order], kind="stable")]

    def _weight(self, first: FirstStage, query: str) -> float:
        """The weight of a first stage; says once of each what a caller should know about it."""
        doubtful = doubt(self.deployment, first.name)
        if doubtful and first.name not in self._doubted:
            self._doubted.add(first.name)
            logger.warning(doubtful)
        return weight_of(self.deployment, first, query)

    def score_pairs(
        self, pairs: Iterable[DocumentPair], instruction: str | None = None, long: Long = "first"
    ) -> Scored:
        """Score pairs, and say what did not fit.

        Args:
            pairs: (query, document), any iterable; it is read a window at a time.
            instruction: For models that take one.
            long: What becomes of documents that are longer than the model reads, see `rank`.

        Returns:
            The logits in input order, the number of pairs that were cut and of documents of which nothing was left.

        Raises:
            InputError: names the first pair that cannot be scored.
        """
        return self._score_all(pairs, instruction, long=long)

    def _score_all(
        self,
        pairs: Iterable[DocumentPair],
        instruction: str | None,
        batch_size: int | None = None,
        show: bool | None = False,
        long: Long = "first",
    ) -> Scored:
        """As `score_pairs`; to be shown, the pairs must be a list."""
        most = None if batch_size is None else count("batch_size", batch_size)
        windows: list[Scored] = []
        with track("scoring", len(pairs) if show and isinstance(pairs, Sized) else 0) as advance:
            for window in self.score_windows(pairs, instruction, most=most, long=long):
                windows.append(window)
                advance(len(window.logits))
        logits = np.concatenate([window.logits for window in windows]) if windows else np.empty(0, np.float32)
        return Scored(logits, sum(window.cut for window in windows), sum(window.emptied for window in windows))

    def score_windows(
        self,
        pairs: Iterable[DocumentPair],
        instruction: str | None = None,
        window: int | None = None,
        most: int | None = None,
        long: Long = "first",
    ) -> Iterator[Scored]:
        """As `score_pairs`, one result per window of pairs, in order: memory stays flat however many there are.

        Args:
            pairs: (query, document), any iterable.
            instruction: For models that take one.
            window: Pairs held at once; None for `WINDOW`, or for fewer where documents are read in windows.
            most: Most pairs per forward pass; None for as many as the token budget holds.
            long: What becomes of documents that are longer than the model reads, see `rank`.
        """
        given, title = listed("pairs", pairs, "pairs (query, document)"), self.serializer.title
        if self._undecided:
            given = iter(given)
            first = list(islice(given, AT_HAND))
            self.decide(list(check_pairs(first, title)))
            given = chain(first, given)
        if check_long("long", long) == "first":
            return score_stream(self.scorer, check_pairs(given, title), instruction, window or WINDOW, most)
        read = Windows(self.serializer, self.tokenizer, instruction)
        whole = check_documents(given, title)
        return score_stream(self.scorer, whole, instruction, window or WINDOW_OF_LONG, most, read)

    def score(
        self, query: str, documents: Iterable[DocumentText], instruction: str | None = None, window: int = WINDOW
    ) -> Iterator[float]:
        """Logits of a stream of documents, in order, holding no more than two windows of them in memory."""
        pairs = ((query, document) for document in listed("documents", documents, "strings"))
        windows = self.score_windows(pairs, instruction, window)
        return (logit for scored in windows for logit in scored.logits.tolist())


def _candidates(documents: Any, ids: Any) -> list[DocumentText]:
    """The documents of a query, as they came.

    Raises:
        InputError: both, or neither, or an id that is no string.
    """
    if (documents is None) == (ids is None):
        got = "NoneType for each" if ids is None else "both"
        raise InputError(f"rank: expected documents or ids, one of both, got {got}")
    if ids is None:
        return list(listed("documents", documents, "strings"))
    return [{"id": one} for one in checked_ids(listed("ids", ids, "strings"))]


def _documents(documents: Any) -> list[DocumentText]:
    """The documents of a query, checked.

    Raises:
        InputError: names the first that is none.
    """
    given: list[DocumentText] = list(listed("documents", documents, "strings"))
    for number, document in enumerate(given):
        if not _is_document(document):
            has = f" with {', '.join(map(str, document))}" if isinstance(document, Mapping) else ""
            raise InputError(
                f"document {number}: expected a string, or a mapping with text and perhaps title, both strings; "
                f"got {type(document).__name__}{has:.100}"
            )
    return given


def bounded(logits: np.ndarray, activation: str) -> np.ndarray:
    """Scores for show: sigmoid to [0, 1], tanh to [-1, 1], or the logits themselves.

    Computed in float64 element by element: a vectorised sigmoid may give equal logits scores that differ in the last
    bit.
    """
    if activation == "identity":
        return logits
    of = logistic if activation == "sigmoid" else math.tanh
    return np.array([of(logit) for logit in logits.ravel().tolist()], np.float32).reshape(logits.shape)


def check_pairs(pairs: Iterable[DocumentPair], title: str) -> Iterator[Pair]:
    """Pairs of plain texts, see `check_documents`."""
    return ((query, document_text(document, title)) for query, document in check_documents(pairs, title))


def check_documents(pairs: Iterable[DocumentPair], title: str) -> Iterator[DocumentPair]:
    """Pairs of a query and a document, a plain text or one with its title, as they come.

    Raises:
        InputError: names the first pair that is none, and why.
    """
    for number, pair in enumerate(pairs):
        parts = list(pair) if isinstance(pair, Iterable) and not isinstance(pair, NO_PAIR) else [pair]
        if len(parts) != 2 or not isinstance(parts[0], str) or not _is_document(parts[1]):
            kinds = " and ".join(type(part).__name__ for part in parts) or "nothing"
            raise InputError(f"pair {number}: expected two strings, got {kinds}")
        query, document = str(parts[0]), parts[1]
        if not query.strip():
            raise InputError(f"pair {number}: the query is empty")
        for name, text in (("query", query), ("document", document_text(document, title))):
            _check_unicode(number, name, text)
        yield query, document


def _is_document(value: Any) -> bool:
    if isinstance(value, Mapping):
        return isinstance(value.get("text"), str) and isinstance(value.get("title") or "", str)
    return isinstance(value, str)


def _check_unicode(number: int, name: str, text: str) -> None:
    """Refuse halves of surrogate pairs: no file or tokenizer can hold them."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"pair {number}: the {name} holds half of a surrogate pair at character {error.start}; "
            "decode the text anew, or replace it"
        ) from None
