from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from dubrelay import models
from dubrelay.config import Paths
from dubrelay.errors import StartupError
from dubrelay.models.pins import FILES, File
from dubrelay.models.split import streaming

pytestmark = pytest.mark.unit


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _archive_of(*names: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return out.getvalue()


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(state_dir=tmp_path / "state")


@pytest.fixture
def two_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in two packages that can be found like installed ones; the folder they stand in."""
    folder = tmp_path / "packages"
    for package, data in (("dubtest_part1", b"first "), ("dubtest_part2", b"second")):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("raise RuntimeError('a model package must not be imported')")
        (folder / package / "part").write_bytes(data)
    monkeypatch.syspath_prepend(str(folder))
    file = File("model.bin", ("dubtest_part1/part", "dubtest_part2/part"), _sha256(b"first second"))
    monkeypatch.setitem(FILES, "whisper-base", [file])
    return folder


def test_parts_are_joined_once_and_found_afterwards(two_parts: Path, paths: Paths) -> None:
    said: list[str] = []
    file = FILES["whisper-base"][0]
    out = paths.state_dir / "models" / "whisper-base" / "model.bin"
    models.join("whisper-base", file, out, said.append)
    first_made = out.stat().st_mtime_ns
    models.join("whisper-base", file, out, said.append)
    assert out.read_bytes() == b"first second"
    assert said == ["joining whisper-base/model.bin"]
    assert out.stat().st_mtime_ns == first_made
    assert [path.name for path in out.parent.iterdir()] == ["model.bin"]
    assert models.whisper("whisper-base", paths) == out.parent


def test_damaged_parts_are_refused_and_leave_nothing_behind(two_parts: Path, paths: Paths) -> None:
    (two_parts / "dubtest_part2" / "part").write_bytes(b"SECOND")
    out = paths.state_dir / "models" / "whisper-base" / "model.bin"
    with pytest.raises(StartupError, match=r"whisper-base: the parts of model\.bin are damaged.*run scripts/setup"):
        models.join("whisper-base", FILES["whisper-base"][0], out, lambda _: None)
    assert list(out.parent.iterdir()) == []


def test_an_altered_file_is_joined_again(two_parts: Path, paths: Paths) -> None:
    file = FILES["whisper-base"][0]
    out = paths.state_dir / "models" / "whisper-base" / "model.bin"
    out.parent.mkdir(parents=True)
    out.write_bytes(b"first sec0nd")
    models.join("whisper-base", file, out, lambda _: None)
    assert out.read_bytes() == b"first second"


def test_an_altered_file_is_an_error_that_names_it_and_says_what_to_do(two_parts: Path, paths: Paths) -> None:
    out = paths.state_dir / "models" / "whisper-base" / "model.bin"
    out.parent.mkdir(parents=True)
    out.write_bytes(b"something else")
    with pytest.raises(StartupError) as caught:
        models.whisper("whisper-base", paths)
    assert str(out) in caught.value.message
    assert "altered" in caught.value.message
    assert "run scripts/setup" in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 3


def test_a_file_that_was_not_assembled_is_missing(two_parts: Path, paths: Paths) -> None:
    with pytest.raises(StartupError, match=r"whisper-base: .*model\.bin is missing: run scripts/setup"):
        models.whisper("whisper-base", paths)
    assert "model.bin is missing" in models.missing("whisper-base", paths)


def test_a_package_that_is_not_installed_is_named(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILES, "silero-vad", [File("vad.onnx", ("no_such_package_here/vad.onnx",), "0" * 64)])
    with pytest.raises(
        StartupError, match="silero-vad: package no_such_package_here is not installed: run scripts/setup"
    ):
        models.silero_vad(paths)


def test_the_operators_folder_comes_first_and_its_hash_is_not_checked(tmp_path: Path) -> None:
    own = tmp_path / "own" / "silero-vad"
    own.mkdir(parents=True)
    (own / "silero_vad_v6.onnx").write_bytes(b"another model")
    paths = Paths(state_dir=tmp_path / "state", models_dir=tmp_path / "own")
    assert models.silero_vad(paths) == own / "silero_vad_v6.onnx"


def test_an_incomplete_operators_folder_is_an_error_not_a_silent_fallback(tmp_path: Path) -> None:
    own = tmp_path / "own" / "whisper-tiny.en"
    own.mkdir(parents=True)
    (own / "model.bin").write_bytes(b"...")
    paths = Paths(state_dir=tmp_path / "state", models_dir=tmp_path / "own")
    with pytest.raises(StartupError, match=r"whisper-tiny\.en: .* has no config\.json: add it, or remove the folder"):
        models.whisper("whisper-tiny.en", paths)


def test_an_operators_directory_without_a_model_leaves_it_to_the_bundled_one(two_parts: Path, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    paths = Paths(state_dir=tmp_path / "state", models_dir=tmp_path / "own")
    models.join(
        "whisper-base", FILES["whisper-base"][0], tmp_path / "state/models/whisper-base/model.bin", lambda _: None
    )
    assert models.whisper("whisper-base", paths) == tmp_path / "state" / "models" / "whisper-base"


def _kokoro_by_hand(folder: Path, source_sha256: str, recipe: int = models.RECIPE) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    halves = {"predictor.onnx": b"first half", "speaker.onnx": b"second half"}
    for name, data in halves.items():
        (folder / name).write_bytes(data)
    record = {"kokoro.onnx": source_sha256, "recipe": recipe, **{n: _sha256(d) for n, d in halves.items()}}
    (folder / "built-from.json").write_text(json.dumps(record))


@pytest.fixture
def own_kokoro(tmp_path: Path) -> Paths:
    own = tmp_path / "own" / "kokoro"
    own.mkdir(parents=True)
    for name in ("kokoro.onnx", "voices.npz", "vocab.json"):
        (own / name).write_bytes(name.encode())
    return Paths(state_dir=tmp_path / "state", models_dir=tmp_path / "own")


def test_kokoros_halves_are_accepted_when_they_were_made_of_its_model(own_kokoro: Paths) -> None:
    built = own_kokoro.state_dir / "models" / "kokoro"
    _kokoro_by_hand(built, _sha256(b"kokoro.onnx"))
    files = models.kokoro(own_kokoro)
    assert files.speaker == built / "speaker.onnx"
    assert files.vocab.parent.name == "kokoro"
    assert files.vocab.parent.parent.name == "own"


def test_kokoros_halves_of_another_model_are_refused(own_kokoro: Paths) -> None:
    _kokoro_by_hand(own_kokoro.state_dir / "models" / "kokoro", _sha256(b"an older model"))
    with pytest.raises(StartupError, match=r"made of another kokoro\.onnx.*run scripts/setup"):
        models.kokoro(own_kokoro)


def test_kokoros_halves_of_another_release_are_refused(own_kokoro: Paths) -> None:
    _kokoro_by_hand(own_kokoro.state_dir / "models" / "kokoro", _sha256(b"kokoro.onnx"), recipe=models.RECIPE + 1)
    with pytest.raises(StartupError, match="by another release"):
        models.kokoro(own_kokoro)


def test_an_altered_half_is_refused(own_kokoro: Paths) -> None:
    built = own_kokoro.state_dir / "models" / "kokoro"
    _kokoro_by_hand(built, _sha256(b"kokoro.onnx"))
    (built / "speaker.onnx").write_bytes(b"second h4lf")
    with pytest.raises(StartupError, match=r"speaker\.onnx is altered"):
        models.kokoro(own_kokoro)


@pytest.fixture
def own_deepfilternet(tmp_path: Path) -> Paths:
    """The graph of another archive than the bundled one."""
    own, built = tmp_path / "own" / "deepfilternet", tmp_path / "state" / "models" / "deepfilternet"
    own.mkdir(parents=True)
    built.mkdir(parents=True)
    (own / "DeepFilterNet3_onnx.tar.gz").write_bytes(b"archive")
    (built / "streaming.onnx").write_bytes(b"graph")
    record = {"DeepFilterNet3_onnx.tar.gz": _sha256(b"archive"), "recipe": models.RECIPE}
    (built / "built-from.json").write_text(json.dumps({**record, "streaming.onnx": _sha256(b"graph")}))
    return Paths(state_dir=tmp_path / "state", models_dir=tmp_path / "own")


def test_deepfilternets_graph_is_accepted_when_it_was_made_of_its_archive(own_deepfilternet: Paths) -> None:
    graph = own_deepfilternet.state_dir / "models" / "deepfilternet" / "streaming.onnx"
    assert models.deepfilternet(own_deepfilternet) == graph


def test_deepfilternets_graph_of_another_archive_is_refused(own_deepfilternet: Paths) -> None:
    assert own_deepfilternet.models_dir is not None
    (own_deepfilternet.models_dir / "deepfilternet" / "DeepFilterNet3_onnx.tar.gz").write_bytes(b"another")
    with pytest.raises(StartupError, match=r"made of another DeepFilterNet3_onnx\.tar\.gz.*run scripts/setup"):
        models.deepfilternet(own_deepfilternet)


@pytest.mark.parametrize("archive", [b"no archive", _archive_of("tmp/export/enc.onnx")])
def test_an_archive_that_was_not_tested_is_refused(archive: bytes) -> None:
    with pytest.raises(StartupError, match="deepfilternet: its archive is not the export that was tested"):
        streaming(archive)


@pytest.mark.service
def test_every_bundled_model_is_found_as_tested() -> None:
    assert [(row.name, row.state, row.advice) for row in models.check(Paths())] == [
        (name, "found", "") for name in models.NAMES
    ]


@pytest.mark.service
def test_assembling_again_does_nothing() -> None:
    said: list[str] = []
    models.assemble(Paths(), said.append)
    assert said == []
