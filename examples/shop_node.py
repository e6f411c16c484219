"""A shop that takes orders.

A node with a supervision tree, to be looked at with the observer of a BEAM (``docs/how-to/observing.md``)::

    python examples/shop_node.py --cookie secret
    erl -name me@127.0.0.1 -hidden -setcookie secret -eval 'observer:start().'

and in the observer's menu *Nodes*, ``shop@127.0.0.1``.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import click

import quicdist
from quicdist import ChildSpec, GenServer, Node, Process, Supervisor

GOODS = ("apples", "pears", "quinces")


class Stock(GenServer):
    """How much of each product is left."""

    def init(self) -> None:
        self.left = dict.fromkeys(GOODS, 1000)

    def handle_call(self, request: Any, sender: Any) -> bool:
        match request:
            case ("take", product, amount):
                enough = bool(self.left[product] >= amount)
                if enough:
                    self.left[product] -= amount
                return enough
        return False


class Orders(GenServer):
    """Accepts orders as far as the stock allows."""

    def init(self) -> None:
        self.accepted = 0
        self.refused = 0

    async def handle_cast(self, request: Any) -> None:
        match request:
            case ("order", product, amount):
                if await self.process.node.gen_server_call("stock", ("take", product, amount)):
                    self.accepted += 1
                    self.process.send("mailer", ("confirm", product, amount))
                else:
                    self.refused += 1


async def customers(process: Process) -> None:
    """Order something now and then."""
    while True:
        await asyncio.sleep(random.expovariate(5))
        process.node.gen_server_cast("orders", ("order", random.choice(GOODS), random.randint(1, 3)))


async def mailer(process: Process) -> None:
    """Send confirmations, slower than orders come: its queue grows."""
    async for _ in process:
        await asyncio.sleep(1)


async def reports(_: Process) -> None:
    """Compute something every few seconds."""
    while True:
        await asyncio.sleep(random.uniform(1, 5))
        sum(number * number for number in range(random.randrange(2_000_000)))


def front() -> Supervisor:
    """Where orders come from and confirmations go to."""
    return Supervisor(
        [
            ChildSpec("orders", Orders, name="orders"),
            ChildSpec("mailer", mailer, name="mailer"),
            ChildSpec("customers", customers, name="customers"),
        ],
        strategy="rest_for_one",
    )


async def serve(name: str, cookie: str) -> None:
    async with Node(name, cookie=cookie, carrier="tcp") as node:
        node.exports.introspection()
        children = [
            ChildSpec("stock", Stock, name="stock"),
            ChildSpec("front", front, name="front", type="supervisor"),
            ChildSpec("reports", reports, name="reports"),
        ]
        await node.gen_server.start(Supervisor(children), name="shop")
        print(f"{node.name} is up", flush=True)
        await node.run_forever()


@click.command(help=__doc__)
@click.option("--name", default="shop@127.0.0.1", show_default=True)
@click.option("--cookie", required=True)
def main(name: str, cookie: str) -> None:
    quicdist.run(serve(name, cookie))


if __name__ == "__main__":
    main()
