"""Writes dashboard/static/world.json: the borders of countries, for a map that needs no network.

    .venv/bin/pip download --no-deps geopandas==0.14.4
    .venv/bin/python scripts/world_borders.py geopandas-0.14.4-py3-none-any.whl

The source is Natural Earth's 1:110m countries, in the public domain, which that package ships.
"""

from __future__ import annotations

import json
import struct
import sys
import zipfile
from itertools import pairwise
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "dashboard" / "static" / "world.json"
SOURCE = "geopandas/datasets/naturalearth_lowres/naturalearth_lowres"
# The source has no ISO 3166-1 code of these; of Antarctica nothing is drawn.
CODES = {"France": "FRA", "Norway": "NOR", "Kosovo": "XKX"}
NOT_DRAWN = {"Antarctica"}

Ring = list[tuple[float, float]]


def read_names(dbf: bytes) -> list[tuple[str, str]]:
    """Name and ISO 3166-1 alpha-3 code of each record of a dBASE file."""
    records, header, width = struct.unpack("<IHH", dbf[4:12])
    fields, place = {}, 1
    for at in range(32, header - 1, 32):
        name, size = dbf[at : at + 11].rstrip(b"\0").decode(), dbf[at + 16]
        fields[name], place = (place, place + size), place + size
    rows = (dbf[header + number * width :][:width] for number in range(records))
    return [
        tuple(row[slice(*fields[name])].decode("latin-1").strip() for name in ("name", "iso_a3"))
        for row in rows
    ]


def read_rings(shp: bytes) -> list[list[Ring]]:
    """The rings of each polygon of an ESRI shapefile, rounded to a tenth of a degree."""
    shapes, at = [], 100
    while at < len(shp):
        size = 2 * struct.unpack(">I", shp[at + 4 : at + 8])[0]
        body = shp[at + 8 : at + 8 + size]
        parts, points = struct.unpack("<II", body[36:44])
        starts = [*struct.unpack(f"<{parts}I", body[44 : 44 + 4 * parts]), points]
        flat = struct.unpack(f"<{2 * points}d", body[44 + 4 * parts :][: 16 * points])
        pairs = list(zip(flat[::2], flat[1::2], strict=True))
        shapes.append([_rounded(pairs[start:end]) for start, end in pairwise(starts)])
        at += 8 + size
    return shapes


def _rounded(ring: Ring) -> Ring:
    points = [(round(x, 1), round(y, 1)) for x, y in ring]
    return [point for place, point in enumerate(points) if not place or point != points[place - 1]]


def main(wheel: str) -> None:
    """Write the countries of geopandas' wheel, by code: name, rings as [longitudes, latitudes]."""
    with zipfile.ZipFile(wheel) as archive:
        names = read_names(archive.read(f"{SOURCE}.dbf"))
        shapes = read_rings(archive.read(f"{SOURCE}.shp"))
    world = {}
    for (name, iso), rings in zip(names, shapes, strict=True):
        code = CODES.get(name, iso if iso != "-99" else name)
        if name not in NOT_DRAWN:
            outlines = [list(map(list, zip(*ring, strict=True))) for ring in rings if len(ring) > 3]
            world[code] = {"name": name, "rings": outlines}
    TARGET.write_text(json.dumps(dict(sorted(world.items())), separators=(",", ":")) + "\n")
    print(f"{TARGET}: {len(world)} countries")


if __name__ == "__main__":
    main(sys.argv[1])
