"""Training of the image room: what it looks at, what it keeps, and how it goes on."""

from __future__ import annotations

import signal
from copy import deepcopy
from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from hierforecast.errors import DataError, Interrupted
from hierforecast.image_ssl import training
from hierforecast.image_ssl.contrastive import SimSiam, VICReg
from hierforecast.image_ssl.data import ArrayImages
from hierforecast.image_ssl.nn import small_resnet
from hierforecast.image_ssl.nn.heads import Projector
from hierforecast.image_ssl.objective import Method
from hierforecast.image_ssl.training import Schedule, pretrain
from hierforecast.io.checkpoints import LAST

QUIET = {"accelerator": "cpu", "enable_progress_bar": False}


def noisy(views):
    first, second = (views.first + 0.1 * torch.randn_like(views.first) for _ in range(2))
    return views._replace(first=first, second=second)


def method():
    """A method that is quick, draws random numbers, and has running statistics."""
    torch.manual_seed(7)
    backbone = small_resnet("C4", 2, image_size=9)
    return Method(SimSiam(backbone, Projector(backbone, (8, 8), last_norm=True)), noisy)


def pictures(count=24, labels=None):
    images = torch.randint(0, 256, (count, 3, 9, 9), generator=torch.Generator().manual_seed(1))
    labels = torch.arange(count) % 3 if labels is None else labels
    return ArrayImages(images.to(torch.uint8), labels, ["a", "b", "c"])


def schedule(steps=12, **options):
    return Schedule(steps, batch_size=8, **options)


def trained(images=None, plan=None, **trainer):
    learning = method()
    curve = pretrain(
        learning, images or pictures(), plan or schedule(), trainer={**QUIET, **trainer}
    )
    return learning, curve


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(x, other[k]) for k, x in one.items())


def call_at(step, action):
    """A callback that acts after this step."""

    class At(Callback):
        def on_train_batch_end(self, trainer, *args, **options):
            if trainer.global_step == step:
                action(trainer)

    return At()


def checkpoint(folder):
    return torch.load(folder / LAST, weights_only=True)


def test_the_loss_falls():
    _, curve = trained(plan=schedule(120, learning_rate=2e-2))
    assert list(curve.columns) == ["step", "loss"]
    assert curve["step"].tolist() == list(range(120))
    assert curve["loss"].iloc[-20:].mean() < curve["loss"].iloc[:5].mean() - 0.2


def test_the_curve_of_a_long_training_is_thinned_out(monkeypatch):
    monkeypatch.setattr(training, "POINTS", 10)
    _, curve = trained(plan=schedule(30))
    assert curve["step"].tolist() == list(range(0, 30, 3))


def test_the_same_seed_gives_the_same_weights():
    first, _ = trained()
    torch.rand(100)
    assert same(first, trained()[0])
    assert not same(first, trained(plan=schedule(seed=1))[0])


def test_labels_are_never_looked_at():
    other = (torch.arange(24) * 7 + 2) % 3
    assert not torch.equal(other, pictures().labels)
    assert same(trained()[0], trained(pictures(labels=other))[0])


def test_all_images_are_seen_before_one_is_seen_again():
    seen = []
    learning, plain = method(), Method.loss
    learning.loss = lambda v: seen.extend(v.first[:, 0, 0, :3]) or plain(learning, v)
    pretrain(learning, pictures(), schedule(6), trainer=QUIET)
    seen = torch.stack(seen).unflatten(0, (2, 24)).mul(255).round().int().tolist()
    expected = sorted(pictures().images[:, 0, 0, :3].int().tolist())
    assert sorted(seen[0]) == sorted(seen[1]) == expected
    assert seen[0] != seen[1], "each pass in a new order"


def test_fewer_images_than_a_batch_and_too_few():
    assert len(trained(pictures(3))[1]) == 12
    with pytest.raises(DataError, match="1 images are too few"):
        trained(pictures(1))


def test_biases_and_norms_do_not_decay():
    """With a gradient of zero and no momentum, weights shrink by the decay alone."""
    learning, before = method(), method()
    learning.loss = lambda views: 0.0 * sum(p.sum() for p in learning.parameters())
    plan = schedule(2, weight_decay=0.5, learning_rate=0.1, optimizer=torch.optim.SGD)
    pretrain(learning, pictures(), plan, trainer=QUIET)
    for x, y in zip(learning.parameters(), before.parameters(), strict=True):
        assert torch.equal(x, y) == (x.ndim == 1 or not y.any())


def test_simsiams_predictor_keeps_its_rate():
    learning, rates = method(), []

    def note(trainer):
        groups = trainer.optimizers[0].param_groups
        rates.append({id(p): group["lr"] for group in groups for p in group["params"]})

    watch = [call_at(step, note) for step in (6, 11)]
    pretrain(learning, pictures(), schedule(), trainer={**QUIET, "callbacks": watch})
    predictor = {id(p) for p in learning.objective.predictor.parameters()}
    assert {id(p) for p in learning.parameters() if p.requires_grad} == set(rates[0])
    for key in rates[0]:
        fixed = [rate[key] == Schedule().learning_rate for rate in rates]
        assert fixed == [key in predictor] * 2


