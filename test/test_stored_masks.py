"""Segments and regions in DICOM become the voxels that they claim, whatever else the object holds."""

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from autosegnet.dicom.stored_masks import SEGMENTATION, STRUCTURE_SET, draw_mask, open_stored_mask
from autosegnet.dicom.stored_regions import fill_contours
from autosegnet.errors import InputError
from autosegnet.geometry import Grid, view_voxels
from autosegnet.label_files import read_lesion_mask, read_organ_labels

UPRIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
PET = Grid((20, 18, 60), (4.0, 4.0, 3.0), (-40.0, -30.0, 100.0), UPRIGHT)
PET_IMAGE, CT_IMAGE = "1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.2"


def frame(sop_class: str) -> Dataset:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = sop_class
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return made


def save(made: Dataset, path):
    made.save_as(path, enforce_file_format=True)
    return path


def item_of(**values) -> Dataset:
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def slices_of(mask) -> dict[int, int]:
    """Return the voxels of each slice that has some."""
    counts = (view_voxels(mask) > 0).sum(axis=(1, 2))
    return {int(z): int(counts[z]) for z in np.flatnonzero(counts)}


# --- structure sets --------------------------------------------------------------------------------------------------


def square(low: int, high: int, z: float, *, image: str = "", kind: str = "CLOSED_PLANAR") -> Dataset:
    """Return the contour around the voxels from low to high, in x and y, at a slice of the PET that may be a half."""
    a, b = low - 0.5, high + 0.5
    points = [PET.find_position_mm((x, y, z)) for x, y in ((a, a), (b, a), (b, b), (a, b))]
    made = item_of(ContourGeometricType=kind, NumberOfContourPoints=4)
    made.ContourData = [f"{value:.3f}" for point in points for value in point]
    if image:
        made.ContourImageSequence = Sequence(
            [item_of(ReferencedSOPClassUID=image, ReferencedSOPInstanceUID=generate_uid())]
        )
    return made


def structure_set(path, *regions: tuple[int, str, list[Dataset]]):
    made = frame(STRUCTURE_SET)
    made.StructureSetROISequence = Sequence([item_of(ROINumber=n, ROIName=name) for n, name, _ in regions])
    made.ROIContourSequence = Sequence(
        [item_of(ReferencedROINumber=n, ContourSequence=Sequence(contours)) for n, _, contours in regions]
    )
    return save(made, path / "regions.dcm")


def read_region(path, contours: list[Dataset], **others: list[Dataset]) -> dict[int, int]:
    more = [(k, name, drawn) for k, (name, drawn) in enumerate(others.items(), start=2)]
    return slices_of(read_lesion_mask(structure_set(path, (1, "GTV", contours), *more), PET, labels=["GTV"]))


GTV = (1, "GTV", [square(5, 9, z) for z in range(10, 15)])  # 25 voxels in each of 5 slices
BODY = (2, "BODY", [square(1, 14, z) for z in range(60)])
CTV = (3, "CTV", [square(4, 7, z) for z in range(9, 15)])  # 9 voxels in each of 5 slices are the GTV's


@pytest.mark.parametrize("regions", [(GTV, BODY), (BODY, GTV), (GTV, CTV), (CTV, GTV, BODY)])
@pytest.mark.parametrize("label", ["GTV", "1"])
def test_a_chosen_region_keeps_the_voxels_that_others_claim(regions, label, tmp_path) -> None:
    mask = read_lesion_mask(structure_set(tmp_path, *regions), PET, labels=[label], labelled=True)
    assert slices_of(mask) == dict.fromkeys(range(10, 15), 25)


