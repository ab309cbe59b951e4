"""Everything that Limbeck raises for its users.

LimbeckError                    one clear sentence: what was wrong, where, what to do
 x ArgumentError                an argument of a function is out of its range or of the wrong shape (also a ValueError)
 x SpecificationError           a specification, a flag, a reference or a file cannot be understood
   - NotImportable              another process or a resume would need a name, and there is none (a lambda, a closure)
   - CannotStack                runs cannot be trained as one stacked model; apart they may well
 x DataError                    a dataset, a column, a split or its labels are not what was asked for
 x MismatchError                teacher, student, data and recorded targets disagree: classes, heads, rows, temperatures
 x ObjectiveError               a named term of the objective cannot be computed
   - NonFiniteLoss              a term became NaN or infinite: names the term, the step and the row ids
 x RunError                     a run's directory is occupied, incomplete or damaged
   - ResumeError                checkpoint and specification disagree
 x StoreError                   a store of soft targets is damaged, incomplete, or of an unknown format
 x MissingExtra                 an optional dependency is absent: names the `pip install`
 x Interrupted                  Ctrl-C: the state is saved; says how to go on

LimbeckWarning                  base of warnings about what is allowed and probably not meant
"""

from typing import Self


class LimbeckError(Exception):
    """Base of all errors that a user can mend; its text is one complete sentence."""


class ArgumentError(LimbeckError, ValueError):
    """An argument is out of its range or has the wrong shape."""


class SpecificationError(LimbeckError):
    """A specification, a flag, a reference or a file cannot be understood."""


class NotImportable(SpecificationError):
    """An object has no importable name, where another process or a resume needs one."""


class CannotStack(SpecificationError):
    """Runs cannot be trained as one stacked model; apart they may well."""


class DataError(LimbeckError):
    """A dataset, a column, a split or its labels are not what was asked for."""


class MismatchError(LimbeckError):
    """Teacher, student, data and recorded targets disagree."""


class ObjectiveError(LimbeckError):
    """A named term of the objective cannot be computed."""


class NonFiniteLoss(ObjectiveError):
    """A term of the loss became NaN or infinite."""


class RunError(LimbeckError):
    """A run's directory is occupied, incomplete or damaged."""


class ResumeError(RunError):
    """A checkpoint and the specification that wants to resume from it disagree."""


class StoreError(LimbeckError):
    """A store of soft targets is damaged, incomplete, or of a format that this version does not know."""


class MissingExtra(LimbeckError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        self._arguments = (what, extra)
        lacks = f"{what[:1].upper()}{what[1:]} needs an extra that is not installed."
        super().__init__(f"{lacks} Run: pip install 'limbeck[{extra}]'.")

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        return type(self), self._arguments  # else a copy in another process would be made from the sentence


class Interrupted(LimbeckError):
    """Training was stopped by Ctrl-C after its state was saved."""


class LimbeckWarning(UserWarning):
    """Base of warnings about what is allowed and probably not meant; its text is sentences for the user."""
