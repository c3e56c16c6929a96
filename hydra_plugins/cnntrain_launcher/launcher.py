"""The Hydra plugin: takes the jobs of a sweep from Hydra's sweeper and has them run, each in its own process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass
class LauncherConf:
    """``hydra/launcher=cnntrain``. ``start``: fork, fresh (a new interpreter a job), or auto (fork where that is safe)."""

    _target_: str = "hydra_plugins.cnntrain_launcher.launcher.CnntrainLauncher"
    start: str = "auto"


# At import, against our own rule: Hydra finds a plugin's config in no other way.
ConfigStore.instance().store(group="hydra/launcher", name="cnntrain", node=LauncherConf, provider="cnntrain")


class CnntrainLauncher(Launcher):
    """Hands jobs to the :class:`cnntrain.sweep.Sweep` that is Hydra's task function here."""

    def __init__(self, *, start: str = "auto") -> None:
        self.start = start

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives."""
        self.config: Any = config
        self.sweep: Any = task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs. A failed one returns nan and counts as completed, else the sweeper would raise and forget the others."""
        outcomes = self.sweep.launch([list(overrides) for overrides in job_overrides], first=initial_job_idx, start=self.start)
        returns = []
        for outcome in outcomes:
            task = OmegaConf.create(dict(outcome.config))
            returns.append(
                JobReturn(overrides=outcome.overrides, cfg=task, working_dir=str(outcome.folder), task_name=self.config.hydra.job.name)
            )
            returns[-1].status = JobStatus.COMPLETED
            returns[-1].return_value = outcome.value
        return returns
