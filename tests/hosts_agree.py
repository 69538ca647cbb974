"""Run in several processes, which train together by jax.distributed. The first one prints how far
their steps are from those of the definition, as JSON. In the end one of them may be lost.

    python hosts_agree.py HOST:PORT PROCESSES PROCESS [LOST]
"""

import json
import os
import sys

import jax
import numpy as np

from chainrule import mpirun
from chainrule.engine import Position
from chainrule.engine.jax import JaxEngine, hosts
from chainrule.engine.jax.placement import available
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import ChainruleError
from devices_agree import batches_of, differences, problem_of


def main(coordinator, processes, process, lost=None):
    hosts.keep_streams()
    each = 2 if processes == 2 else 1
    jax.config.update("jax_disable_most_optimizations", True)
    world = hosts.join(hosts.Meeting(coordinator, processes, process), each)
    devices, said = available(each), world.gather({"process": process, "text": "é" * (70 * process)})
    problem, batches = problem_of("float64"), batches_of("float64", 20).cut(0, 1)
    weights = problem.network.draw(1)
    states = problem.optimizer.start(weights, problem.network.parameters)
    at = Position(5, weights, problem.network.start_statistics(), states)
    engine = JaxEngine(problem, devices, world=world)
    chunks = list(engine.chunks(at, batches))
    assert sum(len(chunk.batches) for chunk in chunks) == 1
    everyone = world.gather([chunks[-1].after.parameters.tobytes().hex(), [chunk.losses.tolist() for chunk in chunks]])
    if world.rank == 0:  # replays and predicts alone, while the others wait
        records = [record for chunk in chunks for record in chunk.steps()]
        expected = list(NumpyEngine(problem).steps(at, batches))
        ended = differences(records[-1], expected[-1])
        out = {
            "devices": devices,
            "together": float(np.abs(chunks[-1].after.parameters - expected[-1].after.parameters).max()),
            "alone": ended,
            "same": len({json.dumps(one) for one in everyone}) == 1,
            "said": [[one["process"], len(one["text"])] for one in said],
            "predicted": float(np.abs(engine.predict(weights, batches.x, at.statistics)
                                      - problem.network.predict(weights, batches.x, at.statistics)).max()),
        }  # fmt: skip
        print(json.dumps(out), flush=True)
    world.rest()
    if process == lost:
        os._exit(9)
    if lost is not None:
        world.wait()


if __name__ == "__main__":
    try:
        main(sys.argv[1], *map(int, sys.argv[2:]))
    except ChainruleError as error:
        mpirun.report(str(error))
        os._exit(2)