def test_chosen_regions_that_overlap_are_taken_together_unless_each_is_a_lesion(tmp_path) -> None:
    path = structure_set(tmp_path, GTV, CTV, BODY)
    together = read_lesion_mask(path, PET, labels=["GTV", "CTV"])
    assert slices_of(together) == {9: 16, **dict.fromkeys(range(10, 15), 25 + 16 - 9)}
    assert set(np.unique(view_voxels(together)).tolist()) == {0, 1}
    with pytest.raises(InputError, match=r"overlap \(CTV, GTV\).*leave out --labelled"):
        read_lesion_mask(path, PET, labels=["GTV", "CTV"], labelled=True)
    with pytest.raises(InputError, match=r"overlap \(BODY, CTV, GTV\).*--label"):
        read_lesion_mask(path, PET)


def test_a_label_that_is_a_number_and_another_s_name_is_refused(tmp_path) -> None:
    path = structure_set(tmp_path, (1, "2", GTV[2]), (2, "BODY", BODY[2]))
    with pytest.raises(InputError, match="1: 2, 2: BODY"):
        read_lesion_mask(path, PET, labels=["2"])
    assert slices_of(read_lesion_mask(path, PET, labels=["1"])) == dict.fromkeys(range(10, 15), 25)


@pytest.mark.parametrize(
    ("planes", "slices"),
    [
        ([10, 30], [10, 30]),
        ([10, 11, 30], [10, 11, 30]),
        ([10, 12], [10, 12]),
        ([10.5], [10]),
        ([10.5, 11.5, 12.5, 13.5, 14.5], [10, 11, 12, 13, 14]),
        ([10.25, 30.4], [10, 30]),
        ([-1, 0], [0]),
        ([59, 60], [59]),
    ],
)
def test_a_contour_fills_its_own_slice_only(planes, slices, tmp_path) -> None:
    assert read_region(tmp_path, [square(5, 8, z) for z in planes]) == dict.fromkeys(slices, 16)


def test_contours_of_a_coarser_ct_fill_the_slices_between(tmp_path) -> None:
    every_second = PET.spacing_mm[2] * np.array([10, 11.5, 13, 14.5])  # 4.5 mm: slabs from 27.75 to 45.75 mm
    planes = (every_second / PET.spacing_mm[2]).tolist()
    assert read_region(tmp_path, [square(5, 8, z) for z in planes]) == dict.fromkeys(range(10, 16), 16)


def test_planes_on_slices_of_the_pet_fill_slices_between_only_if_they_refer_to_a_ct(tmp_path) -> None:
    fine = Grid(PET.size, (4.0, 4.0, 2.0), PET.origin_mm, UPRIGHT)
    for image, slices in ((CT_IMAGE, range(14, 20)), (PET_IMAGE, (15, 17, 19)), ("", (15, 17, 19))):
        planes = [square(5, 8, z * 2 / 3, image=image) for z in (15, 17, 19)]  # 4 mm apart, slices 2 mm
        path = structure_set(tmp_path, (1, "GTV", planes))
        assert list(slices_of(read_lesion_mask(path, fine))) == list(slices)


def test_contours_of_a_finer_ct_do_not_thicken_a_lesion(tmp_path) -> None:
    """Planes 1 mm apart: the volume is that of the slabs on average over all places, here 10 mm."""
    found = [
        len(read_region(tmp_path, [square(5, 8, (31 + k + shift) / 3, image=CT_IMAGE) for k in range(10)]))
        for shift in (0.0, 1.0, 2.0)
    ]
    assert sum(found) * 3.0 / 3 == pytest.approx(10.0)


def test_a_lesion_too_thin_for_the_centre_of_a_slice_is_not_lost(tmp_path) -> None:
    body = [square(1, 14, k / 3, image=CT_IMAGE) for k in range(60)]
    assert read_region(tmp_path, [square(5, 8, 31 / 3, image=CT_IMAGE)], BODY=body) == {10: 16}


def test_the_distance_of_planes_comes_from_the_whole_structure_set(tmp_path) -> None:
    """Two nodes in single slices of a CT of 4.5 mm, which only the outline of the body shows."""
    body = [square(1, 14, k * 1.5, image=CT_IMAGE) for k in range(38)]
    nodes = [square(5, 8, z, image=CT_IMAGE) for z in (9.0, 13.5)]  # slabs of 4.5 mm: 8.25 to 9.75, 12.75 to 14.25
    assert read_region(tmp_path, nodes, BODY=body) == {9: 16, 13: 16, 14: 16}


