"""A real language model behind llama.cpp's own server, writing and judging, and in this process.

Needs the package xllamacpp and a GGUF file: the first of demo/models, or the one that TAMIS_TEST_GGUF names.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tamis.errors import ModelError
from tamis.records import Document, Query, Tokens
from tamis.remote.budget import Wording
from tamis.remote.endpoint import Endpoint
from tamis.remote.settings import RequestsSettings
from tamis.stages.queries.prompts.templates import load_prompts
from tamis.stages.queries.settings import EndpointSettings, PromptSettings
from tamis.stages.queries.write import WritingPlan, write_queries
from tamis.stages.queries.writers.endpoint import EndpointGenerator
from tamis.stages.queries.writers.llama import LlamaGenerator
from tamis.stages.scores.settings import JudgeTeacher
from tamis.stages.scores.teachers.cached import Group
from tamis.stages.scores.teachers.judge import LLMJudge, load_judge_prompt
from tests.conftest import TOPICS

pytestmark = pytest.mark.slow

KEY = "sk-very-secret-0123456789"
DOCUMENTS = [Document(f"d{n}", answer, "en") for n, (_, answer) in enumerate(TOPICS["en"][:4])]


@pytest.fixture(scope="module")
def model() -> Path:
    pytest.importorskip("xllamacpp", reason="pip install 'tamis[llm]'")
    found = [os.environ.get("TAMIS_TEST_GGUF", ""), *map(str, sorted(Path("demo/models").glob("*.gguf")))]
    files = [Path(name) for name in found if name and Path(name).is_file()]
    if not files:
        pytest.skip("no GGUF file; name one in TAMIS_TEST_GGUF")
    return files[0]


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    """Up to the version: llama.cpp's server on a free port, which wants a key."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.n_ctx, parameters.n_parallel, parameters.verbosity = 4096, 2, -1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.api_keys = [KEY]
    server = xllamacpp.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


def write(url: str, mode: str) -> tuple[list[Query], EndpointGenerator]:
    settings = EndpointSettings(url=url, model="small", mode=mode, max_tokens=48)
    with EndpointGenerator(settings, RequestsSettings(concurrency=2), Tokens()) as generator:
        plan = WritingPlan(1, 1, {"question": 1.0}, (0.2, 0.8), load_prompts(PromptSettings(examples=2), settings.mode))
        queries = [query for query in write_queries(DOCUMENTS, generator, plan) if isinstance(query, Query)]
    return queries, generator


@pytest.mark.parametrize("mode", ["chat", "completion"])
def test_llama_cpps_server_writes_queries(url: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    queries, generator = write(url, mode)
    print(mode, [query.text for query in queries], generator.budget.spent)
    assert [query.document_id for query in queries] == [document.doc_id for document in DOCUMENTS]
    assert sum(len(query.text.split()) >= 2 for query in queries) >= 3
    assert not generator.failures
    assert generator.budget.spent.prompt > 4 * 50
    assert 0 < generator.budget.spent.completion <= 4 * 48


def test_a_wrong_key_is_refused_in_one_line(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-secret-01234")
    with pytest.raises(
        ModelError, match=r"/chat/completions: HTTP 401: .*check the key in the environment variable"
    ) as e:
        write(url, "chat")
    assert "sk-another" not in str(e.value)


def test_a_path_that_the_server_does_not_know_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(ModelError, match=r"HTTP 404: .*check queries\.endpoint\.url \(most end with /v1\)"):
        write(url.removesuffix("/v1") + "/v7", "chat")


def test_llama_cpps_server_judges(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    teacher = JudgeTeacher(kind="judge", url=url, model="small")
    codec = LLMJudge(teacher, load_judge_prompt(None)).codec
    groups = [Group("How do I load a kernel module?", (document.text,)) for document in DOCUMENTS]
    server = Endpoint(teacher, codec, RequestsSettings(concurrency=2), Tokens(), Wording("", "", "", "", ""))
    answers = {answer.request: answer for answer in server.ask(groups)}
    server.close()
    assert answers.keys() == set(groups)
    scores = [answers[group].value for group in groups]
    assert all(score is not None and -50 <= score[0] <= 50 for score in scores)
    assert len(set(scores)) > 1
    assert all(answer.tokens.completion == 1 for answer in answers.values())


def test_the_same_model_in_this_process_writes_queries(model: Path) -> None:
    with LlamaGenerator(model, threads=1) as generator:
        plan = WritingPlan(1, 1, {"question": 1.0}, (0.2, 0.8), load_prompts(PromptSettings(), "completion"))
        queries = [query for query in write_queries(DOCUMENTS, generator, plan) if isinstance(query, Query)]
    print("in process", [query.text for query in queries])
    assert sum(len(query.text.split()) >= 2 for query in queries) >= 3
    assert {query.model for query in queries} == {model.stem}
