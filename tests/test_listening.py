from __future__ import annotations

import pytest

from dubrelay.errors import StartupError
from dubrelay.listening import listening

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("host", ["a" * 70, "..", "a b", "\0"])
def test_what_is_no_host_is_one_line(host: str) -> None:
    with pytest.raises(StartupError) as refused:
        listening("sts", host, 8000)
    assert refused.value.message.startswith(f"sts: cannot listen on {host}:8000: ")
    assert "None" not in refused.value.message
