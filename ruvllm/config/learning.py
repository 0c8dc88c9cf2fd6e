"""What a brain learns from outcomes, and when."""

from __future__ import annotations

from ruvllm.config.section import MAX_WAIT_S, Section, require

__all__ = ["CompressionConfig", "EnrichmentConfig", "JudgeConfig", "LearningConfig", "SignalsConfig", "WorkerConfig"]


class LearningConfig(Section, frozen=True):
    """What outcomes and time do to edges. Structure (Follows, Contains, Derived) never fades: it stays true."""

    eta: float = 0.1  # learning rate: the best outcome closes a tenth of the gap to 1
    max_move_per_day: float = 0.2  # how far one rater may move one edge in a UTC day
    # Half-lives without use, 0 = never. What an author wrote stays true for long; that two texts look alike, or that an
    # agent once went from one to the other, is a guess that use has to confirm.
    cites_half_life_days: float = 365.0
    shared_name_half_life_days: float = 365.0
    same_topic_half_life_days: float = 180.0
    agent_step_half_life_days: float = 90.0

    def __post_init__(self) -> None:
        require(0.0 <= self.eta <= 1.0, f"learning.eta must be in [0, 1] ({self.eta})")
        require(
            0.0 < self.max_move_per_day <= 1.0, f"learning.max_move_per_day must be in (0, 1] ({self.max_move_per_day})"
        )
        for name in ("cites", "shared_name", "same_topic", "agent_step"):
            days = getattr(self, f"{name}_half_life_days")
            require(
                days == 0.0 or 1e-3 <= days <= 1e6,
                f"learning.{name}_half_life_days must be 0 = never, or in [0.001, 1e6] ({days})",
            )


class SignalsConfig(Section, frozen=True):
    """What people do after an answer, read as weak evidence against it by `learn`; whatever they say counts instead.

    Somebody who asks nearly the same again soon was not helped, perhaps; going away afterwards says so once more. Going
    away alone says nothing: a good answer ends a conversation, too.
    """

    enabled: bool = False
    rephrase_within_s: float = 120.0
    rephrase_similarity: float = 0.8  # cosine of the two questions, at least
    abandon_after_s: float = 1800.0
    weight: float = 0.2  # of what a rating of 1 would move

    def __post_init__(self) -> None:
        for name in ("rephrase_within_s", "abandon_after_s"):
            value = getattr(self, name)
            require(0.0 < value < float("inf"), f"signals.{name} must be > 0 ({value})")
        similarity = self.rephrase_similarity
        require(0.0 < similarity <= 1.0, f"signals.rephrase_similarity must be in (0, 1] ({similarity})")
        require(0.0 < self.weight <= 0.5, f"signals.weight must be in (0, 0.5] ({self.weight})")


class WorkerConfig(Section, frozen=True):
    """What a brain that is open for writing learns by itself while nobody waits; see docs/learning.md."""

    enabled: bool = True
    start_after_s: float = 60.0  # after opening, so that a process that answers one question trains nothing
    idle_s: float = 1.0  # without a request, before a job begins
    cpu_share: float = 0.5  # of one processor that a job takes
    # Hours from the end of a job to its next beginning; 0 = only by `learn` and the like.
    attention_hours: float = 24.0
    attention_after_s: float = 10.0  # shortest time between trainings of the ranking after new outcomes; 0 = none
    router_hours: float = 24.0
    judge_hours: float = 24.0
    compression_hours: float = 1.0
    signals_hours: float = 1.0  # where [signals] is on
    sessions_hours: float = 24.0  # where sessions.max_idle_days is set
    decay_hours: float = 24.0
    index_hours: float = 24.0  # and whenever a fifth of it is deleted
    enrichment_hours: float = 0.0  # reading takes a model about a second a passage: somebody has to want that
    archival_hours: float = 0.0  # what is hardly used leaves search: somebody has to want that

    def __post_init__(self) -> None:
        for name in ("start_after_s", "idle_s", "attention_after_s"):
            value = getattr(self, name)
            require(0.0 <= value <= MAX_WAIT_S, f"worker.{name} must be in [0, 1e6] ({value})")
        require(0.01 <= self.cpu_share <= 1.0, f"worker.cpu_share must be in [0.01, 1] ({self.cpu_share})")
        for name in (field for field in self.__struct_fields__ if field.endswith("_hours")):
            hours = getattr(self, name)
            require(
                hours == 0.0 or 0.001 <= hours <= 1e5,
                f"worker.{name} must be 0 = only on demand, or in [0.001, 1e5] ({hours})",
            )


class CompressionConfig(Section, frozen=True):
    """Which clusters become concepts, and who sums them up."""

    min_size: int = 3  # nodes of a cluster
    min_density: float = 0.5  # mean affinity of two of them: at 0.5, nine of ten CLINC150 requests share their intent
    changed_share: float = 0.2  # of a concept's members that may join or leave before it is written anew
    max_levels: int = 3  # of concepts of concepts
    summarize: bool = True  # False: the most central sentences of the members, without a model
    model: str = ""  # a name as in models.tiers; "" = the largest local tier

    def __post_init__(self) -> None:
        require(self.min_size >= 2, f"compression.min_size must be >= 2 ({self.min_size})")
        for name in ("min_density", "changed_share"):
            value = getattr(self, name)
            require(0.0 <= value <= 1.0, f"compression.{name} must be in [0, 1] ({value})")
        require(1 <= self.max_levels <= 8, f"compression.max_levels must be in [1, 8] ({self.max_levels})")


class EnrichmentConfig(Section, frozen=True):
    """Which passages a local model reads to name what they are about, and how much of it."""

    model: str = ""  # a name as in models.tiers; "" = the largest local tier
    max_links: int = 3  # by names or likeness that a passage may have and is still read
    max_names: int = 5  # that are taken from one passage
    max_new_tokens: int = 64  # that the model writes about one passage
    passages_per_run: int = 200

    def __post_init__(self) -> None:
        require(self.max_links >= 0, f"enrichment.max_links must be >= 0 ({self.max_links})")
        require(1 <= self.max_names <= 24, f"enrichment.max_names must be in [1, 24] ({self.max_names})")
        require(
            8 <= self.max_new_tokens <= 1024,
            f"enrichment.max_new_tokens must be in [8, 1024] ({self.max_new_tokens})",
        )
        require(self.passages_per_run >= 1, f"enrichment.passages_per_run must be >= 1 ({self.passages_per_run})")


class JudgeConfig(Section, frozen=True):
    """Who says how good answers are."""

    enabled: bool = True  # every answer is judged by its signals: milliseconds, no model but the embedder
    # Ask a model, too: one of the readers' names, or "largest" for the last of models.tiers; it must keep to a JSON
    # schema. It takes as long as an answer does.
    llm: str = ""
    samples: int = 5  # other answers that `RuvLLM.judge(..., consistency=True)` compares

    def __post_init__(self) -> None:
        require(1 <= self.samples <= 32, f"judge.samples must be in [1, 32] ({self.samples})")
