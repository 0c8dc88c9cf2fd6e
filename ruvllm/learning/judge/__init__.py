"""How good an answer is: signals, a quality made of them, and its calibration by ratings."""

from ruvllm.judging import Answered, Judgement
from ruvllm.learning.judge.agreement import agreement_of
from ruvllm.learning.judge.brain import BrainJudge
from ruvllm.learning.judge.judge import Judge
from ruvllm.learning.judge.llm import LlmJudge
from ruvllm.learning.judge.training import JudgeReport, calibrate

__all__ = ["Answered", "BrainJudge", "Judge", "JudgeReport", "Judgement", "LlmJudge", "agreement_of", "calibrate"]
