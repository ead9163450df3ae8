"""``task=solve``: the physics alone."""

from functools import partial

from ptycho.data.reconstruction import Reconstruction
from ptycho.report.metrics import Figures
from ptycho.workflows import build, stages, uncertainty
from ptycho.workflows.problem import Problem
from ptycho.workflows.session import Session


def solve(session: Session) -> dict[str, Figures]:
    """Reconstruct without any network: the baseline of everything."""
    run = session.run
    problem = session.pose(build.make_scan(run.data, run.model.N or 0))
    session.describe(problem)
    return uncertainty.report(session, problem, solve_alone(session, problem), solve_alone)


def solve_alone(session: Session, problem: Problem) -> Reconstruction:
    """Solve from a flat object."""
    settings = session.run.solver
    recipe = build.make_recipe(settings)
    (problem, obj), seconds = stages.timed(
        session.device, partial(stages.solve_with, problem, settings, recipe, session.bars)
    )
    return problem.reconstruction([stages.as_stage("solver", obj, seconds)])
