from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from dubrelay import config
from dubrelay.allowed import allowed
from dubrelay.errors import ConfigError
from dubrelay.wire.control import Control
from dubrelay.wire.worker import WorkerSettings

pytestmark = pytest.mark.unit


def _problems(text: str, tmp_path: Path) -> list[str]:
    file = tmp_path / "x.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.load(file, {})
    assert caught.value.exit_code == 2
    return caught.value.message.splitlines()


def test_no_file_and_no_environment_gives_the_defaults() -> None:
    assert config.load(None, {}) == config.Settings()


def test_environment_overrides_the_file_and_flags_override_both(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("[worker]\nlatency_s = 7\n[sts]\nport = 1\n[dub]\nvoice = 'a'\n")
    environ = {"DUBRELAY_STS__PORT": "2", "DUBRELAY_DUB__VOICE": "b", "PATH": "/bin", "DUBRELAY_HOOK": "x"}
    settings = config.load(file, environ, {"dub.voice": "c", "sts.host": None})
    assert (settings.worker.latency_s, settings.sts.port, settings.dub.voice) == (7, 2, "c")
    assert settings.sts.host == "127.0.0.1"


def test_every_problem_is_reported_with_its_key(tmp_path: Path) -> None:
    problems = _problems("[sts]\nprot = 1\nport = 'x'\n[worker]\nmode = 'dubb'\n[nonsense]\n", tmp_path)
    assert len(problems) == 4
    for expected in (
        "sts.prot: there is no such key",
        "sts.port = 'x'",
        "worker.mode = 'dubb'",
        "nonsense: there is no",
    ):
        assert any(expected in problem for problem in problems), expected


@pytest.mark.parametrize(
    "text", ["[sts]\nport = 0", "[sts]\nport = 65536", "[sts]\nport = [1]", "sts = 3", "[sts]\nasr = []"]
)
def test_a_wrong_value_is_one_line(text: str, tmp_path: Path) -> None:
    (problem,) = _problems(text, tmp_path)
    assert "x.toml: sts" in problem


@pytest.mark.parametrize(
    ("urls", "problem"),
    [
        ("'http://a'", "sts_client.urls = 'http://a'"),
        ("[]", "sts_client.urls = []"),
        ("['http://a', 'ftp://b']", "sts_client.urls.1 = 'ftp://b'"),
        ("['http://key@a']", "sts_client.urls.0 = "),
        ("['http://a/x', 'http://a/x/']", "each service may be named only once"),
    ],
)
def test_services_are_a_list_of_urls_without_credentials_each_once(urls: str, problem: str, tmp_path: Path) -> None:
    (line,) = _problems(f"[sts_client]\nurls = {urls}\n", tmp_path)
    assert problem in line


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[sts]\nport = 'x'", "sts.port = 'x': must be a whole number from 1 to 65535"),
        ("[sts]\nport = 8000.5", "sts.port = 8000.5: must be a whole number from 1 to 65535"),
        ("[sts]\nport = 65536", "sts.port = 65536: must be a whole number from 1 to 65535"),
        ("[worker]\ninput = 'udp'", "worker.input = 'udp': must be one of auto, rtmp, rtsp, srt"),
        ("[worker]\nlatency_s = 'long'", "worker.latency_s = 'long': must be a number from 1 to 60"),
        ("[sts_client]\ntimeout_s = 0", "sts_client.timeout_s = 0: must be a number over 0 and at most 60"),
        ("[sts.faults]\nseed = 'x'", "sts.faults.seed = 'x': must be a whole number"),
        ("[mix]\nseparate = 'maybe'", "mix.separate = 'maybe': must be true or false"),
        ("[mediamtx]\nhost = 3", "mediamtx.host = 3: must be text"),
        ("[paths]\nmodels_dir = 3", "paths.models_dir = 3: must be a path"),
        ("[paths]\nstate_dir = ''", "paths.state_dir = '': must not be empty; the current folder is \".\""),
        ("[sts]\nkeys_file = ''", "sts.keys_file = '': must not be empty"),
        ('[sts]\ntls_cert = "a\\u0000"\ntls_key = "b"', r"sts.tls_cert = 'a\x00': must not hold a NUL character"),
        ("[sts]\nkey = 'schlüssel'", "sts.key = ***: must be of visible ASCII characters, without spaces"),
        ("[sts_client]\nkey = ' '", "sts_client.key = ***: must be of visible ASCII characters, without spaces"),
        (f"[sts]\nport = {'9' * 5000}", "not valid TOML: "),
        (f"x = {'[' * 5000}", "not valid TOML: "),
        ("[dub]\nsource_language = 'X'", "dub.source_language = 'X': must be a language code such as en or pt-br"),
        ("[sts]\nasr = []", 'sts.asr = []: must be a list such as ["a", "b"], at least 1, each text'),
        ("[sts_client]\nurls = ['b']", "sts_client.urls.0 = 'b': must be an http or https URL without user and query"),
        ("sts = 3", "sts = 3: must be a table of keys and values"),
        ("[sts.engines.a]\nkind = 'x'", "sts.engines.a: must be a table whose kind is one of apertium, chain, "),
        ("[sts.engines.'A b']\nkind = 'mock'", "sts.engines.A b = 'A b': must be named so that it matches ^["),
        ("[sts.engines.a]\nkind = 'whisper'", "sts.engines.a.model: is missing"),
        ("[sts.engines.a]\nkind = 'chain'\nengines = []", "sts.engines.a.engines = []: must be a list such as"),
        ("[sts.engines.a]\nkind = 'mock'\nbeams = 5", "sts.engines.a.beams: there is no such key"),
        ("[worker]\nlatency_s = 5", "worker.latency_s = 5 leaves no time to dub"),
    ],
)
def test_a_refusal_says_in_words_what_is_allowed(text: str, problem: str, tmp_path: Path) -> None:
    (line,) = _problems(text, tmp_path)
    assert line.startswith(f"{tmp_path / 'x.toml'}: {problem}")


