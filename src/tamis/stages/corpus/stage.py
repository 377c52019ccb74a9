"""The stage corpus: read, clean and name the language of the documents."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from tamis.artifacts import drop_counts, split_dropped
from tamis.artifacts.inputs import input_hashes
from tamis.artifacts.output import write_output
from tamis.errors import InputError
from tamis.formats.documents import Corpus
from tamis.formats.fields import Names
from tamis.formats.folder import Choice
from tamis.formats.queries import given_query_files
from tamis.languages import UNKNOWN_LANGUAGE
from tamis.records import Document, Dropped, Facts
from tamis.stages.corpus.clean import clean, identify_languages
from tamis.stages.corpus.identity import documents_hash
from tamis.stages.corpus.overlaps import DOCUMENT_SHINGLE, evaluation_texts, kept_out_hashes, without_overlaps
from tamis.stages.corpus.sampling import spread_by_language
from tamis.stages.corpus.settings import CorpusSettings, GeneralCorpus


@dataclass(frozen=True)
class CorpusStage:
    """Reads and cleans documents and names their language.

    Attributes:
        settings: What is read.
        keep_out: Evaluation sets that nothing of a general corpus may overlap.
    """

    settings: CorpusSettings
    keep_out: Sequence[Path]
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
        facts = corpus.model_dump(mode="json", exclude={"target": True, "general": {"__all__": {"path"}}})
        for name in ("near_duplicate", "include", "exclude"):
            if not facts[name]:
                del facts[name]  # off is as if there were no such setting: results from before it stay good
        if not any(facts["fields"].values()):
            del facts["fields"]
        return [facts, hashes, *(kept_out_hashes(self.keep_out) if corpus.general else ())]

    def run(self, folder: Path) -> Facts:
        """Fill the folder of the stage."""
        settings = self.settings
        names = Names(**settings.fields.model_dump())
        target = Corpus(settings.target, _choice(settings), names) if settings.target else None
        raw = itertools.chain(
            target.documents("target") if target else (),
            *(_general_documents(general, settings.languages) for general in settings.general),
        )
        kept, dropped = split_dropped(clean(raw, settings.max_chars))
        documents, left_out = without_overlaps(
            list(identify_languages(kept, settings.languages or None)),
            evaluation_texts(self.keep_out, documents=True) if settings.general else {},
            settings.near_duplicate,
            DOCUMENT_SHINGLE,
        )
        dropped += left_out
        if settings.target and not any(document.origin == "target" for document in documents):
            raise InputError(f"{settings.target}: no usable document ({_reasons(dropped)})")
        facts = write_output(folder, self.name, documents, Document, dropped)
        return {**facts, "folder": target.folder.facts} if target and target.folder else facts


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
