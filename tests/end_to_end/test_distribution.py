"""The project's own wheel, installed away from any checkout beside a distribution called `build`.

The environment is new and holds our wheel and a stand-in for PyPA's `build`; what ours depends on
is looked up in the tests' environment, because there is no network here.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from build.fetch.cache import ContentCache, default_cache_root
from build.recipe.load import load_model_recipe
from tests.kit.macho_examples import wheel as macos_wheel
from tests.kit.shells import OFFERED

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
MODEL = "all-minilm-l6-v2"
PYPA = '__version__ = "1.3.0"\nOWNER = "PyPA"\n'
# How commands read in a checkout.
IN_A_CHECKOUT = re.compile(r"python -m (build|verify)|nox -s (build|fetch|verify)\b")
EMBED = """
import sys
from ortmill import Embedder
with Embedder.from_recipe(sys.argv[1], sys.argv[2], provider="cpu", graphs=sys.argv[3]) as embedder:
    vectors = embedder.embed(["a text", "another"])
print(vectors.shape, vectors.dtype, [round(float(x @ x), 5) for x in vectors])
"""
IN_A_WORKER = """
import json, sys
from pathlib import Path
from ortmill.verify.environment.channel import Worker, call
python, function, payload = sys.argv[1:]
answer = call(Worker(Path(python), function, payload, work=Path.cwd()), 60.0)
print(json.dumps([answer.value, answer.failure]))
"""


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it, and a folder that is no checkout."""

    home: Path
    elsewhere: Path

    def __call__(self, program: str, *words: str, code: int = 0, cwd: Path | None = None) -> str:
        """Run a program of the environment; return what it printed on both outputs."""
        done = subprocess.run(
            [str(self.home / "bin" / program), *words],
            cwd=cwd or self.elsewhere,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        text = done.stdout + done.stderr
        assert done.returncode == code, text
        return text

    @property
    def env(self) -> Mapping[str, str]:
        return {
            "PATH": f"{self.home / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.elsewhere),
            "ORTMILL_CACHE": str(self.home / "cache"),
            "COLUMNS": "100",
        }

    @property
    def site(self) -> Path:
        return next(self.home.glob("lib/python*/site-packages"))


def in_the_checkout(installed: Installed, package: str, *words: str) -> str:
    """Return what the same command prints in the checkout, to the same cache."""
    return subprocess.run(
        [sys.executable, "-m", package, *words],
        cwd=ROOT,
        env=installed.env,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def hatch(target: str, source: Path, folder: Path) -> Path:
    """Build the wheel or the sdist of a checkout."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (made,) = folder.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hatch("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def stand_in(folder: Path) -> Path:
    """Write a wheel of a distribution that is called `build`, as PyPA's is."""
    info = "build-1.3.0.dist-info"
    files = {
        "build/__init__.py": PYPA,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: build\nVersion: 1.3.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{info}/RECORD,,"]
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
        record.append(f"{name},sha256={digest.decode().rstrip('=')},{len(text)}")
    path = folder / "build-1.3.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": "\n".join(record) + "\n"}.items():
            archive.writestr(name, text)
    return path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Installed:
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, with_pip=False, symlinks=True)
    made = Installed(home, tmp_path_factory.mktemp("elsewhere"))
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install"]
    subprocess.run(
        [*pip, "--quiet", "--no-deps", "--no-index", str(stand_in(home)), str(wheel)], check=True
    )
    (made.site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return made


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that holds numpy and onnxruntime, and nothing else."""
    home = tmp_path_factory.mktemp("bare")
    venv.create(home, with_pip=False, symlinks=True)
    site = next(home.glob("lib/python*/site-packages"))
    for name in ("numpy", "onnxruntime"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        for each in Path(spec.origin).parents[1].glob(f"{name}[.-]*"):
            (site / each.name).symlink_to(each)
        (site / name).symlink_to(Path(spec.origin).parent)
    return home / "bin" / "python"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, installed: Installed) -> Path:
    """Return the model's folder, put there by the installed command out of this user's cache."""
    standing = ROOT / ".work" / "models" / MODEL
    if standing.is_dir():
        return standing
    recipe = load_model_recipe(ROOT / "recipes" / "models" / f"{MODEL}.toml")
    theirs = ContentCache(default_cache_root(os.environ))
    ours = ContentCache(installed.home / "cache")
    pinned = [origin.sha256 for origin in recipe.origins if origin.kind == "pypi"]
    found = [digest for digest in pinned if theirs.path_for(digest).is_file()]
    if not found:
        pytest.skip("LOUD: the model is not on this machine, so nothing was embedded")
    for digest in found:
        ours.path_for(digest).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(theirs.path_for(digest), ours.path_for(digest))
    installed("ortmill", "build", "fetch-model", "--offline")
    return installed.elsewhere / ".work" / "models" / MODEL


def test_all_of_it_is_one_package(installed: Installed, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert len(tops) == 2
    assert "ortmill" in tops
    say = "from build import OWNER; print(OWNER)"
    assert installed("python", "-c", say) == "PyPA\n"
    assert (installed.site / "build" / "__init__.py").read_text() == PYPA
    missing = "import importlib.util as u; print(u.find_spec('verify'), u.find_spec('recipes'))"
    assert installed("python", "-c", missing) == "None None\n"


@pytest.mark.parametrize("lock", ["build/requirements.in", "verify/requirements/host.in"])
def test_what_a_checkout_installs_comes_with_the_package(lock: str) -> None:
    """Without coremltools no program of the provider was read, and the model's check was open."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["http"]]
    ours = {Requirement(each).name: Requirement(each).specifier for each in named}
    lines = [
        line.partition("#")[0].strip() for line in (ROOT / lock).read_text("utf-8").split("\n")
    ]
    for wanted in (Requirement(line) for line in lines if line):
        assert wanted.name in ours
        pinned = {each.version for each in wanted.specifier if each.operator == "=="}
        assert all(version in ours[wanted.name] for version in pinned), wanted


def test_the_sdist_gives_the_same_wheel(tmp_path: Path, wheel: Path) -> None:
    sdist = hatch("sdist", ROOT, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / sdist.name.removesuffix(".tar.gz")
    again = hatch("wheel", source, tmp_path / "again")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
        for name in one.namelist():
            assert one.read(name) == other.read(name), name
    for needed in ("tests/kit", "docs/architecture.md", "noxfile.py", "wheels/README.md"):
        assert (source / needed).exists(), needed
    assert not (source / ".work").exists()
    assert not (source / ".nox").exists()
    assert not list(source.glob("wheels/**/*.whl"))


def test_the_command_names_its_two_halves(installed: Installed) -> None:
    text = installed("ortmill", "--help")
    assert "build" in text
    assert "verify" in text
    assert installed("ortmill", "--version").startswith("ortmill 0.")
    assert installed("python", "-m", "ortmill", "--help").splitlines()[0] == text.splitlines()[0]
    assert "COMMAND" in installed("ortmill", code=2)
    assert "invalid choice: 'prove'" in installed("ortmill", "prove", code=2)
    assert not (installed.home / "bin" / "ortmill-build").exists()


# What is in the line, and some of what must be offered at its end.
LINES = (
    ("ortmill ", {"build", "verify", "bridge", "completion"}),
    ("ortmill ver", {"verify"}),
    ("ortmill build ", {"run", "fetch", "plan", "recipe", "doctor"}),
    ("ortmill build run --off", {"--offline"}),
    ("ortmill build run --platform ", {"macos-arm64", "linux-x86_64"}),
    ("ortmill build recipe ", {"check", "new"}),
    ("ortmill verify ", {"run", "checks", "judge"}),
    ("ortmill verify run --bud", {"--budget-ms"}),
    ("ortmill verify run --policy po", {"policy.toml"}),
    ("ortmill verify run wheel.w", {"wheel.whl"}),
    ("ortmill bridge --wi", {"--wire"}),
    ("ortmill bridge --wire ", {"lines", "frames"}),
    ("ortmill completion ", {"bash", "zsh", "fish"}),
)


@pytest.mark.parametrize("shell", OFFERED)
def test_a_shell_completes_commands_options_choices_and_files(
    installed: Installed, shell: str, tmp_path: Path
) -> None:
    script = tmp_path / "_ortmill"
    script.write_text(installed("ortmill", "completion", shell), "utf-8")
    if shutil.which(shell) is None:
        pytest.skip(f"LOUD: there is no {shell} here, so nobody asked it what it offers")
    for name in ("policy.toml", "wheel.whl"):
        (tmp_path / name).touch()
    missing = {line: wanted - OFFERED[shell](script, line) for line, wanted in LINES}
    assert not any(missing.values()), missing


def test_recipes_are_listed_and_planned_as_in_the_checkout(installed: Installed) -> None:
    listed = json.loads(installed("ortmill", "build", "recipes", "--json"))
    names = {file.stem for file in (ROOT / "recipes").glob("onnxruntime-*.toml")}
    assert {row["name"] for row in listed} == names
    assert listed == json.loads(in_the_checkout(installed, "build", "recipes", "--json"))
    assert "onnxruntime" in installed("ortmill", "build", "plan", "--platform", "macos-arm64")
    mac = ["plan", "--platform", "macos-arm64", "--host", "macos-arm64"]
    assert installed("ortmill", "build", *mac) == in_the_checkout(installed, "build", *mac)


def test_a_checkout_is_worked_in_where_there_is_one(installed: Installed, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    (tmp_path / "recipes" / "onnxruntime-1.26.0.toml").unlink()
    assert "1.26.0" not in installed("ortmill", "build", "recipes", cwd=tmp_path)
    assert "1.26.0" in installed("ortmill", "build", "recipes")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["build", "recipes"], "interrupted: nothing was begun"),
        # While the model is fetched for a verification, which then does not go on.
        (["verify", "model"], "nothing was judged"),
    ],
)
def test_ctrl_c_ends_the_command(
    installed: Installed, words: list[str], says: str, tmp_path: Path
) -> None:
    lines = f"""
import ortmill.__main__ as command
from types import SimpleNamespace

real = command._half
def half(name):
    if {words} == ["build", "recipes"]:
        raise KeyboardInterrupt
    return real(name) if name == "verify" else SimpleNamespace(main=lambda words: 130)

command._half = half
raise SystemExit(command.main({words}))
"""
    text = installed("python", "-c", lines, code=130, cwd=tmp_path)
    assert says in text
    assert "Traceback" not in text


def test_checks_are_listed_as_in_the_checkout(installed: Installed) -> None:
    assert installed("ortmill", "verify", "checks") == in_the_checkout(
        installed, "verify", "checks"
    )


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["build", "--help"], 0, "ortmill build plan --platform macos-arm64"),
        (["build", "recipe", "check", "none.toml"], 3, "`ortmill build recipes`"),
        (["build", "fetch-model", "--offline"], 4, "`ortmill build fetch-model all-minilm-l6-v2`"),
        (["build", "plan", "--plat"], 2, "`ortmill build plan --help`"),
        (["verify", "--help"], 0, "ortmill verify run FILE.whl"),
        (["verify", "coverage", "--help"], 0, "ortmill verify coverage model.onnx"),
        (["verify", "run"], 3, "`ortmill build run` first"),
        (["verify", "run", "--what"], 3, "`ortmill verify run --help`"),
        (
            ["verify", "model", "--models", "w/models/all-minilm-l6-v2"],
            3,
            "`ortmill build fetch-model all-minilm-l6-v2 --work w`",
        ),
    ],
)
def test_commands_are_named_as_they_are_called(
    installed: Installed, words: list[str], code: int, says: str, tmp_path: Path
) -> None:
    text = installed("ortmill", *words, code=code, cwd=tmp_path)
    assert says in " ".join(text.split())
    assert not IN_A_CHECKOUT.search(text), IN_A_CHECKOUT.search(text)


