"""The jobs of a grid: every combination, numbered once and for all."""

from ptycho.report.folder import RunFolder, State, read_run
from ptycho.workflows.claims import Claims
from ptycho.workflows.plan import Job, Plan


class Grid:
    """Hands out the jobs that are not finished and that no other process works on.

    Args:
        plan: of the sweep.
        claims: of this process.
    """

    def __init__(self, plan: Plan, claims: Claims) -> None:
        self.plan, self.claims = plan, claims
        self._left = dict(enumerate(plan.space.combinations()))
        self.total = len(self._left)

    def take(self, most: int | None) -> list[Job]:
        """Take the next jobs, at most so many."""
        found: list[Job] = []
        with self.plan.lock:
            for number in [*self._left]:
                if len(found) == most:
                    break
                if not self.claims.take(number):
                    continue  # it may be given back
                texts = self._left.pop(number)
                run = read_run(self.plan.folder / str(number))
                if run.state == State.finished or run.alive:
                    self.claims.drop(number)
                else:
                    found.append(Job(number, texts))
        return found

    def settle(self, job: Job, run: RunFolder) -> None:
        """A job is over; its folder says how."""
        with self.plan.lock:
            self.claims.drop(job.number)

    def give_back(self) -> None:
        """Leave the jobs that were taken to others."""
        self.claims.drop_all()

    @property
    def over(self) -> bool:
        """Whether no process has anything left to do."""
        numbers = range(self.total)
        states = [read_run(self.plan.folder / str(number)).state for number in numbers]
        return all(state is not None and state.over for state in states)
