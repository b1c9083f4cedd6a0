"""The files of docs/cluster are valid for Ray, KubeRay and Slurm."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import reduce
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import jsonschema
import psutil
import pytest
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.runtime_env import RuntimeEnv
from typer.main import get_command

from ngm_tune.cli import app
from ngm_tune.study.files import load_study
from ngm_tune.study.shipped import shipped_names
from tests.helpers.commands import environment

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "cluster"
SCRIPT = FOLDER / "slurm.sh"
RAY = re.findall(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)[0]
IMAGE = f"rayproject/ray:{RAY}-py311"
RUN = get_command(app).commands["run"]  # type: ignore[attr-defined]


def run_options(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the options that ``ngm-tune run`` parses from arguments; raise if they are invalid."""
    options: dict[str, Any] = RUN.make_context("run", list(arguments)).params
    return options


# --- ray up


@pytest.fixture
def cluster() -> Any:
    return yaml.safe_load((FOLDER / "ray-cluster.yaml").read_text())


def test_ray_up_accepts_the_cluster(cluster: Any) -> None:
    schema = Path(ray.autoscaler.__file__).parent / "ray-schema.json"
    jsonschema.validate(cluster, json.loads(schema.read_text()))
    prepared = prepare_config(deepcopy(cluster))
    validate_config(prepared)
    for commands in ("head_setup_commands", "worker_setup_commands"):
        assert "pip install ngm-tune" in prepared[commands]
    misspelt = prepared | {"max_worker": 3}
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        validate_config(misspelt)


def test_the_cluster_grows_by_spot_workers_and_keeps_its_head(cluster: Any) -> None:
    head, worker = (cluster["available_node_types"][name] for name in ("head", "worker"))
    assert cluster["head_node_type"] == "head"
    assert worker["min_workers"] < worker["max_workers"] <= cluster["max_workers"]
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in head["node_config"]
    for node_type in (head, worker):  # both access the results
        assert node_type["node_config"]["IamInstanceProfile"]
    assert cluster["file_mounts"] == {}
    assert cluster["docker"]["image"] == IMAGE


# --- KubeRay

# The fields are those of ray.io/v1 in docs/reference/api.md of github.com/ray-project/kuberay,
# which is generated from the same Go types as the CRD, at commits dc85903 and 0057210 (both of
# 2025). The fields of pods and containers are those of core/v1 of Kubernetes.
TEXT, WHOLE, NUMBER, FLAG = ({"type": t} for t in ("string", "integer", "number", "boolean"))
TEXTS = {"type": "object", "additionalProperties": TEXT}
ANY: dict[str, Any] = {}


def fields(*required: str, **properties: Any) -> dict[str, Any]:
    """Return the schema of an object with these fields and no others."""
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
    }


