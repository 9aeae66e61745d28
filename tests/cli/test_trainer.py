"""Where Lightning's defaults do not suit, others hold."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from dftt.adaptation.token_corpus import TokenCorpus
from dftt.trainer import take_number
from tests.commands import Commands, log_dir


@pytest.fixture
def in_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of one of four tasks that srun has started."""
    job = {"JOB_ID": 78, "JOB_NAME": "study", "NTASKS": 4, "NTASKS_PER_NODE": 4, "NNODES": 1}
    for name, value in {**job, "PROCID": 2, "LOCALID": 2, "NODEID": 0, "NODELIST": "node1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))


@pytest.mark.usefixtures("in_a_job")
def test_runs_of_one_slurm_job_have_folders_of_their_own(commands: Commands) -> None:
    """Both went to version_78, where the second ended in a traceback; of tasks of one srun, all."""
    runs = [commands("validate", data=commands.contexts("rules")) for _ in range(2)]
    assert [log_dir(run).name for run in runs] == ["version_0", "version_1"]
    assert all((log_dir(run) / "config.yaml").is_file() for run in runs)
    for run in runs:
        environment = run.trainer._accelerator_connector.cluster_environment
        assert isinstance(environment, LightningEnvironment)
        assert (run.trainer.world_size, run.trainer.global_rank) == (1, 0)


def test_runs_that_start_together_take_different_numbers(tmp_path: Path) -> None:
    (tmp_path / "version_6").mkdir()
    (tmp_path / "version_of_mine").mkdir()
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: take_number(tmp_path), range(40)))
    assert sorted(taken) == list(range(7, 47))


def test_a_second_run_into_a_named_folder_is_no_traceback(commands: Commands) -> None:
    """Lightning refuses to overwrite config.yaml."""
    for steps in (1, 2):
        cli = commands(
            "validate", "--trainer.logger=false", f"--model.ttt.steps={steps}", data=commands.contexts("rules")
        )
    assert "steps: 2" in (log_dir(cli) / "config.yaml").read_text()


def test_a_fit_on_a_context_logs_each_step(commands: Commands) -> None:
    cli = commands("fit", "--model.ttt.steps=2", data=commands.contexts("rules"))
    assert (cli.config.fit.trainer.log_every_n_steps, cli.trainer.num_devices) == (1, 1)


def test_a_fit_on_a_corpus_needs_an_end(commands: Commands, capfd: pytest.CaptureFixture[str]) -> None:
    """Lightning's own is 1000 epochs, and the learning rate falls until then."""
    path = commands.root / "corpus.safetensors"
    TokenCorpus.of([[1, 2, 3]], [0]).save(path)
    arguments = commands.arguments("fit", "--data=CorpusDataModule", f"--data.paths=[{path}]")
    assert "fit on a corpus has no end of its own: give --trainer.max_steps" in commands.refused(capfd, *arguments)
