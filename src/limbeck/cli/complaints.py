"""What tyro complains of in a frame over several lines, as one sentence."""

import contextlib
import io
import os
import re
from collections.abc import Iterator, Sequence

from limbeck.errors import SpecificationError

_WIDE = "2000"  # columns: a narrower frame would break values in their middle

_REWORDED = (
    (r"^Error parsing (\S+): invalid literal for int\(\) with base \d+: (.*)$", r"\1 must be a whole number. Got \2."),
    (r"^Error parsing (\S+): could not convert string to float: (.*)$", r"\1 must be a number. Got \2."),
    (
        r"^Error parsing (\S+): no type matching \{None\}\|(INT|FLOAT) could be instantiated from \[(.*?)\].*$",
        r"\1 must be a number (\2) or None. Got \3.",
    ),
    (
        r"^Error parsing (\S+): no type matching \{None\}\|\{INT INT\} could be instantiated from \[(.*?)\].*$",
        r"\1 must be two whole numbers. Got \2.",
    ),
    (
        r"^Missing from (.*?): (?:STR|PATH) (.*?)\.? ?\(required\)$",
        r"`\1` needs a word that is no flag: \2.",
    ),
    (r"^Unrecognized options: (\S+).*$", r"The word '\1' belongs to no flag; `{prog} --help` lists the flags."),
    (r"^Missing value for argument '(.*)'\. Expected 1 values\.$", r"\1 needs a value."),
    (r"^Missing value for argument '(.*)'\. Expected (\d+) values\.$", r"\1 needs \2 values."),
    (r"^invalid choice ('.*') for argument '(.*)'\. Expected one of \((.*)\)\.$", r"\2 must be one of \3. Got \1."),
    (
        r"^.*Unsupported type annotation for field (\w+) with type typing.Any.*$",
        r"The parameter '\1' needs a type or a default value, so that its flag can be read.",
    ),
)


@contextlib.contextmanager
def one_sentence(words: Sequence[str], prog: str) -> Iterator[None]:
    """Turn the frame that tyro prints before it leaves into a SpecificationError; let its help through."""
    asks_for_help = any(word in ("-h", "--help") for word in words)
    said = paper()
    try:
        with contextlib.redirect_stderr(said), contextlib.nullcontext() if asks_for_help else _wide_terminal():
            yield
    except SystemExit as leaving:
        if not leaving.code:
            raise
        raise SpecificationError(sentence(written_on(said), prog)) from None


def sentence(framed: str, prog: str) -> str:
    """Find the sentence in a frame, and say it in our words where we have some."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", framed)  # a terminal's colours
    lines = [line.strip("│|╭╮╰╯+").rstrip() for line in plain.splitlines()[1:]]
    body = [line for line in lines if line.strip(" ─-")]
    missing = _flags_at_the_margin(body)
    if body and body[0].lstrip().startswith("Missing from") and missing:
        return f"`{prog}` needs {' and '.join(missing)}; `{prog} --help` lists the flags."
    text = " ".join(line.strip() for line in _until_the_hints(body))
    for pattern, words in _REWORDED:
        if re.match(pattern, text):
            return re.sub(pattern, words, text).replace("{prog}", prog)
    return f"{text.removesuffix('.')}; `{prog} --help` lists the flags."


def paper() -> io.TextIOWrapper:
    """Return something to print on that takes frames, as a terminal does: a `StringIO` has no encoding to say so."""
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8")


def written_on(said: io.TextIOWrapper) -> str:
    """Read what was printed."""
    said.seek(0)
    return said.read()


def _flags_at_the_margin(lines: Sequence[str]) -> list[str]:
    """Return the flags that begin a line, but for those in the middle of another's help, which stands further in."""
    found = [(len(line) - len(line.lstrip()), line.split()[0]) for line in lines if line.lstrip().startswith("--")]
    least = min((indent for indent, _ in found), default=0)
    return [flag for indent, flag in found if indent == least]


def _until_the_hints(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if line.strip().startswith(("Argument helptext", "For full helptext", "Usage")):
            return
        yield line


@contextlib.contextmanager
def _wide_terminal() -> Iterator[None]:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _WIDE
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