def several(items: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a list that is not empty."""
    return {"type": "array", "minItems": 1, "items": items}


AMOUNTS = {"type": "object", "additionalProperties": {"type": ["string", "integer"]}}
CONTAINER = fields(
    *("name", "image", "resources"),
    **dict.fromkeys(("name", "image", "imagePullPolicy", "workingDir"), TEXT),
    **dict.fromkeys(("command", "args"), several(TEXT)),
    resources=fields(requests=AMOUNTS, limits=AMOUNTS),
    ports=several(fields("containerPort", name=TEXT, containerPort=WHOLE, protocol=TEXT)),
    env=several(fields("name", name=TEXT, value=TEXT, valueFrom=ANY)),
    envFrom=several(fields(secretRef=fields("name", name=TEXT), configMapRef=ANY, prefix=TEXT)),
    volumeMounts=several(
        fields("name", "mountPath", name=TEXT, mountPath=TEXT, subPath=TEXT, readOnly=FLAG)
    ),
    **dict.fromkeys(("lifecycle", "livenessProbe", "readinessProbe", "securityContext"), ANY),
)
POD = fields(
    "spec",
    metadata=fields(labels=TEXTS, annotations=TEXTS),
    spec=fields(
        "containers",
        containers=several(CONTAINER),
        initContainers=several(CONTAINER),
        volumes=several(
            fields(
                *("name", "persistentVolumeClaim"),
                name=TEXT,
                persistentVolumeClaim=fields("claimName", claimName=TEXT, readOnly=FLAG),
            )
        ),
        securityContext=fields(fsGroup=WHOLE, runAsUser=WHOLE, runAsGroup=WHOLE),
        nodeSelector=TEXTS,
        terminationGracePeriodSeconds=WHOLE,
        **dict.fromkeys(("serviceAccountName", "priorityClassName", "restartPolicy"), TEXT),
        **dict.fromkeys(("tolerations", "affinity", "imagePullSecrets"), ANY),
    ),
)
GROUP = {"rayStartParams": TEXTS, "template": POD}
RAY_JOB = fields(
    *("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=fields("name", name=TEXT, namespace=TEXT, labels=TEXTS, annotations=TEXTS),
    spec=fields(
        *("entrypoint", "rayClusterSpec"),
        **dict.fromkeys(("entrypoint", "runtimeEnvYAML", "jobId", "managedBy"), TEXT),
        **dict.fromkeys(
            ("activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"), WHOLE
        ),
        **dict.fromkeys(("shutdownAfterJobFinishes", "suspend"), FLAG),
        **dict.fromkeys(("entrypointNumCpus", "entrypointNumGpus"), NUMBER),
        **dict.fromkeys(("metadata", "clusterSelector"), TEXTS),
        entrypointResources=TEXT,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode"]},
        submitterConfig=fields(backoffLimit=WHOLE),
        submitterPodTemplate=POD,
        rayClusterSpec=fields(
            *("headGroupSpec", "workerGroupSpecs"),
            **dict.fromkeys(("rayVersion", "managedBy"), TEXT),
            **dict.fromkeys(("enableInTreeAutoscaling", "suspend"), FLAG),
            headServiceAnnotations=TEXTS,
            gcsFaultToleranceOptions=ANY,
            autoscalerOptions=fields(
                idleTimeoutSeconds=WHOLE,
                upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
                **dict.fromkeys(("image", "imagePullPolicy"), TEXT),
                **dict.fromkeys(
                    ("resources", "securityContext", "env", "envFrom", "volumeMounts"), ANY
                ),
            ),
            headGroupSpec=fields(
                *GROUP, **GROUP, serviceType=TEXT, headService=ANY, enableIngress=FLAG
            ),
            workerGroupSpecs=several(
                fields(
                    *("groupName", "minReplicas", "maxReplicas", *GROUP),
                    **GROUP,
                    groupName=TEXT,
                    **dict.fromkeys(("replicas", "minReplicas", "maxReplicas"), WHOLE),
                    **dict.fromkeys(("idleTimeoutSeconds", "numOfHosts"), WHOLE),
                    suspend=FLAG,
                    scaleStrategy=fields(workersToDelete=several(TEXT)),
                )
            ),
        ),
    ),
)


@pytest.fixture
def job() -> Any:
    return yaml.safe_load((FOLDER / "rayjob.yaml").read_text())


def test_the_rayjob_has_the_fields_of_its_kind(job: Any) -> None:
    jsonschema.validate(job, RAY_JOB)


@pytest.mark.parametrize(
    ("path", "misspelt"),
    [
        ("spec", "backOffLimit"),
        ("spec.rayClusterSpec", "headGroupSpecs"),
        ("spec.rayClusterSpec.headGroupSpec", "rayStartParam"),
        ("spec.rayClusterSpec.headGroupSpec.template.spec", "volume"),
    ],
)
def test_the_schema_refuses_a_misspelt_field_of_the_rayjob(
    job: Any, path: str, misspelt: str
) -> None:
    reduce(lambda node, key: node[key], path.split("."), job)[misspelt] = 1
    with pytest.raises(jsonschema.ValidationError, match=misspelt):
        jsonschema.validate(job, RAY_JOB)


def test_the_rayjob_retries_a_study_until_it_is_complete(job: Any) -> None:
    spec = job["spec"]
    command, subcommand, *arguments = shlex.split(spec["entrypoint"])
    assert (command, subcommand) == ("ngm-tune", "run")
    options = run_options(arguments)
    assert options["study"] in shipped_names()
    assert options["results"].startswith("s3://bucket/studies/")
    assert options["address"] is None  # Ray sets RAY_ADDRESS in a job
    assert spec["backoffLimit"] > 0
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] > 0
    runtime = RuntimeEnv(**yaml.safe_load(spec["runtimeEnvYAML"]))
    assert runtime.pip_config()["packages"] == ["ngm-tune"]


def test_the_pods_of_the_rayjob_have_what_a_study_needs(job: Any) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == RAY
    assert cluster["enableInTreeAutoscaling"] is True
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    assert workers["minReplicas"] < workers["maxReplicas"]
    for group, name in ((cluster["headGroupSpec"], "ray-head"), (workers, "ray-worker")):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert container["name"] == name
        assert container["image"] == IMAGE
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert [source["secretRef"]["name"] for source in container["envFrom"]] == ["ngm-tune-aws"]
        mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
        assert mounted == {volume["name"] for volume in pod.get("volumes", [])}
    head = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]
    (data,) = (entry["value"] for entry in head["env"] if entry["name"] == "NGM_TUNE_DATA")
    assert data in [mount["mountPath"] for mount in head["volumeMounts"]]


# --- Slurm

SRUN = """
    #!/usr/bin/env bash
    echo "srun $*" >>"$SLURM_LOG"
    while [[ ${1-} == -* ]]; do shift; done
    exec "$@"
"""
SCONTROL = """
    #!/usr/bin/env bash
    echo "scontrol $*" >>"$SLURM_LOG"
    if [ "$1" = show ]; then
      hostname
      if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then echo another-node; fi
    fi
"""
NO_RAY = """
    #!/usr/bin/env bash
    for option in "$@"; do
      if [[ $option == --temp-dir=* ]]; then {ready} "${{option#*=}}/ray_current_cluster"; fi
    done
    echo "$1" >>"$SLURM_LOG"
    exec sleep 60
"""
NO_STUDY = """
    #!/usr/bin/env bash
    {before}
    touch "$SLURM_LOG.running"
    {then}
"""
LISTEN, WAIT = "trap 'exit 130' USR1", "while :; do sleep 0.02; done"

STUDY = (
    *("--set", 'methods=["sgd"]', "--set", "searches=1", "--set", "iterations_per_task=100"),
    *("--set", "eval_every=20", "--set", "max_concurrent_trials=1"),
    *("--set", "confirm={ max_configurations = 0, seeds = 1 }"),
)


class Slurm(NamedTuple):
    """A fake of Slurm for a batch script, with all nodes on this machine.

    Attributes:
        commands: Folder of fake commands, first on the path.
        temp: Parent of the temporary folders of Ray.
        log: File with the calls of Slurm commands.
        variables: Environment of the batch script.
    """

    commands: Path
    temp: Path
    log: Path
    variables: dict[str, str]

    def add(self, name: str, script: str) -> None:
        """Add a fake command."""
        path = self.commands / name
        path.write_text(dedent(script).lstrip())
        path.chmod(0o755)

    def submit(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start the batch script. The process is the batch shell, to which Slurm sends signals."""
        return subprocess.Popen(
            ["bash", str(SCRIPT), *arguments],
            env=self.variables | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def asked(self) -> list[str]:
        """Return the calls of Slurm commands since the last call of this method."""
        lines = self.log.read_text().splitlines()
        self.log.write_text("")
        return lines

    def left(self) -> list[psutil.Process]:
        """Return the processes of Ray that the batch script has left running."""
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if str(self.temp) in " ".join(process.info["cmdline"] or [])
        ]


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    commands = tmp_path / "bin"
    commands.mkdir()
    inherited = environment()
    with tempfile.TemporaryDirectory(prefix="ngm-", dir="/tmp") as temp:  # a short path
        variables = inherited | {
            "PATH": f"{commands}:{Path(sys.executable).parent}:{inherited['PATH']}",
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "nodes",
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_CPUS_PER_TASK": "2",
            "SLURM_LOG": str(tmp_path / "log"),
            "STUDY": "quickstart",
            "RESULTS": str(tmp_path / "results"),
            "RAY_PORT": str(free_port()),
            "RAY_TEMP": temp,
        }
        fake = Slurm(commands, Path(temp), tmp_path / "log", variables)
        fake.add("srun", SRUN)
        fake.add("scontrol", SCONTROL)
        yield fake
        for process in fake.left():  # of a test that failed
            process.kill()


def free_port() -> int:
    """Return a free port whose next port is also free."""
    for _ in range(100):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise AssertionError("no two free ports")


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        out, _ = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        out, _ = process.communicate()
        pytest.fail(f"the batch script did not end in time: {out}")
    return process.returncode, out


def until(condition: Callable[[], bool]) -> bool:
    """Wait until a condition is true; return False after a time limit."""
    deadline = time.monotonic() + 100
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def trials(results: str) -> set[str]:
    """Return the names of the finished trials."""
    return {path.stem for path in Path(results).glob("trials/*.parquet")}


def test_the_batch_script_is_valid_bash_and_allows_requeueing() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    header = re.split(r"^[^#\n]", SCRIPT.read_text(), maxsplit=1, flags=re.MULTILINE)[0]
    lines = re.findall(r"^#SBATCH --(\S+)$", header, flags=re.MULTILINE)
    directives = dict(line.partition("=")[::2] for line in lines)
    assert len(lines) == SCRIPT.read_text().count("#SBATCH")
    assert directives.keys() >= {"requeue", "nodes", "cpus-per-task", "time"}
    assert directives["signal"] == "B:USR1@120"
    assert directives["open-mode"] == "append"
    assert directives["ntasks-per-node"] == "1"


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(300)
def test_the_batch_script_runs_a_study_on_two_nodes_to_its_end(slurm: Slurm) -> None:
    # A trial needs more CPUs than the head has, so it can run only on the other node.
    slurm.add("srun", SRUN.replace('"$@"', '"${@/--num-cpus=2/--num-cpus=3}"'))
    study = (*STUDY, "--set", "trials=1", "--set", "resources={ cpu = 3 }")
    code, out = finish(slurm.submit(*study, SLURM_JOB_NUM_NODES="2"))
    assert code == 0, out
    assert len(trials(slurm.variables["RESULTS"])) == 1
    _, start, clean = slurm.asked()
    here = socket.gethostname()
    assert start.startswith(f"srun --nodes=1 --ntasks=1 --ntasks-per-node=1 --exclude={here} ")
    assert re.search(rf"ray start --block .*--address=\S+:{slurm.variables['RAY_PORT']} ", start)
    assert clean.startswith(f"srun --nodes=1 --ntasks=1 --exclude={here} rm -rf {slurm.temp}/")
    assert list(slurm.temp.iterdir()) == []
    assert until(lambda: slurm.left() == [])


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(300)
def test_an_interrupted_batch_script_is_requeued_and_resumes(slurm: Slurm) -> None:
    results = slurm.variables["RESULTS"]
    study = (*STUDY, "--set", "trials=12")
    process = slurm.submit(*study)
    assert until(lambda: bool(trials(results)) or process.poll() is not None)
    process.send_signal(signal.SIGUSR1)
    code, out = finish(process)
    kept = trials(results)
    assert code == 130, out
    assert "The same command resumes " in out
    assert 0 < len(kept) < 12
    assert slurm.asked() == ["scontrol show hostnames nodes", "scontrol requeue 7"]
    assert list(slurm.temp.iterdir()) == []
    assert until(lambda: slurm.left() == [])

    code, out = finish(slurm.submit(*study))
    assert code == 0, out
    assert f"{len(kept)} run{'s' if len(kept) > 1 else ''} already done" in out
    assert len(trials(results)) == 12
    assert slurm.asked() == ["scontrol show hostnames nodes"]  # one node needs no srun
    assert until(lambda: slurm.left() == [])


@pytest.mark.parametrize(
    ("before", "then", "sent", "code", "requeued"),
    [
        ("", "exit 0", None, 0, False),
        ("", "exit 1", None, 1, False),
        ("", "exit 2", None, 2, False),
        ("", "exit 130", None, 130, True),
        (LISTEN, WAIT, signal.SIGUSR1, 130, True),
        ("", WAIT, signal.SIGUSR1, 128 + signal.SIGUSR1, True),  # before the handler is set
        (
            LISTEN,
            WAIT,
            signal.SIGTERM,
            130,
            False,
        ),  # from scancel, or Slurm itself requeues
    ],
)
def test_only_gracefully_stopped_studies_are_requeued(
    slurm: Slurm, before: str, then: str, sent: signal.Signals | None, code: int, requeued: bool
) -> None:
    slurm.add("ray", NO_RAY.format(ready="touch"))
    slurm.add("ngm-tune", NO_STUDY.format(before=before, then=then))
    process = slurm.submit()
    if sent:
        assert until(Path(f"{slurm.log}.running").exists)
        process.send_signal(sent)
    assert finish(process)[0] == code
    assert ("scontrol requeue 7" in slurm.asked()) is requeued
    assert list(slurm.temp.iterdir()) == []


def test_a_signal_before_ray_runs_starts_no_study(slurm: Slurm) -> None:
    slurm.add("ray", NO_RAY.format(ready="echo not yet"))
    slurm.add("ngm-tune", NO_STUDY.format(before="", then="exit 1"))
    process = slurm.submit(SLURM_JOB_NUM_NODES="2")
    assert until(lambda: "start" in slurm.log.read_text() if slurm.log.exists() else False)
    process.send_signal(signal.SIGUSR1)
    assert finish(process)[0] == 130
    assert slurm.asked() == ["scontrol show hostnames nodes", "start", "scontrol requeue 7"]
    assert not Path(f"{slurm.log}.running").exists()


def test_the_batch_script_reports_a_port_that_is_in_use(slurm: Slurm) -> None:
    slurm.add("ray", "#!/usr/bin/env bash\nexit 9\n")
    with socket.create_server(("", int(slurm.variables["RAY_PORT"]))):
        code, out = finish(slurm.submit())
    assert code == 2
    assert f"port {slurm.variables['RAY_PORT']} of {socket.gethostname()} is in use" in out


def test_the_batch_script_reports_why_ray_did_not_start(slurm: Slurm) -> None:
    slurm.add("ray", "#!/usr/bin/env bash\necho no such luck >&2\nexit 9\n")
    code, out = finish(slurm.submit())
    assert code == 1
    assert "no such luck" in out
    assert slurm.asked() == ["scontrol show hostnames nodes"]


# --- README


README = (FOLDER / "README.md").read_text()


def test_the_readme_describes_every_file() -> None:
    files = {path.name for path in FOLDER.iterdir()} - {"README.md"}
    assert (
        set(re.findall(r"\]\(([^)]+)\)", README))
        == files
        == {"ray-cluster.yaml"}
        | {
            "rayjob.yaml",
            "slurm.sh",
        }
    )


@pytest.mark.parametrize("name", ["README.md", "ray-cluster.yaml"])
def test_the_documented_commands_are_valid(name: str) -> None:
    text = re.sub(r"\\\n#?", " ", (FOLDER / name).read_text())
    shown = re.findall(r"^#?\s*(ray job submit.* -- +ngm-tune run .*)$", text, flags=re.MULTILINE)
    assert shown
    for line in shown:
        options = run_options(shlex.split(line.partition("ngm-tune run ")[2]))
        assert options["study"] in {*shipped_names(), "my-study.toml"}
        assert options["results"].startswith("s3://")


def test_the_documented_slurm_submission_is_valid() -> None:
    (line,) = re.findall(r"^(STUDY=.* sbatch .*)$", README, flags=re.MULTILINE)
    words = shlex.split(line)
    variables = dict(word.split("=", 1) for word in words[: words.index("sbatch")])
    options = run_options([variables["STUDY"], *words[words.index(SCRIPT.name) + 1 :]])
    assert load_study(options["study"], options["set_"]).max_concurrent_trials == 8


def test_the_documented_exit_codes_and_addresses_agree_with_the_command() -> None:
    help_ = re.sub(r"\s+", " ", RUN.help)
    codes = re.findall(r"^\| (\d+) \|", README, flags=re.MULTILINE)
    assert codes == ["0", "1", "2", "130"]
    assert re.findall(r"\b(\d+) (?:if|for|after)", help_) == codes
    (address,) = (option.help for option in RUN.params if option.name == "address")
    addresses = re.findall(r"^\| `(\S+)` \|", README, flags=re.MULTILINE)
    assert len(addresses) == 3
    assert all(documented in address for documented in addresses)
