"""Augmentation: positions move, vectors turn with them, and one draw is augmented in one way wherever it is read."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import drawpoint
from drawpoint import Normaliser, SampleDataset
from drawpoint.draw.seeds import derive_seed
from drawpoint.errors import InvalidDraw, InvalidParameter
from drawpoint.transforms import Augmentation, Compose, Mirror, Rotate, Scale, Translate
from drawpoint_store import FIELD_SPECS, ZarrChunkReader

from .conftest import Reader

COUNTS = {"surface": 6, "volume": 9}
WRONG: Any = "w"
PAIR: Any = (0, 1)
SEEDS = st.integers(0, 2**63 - 1)
ROTATE, MIRROR = Rotate((-180, 180), (1, 2, -2)), Mirror("y", probability=0.5)
RIGID = [ROTATE, MIRROR, Rotate((-30, 30), "x", centre=(1, 2, 3)), Mirror("x", offset=0.5), Translate([1, (-2, 2), 0])]
ANY = [*RIGID, Scale((0.5, 2), centre=(1, 0, -1))]
maps = st.lists(st.sampled_from(ANY), min_size=1, max_size=4).map(Compose)
rigid_maps = st.lists(st.sampled_from(RIGID), min_size=1, max_size=4).map(Compose)


def item_of(seed: int = 0, count: int = 20) -> dict[str, torch.Tensor]:
    """Return every field of the format, of unit scale, in float64."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {spec.canonical: (count,) if spec.dim == 1 else (count, spec.dim) for spec in FIELD_SPECS}
    shapes["geometry_position"] = (count, 3)
    return {field: torch.randn(shape, generator=generator, dtype=torch.float64) for field, shape in shapes.items()}


