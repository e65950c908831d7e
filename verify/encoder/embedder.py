"""Sentence embeddings with an explicit provider and precision: the pipeline that the gate measures.

On the CPU one graph with dynamic axes serves every length, and a batch is padded to its longest
text. On CoreML each text goes through the smallest static graph that holds it, in the MLProgram
format: that is the form which the provider takes as one partition. :meth:`Embedder.width` is that
choice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .graph import Output
from .graph_pooling import normalise, pool
from .model_recipe import EncoderSpec, Kind, load_model_recipe, recipe_path
from .prepared.choice import Precision, chosen, ensure_form
from .sessions import COREML, COREML_OPTIONS, CPU, EmbedderError, load_tokenizer, make_session
from .settings import Profile, SessionSettings, Tuning, fitting_profile

__all__ = [
    "Embedder",
    "EmbedderError",
    "Feeds",
    "SessionSettings",
    "StageTimes",
    "normalise",
    "pool",
]

Provider = Literal["cpu", "coreml"]
Pooling = Literal["host", "graph"]
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Tokens = Sequence[int] | NDArray[np.int32]

_PROVIDERS = {"cpu": CPU, "coreml": COREML}


@dataclass(frozen=True, kw_only=True)
class StageTimes:
    """Nanoseconds by ``perf_counter_ns`` of one call; ``total`` is measured, not summed."""

    tokenise: int
    tensors: int
    inference: int
    pool: int
    normalise: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Feeds:
    """Input tensors of one run, int64 ``[batch, sequence]`` each."""

    input_ids: Integers
    attention_mask: Integers
    token_type_ids: Integers

    def named(self, encoder: EncoderSpec) -> dict[str, Integers]:
        """Return them by name, those that the encoder's graphs take."""
        return {name: getattr(self, name) for name in encoder.inputs}


