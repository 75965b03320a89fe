"""The commands. Each reads the settings once and hands them to its room, which is imported only then.

Settings come from --config (or ./dubrelay.toml, or the built-in defaults), then DUBRELAY_SECTION__KEY of the
environment, then --set and the flags of the command itself.
"""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dubrelay import __version__, config, logs
from dubrelay.config import Mode, Paths, Role, Settings, Stream, WayIn
from dubrelay.errors import EXIT_OK, ConfigError, StartupError
from dubrelay.wire.firstrun import FIRST_STREAM
from dubrelay.wire.status import SoundName

if TYPE_CHECKING:
    from dubrelay.models.catalogue import Model
    from dubrelay.orchestrator.keys import Side

DEFAULT_CONFIG = Path("dubrelay.toml")
EXIT_NOT_DUBBED = 1
EXIT_BROKEN = 1
DAY_S = 86_400.0
_MOST_DAYS = 36_500
_LAST_DATE_S = 253_402_300_800
"""Which datetime can no longer write."""
MOCK_ENGINES: dict[str, Any] = {"sts.asr": ["mock"], "sts.mt": ["mock"], "sts.tts": ["mock"], "sts.tts_fast": []}

app = typer.Typer(
    name="dubrelay",
    help="Self-hosted live dubbing: a stream goes in, the same picture comes out in another language.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

engines_app = typer.Typer(add_completion=False)
app.add_typer(engines_app, name="engines")

keys_app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Keys for publishers and viewers, tokens for the API, links that end by themselves.",
)
app.add_typer(keys_app, name="keys")

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings (TOML). Default: ./dubrelay.toml if it is there."),
]
SetKeys = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as worker.latency_s=6; may be repeated."),
]


def settings_from(file: Path | None, keys: list[str] | None, flags: dict[str, Any] | None = None) -> Settings:
    """The settings of this process; flags that are None leave their key alone, also one that --set sets."""
    overrides: dict[str, Any] = {}
    for given in keys or []:
        key, equals, value = given.partition("=")
        if not equals:
            raise ConfigError(f"--set {given}: must be KEY=VALUE, such as worker.latency_s=6")
        overrides[key.strip()] = config.from_text(value)
    if file is None and DEFAULT_CONFIG.is_file():
        file = DEFAULT_CONFIG
    given_flags = {key: value for key, value in (flags or {}).items() if value is not None}
    return config.load(file, os.environ, overrides | given_flags)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dubrelay {__version__}")
        raise typer.Exit(EXIT_OK)


@app.callback()
def dubrelay(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")] = False,
) -> None:
    pass


@app.command()
def up(config_file: ConfigFile = None, keys: SetKeys = None) -> int:
    """Start everything on this machine and wait for publishers."""
    from dubrelay import stack  # noqa: PLC0415

    settings = settings_from(config_file, keys)
    try:
        with stack.running(settings, _say) as here:
            silent, made = stack.silent_services(here.settings), _first_key(here.settings)
            typer.echo(f"\n{_what(here.settings, silent)} {_where(here.settings, made)}")
            signal.pause()
    except KeyboardInterrupt:
        _say("stopped")
    return EXIT_OK


def _say(line: str) -> None:
    with suppress(OSError):  # whoever read it has gone: no reason to take anything off air
        typer.echo(f"dubrelay: {line}", err=True)


def _what(settings: Settings, silent: list[str]) -> str:
    """What is up, and what is not: `silent` are the URLs of STS services that are not ready."""
    dub, worker = settings.dub, settings.worker
    if worker.mode == "bypass":
        return f"Everything is up: streams go out as they came in, {worker.bypass_latency_s:g} s behind."
    up = f"{dub.source_language} to {dub.target_language}, {worker.latency_s:g} s behind."
    if not silent:
        return f"Everything is up: {up}"
    others = len(silent) < len(settings.sts_client.urls)
    heard = "the others dub meanwhile" if others else f"until one is, phrases become the fallback ({dub.fallback})"
    return f"Up, but no STS service is ready at {' and '.join(silent)}: {heard}.\n{up}"


def _first_key(settings: Settings) -> str:
    """One for stream FIRST_STREAM where nobody could publish anything yet; empty otherwise."""
    from dubrelay.orchestrator import keys as store  # noqa: PLC0415

    file = store.file_of(settings.paths)
    ring = store.read(file)
    if settings.access.publishers == "open" or ring.publishers or FIRST_STREAM in {key.name for key in ring.keys}:
        return ""
    return store.new(file, FIRST_STREAM, "publish", stream=FIRST_STREAM)


