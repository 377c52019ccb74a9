"""The stage corpus: read, clean and name the language of the documents."""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final

from tamis.artifacts import drop_counts, split_dropped
from tamis.artifacts.inputs import input_hashes
from tamis.artifacts.output import write_output
from tamis.errors import InputError
from tamis.formats.beir import beir_file
from tamis.formats.documents import Corpus
from tamis.formats.fields import Names
from tamis.formats.folder import EVERYTHING, Choice
from tamis.formats.queries import given_query_files
from tamis.languages import UNKNOWN_LANGUAGE, cannot_be_told, primary
from tamis.models.read_part import Reading
from tamis.records import Document, Dropped, Facts
from tamis.stages.corpus.clean import clean, identify_languages
from tamis.stages.corpus.identity import documents_hash
from tamis.stages.corpus.overlaps import DOCUMENT_SHINGLE, evaluation_texts, kept_out_hashes, without_overlaps
from tamis.stages.corpus.passages import Cutter, cut_facts, in_passages, passage_facts
from tamis.stages.corpus.sampling import spread_by_language
from tamis.stages.corpus.settings import CorpusSettings, GeneralCorpus

_APART: Final[Any] = {"passages": True, "target": True, "general": {"__all__": {"path"}}}
"""Settings that the key tells in its own words."""


@dataclass(frozen=True)
class CorpusStage:
    """Reads and cleans documents and names their language.

    Attributes:
        settings: What is read.
        keep_out: Evaluation sets that nothing of a general corpus may overlap.
        reading: Says how the student reads, which long documents are cut for.
        judged: Whether the recipe has judged questions, which name whole documents.
        runs: Names by which runs are told: general corpora are among them, whose names their documents' ids begin with.
    """

    settings: CorpusSettings
    keep_out: Sequence[Path]
    reading: Callable[[], Reading]
    judged: bool
    runs: Collection[str]
    name: ClassVar = "corpus"
    reads: ClassVar[tuple[str, ...]] = ()
    version: ClassVar = 1

    def key(self) -> object:
        """Settings and hashes of the files that are read: of the target its documents only, never its questions."""
        corpus = self.settings
        hashes = [documents_hash(corpus.target, _choice(corpus))] if corpus.target else []
        for general in corpus.general:
            hashes.append(documents_hash(general.path))
            hashes.append(input_hashes(given_query_files(general.path, general.splits), "corpus"))
        facts = corpus.model_dump(mode="json", exclude=_APART)
        for name in ("near_duplicate", "include", "exclude"):
            if not facts[name]:
                del facts[name]  # off is as if there were no such setting: results from before it stay good
        if not any(facts["fields"].values()):
            del facts["fields"]
        if self._may_cut:
            facts["passages"] = cut_facts(self.reading(), corpus.passages)
        named = [general.path.name for general in corpus.general if general.path.name in self.runs]
        return [facts, hashes, *([named] if named else ()), *(kept_out_hashes(self.keep_out) if corpus.general else ())]

    def run(self, folder: Path) -> Facts:
        """Fill the folder of the stage."""
        settings = self.settings
        names = Names(**settings.fields.model_dump())
        target = Corpus(settings.target, _choice(settings), names) if settings.target else None
        if target and not target.folder and _choice(settings) != EVERYTHING:
            raise InputError(
                f"{settings.target}: corpus.include and corpus.exclude choose files of a folder of texts, but "
                f"{target.files[0].name} holds rows, of which all are read; leave the patterns out"
            )
        files: set[str] = set()
        raw = itertools.chain(
            _noting_files(target.documents("target"), files) if target else (),
            *(_general_documents(general, settings.languages) for general in settings.general),
        )
        kept, dropped = split_dropped(clean(raw, settings.max_chars))
        whole = list(identify_languages(kept, settings.languages or None))
        cut, left_out = split_dropped(self._cut(whole))
        dropped += left_out
        documents, left_out = without_overlaps(
            cut,
            evaluation_texts(self.keep_out, documents=True) if settings.general else {},
            settings.near_duplicate,
            DOCUMENT_SHINGLE,
        )
        dropped += left_out
        if settings.target and not any(document.origin == "target" for document in documents):
            raise InputError(f"{settings.target}: no usable document ({_reasons(dropped)})")
        facts = write_output(folder, self.name, documents, Document, dropped)
        if target and target.folder:
            facts |= {"folder": {**target.folder.facts, "gave": len(files)}}
        facts |= {"warnings": warnings} if (warnings := unheard(settings.languages, documents)) else {}
        return {**facts, **passage_facts(documents)}

    def _cut(self, documents: Sequence[Document]) -> Iterable[Document | Dropped]:
        """The documents, those of the target in passages where they are to be cut."""
        if not self._may_cut:
            return documents
        cutter = Cutter(self.reading(), self.settings.passages)
        own = [document for document in documents if document.origin == "target"]
        rows = not any(document.path for document in own)
        if self.settings.passages.by == "auto" and rows and not cutter.mostly_long(own):
            return documents
        return clean(in_passages(documents, cutter), self.settings.max_chars)

    @property
    def _may_cut(self) -> bool:
        """Whether documents are cut if they are long; files are not opened to tell."""
        target, by = self.settings.target, self.settings.passages.by
        if target is None or by == "off":
            return False
        return by != "auto" or not (self.judged or (target.is_dir() and beir_file(target, "corpus")))


def _noting_files(found: Iterable[Document | Dropped], files: set[str]) -> Iterator[Document | Dropped]:
    """The same, noting the files that gave a document."""
    for each in found:
        if isinstance(each, Document):
            files.add(each.path)
        yield each


def unheard(languages: Sequence[str], documents: Iterable[Document]) -> list[str]:
    """A warning where a recipe names languages that no text is told to be in, as `jp` for Japanese.

    Args:
        languages: Those that may occur.
        documents: With their languages.
    """
    spoken = {primary(document.language) for document in documents}
    absent = [tag for tag in languages if primary(tag) not in spoken]
    wrong = ", ".join(map(repr, cannot_be_told(absent) if absent else ()))
    return [
        f"corpus.languages names {wrong}, which no document says of itself and no text can be told to be in: what is "
        "in that language was taken for one of the others; expected tags such as de, ja or zh-cn"
    ][: bool(wrong)]


def _choice(settings: CorpusSettings) -> Choice:
    return Choice(settings.include, settings.exclude)


def _general_documents(general: GeneralCorpus, languages: Sequence[str]) -> Iterator[Document | Dropped]:
    """Documents of a general corpus in the wanted languages, ids made unique by the folder's name.

    At most its limit per language, spread over the folder. No languages: all of them.
    """
    read, unread = split_dropped(Corpus(general.path).documents("general"))
    for dropped in unread:
        yield replace(dropped, record_id=f"{general.path.name}:{dropped.record_id}")
    told = general.language or UNKNOWN_LANGUAGE
    named = (replace(d, language=told) if d.language == UNKNOWN_LANGUAGE else d for d in read)
    wanted = [document for document in named if not languages or document.language in (*languages, UNKNOWN_LANGUAGE)]
    for document in spread_by_language(wanted, general.limit):
        yield replace(document, doc_id=f"{general.path.name}:{document.doc_id}")


def _reasons(dropped: Sequence[Dropped]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in drop_counts(dropped).items()) or "the corpus is empty"