def test_the_papers_optimizer():
    kinds = []
    watch = call_at(1, lambda t: kinds.append(t.optimizers[0]))
    plan = schedule(optimizer=partial(torch.optim.SGD, momentum=0.9))
    trained(plan=plan, callbacks=[watch])
    assert type(kinds[0]) is torch.optim.SGD and kinds[0].defaults["momentum"] == 0.9


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("64-true", torch.float64), ("bf16-true", torch.bfloat16), ("bf16-mixed", torch.float32)],
)
def test_precision(precision, dtype):
    learning, curve = trained(precision=precision)
    assert {x.dtype for x in learning.parameters()} == {dtype}
    assert curve["loss"].between(-1, 1).all() and not same(learning, method().to(dtype))


def test_an_interrupted_training_keeps_its_weights(tmp_path):
    kept = {}

    def stop(trainer):
        kept.update(deepcopy(trainer.lightning_module.method.state_dict()))
        raise KeyboardInterrupt

    learning = method()
    handler = signal.getsignal(signal.SIGINT)
    trainer = {**QUIET, "callbacks": [call_at(5, stop)]}
    with pytest.raises(KeyboardInterrupt, match="interrupted at step 5; the weights so far are"):
        pretrain(learning, pictures(), schedule(), trainer=trainer)
    assert signal.getsignal(signal.SIGINT) is handler
    assert all(torch.equal(x, kept[k]) for k, x in learning.state_dict().items())
    assert not same(learning, method())


def test_an_error_in_a_callback_comes_through():
    def stop(trainer):
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        trained(callbacks=[call_at(2, stop)])


def test_options_are_left_alone_and_nothing_is_left_behind(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    trainer = {**QUIET, "callbacks": []}
    pretrain(method(), pictures(), schedule(), trainer=trainer)
    assert trainer == {**QUIET, "callbacks": []}
    assert list(tmp_path.iterdir()) == [] and capfd.readouterr() == ("", "")


def test_the_bar_tells_steps_and_losses(capfd):
    pretrain(method(), pictures(), schedule(20), trainer={"accelerator": "cpu"})
    out = "".join(capfd.readouterr())
    assert "20/20" in out and "loss" in out and "pretrain" in out


# --- going on ------------------------------------------------------------------------------------


def test_nothing_to_resume(tmp_path):
    for trainer in (QUIET, {**QUIET, "default_root_dir": tmp_path / "new"}):
        with pytest.raises(FileNotFoundError, match=r"nothing to resume: .*default_root_dir"):
            pretrain(method(), pictures(), schedule(), trainer=trainer, resume=True)


@pytest.mark.parametrize("died", [1, 4, 13, 20])
def test_a_resumed_training_ends_where_the_uninterrupted_one_ends(died, tmp_path):
    """Bit for bit: augmentations of a foreign function, running statistics, batches read ahead."""

    def one(name, *more, resume=False):
        trainer = {**QUIET, "default_root_dir": tmp_path / name, "callbacks": [*more]}
        learning, plan = method(), schedule(20, workers=2 * (died == 13))
        return learning, pretrain(learning, pictures(), plan, trainer=trainer, resume=resume)

    def die(trainer):
        raise RuntimeError("killed")

    whole, curve = one("whole")
    with pytest.raises(RuntimeError, match="killed"):
        one("killed", call_at(died, die))
    found, again = one("killed", resume=died > 1)
    assert same(whole, found) and again.equals(curve)
    assert curve["step"].tolist() == list(range(20))
    last, again = one("killed", resume=True)  # nothing is left to do
    assert same(whole, last) and again.equals(curve)
    assert [p.name for p in (tmp_path / "killed").iterdir()] == [LAST]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"plan": schedule(13)}, r"max_steps was 12 and is 13 \(the learning rate falls"),
        ({"plan": schedule(seed=1)}, "seed was 0 and is 1"),
        ({"plan": schedule(optimizer=torch.optim.SGD)}, "optimizer was 'AdamW' and is 'SGD'"),
        ({"images": pictures(23)}, "the number of images was 24 and is 23"),
        ({"images": pictures(labels=torch.zeros(24, dtype=torch.int64))}, "the labels differs"),
        ({"precision": "64-true"}, r"trainer\['precision'\] was None and is '64-true'"),
    ],
)
def test_other_options_or_images_are_refused_by_name(options, named, tmp_path):
    trained(default_root_dir=tmp_path)
    learning = method()
    images, plan = options.pop("images", pictures()), options.pop("plan", schedule())
    trainer = {**QUIET, "default_root_dir": tmp_path, **options}
    with pytest.raises(DataError, match=f"of another training: .*{named}"):
        pretrain(learning, images, plan, trainer=trainer, resume=True)
    assert same(learning, method())


def test_the_weights_of_a_loss_are_among_the_options_of_a_training():
    backbone = small_resnet("C1", 2, image_size=9)
    made = [VICReg(backbone, Projector(backbone, (8, 8)), variance=v) for v in (25.0, 3.0)]
    one, other = (training._plain(each) for each in made)
    assert one != other == one | {".weights[variance]": 3.0}


def test_an_older_training_is_not_taken_for_this_one(tmp_path):
    kept = {**QUIET, "default_root_dir": tmp_path}
    pretrain(method(), pictures(), schedule(), trainer=kept)

    def stop(trainer):
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        more = {**kept, "callbacks": [call_at(1, stop)]}
        pretrain(method(), pictures(), schedule(200), trainer=more)
    with pytest.raises(FileNotFoundError):
        pretrain(method(), pictures(), schedule(200), trainer=kept, resume=True)