def test_contours_beside_the_pet_are_refused_and_an_empty_region_is_not(tmp_path) -> None:
    path = structure_set(tmp_path, (1, "GTV", [square(5, 8, -0.6)]), (2, "none", []))
    with pytest.raises(InputError, match="expected one patient"):
        read_lesion_mask(path, PET)
    assert slices_of(read_lesion_mask(path, PET, labels=["none"])) == {}


def test_a_region_number_that_is_no_label_is_no_background(tmp_path) -> None:
    path = structure_set(tmp_path, (0, "GTV", GTV[2]), (70000, "node", [square(5, 8, 40)]), (4, "none", []))
    mask = read_lesion_mask(path, PET)
    assert [np.unique(view_voxels(mask)[z]).tolist() for z in (12, 40)] == [[0, 1], [0, 2]]
    for label in ("70000", "node"):
        assert slices_of(read_lesion_mask(path, PET, labels=[label])) == {40: 16}
    assert slices_of(read_lesion_mask(path, PET, labels=["0"])) == dict.fromkeys(range(10, 15), 25)


def test_numbers_of_regions_are_the_labels_if_they_can_be(tmp_path) -> None:
    path = structure_set(tmp_path, (300, "GTV", GTV[2]), (7, "node", [square(5, 8, 40)]))
    assert set(np.unique(view_voxels(read_lesion_mask(path, PET))).tolist()) == {0, 7, 300}


def test_regions_that_are_not_chosen_may_lie_across_the_slices(tmp_path) -> None:
    across = [square(5, 8, 20.5), square(5, 8, 20.7)]
    for contour in across:
        contour.ContourData[2] = "500"
    path = structure_set(tmp_path, GTV, (2, "needle", across))
    assert slices_of(read_lesion_mask(path, PET, labels=["GTV"])) == dict.fromkeys(range(10, 15), 25)
    with pytest.raises(InputError, match="not parallel"):
        read_lesion_mask(path, PET)
    between = [square(5, 8, z) for z in (10.5, 12.0)]  # slabs of 1.5 slices: 9.75 to 12.75
    path = structure_set(tmp_path, (1, "GTV", between), (2, "needle", across))
    assert slices_of(read_lesion_mask(path, PET, labels=["GTV"])) == dict.fromkeys((10, 11, 12), 16)


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_a_hole_in_a_contour_stays_a_hole(kind, tmp_path) -> None:
    assert read_region(tmp_path, [square(1, 9, 10, kind=kind), square(4, 6, 10, kind=kind)]) == {10: 81 - 9}


def test_a_hole_stays_a_hole_in_the_slices_between_planes() -> None:
    outer = np.array([[1.5, 1.5], [8.5, 1.5], [8.5, 8.5], [1.5, 8.5]])
    inner = np.array([[3.5, 3.5], [5.5, 3.5], [5.5, 5.5], [3.5, 5.5]])
    contours = [np.column_stack([c, np.full(4, z)]) for z in (2.0, 5.0) for c in (outer, inner)]
    filled = fill_contours(contours, (12, 12, 10), thickness=3.0)
    assert filled.sum(axis=(1, 2)).tolist() == [0, 45, 45, 45, 45, 45, 45, 0, 0, 0]
    assert not filled[2, 4:6, 4:6].any()
    assert filled[2, 2:9, 2:9].sum() == 45


