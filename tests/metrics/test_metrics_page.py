"""``docs/how-to/metrics.md`` and the dashboard for Grafana name the series that there are."""

from __future__ import annotations

import json
import re

from quicdist.otp.metric_series import SERIES
from scripts.draw_dashboard import GRAFANA, grafana
from scripts.requirements import ROOT

PAGE = (ROOT / "docs" / "how-to" / "metrics.md").read_text()
ROW = re.compile(r"^\| `(quicdist_\w+)` \| (\w+) \|([^|]*)\|([^|]+)\|", re.MULTILINE)


def test_the_table_has_each_series_with_its_type_and_labels() -> None:
    rows = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _ in ROW.findall(PAGE)
    }
    assert rows.pop("quicdist_up") == ("gauge", ())
    assert rows == {each.full_name: (each.kind.value, each.labels) for each in SERIES}


def test_the_dashboard_and_the_rules_use_series_that_there_are() -> None:
    text = GRAFANA.read_text()
    assert json.loads(text) == grafana(), "write it again: python -m scripts.draw_dashboard --grafana"
    names = {each.full_name for each in SERIES} | {"quicdist_up"}
    used = set(re.findall(r"\bquicdist_\w+", text + "".join(re.findall(r"```yaml\n(.*?)```", PAGE, re.S))))
    assert {re.sub("_bucket$", "", name) for name in used} <= names
    assert len(used) > 10
