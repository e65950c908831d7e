"""What a check gets: the model, the policy, the environments and a place to leave evidence."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..encoder.model_recipe import EncoderSpec
from ..encoder.prepared.choice import Precision, ensure_form
from ..errors import VerifyError
from ..policy.limits import Policy
from .channel import Answer, Worker, call

if TYPE_CHECKING:
    from ..encoder.embedder import Embedder
    from ..encoder.settings import Tuning

Role = Literal["candidate", "official", "newest", "fastembed", "sentence-transformers"]
Provider = Literal["cpu", "coreml"]


@dataclass(frozen=True, kw_only=True)
class TargetContext:
    """One check's view of the run.

    Parameters
    ----------
    role : str
        Whose wheel is installed in this environment, or whose library (`verify.beside`).
    work : Path
        Scratch directory of this run; it exists.
    model_dir : Path
        Holds ``model.safetensors`` and ``tokenizer.json``.
    encoder : EncoderSpec
        The encoder's shape.
    policy : Policy
        Limits and required checks.
    quick : bool
        Whether fewer samples are wanted.
    manifest : Mapping or None
        The build's manifest, where there is one.
    targets : Mapping[str, Path]
        Role to the Python interpreter of its environment. ``official`` may be absent.
    wheels : Mapping[str, Path]
        Role to the wheel file, for checks that read bytes alone. ``official`` may be absent.
    adaptive_seconds : float or None
        How long sampling may go on while the result is not clear; ``None`` for as long again as
        was planned.
    host : str
        Host kind, such as ``linux-x86_64``.
    references : Path or None
        Folder of other reference texts than the package's own.
    patches : collection of str
        Names of the recipe's patches in the wheel, as far as they are known.
    listener : callable, optional
        Takes a check's id and a line of progress.
    samples, coverage : list
        Filled by :meth:`add_samples` and :meth:`add_coverage`.
    """

    role: Role
    work: Path
    model_dir: Path
    encoder: EncoderSpec
    policy: Policy
    quick: bool = False
    manifest: Mapping[str, Any] | None = None
    targets: Mapping[str, Path] = field(default_factory=dict)
    wheels: Mapping[str, Path] = field(default_factory=dict)
    adaptive_seconds: float | None = None
    host: str = ""
    references: Path | None = None
    patches: Collection[str] = ()
    listener: Callable[[str, str], None] | None = field(default=None, compare=False)
    samples: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list, compare=False)
    coverage: list[Mapping[str, Any]] = field(default_factory=list, compare=False)

    def graph(
        self, *, static: tuple[int, int] | None = None, precision: Precision = "fp32"
    ) -> Path:
        """Return the ONNX graph, built from the weights when it is not there yet.

        Parameters
        ----------
        static : (int, int), optional
            Batch and sequence length; dynamic axes when left out.
        precision : str
            Type of the weights and of the arithmetic, ``fp32``, ``fp16`` or a form prepared for
            the CPU; inputs are int64, the output is float32.
        """
        return ensure_form(
            self.model_dir, self.encoder, self.graphs_dir, static=static, precision=precision
        )

    @property
    def graphs_dir(self) -> Path:
        """Directory of the built graphs, shared by all checks of this run."""
        return self.work / "graphs"

    def embedder(
        self,
        *,
        provider: Provider = "cpu",
        precision: Precision = "fp32",
        tuning: Tuning | None = None,
        **settings: Any,
    ) -> Embedder:
        """Return the pipeline that the gate measures; close it after use.

        No profile of this machine is looked for: what is proven must not depend on what lies
        about. ``tuning`` says what is not onnxruntime's own; ``settings`` are those of
        :class:`~verify.encoder.settings.SessionSettings`.
        """
        from ..encoder.embedder import Embedder, SessionSettings

        return Embedder.from_recipe(
            self.model_dir,
            self.encoder,
            provider=provider,
            precision=precision,
            graphs=self.graphs_dir,
            session=SessionSettings(
                options=None if tuning is None else tuning.options(), profile=False, **settings
            ),
        )

    def say(self, text: str, *, check: str = "") -> None:
        """Report progress, where someone listens."""
        if self.listener is not None:
            self.listener(check, text)

    def add_samples(self, kind: str, series: Mapping[str, Any]) -> None:
        """Keep a series of raw samples; it ends up in ``samples[kind]`` of verify.json."""
        self.samples.append((kind, dict(series)))

    def add_coverage(self, entry: Mapping[str, Any]) -> None:
        """Keep one graph's coverage; it ends up in ``coverage`` of verify.json."""
        self.coverage.append(dict(entry))

    def python(self, role: Role = "candidate") -> Path:
        """Return the interpreter of an environment.

        Raises
        ------
        VerifyError
            When that environment was not made.
        """
        if role in self.targets:
            return self.targets[role]
        if role == self.role:
            return Path(sys.executable)
        raise VerifyError(
            f"This run has no environment with the {role} wheel.", hint="Run without --no-official."
        )

    def call(
        self, function: str, payload: Any, *, role: Role = "candidate", timeout: float = 300.0
    ) -> Answer:
        """Run ``function(context, payload)`` in a fresh process of an environment.

        The function (see :func:`~verify.environment.channel.load_function`) gets this context
        with the other role and returns a JSON value. The process may crash or hang: the answer
        says so.
        """
        return call(self.worker(function, payload, role=role), timeout)

    def worker(
        self, function: str, payload: Any, *, role: Role = "candidate", log: Path | None = None
    ) -> Worker:
        """Start a process as :meth:`call` does, and leave asking and ending it to the caller."""
        return Worker(
            self.python(role),
            function,
            payload,
            work=self.work,
            context={**self.to_job(), "role": role},
            log=log,
            say=self.listener,
        )

    def to_job(self) -> dict[str, Any]:
        """Return the context as JSON values, for another process."""
        return {
            "role": self.role,
            "work": str(self.work),
            "model_dir": str(self.model_dir),
            "encoder": self.encoder.to_json(),
            "policy": self.policy.to_json(),
            "quick": self.quick,
            "manifest": dict(self.manifest) if self.manifest is not None else None,
            "targets": {role: str(path) for role, path in self.targets.items()},
            "adaptive_seconds": self.adaptive_seconds,
            "host": self.host,
            "references": str(self.references) if self.references else None,
        }

    @classmethod
    def from_job(
        cls, job: Mapping[str, Any], *, listener: Callable[[str, str], None] | None = None
    ) -> TargetContext:
        """Rebuild what :meth:`to_job` wrote."""
        return cls(
            role=job["role"],
            work=Path(job["work"]),
            model_dir=Path(job["model_dir"]),
            encoder=EncoderSpec.from_json(job["encoder"]),
            policy=Policy.from_json(job["policy"]),
            quick=job["quick"],
            manifest=job["manifest"],
            targets={role: Path(path) for role, path in job["targets"].items()},
            adaptive_seconds=job["adaptive_seconds"],
            host=job["host"],
            references=Path(job["references"]) if job["references"] else None,
            listener=listener,
        )
