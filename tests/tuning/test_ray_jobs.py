"""Several trainings: one after the other, or on a cluster of two workers on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from ruvllm.config import ModelsConfig
from ruvllm.models import pull
from ruvllm.tuning.ray_jobs import Training, best_of, sweep, train_all, validate_all
from ruvllm.tuning.training import TrainingStopped
from ruvllm.tuning.validation import HoldoutDataset, HoldoutItem
from ruvllm.types import Message
from tests.tuning.training import cases


@pytest.fixture
def training(tmp_path: Path) -> Training:
    cases.needs_training()
    options = msgspec.structs.replace(cases.OPTIONS, epochs=1.0)
    curriculum = cases.curriculum(tmp_path, sft=cases.examples())
    return Training(curriculum, cases.lfm2(tmp_path), tmp_path / "out", options)


def test_sweep_has_a_folder_for_each_rate(training: Training) -> None:
    found = sweep(training, [1e-3, 1e-2])
    assert [one.options.learning_rate for one in found] == [1e-3, 1e-2]
    assert len({one.out for one in found}) == 2


def test_rates_differ(training: Training) -> None:
    with pytest.raises(ValueError, match="rates must hold different"):
        sweep(training, [1e-3, 1e-3])


def test_best_has_the_lowest_held_out_loss(training: Training) -> None:
    trained = train_all(sweep(training, [1e-5, 1e-2]))
    assert best_of(trained).about["options"]["learning_rate"] == 1e-2


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Ray cluster of two worker processes, begun where no sources lie: Ray looks there for code first."""
    ray = pytest.importorskip("ray", reason="needs pip install 'ruvllm[ray]'")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patched.chdir(tmp_path_factory.mktemp("cluster"))
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield "auto"
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_cluster_makes_the_students_that_one_process_makes(training: Training, cluster: str) -> None:
    here = train_all(sweep(replace(training, out=training.out / "here"), [1e-3, 1e-2]))
    there = train_all(sweep(replace(training, out=training.out / "there"), [1e-3, 1e-2]), on=cluster)
    assert [one.phases[0].loss for one in here] == pytest.approx([one.phases[0].loss for one in there])
    holdout = HoldoutDataset((HoldoutItem("1", (Message("user", "sky 1?"),), ("blue",)),))
    base = pull(f"path:{training.base}", ModelsConfig(cache_dir=str(training.out / "cache"), offline=True))
    results = validate_all([one.model_dir for one in there], base, holdout, on=cluster, num_threads=1)
    assert [result.questions for result in results] == [1, 1]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_error_on_the_cluster_is_the_error_itself(training: Training, cluster: str) -> None:
    wrong = replace(training, options=msgspec.structs.replace(training.options, targets=("o_proj",)))
    with pytest.raises(ValueError, match="lfm2 has no o_proj"):
        train_all([wrong], on=cluster)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_cluster_is_told_to_stop(training: Training, cluster: str) -> None:
    with pytest.raises(TrainingStopped):
        train_all([training], on=cluster, must_stop=lambda: True)
    assert not list(training.out.parent.glob("*.stop"))
    (trained,) = train_all([training], on=cluster)  # goes on where it was stopped
    assert trained.phases[0].ended_by == "steps"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_one_that_fails_on_the_cluster_ends_the_others(training: Training, cluster: str) -> None:
    wrong = replace(training, out=training.out / "wrong")
    (training.out / "wrong").mkdir(parents=True)
    (training.out / "wrong" / "other").touch()
    long = replace(training, out=training.out / "long", options=msgspec.structs.replace(training.options, epochs=99.0))
    with pytest.raises(ValueError, match=r"out: .* holds no training"):
        train_all([long, wrong], on=cluster)
    assert not (long.out / "model").exists()