def test_contours_of_one_plane_stay_together_whatever_the_last_digits_of_their_heights() -> None:
    """Rounding to two digits would part 3.124999 from 3.125001."""
    left, right = np.array([[1.5, 1.5], [4.5, 1.5], [4.5, 4.5]]), np.array([[6.5, 6.5], [9.5, 6.5], [9.5, 9.5]])
    apart = [np.column_stack([c, np.full(3, z)]) for c, z in ((left, 3.124999), (right, 3.125001))]
    both = fill_contours(apart, (12, 12, 6))
    np.testing.assert_array_equal(both, fill_contours(apart[:1], (12, 12, 6)) | fill_contours(apart[1:], (12, 12, 6)))
    assert np.flatnonzero(both.any(axis=(1, 2))).tolist() == [3]
    assert both[3, :5].any()
    assert both[3, 6:].any()


# --- Segmentations ---------------------------------------------------------------------------------------------------


def plane_of(low: int, high: int) -> np.ndarray:
    plane = np.zeros((PET.size[1], PET.size[0]), np.uint8)
    plane[low : high + 1, low : high + 1] = 1
    return plane


def segmentation(path, frames: list[tuple[int, int, np.ndarray]], names: dict[int, str], *, kind="BINARY", **measures):
    """Return the file of a Segmentation on slices of the PET.

    Args:
        frames: number of the segment, slice of the PET, and pixels.
        names: of the segments.
        measures: SpacingBetweenSlices and SliceThickness, if it states them.
    """
    made = frame(SEGMENTATION[0])
    made.SegmentationType, made.NumberOfFrames = kind, len(frames)
    made.Rows, made.Columns, made.SamplesPerPixel, made.PixelRepresentation = PET.size[1], PET.size[0], 1, 0
    made.PhotometricInterpretation = "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 1 if kind == "BINARY" else 8
    made.HighBit = made.BitsStored - 1
    made.SegmentSequence = Sequence([item_of(SegmentNumber=n, SegmentLabel=name) for n, name in names.items()])
    pixels = np.stack([plane for _, _, plane in frames]).astype(np.uint8)
    raw = (np.packbits(pixels.ravel(), bitorder="little") if kind == "BINARY" else pixels).tobytes()
    made.PixelData = raw + b"\0" * (len(raw) % 2)
    made["PixelData"].VR = "OB"
    shared = item_of(
        PlaneOrientationSequence=Sequence([item_of(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]),
        PixelMeasuresSequence=Sequence([item_of(PixelSpacing=[4, 4], **measures)]),
    )
    made.SharedFunctionalGroupsSequence = Sequence([shared])
    made.PerFrameFunctionalGroupsSequence = Sequence(
        [
            item_of(
                PlanePositionSequence=Sequence([item_of(ImagePositionPatient=[*PET.find_position_mm((0, 0, z))])]),
                SegmentIdentificationSequence=Sequence([item_of(ReferencedSegmentNumber=n)]),
            )
            for n, z, _ in frames
        ]
    )
    return save(made, path / "segments.dcm")


@pytest.mark.parametrize("slices", [[4], [4, 5, 16], [4, 16], [4, 6], [4, 6, 9], [16, 33, 4], [0, 59]])
@pytest.mark.parametrize(
    "measures", [{}, {"SpacingBetweenSlices": 3}, {"SpacingBetweenSlices": 36}, {"SliceThickness": 1}]
)
def test_frames_on_slices_of_the_pet_fill_these_slices(slices, measures, tmp_path) -> None:
    path = segmentation(tmp_path, [(1, z, plane_of(2, 4)) for z in slices], {1: "Lesion"}, **measures)
    for resample in (False, True):
        mask = read_lesion_mask(path, PET, resample=resample)
        assert slices_of(mask) == dict.fromkeys(sorted(slices), 9)


@pytest.mark.parametrize(
    ("measures", "step_mm", "size"),
    [
        ({"SpacingBetweenSlices": 1.5}, 1.5, 31),
        ({"SpacingBetweenSlices": 7}, 9.0, 6),  # no distance of frames is a multiple of it
        ({"SpacingBetweenSlices": 0, "SliceThickness": 3}, 9.0, 6),
        ({}, 9.0, 6),
    ],
)
def test_without_a_pet_slices_are_as_far_apart_as_stated_or_as_all_frames_allow(
    measures, step_mm, size, tmp_path
) -> None:
    path = segmentation(tmp_path, [(1, z, plane_of(2, 4)) for z in (3, 9, 18)], {1: "liver"}, **measures)
    labels = read_organ_labels(path).labels
    grid = Grid.from_image(labels)
    assert (grid.spacing_mm[2], grid.size[2]) == (pytest.approx(step_mm), size)
    positions = [grid.find_position_mm((0, 0, z))[2] for z in slices_of(labels)]
    assert positions == pytest.approx([100 + 3 * z for z in (3, 9, 18)])


def test_a_rounded_distance_of_slices_does_not_lead_astray(tmp_path) -> None:
    """2.991 for 3 mm is 0.5 mm too short after 59 slices, a sixth of a slice."""
    path = segmentation(
        tmp_path, [(1, z, plane_of(2, 4)) for z in range(60)], {1: "liver"}, SpacingBetweenSlices="2.991"
    )
    assert Grid.from_image(read_organ_labels(path).labels).spacing_mm[2] == pytest.approx(3.0)


def test_a_chosen_segment_keeps_the_voxels_that_others_claim(tmp_path) -> None:
    frames = [(1, 4, plane_of(2, 4)), (1, 5, plane_of(2, 4)), *[(2, z, plane_of(1, 12)) for z in range(60)]]
    path = segmentation(tmp_path, frames, {1: "Lesion", 2: "Body"})
    for label in ("1", "Lesion"):
        mask = read_lesion_mask(path, PET, labels=[label], labelled=True)
        assert slices_of(mask) == {4: 9, 5: 9}
    with pytest.raises(InputError, match=r"overlap \(Body, Lesion\).*--label"):
        read_lesion_mask(path, PET)


def test_organs_that_overlap_are_refused_unless_a_table_names_those_to_take(tmp_path) -> None:
    frames = [(1, 4, plane_of(2, 4)), (3, 4, plane_of(2, 12)), (5, 4, plane_of(14, 15))]
    path = segmentation(tmp_path, frames, {1: "liver", 3: "Body", 5: "spleen"})
    with pytest.raises(InputError, match=r"overlap \(Body, liver\).*--organ-table"):
        read_organ_labels(path)
    (tmp_path / "table.json").write_text('{"1": "liver", "5": "spleen"}')
    organs = read_organ_labels(path, str(tmp_path / "table.json"))
    values, counts = np.unique(view_voxels(organs.labels), return_counts=True)
    assert dict(zip(values[1:].tolist(), counts[1:].tolist(), strict=True)) == {1: 9, 5: 4}


def test_a_structure_set_is_no_organ_map(tmp_path) -> None:
    with pytest.raises(InputError, match="has no grid of its own"):
        read_organ_labels(structure_set(tmp_path, GTV))


def test_a_label_map_gives_its_labels_without_the_background(tmp_path) -> None:
    both = plane_of(2, 4) + 2 * plane_of(8, 9)
    path = segmentation(tmp_path, [(0, 4, both), (0, 5, both)], {0: "Background", 1: "a", 2: "b"}, kind="LABELMAP")
    assert open_stored_mask(path).names == {1: "a", 2: "b"}
    mask = read_lesion_mask(path, PET)
    np.testing.assert_array_equal(view_voxels(mask)[4], both)
    assert slices_of(mask) == {4: 13, 5: 13}
    assert slices_of(read_lesion_mask(path, PET, labels=["b"])) == {4: 4, 5: 4}


def test_a_frame_of_a_segment_that_is_not_described_is_refused(tmp_path) -> None:
    stored = open_stored_mask(segmentation(tmp_path, [(3, 4, plane_of(2, 4))], {1: "Lesion"}))
    with pytest.raises(InputError, match="does not describe its segment 3"):
        draw_mask(stored, [1], PET)
