"""saliency, occlusion, Grad-CAM and filters, against PyTorch and against loops."""

import numpy as np
import pytest
import torch
from tolerance import assert_close

from minicnn import nn
from minicnn.inspect import filter_pictures, gradcam, occlusion, saliency


def network():
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(5, 4, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 3 * 2, 6),
    ).astype(np.float64)


def in_torch(model):
    twin = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(5, 4, 3),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 3 * 2, 6),
    ).double()
    twin.load_state_dict({key: torch.from_numpy(array) for key, array in model.state_dict().items()})
    return twin


def test_saliency_is_the_gradient_of_the_score(rng, backend):
    model, x = network(), rng.standard_normal((3, 10, 8))
    image = torch.from_numpy(x[None]).requires_grad_()
    score = in_torch(model)(image)
    score[0, 4].backward()
    assert_close(saliency(model, x, target=4), image.grad[0].abs().amax(0).numpy(), length=100)
    best = int(score.argmax())
    np.testing.assert_array_equal(saliency(model, x[None]), saliency(model, x, best))


def test_gradcam_is_what_torch_computes(rng, backend):
    model, x = network(), rng.standard_normal((3, 10, 8))
    twin = in_torch(model)
    maps = twin[:5](torch.from_numpy(x[None])).detach().requires_grad_()
    twin[5:](maps)[0, 2].backward()
    heat = torch.relu((maps.grad.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True))
    heat = torch.nn.functional.interpolate(heat, size=(10, 8), mode="bilinear", align_corners=False)
    assert_close(gradcam(model, x, "4", target=2), heat.detach()[0, 0].numpy(), length=100)


def test_occlusion_is_the_mean_fall_of_the_probability(rng, backend):
    model, x = network(), rng.standard_normal((3, 10, 8))
    twin = in_torch(model)

    def probability(image):
        return float(twin(torch.from_numpy(image[None])).softmax(1)[0, 3].detach())

    falls = [[[] for _ in range(8)] for _ in range(10)]
    for top in (0, 3, 6):
        for left in (0, 3, 4):
            covered = x.copy()
            covered[:, top : top + 4, left : left + 4] = 0.25
            for row in range(top, top + 4):
                for column in range(left, left + 4):
                    falls[row][column].append(probability(x) - probability(covered))
    expected = np.array([[np.mean(each) if each else 0.0 for each in row] for row in falls])
    found = occlusion(model, x, target=3, size=4, stride=3, value=0.25)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert occlusion(model, x).shape == (10, 8)


def test_filters_are_shown_from_0_to_1(rng):
    weight = rng.standard_normal((4, 3, 5, 2)).astype(np.float32)
    weight[2] = 0
    found = filter_pictures(weight)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[2], np.full((3, 5, 2), 0.5, np.float32))
    for each, picture in zip(weight, found):
        np.testing.assert_allclose((picture - 0.5) * 2 * np.abs(each).max(), each, atol=1e-6)
        assert picture.min() >= 0 and picture.max() <= 1
    layer = nn.Conv2d(1, 2, 3)
    np.testing.assert_array_equal(filter_pictures(layer), filter_pictures(layer.weight.data))


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda m, x: saliency(3, x), TypeError),
        (lambda m, x: saliency(m, x[0]), ValueError),
        (lambda m, x: saliency(m, x, 6), IndexError),
        (lambda m, x: saliency(m[:1], x), ValueError),
        (lambda m, x: occlusion(m, [1]), TypeError),
        (lambda m, x: occlusion(m, x, size=9), ValueError),
        (lambda m, x: occlusion(m, x, size=0), ValueError),
        (lambda m, x: occlusion(m, x, stride=0), ValueError),
        (lambda m, x: occlusion(m, x, -1), IndexError),
        (lambda m, x: filter_pictures(nn.ReLU()), TypeError),
        (lambda m, x: filter_pictures(np.zeros((2, 3))), ValueError),
    ],
)
def test_bad_calls(call, kind, rng):
    with pytest.raises(kind) as caught:
        call(network(), rng.standard_normal((3, 10, 8)))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
