"""Libraries that only some of the project needs."""
import importlib
from types import ModuleType

from common.errors import UserError


def optional(name: str, install: str) -> ModuleType:
    """The module of that name. Raises UserError with the command that installs it, if it is not there.

    Args:
        name: as in an import statement.
        install: what `pip install` has to be told.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f"this needs the package {error.name}: python3 -m pip install {install}") from None
