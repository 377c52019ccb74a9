"""Models behind servers: where they stand, what they cost, how they are asked."""

import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from tamis.section import Section


def _has_host_and_port(url: str) -> bool:
    """Whether what stands before the path is a host, perhaps with a port that there can be."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname and parts.hostname.encode("idna")) and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is none, `api..example` and other names of no host
        return False


class ServerSettings(Section):
    """A model behind a server. Where it stands and what may be spent changes no result, what it is called does."""

    url: str = Field(description="Address of the server up to the version, for instance http://localhost:8000/v1.")
    model: str = Field(min_length=1, description="Name of the model, as the server calls it.")
    revision: str = Field(
        default="",
        description="Word of your choice that tells two models of one name apart. Changing it asks everything anew.",
    )
    key_variable: str = Field(
        default="OPENAI_API_KEY",
        description="Name of the environment variable that holds the API key. It may be unset for servers without "
        "keys.",
    )
    prompt_price: float = Field(default=0.0, ge=0, description="Price of a million prompt tokens, in any currency.")
    completion_price: float = Field(
        default=0.0, ge=0, description="Price of a million answer tokens, in the same currency."
    )
    request_price: float = Field(
        default=0.0,
        ge=0,
        description="Price of a thousand requests, in the same currency, for servers that charge by request.",
    )
    budget_tokens: int = Field(default=0, ge=0, description="Most tokens that a run folder may use. 0: no limit.")
    budget_money: float = Field(
        default=0.0,
        ge=0,
        description="Most money that a run folder may cost, in the currency of the prices. 0: no limit.",
    )

    @field_validator("url")
    @classmethod
    def _url_without_secrets(cls, url: str) -> str:
        # Messages show the address: it must hold no secret. What came is not repeated here for the same reason.
        if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", url) or not _has_host_and_port(url):
            raise ValueError(
                "expected http:// or https://, a host and a path, without a user, '?' or '#', for instance "
                "http://localhost:8000/v1; a key belongs into the environment variable of key_variable"
            )
        return url.rstrip("/")

    @field_validator("key_variable")
    @classmethod
    def _name_and_not_the_key(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError("expected the name of an environment variable, for instance OPENAI_API_KEY, not the key")
        return name

    @model_validator(mode="after")
    def _a_budget_in_money_has_prices(self) -> "ServerSettings":
        if self.budget_money and not (self.prompt_price or self.completion_price or self.request_price):
            raise ValueError(
                "budget_money needs prompt_price and completion_price, of a million tokens each, or request_price"
            )
        return self


PLACE_AND_PRICE = frozenset(ServerSettings.model_fields) - {"model", "revision"}
"""Settings of a server that change no result."""


def check_extra(extra: Mapping[str, Any], ours: Collection[str], optional: Collection[str]) -> None:
    """More fields of a request may not replace ours; null leaves one of the optional ones out."""
    for name, value in extra.items():
        if name in ours and not (value is None and name in optional):
            may = f"; {', '.join(sorted(optional))} may be null" if optional else ""
            raise ValueError(f"extra: {name!r} is set by tamis{may}")


class RequestsSettings(Section):
    """Number, timeout and repetition of requests to servers."""

    concurrency: int = Field(
        default=8, ge=1, description="Number of requests under way at a time. Lower it where a server answers 429."
    )
    timeout: float = Field(default=120.0, gt=0, description="Seconds to wait for one answer.")
    attempts: int = Field(
        default=6, ge=1, description="Number of times that one request is sent before it is given up."
    )
    wait: float = Field(
        default=1.0, gt=0, description="Seconds before the second attempt. Each further wait is twice as long."
    )
