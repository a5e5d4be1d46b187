"""What the bundle that Flower ships may say: the server sends it, and a site accepts no other."""

from __future__ import annotations

PYPROJECT_NAME = "pyproject.toml"

COMPONENTS = {"serverapp": "server.app:app", "clientapp": "client.app:app"}
"""The apps that are installed at the server and at the sites."""

PYPROJECT = f"""\
[project]
name = "fedrounds-app"
version = "1.0.0"
description = "Names the installed apps, and brings no code."
license = {{ text = "Apache-2.0" }}
dependencies = []

[tool.flwr.app]
publisher = "fedrounds"

[tool.flwr.app.components]
serverapp = "{COMPONENTS["serverapp"]}"
clientapp = "{COMPONENTS["clientapp"]}"
"""
