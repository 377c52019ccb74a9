"""A recipe: one frozen section per stage, read from YAML; an unknown key is an error that names the nearest one."""

from tamis.settings.candidates import EncoderSettings, FusionWeights
from tamis.settings.corpus import GeneralCorpus
from tamis.settings.learning import GENERAL, RESERVED, ListsSettings, MergeSettings, StudentSettings, TrainSettings
from tamis.settings.queries import EndpointSettings, PromptSettings, QueriesSettings, QueryKind, QueryLog, writer_name
from tamis.settings.reading import apply_changes, read_recipe, recipe_from
from tamis.settings.recipe import Recipe
from tamis.settings.scores import (
    EncoderTeacher,
    JudgeTeacher,
    RemoteEncoderTeacher,
    RemoteRerankerTeacher,
    RerankerTeacher,
    Teacher,
)
from tamis.settings.section import Section
from tamis.settings.servers import PLACE_AND_PRICE, RequestsSettings, ServerSettings

__all__ = [
    "GENERAL",
    "PLACE_AND_PRICE",
    "RESERVED",
    "EncoderSettings",
    "EncoderTeacher",
    "EndpointSettings",
    "FusionWeights",
    "GeneralCorpus",
    "JudgeTeacher",
    "ListsSettings",
    "MergeSettings",
    "PromptSettings",
    "QueriesSettings",
    "QueryKind",
    "QueryLog",
    "Recipe",
    "RemoteEncoderTeacher",
    "RemoteRerankerTeacher",
    "RequestsSettings",
    "RerankerTeacher",
    "Section",
    "ServerSettings",
    "StudentSettings",
    "Teacher",
    "TrainSettings",
    "apply_changes",
    "read_recipe",
    "recipe_from",
    "writer_name",
]
