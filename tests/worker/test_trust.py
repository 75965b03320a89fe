"""Services over TLS, with certificates of the test's own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from certificates import Certificate, certificate
from dubrelay import config, logs
from dubrelay.doctor import Row, _services
from dubrelay.errors import ConfigError
from dubrelay.trust import verification
from dubrelay.wire.fragment import Context, Languages
from dubrelay.wire.worker import WorkerSettings
from dubrelay.worker.cut import Span
from dubrelay.worker.dub import Dubbed, DubClient, DubMetrics, PhraseFailed
from lying_service import serving, until

pytestmark = pytest.mark.service

LANGUAGES = Languages(source_language="en", target_language="es")


@pytest.fixture
def made(tmp_path: Path) -> Certificate:
    return certificate(tmp_path)


async def ask(url: str, ca_file: Path | None, left_s: float = 5.0) -> Dubbed | PhraseFailed:
    settings = config.StsClient(urls=[url], ca_file=ca_file)
    client = DubClient(settings, "abc", logs.get(), DubMetrics(CollectorRegistry()))
    span, sound = Span(0, 48_000, True, 0, 48_000), np.zeros(16_000, np.float32)
    try:
        answer = await client.dub(1, span, sound, 1_000, lambda: left_s, LANGUAGES, Context())
        assert isinstance(answer, Dubbed)
        return answer
    except PhraseFailed as e:
        return e
    finally:
        await client.close()


def asked_over_tls(shown: Certificate, ca_file: Path | None) -> Dubbed | PhraseFailed:
    async def run() -> Dubbed | PhraseFailed:
        async with serving(shown) as service:
            answer = await ask(service.url, ca_file)
            assert bool(service.requests) is isinstance(answer, Dubbed)
            return answer

    return asyncio.run(run())


def refusal(answer: Dubbed | PhraseFailed) -> str:
    assert isinstance(answer, PhraseFailed)
    assert answer.reason == "error"
    return answer.message


def test_a_certificate_that_comes_from_the_given_ca_is_taken(made: Certificate) -> None:
    assert isinstance(asked_over_tls(made, made.file), Dubbed)


def test_one_that_the_systems_cas_do_not_know_is_refused(made: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    assert "certificate verify failed: self-signed certificate" in refusal(asked_over_tls(made, None))


def test_one_that_comes_from_another_ca_than_the_given_is_refused(made: Certificate, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = certificate(tmp_path / "other")
    assert "certificate verify failed" in refusal(asked_over_tls(made, other.file))


def test_one_for_another_host_is_refused(tmp_path: Path) -> None:
    elsewhere = certificate(tmp_path, "DNS:sts.example")
    assert "certificate is not valid for '127.0.0.1'" in refusal(asked_over_tls(elsewhere, elsewhere.file))


def test_a_service_without_tls_is_called_so() -> None:
    async def run() -> Dubbed | PhraseFailed:
        async with serving() as service:
            return await ask(service.url.replace("http:", "https:"), None)

    assert refusal(asyncio.run(run())).startswith("the service of an https URL answers without TLS: ")


def test_a_handshake_that_hangs_passes_no_deadline_and_leaves_no_connection() -> None:
    async def run() -> None:
        opened, closed = 0, 0

        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal opened, closed
            opened += 1
            while await reader.read(4096):
                pass
            closed += 1
            writer.close()

        async with await asyncio.start_server(deaf, "127.0.0.1", 0) as server:
            answer = await ask(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", None, left_s=1)
            assert isinstance(answer, PhraseFailed)
            assert answer.reason in ("timeout", "deadline")
            await until(lambda: opened and closed == opened, "every connection to be closed")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("prepare", "problem"),
    [
        (lambda file: None, "cannot be read: No such file or directory"),
        (lambda file: file.mkdir(), "cannot be read: Is a directory"),
        (lambda file: file.write_text(""), "holds no certificate in PEM format"),
        (lambda file: file.write_bytes(bytes(range(256))), "holds no certificate in PEM format"),
    ],
    ids=["missing", "a folder", "empty", "garbage"],
)
def test_a_file_without_certificates_is_one_line_that_names_it(
    prepare: Callable[[Path], object], problem: str, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    prepare(file)
    with pytest.raises(ConfigError, match=rf"^sts_client\.ca_file = '{file}': ({problem})$"):
        verification(file)


def test_a_worker_does_not_start_with_such_a_file(tmp_path: Path) -> None:
    settings = WorkerSettings(
        stream_id="x",
        run_id="r",
        input_url="rtmp://127.0.0.1:1/live/x/in",
        output_url="rtmp://127.0.0.1:1/live/x/out",
        sts_client=config.StsClient(ca_file=tmp_path / "none.pem"),
    )
    command = [sys.executable, "-m", "dubrelay.worker"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdin is not None
        assert worker.stderr is not None
        worker.stdin.write(settings.to_json() + "\n")
        worker.stdin.flush()
        said = [json.loads(line) for line in worker.stderr if line.startswith("{")]
    assert worker.returncode == ConfigError.exit_code
    assert [line["message"] for line in said if line["event"] == "worker_failed"] == [
        f"sts_client.ca_file = '{tmp_path / 'none.pem'}': cannot be read: No such file or directory"
    ]


def test_doctor_trusts_whom_the_worker_trusts(made: Certificate, tmp_path: Path) -> None:
    async def run() -> list[list[Row]]:
        async with serving(made) as service:
            return [
                await asyncio.to_thread(_services, config.StsClient(urls=[service.url], ca_file=ca_file))
                for ca_file in (made.file, None, tmp_path / "none.pem")
            ]

    (trusted,), (unknown,), (missing,) = asyncio.run(run())
    assert (trusted.ok, trusted.found) == (True, "answers")
    assert (unknown.ok, unknown.found) == (False, "no answer")
    assert "certificate" in unknown.remedy
    assert (missing.ok, missing.name) == (False, "sts_client.ca_file")
    assert "cannot be read" in missing.remedy