def assert_close(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@given(rigid_maps, SEEDS)
def test_rigid_maps_keep_lengths_angles_and_distances(augmentation: Augmentation, seed: int) -> None:
    item = item_of()
    mapped = augmentation(item, seed=seed)
    assert_close(mapped["volume_velocity"].norm(dim=1), item["volume_velocity"].norm(dim=1))
    products = [(each["surface_friction"] * each["surface_normals"]).sum(dim=1) for each in (mapped, item)]
    assert_close(*products)
    distances = [torch.cdist(each["surface_position"], each["geometry_position"]) for each in (mapped, item)]
    torch.testing.assert_close(*distances, rtol=1e-6, atol=1e-6)
    for field in ("surface_pressure", "surface_area", "volume_sdf"):
        assert torch.equal(mapped[field], item[field])


@given(maps, SEEDS)
def test_a_cross_product_of_vectors_turns_as_a_pseudovector(augmentation: Augmentation, seed: int) -> None:
    item = item_of()
    item["volume_vorticity"] = torch.linalg.cross(item["volume_velocity"], item["volume_normals"])
    mapped = augmentation(item, seed=seed)
    factor = augmentation.draw(seed).factor  # a vorticity is a velocity by a length
    assert_close(
        mapped["volume_vorticity"] * factor, torch.linalg.cross(mapped["volume_velocity"], mapped["volume_normals"])
    )


@given(maps, SEEDS, st.integers(0, 100))
def test_the_vorticity_of_a_mapped_flow_is_the_curl_of_its_velocity(
    augmentation: Augmentation, seed: int, flow: int
) -> None:
    gradient = torch.randn(3, 3, generator=torch.Generator().manual_seed(flow), dtype=torch.float64)
    position = item_of()["volume_position"]
    curl = curl_of(gradient).expand_as(position)
    item = {"volume_position": position, "volume_velocity": position @ gradient.T, "volume_vorticity": curl}
    mapped = augmentation(item, seed=seed)
    offsets = mapped["volume_position"] - mapped["volume_position"].mean(dim=0)
    velocities = mapped["volume_velocity"] - mapped["volume_velocity"].mean(dim=0)
    measured = torch.linalg.lstsq(offsets, velocities).solution.T  # the gradient of the mapped flow
    assert_close(mapped["volume_vorticity"], curl_of(measured).expand_as(position))


def curl_of(gradient: torch.Tensor) -> torch.Tensor:
    """Return the curl of the velocity `gradient @ x`."""
    pairs = ((2, 1), (0, 2), (1, 0))
    return torch.stack([gradient[i, j] - gradient[j, i] for i, j in pairs])


@given(maps, SEEDS)
def test_the_inverse_undoes_a_map(augmentation: Augmentation, seed: int) -> None:
    item = item_of()
    drawn = augmentation.draw(seed)
    assert_close(drawn.inverse().apply(drawn.apply(item)), item)


@given(st.lists(st.sampled_from(ANY), min_size=2, max_size=2), SEEDS)
def test_a_composition_is_one_after_the_other(pair: list[Augmentation], seed: int) -> None:
    first, second = (each.draw(seed) for each in pair)
    assert_close(first.followed_by(second).apply(item_of()), second.apply(first.apply(item_of())))


@given(maps, SEEDS)
def test_a_seed_names_one_map(augmentation: Augmentation, seed: int) -> None:
    item = item_of()
    again: Augmentation = pickle.loads(pickle.dumps(augmentation))
    found, expected = again(item, seed=seed), augmentation(item, seed=seed)
    assert all(torch.equal(found[field], expected[field]) for field in item)


def test_random_numbers_of_the_first_rule_are_golden() -> None:
    first, second = (number / 2**53 for number in (6305496595186364, 6759748360876684))
    assert Translate([(0, 1), (10, 20), 5]).draw(7).shift.tolist() == [first, 10 + 10 * second, 5]


def test_numbers_are_drawn_evenly_between_their_bounds() -> None:
    angles = [
        math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
        for matrix in (Rotate((-40, 60)).draw(seed).matrix for seed in range(2000))
    ]
    assert min(angles) >= -40
    assert max(angles) <= 60
    assert abs(np.mean(angles) - 10) < 3
    assert abs(np.std(angles) - 100 / math.sqrt(12)) < 2
    mirrored = [MIRROR.draw(seed).matrix[1, 1] < 0 for seed in range(2000)]
    assert 900 < sum(mirrored) < 1100


def test_without_a_seed_each_call_draws_anew() -> None:
    item = item_of()
    first, second = ROTATE(item), ROTATE(item)
    assert not torch.equal(first["surface_position"], second["surface_position"])


class TestOneMap:
    def test_a_quarter_turn_goes_from_x_to_y(self) -> None:
        item = {"surface_position": torch.tensor([[2.0, 0, 5]]), "volume_velocity": torch.tensor([[0.0, 3, 1]])}
        turned = Rotate(90)(item)
        torch.testing.assert_close(turned["surface_position"], torch.tensor([[0.0, 2, 5]]))
        torch.testing.assert_close(turned["volume_velocity"], torch.tensor([[-3.0, 0, 1]]))

    def test_a_rotation_keeps_its_centre(self) -> None:
        item = {"surface_position": torch.tensor([[1.0, 2, 3], [2, 2, 3]])}
        turned = Rotate(90, centre=(1, 2, 3))(item)["surface_position"]
        torch.testing.assert_close(turned, torch.tensor([[1.0, 2, 3], [1, 3, 3]]))

    def test_a_mirror_turns_vorticity_the_other_way(self) -> None:
        vector = torch.tensor([[1.0, 2, 3]])
        mirrored = Mirror("y", offset=1)(
            {"volume_position": vector, "volume_velocity": vector, "volume_vorticity": vector}
        )
        assert mirrored["volume_position"].tolist() == [[1, 0, 3]]
        assert mirrored["volume_velocity"].tolist() == [[1, -2, 3]]
        assert mirrored["volume_vorticity"].tolist() == [[-1, 2, -3]]

    def test_a_shift_moves_positions_alone(self) -> None:
        item = item_of()
        shifted = Translate((1, 2, 3))(item)
        for field, values in item.items():
            moved = field.endswith("position")
            assert torch.equal(shifted[field], values + torch.tensor([1, 2, 3]) if moved else values)

    def test_a_scale_multiplies_what_has_a_length_in_it(self) -> None:
        item = item_of()
        scaled = Scale(2)(item)
        factors = {"position": 2, "sdf": 2, "area": 4, "vorticity": 0.5}
        for field, values in item.items():
            assert torch.equal(scaled[field], values * factors.get(field.rsplit("_", 1)[1], 1)), field

    def test_dtype_batches_and_what_is_no_tensor_stay_as_they_are(self) -> None:
        velocity = torch.ones(2, 5, 3, dtype=torch.float16)
        turned = Rotate(180)({"volume_velocity": velocity, "sample_id": ["a", "b"]})
        assert turned["volume_velocity"].dtype == torch.float16
        torch.testing.assert_close(turned["volume_velocity"][..., 0], -velocity[..., 0])
        assert turned["sample_id"] == ["a", "b"]
        assert velocity.min() == 1


class TestKinds:
    @pytest.mark.parametrize("spec", FIELD_SPECS, ids=lambda spec: spec.canonical)
    def test_every_field_of_the_format_has_one_that_suits_it(self, spec: Any) -> None:
        ROTATE.check({spec.canonical: spec.dim})
        field = torch.ones(4) if spec.dim == 1 else torch.ones(4, 3)
        mapped = Translate([1, 0, 0])({spec.canonical: field})[spec.canonical]
        assert torch.equal(mapped, field) == (spec.kind == "value")

    def test_are_asked_for_where_a_name_does_not_say_them(self) -> None:
        with pytest.raises(
            InvalidParameter, match=r"whether 'volume_nut' is a vector: .* kinds=\{'volume_nut': 'scalar'\}"
        ):
            ROTATE({"volume_nut": torch.ones(4)})
        with pytest.raises(InvalidParameter, match=r"'surface_friction_velocity' is a vector by name and has 1 comp"):
            ROTATE({"surface_friction_velocity": torch.ones(4)})

    def test_may_be_given(self) -> None:
        kinds: Any = {"volume_nut": "scalar", "volume_heat": "vector", "volume_spin": "pseudovector"}
        item = {field: torch.ones(4) if kind == "scalar" else torch.ones(4, 3) for field, kind in kinds.items()}
        mapped = Compose(iter([Mirror("y", kinds=kinds), Scale(2)]))(item)
        assert mapped["volume_heat"][0].tolist() == [1, -1, 1]
        assert mapped["volume_spin"][0].tolist() == [-1, 1, -1]
        assert torch.equal(mapped["volume_nut"], item["volume_nut"])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Rotate(math.nan), "degrees='nan' is refused: degrees is a finite number or two of them"),
        (lambda: Rotate((5, -5)), "degrees"),
        (lambda: Rotate(5, WRONG), "axis='w' is refused: axis is x or y or z or a vector of three numbers"),
        (lambda: Rotate(5, (0, 0, 0)), "a vector that is not zero"),
        (lambda: Rotate(5, (0, 1)), "three finite numbers"),
        (lambda: Rotate(5, centre=(0, 1, math.inf)), "centre"),
        (lambda: Mirror(WRONG), "axis='w' is refused: axis is x or y or z"),
        (lambda: Mirror("y", probability=1.5), "a number in 0..1"),
        (lambda: Mirror("y", probability=PAIR), "a number in 0..1"),
        (lambda: Mirror("y", offset=math.inf), "offset"),
        (lambda: Mirror("y", offset=PAIR), r"offset='\(0, 1\)' is refused: offset is a finite number"),
        (lambda: Translate([1, 2]), "three entries"),
        (lambda: Translate([1, 2, (3, 2)]), r"shift\[2\]"),
        (lambda: Scale(0), "greater than 0"),
        (lambda: Scale((-1, 1)), "greater than 0"),
        (lambda: Scale(1, kinds={"a_b": WRONG}), r"kinds\['a_b'\]='w' is refused: .* position or vector"),
        (lambda: Compose([]), "augment"),
        (lambda: Compose([WRONG]), "a list of them"),
    ],
)
def test_invalid_arguments_are_named(make: Any, reason: str) -> None:
    with pytest.raises(InvalidParameter, match=reason):
        make()


