"""The five stages in reading order, and the files that a build leaves for its readers.

    out/stages/images      every source's images, cleaned           (images)
    out/stages/features    a vector for each                        (features)
    out/stages/sets        pairs and triplets worth comparing       (sampling)
    out/stages/pairs       questions and answers with identifiers   (pairs, asking)
    out/stages/records     through the filters, with masks          (conversations)
    out/pictures           photographs that are seen again         (pictures)
    out/train.jsonl  test.jsonl  rejected.jsonl  report.json

Each stage is run again only when its inputs or settings have changed.

Source: PRIMA sec. 4 and A.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from segue.chat_model import Budget, ChatModel
from segue.datasets.generation import Generation, GenerationSettings
from segue.datasets.m4seg.asking import TEMPERATURE, pairs_job
from segue.datasets.m4seg.conversations import DROPPED, MaskForm, filter_pairs
from segue.datasets.m4seg.embedders import MINI, Embedder, open_embedder
from segue.datasets.m4seg.features import embed_images
from segue.datasets.m4seg.images import SourceSpec, read_images, vocabulary_of
from segue.datasets.m4seg.pairs import TEMPLATE, collect_pairs, write_pairs
from segue.datasets.m4seg.pictures import draw_pictures
from segue.datasets.m4seg.pointing import PICTURES
from segue.datasets.m4seg.relevance import DEFAULT_TABLE, Relevance
from segue.datasets.m4seg.sampling import SamplingConfig, sample_sets
from segue.datasets.stages.stages import MapFn, StageOutput, read_stage
from segue.errors import InputError, ModelError
from segue.files import atomic_writer, write_atomic

StageName = Literal["images", "features", "sets", "pairs", "records"]
STAGES: tuple[str, ...] = get_args(StageName)
TRAIN, TEST, REJECTED, REPORT = "train.jsonl", "test.jsonl", "rejected.jsonl", "report.json"


@dataclass(frozen=True)
class BuildConfig:
    """Configuration of a build; its hash decides whether stages are made anew.

    Attributes:
        sources: Where the annotated images come from.
        embedder: Name for `open_embedder`, or an embedder.
        sampling: Of image sets.
        relevance: Table of relevant classes.
        temperature: Of a chat model.
        masks: `inline`, or `store` for large builds; see `RegionStore`.
        regions: Share of the conversations that point at a region, 0 to 1; only rules write such.
    """

    sources: Sequence[SourceSpec]
    embedder: str | Embedder = MINI
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    relevance: Path = DEFAULT_TABLE
    temperature: float = TEMPERATURE
    masks: MaskForm = "inline"
    regions: float = 0.0


@dataclass(frozen=True)
class Asking:
    """How a chat model writes the pairs; without it, rules do.

    Attributes:
        model: Who is asked.
        settings: Threads, retries, rate.
        budget: Bounds over all runs.
        confirm: Is shown the estimate before anything is asked, and may stop the build by returning False.
        tell: Is shown what was made, rejected and spent.
    """

    model: ChatModel
    settings: GenerationSettings = field(default_factory=GenerationSettings)
    budget: Budget | None = None
    confirm: Callable[[Sequence[str]], bool] = field(default=lambda lines: True)
    tell: Callable[[Sequence[str]], object] = field(default=lambda lines: None)


class Build:
    """A build in its folder.

    Args:
        out: Made if need be; an interrupted build goes on in it.
        config: What to build.
        asking: The chat model, if one writes the pairs.
        map_fn: Runs the work of the stages.
        progress: Whether to show bars.
    """

    def __init__(
        self,
        out: str | Path,
        config: BuildConfig,
        *,
        asking: Asking | None = None,
        map_fn: MapFn = map,
        progress: bool = True,
    ) -> None:
        self.out, self.config, self.asking = Path(out), config, asking
        self._map_fn, self._progress = map_fn, progress
        if asking is not None and config.regions:
            raise InputError(
                "A chat model writes no questions that point.",
                expected="regions 0, or the generator template",
                found=f"regions {config.regions}, {asking.model.name}",
                where="regions",
                fix="leave out --regions, or --generator",
            )
        # Read first: a mistake in it shall not show after the features have been computed.
        self._relevance = Relevance.read(config.relevance)
        self._stages: dict[str, StageOutput] = {}

    def run(self, until: StageName = "records") -> StageOutput | None:
        """Run the stages up to one of them, and after the last write the files for readers.

        Returns:
            The stage; None when a chat model was to be asked and `Asking.confirm` said no.

        Raises:
            SegueError: What a stage cannot do; the build goes on from there when it is run again.
        """
        if until != "images":
            self._embedder()  # A name that cannot be opened shall not show after all images have been read.
        for name in STAGES[: STAGES.index(until) + 1]:
            done: StageOutput | None = getattr(self, f"_{name}")()
            if done is None:
                return None
            self._stages[name] = done
        if until == "records":
            self._finish()
        return self._stages[until]

    def run_alone(self, stage: StageName) -> StageOutput | None:
        """Run one stage on what is there of those before it.

        Raises:
            InputError: A stage before it is not complete.
        """
        for name in STAGES[: STAGES.index(stage)]:
            # The stage of the sets is two runs, `drawn` and `kept`; later stages read the second alone.
            ready = read_stage(self._folder(name) / ("kept" if name == "sets" else ""))
            if ready is None:
                raise InputError(
                    f"The stage {stage} cannot be run alone.",
                    expected=f"the stage {name} complete",
                    found="nothing, or an interrupted run",
                    where=str(self._folder(name)),
                    fix=f"run the build with --until {name} first",
                )
            self._stages[name] = ready
        # None: a chat model was to be asked and nobody agreed to the bill. That is an answer, not an error.
        done: StageOutput | None = getattr(self, f"_{stage}")()
        if done is not None and stage == "records":
            self._stages[stage] = done
            self._finish()
        return done

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the counts of each stage."""
        return {name: dict(sorted(stage.counts().items())) for name, stage in self._stages.items()}

    def _folder(self, stage: str) -> Path:
        return self.out / "stages" / stage

    def _how(self) -> dict[str, Any]:
        return {"map_fn": self._map_fn, "progress": self._progress}

    def _embedder(self) -> Embedder:
        embedder = self.config.embedder
        return open_embedder(embedder) if isinstance(embedder, str) else embedder

    def _images(self) -> StageOutput:
        return read_images(self._folder("images"), self.config.sources, **self._how())

    def _features(self) -> StageOutput:
        folder = self._folder("features")
        return embed_images(folder, self._stages["images"], self.config.embedder, **self._how())

    def _sets(self) -> StageOutput:
        output = sample_sets(
            self._folder("sets"),
            self._stages["images"],
            self._stages["features"],
            self.config.sampling,
            self._relevance,
            # Opened once in a process (`open_embedder` is cached), so asking it for one number here loads
            # nothing.
            near_duplicate=self._embedder().near_duplicate,
            **self._how(),
        )
        if not output.total("sets"):
            raise InputError(
                "No set of images could be drawn.",
                expected="at least two different images in one source and split",
                found=f"{self._stages['images'].total('images')} images",
                where="sampling",
                fix="give more images, or let sets mix sources (cross_source)",
            )
        return output

    def _pairs(self) -> StageOutput | None:
        images, sets, folder = self._stages["images"], self._stages["sets"], self._folder("pairs")
        if self.asking is None:
            seed, regions = self.config.sampling.seed, self.config.regions
            return write_pairs(folder, images, sets, seed=seed, regions=regions, **self._how())
        job = pairs_job(images, sets, self.asking.model.name, self.config.temperature)
        # Not the folder of the stage: `run_stage` removes stale shards there, and replies that were paid for
        # must outlive every change of the settings.
        asked = self.out / "stages" / "asked"
        with Generation(
            job, self.asking.model, asked, settings=self.asking.settings, budget=self.asking.budget
        ) as generation:
            # With every item finished the run sends nothing, so there is no bill to agree to.
            if generation.finished < len(job.items) and not self.asking.confirm(
                generation.estimate().lines()
            ):
                return None
            report = generation.run(progress=self._progress)
        # Before `check`, which raises where nothing could be made: what was spent shall be seen in that case
        # too.
        self.asking.tell(report.lines())
        report.check()
        return collect_pairs(folder, report.records, images, sets)

    def _records(self) -> StageOutput:
        images = self._stages["images"]
        sampling = self.config.sampling
        return filter_pairs(
            self._folder("records"),
            images,
            self._stages["sets"],
            self._stages["pairs"],
            vocabulary_of(images, self.config.sources),
            out=self.out,
            masks=self.config.masks,
            # With the other two ways each set has its side already; to draw again by pair would put one image
            # on both sides.
            test_share=sampling.test_share if sampling.split_by == "random_qa" else None,
            **self._how(),
        )

    def _finish(self) -> None:
        records = self._stages["records"]
        # Before the records that name them.
        draw_pictures(self.out / PICTURES, self._stages["images"], records, self._map_fn)
        for name, output in ((TRAIN, "train"), (TEST, "test"), (REJECTED, DROPPED)):
            # Joined as bytes: a record is a line, so nothing need be parsed.
            _join([path for path, _ in records.files(output)], self.out / name)
        report = {
            "generator": TEMPLATE if self.asking is None else self.asking.model.name,
            "sampling": asdict(self.config.sampling),
            "masks": self.config.masks,
            **({"regions": self.config.regions} if self.config.regions else {}),
            "hash": records.hash,
            "pairs": {output: records.total(output) for output in ("train", "test", DROPPED)},
            "stages": self.counts(),
        }
        write_atomic(self.out / REPORT, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        # Last: its error sends people to rejected.jsonl and the report, which must be there by then.
        self._check(records)

    def _check(self, records: StageOutput) -> None:
        """Make sure that a pair was kept; ModelError with what the filters found fault with."""
        if records.total("train") + records.total("test"):
            return
        counts = ", ".join(f"{what} {count}" for what, count in sorted(records.counts().items()))
        raise ModelError(
            "No question-answer pair was kept: the files of records are empty.",
            expected="at least one pair that passes the filters",
            found=f"{records.total(DROPPED)} pairs left out ({counts})",
            where=str(self.out / REJECTED),
            fix="read the reasons there; give more or other images, or another chat model",
        )


def _join(parts: Sequence[Path], path: Path) -> None:
    """Write files one after the other; the result appears whole or not at all."""
    with atomic_writer(path, "wb") as joined:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, joined)
