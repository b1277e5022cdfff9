"""Exercises 8 to 14: windows, kernels and borders."""

from .exercise import Exercise


def _image(rng):
    return rng.standard_normal((2, 4, 6, 7))


SECOND = (
    Exercise(
        name="softmax",
        title="Softmax: every output depends on every input",
        task="With y = softmax(x) the backward should return dL/dx[j] = Σ_i dL/dy[i] · dy[i]/dx[j].",
        parts=("softmax.softmax_forward", "softmax.softmax_backward"),
        there="y * (dy - (dy * y).sum(axis=axis, keepdims=True))",
        bug="y * (1 - y) * dy",
        operation="softmax",
        inputs=lambda rng: (rng.standard_normal((3, 5)),),
        settings={},
        hints=(
            "The code would be right if only y[j] depended on x[j]. Does it?",
            "dy[i]/dx[j] = y[i] · ([i = j] − y[j]): the code has the terms with i = j alone.",
            "Sum the row: Σ_i dy[i] · y[i] · ([i = j] − y[j]) = y[j] · (dy[j] − …)",
        ),
        lesson="The Jacobian is diag(y) − y yᵀ; multiplied with dy it is y · (dy − Σ dy · y), without ever building "
        "a matrix. A backward is a product with a Jacobian, not the Jacobian's diagonal.",
    ),
    Exercise(
        name="overlap",
        title="Max pooling: two windows, one winner",
        task="indices holds, for each output, the place of its largest pixel in the H·W plane. The backward should "
        "send each dy there. Windows of 3×3 with stride 1 overlap.",
        parts=("pooling.max_pool2d_input_grad",),
        there="np.add.at(dx.reshape(N, C, H * W), (n, c, place), dy[indices >= 0])",
        bug="dx.reshape(N, C, H * W)[n, c, place] = dy[indices >= 0]",
        operation="max_pool2d",
        inputs=lambda rng: (rng.standard_normal((2, 2, 6, 6)), 3),
        settings={"stride": 1},
        hints=(
            "With stride 3 the check would pass. What is different with stride 1?",
            "One pixel may be the largest of up to nine windows. What happens to the first eight?",
            "a[[0, 0]] += 1 adds 1, not 2. NumPy has a function that counts repeated indices: np.add.at.",
        ),
        lesson="Where one value is used several times, its gradients are added. Fancy indexing with = keeps the last "
        "one, and with += too: NumPy reads first, then writes once.",
    ),
    Exercise(
        name="padding",
        title="Padding: which side is which",
        task="The forward puts zeros around x, amounts = (left, right, top, bottom). The backward should cut the "
        "same frame off again.",
        parts=("shape.pad_forward", "shape.pad_input_grad"),
        there="left, _, top, _ = amounts",
        bug="top, _, left, _ = amounts",
        operation="pad",
        inputs=lambda rng: (rng.standard_normal((2, 2, 4, 4)), (1, 2, 2, 1)),
        settings={},
        hints=(
            "The shapes fit, and with the same padding on all sides the check would pass.",
            "Where does x[:, 0, 0] land in y? Where does the backward look for it?",
        ),
        lesson="Test with four different amounts, sides that are not square and strides that are not equal: "
        "symmetric examples are blind to everything that is swapped.",
    ),
    Exercise(
        name="flipped",
        title="Convolution: the kernel on its way back",
        task="y = weight @ im2col(x). conv2d_input_grad should return dL/dx = col2im(weight.T @ dy).",
        parts=("conv.conv2d_forward", "conv.conv2d_input_grad"),
        there="filters = weight.reshape(groups, F // groups, K(weight.shape))\n    dy = dy",
        bug="filters = weight[:, :, ::-1, ::-1].reshape(groups, F // groups, K(weight.shape))\n    dy = dy",
        operation="conv2d",
        inputs=lambda rng: (_image(rng), rng.standard_normal((3, 4, 3, 2)), rng.standard_normal(3)),
        settings={},
        hints=(
            "dweight and dbias hold: the error is on the way to x alone.",
            "“The backward of a convolution is a convolution with the flipped kernel.” In which form is it written?",
            "col2im puts each product back where it was read. Who flips a second time?",
        ),
        lesson="The backward is a correlation of dy with the flipped kernel, but col2im does the flipping: tap (i, "
        "j) that was read at y + i goes back to y + i. With the flip written out as well it is flipped twice. "
        "A kernel that is symmetric would not have shown it.",
    ),
    Exercise(
        name="col2im",
        title="col2im: the adjoint of reading twice",
        task="im2col copies each pixel into every column whose patch it lies in. col2im should be its adjoint: the "
        "sum of all that comes back to a pixel.",
        parts=("im2col.im2col", "im2col.col2im", "im2col.taps", "conv.conv2d_input_grad"),
        there="+= columns[:, :, i, j]",
        bug="= columns[:, :, i, j]",
        operation="conv2d",
        inputs=lambda rng: (_image(rng), rng.standard_normal((3, 4, 3, 2)), rng.standard_normal(3)),
        settings={"padding": (1, 0)},
        hints=(
            "Which entries of dx are right? They lie at a border. How many patches hold a pixel there?",
            "The loop runs over the taps of the kernel. What does the second tap do to what the first one wrote?",
        ),
        lesson="If im2col is a matrix A of zeros and ones, col2im is its transpose: a column with several ones "
        "becomes a row that adds. ⟨im2col(x), c⟩ = ⟨x, col2im(c)⟩ for all x and c: a one-line test for every "
        "such pair.",
    ),
    Exercise(
        name="dilation",
        title="Convolution: a setting lost on the way",
        task="dweight is dy @ im2col(x).T, with the columns that the forward saw.",
        parts=("conv.conv2d_forward", "conv.conv2d_weight_grad"),
        there="weight_shape[2:], stride, padding, dilation, (oh, ow)",
        bug="weight_shape[2:], stride, padding, (1, 1), (oh, ow)",
        operation="conv2d",
        inputs=lambda rng: (_image(rng), rng.standard_normal((3, 4, 2, 3)), rng.standard_normal(3)),
        settings={"stride": (2, 1), "padding": (1, 2), "dilation": (2, 1)},
        hints=(
            "dx holds, dweight does not, and not in every tap: look at which rows of the kernel are right.",
            "Compare the two calls of im2col.",
        ),
        lesson="The backward must read x exactly as the forward did. That is why both call the same im2col with the "
        "same settings, instead of each computing its own indices.",
    ),
    Exercise(
        name="images",
        title="Convolution: one kernel, many images",
        task="All images of a batch are convolved with the same weight. conv2d_weight_grad should return its gradient.",
        parts=("conv.conv2d_forward", "conv.conv2d_weight_grad"),
        there="dweight.sum(axis=0)",
        bug="dweight.mean(axis=0)",
        operation="conv2d",
        inputs=lambda rng: (rng.standard_normal((3, 4, 5, 5)), rng.standard_normal((4, 2, 3, 3)), None),
        settings={"groups": 2},
        hints=(
            "By what factor is dweight off, and how many images are there?",
            "The loss that the check differentiates is Σ dy · y: no mean in it. Where would one come from?",
        ),
        lesson="A weight that is used N times collects N gradients. With a batch of one image the bug is invisible, "
        "and with a fixed batch size it looks like another learning rate.",
    ),
)
