from __future__ import annotations

import pytest

from dubrelay import errors
from dubrelay.errors import DubrelayError, MediaError, StsError

pytestmark = pytest.mark.unit


def _all(kind: type[DubrelayError]) -> list[type[DubrelayError]]:
    return [kind, *(found for sub in kind.__subclasses__() for found in _all(sub))]


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    assert errors.__doc__ is not None
    drawn = {word for word in errors.__doc__.split() if hasattr(errors, word)}
    ours = {kind.__name__ for kind in _all(DubrelayError) if kind.__module__ == errors.__name__}
    assert ours == drawn


def test_exit_codes_are_those_of_the_contract() -> None:
    named = {
        kind.__name__: kind.exit_code for kind in DubrelayError.__subclasses__() if kind.__module__ == errors.__name__
    }
    assert named == {
        "ConfigError": 2,
        "StartupError": 3,
        "InputNotReady": 20,
        "DestinationRefused": 30,
        "MediaError": 40,
        "StsError": errors.EXIT_BUG,
    }


def test_code_defaults_to_the_name_and_retryable_to_what_the_kind_says() -> None:
    assert DubrelayError("x").code == "DubrelayError"
    assert not DubrelayError("x").retryable
    assert MediaError("x", code="GONE").retryable
    error = StsError("TIMEOUT", "late", stage="tts", retryable=True)
    assert (error.code, error.stage, error.retryable, str(error)) == ("TIMEOUT", "tts", True, "late")