def _where(settings: Settings, first_key: str) -> str:
    """Where to publish and where to watch. `first_key`: the key of FIRST_STREAM, where it was made just now."""
    from dubrelay.orchestrator.addresses import reached_at  # noqa: PLC0415

    m = settings.mediamtx
    host = reached_at(m.host)
    rtmp = f"rtmps://{host}:{m.rtmps_port}" if m.tls_cert else f"rtmp://{host}:{m.rtmp_port}"
    stream = FIRST_STREAM if first_key else "STREAM"
    query = "" if settings.access.publishers == "open" else f"?key={first_key or 'KEY'}"
    hint = "STREAM is a name of your choice."
    if first_key:
        hint = "The key is shown only now. For another stream: `dubrelay keys new NAME --publish STREAM`."
    elif query:
        hint = (
            "KEY is the stream's: `dubrelay keys list` names them, `dubrelay keys new NAME --publish STREAM` makes one."
        )
    link = "" if settings.access.readers == "open" else "?LINK"
    if link:
        hint += "\nLINK opens the output for a day: `dubrelay keys link STREAM`."
    published = f'"{rtmp}/live/{stream}/in{query}"'
    return f"""\
{hint}

  publish   OBS     server {rtmp}/live
                    stream key {stream}/in{query}
            ffmpeg  ffmpeg -re -i FILE -c:v libx264 -g 50 -pix_fmt yuv420p -c:a aac -f flv {published}
  watch     browser http://{host}:{m.hls_port}/live/{stream}/out/{link}
            player  rtmp://{reached_at(m.rtmp_host)}:{m.rtmp_port}/live/{stream}/out{link}
  look      status  {settings.orchestrator.url}/     metrics {settings.orchestrator.url}/metrics
            logs    {settings.paths.state_dir / "log"}/

Ctrl-C ends all of it."""


@app.command()
def demo(
    seconds: Annotated[float | None, typer.Option(min=1, help="Stop after so long; then a summary.")] = None,
    source: Annotated[Path | None, typer.Option("--input", help="A recording, or a folder of them.")] = None,
    target: Annotated[str | None, typer.Option("--to", help="Language to dub into.")] = None,
    config_file: ConfigFile = None,
    keys: SetKeys = None,
) -> int:
    """Start everything, publish a programme, and show each phrase as it is dubbed."""
    from dubrelay import demo as room  # noqa: PLC0415

    settings = settings_from(config_file, keys, {"dub.target_language": target})
    return room.run(settings, seconds, source, settings.dub.target_language)


