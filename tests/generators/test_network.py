"""The loss compared with diffusers' own schedule, and the weights of min-SNR-gamma compared across predictions."""

from collections.abc import Callable

import pytest
import torch
from configs import DDPMConfig, NoiseConfig, UNetConfig
from diffusers import DDPMScheduler
from diffusers.models.attention_processor import Attention

from bench.generators.ddpm.process import build_process
from bench.generators.shared.unet import build_unet

CPU = torch.device("cpu")


def inputs(n: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    x0 = torch.rand((n, 3, 8, 8), generator=random) * 2 - 1
    return x0, torch.randn(x0.shape, generator=random), torch.tensor([0, 1, 30, 60, 98, 99])[:n]


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_loss_is_that_of_diffusers(tiny: Callable[..., DDPMConfig], prediction: str, schedule: str) -> None:
    noise = NoiseConfig(num_timesteps=100, beta_schedule=schedule, prediction=prediction)
    unet = build_unet(tiny().unet, 8, seed=0)
    x0, eps, t = inputs()

    scheduler = DDPMScheduler(num_train_timesteps=100, beta_schedule=schedule)
    targets = {"epsilon": eps, "sample": x0, "v_prediction": scheduler.get_velocity(x0, eps, t)}
    output = unet(scheduler.add_noise(x0, eps, t), t).sample
    expected = torch.nn.functional.mse_loss(output, targets[prediction])

    torch.testing.assert_close(build_process(noise, CPU).loss(unet, x0, eps, t), expected)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_min_snr_means_the_same_for_every_prediction(prediction: str) -> None:
    """Check that the weighted error of one estimate of x0 is the same number for every way of expressing that
    estimate."""
    x0, eps, t = inputs(5)  # without t = 99, where conversions between x0 and epsilon lose all digits
    guess = x0 + 0.1 * eps.roll(1, 0)

    def network(kind: str) -> Callable[..., tuple[torch.Tensor]]:
        def call(x: torch.Tensor, steps: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
            alpha = DDPMScheduler(num_train_timesteps=100).alphas_cumprod[steps][:, None, None, None].double()
            signal, noise = alpha.sqrt(), (1 - alpha).sqrt()
            epsilon = (x.double() - signal * guess) / noise
            return ({"sample": guess, "epsilon": epsilon, "v_prediction": signal * epsilon - noise * guess}[kind],)

        return call

    def loss(kind: str) -> torch.Tensor:
        process = build_process(NoiseConfig(num_timesteps=100, prediction=kind, min_snr_gamma=5.0), CPU)
        return process.loss(network(kind), x0, eps, t)

    torch.testing.assert_close(loss(prediction), loss("sample"), rtol=1e-3, atol=0)


def test_min_snr_weights_by_hand() -> None:
    alphas = DDPMScheduler(num_train_timesteps=100).alphas_cumprod
    process = build_process(NoiseConfig(num_timesteps=100, prediction="sample", min_snr_gamma=5.0), CPU)
    snr = alphas / (1 - alphas)
    assert process.weight[0] == 5.0 and snr[0] > 5.0
    torch.testing.assert_close(process.weight[99], snr[99])
    assert torch.equal(build_process(NoiseConfig(num_timesteps=100), CPU).weight, torch.ones(100))


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_denoise_inverts_a_perfect_prediction(prediction: str) -> None:
    x0, eps, _ = inputs()
    process = build_process(NoiseConfig(num_timesteps=100, prediction=prediction), CPU)
    signal, noise = process.signal[50], process.noise[50]
    output = {"epsilon": eps, "sample": x0, "v_prediction": signal * eps - noise * x0}[prediction]
    denoised = process.denoise(lambda x, t, return_dict: (output,), signal * x0 + noise * eps, 50)
    torch.testing.assert_close(denoised, x0, atol=1e-4, rtol=0)


def test_denoise_stays_in_the_range_of_pixels() -> None:
    process = build_process(NoiseConfig(prediction="sample"), CPU)
    x = torch.randn(2, 3, 8, 8)
    assert process.denoise(lambda x, t, return_dict: (x * 100,), x, 50).abs().max() == 1.0


def test_each_level_is_as_wide_and_attends_as_configured() -> None:
    config = UNetConfig([16, 24, 32], [False, True, False], layers_per_block=2, attention_head_dim=8, dropout=0.3)
    unet = build_unet(config, 16, seed=0)
    attends = [any(isinstance(m, Attention) for m in block.modules()) for block in unet.down_blocks]
    assert attends == [False, True, False]
    assert [any(isinstance(m, Attention) for m in b.modules()) for b in unet.up_blocks] == [False, True, False]
    assert [block.resnets[-1].out_channels for block in unet.down_blocks] == [16, 24, 32]
    assert [len(block.resnets) for block in unet.down_blocks] == [2, 2, 2]
    assert {m.heads for m in unet.up_blocks.modules() if isinstance(m, Attention)} == {3}
    assert {m.heads for m in unet.mid_block.modules() if isinstance(m, Attention)} == {4}
    assert {m.num_groups for m in unet.modules() if isinstance(m, torch.nn.GroupNorm)} == {8}
    assert {m.p for m in unet.modules() if isinstance(m, torch.nn.Dropout)} >= {0.3}
    assert unet.config["sample_size"] == 16

    top = build_unet(UNetConfig([16, 32], [True, False], 1, attention_head_dim=8), 8, seed=0)
    assert [any(isinstance(m, Attention) for m in b.modules()) for b in top.down_blocks] == [True, False]
    assert [any(isinstance(m, Attention) for m in b.modules()) for b in top.up_blocks] == [False, True]
    assert {m.num_groups for m in top.modules() if isinstance(m, torch.nn.GroupNorm)} == {16}
    plain = build_unet(UNetConfig([64, 64], [False, False], 1), 8, seed=0)
    assert not any(isinstance(m, Attention) for m in plain.modules())
    assert {m.num_groups for m in plain.modules() if isinstance(m, torch.nn.GroupNorm)} == {32}


def test_weights_come_from_the_seed_alone(tiny: Callable[..., DDPMConfig]) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build_unet(tiny().unet, 8, seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = build_unet(tiny().unet, 8, seed=3).state_dict(), build_unet(tiny().unet, 8, seed=4).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)
