"""deploy/two-hosts: what the two files say works together, and with no other CA and no other key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from dubrelay import config, logs
from dubrelay.audio import samples_in
from dubrelay.stack import runs_sts
from dubrelay.trust import verification
from dubrelay.wire.fragment import Context, Languages
from dubrelay.worker.cut import Span
from dubrelay.worker.dub import Dubbed, DubClient, DubMetrics, PhraseFailed
from own_ca import Issued, issued
from running_sts import MOCK, RunningSts

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[1]
KEY = "two-hosts-0123456789abcdef"


def _settings(name: str, made: Issued, **environ: str) -> config.Settings:
    """Of the shipped file, its paths those of the test."""
    file = made.ca.parent / name
    text = (ROOT / "deploy" / "two-hosts" / name).read_text("utf-8")
    file.write_text(text.replace("/etc/dubrelay/tls", str(made.ca.parent)), "utf-8")
    return config.load(file, environ)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return issued(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


@pytest.fixture(scope="module")
def gpu_host(made: Issued) -> Iterator[RunningSts]:
    sts = _settings("gpu.toml", made, DUBRELAY_STS__KEY=KEY).sts
    given = {"key": KEY, "tls_cert": sts.tls_cert, "tls_key": sts.tls_key, "host": "127.0.0.1"}
    service = RunningSts(made.ca.parent, **MOCK, **given)
    with service.start_trusting(verification(made.ca)):
        yield service


def test_the_files_are_settings_and_the_gpu_host_wants_a_key(made: Issued) -> None:
    with pytest.raises(config.ConfigError, match="sts: key is required"):
        _settings("gpu.toml", made)
    assert _settings("gpu.toml", made, DUBRELAY_STS__KEY=KEY).sts.url == "https://0.0.0.0:8000"
    media = _settings("media.toml", made)
    assert not runs_sts(media)
    assert media.sts_client.urls == ["https://gpu.example:8000"]
    documented = (ROOT / "docs" / "operations.md").read_text("utf-8").replace(" ", "")
    for name in ("gpu.toml", "media.toml"):
        lines = (ROOT / "deploy" / "two-hosts" / name).read_text("utf-8").splitlines()
        for line in (line.partition("#")[0].replace(" ", "") for line in lines):
            assert line in documented, line


async def _dub(client: config.StsClient) -> Dubbed | PhraseFailed:
    dub_client = DubClient(client, "x", logs.get(), DubMetrics(CollectorRegistry()))
    speech = np.full(16_000, 0.1, np.float32)
    ends = time.monotonic() + 20
    try:
        answer = await dub_client.dub(
            1,
            Span(0, samples_in(1.0), True, 0, samples_in(1.0)),
            speech,
            1000,
            lambda: ends - time.monotonic(),
            Languages(source_language="en", target_language="es"),
            Context(),
        )
    except PhraseFailed as e:
        return e
    finally:
        await dub_client.close()
    assert isinstance(answer, Dubbed)
    return answer


def _client(made: Issued, gpu_host: RunningSts, key: str = KEY) -> config.StsClient:
    client = _settings("media.toml", made, DUBRELAY_STS_CLIENT__KEY=key).sts_client
    return client.model_copy(update={"urls": [gpu_host.url], "retries": 0})


def test_a_phrase_goes_there_and_back(made: Issued, gpu_host: RunningSts) -> None:
    assert isinstance(asyncio.run(_dub(_client(made, gpu_host))), Dubbed)


def test_another_ca_and_another_key_are_of_no_use(made: Issued, gpu_host: RunningSts, tmp_path: Path) -> None:
    stranger = issued(tmp_path, "IP:127.0.0.1")
    failed = asyncio.run(_dub(_client(made, gpu_host).model_copy(update={"ca_file": stranger.ca})))
    assert isinstance(failed, PhraseFailed)
    assert "CERTIFICATE_VERIFY_FAILED" in str(failed)
    failed = asyncio.run(_dub(_client(made, gpu_host, key="another-0123456789abcdef")))
    assert isinstance(failed, PhraseFailed)
    assert "UNAUTHORIZED" in str(failed)
