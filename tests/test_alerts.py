"""Prometheus' rules and Grafana's board against the metrics that there are, and the rules against their own cases."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from dubrelay.config import AlertName
from dubrelay.orchestrator.conditions import RULES
from dubrelay.orchestrator.metrics import OrchestratorMetrics
from dubrelay.sts.meter import Meter
from dubrelay.sts.metrics import Metrics
from dubrelay.wire.alerts import Message
from dubrelay.worker.dub import DubMetrics
from dubrelay.worker.meter import Meter as LoudnessMeter
from dubrelay.worker.metrics import WorkerMetrics

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[1]
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
PROMTOOL = ROOT / "var" / "bin" / "promtool"

OF_PROMETHEUS = {"up", "ALERTS"}


def _names(text: str) -> set[str]:
    """Of all series, histograms' buckets and all."""
    names: set[str] = set()
    for family in text_string_to_metric_families(text):
        names |= {sample.name for sample in family.samples}
        ends = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [""])
        names |= {family.name + end for end in ends}  # those with a label have no sample yet
    return names


@pytest.fixture(scope="module")
def known() -> set[str]:
    orchestrator, worker, sts = OrchestratorMetrics(), WorkerMetrics(), Metrics()
    orchestrator.watch(states=list, workers=list)
    DubMetrics(worker.registry)
    worker.show("input", LoudnessMeter())
    sts.watch(Meter(lambda: 0.0), 0.0)
    found = _names(orchestrator.text().decode()) | _names(worker.text()) | _names(sts.render().decode())
    return found | OF_PROMETHEUS


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def board() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((GRAFANA / "dubrelay.json").read_text("utf-8"))
    return loaded


def panels() -> list[dict[str, Any]]:
    return [panel for panel in board()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    targets = [target["expr"] for panel in panels() for target in panel["targets"]]
    variables = [variable["definition"] for variable in board()["templating"]["list"]]
    return [*(rule["expr"] for rule in rules()), *targets, *variables]


def metrics_in(expression: str) -> set[str]:
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]', "", expression)
    bare = re.sub(r"\b(by|on|without)\s*\([^)]*\)", "", bare)
    words = set(re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", bare))
    return words - {"and", "or", "unless", "stream_id", "by", "on", "without", "e6"}


def test_every_metric_that_is_asked_for_exists(known: set[str]) -> None:
    asked = {name for expression in expressions() for name in metrics_in(expression)}
    assert len(asked) > 25
    assert asked <= known


def test_every_label_of_a_worker_is_one_that_the_orchestrator_gives() -> None:
    for expression in expressions():
        for name, labels in re.findall(r"\b(worker_\w+)\{([^}]*)\}", expression):
            found = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", labels))
            assert found <= {"stream_id", "status", "reason", "found", "side", "le"}, name


def test_every_alert_says_what_it_is_and_has_a_case_that_fires() -> None:
    cases = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text("utf-8"))["tests"]
    firing = {case["alertname"] for test in cases for case in test["alert_rule_test"] if case.get("exp_alerts")}
    assert firing == {rule["alert"] for rule in rules()}
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"]


def test_the_orchestrator_s_own_alerts_are_prometheus_rules() -> None:
    """All but one: of its own end it cannot tell."""

    def seconds(duration: str) -> int:
        return int(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]

    theirs = {rule["alert"]: (rule["labels"]["severity"], seconds(rule.get("for", "0s"))) for rule in rules()}
    assert theirs.pop("OrchestratorDown")
    assert {name: (rule.severity, rule.for_s) for name, rule in RULES.items()} == theirs
    assert set(RULES) == set(get_args(AlertName))


def test_the_document_of_the_alerts_says_what_they_are() -> None:
    text = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    rows = re.findall(r"^\| `([A-Z]\w+)` \| (critical|warning) \| (?:at once|(\d+) (s|min)) \| ", text, re.MULTILINE)
    described = {
        name: (severity, int(number or 0) * {"": 1, "s": 1, "min": 60}[unit]) for name, severity, number, unit in rows
    }
    assert described == {name: (rule.severity, rule.for_s) for name, rule in RULES.items()}
    (example,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (alert,) = Message.model_validate_json(example).alerts
    assert alert.description == RULES[alert.name].description
    todo = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert all(re.search(rf"^\|.*\b{rule['alert']}\b.*\|.*\|$", todo, re.MULTILINE) for rule in rules())


def promtool(*arguments: str) -> None:
    if not PROMTOOL.exists():
        pytest.skip("promtool is not there: scripts/setup --dev")
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_do_what_their_cases_say() -> None:
    promtool("test", "rules", str(PROMETHEUS / "alerts_test.yml"))


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    for file in ("prometheus.yml", "alerts.yml", "sts.json"):
        (tmp_path / file).write_bytes((PROMETHEUS / file).read_bytes())
    (tmp_path / "api_token").touch()
    promtool("check", "config", str(tmp_path / "prometheus.yml"))


def test_prometheus_takes_the_expressions_of_the_board(tmp_path: Path) -> None:
    """As rules, with Grafana's variables filled in."""
    as_rules = [
        {"record": f"x:{n}", "expr": e.replace("$__rate_interval", "1m").replace("$stream", ".*")}
        for n, e in enumerate(target["expr"] for panel in panels() for target in panel["targets"])
    ]
    file = tmp_path / "board.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": as_rules}]}), "utf-8")
    promtool("check", "rules", str(file))


def test_the_boards_panels_do_not_overlap_and_read_the_provisioned_source() -> None:
    places: set[tuple[int, int]] = set()
    for panel in board()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & places, panel["title"]
        assert max(x for x, _ in cells) < 24
        places |= cells
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text("utf-8"))["datasources"]
    assert {panel["datasource"]["uid"] for panel in panels()} == {source["uid"]}
