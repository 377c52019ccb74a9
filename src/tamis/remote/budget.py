"""What calls of a model behind a server cost, and how much more may be spent."""

from dataclasses import dataclass
from typing import Any, Final

from tamis.errors import RunError
from tamis.records import Tokens
from tamis.remote.settings import ServerSettings

_BYTES_PER_TOKEN: Final = 3  # of UTF-8: more tokens than most tokenizers make, in any script
_MOST_TOKENS: Final = 10**12  # of one answer: what says more counts nothing


@dataclass(frozen=True, slots=True)
class Wording:
    """How messages speak of a server and of what it is asked for.

    Attributes:
        section: Section of the recipe, for instance `queries.endpoint`.
        results: What is kept, for instance `queries`.
        fewer: Setting that asks for less.
        url_hint: How the address looks.
        others: Further settings that a refused request may be due to.
    """

    section: str
    results: str
    fewer: str
    url_hint: str
    others: str


@dataclass(slots=True)
class Budget:
    """What was spent on a model, and the limits of the recipe.

    Attributes:
        limits: The recipe's section, with limits and prices.
        spent: Tokens of this run and of earlier ones in its folder.
        wording: For messages.
    """

    limits: ServerSettings
    spent: Tokens
    wording: Wording

    @property
    def money(self) -> float:
        """What was spent, in the currency of the prices."""
        return cost(self.spent, self.limits)

    def exceeded_by(self, more: Tokens) -> str:
        """Name of the limit that so much more would exceed, empty where there is none."""
        return limit_exceeded(self.spent + more, self.limits)

    def error(self, limit: str) -> RunError:
        """What to tell the user when a limit is reached."""
        money = f" ({self.money:.4g} in money)" if self.money else ""
        return RunError(
            f"{self.wording.section}.{limit}: the next request could exceed {getattr(self.limits, limit):,}: "
            f"{self.spent.prompt:,} tokens of prompts and {self.spent.completion:,} of answers are spent{money}; "
            f"finished {self.wording.results} are kept, raise it or lower {self.wording.fewer}, and run the same "
            "command again"
        )


def limit_exceeded(total: Tokens, limits: ServerSettings) -> str:
    """Name of the limit that so much in all exceeds, empty where there is none."""
    if limits.budget_tokens and total.prompt + total.completion > limits.budget_tokens:
        return "budget_tokens"
    if limits.budget_money and cost(total, limits) > limits.budget_money:
        return "budget_money"
    return ""


def cost(tokens: Tokens, prices: ServerSettings) -> float:
    """Money for so many tokens and requests, in the currency of the prices."""
    of_tokens = (tokens.prompt * prices.prompt_price + tokens.completion * prices.completion_price) / 1e6
    return of_tokens + tokens.requests * prices.request_price / 1e3


def usage(answer: Any) -> Tokens | None:
    """What an answer says that its request cost, None where it does not say.

    Rerankers and encoders write nothing, and some of them name the total only.
    """
    told = answer.get("usage") if isinstance(answer, dict) else None
    if not isinstance(told, dict):
        return None
    prompt = told.get("prompt_tokens", None if "choices" in answer else told.get("total_tokens"))
    completion = told.get("completion_tokens", None if "choices" in answer else 0)
    if not (isinstance(prompt, int) and isinstance(completion, int)):
        return None
    meant = min(prompt, completion) >= 0 and max(prompt, completion) <= _MOST_TOKENS
    return Tokens(prompt, completion, 1) if meant else None


def estimated_tokens(text: str) -> int:
    """Tokens of a text, rather too many than too few: one for three bytes of UTF-8."""
    return -(-len(text.encode(errors="surrogatepass")) // _BYTES_PER_TOKEN)
