"""Colours by what they mean, for light and dark. Series colours differ in lightness too, so they survive greyscale."""

from __future__ import annotations

LIGHT: dict[str, str] = {
    "paper": "#ffffff",
    "panel": "#f4f5f7",
    "ink": "#1b1f24",
    "muted": "#57606a",
    "grid": "#d5dae0",
    "accent": "#0b5cad",
    "good": "#17693a",
    "bad": "#a3262a",
    "series0": "#0b5cad",
    "series1": "#b35300",
    "series2": "#17693a",
    "series3": "#9b2d8c",
    "series4": "#00798a",
    "series5": "#7a5c00",
    "series6": "#a3262a",
    "series7": "#57606a",
}
DARK: dict[str, str] = {
    "paper": "#14171c",
    "panel": "#1e232a",
    "ink": "#e8ebef",
    "muted": "#a4adb8",
    "grid": "#39414c",
    "accent": "#7ab8ff",
    "good": "#6fd08c",
    "bad": "#ff9a94",
    "series0": "#7ab8ff",
    "series1": "#ffae62",
    "series2": "#6fd08c",
    "series3": "#ea9de0",
    "series4": "#5cd0e0",
    "series5": "#e3c65a",
    "series6": "#ff9a94",
    "series7": "#a4adb8",
}
NUM_SERIES = 8


def series(index: int) -> str:
    """Name of the colour of the series with this number; they come round again after the eighth."""
    return f"series{index % NUM_SERIES}"


def variables(colours: dict[str, str]) -> str:
    """The colours as custom properties of a style sheet."""
    return "".join(f"--{name}:{value};" for name, value in colours.items())
