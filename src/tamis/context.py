"""What each stage is given: texts, vectors, models and earlier results, loaded once and only when asked for."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property, partial
from itertools import tee
from pathlib import Path
from typing import Any, TypeVar

import torch

from tamis.artifacts import ItemStore, item_key, open_cache, read_records, read_stream
from tamis.distributed import ALONE, Team
from tamis.errors import SettingsError
from tamis.executors.local import LOCAL, Engine, run_here
from tamis.machine import resolve_precision
from tamis.models.checkpoint import find_checkpoint, model_identity
from tamis.models.encoder import Encoder
from tamis.models.precision import Precision
from tamis.models.prepared import Prepared
from tamis.models.sequence_student import SequenceStudent
from tamis.models.student import Student
from tamis.pipeline.recipe import Recipe
from tamis.progress import track
from tamis.records import Document, Query
from tamis.remote.attempts import Answer
from tamis.retrievers.embedding import Embed, blocks, embed_missing, unembedded
from tamis.retrievers.given_run import GivenRun, read_run
from tamis.retrievers.index import Searching, Shelves, fill_shelves
from tamis.retrievers.vectors import Vectors
from tamis.stages.candidates.settings import FusionWeights
from tamis.stages.scores.score import Asked, Teach
from tamis.stages.scores.settings import (
    EncoderTeacher,
    JudgeTeacher,
    RemoteEncoderTeacher,
    RemoteRerankerTeacher,
    RerankerTeacher,
    Teacher,
)
from tamis.stages.scores.teachers.cached import RememberedScores, RememberedVectors, Score
from tamis.stages.scores.teachers.fusion import FusionTeacher
from tamis.stages.scores.teachers.group import Group, Scores
from tamis.stages.scores.teachers.identity import teacher_facts
from tamis.stages.scores.teachers.remote_encoder import Texts
from tamis.stages.scores.teachers.servers import Servers
from tamis.stages.train.read_part import ReadPart
from tamis.stages.train.student import start_student
from tamis.toolbox import Toolbox
from tamis.user_cache import user_cache

PairTeacher = RerankerTeacher | JudgeTeacher | RemoteRerankerTeacher
"""Scores pairs; the other teachers have vectors."""

Record = TypeVar("Record")


class Workshop:
    """The tools of one run.

    Attributes:
        recipe: What to do.
        folders: Folder of every finished stage, by name; filled as the run goes on.
        items: Finished items of long stages; closed with the workshop.
        servers: The teachers behind servers; closed with it, too.
        engine: Where models embed, score and write, and where shelves are searched.
        team: The processes that train together.
    """

    def __init__(self, recipe: Recipe, items: ItemStore, team: Team = ALONE, engine: Engine = LOCAL) -> None:
        """Prepare, load nothing yet."""
        self.recipe = recipe
        self.team = team
        self.engine = engine
        self.folders: dict[str, Path] = {}
        self.items = items
        self._vectors: dict[str, Vectors] = {}
        self._identities: dict[Path, str] = {}
        self._open = ExitStack()
        self._open.callback(items.close)
        self.servers = Servers(recipe, items)
        self._open.callback(self.servers.close)

    def close(self) -> None:
        """Close the stores and the connections to servers."""
        self._open.close()

    @cached_property
    def cache(self) -> ItemStore:
        """What teachers and language models answered, in whatever run."""
        store = open_cache(self.recipe.machine.cache or user_cache())
        self._open.callback(store.close)
        return store

    def read(self, stage: str, kind: type[Record]) -> list[Record]:
        """Records that a finished stage kept."""
        return read_records(self.folders[stage] / f"{stage}.parquet", kind)

    def stream(self, stage: str, kind: type[Record]) -> Iterator[Record]:
        """Records of an earlier stage, a few at a time, where they are many times larger than the documents."""
        return read_stream(self.folders[stage] / f"{stage}.parquet", kind)

    @cached_property
    def documents(self) -> dict[str, Document]:
        """All documents by id."""
        return {document.doc_id: document for document in self.read("corpus", Document)}

    @cached_property
    def queries(self) -> dict[str, Query]:
        """All written and given queries by id."""
        return {query.query_id: query for query in self.read("queries", Query)}

    @cached_property
    def precision(self) -> Precision:
        """Number format of the matrix products, resolved for this machine."""
        return resolve_precision(self.recipe.precision)

    @cached_property
    def toolbox(self) -> Toolbox:
        """The models that embed, score and write."""
        return Toolbox(self.recipe, self.precision, self.team.local_rank)

    @property
    def device(self) -> torch.device:
        """Where models run; of several processes each has a GPU of its own."""
        return self.toolbox.device

    @property
    def shards(self) -> bool:
        """Whether each of several processes keeps its part of the student while it learns."""
        return self.recipe.machine.shard and self.team.size > 1

    @property
    def encoder(self) -> Encoder:
        """The bi-encoder that retrieves, teaches and is the student's start."""
        return self.toolbox.encoder

    def _identity(self, path: Path) -> str:
        """Hash of a model's files, or its hub name; the files are read once a run."""
        if path not in self._identities:
            self._identities[path] = model_identity(path)
        return self._identities[path]

    def vectors(self, kind: str, by: str, texts: Mapping[str, str]) -> Vectors:
        """Embeddings of texts by id, from the item store where they are known.

        Args:
            kind: `query` or `document`.
            by: `dense`, `use`, or the name of a bi-encoder that teaches.
            texts: Texts by id.
        """
        identity, embed = self._embedder(kind, by)
        known = self._vectors.get(f"{by}/{kind}")
        rows = known.rows if known is not None else {}
        new = {text_id: text for text_id, text in texts.items() if text_id not in rows}
        if known is None or new:
            mapped = run_here if by in self.remote_encoders else self.engine.mapped
            fresh = embed_missing(new, identity, embed, self.items, f"embedding {kind} texts ({by})", mapped)
            known = self._vectors[f"{by}/{kind}"] = Vectors(fresh.file, {**rows, **fresh.rows})
        return known

    def unembedded(self, kind: str, by: str, texts: Mapping[str, str]) -> tuple[list[str], Embed]:
        """The texts that `vectors` would embed, each once, and what would do it."""
        identity, embed = self._embedder(kind, by)
        return unembedded(texts.values(), identity, self.items), embed

    def unsent(self, kind: str, by: str, texts: Mapping[str, str]) -> Iterator[Texts]:
        """The requests with which `vectors` would ask an encoder behind a server."""
        remembered = self._remembered_vectors(self.remote_encoders[by])
        missing = unembedded(texts.values(), remembered.identity(kind), self.items)
        return (request for block in blocks(missing) for request in remembered.missing(kind, block))

    def _embedder(self, kind: str, by: str) -> tuple[str, Embed]:
        if by in self.remote_encoders:
            remembered = self._remembered_vectors(self.remote_encoders[by])
            return remembered.identity(kind), partial(remembered.embed, kind)
        return self._embedding_identity(kind, by), partial(self.toolbox.embed, kind, by)

    def _embedding_identity(self, kind: str, by: str) -> str:
        """Names everything but the text that an embedding by a model of this machine depends on."""
        if by == "use":
            return "use-multilingual-3"
        wanted = self.toolbox.bi_encoders[by]
        prefix = wanted.query_prefix if kind == "query" else wanted.document_prefix
        own = () if wanted.pooling is None else (wanted.pooling,)
        return item_key(self._identity(wanted.path), prefix, wanted.max_length, self.precision, *own)

    @cached_property
    def _teachers(self) -> dict[str, Teacher]:
        """Those that the recipe lists, by the names of their vectors."""
        return {f"teacher {number}": one for number, one in enumerate(self.recipe.scores.teachers, 1)}

    @cached_property
    def remote_encoders(self) -> dict[str, RemoteEncoderTeacher]:
        """Those that teach from behind a server, by name."""
        return {by: one for by, one in self._teachers.items() if isinstance(one, RemoteEncoderTeacher)}

    def _remembered_vectors(self, teacher: RemoteEncoderTeacher) -> RememberedVectors:
        ask, ledger = partial(self.servers.ask, teacher), self.servers.ledger(teacher)
        return RememberedVectors(teacher, ask, self.cache, ledger)

    def document_vectors(self, by: str) -> Vectors:
        """Embeddings of all documents."""
        return self.vectors("document", by, texts_of(self.documents))

    @cached_property
    def shelves(self) -> Shelves:
        """All documents, searchable."""
        return self.searchable(self.documents.values(), self.document_vectors("dense"))

    def searchable(self, documents: Iterable[Document], vectors: Vectors) -> Shelves:
        """Documents with the vectors of the first stages' bi-encoder, searchable as the recipe wants it."""
        wanted = self.recipe.candidates
        weights = wanted.weights or FusionWeights()
        how = Searching(
            k1=wanted.bm25.k1,
            b=wanted.bm25.b,
            languages=wanted.languages,
            weights=(weights.bm25, weights.dense) if wanted.fusion == "weighted" else None,
            index=wanted.index,
        )
        return fill_shelves(documents, vectors, how)

    @cached_property
    def given_runs(self) -> dict[str, GivenRun]:
        """What the user's own engines found for the judged questions, by the name of each run."""
        target = {doc_id for doc_id, document in self.documents.items() if document.origin == "target"}
        runs = self.recipe.evaluate.runs if self.recipe.evaluate else {}
        return {name: read_run(path, target) for name, path in runs.items()}

    def teacher(self, query_texts: Mapping[str, str]) -> Teach:
        """The fusion teacher, ready for these queries."""
        weights = self.recipe.scores
        embeddings = [
            (weight, self.vectors("query", by, query_texts), self.document_vectors(by))
            for by, weight in self.teaching_encoders.items()
        ]
        rerankers = [(one.weight, self.remembered_scores(one)) for one in self.pair_teachers]
        return FusionTeacher(self.shelves, weights.bm25, embeddings, rerankers)

    @cached_property
    def teaching_encoders(self) -> dict[str, float]:
        """Weight of each bi-encoder that is part of the teacher, by the name that `vectors` knows it by."""
        weights = {"dense": self.recipe.scores.dense, "use": self.recipe.scores.use}
        encoders = EncoderTeacher | RemoteEncoderTeacher
        weights |= {by: one.weight for by, one in self._teachers.items() if isinstance(one, encoders)}
        return {by: weight for by, weight in weights.items() if weight}

    @property
    def pair_teachers(self) -> list[PairTeacher]:
        """The teachers that score pairs, in the order of the recipe."""
        return [one for one in self.recipe.scores.teachers if isinstance(one, PairTeacher)]

    def remembered_scores(self, teacher: PairTeacher) -> RememberedScores:
        """A teacher of pairs, which is asked about what the cache does not know."""
        if isinstance(teacher, RerankerTeacher):
            identity = item_key("reranker", self._identity(teacher.path), self.precision, teacher.instruction)
            return RememberedScores(self._reranker(teacher), identity, self.documents, self.cache)
        return RememberedScores(
            partial(self.servers.ask, teacher),
            item_key(teacher.kind, teacher_facts(teacher)),
            self.documents,
            self.cache,
            1 if isinstance(teacher, JudgeTeacher) else teacher.batch,
            teacher.max_chars,
            self.servers.ledger(teacher),
        )

    def _reranker(self, teacher: RerankerTeacher) -> Score:
        """Logits of a reranker where the engine runs, query by query."""
        judge = partial(self.toolbox.judge, teacher)

        def score(groups: Iterable[Group]) -> Iterator[Answer[Group, Scores]]:
            asked, sent = tee(groups)
            for scores, group in zip(self.engine.mapped(judge, sent), asked, strict=True):
                yield Answer(group, scores)

        return score

    def ask_ahead(self, asked: Callable[[], Iterable[Asked]]) -> None:
        """Have rerankers elsewhere score all that the cache lacks, so that they are started and loaded once for it.

        In this process nothing is done: there they are asked when their scores are needed.

        Args:
            asked: Gives the queries and the ids of their documents, each time from the beginning.
        """
        there = [one for one in self.pair_teachers if isinstance(one, RerankerTeacher) and self.engine.elsewhere]
        pairs = sum(len(doc_ids) for _, doc_ids in asked()) if there else 0
        for teacher in there:
            with track(f"scoring with {teacher.name}", pairs) as advance:
                self.remembered_scores(teacher).ask(asked(), advance)

    def untrained_student(self) -> Student:
        """A new student as the recipe wants it, with the weights it starts from.

        One that is to be sharded lies on the processor, since it may be larger than a GPU.

        Raises:
            SettingsError: a warm student, which cannot be sharded.
        """
        wanted, dense = self.recipe.student, self.recipe.candidates.dense
        prefixes = (dense.query_prefix, dense.document_prefix)
        budget = self.toolbox.token_budget
        student = start_student(wanted, self._student_encoder, prefixes, self.precision, budget, self.recipe.seed)
        if self.recipe.machine.shard and not isinstance(student, SequenceStudent):
            raise SettingsError(
                f"machine.shard is for students that learn all layers, {wanted.start} is a warm one: leave it out"
            )
        return student if self.shards else student.to(self.device)

    def _student_encoder(self) -> Encoder:
        """The encoder that a new head is put on; loaded apart where layers are left out of it."""
        wanted = self.recipe.student
        if wanted.start is None and not wanted.layers:
            return self.encoder
        return self.toolbox.load_encoder(Path(find_checkpoint(wanted.start or self.recipe.candidates.dense.path)))

    @cached_property
    def read_part(self) -> ReadPart:
        """Cuts a text where the student stops reading."""
        return ReadPart(self.recipe.student, self.recipe.candidates.dense)

    @cached_property
    def read_parts(self) -> dict[str, str]:
        """What the student reads of each target document, by id."""
        target = (document for document in self.documents.values() if document.origin == "target")
        return {document.doc_id: self.read_part(document.text) for document in target}

    @cached_property
    def student_identity(self) -> str:
        """Names everything that the untrained student depends on."""
        wanted, dense = self.recipe.student, self.recipe.candidates.dense
        start = self._identity(wanted.start or dense.path)
        facts = wanted.model_dump(mode="json", exclude={"start"})
        return item_key(start, facts, dense.query_prefix, dense.document_prefix, self.precision)

    @cached_property
    def prepared(self) -> Prepared:
        """Prepared texts, shared by training, merging and evaluation."""
        folder = self.items.path.with_name("prepared")
        identity = item_key(self.student_identity, self.toolbox.token_budget)
        return Prepared(self.untrained_student(), folder, identity)

    @property
    def unfinished(self) -> Path:
        """Folder for the state of trainings that are under way."""
        return self.items.path.with_name("unfinished")

    def prepare(self, queries: Mapping[str, str], documents: Mapping[str, str]) -> None:
        """Prepare whole groups of texts.

        Groups are always prepared whole and in the same order: the last bit of a bfloat16 product depends on what
        else is in the batch, and a run that was killed and resumed must end with the same bits.
        """
        with track("preparing queries", len(queries)) as advance:
            self.prepared.queries(sorted(queries), queries, advance)
        with track("preparing documents", len(documents)) as advance:
            self.prepared.documents(sorted(documents), documents, advance)


def texts_of(records: Mapping[str, Any]) -> dict[str, str]:
    """Text of each record by id."""
    return {record_id: record.text for record_id, record in records.items()}
