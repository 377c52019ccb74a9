"""What a student reads of a document, against what its own tokenizer keeps."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.errors import ModelError
from tamis.models.read_part import ReadPart
from tamis.stages.candidates.settings import EncoderSettings
from tamis.stages.student.settings import StudentSettings
from tamis.stages.student.start import reading_of
from tests.conftest import TOPICS
from tests.rerankers import SERIALIZER

TEXTS = [answer for topics in TOPICS.values() for _, answer in topics]


def of(tiny_encoder, tokens=12, prefix="passage: "):
    dense = EncoderSettings(path=tiny_encoder, document_prefix=prefix)
    return ReadPart(reading_of(StudentSettings(document_tokens=tokens), dense))


@given(text=st.lists(st.sampled_from(" ".join(TEXTS).split()), max_size=60).map(" ".join), tokens=st.integers(8, 40))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_cut_changes_nothing_that_the_student_reads(tiny_encoder, encoder, text, tokens):
    part = of(tiny_encoder, tokens)(text)
    read = [encoder.tokenise([one], "passage: ", tokens)[0] for one in (text, part)]
    assert read[0] == read[1]
    assert text.startswith(part)
    assert len(encoder.tokenise([part], "passage: ", 1000)[0]) <= tokens


def test_a_text_that_fits_stays_as_it_is(tiny_encoder):
    text = " ".join(TEXTS[0].split()[:3]) + "  \n"
    assert of(tiny_encoder, 100)(text) == text


def test_a_reranker_that_goes_on_reads_what_it_always_read(warm_folder, tiny_encoder):
    wanted = StudentSettings(start=warm_folder, head="own", document_tokens=8)
    assert ReadPart(reading_of(wanted, EncoderSettings(path=tiny_encoder))).tokens == SERIALIZER.document_tokens


def test_a_start_without_a_tokenizer_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be loaded as a student's tokenizer"):
        ReadPart(reading_of(StudentSettings(), EncoderSettings(path=tmp_path)))