def test_a_wheel_is_verified_into_the_current_folder(installed: Installed, tmp_path: Path) -> None:
    path = macos_wheel(tmp_path / "macos")
    text = installed("ortmill", "verify", "run", str(path), "--no-official", code=0)
    assert "passed       macho.signature" in text
    assert not IN_A_CHECKOUT.search(text)
    reports = installed.elsewhere / ".work" / "reports"
    told = json.loads((reports / "verify.json").read_text("utf-8"))
    assert "ortmill verify run" in " ".join(told["verdict"]["next"])
    page = (reports / "report.html").read_text("utf-8")
    assert "ortmill verify run" in page
    assert not IN_A_CHECKOUT.search(page)


@pytest.mark.parametrize(
    ("function", "payload", "value"),
    [
        # A reference that begins with a dot is one to a module of `verify`.
        (".program:as_called", "nox -s build", "ortmill build run"),
        ("importlib.util:find_spec", "rich", None),
        ("importlib.util:find_spec", "ortmill", None),
        ("importlib.metadata:version", "onnxruntime", "1.21.0"),
    ],
)
def test_a_worker_finds_verify_and_nothing_of_the_host(
    installed: Installed, bare: Path, function: str, payload: str, value: object
) -> None:
    text = installed("python", "-c", IN_A_WORKER, str(bare), function, payload)
    assert json.loads(text) == [value, ""]


