"""Sets multihop up, once: checks, Python environments, Delta's jars, class archive.

    python3 scripts/setup.py            do what is missing
    python3 scripts/setup.py --check    only see whether this machine can run it
    python3 scripts/setup.py --without-aws    leave out the embedded AWS of demo and tests

Each step is skipped when its inputs have not changed. Standard library only, and no syntax
younger than Python 3.6: an old Python must be told so in words.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_AWS = ROOT / ".venv-aws"
JARS = ROOT / "jars"
ARCHIVE = JARS / "spark.jsa"
MIN_PYTHON = (3, 11)
MIN_JAVA = 17
FETCH_ATTEMPTS = 3

# Ivy knows the root of Maven's central repository itself; MAVEN_MIRROR names another.
# Its cache is ours alone, so a half-filled ~/.m2 or ~/.ivy2 cannot matter.
IVY_SETTINGS = """<ivysettings>
  <settings defaultResolver="central"/>
  <caches defaultCacheDir="{cache}"/>
  <resolvers><ibiblio name="central" m2compatible="true"{root}/></resolvers>
</ivysettings>
"""
IVY_MODULE = """<ivy-module version="2.0">
  <info organisation="multihop" module="jars"/>
  <dependencies>
{dependencies}
  </dependencies>
</ivy-module>
"""
IVY_DEPENDENCY = (
    '    <dependency org="{0.group}" name="{0.artifact}" rev="{0.version}"'
    ' conf="default" transitive="{1}"/>'
)

Jar = NamedTuple(
    "Jar",
    [("group", str), ("artifact", str), ("version", str), ("sha256", str), ("name", str)],
)


class SetupError(Exception):
    """Something is missing or in the way; the message says what, and how to mend it."""


class CommandFailed(SetupError):
    """A tool that the set-up calls reported an error."""


def main(arguments: List[str]) -> int:
    """Set up, or only check; return the exit code."""
    started = time.monotonic()
    try:
        require_python()
        java = require_java()
        require_writable_root()
        if arguments == ["--check"]:
            print("this machine can run multihop ({}, {})".format(sys.executable, java))
            return 0
        if arguments not in ([], ["--without-aws"]):
            raise SetupError(
                "unknown argument {}: only --check and --without-aws are known".format(arguments[0])
            )
        sync_venv()
        show_dbt_guard()
        if not arguments:
            sync_venv_aws()
        fetch_jars(java)
        record_archive(java)
    except SetupError as error:
        print("setup: {}".format(error), file=sys.stderr)
        return 1
    except OSError as error:
        where = error.filename or ROOT
        print("setup: cannot use {}: {}".format(where, error.strerror), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: stopped; the next run goes on from here", file=sys.stderr)
        return 130
    print("set up ({:.1f} s)".format(time.monotonic() - started))
    return 0


# ---- checks


def require_python() -> None:
    """Go on in a Python that is new enough: this one, or a newer one on PATH."""
    if sys.version_info < MIN_PYTHON:
        for name in ("python3.13", "python3.12", "python3.11"):
            if shutil.which(name) and is_new_enough(name):
                os.execvp(name, [name] + sys.argv)  # noqa: S606
        raise SetupError(
            "Python {}.{} is too old: install Python 3.11 or newer (Debian, Ubuntu: "
            "apt install python3; macOS: brew install python)".format(*sys.version_info)
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise SetupError(
            "this Python ({}) cannot make virtual environments: install its venv module "
            "(Debian, Ubuntu: apt install python3-venv)".format(sys.executable)
        )


def is_new_enough(python: str) -> bool:
    """Say whether `python` runs, is new enough, and brings pip or can install it."""
    code = "import sys, ensurepip; sys.exit(sys.version_info < {})".format(MIN_PYTHON)
    return succeeds([python, "-c", code])


def require_java() -> str:
    """Return the Java that Spark will start."""
    home = os.environ.get("JAVA_HOME")
    mend = (
        "install a Java 17 or newer runtime (Debian, Ubuntu: apt install openjdk-17-jre-headless)"
    )
    if home:
        java = shutil.which(str(Path(home) / "bin" / "java"))
        if not java:
            raise SetupError(
                "JAVA_HOME is {}, but there is no bin/java: set it to a Java 17 or newer runtime, "
                "or unset it".format(home)
            )
    else:
        java = shutil.which("java")
        if not java:
            raise SetupError("no Java found: {}".format(mend))
    output = java_version_output(java)
    found = re.search(r'version "(\d+)(?:\.(\d+))?', output)
    if not found:
        raise SetupError("{} does not run ({}): {}".format(java, last_line(output), mend))
    major = int(found.group(2) if found.group(1) == "1" else found.group(1))
    if major < MIN_JAVA:
        raise SetupError("Java {} ({}) is too old: {}".format(major, java, mend))
    return java


def java_version_output(java: str) -> str:
    """Return what `java -version` says, on either stream."""
    done = subprocess.run(
        [java, "-version"], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.stdout.decode(errors="replace")


def lakehouse_root() -> Path:
    """Return where everything that a run writes lies."""
    return ROOT / (os.environ.get("LAKEHOUSE_ROOT") or "lakehouse")


def require_writable_root() -> None:
    """See that LAKEHOUSE_ROOT can be written, and create it."""
    root = lakehouse_root()
    try:
        (root / "logs").mkdir(parents=True, exist_ok=True)
        probe = root / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SetupError(
            "cannot write to LAKEHOUSE_ROOT {} ({}): set LAKEHOUSE_ROOT to a folder you may "
            "write to".format(root, error.strerror)
        )


# ---- Python environments


def sync_venv() -> None:
    """Install exactly requirements.lock into .venv, with uv, which is installed there first."""
    locks = [ROOT / "requirements.lock", ROOT / "requirements-uv.lock"]
    stamp = VENV / "installed"
    python = VENV / "bin" / "python"
    with step("Python packages (.venv)", stamp, digest(locks), python) as needed:
        if needed:
            if not is_new_enough(str(python)):
                run("venv", [sys.executable, "-m", "venv", "--clear", str(VENV)])
            pip = [str(python), "-m", "pip"]
            if not succeeds(pip + ["--version"]):
                run("ensurepip", [str(python), "-m", "ensurepip"])
            flags = ["--quiet", "--disable-pip-version-check", "--require-hashes"]
            run("pip install uv", pip + ["install"] + flags + ["--requirement", str(locks[1])])
            uv_sync(VENV, locks)


def show_dbt_guard() -> None:
    """Put dbt_guard/ on the environment's path, where dbt finds its plugins."""
    for packages in VENV.glob("lib/python*/site-packages"):
        (packages / "multihop.pth").write_text(str(ROOT / "dbt_guard") + "\n")


