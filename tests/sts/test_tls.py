from __future__ import annotations

import subprocess
from pathlib import Path

import httpx2
import pytest

from certificates import Certificate, certificate
from dubrelay.config import Settings
from dubrelay.errors import ConfigError
from dubrelay.trust import server_context, verification
from running_sts import MOCK, RunningSts
from sts_parts import buzz, request_for

pytestmark = pytest.mark.service


@pytest.fixture
def own(tmp_path: Path) -> Certificate:
    return certificate(tmp_path)


def test_the_service_speaks_https(own: Certificate, tmp_path: Path) -> None:
    sts = RunningSts(tmp_path, **MOCK, tls_cert=own.file, tls_key=own.key)
    assert sts.url.startswith("https://")
    trust = verification(own.file)
    with sts.start_trusting(trust), httpx2.Client(base_url=sts.url, verify=trust, trust_env=False) as client:
        answer = client.post("/api/v1/sts/process", json=request_for(buzz(0.5)).model_dump())
        assert (answer.status_code, answer.json()["status"]) == (200, "success")
        with pytest.raises(httpx2.TransportError):
            httpx2.get(sts.url.replace("https", "http") + "/health", trust_env=False)
        with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx2.get(sts.url + "/health", trust_env=False)


def test_without_settings_there_is_no_tls() -> None:
    assert server_context("sts", None, None) is None


@pytest.mark.parametrize("name", ["tls_cert", "tls_key"])
def test_certificate_and_key_go_together(name: str) -> None:
    other = "tls_key" if name == "tls_cert" else "tls_cert"
    with pytest.raises(ValueError, match=f"tls_cert and tls_key go together: {other} is not set"):
        Settings.model_validate({"sts": {name: "x.pem"}})


def refusal(cert: Path, key: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        server_context("sts", cert, key)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_file_that_is_not_there_is_named(own: Certificate, tmp_path: Path) -> None:
    none = tmp_path / "none.pem"
    assert refusal(none, own.key) == f"sts.tls_cert = '{none}': cannot be read: No such file or directory"
    assert refusal(own.file, none) == f"sts.tls_key = '{none}': cannot be read: No such file or directory"


def test_files_that_do_not_belong_together_are_named(own: Certificate, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = certificate(tmp_path / "other")
    said = refusal(own.file, other.key)
    assert said.startswith(f"sts.tls_cert = '{own.file}', sts.tls_key = '{other.key}': of no use together: ")
    assert "of no use together" in refusal(own.key, own.file)


def test_an_encrypted_key_is_refused_and_not_asked_for(own: Certificate, tmp_path: Path) -> None:
    locked = tmp_path / "locked.pem"
    command = ["openssl", "ec", "-in", own.key, "-aes256", "-passout", "pass:secret", "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    assert "of no use together" in refusal(own.file, locked)


def test_what_a_proxy_claims_changes_nothing(tmp_path: Path) -> None:
    with RunningSts(tmp_path, **MOCK, key="k3y") as sts:
        claims = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "elsewhere"}
        answer = httpx2.get(f"{sts.url}/health/", headers=claims, trust_env=False)
        assert (answer.status_code, "location" in answer.headers) == (404, False)
        assert httpx2.get(f"{sts.url}/api/v1/engines", headers=claims, trust_env=False).status_code == 401
