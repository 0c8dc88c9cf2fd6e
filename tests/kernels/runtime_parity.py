"""Logits and states by transformers, of the same random weights as the tests convert.

usage: python tests/kernels/runtime_parity.py    (writes data/runtime_golden.json; needs the extra `parity`)
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from models import tiny, tiny_lfm2

GOLDEN = Path(__file__).parent / "data" / "runtime_golden.json"
IDS = np.random.RandomState(0).randint(0, 270, 17).tolist()  # RandomState, because its stream never changes
WORD_IDS = [2, 5, 6, 7, 8, 9, 10, 5, 1, 3]
COLUMNS = slice(0, 288, 12)  # of the logits, in the file


def lfm2(folder: Path, size: tiny_lfm2.Size) -> np.ndarray:
    """Return (T, vocab) logits of Lfm2ForCausalLM."""
    from transformers import Lfm2ForCausalLM

    return _logits(Lfm2ForCausalLM, tiny_lfm2.write_lfm2_folder(folder, size))


def decoder(folder: Path, kind: str, *, tied: bool) -> np.ndarray:
    """Return (T, vocab) logits of LlamaForCausalLM or Qwen2ForCausalLM."""
    from transformers import LlamaForCausalLM, Qwen2ForCausalLM

    weights, config = tiny.decoder_weights(kind, tied=tied), tiny.decoder_config(kind, tied=tied)
    path = tiny.write_decoder_folder(folder, weights, config)
    return _logits({"llama": LlamaForCausalLM, "qwen2": Qwen2ForCausalLM}[kind], path)


def encoder(folder: Path) -> np.ndarray:
    """Return (1, hidden_size): the mean state of BertModel."""
    import torch
    from transformers import BertModel

    path = tiny.write_encoder_folder(folder, tiny.encoder_weights(), tiny.encoder_config())
    model = BertModel.from_pretrained(path, dtype=torch.float32).eval()
    with torch.no_grad():
        return np.asarray(model(torch.tensor([WORD_IDS])).last_hidden_state[0].mean(0, keepdim=True).numpy())


def _logits(kind: type, folder: Path) -> np.ndarray:
    import torch

    model = kind.from_pretrained(folder, dtype=torch.float32).eval()  # type: ignore[attr-defined]
    with torch.no_grad():
        return np.asarray(model(torch.tensor([IDS]), use_cache=False).logits[0].numpy())


def references() -> dict[str, np.ndarray]:
    """Return every case by its name."""
    from kernels.runtime_cases import SIZES

    found = {}
    with TemporaryDirectory() as folder:
        for name, size in SIZES.items():
            found[f"lfm2: {name}"] = lfm2(Path(folder, name), size)
        for kind in ("llama", "qwen2"):
            for tied in (True, False):
                found[f"{kind}: tied={tied}"] = decoder(Path(folder, f"{kind}-{tied}"), kind, tied=tied)
        found["bert"] = encoder(Path(folder, "bert"))
    return found


def main() -> None:
    """Write the golden file."""
    golden = {name: base64.b64encode(values[:, COLUMNS].tobytes()).decode() for name, values in references().items()}
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
