"""What befalls a deployment."""

import asyncio
from typing import TYPE_CHECKING

from .model import LOAD, Spell
from .weather import Fate

if TYPE_CHECKING:
    from .world import Worker, World

FORGIVEN = 8.0  # seconds after a storm in which calls may still fail because of it: a time-out of 2, and a pause


async def storm(world: "World", worker: "Worker") -> None:
    fates = world.rng.choice(((Fate.LOST,), (Fate.UNCERTAIN,), (Fate.SLOW,), (Fate.HANGS,), tuple(Fate)))
    victims = world.rng.choice(([worker], world.workers))
    seconds = world.rng.uniform(0.3, 3.0)
    world.note(f"storm over {[each.process.name for each in victims]}: {[fate.value for fate in fates]}")
    for each in victims:
        world.weather.raise_storm(each.process, seconds, fates)
        if world.bus_kind == "poll":
            world.deafen(each.process, seconds + FORGIVEN)


async def crash(world: "World", worker: "Worker") -> None:
    world.counts["crashes"] += 1
    world.note(f"{worker.process.name} is killed")
    world.workers.remove(worker)
    world.model.mute[worker.process].append(Spell(world.now() - LOAD, float("inf")))
    worker.process.kill()
    world.broker.break_connections(worker.process)
    await asyncio.sleep(world.rng.uniform(0, 1.5))
    await world.start()


async def restart(world: "World", worker: "Worker") -> None:
    world.note(f"{worker.process.name} is stopped")
    world.workers.remove(worker)
    await world.stop(worker)
    await world.start()


async def lose_connection(world: "World", worker: "Worker") -> None:
    world.note(f"{worker.process.name} loses its connection to the bus")
    world.deafen(worker.process, None)
    world.broker.break_connections(worker.process)


async def restart_broker(world: "World", _worker: "Worker") -> None:
    seconds = world.rng.uniform(0.01, 2.0)
    world.note(f"the bus is away for {seconds:.3f} s")
    for each in world.workers:
        world.deafen(each.process, None)
        world.silence(each.process, seconds)
    world.broker.back_at = world.now() + seconds
    world.broker.break_connections()


async def cut_off(world: "World", worker: "Worker") -> None:
    seconds = world.rng.uniform(0.1, 4.0)
    world.note(f"{worker.process.name} is cut off from the bus for {seconds:.3f} s")
    world.deafen(worker.process, None)
    world.silence(worker.process, seconds)
    world.broker.cut(worker.process, seconds)


async def lag(world: "World", worker: "Worker") -> None:
    seconds = world.rng.uniform(0.5, 3.0)
    world.note(f"{worker.process.name} hears late for {seconds:.3f} s")
    world.deafen(worker.process, seconds + 3.0)
    world.broker.laggard[worker.process] = world.now() + seconds


async def lose_messages(world: "World", worker: "Worker") -> None:
    seconds = world.rng.uniform(0.2, 2.0)
    world.note(f"{worker.process.name} loses messages for {seconds:.3f} s")
    world.deafen(worker.process, None)
    world.broker.lossy[worker.process] = world.now() + seconds
    await asyncio.sleep(seconds)
    world.broker.break_connections(worker.process)


MISHAPS = (
    storm,
    crash,
    restart,
    lose_connection,
    restart_broker,
    cut_off,
    lag,
    lose_messages,
)