@app.command()
def dub(
    source: Annotated[Path, typer.Argument(metavar="IN", help="wav, mp4, ..., or a folder of them.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="wav, mp4, ...; a folder when IN is one.")],
    target: Annotated[str | None, typer.Option("--to", help="Language to dub into.")] = None,
    spoken: Annotated[str | None, typer.Option("--from", help="Language that is spoken.")] = None,
    config_file: ConfigFile = None,
    keys: SetKeys = None,
) -> int:
    """Dub a file, or the files of a folder, without servers."""
    from dubrelay import offline  # noqa: PLC0415

    settings = settings_from(config_file, keys, {"dub.target_language": target, "dub.source_language": spoken})
    worked = [_dub_one(settings, *pair) for pair in offline.recordings(source, out)]
    return EXIT_OK if all(worked) else EXIT_NOT_DUBBED


def _dub_one(settings: Settings, source: Path, out: Path) -> bool:
    """False when there was something to dub and none of it could be."""
    from rich.progress import Progress  # noqa: PLC0415

    from dubrelay import offline  # noqa: PLC0415

    languages = settings.dub.target_language, settings.dub.source_language
    with Progress(transient=True) as bar:
        task = bar.add_task(f"dubbing {source.name}", total=None)
        report = offline.dub_file(
            settings, source, out, *languages, lambda done, total: bar.update(task, completed=done, total=total or None)
        )
    typer.echo(
        f"{out}: {report.seconds:.1f} s, {report.dubbed} phrases dubbed, {report.failed} failed, "
        f"{report.original} left in the original, {report.no_speech} without speech"
    )
    for message in report.messages:
        _say(message)
    return report.dubbed > 0 or not report.failed


@app.command()
def orchestrator(config_file: ConfigFile = None, keys: SetKeys = None) -> int:
    """Run the orchestrator: one worker for each stream that MediaMTX has."""
    from dubrelay.orchestrator.app import serve  # noqa: PLC0415

    settings = settings_from(config_file, keys)
    logs.setup("orchestrator", settings.log.level, settings.log.format)
    serve(settings)
    return EXIT_OK


@app.command()
def worker(
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="Reads live/STREAM/in, publishes live/STREAM/out.")],
    mode: Annotated[Mode | None, typer.Option(help="bypass: republish only.")] = None,
    protocol: Annotated[WayIn | None, typer.Option("--input", help="auto is rtmp here.")] = None,
    metrics_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Serve /metrics on loopback.")] = None,
    config_file: ConfigFile = None,
    keys: SetKeys = None,
) -> int:
    """Run one worker by itself, where no orchestrator runs one: two would throw each other out of live/STREAM/out.

    Lines on stdin are controls: {"programme": "bypass"}.
    """
    from dubrelay.wire.worker import WorkerSettings  # noqa: PLC0415
    from dubrelay.worker.alone import refuse_second_worker  # noqa: PLC0415
    from dubrelay.worker.run import leave, run  # noqa: PLC0415

    settings = settings_from(config_file, keys, {"worker.mode": mode, "worker.input": protocol})
    way_in = settings.worker.input if settings.worker.input != "auto" else "rtmp"
    table = settings.streams.get(stream, Stream())
    if mode is not None:
        table = table.model_copy(update={"mode": mode})
    stream_settings = WorkerSettings.for_stream(settings, stream, uuid.uuid4().hex, way_in, table)
    refuse_second_worker(settings, stream)
    leave(run(stream_settings, on_end_of_stdin=lambda _: None, metrics_port=metrics_port))


@app.command()
def sts(
    mock: Annotated[bool, typer.Option("--mock", help="Mock engines: a tone instead of speech.")] = False,
    mock_delay_ms: Annotated[int | None, typer.Option(help="Answer so much later.")] = None,
    mock_jitter_ms: Annotated[int | None, typer.Option(help="And up to so much more.")] = None,
    mock_fail_rate: Annotated[float | None, typer.Option(help="Share of requests that fail, 0 to 1.")] = None,
    mock_hang_rate: Annotated[float | None, typer.Option(help="Share that is never answered.")] = None,
    mock_garbage_rate: Annotated[float | None, typer.Option(help="Share that gets nonsense.")] = None,
    mock_drip_rate: Annotated[float | None, typer.Option(help="Share that gets a few bytes at a time.")] = None,
    mock_fail_status: Annotated[list[int] | None, typer.Option(help="HTTP status of a failure; several.")] = None,
    mock_garbage: Annotated[
        list[str] | None, typer.Option(help="Kind of nonsense; several: sts.faults.garbage.")
    ] = None,
    mock_seed: Annotated[int | None, typer.Option(help="Which requests get which fault.")] = None,
    config_file: ConfigFile = None,
    keys: SetKeys = None,
) -> int:
    """Run the speech-to-speech service."""
    from dubrelay.sts.app import serve  # noqa: PLC0415

    faults = {
        "sts.faults.delay_ms": mock_delay_ms,
        "sts.faults.jitter_ms": mock_jitter_ms,
        "sts.faults.fail_rate": mock_fail_rate,
        "sts.faults.hang_rate": mock_hang_rate,
        "sts.faults.garbage_rate": mock_garbage_rate,
        "sts.faults.drip_rate": mock_drip_rate,
        "sts.faults.fail_status": mock_fail_status,
        "sts.faults.garbage": mock_garbage,
        "sts.faults.seed": mock_seed,
    }
    settings = settings_from(config_file, keys, faults | (MOCK_ENGINES if mock else {}))
    logs.setup("sts", settings.log.level, settings.log.format)
    serve(settings)
    return EXIT_OK


