"""A plain Flower app: what one would write with Flower's simulation and Opacus, to compare with.

    python -m simulations.benchmarks.plain_app RUN EXPERIMENT

The sites, images, model, batches and steps are those of the run in the folder ``RUN``. Each message
to train makes a ``PrivacyEngine`` and asks it for ε, as Flower's example of Opacus does; that ε
counts one round alone, and images for patients (docs/privacy.md). Sites score their validation
part after each round; a process decodes a site's images once. Nothing is kept, checked or reported
beyond that.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from common.checks import parse_experiment
from common.config import Experiment
from common.flower import quiet_environment
from common.models import build_model

DELTA = 1e-5


def main(words: Sequence[str]) -> None:
    run, text = Path(words[0]).resolve(), Path(words[1]).read_text(encoding="utf-8")
    quiet_environment()
    folders = [str(path.parent) for path in sorted(run.glob("sites/*/site.yaml"))]
    warnings.simplefilter("ignore")
    from flwr.simulation import run_simulation

    run_simulation(
        server_app=server_app(parse_experiment(text), len(folders)),
        client_app=client_app(text, folders),
        num_supernodes=len(folders),
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )


def server_app(experiment: Experiment, sites: int) -> ServerApp:
    app = ServerApp()

    @app.main()
    def start(grid: Grid, _: Context) -> None:
        strategy = FedAvg(
            min_train_nodes=sites, min_evaluate_nodes=sites, min_available_nodes=sites
        )
        arrays = ArrayRecord(build_model(experiment, seed=experiment.seed).state_dict())
        result = strategy.start(grid=grid, initial_arrays=arrays, num_rounds=experiment.rounds)
        if len(result.train_metrics_clientapp) != experiment.rounds:
            os._exit(1)  # Flower would end as if all were well

    return app


def client_app(text: str, folders: Sequence[str]) -> ClientApp:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        from opacus import PrivacyEngine
        from torch.utils.data import DataLoader, TensorDataset

        from simulations.benchmarks.bare import opacus_steps, site_parts

        torch.set_num_threads(1)
        experiment, model = received(message)
        data = site_parts(folders[int(context.node_config["partition-id"])], text)["train"]
        engine, strategy = PrivacyEngine(), experiment.strategy
        private, optimizer, loader = engine.make_private(
            module=model.train(),
            optimizer=torch.optim.AdamW(model.parameters(), strategy.learning_rate),
            data_loader=DataLoader(TensorDataset(*data), batch_size=strategy.batch_size),
            noise_multiplier=1.0,
            max_grad_norm=experiment.privacy.max_grad_norm,
        )
        for _ in opacus_steps(private, optimizer, loader, experiment, experiment.local_steps):
            pass
        epsilon = engine.get_epsilon(DELTA)
        figures = MetricRecord({"num-examples": len(data[0]), "epsilon": epsilon})
        arrays = ArrayRecord(model.state_dict())
        return Message(RecordDict({"arrays": arrays, "metrics": figures}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        from simulations.benchmarks.bare import scoring, site_parts

        torch.set_num_threads(1)
        _, model = received(message)
        place = int(context.node_config["partition-id"])
        images, _ = site_parts(folders[place], text)["validation"]
        figures = MetricRecord({"num-examples": len(images), "seconds": scoring(model, images)})
        return Message(RecordDict({"metrics": figures}), reply_to=message)

    def received(message: Message) -> tuple[Experiment, torch.nn.Module]:
        experiment = parse_experiment(text)
        model = build_model(experiment)
        model.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
        return experiment, model

    return app


if __name__ == "__main__":
    main(sys.argv[1:])
