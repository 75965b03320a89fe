"""deploy/Dockerfile, deploy/runpod and deploy/sts-fleet against what they speak of. No container engine is needed."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dubrelay import config
from dubrelay.cli import app
from dubrelay.config import Settings, Sts
from dubrelay.doctor import PYTHON
from dubrelay.errors import ConfigError
from dubrelay.wire.fragment import MAX_BODY_BYTES
from media import free_port
from sts_parts import mock_settings, service

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[1]
RUNPOD = ROOT / "deploy" / "runpod"


def _instructions() -> list[tuple[str, str]]:
    """(instruction, its arguments on one line), in order, without comments."""
    lines = [line for line in (ROOT / "deploy" / "Dockerfile").read_text("utf-8").splitlines() if line[:1] != "#"]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in whole.splitlines() if line.strip())]


INSTRUCTIONS = _instructions()


def _stage(name: str) -> list[tuple[str, str]]:
    starts = [n for n, (instruction, _) in enumerate(INSTRUCTIONS) if instruction == "FROM"]
    bounds = zip(starts, [*starts[1:], len(INSTRUCTIONS)], strict=True)
    (found,) = (INSTRUCTIONS[a:b] for a, b in bounds if INSTRUCTIONS[a][1].endswith(f" AS {name}"))
    return found


def _all(instruction: str, stage: list[tuple[str, str]] = INSTRUCTIONS) -> list[str]:
    return [rest for name, rest in stage if name == instruction]


def _environment(stage: str = "sts") -> dict[str, str]:
    return dict(word.partition("=")[::2] for rest in _all("ENV", _stage(stage)) for word in shlex.split(rest))


def _health_command() -> list[str]:
    (check,) = _all("HEALTHCHECK", _stage("sts"))
    command: list[str] = json.loads(check.partition(" CMD ")[2])
    return command


def _sent(path: str) -> bool:
    """Whether the builder gets the path: the last pattern of .dockerignore that it, or a folder above it, matches."""
    sent = True
    above = [path, *map(str, Path(path).parents)]
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.removeprefix("!").replace("**/", "*")
        if line and line[0] != "#" and any(fnmatch.fnmatchcase(p, pattern) for p in above if p != "."):
            sent = line.startswith("!")
    return sent


def test_what_is_copied_exists_and_is_sent_to_the_builder() -> None:
    sources = [s for rest in _all("COPY") if not rest.startswith("--from=") for s in shlex.split(rest)[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert _sent(source), source
    assert _sent("src/dubrelay/cli.py")


@pytest.mark.parametrize(
    "path",
    ["var/log/sts.log", ".venv/bin/python", ".git/config", "dubrelay.toml", "tests/media.py", ".env", "deploy/key.pem"],
)
def test_nothing_else_is_sent_to_the_builder(path: str) -> None:
    assert not _sent(path)
    assert not _sent("src/dubrelay/__pycache__/cli.cpython-311.pyc")


def test_every_shell_command_is_one() -> None:
    for command in _all("RUN"):
        checked = subprocess.run(["sh", "-n", "-c", command], capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, ""), command


def test_python_packages_are_those_of_the_lock_files() -> None:
    installs = [part.strip(" ;") for run in _all("RUN") for part in re.split(r"&&|\)", run) if "pip install" in part]
    for command in installs:
        assert "--no-deps" in command, command
        assert "--require-hashes" in command or "--no-index" in command, command
    named = set(re.findall(r"-r (\S+)", " ".join(installs)))
    assert named == {f"requirements/{name}.lock" for name in ("build", "runtime", "models", "cuda")}


def test_system_packages_are_those_of_set_up() -> None:
    set_up = (ROOT / "scripts" / "setup").read_text("utf-8")
    known = set(re.findall(r"system_packages=\(([^)]*)\)", set_up)[0].split()) | {"python3"}
    installed = {
        word
        for run in _all("RUN")
        for found in re.findall(r"apt-get install -y --no-install-recommends ([^&]+)", run)
        for word in found.split()
    }
    assert installed <= known
    assert {"apertium", "apertium-eng-spa", "espeak-ng", "ca-certificates"} <= installed


def test_it_is_debian_12_with_its_python() -> None:
    (debian,) = _all("ARG", INSTRUCTIONS[:1])
    assert re.fullmatch(r"DEBIAN=12\.\d+-slim", debian)
    assert _stage("base")[0][1].startswith("debian:${DEBIAN} ")
    assert set(re.findall(r"python(\d\.\d+)", _environment()["LD_LIBRARY_PATH"])) == {".".join(map(str, PYTHON))}


def test_the_libraries_of_cuda_are_found_where_their_packages_have_them() -> None:
    lock = (ROOT / "requirements" / "cuda.lock").read_text("utf-8")
    packages = re.findall(r"^nvidia-([a-z-]+)-cu12==", lock, re.MULTILINE)
    assert "cublas" in packages
    folders = _environment()["LD_LIBRARY_PATH"].split(":")
    assert [f.rpartition("site-packages/")[2] for f in folders] == [
        f"nvidia/{name.replace('-', '_')}/lib" for name in packages
    ]


def test_ports_are_those_of_the_settings() -> None:
    port = str(Sts().port)
    assert _all("EXPOSE", _stage("sts")) == [port]
    assert port in _health_command()[-1]
    assert f"-{port}.proxy" in (RUNPOD / "worker.env").read_text("utf-8")
    assert f"| `{port}`;" in (RUNPOD / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["sts", "media"])
def test_it_is_not_root_and_starts_a_command_there_is(name: str) -> None:
    stage = _stage(name)
    (user,) = _all("USER", stage)
    assert int(user) > 0
    assert f"--uid {user}" in _all("RUN", stage)[0]
    (entry,), (command,) = _all("ENTRYPOINT", stage), _all("CMD", stage)
    assert json.loads(entry) == ["dubrelay"]
    assert json.loads(command)[0] in {c.callback.__name__ for c in app.registered_commands if c.callback}


def test_no_secret_can_get_into_a_layer() -> None:
    given = " ".join(_all("ARG") + _all("ENV"))
    assert not re.search(r"KEY|TOKEN|SECRET|PASSWORD", given, re.IGNORECASE)
    assert not _all("ADD")


def test_its_environment_is_settings_and_asks_for_a_key() -> None:
    environ = {name: value for name, value in _environment().items() if name.startswith(config.ENV_PREFIX)}
    with pytest.raises(ConfigError, match="sts: key is required"):
        config.load(None, environ)
    settings = config.load(None, environ | {"DUBRELAY_STS__KEY": "k"})
    assert settings.sts.host == "0.0.0.0"
    assert str(settings.paths.models_dir) == "/models"


def test_the_media_image_has_what_streams_need_and_opens_no_port_that_tells_keys() -> None:
    environ = {name: value for name, value in _environment("media").items() if name.startswith(config.ENV_PREFIX)}
    paths = config.load(None, environ).paths
    assert f"ln -s /srv/dubrelay/var/models {paths.state_dir}/models" in _all("RUN", _stage("media"))[0]
    exposed = {int(port.partition("/")[0]) for port in _all("EXPOSE", _stage("media"))[0].split()}
    media = Settings().mediamtx
    assert exposed == {media.rtmp_port, media.srt_port, media.hls_port, Settings().orchestrator.port}
    set_up = (ROOT / "scripts" / "setup").read_text("utf-8")
    wanted = {word for word in set_up.split() if re.fullmatch(r"gstreamer1\.0-(?!tools).*|gir1\.2-.*|python3-gi", word)}
    assert wanted <= set(_all("RUN", _stage("media"))[0].split())
    assert "scripts/mediamtx /usr/local/bin/mediamtx" in _all("RUN", _stage("mediamtx"))


FLEET = ROOT / "deploy" / "sts-fleet"


def test_the_manifest_asks_the_service_where_it_answers() -> None:
    deployment, service, _ = yaml.safe_load_all((FLEET / "kubernetes.yaml").read_text("utf-8"))
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (port,) = container["ports"]
    assert port["containerPort"] == service["spec"]["ports"][0]["port"] == Sts().port
    assert container["readinessProbe"]["httpGet"] == {"path": "/health", "port": port["name"]}
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
    assert str(pod["securityContext"]["runAsUser"]) == _all("USER", _stage("sts"))[0]
    assert pod["terminationGracePeriodSeconds"] > Sts().drain_s + 5
    environ = {each["name"]: each.get("value", "a-key") for each in container["env"]}
    assert config.load(None, environ).sts.key.get_secret_value() == "a-key"
    assert "value" not in container["env"][0], "the key is a secret's"


def test_nginx_takes_what_the_service_takes_and_asks_another_one() -> None:
    text = (FLEET / "nginx.conf").read_text("utf-8")
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", text)
    assert int(megabytes) * 2**20 >= MAX_BODY_BYTES
    assert text.count(f":{Sts().port} max_fails") == 2
    assert "non_idempotent" in text
    (limit,) = re.findall(r"proxy_read_timeout (\d+)s;", text)
    assert int(limit) >= 60  # the longest timeout_ms of a request


def _written(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text("utf-8").splitlines() if line and line[0] != "#"]
    return dict(line.partition("=")[::2] for line in lines)


def test_the_pods_environment_is_settings_once_its_secret_is_put_in() -> None:
    environ = _written(RUNPOD / "service.env")
    with pytest.raises(ConfigError, match=r"DUBRELAY_STS__KEY: sts\.key = \*\*\*: must be of visible ASCII"):
        config.load(None, environ)
    assert re.fullmatch(r"\{\{ RUNPOD_SECRET_\w+ \}\}", environ["DUBRELAY_STS__KEY"])
    settings = config.load(None, environ | {"DUBRELAY_STS__KEY": "k"})
    assert settings.sts.asr == ["large", "whisper-base"]
    assert settings.sts.engines["large"].kind == "whisper"


def test_the_workers_environment_is_settings_and_goes_by_https() -> None:
    settings = config.load(None, _written(RUNPOD / "worker.env") | {"DUBRELAY_STS_CLIENT__KEY": "k"})
    assert all(url.startswith("https://") for url in settings.sts_client.urls)
    assert "KEY=" not in (RUNPOD / "worker.env").read_text("utf-8")


def _healthy(port: str) -> int:
    program, *arguments = _health_command()
    assert program == "python3"
    environ = {"DUBRELAY_STS__PORT": port, "PATH": "/usr/bin:/bin"}
    return subprocess.run([sys.executable, *arguments], env=environ, capture_output=True, check=False).returncode


def test_the_health_check_tells_a_warm_service_from_one_that_is_not_there() -> None:
    with service(mock_settings()) as running:
        assert _healthy(running.url.rpartition(":")[2]) == 0
    assert _healthy(str(free_port())) == 1


def test_the_health_check_waits_for_the_models() -> None:
    def never(*_: object) -> None:
        raise RuntimeError("no model")

    with service(mock_settings(), load=never, ready=False) as running:  # type: ignore[arg-type]
        assert _healthy(running.url.rpartition(":")[2]) == 1
