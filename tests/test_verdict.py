"""What the gate of an export says about a file, from the outputs of the file and of the Keras model alone."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet.export import Target
from keras_resnet.export.check import Reference, expected
from keras_resnet.export.comparison_images import count, rarest_first, sources, with_comparison_images
from keras_resnet.export.report import accuracy_change
from keras_resnet.export.verdict import ClassCount, chance, exact_interval, moved_probabilities, over_classes

INT8 = Target("tflite", "int8", output="softmax")


def sure(answers, classes, probability=0.97):
    """Probabilities (images, classes) of a model that is sure of these answers."""
    shares = np.full((len(answers), classes), (1 - probability) / (classes - 1))
    shares[np.arange(len(answers)), answers] = probability
    return shares


def decide(model, file, target=INT8, *labels, **chosen):
    names = [f"class {number}" for number in range(model.shape[1])]
    return Reference(data=SimpleNamespace(class_names=names), outputs=model, are_probabilities=True).decide(
        target, file, *labels, **chosen
    )


@pytest.mark.parametrize(
    ("frequent", "rare", "verdict"), [(98, 2, "failed"), (980, 20, "failed"), (49, 1, "undecided"), (999, 1, "undecided")]
)
def test_a_file_that_knows_one_class_of_two_does_not_pass(frequent, rare, verdict):
    answers = np.repeat([0, 1], [frequent, rare])
    found, decision, problem = decide(sure(answers, 2), sure(0 * answers, 2))
    assert found.top1_agreement >= 0.98
    assert decision == verdict
    assert f"{rare} of the {rare} images that the Keras model puts into class 'class 1' have another top-1 class" in problem
    assert found.worst_class == ClassCount("class 1", 0, rare)


@pytest.mark.parametrize("probability", [0.5001, 0.97, 1.0])
def test_a_coin_on_four_images_never_passes(probability):
    model = sure(np.array([0, 1, 0, 1]), 2)
    verdicts = [decide(model, sure(np.array(coins), 2, probability))[1] for coins in product([0, 1], repeat=4)]
    assert set(verdicts) <= {"failed", "undecided"}
    assert verdicts.count("failed") >= 11  # but where it is right three times, or four


def test_one_of_30_other_answers_is_no_refusal():
    answers = np.arange(30) % 3
    model = sure(answers, 3)
    near_tie = model.copy()
    near_tie[7] = model[8]
    found, verdict, problem = decide(model, near_tie)
    assert (found.agreed, found.images, verdict) == (29, 30, "undecided")
    assert "1 of 30 images have another top-1 class" in problem
    assert "--data" in problem
    assert "--accept-undecided" in problem
    assert decide(model, near_tie, min_agreement=0.9)[1] == "passed"
    many = np.concatenate([model] * 33)
    assert decide(many, np.concatenate([many[:-30], near_tie]))[1] == "passed"


def test_a_class_that_is_never_given_is_named():
    """98 % of all images are answered alike, and so is every other class."""
    answers = np.concatenate([np.repeat([0, 1, 2, 3, 4, 5, 6, 8, 9], 109), np.full(20, 7)])
    found, verdict, problem = decide(sure(answers, 10), sure(np.where(answers == 7, 1, answers), 10))
    assert found.top1_agreement >= 0.98
    assert verdict == "failed"
    assert "20 of the 20 images that the Keras model puts into class 'class 7' have another top-1 class" in problem
    few = answers[:: len(answers) // 100]
    assert decide(sure(few, 10), sure(np.where(few == 7, 1, few), 10))[1] in ("failed", "undecided")


@pytest.mark.parametrize("seed", range(4))
def test_many_classes_make_no_false_alarms(seed):
    generator = np.random.default_rng(seed)
    answers = np.repeat(np.arange(1000), 5)
    others = np.where(generator.random(5000) < 0.01, (answers + 1) % 1000, answers)
    found, verdict, problem = decide(sure(answers, 1000), sure(others, 1000))
    assert verdict == "passed", problem
    others[answers == 77] = 3
    assert decide(sure(answers, 1000), sure(others, 1000))[1] == "failed"
    assert found.classes == 1000


@pytest.mark.parametrize("seed", range(10))
def test_good_files_pass_and_poor_ones_fail(seed):
    generator = np.random.default_rng(seed)
    answers = generator.integers(0, 10, 1000)
    for share, verdicts in ((0.002, {"passed"}), (0.01, {"passed", "undecided"}), (0.06, {"failed"}), (0.5, {"failed"})):
        others = np.where(generator.random(1000) < share, (answers + 1) % 10, answers)
        assert decide(sure(answers, 10), sure(others, 10))[1] in verdicts


def test_equal_answers_with_other_probabilities_fail():
    """As of a file with a softmax too many."""
    answers = np.arange(40) % 10
    found, verdict, problem = decide(sure(answers, 10, 0.99), sure(answers, 10, 0.3))
    assert found.top1_agreement == 1
    assert verdict == "failed"
    assert "0.690 of the probability moves to other classes" in problem


def test_a_file_that_certainly_loses_accuracy_fails():
    """Where few of all images differ, but many of those of test."""
    labels = np.arange(2000) % 4
    for lost, verdict in ((0, "passed"), (1, "passed"), (5, "passed"), (19, "failed")):
        model, file = sure(labels, 4), sure(np.where(np.arange(2000) < lost, (labels + 1) % 4, labels), 4)
        found, decision, problem = decide(model, file, INT8, labels[:300])
        assert (found.lost, found.gained, decision) == (lost, 0, verdict)
        assert found.loss_interval[0] <= lost / 300 <= found.loss_interval[1]
        assert ("19 test images are no longer in their class, and 0 are now: accuracy is 0.0" in problem) == (verdict == "failed")
        assert (found.loss_chance < 0.05) == (lost >= 5)
        assert accuracy_change(vars(found)) == f"{lost}, 0{': certainly less accurate' if lost > 5 else ''}"
        assert decide(file, model, INT8, labels[:300])[0].gained == lost
        assert decide(model, file, INT8, labels[:300], min_agreement=0.9)[1] == "passed"
    _, decision, _ = decide(model, file, Target("tflite", output="softmax"), labels[:300], max_difference=2)
    assert decision == "passed"  # differences decide about floating-point files


def test_one_near_tie_refuses_no_file():
    for images in (2, 4, 8, 36, 100):
        model = sure(np.arange(images) % 2, 2, 0.52)  # a near tie
        file = model.copy()
        file[0] = 0.48, 0.52
        assert decide(model, file)[1] != "failed"


def others(counts):
    """Answers of a model that puts so many images into each class, and of a file that gives so many of these another one."""
    answers = np.repeat(np.arange(len(counts)), [images for images, _ in counts])
    wrong = np.concatenate([np.arange(images) < differ for images, differ in counts])
    return answers, np.where(wrong, (answers + 1) % len(counts), answers)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ([(500, 12), (500, 12)], "24 of 1,000 images have another top-1 class: agreement 0.9760"),  # 0.98 may be true
        (
            [*[(109, 0)] * 9, (20, 4)],
            "4 of the 20 images that the Keras model puts into class 'class 9' have another top-1 class, "
            "which is unlikely by chance",
        ),
        (
            [(999, 0), (1, 0)],
            "0 of the 1 images that the Keras model puts into class 'class 1' have another top-1 class; "
            "mean agreement of classes 0.5",
        ),
    ],
)
def test_each_criterion_alone_makes_a_file_undecided(counts, reason):
    model, file = (sure(answers, len(counts)) for answers in others(counts))
    _, verdict, problem = decide(model, file)
    assert (verdict, problem.count("too few images")) == ("undecided", 1)
    assert reason in problem


@pytest.mark.parametrize(("quantize", "verdict"), [("dynamic", "undecided"), ("int8", "undecided"), ("int16", "failed")])
def test_every_kind_of_integers_has_its_own_tolerance(quantize, verdict):
    target = Target("tflite", quantize, output="softmax")
    for counts, expected_verdict in (([(500, 12), (500, 12)], verdict), ([(500, 1), (500, 1)], "passed")):
        model, file = (sure(answers, 2) for answers in others(counts))
        assert decide(model, file, target)[1] == expected_verdict
    assert decide(model, sure(np.repeat([0, 1], 500), 2, 0.8), target)[1] == "failed"  # by its probabilities


def test_probabilities_that_move_a_little_too_much_make_a_file_undecided():
    model, file = sure(np.arange(100) % 2, 2, 0.96), sure(np.arange(100) % 2, 2, 0.90)
    found, verdict, problem = decide(model, file)
    assert (found.top1_agreement, verdict) == (1, "undecided")
    assert "too few images to decide: 0.060 of the probability moves to other classes" in problem
    assert decide(np.repeat(model, 20, axis=0), np.repeat(file, 20, axis=0))[1] == "failed"


def test_the_worst_class_is_the_least_likely_one():
    """One image of one is more likely to be chance than thirty of a hundred."""
    model, file = (sure(answers, 3) for answers in others([(1, 1), (100, 30), (100, 0)]))
    assert decide(model, file)[0].worst_class == ClassCount("class 1", 70, 100)


@pytest.mark.parametrize(("images", "verdict"), [(1, "undecided"), (35, "undecided"), (36, "passed")])
def test_few_images_that_agree_are_too_few(images, verdict):
    model = sure(np.arange(images) % 2, 2)
    assert decide(model, model)[1] == verdict


def test_images_of_one_class_show_no_other():
    model = sure(np.zeros(500, int), 2)
    _, verdict, problem = decide(model, model)
    assert verdict == "undecided"
    assert "the Keras model predicts class 'class 0' for all images" in problem


def test_real_files_are_decided_by_differences_on_any_number_of_images():
    model = np.array([[0.50001, 0.49999]])
    for quantize, change, verdict in ((None, 3e-5, "passed"), (None, 2e-4, "failed"), ("float16", 4e-3, "passed")):
        found, decision, problem = decide(model, model + change * np.array([[-1, 1]]), Target("tflite", quantize, output="softmax"))
        assert (found.agreed, decision) == (0, verdict)  # a near tie
        assert decision == "passed" or "largest difference" in problem


def test_the_largest_difference_is_held_to_its_tolerance():
    outputs = np.array([[100.0, 0.0], [0.0, 50.0]])
    real = Target("tflite", output="softmax")
    assert decide(outputs, outputs + 0.009, real)[1:] == ("passed", "")
    assert "largest difference 1.10e-02, allowed 1.00e-02. " in decide(outputs, outputs + 0.011, real)[2]
    assert decide(outputs, outputs + 0.011, real, max_difference=0.02)[1] == "passed"
    assert decide(outputs, np.full_like(outputs, np.nan), real)[2].startswith("outputs are not finite")
    assert decide(outputs, outputs[::-1], min_agreement=0)[1] == "passed"  # who asks for nothing
    both = decide(sure(np.arange(40) % 2, 2), sure(np.arange(1, 41) % 2, 2), max_difference=0.1)[2]
    assert both.endswith("accept a larger max_difference (--max-difference), and accept a lower min_agreement (--min-agreement)")


@pytest.mark.parametrize("quantize", [None, "float16"])
def test_numbers_of_classes_are_no_scores(quantize):
    """Those of 200 classes were taken for the largest output: a float16 file passed whatever its answers."""
    logits = np.log(sure(np.arange(50) * 4, 200))
    reference = Reference(data=SimpleNamespace(class_names=[""] * 200), outputs=logits, are_probabilities=False)
    for output in ("top1", "top3"):
        target = Target("tflite", quantize, output=output)
        good = expected(logits, target, are_probabilities=False)
        assert reference.decide(target, good)[1] == "passed"
        for part, change in ((0, lambda scores: scores + 0.02), (1, lambda numbers: (numbers + 1) % 200)):
            bad = good.copy()
            bad[..., part] = change(good[..., part])
            assert reference.decide(target, bad)[1] == "failed"


def test_small_logits_are_held_to_1():
    """They are sums of larger numbers, whose rounding remains."""
    logits = np.random.default_rng(0).normal(0, 0.01, (50, 10))
    reference = Reference(data=SimpleNamespace(class_names=[""] * 10), outputs=logits, are_probabilities=False)
    for change, verdict in ((5e-5, "passed"), (2e-4, "failed")):
        assert reference.decide(Target("onnx"), logits + change)[1] == verdict


@pytest.mark.parametrize("quantize", [None, "float16"])
def test_small_probabilities_are_held_to_their_own_size(quantize):
    """A network that is sure of nothing, and a file that has one answer."""
    model = sure(np.arange(50), 1000, 0.008)
    target = Target("tflite", quantize, output="softmax")
    assert decide(model, model * 1.00001, target)[1] == "passed"
    assert decide(model, np.full_like(model, 0.001), target)[1] == "failed"


def test_the_best_classes_move_what_they_show():
    logits = np.log(sure(np.arange(50) % 5, 5))
    reference = Reference(data=SimpleNamespace(class_names=list("abcde")), outputs=logits, are_probabilities=False)
    for output in ("logits", "softmax", "top1", "top3"):
        target = Target("tflite", "int8", output=output)
        shares = np.exp(logits)
        best = np.argsort(-shares, axis=1, kind="stable")[:, : target.best]
        top = np.stack([np.take_along_axis(shares, best, 1), best], axis=-1)
        file = {"logits": logits, "softmax": shares}.get(output, top)
        found, verdict, _ = reference.decide(target, file)
        assert verdict == "passed"
        assert found.moved_probability == pytest.approx(0, abs=1e-6)
    top[..., 0] = 0.5, 0.25, 0.25
    assert reference.decide(target, top)[0].moved_probability == pytest.approx(0.485, abs=1e-6)


def test_statistics_are_those_of_the_literature():
    from scipy.stats import beta, binom

    for agreed, images, agreement in ((0, 5, 0.9), (3, 5, 0.5), (4890, 5000, 0.98), (7, 7, 0.9)):
        assert chance(agreed, images, agreement) == pytest.approx(binom.cdf(agreed, images, agreement), rel=1e-6)
    for agreed, images in ((0, 3), (29, 30), (980, 1000), (36, 36)):
        low, high = beta.ppf(0.025, agreed, images - agreed + 1), beta.ppf(0.975, agreed + 1, images - agreed)
        assert exact_interval(agreed, images) == pytest.approx((np.nan_to_num(low), np.nan_to_num(high, nan=1)), abs=1e-6)
    assert moved_probabilities(np.array([[0.25, -0.5, 0.25], [0, 0, 0]])).tolist() == [0.5, 0]
    share, (low, high) = over_classes(np.array([25, 25]), np.array([50, 50]))  # equal weights: Wilson's for 50 of 100
    assert (share, round(low, 4), round(high, 4)) == (0.5, 0.4038, 0.5962)
    assert over_classes(np.array([0, 1000]), np.array([1, 1000]))[1] == pytest.approx((0.15, 0.85), abs=0.01)  # of 4 images


def test_images_are_added_where_test_has_few(few, digits):
    assert sources(with_comparison_images(few)) == {"test": 32, "validation and training": 128}
    compared = with_comparison_images(digits).splits["compared"]
    assert len(compared) == count(digits) == 1000
    np.testing.assert_array_equal(compared.take(np.arange(359)), digits.splits["test"].take(np.arange(359)))
    assert np.ptp(np.bincount(compared.labels)) <= 1
    others = {image.tobytes() for name in ("train", "validation") for image in digits.splits[name].take(np.arange(100))}
    assert len(others & {image.tobytes() for image in compared.take(np.arange(359, 1000))}) > 20


def test_many_test_images_stay_alone():
    images = np.full((1200, 4, 4, 1), 9, np.uint8)
    data = kr.data.from_arrays({name: (images, np.arange(1200) % 3) for name in ("train", "validation", "test")})
    assert sources(with_comparison_images(data)) == {"test": 1200}
    assert count(data) == 1200


def test_rare_classes_come_first():
    labels = np.repeat([0, 1, 2], [100, 10, 3])
    order = rarest_first(labels, np.array([2, 2, 2, 2]))
    assert sorted(order) == list(range(113))
    assert np.bincount(labels[order[:8]], minlength=3).tolist() == [4, 4, 0]
    assert np.bincount(labels[order[:30]], minlength=3).tolist() == [17, 10, 3]
