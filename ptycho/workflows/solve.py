"""``task=solve``: the physics alone."""

from ptycho.report.metrics import Figures
from ptycho.workflows import build, stages
from ptycho.workflows.session import Session


def solve(session: Session) -> dict[str, Figures]:
    """Reconstruct without any network: the baseline of everything."""
    run = session.run
    problem = session.pose(build.make_scan(run.data, run.model.N or 0))
    session.describe(problem)
    recipe = build.make_recipe(run.solver)
    obj, seconds = stages.timed(
        session.device, lambda: stages.solve(problem, run.solver, recipe, session.bars)
    )
    found = problem.reconstruction([stages.as_stage("solver", obj, seconds)])
    return session.report(problem, found)
