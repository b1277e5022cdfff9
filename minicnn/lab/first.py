"""Exercises 1 to 7: one factor, one term, one sum."""

from .exercise import Exercise

FIRST = (
    Exercise(
        name="factor",
        title="Mean squared error: every entry off by the same factor",
        task="The loss is (x − target)², and `scale` is the gradient that arrives for each loss. The backward "
        "should return its product with the derivative of the loss.",
        parts=("loss.mse_loss_forward", "loss.mse_loss_backward"),
        there="scale * (2 * (x - target))",
        bug="scale * (x - target)",
        operation="mse_loss",
        inputs=lambda rng: (rng.standard_normal((3, 4)), rng.standard_normal((3, 4))),
        settings={},
        hints=(
            "Divide one value of the finite differences by the value of your backward. Then another one.",
            "What is the derivative of u²?",
        ),
        lesson="d/dx (x − target)² = 2 (x − target). A factor that is the same everywhere hides in the learning "
        "rate: training works, at another speed than the one you set. Only a gradient check tells.",
    ),
    Exercise(
        name="tanh",
        title="tanh: a derivative from memory",
        task="With y = tanh(x) the backward should return dy · tanh'(x).",
        parts=("activation.tanh_forward", "activation.tanh_backward"),
        there="(1 - tanh_forward(x) ** 2)",
        bug="(1 - tanh_forward(x))",
        operation="tanh",
        inputs=lambda rng: (rng.standard_normal((3, 5)),),
        settings={},
        hints=(
            "The derivative of tanh at 0 is 1, and falls off to both sides alike. Put −2 and 2 into the code.",
            "tanh = sinh / cosh. The quotient rule gives (cosh² − sinh²) / cosh².",
        ),
        lesson="tanh'(x) = 1 − tanh(x)². Right at 0 and plausible for positive x: an example or two by hand, with "
        "convenient numbers, would have missed it.",
    ),
    Exercise(
        name="product-rule",
        title="SiLU: a product has two derivatives",
        task="With y = x · σ(x) the backward should return dy times the derivative of that product. σ' is σ(x) · "
        "σ(−x).",
        parts=("activation.silu_forward", "activation.silu_backward"),
        there="* (1 + plain(x) * sigmoid_forward(-x))",
        bug="* (plain(x) * sigmoid_forward(-x))",
        operation="silu",
        inputs=lambda rng: (rng.standard_normal((3, 5)),),
        settings={},
        hints=(
            "Let x be large: y is x itself then. What is the slope there, and what does the code return?",
            "(u·v)' = u'·v + u·v', with u = x and v = σ(x). One of the two terms is not there.",
        ),
        lesson="y' = σ(x) + x · σ(x) · σ(−x) = σ(x) · (1 + x · σ(−x)). Where x is used twice, gradients come back on "
        "both ways and are added: the rule behind every residual connection and every shared weight.",
    ),
    Exercise(
        name="bias",
        title="Linear layer: the gradient of what was broadcast",
        task="y = x @ weight.T + bias adds the same bias to each of the M rows. `channel_sum` should turn dL/dy "
        "into dL/dbias.",
        parts=("linear.linear_forward", "linear.linear_input_grad", "linear.linear_weight_grad", "linear.channel_sum"),
        there="return dy.sum(",
        bug="return dy.mean(",
        operation="linear",
        inputs=lambda rng: (rng.standard_normal((4, 5)), rng.standard_normal((3, 5)), rng.standard_normal(3)),
        settings={},
        hints=(
            "dx and dweight hold. How many rows has x, and by what factor is dbias off?",
            "A small step of bias[c] moves y[m, c] in every row m. What does that do to L?",
        ),
        lesson="dL/dbias[c] = Σ_m dL/dy[m, c]. The backward of a broadcast is a sum. Whether the loss is a mean is "
        "decided in the loss, once, and arrives with dy.",
    ),
    Exercise(
        name="target",
        title="Softmax and cross-entropy: the shortest famous gradient",
        task="For the loss −log softmax(logits)[target] the backward should return the gradient by the logits. wq "
        "is the target as a distribution over the classes (one-hot, here), times the class weights (here 1).",
        parts=("loss.cross_entropy_backward",),
        there="wq.sum(axis=1, keepdims=True) - wq)",
        bug="wq.sum(axis=1, keepdims=True))",
        operation="cross_entropy",
        inputs=lambda rng: (rng.standard_normal((5, 4)), rng.integers(0, 4, 5)),
        settings={},
        hints=(
            "Count the wrong entries: one in each row. Which class is it?",
            "With these gradients a step would lower every logit, that of the right class too.",
            "−log softmax(z)[t] = −z[t] + log Σ exp(z). The code has the derivative of one of these two terms.",
        ),
        lesson="dL/dlogits = softmax(logits) − target: probabilities minus what they should be. Its entries sum to 0 "
        "over the classes: what the right class gains the others lose.",
    ),
    Exercise(
        name="mean",
        title="Average pooling: who pays for the mean",
        task="Each output of adaptive average pooling is the mean of a bin of pixels. The backward should give "
        "each pixel its share of dy. (Bins may overlap: hence +=.)",
        parts=("pooling.adaptive_avg_pool2d_forward", "pooling.adaptive_avg_pool2d_input_grad", "pooling.bins"),
        there="None, None] / size",
        bug="None, None]",
        operation="adaptive_avg_pool2d",
        inputs=lambda rng: (rng.standard_normal((2, 2, 5, 6)), (2, 3)),
        settings={},
        hints=(
            "Add 1 to every pixel of a bin. By how much does its mean grow, and what do the gradients add up to?",
            "There is a variable in the loop that is computed and not used.",
        ),
        lesson="y = Σ x / size, so dL/dx = dL/dy / size. A forgotten 1/N multiplies the gradients by the size of the "
        "bin, and in front of a deep network looks like a learning rate that is far too large.",
    ),
    Exercise(
        name="smoothing",
        title="Label smoothing: forward and backward of two different losses",
        task="With label smoothing ε the target distribution is q = (1 − ε) · one-hot + ε / C. Forward uses q. The "
        "backward should be that of the same loss.",
        parts=("loss.cross_entropy_forward", "loss.cross_entropy_backward"),
        there="((1 - label_smoothing) * distribution + label_smoothing / C)",
        bug="distribution",
        operation="cross_entropy",
        inputs=lambda rng: (rng.standard_normal((5, 4)), rng.integers(0, 4, 5)),
        settings={"label_smoothing": 0.2},
        hints=(
            "Without label smoothing all of it holds. Where does label_smoothing come into the backward?",
            "For every class the gradient is p − q. Which q does the code take?",
        ),
        lesson="A setting that the forward honours and the backward forgets is the most common bug of all: the "
        "default value hides it. Check gradients with every setting away from its default.",
    ),
)
