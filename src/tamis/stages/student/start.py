"""The student that a recipe asks for, with the weights it starts from."""

from collections.abc import Callable

from tamis.models.checkpoint import find_checkpoint, is_encoder, read_facts, warm_on
from tamis.models.encoder import Encoder
from tamis.models.precision import Precision
from tamis.models.read_part import Reading
from tamis.models.sequence_student import SequenceStudent, keep_layers
from tamis.models.serializer import Apart, Joined
from tamis.models.student import Student
from tamis.models.warm import WarmCrossEncoder
from tamis.stages.candidates.settings import EncoderSettings
from tamis.stages.student.settings import StudentSettings


def start_student(
    wanted: StudentSettings,
    encoder: Callable[[], Encoder],
    prefixes: tuple[str, str],
    precision: Precision,
    seed: int,
) -> Student:
    """Make a student.

    Args:
        wanted: Start, head, and what is learnt.
        encoder: Gives the encoder that a new head is put on, or that of a warm start; a warm student shares its body,
            others copy it.
        prefixes: Texts before queries and documents, for a warm student on a new head.
        precision: Number format of the matrix products.
        seed: Seed of a new stock head.

    Raises:
        ModelError: a start that is not there, or that the head does not fit.
    """
    tokens = wanted.query_tokens + wanted.document_tokens
    student: Student
    if wanted.head == "own":
        assert wanted.start is not None, "checked when the recipe was read"
        path = find_checkpoint(wanted.start)
        facts = read_facts(path)
        if facts.family == "warm":
            return _learning(warm_on(encoder(), facts), wanted)
        student = SequenceStudent.from_reranker(path, facts.family, facts.serializer, tokens, precision)
        student.activation = facts.activation or student.activation
    elif wanted.head == "warm":
        return _new_warm(wanted, encoder(), prefixes)
    elif wanted.start is not None and not is_encoder(wanted.start):
        student = SequenceStudent.from_causal(wanted.start, tokens, precision, seed)
    else:
        student = SequenceStudent.from_encoder(encoder(), Joined(max_tokens=tokens), seed)
    student.learn(
        embeddings=wanted.embeddings == "trained",
        routers=wanted.routers == "trained",
        lora_rank=wanted.lora_rank,
        layers=wanted.layers,
        seed=seed,
    )
    return student


def _new_warm(wanted: StudentSettings, encoder: Encoder, prefixes: tuple[str, str]) -> WarmCrossEncoder:
    if wanted.layers:
        keep_layers(encoder.body, wanted.layers)
        encoder.layers = wanted.layers
    apart = Apart(*prefixes, wanted.query_tokens, wanted.document_tokens)
    # e5 cosines of a question and its answer lie around 0.85: there the published score starts at one half.
    bias = -0.85 * (wanted.scale + wanted.match)
    settings = (wanted.joint_layers, wanted.cross_bias, wanted.scale, bias, wanted.match)
    return _learning(WarmCrossEncoder(encoder, apart, *settings).eval(), wanted)


def _learning(student: WarmCrossEncoder, wanted: StudentSettings) -> WarmCrossEncoder:
    if wanted.apart_layers:
        student.learn_apart(wanted.apart_layers)
    return student


def reading_of(student: StudentSettings, dense: EncoderSettings) -> Reading:
    """How a student reads; a reranker that goes on reads as it always did, a new head as its bi-encoder.

    One that reads both texts in a row leaves a document what the longest query does not take.

    Args:
        student: What it starts from.
        dense: The bi-encoder that a new head starts from.

    Raises:
        ModelError: a start that is not there.
    """
    start = find_checkpoint(student.start or dense.path)
    own = read_facts(start).serializer if student.head == "own" else None
    if isinstance(own, Apart):
        return Reading(start, own.document_prefix, own.document_tokens)
    if isinstance(own, Joined):
        left = max(8, own.max_tokens - student.query_tokens)
        return Reading(start, own.document_prefix, min(left, student.document_tokens))
    return Reading(start, dense.document_prefix, student.document_tokens)