def test_texts_are_embedded(installed: Installed, model: Path, tmp_path: Path) -> None:
    text = installed("python", "-c", EMBED, str(model), MODEL, str(tmp_path))
    assert text == "(2, 384) float32 [1.0, 1.0]\n"


@pytest.fixture(scope="module")
def cached(installed: Installed, model: Path) -> Path:
    """Return the model's folder in the user's cache, as a first fetch leaves it there."""
    return Path(shutil.copytree(model, installed.home / "cache" / "models" / MODEL))


def test_a_recipe_s_name_is_enough(installed: Installed, cached: Path, tmp_path: Path) -> None:
    lines = (
        "from ortmill import Embedder\n"
        f"with Embedder.from_recipe({MODEL!r}, offline=True) as embedder:\n"
        '    print(embedder.embed(["a text", "another"]).shape)\n'
    )
    for _ in range(2):
        assert installed("python", "-c", lines, cwd=tmp_path) == "(2, 384)\n"
    assert not list(tmp_path.iterdir())
    never = lines.replace(MODEL, "bge-small-en-v1.5")
    assert "only the cache may be used" in installed("python", "-c", never, code=1)
    wrong = "from ortmill import Embedder; Embedder.from_recipe('all-minilm')"
    said = 'There is no model recipe called "all-minilm".'
    assert said in installed("python", "-c", wrong, code=1)


