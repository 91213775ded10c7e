"""Ridge logistic regression of one entity, solved by Newton in its dual form.

    min_w  Σ_s m_s ℓ(o_s + x_s w, y_s) + ½ Σ_d λ_d w_d²,     w = λ⁻¹ Xᵀ a

The unknown is a, one number for each event: an entity has fewer events than
there are features. Each Newton step solves a system of that size.
"""

import jax
import jax.numpy as jnp
import optax

NUM_STEPS = 6
_STEP_SIZES = (1.0, 0.5, 0.25, 0.0)  # Newton overshoots far from the optimum.
_MIN_CURVATURE = 1e-6


def fit(
    features: jax.Array,
    offsets: jax.Array,
    labels: jax.Array,
    mask: jax.Array,
    *,
    precision: jax.Array,
    num_steps: int = NUM_STEPS,
) -> jax.Array:
  """Returns the weights of one entity, [F]; the caller owns the entity axis.

  Args:
    features: X, [S, F].
    offsets: logits that the weights add to, [S].
    labels: 0 or 1, [S].
    mask: weight of the event; 0 for padding, [S].
    precision: λ, positive, [F].
    num_steps: of Newton.
  """
  kernel = (features / precision) @ features.T

  def objective(dual):
    logits = kernel @ dual + offsets
    losses = optax.sigmoid_binary_cross_entropy(logits, labels)
    return jnp.sum(mask * losses) + 0.5 * dual @ kernel @ dual

  def step(dual, _):
    own = kernel @ dual
    p = jax.nn.sigmoid(own + offsets)
    curvature = mask * jnp.maximum(p * (1 - p), _MIN_CURVATURE)
    root = jnp.sqrt(curvature)
    target = curvature * own + mask * (labels - p)
    system = jnp.eye(root.size) + root[:, None] * kernel * root
    solved = jax.scipy.linalg.solve(
        system, root * (kernel @ target), assume_a='pos'
    )
    move = target - root * solved - dual
    tried = dual + jnp.asarray(_STEP_SIZES)[:, None] * move
    return tried[jnp.argmin(jax.vmap(objective)(tried))], None

  dual, _ = jax.lax.scan(step, jnp.zeros_like(offsets), length=num_steps)
  return (dual @ features) / precision