def sync_venv_aws() -> None:
    """Install exactly requirements-aws.lock into .venv-aws."""
    locks = [ROOT / "requirements-aws.lock"]
    stamp = VENV_AWS / "installed"
    python = VENV_AWS / "bin" / "python"
    with step("embedded AWS (.venv-aws)", stamp, digest(locks), python) as needed:
        if needed:
            if not is_new_enough(str(python)):
                run(
                    "venv",
                    [sys.executable, "-m", "venv", "--clear", "--without-pip", str(VENV_AWS)],
                )
            uv_sync(VENV_AWS, locks)


def uv_sync(venv: Path, locks: List[Path]) -> None:
    """Make `venv` hold exactly what `locks` name, each package checked by its hash."""
    uv = [str(VENV / "bin" / "uv"), "pip", "sync", "--require-hashes", "--no-progress"]
    python = ["--python", str(venv / "bin" / "python")]
    run("uv pip sync", uv + python + [str(lock) for lock in locks], uv_environment())


def uv_environment() -> Dict[str, str]:
    """Tell uv what pip knows, from its files and variables: index, extra index, certificates."""
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "config", "list"]
    listed = subprocess.run(pip, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    settings = dict(re.findall(r"[\w:]+\.([\w-]+)='(.*)'", listed.stdout.decode()))
    names = {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "cert": "SSL_CERT_FILE",
    }
    known = {variable: settings[name] for name, variable in names.items() if settings.get(name)}
    return dict(known, **os.environ)


# ---- Delta's jars


def read_jars_lock() -> List[Jar]:
    """Read jars.lock: `group:artifact:version sha256 file name`, one jar a line."""
    jars = []
    for line in (ROOT / "jars.lock").read_text().splitlines():
        if line and not line.startswith("#"):
            coordinates, sha256, name = line.split()
            jars.append(Jar(*coordinates.split(":"), sha256=sha256, name=name))
    return jars


def fetch_jars(java: str) -> None:
    """Make jars/ hold exactly the jars of jars.lock: Spark's driver loads whatever lies there."""
    wanted = read_jars_lock()
    for path in JARS.glob("*.jar"):
        if path.name not in [jar.name for jar in wanted]:
            print("  jars/{} is not in jars.lock: removed".format(path.name))
            path.unlink()
    missing = [jar for jar in wanted if sha256_of(JARS / jar.name) != jar.sha256]
    with step("Delta's jars (jars/)", needed=bool(missing)) as needed:
        for attempts_left in reversed(range(FETCH_ATTEMPTS if needed else 0)):
            try:
                fetch(java, missing)
                break
            except CommandFailed:
                if not attempts_left:
                    raise


def fetch(java: str, jars: List[Jar]) -> None:
    """Fetch `jars` into jars/, each only if it is the one that was locked."""
    JARS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=str(JARS), prefix=".ivy-") as work:
        ivy_retrieve(java, jars, Path(work))
        for jar in jars:
            fetched = Path(work) / "{0.group}!{0.artifact}!{0.version}.jar".format(jar)
            found = sha256_of(fetched)
            if found != jar.sha256:
                raise SetupError(
                    "{} is not the file that jars.lock names (sha256 {} instead of {}): run "
                    "`make setup` again, and check MAVEN_MIRROR if it is set".format(
                        jar.name, found or "none", jar.sha256
                    )
                )
            os.replace(str(fetched), str(JARS / jar.name))


