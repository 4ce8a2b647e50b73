"""MV-SDS with analytic denoisers: gradient, guidance, rescale, and where it converges to."""

import pytest
import torch

from dreamlift.distillation.mv_sds import BothSides, Guidance, guided_x0, mv_sds, rescale
from dreamlift.priors.imagedream import ImageContext
from dreamlift.rendering.cameras import orthogonal_views

CAMERAS = orthogonal_views(0.0, 15.0, 2.7, 40.0)
CONDITION = BothSides(torch.ones(1, 1, 1), torch.zeros(1, 1, 1))


class GaussianPrior:
    """The exact denoiser of pictures drawn from N(mean, spread^2) a pixel; "latents" are the pictures themselves.

    With the prompt's context (ones) the mean is `mean`, with the negative's (zeros) it is `mean - gap`.
    """

    image_size = 8
    alphas_cumprod = torch.linspace(0.999, 0.001, 1000)

    def __init__(self, mean, spread=0.5, gap=0.0):
        self.mean, self.spread, self.gap = mean, spread, gap
        self.asked = []

    def encode_images(self, images, generator=None):
        return images

    def predict_x0(self, x_t, t, context, cameras, views=4):
        self.asked.append((len(x_t), len(cameras), views, set(t.tolist())))
        alpha_bar = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        mean = self.mean.repeat(len(x_t) // len(self.mean), 1, 1, 1) - self.gap * (1 - context[:, :1, :1, None])
        # Posterior mean of x given x_t = alpha x + sigma eps.
        gain = alpha_bar.sqrt() * self.spread**2 / (alpha_bar * self.spread**2 + 1 - alpha_bar)
        return mean + gain * (x_t - alpha_bar.sqrt() * mean)


@pytest.fixture
def mean():
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(5))


def test_the_gradient_is_the_distance_to_the_prediction_over_the_number_of_views(mean):
    images = torch.rand(4, 3, 8, 8, requires_grad=True)
    result = mv_sds(GaussianPrior(mean), images, CAMERAS, CONDITION, 600, Guidance(scale=1.0, rescale=0.0))
    result.loss.backward()
    torch.testing.assert_close(images.grad, (images.detach() - result.target) / 4)
    assert result.loss.item() == pytest.approx(0.5 * (images.detach() - result.target).square().sum().item() / 4)


def test_the_gradient_equals_sds_with_weight_sigma_over_alpha(mean):
    prior, t = GaussianPrior(mean), 500
    images = torch.rand(4, 3, 8, 8, requires_grad=True)
    seed = torch.Generator().manual_seed(11)
    mv_sds(prior, images, CAMERAS, CONDITION, t, Guidance(1.0, 0.0), seed).loss.backward()
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(11))
    alpha, sigma = prior.alphas_cumprod[t].sqrt(), (1 - prior.alphas_cumprod[t]).sqrt()
    noisy = alpha * images.detach() + sigma * noise
    x0 = prior.predict_x0(noisy, torch.full((4,), t), torch.ones(4, 1, 1), CAMERAS)
    epsilon = (noisy - alpha * x0) / sigma
    torch.testing.assert_close(images.grad, sigma / alpha * (epsilon - noise) / 4, rtol=1e-4, atol=1e-5)


def test_pixels_converge_to_the_mean_that_the_prior_knows(mean):
    prior = GaussianPrior(mean, spread=0.1)
    images = torch.full((4, 3, 8, 8), 0.5, requires_grad=True)
    optimiser = torch.optim.SGD([images], lr=0.5)
    generator = torch.Generator().manual_seed(0)
    for step in range(300):
        optimiser.zero_grad()
        mv_sds(prior, images, CAMERAS, CONDITION, 900 - 2 * step, Guidance(1.0, 0.0), generator).loss.backward()
        optimiser.step()
    # What is left is the jitter of one noise sample a step: 0.009 seen, times 3; the start is 0.25 away.
    assert (images.detach() - mean).abs().mean() < 0.03


