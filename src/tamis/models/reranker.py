"""The deployed reranker: load a checkpoint folder, score pairs, rank documents, save."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from tamis.errors import InputError, ModelError
from tamis.formulas.ranking import rank_order, tie_key, z_scores
from tamis.models.batching import token_batches
from tamis.models.encoder import Encoder, check_folder, loading, refuse_missing
from tamis.models.precision import Precision
from tamis.models.serializer import Serializer
from tamis.models.stock import StockCrossEncoder
from tamis.models.warm import WarmCrossEncoder

FORMAT = 1
"""Version of `tamis.json`."""

Student = WarmCrossEncoder | StockCrossEncoder


class Ranked(TypedDict, total=False):
    """One ranked document, as sentence-transformers' `CrossEncoder.rank` returns it, with the ranking logit beside."""

    corpus_id: int
    score: float
    logit: float
    text: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a checkpoint says about its use.

    Attributes:
        first_stage_weights: Weight of the first stage's z-score beside the student's, by first stage; chosen on
            held-out queries of its own chain.
        lineage: Where the checkpoint came from: parents, data, settings.
    """

    first_stage_weights: Mapping[str, float]
    lineage: Mapping[str, Any]


def score_prepared(
    student: Student, queries: Sequence[Tensor], documents: Sequence[Tensor], token_budget: int
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Score prepared pairs, batch by batch, the longest first.

    Args:
        student: The model.
        queries: The prepared query of each pair.
        documents: The prepared document of each pair.
        token_budget: Most tokens per forward pass, padding included.

    Yields:
        Indices of the pairs of a batch and their logits, float32.
    """
    lengths = [len(query) + len(document) for query, document in zip(queries, documents, strict=True)]
    for batch in token_batches(lengths, token_budget):
        with torch.inference_mode():
            logits = student([queries[i] for i in batch], [documents[i] for i in batch])
        yield batch, logits.float().cpu().numpy()


