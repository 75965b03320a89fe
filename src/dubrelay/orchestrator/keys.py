"""The keys of publishers, viewers and the API's users, in STATE_DIR/keys.json, and the secret that signs links.

Only SHA-256 digests of the keys are kept. That is enough here, and a password's slow hash is not needed: a key is 192
random bits of ours, never a word of somebody's choice, so nobody gets from a digest to its key by trying.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import re
import secrets
import stat
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from dubrelay import logs
from dubrelay.changes import looks_of
from dubrelay.config import STREAM_ID_IS, Paths, Role, Settings, StreamId
from dubrelay.errors import ConfigError
from dubrelay.orchestrator.mediamtx import stream_of

FILE_NAME = "keys.json"
MAX_FILE_BYTES = 1_000_000
KEY_BYTES = 24
SIGNATURE_BYTES = 16
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MAX_GIVEN_CHARACTERS = 512
_MAX_EXPIRY_DIGITS = 12

Side = Literal["in", "out"]
Use = Literal["publish", "watch", "api"]
Clock = Callable[[], float]


class Key(BaseModel):
    """What is kept of one key. It opens one thing: publishing a stream, watching one side of it, or the API."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=NAME.pattern)]
    use: Use
    stream: StreamId | None = None
    side: Side | None = None
    role: Role | None = None
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    created: int
    """Unix time, s."""
    expires: int | None = None

    def opens(self) -> str:
        """In words."""
        if self.use == "api":
            return f"the API as {self.role}"
        return f"publishing {self.stream}" if self.use == "publish" else f"watching {self.stream}/{self.side}"


class KeyRing(BaseModel):
    """All keys at one moment. Every question compares with every key of its kind, in constant time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    link_secret: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    keys: tuple[Key, ...] = ()

    def publisher(self, given: Iterable[str], stream_id: str, now: float) -> str:
        """Name of the key among those `given` that may publish the stream; empty when there is none."""
        return self._name(given, [k for k in self.keys if (k.use, k.stream) == ("publish", stream_id)], now)

    def watcher(self, given: Iterable[str], stream_id: str, side: Side, now: float) -> str:
        wanted = ("watch", stream_id, side)
        return self._name(given, [k for k in self.keys if (k.use, k.stream, k.side) == wanted], now)

    def caller(self, token: str, now: float) -> tuple[str, Role] | None:
        """Name and role of the API's user whose token this is."""
        found = [k for k in self.keys if k.use == "api"]
        name = self._name([token], found, now)
        return next(((k.name, k.role) for k in found if k.name == name and k.role is not None), None)

    @property
    def callers(self) -> bool:
        """Whether there is a key for the API."""
        return any(key.use == "api" for key in self.keys)

    @property
    def publishers(self) -> bool:
        return any(key.use == "publish" for key in self.keys)

    def signature(self, stream_id: str, side: Side, expires: int) -> str:
        """128 bits of an HMAC: enough for what ends, and a link that fits on a line."""
        message = f"{stream_id}/{side}/{expires}".encode()
        mac = hmac.new(bytes.fromhex(self.link_secret), message, sha256).digest()
        return urlsafe_b64encode(mac[:SIGNATURE_BYTES]).decode().rstrip("=")

    def link_holds(self, stream_id: str, side: Side, expires: str, signature: str, now: float) -> bool:
        """Whether `exp` and `sig` of a link are ours, for this stream and side, and not over yet."""
        if not (expires.isascii() and expires.isdigit() and len(expires) <= _MAX_EXPIRY_DIGITS):
            return False
        wanted = self.signature(stream_id, side, int(expires))
        # As text of our own making: 007 and 7 are one number and must not be two links.
        same = expires == str(int(expires)) and hmac.compare_digest(wanted.encode(), _bytes(signature))
        return same and now < int(expires)

    @staticmethod
    def _name(given: Iterable[str], keys: Iterable[Key], now: float) -> str:
        digests = [digest(one) for one in given if 0 < len(one) <= _MAX_GIVEN_CHARACTERS]
        found = ""
        for key in keys:
            matches = [hmac.compare_digest(one, key.digest) for one in digests]
            if any(matches) and (key.expires is None or now < key.expires):
                found = key.name
        return found


class Keys:
    """The ring in a file, read again when it changes. One that is broken or gone leaves the keys as they were."""

    def __init__(self, path: Path) -> None:
        """ConfigError when the file is there and of no use."""
        self.path = path
        self._seen = looks_of(path)
        self._ring = read(path)

    def ring(self) -> KeyRing:
        seen = looks_of(self.path)
        if seen != self._seen:
            self._seen = seen
            try:
                if seen is None:
                    raise ConfigError(f"{self.path}: is gone")
                self._ring = read(self.path)
            except ConfigError as e:
                logs.get().error("keys_not_read", reason=e.message, kept=len(self._ring.keys))
            else:
                logs.get().info("keys_read", names=[key.name for key in self._ring.keys])
        return self._ring


