"""The network and the loss for data: what is not given follows from the samples and the target."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.data import Dataset, Target
from chainrule.errors import ShapeError, require
from chainrule.layers import Dense, Flatten, Input, Layer
from chainrule.layers.combinators import separate
from chainrule.layers.notation import parse
from chainrule.losses import BinaryCrossEntropy, CategoricalCrossEntropy, Loss, MeanSquaredError, Ordinal
from chainrule.network import Network, of_sequences, of_texts
from chainrule.training import defaults
from chainrule.training.causality import require_causal

Layers = str | Layer | Sequence[Layer] | Network
"""What `train` takes for a network: its hidden layers as text, all its layers, or a network."""


def default_loss(data: Dataset) -> Loss:
    """Cross-entropy for classes and labels, the ordinal loss for classes in order, the mean squared
    error for quantities, quantiles for forecasts.
    """
    if data.target.season:
        return defaults.loss_of_series()
    if data.task == "ordinal":
        return Ordinal()
    if data.task == "regression":
        return MeanSquaredError()
    return BinaryCrossEntropy() if data.task == "multilabel" or data.target.width == 2 else CategoricalCrossEntropy()


def outputs_for(loss: Loss, target: Target) -> int:
    """The number of outputs that the network needs; for labels one each."""
    return target.width if target.task == "multilabel" else loss.outputs(target.width)


def build_network(network: Layers | None, data: Dataset, loss: Loss, dtype: str = "float32") -> Network:
    """The network for this data.

    Text gives the hidden layers; images are flattened before them unless a layer takes images, such
    as conv, tokens are embedded unless the first layer takes them, and the output layer follows
    from the target unless it is given after an arrow: "64 relu -> 10". A list of all layers, or a
    Network, is used as it is. Raises ShapeError for a network that does not fit the samples or the
    loss, and SettingError for one without parameters, or one for texts that is not causal.
    """
    if data.texts_as_tokens and not isinstance(network, Network):
        network = _of_texts(network, data, loss, dtype)
    elif network is None or isinstance(network, str):
        hidden, arrow, output = (network or "").partition("->")
        layers = defaults.hidden_layers(data) if network is None else parse(hidden.strip())
        is_whole = len(data.input_shape) > 1 and not data.target.positions and data.sequence is None
        if is_whole and not any(layer.accepts_images for layer in layers):
            layers = [Flatten(), *layers]
        if data.target.tokens and not (layers and layers[0].takes_tokens):
            layers = [defaults.embedding(data), *layers]
        end = parse(output.strip()) if arrow else [defaults.output(data, outputs_for(loss, data.target))]
        network = [*layers, *end]
        if data.target.season:
            network = defaults.forecast(network, data, loss)
    if isinstance(network, Network):
        pass
    elif data.has_lengths:
        assert data.sequence is not None
        network = of_sequences(separate(network), data.sequence, dtype)
    else:
        network = Network(network, data.input_shape, dtype)
    shape, outputs = network.input_shape, (*data.target.positions, outputs_for(loss, data.target))
    if shape != data.input_shape:
        raise ShapeError(
            f"the network takes samples of shape {shape}, but those of {data.name} have shape {data.input_shape}"
        )
    require(network.parameters.size > 0, "the network has nothing to learn: no layer has parameters; add a Dense layer")
    if network.output_shape != outputs:
        has_positions = len(network.output_shape) > 1 and len(outputs) == 1 and network.output_shape[-1:] == outputs
        remedy = "put flatten, or global_average_pool, before" if has_positions else "change"
        raise ShapeError(
            f"layer {network.nodes[-1].name}: the network's output has the shape {network.output_shape}, but the loss"
            f" {type(loss).__name__} takes {outputs} for the target of {data.name}; {remedy} the last layer"
        )
    if data.target.tokens:
        require_causal(network, data.target)
    return network


def _of_texts(network: str | Layer | Sequence[Layer] | None, data: Dataset, loss: Loss, dtype: str) -> Network:
    """The network for a table with columns of text as tokens. The layers up to the one that leaves
    one row of numbers of a sequence read each text; if none takes sequences, the default ones do.
    Those after them get everything side by side.
    """
    texts = defaults.embeddings(data)
    others = data.input_shape[0] - sum(length + 1 for length, _ in texts)
    output: list[Layer] = [Dense(outputs_for(loss, data.target))]
    of_others = defaults.of_numbers(data) if network is None and others else []
    if network is None:
        layers = [*defaults.after_numbers(data), *output]
    elif isinstance(network, str):
        hidden, arrow, last = network.partition("->")
        layers = [*parse(hidden.strip()), *(parse(last.strip()) if arrow else output)]
    else:
        layers = [*separate(network)]
    if layers[0].takes_tokens:
        texts, layers = [(length, layers[0]) for length, _ in texts], layers[1:]
    reader = defaults.reader()
    if any(layer.accepts_images for layer in layers):
        count = _until_one_row(layers, texts[0])
        reader, layers = layers[:count], layers[count:]
    return of_texts(layers, texts, reader, others, of_others, dtype)


def _until_one_row(layers: Sequence[Layer], text: tuple[int, Layer]) -> int:
    """How many of these layers, the first, leave one row of numbers of an embedded text."""
    length, embedding = text
    x = embedding(Input(length))
    for count, layer in enumerate(separate(layers), start=1):
        x = layer(x)
        if len(x.shape) == 1:
            return count
    remedy = "end them with one that leaves one row of numbers, such as gru 64 or global_max_pool"
    raise ShapeError(f"the layers that read a text leave the shape {x.shape}; {remedy}")
