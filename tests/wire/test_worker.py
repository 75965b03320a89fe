from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from dubrelay.config import Dub, MediaMtx, Out, Settings, StsClient
from dubrelay.errors import ConfigError
from dubrelay.wire.worker import WorkerSettings

pytestmark = pytest.mark.unit


def test_a_streams_settings_are_those_of_the_file_and_its_addresses() -> None:
    settings = Settings(mediamtx=MediaMtx(rtmp_port=2935, rtsp_port=2554, srt_port=2890), dub=Dub(target_language="fr"))
    worker = WorkerSettings.for_stream(settings, "abc", "run-1", "rtmp")
    assert worker.input_url == "rtmp://127.0.0.1:2935/live/abc/in"
    assert worker.output_url == "rtmp://127.0.0.1:2935/live/abc/out"
    assert worker.dub.target_language == "fr"
    assert WorkerSettings.for_stream(settings, "abc", "run-1", "rtsp").input_url == "rtsp://127.0.0.1:2554/live/abc/in"
    assert (
        WorkerSettings.for_stream(settings, "abc", "run-1", "srt").input_url
        == "srt://127.0.0.1:2890?streamid=read:live/abc/in"
    )


def test_both_sounds_have_an_address_where_the_original_is_kept() -> None:
    assert WorkerSettings.for_stream(Settings(), "abc", "run-1", "rtmp").languages_url == ""
    keeps = Settings(out=Out(keep_original=True))
    url = WorkerSettings.for_stream(keeps, "abc", "run-1", "rtmp").languages_url
    assert url == "rtmp://127.0.0.1:1935/live/abc/languages"


def test_services_their_key_and_whom_to_trust_reach_the_worker() -> None:
    client = StsClient(urls=["https://a", "https://b"], key=SecretStr("hush-hush"), ca_file=Path("/srv/ca.pem"))
    worker = WorkerSettings.for_stream(Settings(sts_client=client), "abc", "run-1", "rtmp")
    assert WorkerSettings.model_validate_json(worker.to_json()).sts_client == client


@pytest.mark.parametrize("stream_id", ["", "../etc", "a;b", "a/b", "-a", "a" * 65])
def test_what_is_no_stream_id_is_refused(stream_id: str) -> None:
    with pytest.raises(ConfigError, match="stream_id"):
        WorkerSettings.for_stream(Settings(), stream_id, "run-1", "rtmp")
