"""For who has no stream yet: where to send one, what is missing here, and a programme to begin with."""

from __future__ import annotations

from fastapi import APIRouter, Request

from dubrelay.config import Settings
from dubrelay.orchestrator.addresses import stream_addresses
from dubrelay.orchestrator.needed import Needed
from dubrelay.orchestrator.sample import Sample
from dubrelay.orchestrator.stream_config_api import Who
from dubrelay.wire.firstrun import FIRST_STREAM, DoctorTable, FirstAddresses, SampleView

SAMPLE_PATH = "/v1/sample"


def first_addresses(settings: Settings, asked_as: str) -> FirstAddresses:
    """`asked_as`: the `Host` under which the orchestrator was asked."""
    of = stream_addresses(settings, FIRST_STREAM, settings.access.readers, asked_as)
    return FirstAddresses(
        stream_id=FIRST_STREAM,
        obs_server=of.obs_server,
        obs_stream_key=of.obs_stream_key,
        ffmpeg=f"ffmpeg -re -i FILE -c:v libx264 -g 50 -pix_fmt yuv420p -c:a aac -f flv '{of.publish}'",
        needs_key=of.publish_needs_key,
        new_key=f"dubrelay keys new NAME --publish {FIRST_STREAM}",
    )


def first_run_routes(settings: Settings, needed: Needed, sample: Sample) -> APIRouter:
    routes = APIRouter(tags=["first run"])

    @routes.get("/v1/addresses")
    async def addresses(request: Request) -> FirstAddresses:
        """Where a first stream is published, as people paste it. It says no key."""
        return first_addresses(settings, request.headers.get("host", ""))

    @routes.get("/v1/doctor")
    async def doctor() -> DoctorTable:
        """What `dubrelay doctor` finds here; it takes seconds."""
        return await needed.table()

    @routes.get(SAMPLE_PATH)
    async def fares() -> SampleView:
        """How the sample programme fares."""
        return sample.view()

    @routes.post(SAMPLE_PATH)
    async def start(who: Who) -> SampleView:
        """Makes the sample programme where there is none yet, and publishes it as live/demo/in until it is deleted."""
        sample.start(who)
        return sample.view()

    @routes.delete(SAMPLE_PATH)
    async def stop(who: Who) -> SampleView:
        """Takes it off the air; returns when it is gone."""
        await sample.stop(who)
        return sample.view()

    return routes