@app.command()
def sts_check(
    url: Annotated[str, typer.Argument(metavar="URL", help="Of the service, such as http://127.0.0.1:8000.")],
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Holds the key; default sts_client.key.")
    ] = None,
    source: Annotated[str, typer.Option("--from", help="Language of the speech that is sent.")] = "en",
    target: Annotated[str, typer.Option("--to", help="Language to dub into.")] = "es",
    speech_file: Annotated[
        Path | None, typer.Option("--speech", metavar="FILE", help="16-bit WAV of speech; default: English, made here.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the verdicts there.")] = None,
    config_file: ConfigFile = None,
    keys: SetKeys = None,
) -> int:
    """Try whether a speech-to-speech service keeps the contract; exit code 0 if it does."""
    from rich.console import Console  # noqa: PLC0415

    from dubrelay import sts_check as room  # noqa: PLC0415
    from dubrelay.sts_check import speech  # noqa: PLC0415
    from dubrelay.trust import verification  # noqa: PLC0415

    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"URL = {url!r}: must be http://HOST[:PORT] or https://HOST[:PORT]")
    client = settings_from(config_file, keys, {"sts_client.urls": [url]}).sts_client
    if source != speech.LANGUAGE and speech_file is None:
        raise ConfigError(f"--from {source}: needs --speech FILE in that language")
    if json_file is not None:
        _check_writable(json_file)
    key = client.key.get_secret_value() if key_file is None else _first_line(key_file)
    sound = speech.spoken() if speech_file is None else speech.recorded(speech_file)
    verify, console = verification(client.ca_file), Console()
    with console.status("") as status:
        verdicts = room.check(url, sound, source, target, key, verify, status.update)
    room.show(url, verdicts, console)
    if json_file is not None:
        json_file.write_text(json.dumps(room.as_json(url, verdicts), indent=2) + "\n", "utf-8")
    return EXIT_BROKEN if room.broken(verdicts) else EXIT_OK


def _check_writable(json_file: Path) -> None:
    """ConfigError now, and not after minutes."""
    try:
        json_file.open("a").close()
    except OSError as e:
        raise ConfigError(f"--json {json_file}: cannot be written: {e.strerror}") from e


