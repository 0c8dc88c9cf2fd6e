"""One request from question to response: `Pipeline.run` is the straight line, beside it lie its single steps."""

from ruvllm.pipeline.pipeline import Pipeline
from ruvllm.pipeline.readers import SMALL_READER_SENTENCES, default_context, is_small
from ruvllm.pipeline.stream import AnswerStream

__all__ = ["SMALL_READER_SENTENCES", "AnswerStream", "Pipeline", "default_context", "is_small"]