def test_guidance_moves_the_prediction_past_the_prompts_away_from_the_negatives(mean):
    prior = GaussianPrior(mean, spread=1e-4, gap=0.1)
    x0 = guided_x0(prior, torch.zeros(4, 3, 8, 8), CAMERAS, CONDITION, 700, Guidance(scale=5.0, rescale=0.0))
    torch.testing.assert_close(x0, mean - 0.1 + 5 * 0.1, rtol=1e-3, atol=1e-3)
    assert prior.asked == [(8, 8, 4, {700})]  # prompt and negative in one call, one timestep


def test_at_a_guidance_of_1_the_wanted_side_alone_is_asked_and_nothing_else_changes(mean):
    noisy = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    prior = GaussianPrior(mean, spread=0.3, gap=0.1)
    alone = guided_x0(prior, noisy, CAMERAS, CONDITION, 700, Guidance(scale=1.0, rescale=0.5))
    both = guided_x0(prior, noisy, CAMERAS, CONDITION, 700, Guidance(scale=1.000001, rescale=0.5))
    torch.testing.assert_close(alone, both, rtol=1e-4, atol=1e-4)
    assert [asked[0] for asked in prior.asked] == [4, 8]


def test_any_family_s_condition_gets_a_row_for_every_view_of_each_side():
    positive = ImageContext(torch.ones(2, 1, 1), torch.arange(2.0).view(2, 1, 1), torch.ones(2, 1, 1, 1))
    negative = positive.map(lambda value: value * 0 - 1)
    rows = BothSides(positive, negative).rows(8)
    assert rows.image.flatten().tolist() == [0.0] * 4 + [1.0] * 4 + [-1.0] * 8
    assert rows.pixels.flatten().tolist() == [1.0] * 8 + [-1.0] * 8 and len(rows.text) == 16
    assert BothSides(positive[:1], negative[:1]).rows(4).image.flatten().tolist() == [0.0] * 4 + [-1.0] * 4


@pytest.mark.parametrize("rows", [(1, 2), (3, 3)])
def test_rows_that_do_not_fit_the_views_are_refused(rows):
    with pytest.raises(ValueError, match="do not fit 4 views"):
        BothSides(*(torch.zeros(count, 1, 1) for count in rows)).rows(4)


def test_full_rescale_gives_each_object_the_conditional_spread_over_its_views():
    generator = torch.Generator().manual_seed(2)
    guided, conditional = (torch.randn(8, 3, 4, 4, generator=generator) * scale for scale in (3.0, 1.0))
    full = rescale(guided, conditional, 1.0, views=4)
    torch.testing.assert_close(full.view(2, -1).std(1), conditional.view(2, -1).std(1))
    torch.testing.assert_close(rescale(guided, conditional, 0.0, views=4), guided)
    half = rescale(guided, conditional, 0.5, views=4)
    torch.testing.assert_close(half, (full + guided) / 2)


def test_renderings_of_another_size_are_resized_with_their_gradient(mean):
    images = torch.rand(4, 3, 4, 4, requires_grad=True)
    mv_sds(GaussianPrior(mean), images, CAMERAS, CONDITION, 600, Guidance(1.0, 0.0)).loss.backward()
    assert images.grad.abs().sum() > 0


def test_views_that_do_not_fill_an_object_are_refused(mean):
    with pytest.raises(ValueError, match="multiple of 4"):
        mv_sds(GaussianPrior(mean), torch.rand(3, 3, 8, 8), CAMERAS[:3], CONDITION, 600, Guidance())


def test_the_picture_residual_pulls_pictures_to_the_decoded_target_without_the_encoders_gradient():
    class Halving(GaussianPrior):
        """Latents are pictures; its decoder halves them, so that the two residuals differ."""

        def decode_latents(self, latents):
            return latents / 2

    mean = torch.full((1, 3, 8, 8), 0.5)
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(3), requires_grad=True)
    guidance = Guidance(scale=1.0, rescale=0.0, latent_weight=0.0, image_weight=2.0)
    result = mv_sds(Halving(mean), images, CAMERAS, CONDITION, 600, guidance)
    result.loss.backward()
    assert torch.allclose(images.grad, 2.0 * (images.detach() - result.target / 2) / 4, atol=1e-6)