@pytest.mark.parametrize("model", [config.Settings, WorkerSettings, Control])
def test_of_every_key_it_is_known_what_is_allowed(model: type[BaseModel]) -> None:
    keys = list(_keys(model))
    assert len(keys) > 8
    assert {key: words for key in keys if not (words := allowed(model, key)[1]) or "matches" in words} == (
        {("input_url",): "text that matches ^(rtmp|rtsp|srt)://"} if model is WorkerSettings else {}
    )


def _keys(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, field in model.model_fields.items():
        yield (*above, key)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, (*above, key))


def test_a_refusal_names_the_variable_or_says_that_it_was_a_flag(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("[sts]\nport = 0\ntts = []\n[dub]\nvoice = 0\n")
    environ = {"DUBRELAY_STS__PORT": "x", "DUBRELAY_STS_CLIENT__URLS": '["b"]', "DUBRELAY_DUB__VOICE": "/"}
    with pytest.raises(ConfigError) as caught:
        config.load(file, environ, {"dub.voice": "//"})
    told = {line.partition(" = ")[0] for line in caught.value.message.splitlines()}
    assert told == {
        "environment DUBRELAY_STS__PORT: sts.port",
        "environment DUBRELAY_STS_CLIENT__URLS: sts_client.urls.0",
        "flag: dub.voice",
        f"{file}: sts.tts",
    }


def test_what_concerns_several_keys_names_the_one_place_they_are_from_or_none(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text('[worker]\nmode = "dub"\n[foo]\nin_file = 1\n')

    def problems(environ: dict[str, str], flags: dict[str, object]) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            config.load(file, environ, flags)
        return caught.value.message.splitlines()

    assert problems({}, {}) == [f"{file}: foo: there is no such key"]
    assert problems({"DUBRELAY_FOO__BAR": "1"}, {}) == ["settings: foo: there is no such key"]
    file.write_text('[worker]\nmode = "dub"\n')
    assert problems({"DUBRELAY_FOO__BAR": "1"}, {}) == ["environment DUBRELAY_FOO__BAR: foo: there is no such key"]
    assert problems({}, {"foo.bar": 1}) == ["flag: foo: there is no such key"]
    (late,) = problems({}, {"worker.latency_s": 5})
    assert late.startswith("settings: worker.latency_s = 5 leaves no time to dub")
    (open_to_all,) = problems({}, {"sts.host": "0.0.0.0"})
    assert open_to_all.startswith("flag: sts: key")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("streams", '{"main": {"destinations": [{"url": "rtmp://h/app/SECRET"}]}'),
        ("streams.main", "rtmp://h/app/SECRET"),
        ("streams.main.destinations", "rtmp://h/app/SECRET"),
        ("orchestrator", "SECRET"),
        ("alerts", "https://h/SECRET"),
    ],
)
def test_what_is_no_table_is_not_shown(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key} = \*\*\*: must be ") as caught:
        config.load(None, {}, {key: value})
    assert "SECRET" not in caught.value.message


def test_a_file_that_is_no_toml_or_not_there_is_one_line(tmp_path: Path) -> None:
    (problem,) = _problems("[sts\n", tmp_path)
    assert "not valid TOML" in problem
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        config.load(tmp_path / "none.toml", {})


