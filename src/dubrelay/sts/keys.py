"""Who may ask: the bearer keys of the service, each with a name, and how often each of them may.

`sts.keys_file` holds a NAME:KEY a line and is read again whenever it changes. Only digests of the keys are kept.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from math import ceil
from pathlib import Path
from secrets import compare_digest

from dubrelay import logs
from dubrelay.changes import Looks, looks_of
from dubrelay.config import Sts
from dubrelay.errors import ConfigError, StsError

KEY_OF_SETTINGS = "sts.key"
"""The name under which `sts.key` is logged."""
MINUTE_S = 60.0
MAX_FILE_BYTES = 1_000_000

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_KEY = re.compile(r"[\x21-\x7e]{16,512}")

Digests = dict[str, bytes]
"""By name."""


class TooOften(StsError):
    """HTTP 429. `retry_after_s`: whole seconds until the key may ask again."""

    def __init__(self, per_minute: int, retry_after_s: int) -> None:
        message = f"more than {per_minute} requests a minute (sts.requests_per_minute_per_key)"
        super().__init__("OVERLOADED", message, retryable=True)
        self.retry_after_s = retry_after_s


class Keys:
    """ConfigError when `sts.keys_file` is of no use now; a file that becomes so later leaves the keys as they were."""

    def __init__(self, settings: Sts) -> None:
        key = settings.key.get_secret_value()
        self._fixed: Digests = {KEY_OF_SETTINGS: _digest(key)} if key else {}
        self._file = settings.keys_file
        self._seen: Looks = None
        self._digests = self._fixed
        if self._file is not None:
            self._seen = looks_of(self._file)
            self._digests = self._fixed | read(self._file)

    def name_of(self, authorization: str) -> str:
        """Whose key is in the header; empty where no key is needed. StsError UNAUTHORIZED.

        Every key is compared, in constant time, whichever it is.
        """
        self._look_again()
        if not self._digests:
            return ""
        scheme, _, given = authorization.partition(" ")
        digest = _digest(given.strip())
        names = [name for name, known in self._digests.items() if compare_digest(digest, known)]
        if scheme.lower() != "bearer" or not names:
            raise StsError("UNAUTHORIZED", "Authorization: Bearer KEY is missing or wrong")
        return names[0]

    def _look_again(self) -> None:
        if self._file is None or (seen := looks_of(self._file)) == self._seen:
            return
        self._seen = seen
        try:
            self._digests = self._fixed | read(self._file)
        except ConfigError as e:
            logs.get().error("keys not read, the old ones stay", reason=e.message)
        else:
            logs.get().info("keys read", names=sorted(self._digests))


class Rates:
    """At most `per_minute` requests of one name in any 60 s; 0 is no limit."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._asked: dict[str, deque[float]] = {}

    def count(self, name: str) -> None:
        """Counts one request. TooOften when it is one too many, which is not counted."""
        if not self._per_minute:
            return
        now = self._clock()
        asked = self._asked.setdefault(name, deque())
        while asked and asked[0] <= now - MINUTE_S:
            asked.popleft()
        if len(asked) >= self._per_minute:
            raise TooOften(self._per_minute, max(1, ceil(asked[0] + MINUTE_S - now)))
        asked.append(now)


def read(path: Path) -> Digests:
    """The keys in a file of NAME:KEY lines; empty lines and those that begin with # do not count.

    ConfigError names the line and never the key.
    """
    where = f"sts.keys_file = '{path}'"
    digests: Digests = {}
    for number, line in enumerate(_text(path, where).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, key = line.strip().partition(":")
        # No message shows the name: in a line that is wrong it may be the key.
        if not key or not _NAME.fullmatch(name):
            raise ConfigError(f"{where}: line {number}: must be NAME:KEY, with letters, digits and _.- in the name")
        if not _KEY.fullmatch(key):
            raise ConfigError(f"{where}: line {number}: the key must be 16 to 512 visible ASCII characters")
        if name in digests or _digest(key) in digests.values():
            raise ConfigError(f"{where}: line {number}: the name or its key stands there twice")
        digests[name] = _digest(key)
    if not digests:
        raise ConfigError(f"{where}: holds no key")
    return digests


def _text(path: Path, where: str) -> str:
    try:
        if not path.is_file():
            raise ConfigError(f"{where}: there is no such file")
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & (stat.S_IROTH | stat.S_IWOTH):
                raise ConfigError(f"{where}: other users may read or change it (mode {mode:04o}): chmod o-rw it")
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as e:
        raise ConfigError(f"{where}: cannot be read: {e.strerror}") from e
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{where}: larger than {MAX_FILE_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")  # some editors put a mark in front
    except UnicodeDecodeError as e:
        raise ConfigError(f"{where}: is not UTF-8 text") from e


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogateescape")).digest()
