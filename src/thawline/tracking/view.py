"""The saved view `Recipes` of MLflow's runs table: the columns that decide between recipes.

Left to itself the table shows when a run began and which script made it, and hides every number.
The format is the one the table's own "Save view" writes; tests/test_mlflow_ui.py opens it.
"""

import json

NAME = "recipes"
ADDRESS = "#/experiments/{experiment_id}/runs?viewStateShareKey=recipes&workflowType=machine_learning"
"""Where the view is, after the address that `mlflow ui` prints."""

METRICS = ("test_accuracy", "val_accuracy", "val_loss")
PARAMETERS = ("method", "phases", "depth", "unit", "head_lr", "body_lr", "epochs")
TAGS = ("stage", "contender", "seed", "state")


def experiment_tags() -> dict[str, str]:
    """Return the tags of an experiment that has the view."""
    columns = [
        *(f"metrics.`{name}`" for name in METRICS),
        *(f"params.`{name}`" for name in PARAMETERS),
        *(f"tags.`{name}`" for name in TAGS),
    ]
    state = {
        "searchFilter": "",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns,
    }
    view = {"name": NAME.capitalize(), "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)}
    return {f"mlflow.sharedViewState.{NAME}": json.dumps(view)}