class Reranker:
    """Scores how well documents answer a query.

    Example:
        >>> reranker = Reranker("demo/model")  # doctest: +SKIP
        >>> reranker.rank("Wie installiere ich ein Paket?", documents, top_k=3)  # doctest: +SKIP
    """

    def __init__(self, path: str | Path, precision: Precision = "float32", token_budget: int = 8192) -> None:
        """Load a folder that tamis saved.

        Args:
            path: The folder.
            precision: Number format of the matrix products; scores are float32 either way.
            token_budget: Most tokens per forward pass, padding included.

        Raises:
            ModelError: no such folder, no score head, broken or non-finite weights.
        """
        self.path = Path(path)
        self.token_budget = token_budget
        self.student, self.deployment = load_student(self.path, precision, token_budget)
        self._probe()

    def _probe(self) -> None:
        """Refuse a checkpoint whose scores are not finite or all the same."""
        logits = self._logits(
            [("a cat sleeps", "The cat is asleep."), ("a cat sleeps", "Interest rates rose."), ("1", "2")]
        )
        if not np.isfinite(logits).all():
            raise ModelError(f"{self.path}: scores are not finite; the weights are broken")
        if np.ptp(logits) == 0:
            raise ModelError(f"{self.path}: every pair gets the same score; the score head is missing or untrained")

    def predict(self, pairs: Sequence[tuple[str, str]] | tuple[str, str], show_logits: bool = False) -> np.ndarray:
        """Score pairs, as sentence-transformers' `CrossEncoder.predict`.

        Args:
            pairs: (query, document) pairs, or a single pair.
            show_logits: Return the unbounded logit that ranks instead of its sigmoid.

        Returns:
            float32 [pairs] in input order, in [0, 1]; a scalar for a single pair.
        """
        single = len(pairs) == 2 and all(isinstance(text, str) for text in pairs)
        several = [pairs] if single else list(pairs)
        logits = self._logits(several)  # type: ignore[arg-type]  # told apart above
        scores = logits if show_logits else _sigmoid(logits)
        return scores[0] if single else scores

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        first_stage: tuple[str, Sequence[float]] | None = None,
    ) -> list[Ranked]:
        """Order documents by relevance, as sentence-transformers' `CrossEncoder.rank`.

        Args:
            query: The query.
            documents: The candidates.
            top_k: How many to return, at least 1; None for all.
            return_documents: Put each document's text beside its score.
            first_stage: Name of the first stage (`bm25`, `hybrid`) and its score of each document: its z-score is
                added with the weight that the checkpoint chose on held-out queries.

        Returns:
            Best first, `corpus_id` being the index into `documents`; equal logits are ordered by content.

        Raises:
            InputError: texts that are none, a first stage the model has no weight for, or scores that do not fit.
        """
        if isinstance(documents, str):
            raise InputError("documents: expected a list of strings, got a single string")
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k is {top_k}, expected at least 1")
        if not documents:
            return []
        logits = self._logits([(query, document) for document in documents])
        ranking: np.ndarray = logits.astype(np.float64)
        if first_stage is not None:
            ranking = self._fuse(ranking, *first_stage)
        scores = _sigmoid(logits)
        ranked: list[Ranked] = []
        for index in rank_order(ranking, [tie_key(query, document) for document in documents])[:top_k]:
            entry: Ranked = {
                "corpus_id": int(index),
                "score": float(scores[index]),
                "logit": float(logits[index]),
            }
            if return_documents:
                entry["text"] = documents[index]
            ranked.append(entry)
        return ranked

    def _fuse(self, logits: np.ndarray, name: str, scores: Sequence[float]) -> np.ndarray:
        weights = self.deployment.first_stage_weights
        if name not in weights:
            known = ", ".join(sorted(weights)) or "none"
            raise InputError(f"first stage {name!r}: this model has no weight for it; it knows {known}")
        if len(scores) != len(logits):
            raise InputError(f"first stage {name!r}: {len(scores)} scores for {len(logits)} documents")
        given = np.asarray(scores, dtype=np.float64)
        if not np.isfinite(given).all():
            raise InputError(f"first stage {name!r}: score {int(np.argmin(np.isfinite(given)))} is not finite")
        return z_scores(logits) + weights[name] * z_scores(given)

    def score(self, query: str, documents: Iterable[str], chunk: int = 1024) -> Iterator[float]:
        """Logits of a stream of documents, in order, holding at most `chunk` of them in memory."""
        stream = iter(documents)
        while part := list(islice(stream, chunk)):
            yield from self._logits([(query, document) for document in part]).tolist()

    def _logits(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        _check_texts(pairs)
        # Each pair once, in the order of its content: batches, and so the last bit of a score, do not depend on the
        # order in which pairs come in, and copies of a document share one score.
        unique = sorted({(query, document) for query, document in pairs})
        queries, documents = sorted({query for query, _ in unique}), sorted({document for _, document in unique})
        query_of = dict(zip(queries, self.student.prepare_queries(queries), strict=True))
        document_of = dict(zip(documents, self.student.prepare_documents(documents), strict=True))
        logit_of: dict[tuple[str, str], float] = {}
        for batch, values in score_prepared(
            self.student,
            [query_of[query] for query, _ in unique],
            [document_of[document] for _, document in unique],
            self.token_budget,
        ):
            logit_of.update(zip((unique[i] for i in batch), values, strict=True))
        return np.array([logit_of[query, document] for query, document in pairs], np.float32)


def save_student(student: Student, folder: Path, deployment: Deployment) -> None:
    """Write an ordinary Hugging Face folder: safetensors, tokenizer, `tamis.json`; the folder must be empty or new."""
    folder.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "head": student.head,
        "serializer": asdict(student.serializer),
        "first_stage_weights": dict(deployment.first_stage_weights),
        "lineage": dict(deployment.lineage),
    }
    if isinstance(student, WarmCrossEncoder):
        student.whole_body().save_pretrained(folder)
        facts |= {
            "joint_layers": student.joint_layers,
            "cross_bias": student.cross_bias,
            "scale": student.scale.item(),
            "bias": student.bias.item(),
        }
        # sentence-transformers finds the head through this list; it asks for trust_remote_code=True to import it.
        _write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": ST_MODULE}])
        _write_json(
            folder / "config_sentence_transformers.json",
            {"model_type": "CrossEncoder", "activation_fn": "torch.nn.modules.activation.Sigmoid"},
        )
    else:
        student.classifier.save_pretrained(folder)
        student.tokenizer.model_max_length = student.limit
    _save_tokenizer(student.encoder.tokenizer, folder)
    _write_json(folder / "tamis.json", facts)