def test_a_wrong_value_is_shown_without_its_password_and_not_at_length() -> None:
    with pytest.raises(ConfigError, match=r"urls\.0 = 'http://\*\*\*@a:1'") as caught:
        config.load(None, {}, {"sts_client.urls": ["http://user:hunter2@a:1"]})
    assert "hunter2" not in caught.value.message
    with pytest.raises(ConfigError, match=r"dub\.voice") as caught:
        config.load(None, {}, {"dub.voice": "x" * 100_000})
    assert len(caught.value.message) < 500


def test_a_latency_that_leaves_no_time_to_dub_says_how_much_is_needed() -> None:
    with pytest.raises(ConfigError, match=r"worker\.latency_s = 5 .* = 5\.5"):
        config.load(None, {}, {"worker.latency_s": 5})
    assert config.load(None, {}, {"worker.latency_s": 5, "worker.mode": "bypass"}).worker.latency_s == 5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[streams.x]\nmode = 'bypass'\nprogramme = 'dub'", "streams.x: programme = 'dub' needs mode = 'dub'"),
        (
            "[worker]\nmode = 'bypass'\n[streams.x]\nprogramme = 'dub'",
            "streams.x: programme = 'dub' needs mode = 'dub'",
        ),
        (
            "[worker]\nmode = 'bypass'\nlatency_s = 5\n[streams.x]\nmode = 'dub'",
            "streams.x: worker.latency_s = 5 leaves no time to dub",
        ),
        ("[streams.x]\nvolume = 3", "streams.x.volume: there is no such key"),
        ("[streams.'a.b']\nmode = 'dub'", "streams.a.b = 'a.b': must be"),
        ("[publisher]\nlang = ['english']", "publisher.lang.0 = 'english': must be a language code"),
    ],
)
def test_what_is_different_for_a_stream_goes_with_the_rest(text: str, problem: str, tmp_path: Path) -> None:
    (line,) = _problems(text, tmp_path)
    assert line.startswith(f"{tmp_path / 'x.toml'}: {problem}")


def test_whether_anything_is_dubbed() -> None:
    bypass = config.Settings(worker=config.Worker(mode="bypass"))
    assert not bypass.dubs
    assert config.Settings(streams={"x": config.Stream(mode="bypass")}).dubs
    assert bypass.model_copy(update={"streams": {"x": config.Stream(mode="dub")}}).dubs


def test_the_service_needs_a_key_off_loopback() -> None:
    with pytest.raises(ConfigError, match=r"sts: key is required"):
        config.load(None, {}, {"sts.host": "0.0.0.0"})
    assert config.load(None, {}, {"sts.host": "0.0.0.0", "sts.key": "hush-hush"})


@pytest.mark.parametrize(
    "key", ["sts.key", "orchestrator.hook_token", "orchestrator.api_token", "orchestrator.internal_secret"]
)
def test_a_secret_is_never_shown(key: str) -> None:
    assert "hush-hush-hush-hush" not in repr(config.load(None, {}, {key: "hush-hush-hush-hush"}))
    with pytest.raises(ConfigError) as caught:
        config.load(None, {}, {key: ["hush-hush-hush-hush"]})
    assert "hush-hush" not in caught.value.message


@pytest.mark.parametrize("token", ["too-short", "sixteen letters!", "a" * 513, "0123456789abcdef?x=1"])
@pytest.mark.parametrize("key", ["api_token", "internal_secret"])
def test_a_token_that_is_weak_or_no_part_of_a_url_is_refused_unseen(key: str, token: str) -> None:
    with pytest.raises(ConfigError, match=rf"orchestrator\.{key} = \*\*\*: must be 16 to 512 letters"):
        config.load(None, {}, {f"orchestrator.{key}": token})


def test_publishing_without_a_key_stays_on_this_machine() -> None:
    assert config.load(None, {}, {"access.publishers": "open"})
    for host in ("0.0.0.0", "::", "10.0.0.5", "media.example"):
        with pytest.raises(ConfigError, match=r"access\.publishers = 'open' .* not with mediamtx\.host"):
            config.load(None, {}, {"access.publishers": "open", "mediamtx.host": host})


def test_networks_of_our_own_are_networks() -> None:
    assert config.load(None, {}, {"access.internal_networks": ["10.0.3.0/24", "fd00::/64"]})
    with pytest.raises(ConfigError, match=r"access\.internal_networks.*'10\.0\.3\.1/24' is no network"):
        config.load(None, {}, {"access.internal_networks": ["10.0.3.1/24"]})


