"""What a command may spend on a chat model, read from its options."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segue.chat_model import Budget


def spending_budget(
    requests: int | None, tokens: int | None, money: float | None, hours: float | None, prices: str | None
) -> Budget:
    """The budget of a run; each bound may be None.

    Args:
        requests, tokens, money, hours: Bounds.
        prices: "2.5,10": of a million prompt tokens and of a million completion tokens.

    Raises:
        InputError: The prices cannot be read.
    """
    from segue.chat_model import Budget, Prices
    from segue.errors import InputError

    known = None
    if prices is not None:
        try:
            prompt, completion = (float(price) for price in prices.split(","))
            if not (0 <= prompt < float("inf") and 0 <= completion < float("inf")):
                raise ValueError
        except ValueError:
            raise InputError(
                "The prices cannot be read.",
                expected="two numbers: of a million prompt tokens and of a million completion tokens",
                found=repr(prices),
                where="--prices",
                fix="write them like 2.5,10",
            ) from None
        known = Prices(prompt, completion)
    return Budget(
        max_requests=requests,
        max_tokens=tokens,
        max_money=money,
        max_seconds=None if hours is None else 3600 * hours,
        prices=known,
    )
