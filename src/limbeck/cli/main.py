"""`limbeck COMMAND …`: finds the command, and turns every error of the user's into one sentence."""

import difflib
import importlib
import shlex
import sys
from collections.abc import Sequence

from limbeck._version import __version__
from limbeck.errors import Interrupted, LimbeckError, SpecificationError

COMMANDS = {
    "demo": "the main job on real bundled digits: an ensemble, a small student, a verdict, a page",
    "distill": "train a student: a SPEC (file.py:function or a recipe's name), or --data --teacher --student",
    "report": "make the page of a finished run again",
}


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 2 bad usage or bad input, 130 stopped by Ctrl-C."""
    words = list(sys.argv[1:] if words is None else words)
    try:
        return _run(words)
    except Interrupted as error:
        print(f"{error} Go on with: {_again(words)}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except LimbeckError as error:
        print(f"limbeck: {error}", file=sys.stderr)
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
        hint = f" Did you mean {close[0]!r}?" if close else f" There are: {', '.join(COMMANDS)}."
        raise SpecificationError(f"There is no command {name!r}.{hint}")
    importlib.import_module(f"limbeck.cli.{name}").run(rest)
    return 0


def _again(words: Sequence[str]) -> str:
    kept = [word for word in words if word not in ("--overwrite", "--resume")]
    return shlex.join(["limbeck", *kept, "--resume"])


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
