"""Defaults, then file, then environment, then arguments; wrong keys and values are refused by name."""

import sys
from pathlib import Path

import pytest

from ruvllm.config import Config, ModelsConfig, cache_dir, load_config


def test_defaults_need_no_file(tmp_path: Path) -> None:
    assert load_config(tmp_path / "missing.toml", environment={}) == Config()


def test_later_layers_win(tmp_path: Path) -> None:
    file = tmp_path / "ruvllm.toml"
    file.write_text("[index]\nm = 16\nef_search = 10\n[retrieval]\nk = 7\n")
    config = load_config(
        file,
        environment={"RUVLLM_INDEX__EF_SEARCH": "20", "RUVLLM_RETRIEVAL__K": "8", "RUVLLM_CACHE": "/x"},
        overrides={"retrieval": {"k": 9}},
    )
    assert (config.index.m, config.index.ef_search, config.retrieval.k) == (16, 20, 9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[index]\nef_serch = 3\n", "unknown key index.ef_serch; did you mean index.ef_search"),
        ("[indx]\nm = 3\n", "unknown key indx; did you mean index"),
        ("[index]\nm = 'many'\n", "index"),
        ("[index]\nm = 1\n", "index.m must be in"),
        ("[index]\nkind = 'flat'\n", "index"),
        ("[models]\ntiers = ['smollm2-135m', 'smollm2-135m']\n", "models.tiers must not repeat"),
        ("[models]\ntiers = ['smollm2-360m']\n", "generation.model must be one of models.tiers"),
        ("[router]\nsafe_default = 'smollm2-360m'\n", "router.safe_default must be one of models.tiers"),
        ("[models]\nquantizations = ['int3']\n", "int3"),
        ("[models]\nbudget_bytes = -1\n", "models.budget_bytes must be >= 0"),
        ("index = 3\n", r"\[index\] must be a table"),
        ("[index\n", "not valid TOML"),
        (f"[index]\nm = {'9' * 5000}\n", r"ruvllm\.toml: not valid TOML"),
        (f"[index]\nm = {'[' * 5000}\n", r"ruvllm\.toml: not valid TOML"),
    ],
)
def test_wrong_files_are_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "ruvllm.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_config(file, environment={})


def test_an_index_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ValueError, match=r"index\.kind faiss-sq8 needs faiss: pip install"):
        load_config(environment={"RUVLLM_INDEX__KIND": "faiss-sq8"})


def test_wrong_environment_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"generation\.max_new_tokens must be >= 1"):
        load_config(environment={"RUVLLM_GENERATION__MAX_NEW_TOKENS": "0"})


def test_a_file_without_tables_is_refused_also_below_other_layers(tmp_path: Path) -> None:
    file = tmp_path / "ruvllm.toml"
    file.write_text("index = 3\n")
    for layer in ({"environment": {"RUVLLM_INDEX__M": "8"}}, {"environment": {}, "overrides": {"index": {"m": 8}}}):
        with pytest.raises(ValueError, match=r"\[index\] must be a table"):
            load_config(file, **layer)  # type: ignore[arg-type]


def test_cache_dir_prefers_configuration_then_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUVLLM_CACHE", "/from/environment")
    assert cache_dir(ModelsConfig()) == Path("/from/environment")
    assert cache_dir(ModelsConfig(cache_dir="/from/file")) == Path("/from/file")


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("generation", "temperature", 5.0),
        ("generation", "top_p", 0.0),
        ("generation", "min_p", 1.5),
        ("generation", "num_threads", -1),
        ("generation", "repetition_penalty", float("inf")),
        ("generation", "top_k", 10**12),
        ("generation", "timeout_s", float("inf")),
        ("generation", "timeout_s", 1e12),
        ("store", "flush_interval_s", float("inf")),
        ("store", "max_query_chars", 0),
        ("worker", "start_after_s", 1e12),
        ("worker", "idle_s", 1e12),
        ("retrieval", "rrf_k", -1),
        ("retrieval", "duplicate_similarity", 0.0),
        ("ingest", "chunk_tokens", 300),
        ("ingest", "max_file_bytes", 0),
        ("router", "quality_floor", 1.5),
        ("router", "risk", 0.0),
        ("router", "certificate_confidence", 1.0),
        ("router", "latency_sla_ms", -1.0),
        ("router", "cost_weight", float("nan")),
        ("router", "calibrate", -0.1),
        ("router", "max_labels_per_day", 0),
        ("learning", "eta", 1.5),
        ("learning", "max_move_per_day", 0.0),
        ("learning", "cites_half_life_days", -1.0),
        ("learning", "same_topic_half_life_days", float("nan")),
    ],
)
def test_values_that_would_fail_later_fail_now(section: str, field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{section}.{field}"):
        load_config(environment={}, overrides={section: {field: value}})


def test_secrets_are_not_shown() -> None:
    overrides = {"generation": {"model": "http://me:hunter2@host/v1#m", "api_key": "sk-1"}}
    shown = repr(load_config(environment={}, overrides=overrides).generation)
    assert "hunter2" not in shown and "sk-1" not in shown and "http://host/v1#m" in shown


def test_a_key_that_cannot_be_sent_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match=r"generation\.api_key must be printable ASCII") as caught:
        load_config(environment={"RUVLLM_GENERATION__API_KEY": "sk-1\n"})
    assert "sk-1" not in str(caught.value)
