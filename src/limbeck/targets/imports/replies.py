"""One line of a file of model replies: which row it is, and its most likely first tokens.

The shapes that are read:

    {"choices": [{"logprobs": {"content": [{"token", "logprob", "top_logprobs": [{"token", "logprob"}, …]}]}}]}   chat
    {"choices": [{"logprobs": {"tokens": […], "token_logprobs": […], "top_logprobs": [{token: logprob, …}]}}]}    legacy
    {"id": 17, "top_logprobs": {token: logprob, …} | [{"token", "logprob"}, …]}                                   plain
    {"custom_id": "row-17", "response": {"status_code": 200, "body": {…}}, "error": null}      a batch's line around one
"""

import json
import math
import re
from typing import Any, NamedTuple

UNLIKELY = -700.0
"""A token of this or less is taken as not returned: exp(-700) is about the smallest double, and the OpenAI API writes
-9999 for a token that is too unlikely to have a number."""

_TOLERANCE = 1e-3
"""How far log-probabilities may be above 0, and probabilities of a row above 1 together."""


class Reply(NamedTuple):
    """What a model said of one row, or why it said nothing."""

    id: int | None
    """The row's id; None where the line bears none."""
    name: str | None
    """The id as it stands in the line, to be quoted."""
    top: tuple[tuple[str, float], ...]
    """The likeliest tokens and their log-probabilities; empty where there are none."""
    extra: tuple[tuple[str, float], ...] = ()
    """The token that was chosen, where it is not among the likeliest."""
    failure: str | None = None
    """Why there are none."""


class _Unusable(Exception):
    """A line says nothing of its row; the text says why."""


def reply_of(line: str) -> Reply:
    """Read one line. Raises: ValueError for a line that is no JSON object."""
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError(f"it must be a JSON object, and is a {type(found).__name__}")
    number, name = _id_of(found)
    try:
        top, extra = _tokens_of(_body_of(found))
    except _Unusable as error:
        return Reply(number, name, (), failure=str(error))
    except (TypeError, AttributeError, LookupError, ValueError, OverflowError):
        return Reply(number, name, (), failure="an answer in none of the shapes that are known")
    return Reply(number, name, top, extra)


def _id_of(found: dict[str, Any]) -> tuple[int | None, str | None]:
    """Return the number at the end of `custom_id`, or a whole `id`; a response's own "chatcmpl-…" is no row."""
    given = found.get("custom_id")
    if given is None and "choices" not in found and "response" not in found:
        given = found.get("id")
    if isinstance(given, bool) or not isinstance(given, int | str):
        return None, None
    digits = re.search(r"(\d+)\s*$", given) if isinstance(given, str) else None
    if isinstance(given, str):
        return (None if digits is None else int(digits[1])), given
    return given, str(given)


def _body_of(found: dict[str, Any]) -> dict[str, Any]:
    """Unwrap a batch's line."""
    error = found.get("error")
    if error:
        raise _Unusable(_said(error))
    if "response" not in found:
        return found
    response = found["response"]
    if not isinstance(response, dict):
        raise _Unusable("no response")
    body = response.get("body")
    status = response.get("status_code", 200)
    inner = body.get("error") if isinstance(body, dict) else None
    if status != 200 or inner:
        raise _Unusable(_said(inner) if inner else f"status {status}")
    return body if isinstance(body, dict) else {}


def _said(error: Any) -> str:
    message = error.get("message") or error.get("code") if isinstance(error, dict) else error
    return f"an error: {' '.join(str(message).split()).rstrip('.')}"


def _tokens_of(body: dict[str, Any]) -> tuple[tuple[tuple[str, float], ...], tuple[tuple[str, float], ...]]:
    if "choices" not in body:
        return _pairs(body.get("top_logprobs")), ()
    choices = body["choices"]
    logprobs = choices[0].get("logprobs") if choices else None
    if not logprobs:
        raise _Unusable("no log-probabilities (ask the API for logprobs)")
    if "content" in logprobs:
        return _first_of_chat(logprobs["content"])
    tops = logprobs.get("top_logprobs")
    top = _pairs(tops[0] if tops else None)
    tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
    chosen = ((tokens[0], float(values[0])),) if tokens and values and values[0] is not None else ()
    return top, _without(chosen, top)


def _first_of_chat(content: Any) -> tuple[tuple[tuple[str, float], ...], tuple[tuple[str, float], ...]]:
    if not content:
        raise _Unusable("an empty answer")
    first = content[0]
    top = _pairs(first.get("top_logprobs"))
    return top, _without(_pairs([first]), top)


def _pairs(found: Any) -> tuple[tuple[str, float], ...]:
    """Return tokens and log-probabilities, those that are too unlikely for a number left out."""
    if not found:
        raise _Unusable("no top_logprobs (ask the API for top_logprobs)")
    try:
        items = found.items() if isinstance(found, dict) else [(item["token"], item["logprob"]) for item in found]
        pairs = [(str(token), float(value)) for token, value in items]
    except (TypeError, KeyError, ValueError):
        raise _Unusable("top_logprobs that are neither {token: number} nor [{token, logprob}]") from None
    _check_pairs(pairs)
    likely = tuple((token, min(value, 0.0)) for token, value in pairs if value > UNLIKELY)
    if not likely:
        raise _Unusable("only tokens too unlikely for a number")
    return likely


def _check_pairs(pairs: list[tuple[str, float]]) -> None:
    for token, value in pairs:
        if math.isnan(value) or value > _TOLERANCE:
            raise _Unusable(f"a log-probability of {value:g} for the token {token!r}, where none can be above 0")
    total = sum(math.exp(value) for _, value in pairs)
    if total > 1 + _TOLERANCE:
        raise _Unusable(f"probabilities that sum to {total:.4g}, where they cannot be above 1")


def _without(
    chosen: tuple[tuple[str, float], ...], top: tuple[tuple[str, float], ...]
) -> tuple[tuple[str, float], ...]:
    known = {token for token, _ in top}
    return tuple(pair for pair in chosen if pair[0] not in known)
