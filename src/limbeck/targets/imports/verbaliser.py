"""From tokens of a language model to classes.

Shape legend, this file:  C classes.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias, final

from limbeck.errors import ArgumentError, DataError, MismatchError

Words: TypeAlias = Mapping[str, str | Sequence[str]]
"""The tokens of each class: {"positive": ["positive", "pos"], "negative": "negative"}."""

_SPACES = " \t\n\r▁ĠĊ"
"""What tokenizers put before or after a word: spaces as they are, as SentencePiece and as byte-level BPE write them."""


@final
class Verbaliser:
    """Says which class a token means.

    A token is compared without the spaces around it, first as it stands, then without regard to case; the latter only
    where that leaves one class ("us" and "US" may be two).

    Raises: ArgumentError for words that are no text, or a word that means two classes.

    >>> means = Verbaliser({"positive": ["positive", "pos"], "negative": "negative"})
    >>> means.class_of(" Pos"), means.class_of("▁negative"), means.class_of("neutral")
    (0, 1, None)
    """

    def __init__(self, words: Words) -> None:
        self.classes = tuple(words)
        self._exact: dict[str, int] = {}
        folded: dict[str, set[int]] = {}
        for index, (name, given) in enumerate(words.items()):
            for word in _words(name, given):
                other = self._exact.setdefault(word, index)
                if other != index:
                    raise ArgumentError(
                        f"The verbaliser gives the token {word!r} to two classes, {self.classes[other]!r} and {name!r}."
                    )
                folded.setdefault(word.casefold(), set()).add(index)
        self._folded = {word: next(iter(found)) for word, found in folded.items() if len(found) == 1}

    @classmethod
    def of(cls, words: "Words | str | Path | None", classes: Sequence[str] | None) -> Self:
        """Take words, or read them from a JSON file; without any, the names of the classes are their tokens.

        Raises: ArgumentError where there are neither words nor classes; MismatchError for words of other classes;
        DataError for a file that is not such JSON.
        """
        if words is None and classes is None:
            raise ArgumentError(
                "Nothing says which tokens mean which class: give the classes, whose names are then looked for, or a "
                'verbaliser such as {"positive": ["positive", "pos"], "negative": ["negative"]}.'
            )
        if words is None:
            assert classes is not None
            return cls({str(name): str(name) for name in classes})
        found = _read(Path(words)) if isinstance(words, str | Path) else words
        if classes is None:
            return cls(found)
        names = [str(name) for name in classes]
        if set(names) != set(found):
            raise MismatchError(
                f"The verbaliser must have words for each class. It has {', '.join(map(repr, found))}; the classes are "
                f"{', '.join(map(repr, names))}."
            )
        return cls({name: found[name] for name in names})

    def class_of(self, token: str) -> int | None:
        """Return the index of the class that a token means; None for a token of no class."""
        word = token.strip(_SPACES)
        exact = self._exact.get(word)
        return self._folded.get(word.casefold()) if exact is None else exact


def _words(name: str, given: Any) -> list[str]:
    words = [given] if isinstance(given, str) else given
    if not isinstance(words, Sequence) or not words or not all(isinstance(word, str) for word in words):
        raise ArgumentError(f"The verbaliser must give text, or a list of text, for class {name!r}. Got {given!r}.")
    stripped = [word.strip(_SPACES) for word in words]
    if not all(stripped):
        raise ArgumentError(f"The verbaliser gives an empty token to class {name!r}.")
    return stripped


def _read(path: Path) -> Words:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"There is no file {path}.") from None
    except ValueError as error:
        raise DataError(f"The verbaliser {path} is no JSON: {error}.") from error
    if not isinstance(found, dict):
        raise DataError(f'The verbaliser {path} must be a JSON object, {{"class": ["token", …], …}}.')
    return found
