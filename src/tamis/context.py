"""What every stage is given: what the stages before it left, the stores, and where work is done."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from tamis.artifacts import ItemStore, open_cache, read_records, read_stream
from tamis.distributed import ALONE, ProcessGroup
from tamis.executors.local import LOCAL, Executor
from tamis.machine import Machine
from tamis.models.checkpoint import model_identity
from tamis.own_parts import OwnPart
from tamis.records import Document, Query
from tamis.user_cache import user_cache

logger = logging.getLogger(__name__)

Record = TypeVar("Record")


class RunContext:
    """The state of one run; knows no recipe and no model.

    Attributes:
        folders: Folder of every finished stage, by name; filled as the run goes on.
        items: Finished items of long stages; closed with the context.
        machine: Where models run.
        executor: Where models embed, score and write, and where indexes are searched.
        team: The processes that train together.
    """

    def __init__(
        self, items: ItemStore, machine: Machine, team: ProcessGroup = ALONE, executor: Executor = LOCAL
    ) -> None:
        """Open nothing yet."""
        self.folders: dict[str, Path] = {}
        self.items = items
        self.machine = machine
        self.team = team
        self.executor = executor
        self._identities: dict[Path, str] = {}
        self.open = ExitStack()
        self.open.callback(items.close)

    def close(self) -> None:
        """Close the stores, and whatever else was opened for the run."""
        self.open.close()

    @cached_property
    def cache(self) -> ItemStore:
        """What teachers and language models answered, in whatever run."""
        store = open_cache(self.machine.settings.cache or user_cache())
        self.open.callback(store.close)
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
    def target(self) -> dict[str, Document]:
        """The documents that are adapted to, by id."""
        return {doc_id: document for doc_id, document in self.documents.items() if document.origin == "target"}

    @cached_property
    def queries(self) -> dict[str, Query]:
        """All written and given queries by id."""
        return {query.query_id: query for query in self.read("queries", Query)}

    def identity_of(self, model: Path) -> str:
        """Hash of a model's files, or its hub name; the files are read once a run."""
        if model not in self._identities:
            self._identities[model] = model_identity(model)
        return self._identities[model]

    def executor_for(self, part: OwnPart) -> Executor:
        """Where a function of the user's own runs: where all else does, or here where it cannot be sent, as is told."""
        if not self.executor.elsewhere:
            return self.executor
        from tamis.executors.ray import why_not_sent

        if reason := why_not_sent(part.function):
            logger.warning("%s cannot be sent to other processes (%s) and runs in this one", part.name, reason)
            return LOCAL
        return self.executor

    def beside(self, name: str) -> Path:
        """A folder of the run that belongs to no stage."""
        return self.items.path.with_name(name)


def texts_of(records: Mapping[str, Any]) -> dict[str, str]:
    """Text of each record by id."""
    return {record_id: record.text for record_id, record in records.items()}
