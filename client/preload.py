"""What a fork server imports once, for all the processes that it forks."""

PLAIN = [
    "common.mortal",
    "client.app",
    "torch._dynamo",  # which the first optimiser of a process imports: 1 to 3 s
]
PRIVATE = [*PLAIN, "client.privacy.gradients", "client.privacy.optimizer"]  # Opacus: 2 s more
