from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from dubrelay.config import ApertiumEngine, Paths, Sts
from dubrelay.errors import StartupError, StsError
from dubrelay.sts.mt.apertium import Apertium
from dubrelay.sts.mt.apertium_pipe import ApertiumPipe, PipeBroken
from waiting import wait_for

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def engine() -> Iterator[Apertium]:
    engine = Apertium("apertium", ApertiumEngine(), Sts(), Paths())
    yield engine
    engine.close()


def _gone(pids: list[int]) -> bool:
    """Ended, or a zombie that nobody has waited for."""
    return all(not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE for pid in pids)


@pytest.mark.parametrize(
    ("english", "spanish"),
    [
        ("The government announced new measures on Monday.", "El gobierno anunció medidas nuevas el lunes."),
        ("Good evening and welcome to the evening news.", "Buenas noches y bienvenidos a las noticias de la noche."),
        ("How are you?", "¿Cómo está?"),
        ("What a goal!", "¡Qué gol!"),
        ("Thank you very much, see you tomorrow.", "Muchas gracias, hasta mañana."),
        ("Inflation rose 2.5% in 2024.", "La inflación ascendió 2,5 % en 2024."),
        ("It costs $9.99.", "Cuesta 9,99 dólares."),
        ("i'll be there at 7:30 p.m.", "Seré allí a las 7:30 de la tarde."),
        ("Oil prices fell in March.", "Precios de petróleo cayeron en marzo."),
        ("The coach is happy.", "El entrenador es feliz."),
        ("The match ended two to one.", "El partido acabó dos a uno."),
        ("He lives in the U.S. with his brother.", "Vive en Estados Unidos con su hermano."),
        ("Dr. Smith, please come in.", "Dr. Smith, por favor, pase."),
        ("Thank you for watching. Good night.", "Gracias por su atención. Buenas noches."),
        ("The train leaves at 7:30.", "El tren sale a las 7:30."),
        ("Flight 512 departs from gate 36.", "Vuelo 512 sale de puerta 36."),
        ("The team scored in the last minute.", "El equipo marcó en el último minuto."),
        ("He invested $250 million in 4 years.", "Invirtió 250 millones de dólares en 4 años."),
        ("The bridge is 340 metres long.", "El puente tiene 340 metros de largo."),
        ("The museum is open on Sunday.", "El museo está abierto el domingo."),
        ("Brzka is the new mayor of Zlin.", "Brzka es el alcalde nuevo de Zlin."),
        ("Helen Baker wrote a book.", "Helen Baker escribió un libro."),
        ("Prices rose by 3 percent.", "Los precios ascendieron un 3 por ciento."),
        ("It will be cloudy in the north.", "Estará nublado en el norte."),
    ],
)
def test_english_to_spanish(engine: Apertium, english: str, spanish: str) -> None:
    assert engine.translate(english, "en", "es") == spanish


@pytest.mark.parametrize(
    ("spanish", "english"),
    [
        ("Buenas noches y bienvenidos a las noticias.", "Good evening and welcome to the news."),
        ("¿Cómo estás?", "How are you?"),
        ("El señor García llegó el martes.", "Mr. García arrived on Tuesday."),
        ("Miles de personas marcharon por las calles.", "Thousands of people marched by the streets."),
        ("La inflación subió un 2,5 % en 2024.", "The inflation went up 2.5% in 2024."),
        ("Cuesta 1.250 euros.", "It costs 1,250 euros."),
        ("Gracias por su atención, hasta mañana.", "Thank you for your attention, see you tomorrow."),
        ("yo creo que sí", "I think so."),
    ],
)
def test_spanish_to_english(engine: Apertium, spanish: str, english: str) -> None:
    assert engine.translate(spanish, "es", "en") == english