def with_internal_secret(settings: Settings) -> Settings:
    """One of this process' own where none is configured."""
    if settings.orchestrator.internal_secret.get_secret_value():
        return settings
    made = settings.orchestrator.model_copy(update={"internal_secret": SecretStr(secrets.token_urlsafe(KEY_BYTES))})
    return settings.model_copy(update={"orchestrator": made})


def file_of(paths: Paths) -> Path:
    return paths.state_dir / FILE_NAME


def digest(key: str) -> str:
    return sha256(_bytes(key)).hexdigest()


def read(path: Path) -> KeyRing:
    """An empty ring when there is no file. ConfigError when it cannot be read, or others may."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return KeyRing(link_secret=secrets.token_hex(32))
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror}") from e
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigError(f"{path}: other users may read or change it (mode {mode:04o}): chmod o-rw it")
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    try:
        return KeyRing.model_validate_json(content)
    except ValidationError as e:
        where = ".".join(str(part) for part in e.errors()[0]["loc"])
        raise ConfigError(f"{path}: is no file of keys: {where or 'not JSON'}; `dubrelay keys` writes it") from e


def new(
    path: Path,
    name: str,
    use: Use,
    *,
    stream: str | None = None,
    side: Side | None = None,
    role: Role | None = None,
    lasts_s: float | None = None,
    clock: Clock = time.time,
) -> str:
    """Adds a key under a name of its own and returns it: nobody can find it out later. ConfigError when it cannot."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"NAME = {name[:64]!r}: must be 1 to 64 letters, digits and _.-, beginning with one of the first two"
        )
    if stream is not None:
        _require_id(stream)
    key, now = secrets.token_urlsafe(KEY_BYTES), int(clock())
    with _changing(path, clock) as ring:
        if any(known.name == name for known in ring.value.keys):
            raise ConfigError(f"NAME = {name!r}: there is a key of that name; `dubrelay keys revoke {name}` first")
        expires = None if lasts_s is None else int(now + lasts_s)
        made = Key(
            name=name, use=use, stream=stream, side=side, role=role, digest=digest(key), created=now, expires=expires
        )
        ring.value = ring.value.model_copy(update={"keys": (*ring.value.keys, made)})
    return key


def revoke(path: Path, names: Iterable[str]) -> None:
    """ConfigError, and nothing is revoked, when one of them is no key's."""
    gone = set(names)
    with _changing(path) as ring:
        unknown = gone - {key.name for key in ring.value.keys}
        if unknown:
            raise ConfigError(f"NAME = {', '.join(sorted(unknown))}: there is no such key; see `dubrelay keys list`")
        kept = tuple(key for key in ring.value.keys if key.name not in gone)
        ring.value = ring.value.model_copy(update={"keys": kept})


def revoke_links(path: Path) -> None:
    """All that were signed so far."""
    with _changing(path) as ring:
        ring.value = ring.value.model_copy(update={"link_secret": secrets.token_hex(32)})


def link(path: Path, stream: str, side: Side, lasts_s: float, clock: Clock = time.time) -> str:
    """The query of a link that opens one side of a stream for so long: `exp=...&sig=...`."""
    _require_id(stream)
    with _changing(path, clock) as ring:  # a secret that was made for this must stay
        expires = int(clock() + lasts_s)
        return f"exp={expires}&sig={ring.value.signature(stream, side, expires)}"


@contextmanager
def temporary(path: Path, name: str, stream: str, lasts_s: float) -> Iterator[str]:
    """A publishing key that is revoked afterwards; should nobody be left to do so, it ends by itself."""
    name = f"{name}-{secrets.token_hex(4)}"
    key = new(path, name, "publish", stream=stream, lasts_s=lasts_s)
    try:
        yield key
    finally:
        revoke(path, [name])


def _require_id(stream: str) -> None:
    if stream_of(f"live/{stream}/in") is None:
        raise ConfigError(f"STREAM = {stream[:80]!r}: must be {STREAM_ID_IS}")


class _Changed:
    def __init__(self, value: KeyRing) -> None:
        self.value = value


@contextmanager
def _changing(path: Path, clock: Clock = time.time) -> Iterator[_Changed]:
    """One change at a time, whoever makes it; the file is replaced as a whole. Keys that are over go with it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = read(path)
            changed = _Changed(before)
            yield changed
            now = clock()
            kept = tuple(key for key in changed.value.keys if key.expires is None or now < key.expires)
            changed.value = changed.value.model_copy(update={"keys": kept})
            if changed.value != before or not path.exists():
                _write(path, changed.value)
    except OSError as e:
        raise ConfigError(f"{path}: cannot be written: {e.strerror}") from e


def _write(path: Path, ring: KeyRing) -> None:
    """mkstemp makes it 0600."""
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(ring.model_dump_json(indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
