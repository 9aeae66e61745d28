"""Pages that live elsewhere in the repository and are shown as they are."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
COPIES = {
    "CONTRIBUTING.md": ROOT / "CONTRIBUTING.md",
    "CHANGELOG.md": ROOT / "CHANGELOG.md",
    "bundled-draft.md": ROOT / "dftt" / "models" / "bundled_draft" / "README.md",
    **{f"measurements/{file.name}": file for file in sorted((ROOT / "benchmarks").glob("*.md"))},
}
FIGURES = {
    f"measurements/{file.parent.name}/{file.name}": file for file in sorted((ROOT / "benchmarks").glob("*/*.svg"))
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the measurements, the newest last, where the navigation leaves room for them."""
    for section in config.nav or []:
        for entry in section.get("Results", []) if isinstance(section, dict) else []:
            if isinstance(entry, dict) and "Measurements" in entry:
                entry["Measurements"] = [name for name in COPIES if name.startswith("measurements/")]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and the figures they show."""
    for name, source in (COPIES | FIGURES).items():
        files.append(File.generated(config, name, abs_src_path=str(source)))
    return files