def _save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write the tokenizer as it is, not as it was last used: the same bytes whatever was tokenised before."""
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.init_kwargs.pop("local_files_only", None)
    tokenizer.save_pretrained(folder)


ST_MODULE = "tamis.models.sentence_transformers_module.WarmModule"
"""Import path of the module through which sentence-transformers scores a warm folder."""


def load_student(path: Path, precision: Precision, token_budget: int) -> tuple[Student, Deployment]:
    """Load what `save_student` wrote.

    Raises:
        ModelError: see `Reranker`.
    """
    facts = read_facts(path)
    try:
        serializer = Serializer(**facts["serializer"])
        weights = {name: float(weight) for name, weight in facts["first_stage_weights"].items()}
        deployment = Deployment(weights, facts["lineage"])
        warm = facts["head"] == "warm"
        joint_layers = int(facts["joint_layers"]) if warm else 0
        numbers = [float(facts[name]) for name in ("cross_bias", "scale", "bias")] if warm else []
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path / 'tamis.json'}: a field is missing or of the wrong kind: {error}") from None
    if not all(map(math.isfinite, numbers)):
        raise ModelError(f"{path / 'tamis.json'}: the head is not finite")
    if not warm:
        return _load_stock(path, serializer, precision, token_budget), deployment
    encoder = Encoder.load(path, precision, token_budget)
    return WarmCrossEncoder(encoder, serializer, joint_layers, *numbers).eval(), deployment


def _load_stock(path: Path, serializer: Serializer, precision: Precision, token_budget: int) -> StockCrossEncoder:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with loading(path, "a classifier"):
        classifier, report = AutoModelForSequenceClassification.from_pretrained(
            path, use_safetensors=True, output_loading_info=True, dtype=torch.float32
        )
        refuse_missing(path, report["missing_keys"])
        tokenizer = AutoTokenizer.from_pretrained(path)
    encoder = Encoder(classifier.base_model, tokenizer, precision, token_budget)
    return StockCrossEncoder(classifier, tokenizer, serializer, encoder).eval()


def read_facts(path: Path) -> dict[str, Any]:
    """`tamis.json` of a checkpoint folder, checked.

    Raises:
        ModelError: no such folder, no `tamis.json`, or one that this version does not understand.
    """
    check_folder(path)
    try:
        facts = json.loads((path / "tamis.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{path}: no tamis.json here; expected a folder that `tamis run` or `tamis merge` wrote"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path / 'tamis.json'}: cannot be read: {error}") from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT or facts.get("head") not in ("warm", "stock"):
        raise ModelError(f"{path / 'tamis.json'}: expected format {FORMAT} with head warm or stock")
    return facts


def _check_texts(pairs: Sequence[tuple[str, str]]) -> None:
    for number, pair in enumerate(pairs):
        texts = list(pair) if isinstance(pair, Iterable) and not isinstance(pair, str) else [pair]
        if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
            kinds = " and ".join(type(text).__name__ for text in texts) or "nothing"
            raise InputError(f"pair {number}: expected two strings, got {kinds}")
        query, document = texts
        if not query.strip():
            raise InputError(f"pair {number}: the query is empty")
        for name, text in (("query", query), ("document", document)):
            _check_unicode(number, name, text)


def _check_unicode(number: int, name: str, text: str) -> None:
    """Refuse halves of surrogate pairs: no file or tokenizer can hold them."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"pair {number}: the {name} holds half of a surrogate pair at character {error.start}; "
            "decode the text anew, or replace it"
        ) from None


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    # Element by element: a vectorised sigmoid may give equal logits scores that differ in the last bit.
    scores: np.ndarray = expit(logits.astype(np.float64)).astype(np.float32)
    return scores


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
