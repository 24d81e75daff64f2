"""A trained model as an expression of Spark SQL, equal to it to rounding.

Each tree becomes nested ifs. A value that is missing, or a category that was never seen, goes where
the tree sends what is missing: the condition is written so that null and the unknown fall to that
side. NaN counts as a number there, as in SQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sklearn.pipeline import Pipeline


def sql_of(model: Pipeline) -> str:
    """The probability that the model foretells, of columns named like its features."""
    boosting = model["boosting"]
    names, codes = _names_and_codes(model)
    trees = [
        _tree(tree.nodes, tree.raw_left_cat_bitsets, names, codes)
        for (tree,) in boosting._predictors
    ]
    start = float(boosting._baseline_prediction[0, 0])
    # without parentheses about the trees: nested ones cost the parser more than all else
    return f"1D / (1D + exp(-({' + '.join([_double(start), *trees])})))"


def nodes_of(model: Pipeline) -> int:
    """How many splits and leaves the model has."""
    return sum(len(tree.nodes) for (tree,) in model["boosting"]._predictors)


def _names_and_codes(model: Pipeline) -> tuple[list[str], Mapping[str, Mapping[str, int]]]:
    """The features as the trees number them, and the code of each category of each text."""
    chosen = {name: columns for name, _, columns in model["columns"].transformers_}
    numbers, categories = list(chosen["numbers"]), list(chosen.get("categories", []))
    codes: dict[str, dict[str, int]] = {}
    if categories:
        encoder = model["columns"].named_transformers_["categories"]
        for place, (name, known) in enumerate(zip(categories, encoder.categories_, strict=True)):
            texts = [each for each in known if not pd.isna(each)]
            rows = pd.DataFrame({each: [None] * len(texts) for each in categories}, dtype=object)
            rows[name] = texts
            plain = np.zeros((len(texts), len(numbers)))
            encoded = np.hstack([plain, encoder.transform(rows)])
            # the trees have texts before numbers, in codes of their own
            told = model["boosting"]._preprocessor.transform(encoded)[:, place]
            codes[name] = {
                text: int(code)
                for text, code in zip(texts, told, strict=True)
                if not np.isnan(code)
            }
    return categories + numbers, codes


def _tree(
    nodes: np.ndarray,
    bitsets: np.ndarray,
    names: Sequence[str],
    codes: Mapping[str, Mapping[str, int]],
) -> str:
    def told(place: int) -> str:
        node = nodes[place]
        if node["is_leaf"]:
            return _double(node["value"])
        left, right = told(node["left"]), told(node["right"])
        name = names[node["feature_idx"]]
        # what is null falls to the second side
        known_side, other_side = (right, left) if node["missing_go_to_left"] else (left, right)
        if node["is_categorical"]:
            bits = bitsets[node["bitset_idx"]]
            wanted = not node["missing_go_to_left"]
            texts = [
                text
                for text, code in codes[name].items()
                if bool(bits[code // 32] >> (code % 32) & 1) == wanted
            ]
            condition = f"{name} in ({', '.join(map(_text, texts))})" if texts else "false"
        elif np.isinf(node["num_threshold"]):  # all that is there goes left
            condition = "false" if node["missing_go_to_left"] else f"{name} is not null"
        else:
            sign = ">" if node["missing_go_to_left"] else "<="
            condition = f"{name} {sign} {_double(node['num_threshold'])}"
        return f"if({condition}, {known_side}, {other_side})"

    return told(0)


def _double(value: float) -> str:
    return f"{float(value)!r}D"


def _text(value: str) -> str:
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
