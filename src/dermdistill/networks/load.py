"""A finished run's network, rebuilt from its header."""

from safetensors import SafetensorError
from safetensors.torch import load_file

from dermdistill.errors import IntegrityError
from dermdistill.networks.registry import Network, Wanted, network
from dermdistill.run import Run, TrainedHeader


def load_network(run: Run) -> tuple[Network, TrainedHeader]:
    """Rebuild the network of a finished teacher or student with its best weights.

    Args:
        run: the run folder.

    Returns:
        The network in evaluation mode with its normalisation, and the run's header.

    Raises:
        InputError: the run is not finished, or no teacher and no student.
        IntegrityError: the weights are missing, were changed, or do not fit the network that the header names.
    """
    header = run.trained()
    built = network(header.stage, header.model, Wanted(len(header.classes), header.image_size))
    weights = run.weights()
    try:
        built.module.load_state_dict(load_file(weights))
    except (RuntimeError, SafetensorError) as error:
        raise IntegrityError(f"{weights} does not fit the network '{header.model}': {error}") from None
    return Network(built.module.eval(), header.mean, header.std), header