def _first_line(key_file: Path) -> str:
    """A key. ConfigError without it."""
    try:
        key = key_file.read_text("utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"--key-file {key_file}: cannot be read: {getattr(e, 'strerror', 'not text')}") from e
    if not key.isascii() or not key.isprintable() or not key:
        raise ConfigError(f"--key-file {key_file}: its first line must be the key, in ASCII")
    return key


@app.command()
def trace(
    stream: Annotated[str | None, typer.Argument(metavar="STREAM", help="Without: which streams have one.")] = None,
    last: Annotated[int, typer.Option(min=1, help="So many phrases.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="All that is known of them, one JSON object a line.")] = False,
    phrase: Annotated[int | None, typer.Option(min=0, help="One phrase, by its number.")] = None,
    wav: Annotated[Path | None, typer.Option(metavar="FILE", help="Write its sound there (trace.sounds).")] = None,
    sound: Annotated[SoundName | None, typer.Option(help="Only this one; all, one after the other, otherwise.")] = None,
    config_file: ConfigFile = None,
    keys: SetKeys = None,
) -> int:
    """Show what became of a stream's latest phrases, and play them back."""
    from rich.console import Console  # noqa: PLC0415

    from dubrelay import tracing  # noqa: PLC0415

    paths, console = settings_from(config_file, keys).paths, Console()
    if wav is not None and phrase is None:
        raise ConfigError("--wav needs --phrase NUMBER")
    if stream is None:
        tracing.show_streams(paths, console)
        return EXIT_OK
    found = tracing.latest(paths, stream, None if phrase is not None else last)
    if phrase is not None:
        found = [tracing.numbered(found, phrase)]
    if wav is not None:
        tracing.play_back(paths, found[0], sound, wav)
        typer.echo(f"{wav}: {', '.join(found[0].sounds) if sound is None else sound}")
    elif as_json:
        for record in found:
            typer.echo(record.model_dump_json())
    else:
        tracing.show(found, console)
    return EXIT_OK


@app.command()
def status(
    once: Annotated[bool, typer.Option("--once", help="Once; also where the output is no terminal.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Once, all that is known, as JSON on one line.")] = False,
    url: Annotated[str | None, typer.Option(help="The orchestrator's; default: where the settings put it.")] = None,
    config_file: ConfigFile = None,
    keys: SetKeys = None,
) -> int:
    """Show the streams of a running orchestrator, once a second."""
    from rich.console import Console  # noqa: PLC0415

    from dubrelay import status as room  # noqa: PLC0415

    settings, console = settings_from(config_file, keys).orchestrator, Console()
    with room.Orchestrator(url or settings.url, settings.api_token.get_secret_value()) as orchestrator:
        if as_json:
            typer.echo(room.as_json(orchestrator.streams()))
        elif once or not console.is_terminal:
            console.print(room.table(orchestrator.streams()))
        else:
            with suppress(KeyboardInterrupt):
                room.follow(orchestrator, console)
    return EXIT_OK


@app.command()
def mediamtx(
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="Its configuration; default: ours.")] = None,
    config_file: ConfigFile = None,
    keys: SetKeys = None,
) -> int:
    """Run MediaMTX alone, in place of this process, with the addresses and hooks that the settings say."""
    from dubrelay import stack  # noqa: PLC0415

    stack.become_mediamtx(settings_from(config_file, keys), os.environ, file)


@app.command()
def doctor(
    installed: Annotated[bool, typer.Option("--installed", help="Only what is installed, no ports, no room.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The table as JSON on one line.")] = False,
    config_file: ConfigFile = None,
    keys: SetKeys = None,
) -> int:
    """Say of each thing needed whether it is there, and what to do if not."""
    from dubrelay import doctor as room  # noqa: PLC0415

    settings = settings_from(config_file, keys)
    rows = room.installed(settings) if installed else room.check(settings)
    if as_json:
        typer.echo(room.as_json(rows))
    else:
        room.show(rows)
    return EXIT_OK if all(row.ok for row in rows) else StartupError.exit_code


StreamSide = Annotated[
    str, typer.Argument(metavar="STREAM[/in]", help="The stream's output; with /in its input, the original.")
]


@keys_app.command("new")
def keys_new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the key, for lists and logs.")],
    publish: Annotated[str | None, typer.Option(metavar="STREAM", help="It publishes this stream.")] = None,
    watch: Annotated[str | None, typer.Option(metavar="STREAM[/in]", help="It watches this stream.")] = None,
    role: Annotated[Role | None, typer.Option(help="It is a token for the API.")] = None,
    days: Annotated[
        float | None, typer.Option(min=0.001, max=_MOST_DAYS, help="It ends after so long; otherwise never.")
    ] = None,
    config_file: ConfigFile = None,
    keys: SetKeys = None,
) -> int:
    """Make a key and say it, once: only its digest is kept."""
    from dubrelay.orchestrator import keys as store  # noqa: PLC0415

    if [publish, watch, role].count(None) != 2:
        raise ConfigError("a key is for one thing: --publish STREAM, --watch STREAM or --role ROLE")
    file = store.file_of(settings_from(config_file, keys).paths)
    lasts_s = None if days is None else days * DAY_S
    if publish is not None:
        typer.echo(store.new(file, name, "publish", stream=publish, lasts_s=lasts_s))
    elif watch is not None:
        stream, side = _side_of(watch)
        typer.echo(store.new(file, name, "watch", stream=stream, side=side, lasts_s=lasts_s))
    else:
        typer.echo(store.new(file, name, "api", role=role, lasts_s=lasts_s))
    return EXIT_OK


