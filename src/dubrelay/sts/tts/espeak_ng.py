"""The espeak-ng program: text in, phonemes or sound out. It is GPL: run as a program of its own, never linked."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import numpy.typing as npt

from dubrelay.errors import StsError

RATE_HZ = 22_050
PROGRAM = "espeak-ng"
_TIMEOUT_S = 5.0
_WAV_HEADER = 44
_CLAUSE = re.compile(r"\s*[,.;:!?—…]+(?=\s|$)\s*")
_LANGUAGE_MARK = re.compile(r"\([a-z-]+\)")


def missing() -> str:
    """ "" when the program can be run, else what to do."""
    return "" if shutil.which(PROGRAM) else f"the program {PROGRAM} is missing: install the Debian package espeak-ng"


def phonemes(text: str, voice: str) -> str:
    """IPA with stress marks; the punctuation that ends a clause is kept, because voices read pauses from it."""
    clauses, marks = _clauses(text)
    if not clauses:
        return ""
    spoken = _ipa("\n\n".join(clauses), voice)
    if len(spoken) != len(clauses):  # espeak-ng broke one of them up, at a stop inside it or because it is long
        spoken = [" ".join(_ipa(clause, voice)) for clause in clauses]
    return " ".join(ipa + mark for ipa, mark in zip(spoken, marks, strict=True) if ipa)


def sound(text: str, voice: str, words_per_minute: int) -> npt.NDArray[np.float32]:
    """(n,) at RATE_HZ with hardly any silence around it."""
    wav = _run(text, "-v", voice, "-s", str(words_per_minute), "-z", "--stdout")
    pcm = np.frombuffer(wav[_WAV_HEADER:], "<i2", count=max(0, len(wav) - _WAV_HEADER) // 2)
    return pcm.astype(np.float32) / np.float32(32768)


def _clauses(text: str) -> tuple[list[str], list[str]]:
    clauses: list[str] = []
    marks: list[str] = []
    at = 0
    for match in [*_CLAUSE.finditer(text), None]:
        clause = text[at : match.start() if match else len(text)].strip()
        if clause:
            clauses.append(clause)
            marks.append(match.group().strip()[0] if match else "")
        at = match.end() if match else at
    return clauses, marks


def _ipa(text: str, voice: str) -> list[str]:
    lines = _run(text, "-v", voice, "-q", "--ipa").decode("utf-8", "replace").splitlines()
    return [_LANGUAGE_MARK.sub("", line).replace("_", "").strip() for line in lines]


def _run(text: str, *arguments: str) -> bytes:
    # [[...]] would be read as phonemes; text never goes into the argument list.
    plain = re.sub(r"[\[\]\x00]", " ", text)
    try:
        done = subprocess.run(
            [PROGRAM, "-b", "1", *arguments, "--stdin"],
            input=plain.encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
        if not done.stdout.strip() and done.stderr.strip():  # it says so and ends with 0
            raise subprocess.CalledProcessError(0, PROGRAM, done.stdout, done.stderr)
    except subprocess.TimeoutExpired as e:
        raise StsError("MODEL_ERROR", f"{PROGRAM} took more than {_TIMEOUT_S:g} s", stage="tts", retryable=True) from e
    except (OSError, subprocess.CalledProcessError) as e:
        detail = e.stderr.decode("utf-8", "replace").strip() if isinstance(e, subprocess.CalledProcessError) else e
        raise StsError("MODEL_ERROR", f"{PROGRAM} failed: {detail}", stage="tts", retryable=True) from e
    return done.stdout