class Embedder:
    """Turns texts into vectors; made by :meth:`from_recipe`.

    One object may be shared by threads. It is a context manager; closing frees the sessions.

    Examples
    --------
    >>> from verify import Embedder
    >>> with Embedder.from_recipe("models/all-minilm-l6-v2", "all-minilm-l6-v2") as embedder:
    ...     embedder.embed(["A sentence."]).shape  # doctest: +SKIP
    (1, 384)
    """

    def __init__(
        self,
        model_dir: Path,
        encoder: EncoderSpec,
        *,
        provider: Provider = "cpu",
        precision: Precision = "fp32",
        pooling: Pooling = "host",
        threads: int | None = None,
        graphs: Path | None = None,
        session: SessionSettings | None = None,
    ) -> None:
        for what, given, known in (
            ("provider", provider, tuple(_PROVIDERS)),
            ("precision", precision, get_args(Precision)),
            ("pooling", pooling, get_args(Pooling)),
        ):
            if given not in known:
                hint = " or ".join(f'"{name}"' for name in known)
                raise EmbedderError(f'There is no {what} "{given}".', hint=f"Use {hint}.")
        self.model_dir = model_dir
        self.encoder = encoder
        self.provider = provider
        self.pooling = pooling
        self._settings = session or SessionSettings()
        choice = chosen(
            precision, provider, model_dir / encoder.weights_file, self._settings.auto_least
        )
        self.precision, self.precision_why = choice.precision, choice.why
        self.padded = self._settings.padded or provider == "coreml"
        if threads is not None and (threads < 1 or self._settings.options is not None):
            raise EmbedderError(
                "threads must be at least 1, and be left out when session options are given."
            )
        self._threads = threads
        self._graphs = graphs or model_dir / "graphs"
        self._sessions: dict[int, Any] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._tokenizer = load_tokenizer(model_dir / "tokenizer.json", encoder)
        self.profile = self._found_profile()

    @classmethod
    def from_recipe(
        cls,
        model_dir: Path | str,
        encoder: EncoderSpec | Path | str,
        *,
        provider: Provider = "cpu",
        precision: Precision = "fp32",
        pooling: Pooling = "host",
        threads: int | None = None,
        graphs: Path | str | None = None,
        session: SessionSettings | None = None,
    ) -> Embedder:
        """Make an embedder.

        Parameters
        ----------
        model_dir : Path or str
            Holds ``model.safetensors`` and ``tokenizer.json``.
        encoder : EncoderSpec, Path or str
            The encoder's shape, or the name or path of a model recipe that has it.
        provider : {"cpu", "coreml"}
            Who runs the graph. There is no silent fallback: when the session does not hold the
            provider, that is an error.
        precision : {"fp32", "fp16", "int8", "int8-fast", "auto"}
            Arithmetic of the graph. Those in eight bits are prepared for the CPU
            (docs/performance.md), ``auto`` is the fastest that costs no more than the session
            settings allow; the embedder's ``precision_why`` says why it was taken.
        pooling : {"host", "graph"}
            Where the mean and the normalisation are computed: in numpy, or inside the graph,
            whose output is then ``sentence_embedding``: one call does it all, and the token
            vectors never leave the provider. The results are equal up to rounding.
        threads : int, optional
            Threads inside one operation; onnxruntime's own choice when left out.
        graphs : Path or str, optional
            Where the built graphs are kept; ``<model_dir>/graphs`` by default.
        session : SessionSettings, optional
            What is rarely set.

        Raises
        ------
        EmbedderError
            When the provider is unknown or not in this wheel, or a file cannot be read.
        """
        spec = encoder
        if not isinstance(spec, EncoderSpec):
            spec = load_model_recipe(recipe_path(str(spec))).encoder
        return cls(
            Path(model_dir),
            spec,
            provider=provider,
            precision=precision,
            pooling=pooling,
            threads=threads,
            graphs=None if graphs is None else Path(graphs),
            session=session,
        )

    def __enter__(self) -> Embedder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the sessions; any later call is an error."""
        with self._lock:
            self._sessions.clear()
            self._closed = True

    def embed(self, texts: Sequence[str], *, kind: Kind | None = None) -> Floats:
        """Return float32 ``[len(texts), hidden]``, one row for each text in the order given.

        Parameters
        ----------
        texts : sequence of str
        kind : {"query", "passage", "plain"}, optional
            Which of the recipe's prefixes comes before each text; ``plain`` is none. It may be
            left out where the recipe has no prefixes.

        Raises
        ------
        EmbedderError
            When ``texts`` is one string, or holds something that is not a string.
        VerifyError
            When the recipe has prefixes and ``kind`` is left out.
        """
        return self.embed_encoded(self.encode(texts, kind=kind))

    def embed_encoded(self, encoded: Sequence[Tokens]) -> Floats:
        """Return the vectors of texts that :meth:`encode` has turned into token ids."""
        if self.pooling == "graph":
            return self._each_batch(encoded, self.run)
        pooled = self._each_batch(encoded, self._pooled)
        return normalise(pooled) if self.encoder.normalise else pooled

    def pooled_before_norm(self, texts: Sequence[str], *, kind: Kind | None = None) -> Floats:
        """Return the pooled vectors before they are scaled, float32 ``[n, hidden]``.

        A NaN, an infinity or a zero vector shows here and is hidden by normalising.

        Raises
        ------
        EmbedderError
            When the graph pools: it gives the scaled vector alone.
        """
        if self.pooling == "graph":
            raise EmbedderError(
                "A graph that pools gives no vector before normalising.",
                hint='Make the embedder with pooling="host".',
            )
        return self._each_batch(self.encode(texts, kind=kind), self._pooled)

    def pool(self, states: Floats, feeds: Feeds) -> Floats:
        """Pool token vectors as the encoder does, on the host: float32 ``[batch, hidden]``."""
        return pool(states, feeds.attention_mask, self.encoder.pooling)

    def _pooled(self, feeds: Feeds) -> Floats:
        return self.pool(self.run(feeds), feeds)

    def _each_batch(self, encoded: Sequence[Tokens], vectors: Callable[[Feeds], Floats]) -> Floats:
        """Run texts of like length together, and put the vectors back in the order given."""
        limits = self._settings.batches()
        if self.padded:
            limits = replace(limits, texts=1)
        result = np.zeros((len(encoded), self.encoder.hidden), dtype=np.float32)
        for rows in limits.cut([len(ids) for ids in encoded]):
            result[rows] = vectors(self.feeds([encoded[row] for row in rows]))
        return result

    def embed_timed(self, text: str, *, kind: Kind = "query") -> tuple[Floats, StageTimes]:
        """Embed one query and return ``([hidden], times)``, text in to vector out.

        Where the graph pools, its time is in ``inference``; ``pool`` and ``normalise`` are what
        is left of them on the host, which is next to nothing.
        """
        start = perf_counter_ns()
        ids = self.token_ids(text, kind=kind)
        tokenised = perf_counter_ns()
        feeds = self.feeds([ids])
        built = perf_counter_ns()
        states = self.run(feeds)
        inferred = perf_counter_ns()
        here = self.pooling == "host"
        pooled = self.pool(states, feeds) if here else states
        reduced = perf_counter_ns()
        vector = normalise(pooled) if here and self.encoder.normalise else pooled
        end = perf_counter_ns()
        return vector[0], StageTimes(
            tokenise=tokenised - start,
            tensors=built - tokenised,
            inference=inferred - built,
            pool=reduced - inferred,
            normalise=end - reduced,
            total=end - start,
        )

    def token_ids(self, text: str, *, kind: Kind | None = None) -> list[int]:
        """Return the token ids of a text after its prefix, cut to the encoder's ``max_length``."""
        if not isinstance(text, str):
            raise EmbedderError(f"A text must be a string, not {type(text).__name__}.")
        try:
            ids: list[int] = self._tokenizer.encode(self.encoder.prefixed(text, kind)).ids
        except (UnicodeEncodeError, TypeError):
            raise EmbedderError(
                "The text holds half of a surrogate pair, which is not Unicode.",
                hint='Clean it with text.encode("utf-8", "replace").decode().',
            ) from None
        return ids

    def encode(self, texts: Sequence[str], *, kind: Kind | None = None) -> list[NDArray[np.int32]]:
        """Return the token ids of each text; ``kind`` and errors as in :meth:`embed`."""
        return [np.array(self.token_ids(text, kind=kind), dtype=np.int32) for text in _texts(texts)]

    def feeds(self, encoded: Sequence[Tokens]) -> Feeds:
        """Pad token ids to one length, that of :meth:`width`."""
        shape = (len(encoded), self.width([len(ids) for ids in encoded]))
        ids = np.full(shape, self.encoder.pad_token_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, tokens in enumerate(encoded):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        return Feeds(
            input_ids=ids, attention_mask=mask, token_type_ids=np.zeros(shape, dtype=np.int64)
        )

    @property
    def buckets(self) -> tuple[int, ...]:
        """Sequence lengths of the static graphs; none where one graph serves every length."""
        return self.encoder.buckets if self.padded else ()

    def width(self, lengths: Sequence[int]) -> int:
        """Return the sequence length at which texts of so many tokens are run together.

        With static graphs it is the smallest bucket that holds the longest text, so that Core ML
        sees no shape that it has not compiled. Without, it is the longest text itself: a single
        text is not padded at all.

        Raises
        ------
        VerifyError
            When no bucket holds a text; :meth:`token_ids` cuts texts to what the last one holds.
        """
        longest = max(lengths)
        return self.encoder.bucket(longest) if self.padded else longest

    @property
    def _output(self) -> Output:
        return "sentence_embedding" if self.pooling == "graph" else "last_hidden_state"

    def run(self, feeds: Feeds) -> Floats:
        """Run the graph: float32 ``[batch, sequence, hidden]``, or ``[batch, hidden]`` pooled."""
        session = self.session(feeds.input_ids.shape[1] if self.padded else 0)
        outputs = session.run([self._output], feeds.named(self.encoder))
        return np.asarray(outputs[0], dtype=np.float32)

    def _found_profile(self) -> Profile | None:
        asked = self._settings.profile
        settled = self._threads is not None or self._settings.options is not None
        if self.padded or settled:
            if isinstance(asked, Path):
                raise EmbedderError(
                    "A profile is for the CPU provider, with neither threads nor session options "
                    "beside it.",
                    hint="Leave them out, or the profile.",
                )
            return None
        return fitting_profile(asked, model=self.encoder.name, precision=self.precision)

    def session(self, width: int = 0) -> Any:
        """Return the onnxruntime session for a bucket; 0 means the graph with dynamic axes."""
        session = self._sessions.get(width)
        if session is None:
            with self._lock:
                if self._closed:
                    raise EmbedderError("This embedder is closed.", hint="Make another one.")
                session = self._sessions.get(width)
                if session is None:
                    session = self._make_session(width)
                    self._sessions[width] = session
        return session

    def _make_session(self, width: int) -> Any:
        path = ensure_form(
            self.model_dir,
            self.encoder,
            self._graphs,
            static=(1, width) if width else None,
            precision=self.precision,
            output=self._output,
        )
        tuning = self.profile.tuning if self.profile else Tuning(threads=self._threads)
        coreml = {**COREML_OPTIONS, **self._settings.provider_options}
        return make_session(
            path,
            _PROVIDERS[self.provider],
            options=self._settings.options or tuning.options(),
            provider_options=coreml if self.provider == "coreml" else {},
        )


def _texts(texts: Sequence[str]) -> Sequence[str]:
    if isinstance(texts, (str, bytes)):
        raise EmbedderError(
            "embed takes a list of texts and was given one string.", hint="Write embed([text])."
        )
    return texts
