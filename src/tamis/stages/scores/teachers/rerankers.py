"""The rerankers that teach, each loaded when it is first needed; what an executor sends to other processes."""

from pathlib import Path
from typing import Final

from tamis.machine import Machine
from tamis.models.reranker import Reranker
from tamis.stages.scores.settings import RerankerTeacher
from tamis.stages.scores.teachers.cached import Group, GroupScores

TEACHERS_MEMORY: Final = 2**30
"""Bytes of states that a teacher may keep: eight thousand documents of 160 tokens for a body of 384 in bfloat16."""


class Rerankers:
    """Rerankers by path. A copy in another process has none yet and loads what it is asked for."""

    def __init__(self, machine: Machine) -> None:
        """Load nothing yet."""
        self._machine = machine
        self._loaded: dict[Path, Reranker] = {}

    def __reduce__(self) -> tuple[object, ...]:
        return Rerankers, (self._machine,)

    def score(self, teacher: RerankerTeacher, group: Group) -> GroupScores:
        """Logits of a group; last bits depend on all its documents."""
        pairs = [(group.query, document) for document in group.documents]
        return tuple(self.load(teacher).score_pairs(pairs, teacher.instruction).logits.tolist())

    def load(self, teacher: RerankerTeacher) -> Reranker:
        """A reranker, which stays loaded until it is released."""
        if teacher.path not in self._loaded:
            machine = self._machine
            loaded = Reranker(
                teacher.path,
                machine.precision,
                machine.token_budget,
                device=str(machine.device),
                engine=machine.settings.engine,
            )
            # Most documents are candidates of many queries. Alone: no score depends on the order of the queries.
            loaded.remember(TEACHERS_MEMORY, alone=True)
            self._loaded[teacher.path] = loaded
        return self._loaded[teacher.path]

    def release(self) -> None:
        """Forget the rerankers, so that what follows has their memory."""
        self._loaded.clear()
