"""The student of a run: its start, its prepared texts, its scores."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from tamis.artifacts import item_key
from tamis.context import RunContext
from tamis.errors import SettingsError
from tamis.models.checkpoint import find_checkpoint
from tamis.models.encoder import Encoder
from tamis.models.prepared import Prepared
from tamis.models.read_part import Reading
from tamis.models.sequence_student import SequenceStudent
from tamis.models.student import Student
from tamis.progress import track
from tamis.stages.candidates.encoders import Encoders
from tamis.stages.student.settings import StudentSettings
from tamis.stages.student.start import reading_of, start_student


class StudentFactory:
    """Makes students as the recipe wants them, and prepares the texts that all of them read.

    Attributes:
        settings: What a student starts from and what it learns.
        seed: Of a new head.
        context: The run.
    """

    def __init__(self, settings: StudentSettings, seed: int, encoders: Encoders, context: RunContext) -> None:
        """Load nothing yet."""
        self.settings, self.seed = settings, seed
        self._encoders, self.context = encoders, context
        self._dense = encoders.dense

    @property
    def start(self) -> Path:
        """What a student starts from: a reranker, or the first stage's bi-encoder."""
        return Path(self.settings.start or self._dense.path)

    @property
    def shards(self) -> bool:
        """Whether each of several processes keeps its part of the student while it learns."""
        return self.context.machine.settings.shard and self.context.team.size > 1

    def untrained(self) -> Student:
        """A new student, with the weights it starts from.

        One that is to be sharded lies on the processor, since it may be larger than a GPU.

        Raises:
            SettingsError: a warm student, which cannot be sharded.
        """
        wanted, machine = self.settings, self.context.machine
        prefixes = (self._dense.query_prefix, self._dense.document_prefix)
        student = start_student(wanted, self._encoder, prefixes, machine.precision, self.seed)
        if machine.settings.shard and not isinstance(student, SequenceStudent):
            raise SettingsError(
                f"machine.shard is for students that learn all layers, {wanted.start} is a warm one: leave it out"
            )
        return student if self.shards else student.to(machine.device)

    def _encoder(self) -> Encoder:
        """The encoder that a new head is put on, or that of a warm start.

        Loaded apart where a student leaves layers out of it, or copies it anyway.
        """
        wanted = self.settings
        if wanted.head == "own" or (wanted.head == "warm" and wanted.start and not wanted.layers):
            return self._shared
        return self._encoders.encoder if wanted.start is None and not wanted.layers else self._load()

    @cached_property
    def _shared(self) -> Encoder:
        """The encoder of a warm student's start: what never learns of it is in memory once, whatever is made of it."""
        return self._load()

    def _load(self) -> Encoder:
        return self._encoders.load(Path(find_checkpoint(self.start)))

    def release_encoders(self) -> None:
        """Let go of the bi-encoders until something is embedded again, but of one that is the student's own body."""
        if self.settings.start or self.settings.layers:
            self._encoders.release()

    def reading(self) -> Reading:
        """How a student reads a document, see `reading_of`."""
        return reading_of(self.settings, self._dense)

    @cached_property
    def identity(self) -> str:
        """Names everything that the untrained student depends on."""
        start = self.context.identity_of(self.start)
        facts = self.settings.model_dump(mode="json", exclude={"start"})
        dense = self._dense
        return item_key(start, facts, dense.query_prefix, dense.document_prefix, self.context.machine.precision)

    @cached_property
    def prepared(self) -> Prepared:
        """Prepared texts, shared by training, merging and evaluation."""
        identity = item_key(self.identity, self.context.machine.token_budget)
        return Prepared(self.untrained(), self.context.beside("prepared"), identity)

    def prepare(self, queries: Mapping[str, str], documents: Mapping[str, str]) -> None:
        """Prepare whole groups of texts.

        Groups are always prepared whole and in the same order: the last bit of a bfloat16 product depends on what
        else is in the batch, and a run that was killed and resumed must end with the same bits.
        """
        with track("preparing queries", len(queries)) as advance:
            self.prepared.queries(sorted(queries), queries, advance)
        with track("preparing documents", len(documents)) as advance:
            self.prepared.documents(sorted(documents), documents, advance)
