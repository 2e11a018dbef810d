"""Read pickles of plain data; a pickle that names anything else is refused before it runs."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from segue.errors import InputError

# Python 2 wrote its builtins as module `__builtin__`. Types that reserve memory for a number that the file
# states (bytearray, range) stay out.
_ALLOWED: dict[str, type] = {
    **{"set": set, "frozenset": frozenset, "list": list, "dict": dict, "tuple": tuple},
    **{"int": int, "long": int, "float": float, "str": str, "unicode": str, "bool": bool},
}


class _PlainUnpickler(pickle.Unpickler):
    """An unpickler that knows containers, strings and numbers, and no code."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("builtins", "__builtin__") and name in _ALLOWED:
            return _ALLOWED[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def load_plain(path: Path) -> Any:
    """Load a pickle that holds only lists, dicts, sets, tuples, strings, numbers and None.

    Args:
        path: The file; strings of Python 2 are read as Latin-1.

    Raises:
        InputError: It is no pickle, is damaged, or names any class or function.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file, encoding="latin1").load()
    except Exception as error:  # damaged pickles raise nearly anything
        raise InputError(
            "The pickle cannot be read.",
            expected="a pickle of lists, dicts, strings and numbers only (nothing else is ever loaded)",
            found=f"{type(error).__name__}: {error}",
            where=str(path),
            fix="download the file again from its publisher; do not open pickles of unknown origin elsewhere",
        ) from None
