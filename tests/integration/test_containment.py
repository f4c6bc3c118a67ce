"""Hostile modules, each run for real inside the containment: what they must not get was really there, and nothing of them is left behind."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from service.adapters import bubblewrap
from service.adapters.bubblewrap import Limits

REASON = bubblewrap.unavailable()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

HOSTILE = Path(__file__).parents[1] / "hostile"
MARKER = "trainyard-secret-marker.txt"
SECRET = "the-secret-of-another"
MIB = 2**20
PATIENCE = 150
"""Seconds after which something that must happen has not."""

RUN_HOSTILE = """
import sys
import torch
names = {"__name__": "hostile"}
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), names)
names["Net"]()(torch.zeros(2, 1, 28, 28))
print("RETURNED", flush=True)
sys.stdin.read()
"""
CONFINE = """
import json, sys
import worker.contained as contained
from service.adapters.bubblewrap import Limits
contained.confine(Limits(**json.loads(sys.argv.pop(1))))
"""
PEEPING = (
    "read_environments",
    "read_folders",
    "connect_ports",
    "connect_sockets",
    "trace_processes",
    "write_descriptors",
    "enter_kernel",
)
"""Those that only look, so that they can be run uncontained as well."""


@dataclass
class Run:
    """A hostile module that has been started."""

    process: subprocess.Popen[bytes]
    lines: list[str]

    def until(self, word: str) -> str:
        """The first line with that word; fails at the end of the output."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline().decode():
            self.lines.append(line)
            if word in line:
                return line
        raise AssertionError(f"no {word} in: {''.join(self.lines)}")

    def output(self) -> str:
        """All that it printed, once it has ended."""
        rest, _ = self.process.communicate(timeout=PATIENCE)
        return "".join([*self.lines, rest.decode()])


@contextmanager
def contained(name: str, *, limits: Limits, work: Path, readable: Sequence[Path] = (), source: str | None = None) -> Iterator[Run]:
    """A hostile module, or a program of this test's, with its own `work` folder and the limits that are the worker's."""
    arguments = ["-P", "-c", CONFINE + (source or RUN_HOSTILE), limits.to_json(), str(HOSTILE / f"{name}.py")]
    started = bubblewrap.start_command(
        [sys.executable, *arguments],
        limits=limits,
        readable=[HOSTILE, *readable],
        writable=work,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with started, ExitStack() as ending:
        ending.callback(bubblewrap.kill, started)
        yield Run(started, [])


def family(pid: int) -> list[int]:
    """Every descendant of a process."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found = list(parents.get(pid, []))
    for each in found:  # grows while it is read
        found += parents.get(each, [])
    return found


@contextmanager
def watched(pids: Sequence[int]) -> Iterator[list[int]]:
    """Descriptors that tell of the end of each process, whoever its number goes to afterwards."""
    with ExitStack() as closing:
        descriptors = [os.pidfd_open(pid) for pid in pids]
        for descriptor in descriptors:
            closing.callback(os.close, descriptor)
        yield descriptors


def survivors(descriptors: Sequence[int]) -> int:
    """How many are alive when the patience is over."""
    return sum(not select.select([each], [], [], PATIENCE)[0] for each in descriptors)


@pytest.fixture
def limits() -> Limits:
    """Enough for a tiny network, and little enough to reach."""
    return Limits(memory_bytes=6 * 1024 * MIB, processes=64, file_bytes=16 * MIB, scratch_bytes=8 * MIB, shared_bytes=8 * MIB)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The attempt's own folder."""
    folder = tmp_path / "attempts" / "mine"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def secrets(work: Path, monkeypatch: pytest.MonkeyPatch, valkey_url: str) -> Iterator[str]:
    """What is to be had outside: a secret, another attempt's folder, servers on TCP and UNIX sockets, a process and an open file."""
    monkeypatch.setenv("TRAINYARD_SECRET", SECRET)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with ExitStack() as ending:
        public = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="trainyard-")))
        public.chmod(0o755)
        for folder in (work.with_name("theirs"), public):
            folder.mkdir(exist_ok=True)
            (folder / MARKER).write_text(SECRET)
            (folder / MARKER).chmod(0o644)
        for address in (str(public / "trainyard.socket"), "\0trainyard-abstract-for-hostile"):
            listener = ending.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        victim = [sys.executable, "-c", "import sys; sys.stdin.read()", "trainyard-victim"]
        sleeper = ending.enter_context(subprocess.Popen(victim, stdin=subprocess.PIPE))
        ending.callback(sleeper.kill)
        inherited = os.open(public / MARKER, os.O_RDONLY)
        ending.callback(os.close, inherited)
        os.set_inheritable(inherited, True)
        yield valkey_url