def test_a_seed_is_checked() -> None:
    with pytest.raises(InvalidDraw, match="seed must be an integer"):
        ROTATE.draw(-1)


class TestADataset:
    AUGMENT = (Rotate((-20, 20)), Mirror("y", probability=0.5), Translate([0, (-1, 1), 0]))

    def augmented(self, reader: Reader, **options: Any) -> SampleDataset:
        return SampleDataset(reader, num_points=COUNTS, num_geometry_points=4, augment=self.AUGMENT, **options)

    def test_augments_each_draw_in_one_way_on_any_number_of_workers(self, reader: Reader) -> None:
        passes = []
        for workers in (0, 2):
            dataset = self.augmented(reader, with_sample_id=True)
            loader = drawpoint.SampleLoader(dataset, 3, num_workers=workers)
            passes.append([item for _ in range(2) for batch in loader for item in unbatch(batch)])
        assert len(passes[0]) == 2 * len(reader.manifest.samples)
        for found, expected in zip(*passes, strict=True):
            assert found["sample_id"] == expected["sample_id"]
            assert all(torch.equal(found[field], expected[field]) for field in expected if field != "sample_id")

    def test_gives_equal_items_one_by_one_and_in_batches(self, reader: Reader) -> None:
        dataset = self.augmented(reader)
        batch = next(iter(DataLoader(dataset, 3, collate_fn=list)))
        for index, item in enumerate(batch):
            assert all(torch.equal(item[field], dataset[index][field]) for field in item)

    def test_augments_samples_and_epochs_differently_and_geometry_alike(self, local: ZarrChunkReader) -> None:
        plain, augmented = SampleDataset(local, mode="fixed"), self.augmented(local)
        drawn = []
        for epoch in range(2):
            augmented.set_epoch(epoch)
            for index in range(len(augmented)):
                similarity = Compose(self.AUGMENT).draw(seed_of(augmented, index))
                drawn.append(tuple(similarity.shift))
                everywhere = similarity.apply(plain[index])["surface_position"]
                for field in ("surface_position", "geometry_position"):
                    found = torch.cdist(augmented[index][field], everywhere).min(dim=1).values
                    assert found.max() < 1e-5
        assert len(set(drawn)) == len(drawn)

    def test_has_the_same_maps_in_every_epoch_if_it_is_fixed(self, local: ZarrChunkReader) -> None:
        dataset = self.augmented(local, mode="fixed")
        before = dataset[0]
        dataset.set_epoch(5)
        assert all(torch.equal(dataset[0][field], before[field]) for field in before)

    def test_augments_before_it_normalises(self, local: ZarrChunkReader) -> None:
        normaliser = Normaliser(local.statistics())
        plain, augmented = (
            SampleDataset(local, num_points=COUNTS),
            SampleDataset(local, num_points=COUNTS, augment=ROTATE),
        )
        both = SampleDataset(local, num_points=COUNTS, augment=ROTATE, normalise=normaliser)
        seed = seed_of(both, 0)
        expected = normaliser.normalise(ROTATE(plain[0], seed=seed))
        torch.testing.assert_close(both[0], expected)
        torch.testing.assert_close(normaliser.denormalise(both[0]), augmented[0], rtol=1e-4, atol=1e-4)
        other_way = ROTATE(normaliser.normalise(plain[0]), seed=seed)
        assert (both[0]["volume_velocity"] - other_way["volume_velocity"]).abs().max() > 0.01

    def test_calls_its_transform_last(self, local: ZarrChunkReader) -> None:
        dataset = SampleDataset(
            local, num_points=COUNTS, augment=Translate([100, 0, 0]), transform=lambda item: item["surface_position"]
        )
        assert dataset[0][:, 0].min() > 90

    def test_refuses_an_augmentation_as_its_transform(self, local: ZarrChunkReader) -> None:
        with pytest.raises(InvalidParameter, match=r"give it as augment=Rotate\(\.\.\.\)"):
            SampleDataset(local, transform=ROTATE)

    @pytest.mark.parametrize("augment", [[], len, [len], "Rotate"])
    def test_refuses_what_is_no_augmentation(self, local: ZarrChunkReader, augment: Any) -> None:
        with pytest.raises(InvalidParameter, match=r"augment is one of drawpoint\.transforms"):
            SampleDataset(local, augment=augment)


def seed_of(dataset: SampleDataset, index: int) -> int:
    """Return the seed of an item's draw, and so of its augmentation."""
    return derive_seed("dataset/1", "independent", dataset.seed, dataset.epoch, dataset.sample_ids[index])


def unbatch(batch: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
