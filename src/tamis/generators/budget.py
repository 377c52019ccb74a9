"""What calls of a language model cost, and how much more may be spent."""

from dataclasses import dataclass
from typing import Any, Final

from tamis.errors import RunError
from tamis.records import Tokens
from tamis.settings import EndpointSettings

_BYTES_PER_TOKEN: Final = 3  # of UTF-8: more tokens than most tokenizers make, in any script


@dataclass(slots=True)
class Budget:
    """What was spent on a model, and the limits of the recipe.

    Attributes:
        limits: The recipe's section, with limits and prices.
        spent: Tokens of this run and of earlier ones in its folder.
    """

    limits: EndpointSettings
    spent: Tokens

    @property
    def money(self) -> float:
        """What was spent, in the currency of the prices."""
        return cost(self.spent, self.limits)

    def exceeded_by(self, more: Tokens) -> str:
        """Name of the limit that so much more would exceed, empty where there is none."""
        total = self.spent + more
        if self.limits.budget_tokens and total.prompt + total.completion > self.limits.budget_tokens:
            return "budget_tokens"
        if self.limits.budget_money and cost(total, self.limits) > self.limits.budget_money:
            return "budget_money"
        return ""

    def error(self, limit: str) -> RunError:
        """What to tell the user when a limit is reached."""
        money = f" ({self.money:.4g} in money)" if self.money else ""
        return RunError(
            f"queries.endpoint.{limit}: the next request could exceed {getattr(self.limits, limit):,}: "
            f"{self.spent.prompt:,} tokens of prompts and {self.spent.completion:,} of answers are spent{money}; "
            "finished queries are kept, raise it or lower queries.documents, and run the same command again"
        )


def cost(tokens: Tokens, prices: EndpointSettings) -> float:
    """Money for so many tokens, in the currency of the prices."""
    return (tokens.prompt * prices.prompt_price + tokens.completion * prices.completion_price) / 1e6


def usage(answer: dict[str, Any]) -> Tokens | None:
    """The tokens that an answer says it cost, None where it does not say."""
    told = answer.get("usage")
    if not isinstance(told, dict):
        return None
    prompt, completion = told.get("prompt_tokens"), told.get("completion_tokens")
    if not (isinstance(prompt, int) and isinstance(completion, int) and prompt >= 0 and completion >= 0):
        return None
    return Tokens(prompt, completion)


def estimated_tokens(text: str) -> int:
    """Tokens of a text, rather too many than too few: one for three bytes of UTF-8."""
    return -(-len(text.encode(errors="surrogatepass")) // _BYTES_PER_TOKEN)
