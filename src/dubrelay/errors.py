"""Every error a part of dubrelay raises on purpose.

    DubrelayError
    ├── ConfigError          a setting is wrong                                   exit 2
    ├── StartupError         would fail the same way again: model, plugin, port   exit 3
    ├── InputNotReady        nothing to read within the grace                     exit 20
    ├── DestinationRefused   the output's server says no                          exit 30
    ├── MediaError           transient media or network failure                   exit 40
    └── StsError             one phrase could not be dubbed (carries its stage)

`retryable` says whether the same call may succeed when it is made again; retry and breaker ask nothing else.
A process that ends with one of these prints one line and exits with its `exit_code`, which the supervisor's restart
policy is keyed by.
"""

from __future__ import annotations

from typing import Literal

StsCode = Literal["TIMEOUT", "MODEL_ERROR", "INVALID_INPUT", "UNSUPPORTED_LANGUAGE", "UNAUTHORIZED", "OVERLOADED"]
Stage = Literal["asr", "mt", "tts"]

EXIT_OK = 0
EXIT_BUG = 70


class DubrelayError(Exception):
    """`code` is stable and for programs, `message` is one line and for people."""

    exit_code = EXIT_BUG

    def __init__(self, message: str, *, code: str = "", retryable: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).__name__
        self.retryable = retryable


class ConfigError(DubrelayError):
    """A setting is wrong; the message names its key path, its value and what is allowed."""

    exit_code = 2


class StartupError(DubrelayError):
    """The process cannot start, and would not the next time either."""

    exit_code = 3


class InputNotReady(DubrelayError):
    """The input could not be read within the grace."""

    exit_code = 20


class DestinationRefused(DubrelayError):
    """The output's server refused the publisher."""

    exit_code = 30


class MediaError(DubrelayError):
    """A failure of media or network that a restart may cure."""

    exit_code = 40

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message, code=code, retryable=True)


class StsError(DubrelayError):
    """One phrase could not be dubbed. `code` and `stage` are those of the STS API (contracts, section 3)."""

    code: StsCode

    def __init__(self, code: StsCode, message: str, *, stage: Stage | None = None, retryable: bool = False) -> None:
        super().__init__(message, code=code, retryable=retryable)
        self.stage = stage


def first_line(error: BaseException) -> str:
    """Of what an exception says; its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
