"""`limbeck COMMAND …`: finds the command, and turns every error of the user's into one sentence."""

import difflib
import importlib
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from limbeck._version import __version__
from limbeck.errors import Interrupted, LimbeckError, SpecificationError

COMMANDS = {
    "demo": "the main job on real bundled digits: an ensemble, a small student, two verdicts, a page",
    "distill": "train a student: a SPEC (file.py:function or a recipe's name), or --data --student --teacher|--targets",
    "record": "run a SPEC's teacher once over the rows and keep its soft targets, to teach from as often as you like",
    "search": "choose temperature, weights, rate and decay from recorded targets, for the student and for its rivals",
    "sweep": "how the errors depend on one number of a SPEC, at several seeds: --over temperature=1,4,20 or rows=0.1,1",
    "targets": "what a store of soft targets holds; `targets import FILE` makes one of anybody's predictions",
    "compare": "the verdicts: what the teaching was worth, and whether the student can replace the teacher",
    "reproduce": "a published table made again, row by row, at several seeds: `reproduce mnist --data FOLDER`",
    "judge": "the same verdicts on predictions from elsewhere: DISTILLED.npz ALONE.npz --labels LABELS.npy",
    "report": "make the page of a finished run, campaign, search or sweep again",
}

RESUMABLE = (["demo"], ["distill"], ["record"], ["search"], ["sweep"])
"""Commands with a flag --resume."""


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 2 bad usage or bad input, 130 stopped by Ctrl-C."""
    words = list(sys.argv[1:] if words is None else words)
    try:
        with _plain_warnings():
            status = _run(words)
            sys.stdout.flush()  # here, where a closed pipe is no error
            return status
    except Interrupted as error:
        _say(f"{error} Go on with: {_again(words)}")
        return 130
    except KeyboardInterrupt:  # between two pieces of work; what --overwrite names may still stand
        can_go_on = words[:1] in RESUMABLE and "--overwrite" not in words
        _say(f"Stopped. Go on with: {_again(words)}" if can_go_on else "Stopped.")
        return 130
    except LimbeckError as error:
        _say(f"limbeck: {error}")
        return 2
    except BrokenPipeError:  # whoever read what is printed has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be printed at the end goes nowhere
        return 0
    except OSError as error:
        if error.filename is None:  # not about a file of the user's: a bug of ours, with all that helps to find it
            raise
        _say(f"limbeck: {error.filename} cannot be read or written: {error.strerror}.")
        return 2


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] == "--version":
        print(f"limbeck {__version__}")
        return 0
    name, *rest = words
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(COMMANDS)}."
        raise SpecificationError(f"There is no command {name!r}. {hint}")
    importlib.import_module(f"limbeck.cli.{name}").run(rest)
    return 0


def _say(sentence: str) -> None:
    """Print one line to standard error, whatever line breaks another library's message brought along."""
    print(" ".join(sentence.split()), file=sys.stderr)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print Limbeck's own warnings as sentences, without the line of code that they come from."""
    before = warnings.formatwarning

    def plain(message: Any, category: type[Warning], *where: Any, **rest: Any) -> str:
        ours = category.__module__.partition(".")[0] == "limbeck"
        return f"limbeck: {message}\n" if ours else before(message, category, *where, **rest)

    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = before


def _again(words: Sequence[str]) -> str:
    kept = [word for word in words if word not in ("--overwrite", "--resume")]
    return shlex.join(["limbeck", *kept, *(["--resume"] if words[:1] in RESUMABLE else [])])


def _help() -> str:
    lines = [f"  limbeck {name:<10}{about}" for name, about in COMMANDS.items()]
    return "\n".join(
        [
            "Knowledge distillation on PyTorch, with the proof that the teaching helped.",
            "",
            *lines,
            "",
            "limbeck COMMAND --help tells a command's flags.",
        ]
    )


def script() -> None:
    """The console script."""
    sys.exit(main())