@pytest.mark.parametrize(
    "text",
    [
        "[a] {b} ^c$ /d\\ @e <f>",
        "...",
        "?!",
        ",",
        " a ,, b ",
        "\x00hello\x00",
        "no\nlines\there",
        "😀 hello",
        "x" * 5000,
        "a, " * 500,
    ],
)
def test_odd_texts_neither_hang_nor_break_the_next_one(engine: Apertium, text: str) -> None:
    engine.translate(text, "en", "es")
    assert engine.translate("Good morning.", "en", "es") == "Buenos días."
    assert engine.translate("The house is white.", "en", "es") == "La casa es blanca."


def test_no_marks_of_the_analysis_are_left(engine: Apertium) -> None:
    translation = engine.translate("The zyxgrbl of Xanthippe flurbed in Brno.", "en", "es")
    assert not set("*#@^$") & set(translation)
    assert "zyxgrbl" in translation


def test_an_empty_text_stays_empty(engine: Apertium) -> None:
    assert engine.translate("  ", "en", "es") == ""


def test_another_pair_is_refused(engine: Apertium) -> None:
    with pytest.raises(StsError) as caught:
        engine.translate("Hallo.", "de", "es")
    assert (caught.value.code, caught.value.stage) == ("UNSUPPORTED_LANGUAGE", "mt")


def test_several_threads_get_each_their_own_translation(engine: Apertium) -> None:
    numbers = range(40)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: engine.translate(f"The {n} houses are white.", "en", "es"), numbers))
    assert all(f" {n} casas" in answer for n, answer in zip(numbers, answers, strict=True))


@pytest.fixture
def own_engine() -> Iterator[Apertium]:
    engine = Apertium("apertium", ApertiumEngine(), Sts(), Paths())
    yield engine
    engine.close()


@pytest.mark.parametrize("which", [0, 3, -1])
def test_a_program_that_dies_is_started_again(own_engine: Apertium, which: int) -> None:
    engine = own_engine
    assert engine.translate("The house is white.", "en", "es") == "La casa es blanca."
    before = engine.pids
    os.kill(before[which], signal.SIGKILL)
    assert engine.translate("The house is white.", "en", "es") == "La casa es blanca."
    assert not set(before) & set(engine.pids)
    wait_for(lambda: _gone(before), 5, "the broken pipe's programs to end")


def test_a_program_that_hangs_is_replaced(own_engine: Apertium) -> None:
    engine = own_engine
    engine.translate("The house is white.", "en", "es")
    before = engine.pids
    os.kill(before[2], signal.SIGSTOP)
    assert engine.translate("The house is white.", "en", "es") == "La casa es blanca."
    wait_for(lambda: _gone(before), 5, "the hung pipe's programs to end")


def test_closing_ends_every_program() -> None:
    engine = Apertium("apertium", ApertiumEngine(), Sts(), Paths())
    engine.translate("The house.", "en", "es")
    engine.translate("La casa.", "es", "en")
    pids = engine.pids
    assert len(pids) > 12
    engine.close()
    assert _gone(pids)
    assert engine.translate("The house.", "en", "es") == "La casa."
    engine.close()


def test_the_programs_end_with_a_service_that_is_killed() -> None:
    code = (
        "from dubrelay.sts.mt.apertium import Apertium; import time\n"
        "from dubrelay.config import ApertiumEngine, Paths, Sts\n"
        "engine = Apertium('apertium', ApertiumEngine(), Sts(), Paths()); engine.translate('The house.', 'en', 'es')\n"
        "print(*engine.pids, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as service:
        assert service.stdout is not None
        pids = [int(pid) for pid in service.stdout.readline().split()]
        service.kill()
    assert len(pids) > 6
    wait_for(lambda: _gone(pids), 5, "Apertium's programs to end with their service")


def test_a_pipe_that_cannot_be_started_says_so_and_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "bad.mode").write_text("cat | no-such-program-here | cat")
    with pytest.raises(PipeBroken, match="bad cannot be started"):
        ApertiumPipe("bad", modes=tmp_path)


def test_a_missing_program_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Debian package apertium" in Apertium.missing(ApertiumEngine(), Paths())
    with pytest.raises(StartupError, match="install the Debian package apertium"):
        Apertium("apertium", ApertiumEngine(), Sts(), Paths())