@pytest.mark.parametrize("package", ["ortmill", "verify"])
def test_the_lines_of_the_readme_run(
    installed: Installed, model: Path, cached: Path, package: str, tmp_path: Path
) -> None:
    """The first from anywhere, with the wheel installed; the second from the checkout."""
    text = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (lines,) = (each for each in blocks if f"from {package} import Embedder" in each)
    said = re.search(r"# (\w+) \[(\d+), (\d+)\], L2 norm 1$", lines, re.MULTILINE)
    assert said, "the README says what comes out"
    (tmp_path / ".work" / "models").mkdir(parents=True)
    shutil.copytree(model, tmp_path / ".work" / "models" / MODEL)
    lines += "print(vectors.dtype, list(vectors.shape), abs((vectors**2).sum(1) - 1).max() < 1e-5)"
    if package == "verify":
        lines = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{lines}"
    dtype, batch, width = said.groups()
    told = installed("python", "-c", lines, cwd=tmp_path)
    assert told == f"{dtype} [{batch}, {width}] True\n"


@pytest.mark.network
def test_the_official_wheel_is_proven(installed: Installed, tmp_path: Path) -> None:
    """By its name and version alone: the wheel and the model are fetched."""
    wanted = ("embedding.reference", "robustness.inputs", "latency.cold")
    words = [word for name in wanted for word in ("--only", name)]
    text = installed(
        *("ortmill", "verify", "onnxruntime==1.21.0", "--no-official", *words),
        code=2,
        cwd=tmp_path,
    )
    for name in wanted:
        assert re.search(rf"^passed +{re.escape(name)}", text, re.MULTILINE), text