def ivy_retrieve(java: str, jars: List[Jar], work: Path, transitive: bool = False) -> None:
    """Fetch `jars` into `work` as group!artifact!version.jar, with the Ivy that Spark brings."""
    mirror = os.environ.get("MAVEN_MIRROR")
    settings = IVY_SETTINGS.format(
        cache=work / "cache", root=' root="{}"'.format(mirror.rstrip("/") + "/") if mirror else ""
    )
    dependencies = "\n".join(IVY_DEPENDENCY.format(jar, str(transitive).lower()) for jar in jars)
    (work / "ivysettings.xml").write_text(settings)
    (work / "ivy.xml").write_text(IVY_MODULE.format(dependencies=dependencies))
    ivy = next((VENV / "lib").glob("python*/site-packages/pyspark/jars/ivy-*.jar"))
    run(
        "fetching Delta's jars (behind a mirror, set MAVEN_MIRROR to its address)",
        [java, "-cp", str(ivy), "org.apache.ivy.Main"]
        + ["-settings", str(work / "ivysettings.xml"), "-ivy", str(work / "ivy.xml")]
        + ["-retrieve", str(work / "[organisation]![artifact]![revision].[ext]"), "-warn"],
    )


# ---- class archive


def record_archive(java: str) -> None:
    """Record the classes of a short Spark session, so that every later JVM starts sooner.

    It is a matter of seconds only: when it fails, Spark starts without it.
    """
    key = digest([ROOT / "scripts" / "record_archive.py"], java_version_output(java), class_path())
    with step("class archive (jars/spark.jsa)", JARS / "spark.jsa.key", key) as needed:
        if needed:
            script = str(ROOT / "scripts" / "record_archive.py")
            try:
                run("recording", [str(VENV / "bin" / "python"), script, str(ARCHIVE)])
            except CommandFailed as error:
                print(
                    "  warning: no class archive, Spark will start slower: {}; to try again, "
                    "delete jars/spark.jsa.key".format(error)
                )


def class_path() -> str:
    """Describe the jars as the JVM does that compares them with an archive: path, size, time."""
    jars = list(JARS.glob("*.jar")) + list(
        VENV.glob("lib/python*/site-packages/pyspark/jars/*.jar")
    )
    stats = [(str(jar), jar.stat()) for jar in sorted(jars)]
    return "\n".join("{} {} {}".format(jar, s.st_size, int(s.st_mtime)) for jar, s in stats)


# ---- what the steps share


@contextmanager
def step(
    title: str,
    stamp: Optional[Path] = None,
    key: str = "",
    product: Optional[Path] = None,
    needed: bool = True,
) -> Iterator[bool]:
    """Announce a step and say how long it took; silent when there is nothing to do.

    With a `stamp` the step is needed when the file does not hold `key`, or when `product`
    is not there. The stamp is written when the step is done.
    """
    if stamp is not None:
        current = stamp.is_file() and stamp.read_text() == key
        needed = not current or (product is not None and not product.exists())
    if not needed:
        yield False
        return
    started = time.monotonic()
    print("  {} ...".format(title), flush=True)
    yield True
    if stamp is not None:
        stamp.write_text(key)
    print("  {} done ({:.1f} s)".format(title, time.monotonic() - started), flush=True)


def run(what: str, command: List[str], environment: Optional[Dict[str, str]] = None) -> None:
    """Run a command quietly; when it fails, keep what it said and report its gist."""
    done = subprocess.run(
        command,
        check=False,
        env=environment,
        cwd=str(ROOT),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode != 0:
        output = done.stdout.decode(errors="replace")
        log = lakehouse_root() / "logs" / "setup.log"
        log.write_text(output)
        raise CommandFailed("{} failed: {} (more in {})".format(what, gist(output), log))


def succeeds(command: List[str]) -> bool:
    """Say whether a command can be started and ends well."""
    try:
        done = subprocess.run(
            command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError:
        return False
    return done.returncode == 0


def gist(output: str) -> str:
    """Return the line of a tool's output that most likely says why it failed."""
    errors = re.findall(r"(?im)^.*(?:error|caused by|not found|refused).*$", output)
    return last_line("\n".join(errors)) or last_line(output) or "it said nothing"


def last_line(text: str) -> str:
    """Return the last line that is not blank, or an empty text."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def digest(files: List[Path], *texts: str) -> str:
    """Return one sha256 over files and texts, in order."""
    total = hashlib.sha256()
    for part in [path.read_bytes() for path in files] + [text.encode() for text in texts]:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()


def sha256_of(path: Path) -> str:
    """Return a file's sha256, or an empty text when there is no file."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