@pytest.mark.parametrize(
    "engines",
    [
        '{"x": {"kind": "openai-transcription", "url": "http://a", "model": "m", "key": "hush-hush"',  # no JSON
        '[{"key": "hush-hush"}]',
        '{"x": "key = hush-hush"}',
        '{"x": {"kind": "openai-transcription", "url": "http://a", "model": "m", "key": ["hush-hush"]}}',
        '{"x": {"kind": "whisper", "model": {"key": "hush-hush"}}}',
    ],
)
def test_an_engines_key_is_not_shown_whatever_is_wrong_around_it(engines: str) -> None:
    with pytest.raises(ConfigError, match=r"sts\.engines") as caught:
        config.load(None, {"DUBRELAY_STS__ENGINES": engines})
    assert "hush-hush" not in caught.value.message


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("media", False)],
)
def test_loopback(host: str, expected: bool) -> None:
    assert config.is_loopback(host) is expected


_NAMES = st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=9), min_size=1)


@given(
    port=st.integers(1, 65535),
    names=_NAMES,
    key=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20).filter(lambda s: s[:1] not in "[{"),
    separate=st.booleans(),
    max_lag_s=st.floats(0, 10),
    rate=st.floats(0, 1),
    urls=st.lists(st.integers(1, 9).map("https://sts{}.example/a,b".format), min_size=1, unique=True),
)
def test_settings_survive_the_way_through_the_environment(
    port: int, names: list[str], key: str, separate: bool, max_lag_s: float, rate: float, urls: list[str]
) -> None:
    base = config.Settings()
    settings = base.model_copy(
        update={
            "sts": base.sts.model_copy(
                update={
                    "port": port,
                    "asr": names,
                    "key": SecretStr(key),
                    "faults": base.sts.faults.model_copy(update={"fail_rate": rate}),
                }
            ),
            "worker": base.worker.model_copy(update={"slate": Path("/a b/slate.mp4")}),
            "mix": base.mix.model_copy(update={"separate": separate, "max_lag_s": max_lag_s}),
            "paths": base.paths.model_copy(update={"models_dir": Path("/a b/ç")}),
            "sts_client": base.sts_client.model_copy(update={"urls": urls, "ca_file": Path("/a b/ca.pem")}),
            "publisher": config.Publisher(lang=("es", "pt-br"), voice=()),
            "streams": {
                "a-B_1": config.Stream(
                    mode="bypass",
                    floor_gain_db=-0.5,
                    glossary=(config.Term(source="ç"),),
                    publisher_src=(),
                    destinations=(config.Destination(name="a", url=SecretStr("rtmp://a/b?c=d")),),
                ),
                "b": config.Stream(),
            },
        }
    )
    assert config.load(None, config.to_environ(settings)) == settings


HOOK = "[[alerts.webhooks]]\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f'{HOOK}name = "a"\nurl = "ftp://h/SECRET"', "alerts.webhooks.0.url = ***: must be an http or https URL"),
        (f'{HOOK}name = "a"\nurl = "https://u:SECRET@h/x"', "alerts.webhooks.0.url = ***: must be an http or https"),
        (f'{HOOK}name = "a"', "alerts.webhooks.0: url or url_file must be set, and not both"),
        (f'{HOOK}name = "A"\nurl = "https://h/x"', "alerts.webhooks.0.name = 'A': must be 1 to 32 lower-case"),
        (
            f'{HOOK}name = "a"\nurl = "https://h/SECRET"\nformat = "xml"',
            "alerts.webhooks.0.format = 'xml': must be one of json, slack",
        ),
        ('[alerts]\nwebhooks = "https://h/SECRET"', "alerts.webhooks = ***: must be a list, at most 16, each a table"),
        ('[alerts]\nwebhooks = ["https://h/SECRET"]', "alerts.webhooks.0 = ***: must be a table of keys and values"),
        ("[alerts]\nresolve_after_s = -1", "alerts.resolve_after_s = -1: must be a number from 0 to 3600"),
    ],
)  # fmt: skip
def test_a_refusal_of_a_webhook_says_what_is_wrong_and_never_its_url(text: str, problem: str, tmp_path: Path) -> None:
    (line,) = _problems(text, tmp_path)
    assert problem in line
    assert "SECRET" not in line


def test_webhooks_go_by_environment_to_a_child() -> None:
    hook = {"name": "a", "url": "https://h/SECRET", "rules": ["EgressDown"], "format": "slack"}
    settings = config.load(None, {"DUBRELAY_ALERTS__WEBHOOKS": json.dumps([hook])})
    assert config.load(None, config.to_environ(settings)) == settings
    assert "SECRET" not in repr(settings)
