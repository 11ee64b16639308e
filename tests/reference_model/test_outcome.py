# SPDX-License-Identifier: GPL-2.0-only
"""The form in which predictions are printed."""

from __future__ import annotations

import json

from reference_model.outcome import Observation, Prediction, StepPrediction, json_pieces, to_json


def test_pieces_are_the_whole() -> None:
    steps = tuple(StepPrediction((Observation(ret=-number),)) for number in range(3))
    for prediction in (
        Prediction(id="a", profile="v6.12", steps=steps),
        Prediction(id="a", profile="v6.12"),
        Prediction(id="a", profile="v6.12", skip="no"),
    ):
        whole = json.loads(json.dumps(to_json(prediction)))
        assert json.loads(b"".join(json_pieces(prediction))) == whole
