from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from dubrelay.logs import redact_url

pytestmark = pytest.mark.service


def _logged(code: str, style: str = "auto") -> str:
    program = f"import logging; from dubrelay import logs; logs.setup('test', style={style!r}, streamId='abc')\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == ""
    return done.stderr


def _line(code: str) -> dict[str, Any]:
    (line,) = _logged(code).splitlines()
    fields: dict[str, Any] = json.loads(line)
    return fields


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtmp://user:pass@host:1935/live/abc/in?key=hush", "rtmp://host:1935/live"),
        ("srt://host:8890?streamid=publish:live/a:u:hush", "srt://host:8890/"),
        ("https://host/app#hush", "https://host/app"),
    ],
)
def test_a_url_is_shown_without_credentials_key_and_query(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_a_line_is_json_with_the_fields_of_the_contract() -> None:
    line = _line("logs.get().bind(runId='r').info('started', n=3)")
    assert {key: line[key] for key in ("component", "streamId", "runId", "event", "level", "n")} == {
        "component": "test",
        "streamId": "abc",
        "runId": "r",
        "event": "started",
        "level": "info",
        "n": 3,
    }
    assert line["ts"].endswith("Z")
    assert line["instanceId"]


def test_secrets_are_starred_by_name() -> None:
    line = _line("logs.get().info('x', key='hush', hook_token='hush', Authorization='hush', sts_key='hush')")
    assert "hush" not in json.dumps(line)


@pytest.mark.parametrize("style", ["json", "text"])
def test_what_is_hidden_is_starred_wherever_it_stands(style: str) -> None:
    said = _logged(
        "logs.hide('hush-hush-hush', '', 'short')\n"
        "logs.get().info('at hush-hush-hush', short='rtmp://h/in?pass=hush-hush-hush', many=['hush-hush-hush', 1])\n"
        "logging.getLogger('else').warning('of %s', 'hush-hush-hush')\n"
        "try: raise ValueError('hush-hush-hush')\nexcept ValueError: logs.get().exception('bug')",
        style,
    )
    assert "hush" not in said
    assert said.count("***") == 5
    assert "short" in said


def test_for_people_a_line_stays_one_line_and_moves_no_cursor() -> None:
    said = _logged("logs.get().info('x', path='a\\n2026 [error] forged\\x1b[2J\\x9b\\u2028b')", "text")
    (line,) = said.splitlines()
    assert not {"\x1b[2J", "\x9b", "\u2028"} & {line[at : at + n] for at in range(len(line)) for n in (1, 4)}
    assert r"\x0a2026" in line


def test_lines_of_threads_and_of_other_libraries_carry_the_same_fields() -> None:
    line = _line(
        "import threading\n"
        "one = threading.Thread(target=logging.getLogger('else').warning, args=('hm',))\n"
        "one.start(); one.join()"
    )
    assert (line["event"], line["streamId"], line["level"]) == ("hm", "abc", "warning")


def test_a_traceback_stays_on_its_line() -> None:
    line = _line("try: 1 / 0\nexcept ZeroDivisionError: logs.get().exception('bug')")
    assert line["exception"].splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_debug_lines_are_left_out_unless_asked_for() -> None:
    assert _logged("logs.get().debug('x')") == ""


def test_text_is_for_people() -> None:
    text = _logged("logs.get().info('started')", style="text")
    assert "started" in text
    assert not text.startswith("{")