@pytest.mark.parametrize("name", PEEPING)
def test_what_is_kept_from_contained_code_is_found_by_the_same_code_outside(name: str, secrets: str, tmp_path: Path) -> None:
    """The attempts are real: uncontained, each of them succeeds, so that their failing inside says something."""
    done = subprocess.run(
        [sys.executable, "-c", RUN_HOSTILE, str(HOSTILE / f"{name}.py")],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        close_fds=False,
    )

    assert b"ESCAPED" in done.stderr, done
    if name == "connect_ports":
        assert secrets.rpartition(":")[2].partition("/")[0].encode() in done.stderr


@pytest.mark.parametrize("name", [*PEEPING, "overwrite_service"])
def test_contained_code_finds_no_secret_and_no_way_out(name: str, secrets: str, work: Path, limits: Limits) -> None:
    """No environment, folder, server, process, descriptor or program of another's is to be had from inside."""
    assert secrets
    with contained(name, limits=limits, work=work) as run:
        output = run.output()

        assert "TRIED" in output
        assert "RETURNED" in output, output
        assert SECRET not in output
        assert run.process.returncode == 0


@pytest.mark.parametrize("way", bubblewrap._WAYS)
def test_a_machine_that_allows_less_contains_as_much(
    way: bubblewrap._Way, secrets: str, work: Path, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a /proc, as in most containers, torch computes all the same, and no more is to be found."""
    assert secrets
    monkeypatch.setattr(bubblewrap, "_way", lambda: way)
    if refusal := bubblewrap._tried(way):
        pytest.skip(refusal)

    with contained("read_environments", limits=limits, work=work) as run:
        output = run.output()

        assert "RETURNED" in output, output
        assert SECRET not in output


def test_inputs_can_be_read_but_neither_changed_nor_deleted(work: Path, limits: Limits) -> None:
    """What it is given to read is as before after it tried to delete and overwrite it, and only its working folder takes files."""
    inputs = work.with_name("inputs")
    inputs.mkdir()
    (inputs / "trainyard-input.txt").write_text("the input")

    with contained("delete_inputs", limits=limits, work=work, readable=[inputs]) as run:
        output = run.output()

        assert "RETURNED" in output, output
    assert (inputs / "trainyard-input.txt").read_text() == "the input"


def test_what_is_written_is_bounded_everywhere(work: Path, limits: Limits) -> None:
    """A file in the working folder ends at the limit on files, what lies in memory at the limit on scratch, and nothing else takes a byte."""
    with contained("fill_disk", limits=limits, work=work) as run:
        output = run.output()

    written = {words[1]: int(words[2]) for words in (line.split() for line in output.splitlines()) if len(words) > 2 and words[2].isdigit()}
    assert "RETURNED" in output, output
    assert written.pop(str(work)) == limits.file_bytes == (work / "filled").stat().st_size
    assert 0 < written.pop("/tmp") <= limits.scratch_bytes  # noqa: S108  # what fill_disk calls it
    assert 0 < written.pop("/dev/shm") <= limits.shared_bytes  # noqa: S108  # the same
    assert set(written.values()) == {0}


def test_a_fork_bomb_stops_at_the_limit_and_ends_with_the_kill(work: Path, limits: Limits) -> None:
    """The kernel refuses the process that is one too many, and killing the containment kills all of them."""
    with contained("fork_forever", limits=limits, work=work) as run:
        assert "Resource temporarily unavailable" in run.until("TRIED")
        pids = family(run.process.pid)
        with watched(pids) as descriptors:
            bubblewrap.kill(run.process)

            assert limits.processes / 2 < len(pids) < limits.processes + 10
            assert survivors(descriptors) == 0


def test_two_fork_bombs_do_not_take_each_others_share(work: Path, limits: Limits) -> None:
    """Processes are counted for each containment by itself, though both run as the same user."""
    others = work.with_name("others")
    others.mkdir()
    with (
        contained("fork_forever", limits=limits, work=work) as first,
        contained("fork_forever", limits=limits, work=others) as second,
    ):
        counts = [int(run.until("TRIED").split()[1]) for run in (first, second)]

        assert min(counts) > limits.processes / 2


def test_memory_ends_at_the_limit(work: Path, limits: Limits) -> None:
    """Allocating without end is an error inside, long before the machine minds."""
    less = replace(limits, memory_bytes=2048 * MIB)
    with contained("allocate_forever", limits=less, work=work) as run:
        output = run.output()

        assert run.process.returncode != 0
        assert "RETURNED" not in output
    assert 0 < output.count("TRIED") * 64 * MIB < less.memory_bytes


def test_the_kernel_ends_it_first_where_memory_runs_out(work: Path, limits: Limits) -> None:
    """Not the worker, nor another's job in the same container."""
    with contained("sleep_forever", limits=limits, work=work) as run:
        run.until("TRIED")
        scores = [Path(f"/proc/{pid}/oom_score_adj").read_text().strip() for pid in (run.process.pid, *family(run.process.pid))]

    assert len(scores) >= 3
    assert set(scores) == {"1000"}


def test_processor_time_ends_at_the_limit(work: Path, limits: Limits) -> None:
    """Computing without end is ended by the kernel where seconds are limited, whatever signals are ignored."""
    with contained("spin_forever", limits=replace(limits, cpu_seconds=6), work=work) as run:
        run.until("TRIED")

        assert run.process.wait(PATIENCE) == 128 + signal.SIGKILL


@pytest.mark.parametrize("name", ["sleep_forever", "spin_forever", "leave_daemon"])
@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_nothing_survives_the_end_of_the_containment(name: str, how: str, work: Path, limits: Limits) -> None:
    """By `kill`, or by a signal to the one process that Popen knows: daemons in sessions of their own end too."""
    with contained(name, limits=limits, work=work) as run:
        run.until("TRIED")
        with watched(family(run.process.pid)) as descriptors:
            if how == "kill":
                bubblewrap.kill(run.process)
            else:
                run.process.terminate()

            assert len(descriptors) >= 2
            assert survivors(descriptors) == 0


def test_a_daemon_ends_with_the_code_that_left_it(work: Path, limits: Limits) -> None:
    """Nobody has to kill: when the contained program ends, so does all that it started."""
    with contained("leave_daemon", limits=limits, work=work) as run:
        run.until("RETURNED")
        with watched(family(run.process.pid)) as descriptors:
            run.output()

            assert run.process.returncode == 0
            assert survivors(descriptors) == 0


def test_killing_everything_kills_only_itself(work: Path, limits: Limits) -> None:
    """Neither the worker nor its other processes hear of a kill(-1) inside."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as bystander:
        with contained("kill_everything", limits=limits, work=work) as run:
            assert "TRIED" in run.output()
        assert bystander.poll() is None


def test_contained_code_dies_with_the_worker(work: Path, limits: Limits) -> None:
    """A worker that is killed, and can clean up nothing, leaves nobody behind."""
    program = f"""
import subprocess, sys
from pathlib import Path
from service.adapters import bubblewrap
from service.adapters.bubblewrap import Limits
child = bubblewrap.start_command(
    [sys.executable, "-P", "-c", {CONFINE + RUN_HOSTILE!r}, sys.argv[1], {str(HOSTILE / "sleep_forever.py")!r}],
    limits=Limits(), readable=[Path({str(HOSTILE)!r})], writable=Path({str(work)!r}),
)
child.wait()
"""
    with subprocess.Popen([sys.executable, "-c", program, limits.to_json()], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert b"TRIED" in worker.stdout.readline()
        with watched(family(worker.pid)) as descriptors:
            worker.kill()

            assert len(descriptors) >= 3
            assert survivors(descriptors) == 0


def test_the_working_folder_cannot_shadow_the_limits(work: Path, limits: Limits) -> None:
    """A `worker` package that an earlier attempt left in the working folder is not the one that starts."""
    (work / "worker").mkdir()
    (work / "worker" / "__init__.py").write_text("print('ESCAPED', flush=True)")
    commands, facts = os.pipe(), os.pipe()
    for ours in (commands[1], facts[0]):
        os.set_inheritable(ours, False)
    started = bubblewrap.start(
        "train",
        limits=limits,
        writable=work,
        pass_fds=[commands[0], facts[1]],
        arguments=[str(commands[0]), str(facts[1])],
        stdout=subprocess.PIPE,
    )
    with started:
        for each in (commands[0], facts[1], commands[1]):
            os.close(each)

        with os.fdopen(facts[0], "rb") as told:
            assert told.read() == b""  # nobody sent a job; the pipe's end is what is waited for
        output, _ = started.communicate(timeout=PATIENCE)
    assert output == b""
    assert started.returncode == 0


def test_the_check_answers_from_inside(limits: Limits) -> None:
    """The real checking child builds a custom module inside, and a hostile one's words come back as a fault."""
    spec = {"dataset": "MNIST", "loss": "CrossEntropyLoss", "optimizer": "SGD"}
    with ExitStack() as ending:
        child = ending.enter_context(bubblewrap.start("check", limits=limits, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        ending.callback(bubblewrap.kill, child)
        assert child.stdin is not None
        assert child.stdout is not None
        assert json.loads(child.stdout.readline()) == {"ready": True}
        verdicts = []
        for name in ("read_environments", "fill_disk"):
            model = {"type": "Module", "class_name": "Net", "code": (HOSTILE / f"{name}.py").read_text()}
            child.stdin.write(json.dumps({"parts": spec | {"model": model}}).encode() + b"\n")
            child.stdin.flush()
            verdicts.append(json.loads(child.stdout.readline())["answer"])

    assert [verdict["num_parameters"] for verdict in verdicts] == [7850, 7850], verdicts


def test_the_limits_cannot_be_lifted_from_inside(work: Path, limits: Limits) -> None:
    """Soft and hard limits are one, and neither a capability nor a setuid program is left to raise them."""
    source = """
import os, resource
kinds = [resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE]
for kind in kinds:
    soft, hard = resource.getrlimit(kind)
    assert soft == hard != resource.RLIM_INFINITY
    try:
        resource.setrlimit(kind, (hard, hard + 1))
    except ValueError:
        print("TRIED", kind)
status = dict(line.split(":", 1) for line in open("/proc/self/status")) if os.path.exists("/proc/self") else {}
print("CAPABILITIES", [status[name].strip() for name in ("CapPrm", "CapEff", "CapBnd", "NoNewPrivs") if name in status])
print("USER", os.geteuid())
"""
    with contained("sleep_forever", limits=limits, work=work, source=source) as run:
        output = run.output()

    assert output.count("TRIED") == 4, output
    assert "USER 0" not in output
    if "['" in output:
        assert f"CAPABILITIES {['0' * 16] * 3 + ['1']}" in output


def test_what_comes_out_belongs_to_the_one_who_wrote_it(work: Path, limits: Limits) -> None:
    """The worker can read and delete what was written, which bears no privilege: root's contained code is not root."""
    with contained("sleep_forever", limits=limits, work=work, source="open('out', 'w').write('x')") as run:
        assert run.output() == ""

    written = (work / "out").stat()
    assert (work / "out").read_text() == "x"
    assert written.st_uid == (os.geteuid() or bubblewrap.NOBODY)
    assert not written.st_mode & (stat.S_ISUID | stat.S_ISGID)
