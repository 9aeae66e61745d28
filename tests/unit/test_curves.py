"""What TensorBoard reads back of a study."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # pyright: ignore[reportAttributeAccessIssue] - made at import
from torch.utils.tensorboard.writer import SummaryWriter

from dftt.analysis.curves import write_curves
from dftt.types import DecodingSpec, TTTSpec
from tests.written_runs import ARMS, STUDIED, made_record


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return events


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    records = [made_record(task, arm) for task in range(4) for arm in ARMS]
    with SummaryWriter(str(tmp_path)) as writer:
        arms = [arm.within(TTTSpec(steps=12), DecodingSpec()) for arm in STUDIED]
        write_curves(tmp_path, writer, records, arms)
    return tmp_path


def test_histograms_of_acceptance_lengths_and_tau(folder: Path) -> None:
    events = read(folder)
    drafting = [arm for arm in ARMS if arm != "target"]
    expected = {f"test/{name}@{arm}" for arm in drafting for name in ("acceptance_length", "tau_per_prompt")}
    assert set(events.Tags()["histograms"]) == expected
    lengths = [n for task in range(4) for n in made_record(task, "speculative+own").acceptance_lengths]
    written = events.Histograms("test/acceptance_length@speculative+own")[0].histogram_value
    assert (written.num, written.sum) == (len(lengths), sum(lengths))


def test_answers_are_texts(folder: Path) -> None:
    events = read(folder)
    texts = [item.tensor_proto.string_val[0].decode() for item in events.Tensors("test/answer@target/text_summary")]
    assert len(texts) == 3
    assert "    The mayor counts 0 goats." in texts[0]


def test_each_arm_is_a_run_with_its_settings_and_metrics(folder: Path) -> None:
    assert {path.name for path in (folder / "arms").iterdir()} == set(ARMS)
    events = read(folder / "arms" / "guided@0.5+own")
    start = HParamsPluginData.FromString(
        events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    ).session_start_info
    settings = {name: value.string_value or value.number_value for name, value in start.hparams.items()}
    expected = {"mode": "guided", "alpha": 0.5, "ttt": "own", "ttt.steps": 12, "ttt.lr": 0.001, "ttt.loss": "kl"}
    assert settings | expected == settings
    experiment = HParamsPluginData.FromString(
        events.SummaryMetadata("_hparams_/experiment").plugin_data.content
    ).experiment
    assert {info.name.tag for info in experiment.metric_infos} == {"test/tau", "test/pass_rate"}
    lengths = [n for task in range(4) for n in made_record(task, "guided@0.5+own").acceptance_lengths]
    assert events.Scalars("test/tau")[0].value == pytest.approx(sum(lengths) / len(lengths))


def test_losses_of_a_handful_of_adaptations(folder: Path) -> None:
    runs = list((folder / "inner").iterdir())
    assert 0 < len(runs) <= 8
    first = next(path for path in runs if path.name.startswith("context_0"))
    assert [point.step for point in read(first).Scalars("inner/loss")] == list(range(12))
