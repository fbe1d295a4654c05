"""LAMB as it was published; Keras's own decays the weights apart from the trust ratio, adapts all of them and clips nothing."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_resnet.errors import InputError
from keras_resnet.hooks import place_of


@keras.saving.register_keras_serializable("keras_resnet")
class Lamb(keras.optimizers.Optimizer):
    """LAMB (arXiv:1904.00962, algorithm 2), as arXiv:2110.00476 used it: that of NVIDIA's Apex and of timm.

    With m and v the moving averages of the gradient and of its square, both corrected for their start at zero, a weight w changes
    by -learning_rate * ratio * u, where u = m / (sqrt(v) + epsilon) + weight_decay * w and ratio = |w| / |u|, or 1 where either
    norm is 0. A weight without decay changes by -learning_rate * u: it has no ratio.

    Args:
        learning_rate: a number or a schedule.
        beta_1: share of the average of the gradient that is kept in a step.
        beta_2: the same of the average of its square.
        epsilon: beside the square root.
        weight_decay: share of a weight in its update, before the ratio; 0 for none, and so no ratios.
        undecayed: a weight whose name has one of these words in it is not decayed. They are saved with the optimizer.
        global_clipnorm: the largest norm of the gradient of all weights together: a longer one is scaled down to it before anything
            else. None for no limit.
        settings: of every Keras optimizer: `use_ema`, `gradient_accumulation_steps` and so on.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        weight_decay: float = 0.01,
        undecayed: Sequence[str] = (),
        global_clipnorm: float | None = 1.0,
        **settings: Any,
    ) -> None:
        super().__init__(learning_rate, global_clipnorm=global_clipnorm, **settings)  # which would decay apart
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.decay, self.undecayed = weight_decay or 0.0, tuple(undecayed)

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Decay no weight whose name has one of `var_names` in it. InputError for single variables: those could not be saved."""
        if var_list:
            raise InputError("this optimizer takes the names of the weights that are not to be decayed: var_names=['bias']")
        self.undecayed = tuple(var_names or ())

    def build(self, variables: list[Any]) -> None:
        """Make the two averages of each weight."""
        if self.built:
            return
        super().build(variables)
        self.averages, self.squares = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        self.decays = [self.decay * (not any(word in variable.name for word in self.undecayed)) for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change one weight by its gradient, of the same shape."""
        place = place_of(self, variable)
        average, square, decay = self.averages[place], self.squares[place], self.decays[place]
        gradient, rate, step = (ops.cast(value, variable.dtype) for value in (gradient, learning_rate, self.iterations + 1))
        self.assign_add(average, (gradient - average) * (1 - self.beta_1))
        self.assign_add(square, (ops.square(gradient) - square) * (1 - self.beta_2))
        mean = average / (1 - ops.power(ops.cast(self.beta_1, variable.dtype), step))
        deviation = ops.sqrt(square / (1 - ops.power(ops.cast(self.beta_2, variable.dtype), step)))
        update = mean / (deviation + self.epsilon)
        if decay:
            update += decay * ops.convert_to_tensor(variable)
            update *= trust_ratio(variable, update)
        self.assign_sub(variable, rate * update)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` takes."""
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return {**super().get_config(), **own, "weight_decay": self.decay, "undecayed": list(self.undecayed)}


def trust_ratio(weight: Any, update: Any) -> Any:
    """The norm of the weight over that of its update, 1 where either is 0."""
    norm, change = (ops.sqrt(ops.sum(ops.square(value))) for value in (weight, update))
    there = ops.logical_and(norm > 0, change > 0)
    return ops.where(there, norm / ops.where(there, change, ops.ones_like(change)), ops.ones_like(norm))
