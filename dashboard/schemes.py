"""The colours of both schemes, for what Bokeh draws. The page has its own in dashboard.css."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from bokeh.themes import Theme


@dataclass(frozen=True, slots=True)
class Scheme:
    """steps: of a heat map, from little to much. Lines and texts stand out from paper (WCAG AA)."""

    paper: str
    ink: str
    muted: str
    grid: str
    line: str
    band: str
    usual: str
    alert: str
    good: str
    second: str
    steps: tuple[str, ...]


SCHEMES = {
    "light": Scheme(
        paper="#ffffff",
        ink="#1b2129",
        muted="#56606c",
        grid="#e3e6ea",
        line="#1f5fa8",
        band="#c9d6e6",
        usual="#56606c",
        alert="#b3261e",
        good="#1c7045",
        second="#8a5a00",
        steps=("#eef3f9", "#d5e2f1", "#b5cce6", "#8fb1d8", "#6593c6"),
    ),
    "dark": Scheme(
        paper="#181d24",
        ink="#e8ebf0",
        muted="#a5afbb",
        grid="#2c333d",
        line="#7cb7ff",
        band="#2b3d55",
        usual="#a5afbb",
        alert="#ff8a80",
        good="#6fd39b",
        second="#e5b567",
        steps=("#1f2935", "#24374e", "#294768", "#2f5884", "#3768a0"),
    ),
}


@cache
def theme_of(name: str) -> Theme:
    """Bokeh's defaults in a scheme."""
    scheme = SCHEMES[name]
    axis = {
        "axis_line_color": scheme.grid,
        "major_tick_line_color": scheme.grid,
        "minor_tick_line_color": None,
        "major_label_text_color": scheme.muted,
        "axis_label_text_color": scheme.muted,
        "axis_label_text_font_style": "normal",
        "major_label_text_font_size": "12px",
    }
    return Theme(
        json={
            "attrs": {
                "Plot": {
                    "background_fill_color": scheme.paper,
                    "border_fill_color": scheme.paper,
                    "outline_line_color": None,
                },
                "Grid": {"grid_line_color": scheme.grid},
                "Axis": axis,
                "Title": {"text_color": scheme.ink, "text_font_size": "13px"},
                "Legend": {
                    "background_fill_color": scheme.paper,
                    "background_fill_alpha": 0.0,
                    "border_line_color": None,
                    "label_text_color": scheme.ink,
                    "label_text_font_size": "12px",
                },
            }
        }
    )
