"""The simulated networks as records of feed ip_ranges."""

from __future__ import annotations

import json
from datetime import date

from demo.video import world
from loaders.ip_ranges import AddressRange, country_records, network_records

FIRST_DAY = date(2020, 1, 1)


def range_records(source: str) -> list[str]:
    """Country and network of every simulated range, as `loaders ip-ranges` writes them.

    Args:
        source: who published them, as the records say.
    """
    spans = [
        (block.version, int(block[0]), int(block[-1]), place)
        for place in world.ranges().values()
        for block in (place.v4, place.v6)
    ]
    countries = [AddressRange(*span, (place.country,)) for *span, place in spans]
    networks = [AddressRange(*s, (p.network.asn, p.network.isp)) for *s, p in spans]
    records = [
        *country_records(countries, FIRST_DAY, source),
        *network_records(networks, FIRST_DAY, source),
    ]
    return [json.dumps(record) for record in records]
