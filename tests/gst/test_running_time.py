"""Where the first buffer of a track lies in its segment."""

from __future__ import annotations

import pytest

from dubrelay.worker.pipeline import Gst
from dubrelay.worker.source import _running

pytestmark = pytest.mark.gst


@pytest.mark.parametrize(("pts_s", "running_s"), [(3, 1), (2, 0), (1, -1)])
def test_a_track_may_begin_before_its_segment(pts_s: int, running_s: int) -> None:
    pad = Gst.Pad.new("src", Gst.PadDirection.SRC)
    pad.set_active(True)
    segment = Gst.Segment()
    segment.init(Gst.Format.TIME)
    segment.start = 2 * Gst.SECOND
    pad.push_event(Gst.Event.new_stream_start("stream"))
    pad.push_event(Gst.Event.new_segment(segment))
    assert _running(pad, pts_s * Gst.SECOND) == running_s * Gst.SECOND
