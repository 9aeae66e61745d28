"""Colours by what they mean, for light and dark. Series colours differ in lightness too, so they survive greyscale."""

from __future__ import annotations

_NAMES = ("paper", "panel", "ink", "muted", "grid", "accent", "good", "bad", *(f"series{n}" for n in range(8)))
_LIGHT = (
    "#ffffff #f4f5f7 #1b1f24 #57606a #d5dae0 #0b5cad #17693a #a3262a "
    "#0b5cad #b35300 #17693a #9b2d8c #00798a #7a5c00 #a3262a #57606a"
)
_DARK = (
    "#14171c #1e232a #e8ebef #a4adb8 #39414c #7ab8ff #6fd08c #ff9a94 "
    "#7ab8ff #ffae62 #6fd08c #ea9de0 #5cd0e0 #e3c65a #ff9a94 #a4adb8"
)
LIGHT = dict(zip(_NAMES, _LIGHT.split(), strict=True))
DARK = dict(zip(_NAMES, _DARK.split(), strict=True))
SERIES = [LIGHT[f"series{n}"] for n in range(8)]  # in charts; other colours come round again after the eighth


def variables(colours: dict[str, str]) -> str:
    """The colours as custom properties of a style sheet."""
    return "".join(f"--{name}:{value};" for name, value in colours.items())