@keys_app.command("list")
def keys_list(config_file: ConfigFile = None, keys: SetKeys = None) -> int:
    """List the keys, without what is secret of them."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from dubrelay.orchestrator import keys as store  # noqa: PLC0415

    table = Table("name", "opens", "made", "ends")
    for key in store.read(store.file_of(settings_from(config_file, keys).paths)).keys:
        table.add_row(key.name, key.opens(), _date(key.created), _date(key.expires) if key.expires else "-")
    Console().print(table)
    return EXIT_OK


@keys_app.command("revoke")
def keys_revoke(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Keys that open nothing any more.")
    ] = None,
    links: Annotated[bool, typer.Option("--links", help="All links that were made so far.")] = False,
    config_file: ConfigFile = None,
    keys: SetKeys = None,
) -> int:
    """Take keys or links back. Who is in already stays in until the connection ends."""
    from dubrelay.orchestrator import keys as store  # noqa: PLC0415

    if not names and not links:
        raise ConfigError("name the keys, or say --links")
    file = store.file_of(settings_from(config_file, keys).paths)
    store.revoke(file, names or [])
    if links:
        store.revoke_links(file)
    return EXIT_OK


@keys_app.command("link")
def keys_link(
    stream: StreamSide,
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 366, help="It ends after so long.")] = 24.0,
    config_file: ConfigFile = None,
    keys: SetKeys = None,
) -> int:
    """Make links that watch a stream until they end."""
    from dubrelay.orchestrator import keys as store  # noqa: PLC0415
    from dubrelay.orchestrator.addresses import reached_at  # noqa: PLC0415

    settings = settings_from(config_file, keys)
    name, side = _side_of(stream)
    query, m = store.link(store.file_of(settings.paths), name, side, hours * 3600), settings.mediamtx
    typer.echo(f"http://{reached_at(m.host)}:{m.hls_port}/live/{name}/{side}/?{query}")
    typer.echo(f"rtmp://{reached_at(m.rtmp_host)}:{m.rtmp_port}/live/{name}/{side}?{query}")
    return EXIT_OK


def _side_of(stream: str) -> tuple[str, Side]:
    name, slash, side = stream.partition("/")
    if slash and side not in {"in", "out"}:
        raise ConfigError(f"STREAM = {stream[:80]!r}: must be STREAM, STREAM/out or STREAM/in")
    return name, "in" if side == "in" else "out"


def _date(unix: int) -> str:
    if unix >= _LAST_DATE_S:
        return "after the year 9999"
    return f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%d %H:%M} UTC"


@engines_app.callback(invoke_without_command=True)
def engines(
    context: typer.Context,
    assemble: Annotated[bool, typer.Option("--assemble", help="First assemble the bundled models (set-up).")] = False,
    config_file: ConfigFile = None,
    keys: SetKeys = None,
) -> int:
    """List the engines for each stage, and what each would need; or pull a model for one."""
    from dubrelay import models  # noqa: PLC0415

    if context.invoked_subcommand is not None:
        if assemble or config_file or keys:
            raise ConfigError(f"options belong behind the command: dubrelay engines {context.invoked_subcommand} ...")
        return EXIT_OK
    settings = settings_from(config_file, keys)
    if assemble:
        models.assemble(settings.paths, _say)
    _show_engines(settings)
    return EXIT_OK


@engines_app.command()
def pull(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Without: which models there are.")] = None,
    source: Annotated[Path | None, typer.Option("--from", metavar="FILE", help="Another paths.catalogue.")] = None,
    config_file: ConfigFile = None,
    keys: SetKeys = None,
) -> int:
    """Fetch a model that your catalogue names, and put it in place when its checksums are right."""
    from dubrelay.models import catalogue  # noqa: PLC0415

    paths = settings_from(config_file, keys, {"paths.catalogue": source}).paths
    if paths.catalogue is None:
        raise ConfigError("paths.catalogue is not set: name the file that lists your models, there or by --from FILE")
    known = catalogue.read(paths.catalogue)
    if name is None:
        for each, model in known.items():
            typer.echo(f"{each}: {model.kind}, {model.licence}, {model.size / 1e6:.1f} MB")
        return EXIT_OK
    model = catalogue.chosen(known, name, paths.catalogue)
    typer.echo(f"{_pulled(name, model, paths)}: {len(model.files)} files, as in the catalogue; licence {model.licence}")
    return EXIT_OK


def _pulled(name: str, model: Model, paths: Paths) -> Path:
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn  # noqa: PLC0415

    from dubrelay.models.pull import pull as fetched  # noqa: PLC0415

    there: dict[str, int] = {}
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(name, total=model.size)

        def told(file: str, done: int) -> None:
            there[file] = done
            bar.update(task, completed=sum(there.values()), description=f"{name}/{file}")

        return fetched(name, model, paths, told)


def _show_engines(settings: Settings) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from dubrelay.sts.engines import describe, in_use, possible_pairs  # noqa: PLC0415

    used = in_use(settings.sts)
    table = Table("stage", "engine", "in use", "languages", "licence", "needs")
    for info in describe(settings.sts, settings.paths):
        mark = "yes" if (info.stage, info.name) in used else ""
        table.add_row(info.stage, info.name, mark, " ".join(info.languages), info.licence, info.missing or "-")
    console = Console()
    console.print(table)
    for target, sources in _by_target(possible_pairs(settings.sts, settings.paths)).items():
        console.print(f"to {target} from {' '.join(sources)}")


def _by_target(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Source languages by target language, each in order."""
    targets = sorted({target for _, target in pairs})
    return {target: sorted(source for source, t in pairs if t == target) for target in targets}
