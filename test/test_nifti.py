"""NIfTI: what nibabel and SimpleITK read from a good file is what we read; what is damaged is refused."""

import gzip
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from autosegnet.errors import InputError
from autosegnet.geometry import Grid, view_voxels
from autosegnet.io import read_image, read_mask, write_image
from autosegnet.io.decoded import check_geometry
from autosegnet.io.nifti import encode_nifti, read_nifti

SIZE = (2, 3, 4)
VALUES = np.arange(24, dtype=np.int16).reshape(SIZE)
DATA = Path(os.environ.get("AUTOSEGNET_DATA", Path(__file__).parents[2] / "shared" / "data"))
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def rotation(seed=3):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]


def oblique(spacing=(2.0, 3.0, 4.0), origin=(-100.5, 20.25, 1000.125), seed=3):
    affine = np.eye(4)
    affine[:3, :3] = rotation(seed) * spacing
    affine[:3, 3] = origin
    return affine


def header_of(values=VALUES, affine=None, kind=nibabel.Nifti1Header, endianness="<"):
    affine = oblique() if affine is None else affine
    header = kind(endianness=endianness)
    header.set_data_dtype(values.dtype)
    header.set_data_shape(values.shape)
    header.set_slope_inter(1, 0)
    header.set_qform(affine, code=1)
    header.set_sform(affine, code=1)
    header.set_xyzt_units("mm")
    header["vox_offset"] = 352 if kind is nibabel.Nifti1Header else 544
    header["magic"] = b"n+1" if kind is nibabel.Nifti1Header else b"n+2\0\r\n\x1a\n"
    return header


def content(header, values=VALUES, between=bytes(4)):
    payload = values.astype(values.dtype.newbyteorder(header.endianness)).tobytes(order="F")
    return header.binaryblock + between + payload


def changed(**fields):
    header = header_of()
    for name, value in fields.items():
        header[name] = value
    return header


@pytest.fixture
def file(tmp_path):
    return tmp_path / "image.nii"


def affine_of(image):
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return TO_LPS @ affine


def values_of(image):
    return view_voxels(image).T


def refusal(file, data):
    file.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_image(file)
    message = str(caught.value)
    assert message.isprintable()
    assert file.name in message
    return message


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Header, nibabel.Nifti2Header])
@pytest.mark.parametrize("endianness", ["<", ">"])
def test_axes_and_values_are_those_of_nibabel(tmp_path, endianness, kind, suffix):
    data = content(header_of(kind=kind, endianness=endianness))
    path = tmp_path / f"image{suffix}"
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    image, theirs = read_image(path), nibabel.load(path)
    assert np.array_equal(values_of(image), np.asarray(theirs.dataobj))
    assert np.abs(affine_of(image) - theirs.affine).max() < 1e-12


@pytest.mark.parametrize("code", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_real_type_reads_as_simpleitk_reads_it(file, code):
    values = (np.arange(24).reshape(SIZE) * 5).astype(code)
    file.write_bytes(content(header_of(values), values))
    assert read_nifti(file).voxels.dtype == np.dtype(code)
    theirs = SimpleITK.ReadImage(str(file))
    assert np.array_equal(values_of(read_image(file)), values_of(theirs))
    assert np.allclose(affine_of(read_image(file)), affine_of(theirs), atol=1e-5)


def test_scaling_is_applied_in_double_precision(file):
    header = header_of()
    header["scl_slope"], header["scl_inter"] = 0.1, -1024
    file.write_bytes(content(header))
    expected = (VALUES * float(np.float32(0.1)) - 1024).astype(np.float32)
    assert np.array_equal(values_of(read_image(file)), expected)
    assert np.allclose(values_of(SimpleITK.ReadImage(str(file))), expected)


@pytest.mark.parametrize("slope", [0.0, np.nan, 1.0])
def test_no_scaling_keeps_integers(file, slope):
    file.write_bytes(content(changed(scl_slope=slope)))
    assert read_image(file).GetPixelID() == SimpleITK.sitkInt16


@pytest.mark.parametrize("kept", ["sform", "qform"])
def test_form_with_code_0_does_not_count(file, kept):
    header = header_of()
    other = "qform" if kept == "sform" else "sform"
    header[f"{other}_code"] = 0
    if other == "sform":
        header["srow_x"] = (1, 2, 3, 4)
    else:
        header["quatern_b"], header["qoffset_x"] = 5, 77
    file.write_bytes(content(header))
    assert np.allclose(affine_of(read_image(file)), oblique(), atol=1e-4)


def test_qfac_0_means_1(file):
    file.write_bytes(content(changed(pixdim=(0, 2, 3, 4, 1, 1, 1, 1), sform_code=0)))
    theirs = SimpleITK.ReadImage(str(file))
    assert np.allclose(affine_of(read_image(file)), affine_of(theirs), atol=1e-4)


def test_unknown_unit_is_read_as_mm(file):
    file.write_bytes(content(changed(xyzt_units=0)))
    assert np.allclose(read_image(file).GetSpacing(), (2, 3, 4))


def test_time_unit_does_not_matter(file):
    file.write_bytes(content(changed(xyzt_units=2 + 8)))
    assert np.allclose(read_image(file).GetSpacing(), (2, 3, 4))


def test_extension_before_the_voxels_is_skipped(file):
    file.write_bytes(
        content(changed(vox_offset=352 + 32), between=b"\1\0\0\0" + (32).to_bytes(4, "little") + bytes(28))
    )
    assert np.array_equal(values_of(read_image(file)), VALUES)


def test_trailing_dimension_of_one_is_dropped(file):
    header = header_of()
    header["dim"] = (4, *SIZE, 1, 1, 1, 1)
    file.write_bytes(content(header))
    assert read_image(file).GetSize() == SIZE


def test_gzip_of_several_members_is_read(tmp_path):
    data = content(header_of())
    path = tmp_path / "image.nii.gz"
    path.write_bytes(gzip.compress(data[:100]) + gzip.compress(data[100:360]) + gzip.compress(data[360:]))
    assert np.array_equal(values_of(read_image(path)), VALUES)


def sheared():
    affine = oblique()
    affine[:3, 0] += 0.02 * affine[:3, 1]
    header = header_of()
    header.set_sform(affine, code=1)
    header["qform_code"] = 0
    return header


def apart(distance_mm):
    affine = oblique()
    affine[0, 3] += distance_mm
    header = header_of()
    header.set_sform(affine, code=1)
    return header


BAD = {
    "empty": (b"", "empty"),
    "lfs_pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git-LFS"),
    "not_nifti": (bytes(range(256)) * 4, "no NIfTI header"),
    "cut_header": (content(header_of())[:300], "no NIfTI header"),
    "header_only": (content(header_of())[:348], "holds 348 bytes, expected 400"),
    "cut": (content(header_of())[:-1], "399 bytes, expected 400"),
    "longer": (content(header_of()) + b"\0", "401 bytes, expected 400"),
    "two_files": (content(changed(magic=b"ni1")), "single-file"),
    "analyze": (content(changed(magic=b"")), "single-file"),
    "dims_2": (content(changed(dim=(2, 2, 3, 1, 1, 1, 1, 1))), "2 dimensions"),
    "dims_negative": (content(changed(dim=(-3, 2, 3, 4, 1, 1, 1, 1))), "-3 dimensions"),
    "four_dimensional": (content(changed(dim=(4, 2, 3, 2, 2, 1, 1, 1))), "4 dimensions"),
    "vector": (content(changed(dim=(5, 2, 3, 1, 1, 3, 1, 1))), "5 dimensions"),
    "size_0": (content(changed(dim=(3, 2, 0, 4, 1, 1, 1, 1))), "2 x 0 x 4"),
    "size_negative": (content(changed(dim=(3, 2, -3, 4, 1, 1, 1, 1))), "2 x -3 x 4"),
    "size_huge": (content(changed(dim=(3, 32767, 32767, 32767, 1, 1, 1, 1))), "at most"),
    "complex": (content(changed(datatype=32)), "datatype code is 32"),
    "rgb": (content(changed(datatype=128)), "datatype code is 128"),
    "bitpix": (content(changed(bitpix=8)), "bitpix is 8"),
    "voxels_in_header": (content(changed(vox_offset=0)), "vox_offset is 0"),
    "voxels_beyond": (content(changed(vox_offset=1e30)), "vox_offset is 1e+30"),
    "voxels_nowhere": (content(changed(vox_offset=np.nan)), "vox_offset is nan"),
    "slope_infinite": (content(changed(scl_slope=np.inf)), "scl_slope is inf"),
    "intercept_nan": (content(changed(scl_slope=2, scl_inter=np.nan)), "scl_inter nan"),
    "slope_that_itk_ignores": (content(changed(scl_slope=1e-17)), "scl_slope is 1e-17"),
    "code_unknown": (content(changed(sform_code=128)), "sform_code is 128"),
    "slope_subnormal": (content(changed(scl_slope=1e-40)), "scl_slope is 9.99995e-41"),
    "intercept_subnormal": (content(changed(scl_inter=1e-40)), "scl_inter 9.99995e-41"),
    "slope_too_large": (content(changed(scl_slope=3e38)), "3.4e38"),
    "metres": (content(changed(xyzt_units=1)), "unit code is 1"),
    "micrometres": (content(changed(xyzt_units=3)), "unit code is 3"),
    "spacing_0": (content(changed(pixdim=(1, 2, 0, 4, 1, 1, 1, 1))), "spacing is 2, 0, 4 mm"),
    "spacing_negative": (content(changed(pixdim=(1, 2, -3, 4, 1, 1, 1, 1))), "spacing is 2, -3, 4 mm"),
    "spacing_nan": (content(changed(pixdim=(1, np.nan, 3, 4, 1, 1, 1, 1))), "spacing is nan, 3, 4 mm"),
    "spacings_differ": (content(changed(pixdim=(1, 1, 1, 1, 1, 1, 1, 1), qform_code=0)), "expected one spacing"),
    "origin_nan": (content(changed(srow_x=(2, 0, 0, np.nan), qform_code=0)), "origin"),
    "no_orientation": (content(changed(sform_code=0, qform_code=0)), "sform_code is 0 and qform_code 0"),
    "code_negative": (content(changed(sform_code=-1)), "sform_code is -1"),
    "sheared": (content(sheared()), "perpendicular"),
    "sform_zero": (content(changed(srow_x=0, srow_y=0, srow_z=0, qform_code=0)), "spacing is 0, 0, 0"),
    "forms_differ": (content(apart(0.6)), "voxels apart"),
    "forms_mirrored": (content(changed(pixdim=(-1, 2, 3, 4, 1, 1, 1, 1))), "voxels apart"),
    "qfac": (content(changed(pixdim=(3, 2, 3, 4, 1, 1, 1, 1))), "qfac (pixdim[0]) is 3"),
    "quaternion": (content(changed(quatern_b=1, quatern_c=1, quatern_d=1, sform_code=0)), "not a rotation"),
    "quaternion_nan": (content(changed(quatern_b=np.nan, sform_code=0)), "not a rotation|spacing|direction"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_refused_by_name(file, name):
    data, expected = BAD[name]
    message = refusal(file, data)
    assert any(part in message for part in expected.split("|")), message


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_refused_in_gzip_as_well(tmp_path, name):
    refusal(tmp_path / "image.nii.gz", gzip.compress(BAD[name][0]))


def test_forms_that_differ_by_rounding_are_accepted(file):
    file.write_bytes(content(apart(0.4)))  # 0.2 voxels of 2 mm
    assert read_image(file).GetSize() == SIZE


def tilted_by_simpleitk(path, degrees, seed):
    """Return a file of SimpleITK on a whole-body grid, whose two forms come from one affine."""
    axis = np.random.default_rng(seed).normal(size=3)
    image = SimpleITK.Image(700, 3, 700, SimpleITK.sitkUInt8)
    image.SetSpacing((1.0, 1.0, 1.0))
    image.SetOrigin((-400.0, -400.0, -900.0))
    turn = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis))
    image.SetDirection(turn.as_matrix().ravel())
    SimpleITK.WriteImage(image, str(path))
    return image


@pytest.mark.parametrize("degrees", [0.001, 0.03, 0.1, 0.3, 1.0, 30.0, 90.0, 179.99])
def test_tilted_files_of_simpleitk_are_read(file, degrees):
    for seed in (23, 30, 32, 41):
        image = tilted_by_simpleitk(file, degrees, seed)
        found = read_image(file)
        assert np.allclose(found.GetDirection(), image.GetDirection(), atol=1e-6)


@pytest.mark.parametrize("excess", [4.8e-7, 1e-5])
@pytest.mark.parametrize("sform_code", [0, 1])
def test_a_quaternion_a_little_too_long_is_read(file, excess, sform_code):
    header = header_of(affine=np.diag([-2.0, -2.0, 3.0, 1.0]))
    header["sform_code"] = sform_code
    header["quatern_d"] = 1 + excess
    file.write_bytes(content(header))
    assert np.allclose(affine_of(read_image(file)), np.diag([-2.0, -2.0, 3.0, 1.0]), atol=1e-6)


def test_the_sform_counts_if_the_qform_cannot_be_decoded(file, caplog):
    file.write_bytes(content(changed(quatern_b=1, quatern_c=1, quatern_d=1)))
    assert np.allclose(affine_of(read_image(file)), oblique(), atol=1e-4)
    assert "its sform is used" in caplog.text


@pytest.mark.parametrize("form", ["sform", "qform"])
def test_the_named_form_counts_if_both_differ(file, form):
    moved = apart(30.0)
    file.write_bytes(content(moved))
    expected = oblique()
    expected[0, 3] += 30.0 if form == "sform" else 0.0
    assert np.allclose(affine_of(read_image(file, form=form)), expected, atol=1e-3)


def test_the_refusal_of_forms_that_differ_names_the_option(file):
    assert "--nifti-form" in refusal(file, content(apart(30.0)))


def test_the_only_form_that_is_set_counts_whatever_is_named(file):
    file.write_bytes(content(changed(sform_code=0)))
    assert np.allclose(affine_of(read_image(file, form="sform")), oblique(), atol=1e-4)
    file.write_bytes(content(changed(qform_code=0)))
    assert np.allclose(affine_of(read_image(file, form="qform")), oblique(), atol=1e-4)


@pytest.mark.parametrize("zeros", [1, 7, 200_000])
def test_zeros_between_and_behind_gzip_streams_are_skipped(tmp_path, zeros):
    data, path = content(header_of()), tmp_path / "image.nii.gz"
    path.write_bytes(gzip.compress(data[:100]) + bytes(zeros) + gzip.compress(data[100:]) + bytes(zeros))
    assert np.array_equal(values_of(read_image(path)), VALUES)


def test_many_empty_gzip_streams_are_refused(tmp_path):
    data = gzip.compress(content(header_of()))
    assert "empty streams" in refusal(tmp_path / "image.nii.gz", data + gzip.compress(b"") * 200)
    (tmp_path / "ends.nii.gz").write_bytes(data + gzip.compress(b""))  # as bgzip ends a file
    assert np.array_equal(values_of(read_image(tmp_path / "ends.nii.gz")), VALUES)


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("image.nii.gz", content(header_of()), "a NIfTI image that is not compressed"),
        ("image.mha", content(header_of()), "no MetaImage header but a NIfTI image that is not compressed"),
        ("image.img", content(header_of()), "a NIfTI image that is not compressed"),
        ("image.nii", gzip.compress(content(header_of()), mtime=0), "gzip-compressed data"),
        ("image.mha", gzip.compress(content(header_of()), mtime=0), "gzip-compressed data"),
        ("image.nii", b"ObjectType = Image\nNDims = 3\n", "a MetaImage"),
        ("image.nii.gz", gzip.compress(b"NDims = 3\nDimSize = 1 1 1\n", mtime=0), "a MetaImage, compressed by gzip"),
    ],
)
def test_a_misnamed_image_is_refused_with_its_right_name(tmp_path, name, data, found):
    message = refusal(tmp_path / name, data)
    assert found in message
    assert "name it" in message


FOREIGN = {
    "DICOM": bytes(128) + b"DICM" + bytes(300),
    "NRRD": b"NRRD0004\n",
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "JPEG": b"\xff\xd8\xff\xe0" + bytes(40),
    "TIFF": b"II*\0" + bytes(40),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(40),
    "zip": b"PK\x03\x04" + bytes(40),
    "tar": bytes(257) + b"ustar" + bytes(300),
    "NumPy": b"\x93NUMPY\x01\0" + bytes(40),
    "web page": b"\n<!DOCTYPE html><html>quota exceeded</html>",
    "JSON": b'{"a": 1}',
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_else_a_file_holds_is_named(tmp_path, kind):
    for name in ("image.nii", "image.mha", "image.nii.gz"):
        assert kind in refusal(tmp_path / name, FOREIGN[kind])
    assert kind in refusal(tmp_path / "image.nii.gz", gzip.compress(FOREIGN[kind]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_voxels_that_are_not_finite_become_air_on_demand(file, caplog, value, kind):
    values = np.ones(SIZE, kind)
    values[0] = value
    file.write_bytes(content(header_of(values), values))
    assert "--nonfinite air" in refusal(file, file.read_bytes())
    found = values_of(read_image(file, air=-1024.0))
    assert np.all(found[0] == -1024)
    assert np.all(found[1] == 1)
    assert "12 voxels (50.0 %)" in caplog.text


@pytest.mark.parametrize("cut", [1, 4, 8, 20, 100])
def test_gzip_cut_anywhere_is_refused(tmp_path, cut):
    message = refusal(tmp_path / "image.nii.gz", gzip.compress(content(header_of()))[:-cut])
    assert "too early" in message


def test_gzip_with_a_wrong_checksum_is_refused(tmp_path):
    data = bytearray(gzip.compress(content(header_of())))
    data[-5] ^= 1  # the last byte of the CRC; the size follows
    assert "damaged" in refusal(tmp_path / "image.nii.gz", data)


def test_bytes_behind_the_gzip_stream_are_refused(tmp_path):
    assert "damaged" in refusal(tmp_path / "image.nii.gz", gzip.compress(content(header_of())) + b"garbage")


def test_gzip_bomb_is_stopped_at_the_announced_size(tmp_path):
    bomb = gzip.compress(content(header_of()) + bytes(50_000_000))
    assert "more than the 400 bytes" in refusal(tmp_path / "image.nii.gz", bomb)


def test_large_size_with_few_bytes_is_refused_before_memory_is_taken(tmp_path):
    data = gzip.compress(content(changed(dim=(3, 1000, 1000, 1000, 1, 1, 1, 1))))
    assert "too few" in refusal(tmp_path / "image.nii.gz", data)


def test_voxel_that_is_not_finite_is_refused_with_its_index(file):
    values = np.zeros(SIZE, np.float32)
    values[1, 2, 3] = np.nan
    assert "first at index (x, y, z) = (1, 2, 3)" in refusal(file, content(header_of(values), values))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_affine_of_a_nifti_image_comes_back_to_the_last_float32_digit(tmp_path, suffix):
    for seed in range(20):
        affine = oblique(spacing=(4.07283, 2.0364200, 1 / 3), origin=(-397.123, 1 / 7, 1e3 / 3), seed=seed)
        values = np.zeros(SIZE, np.float32)
        nibabel.Nifti1Image(values, affine).to_filename(tmp_path / "in.nii.gz")
        write_image(read_image(tmp_path / "in.nii.gz"), tmp_path / f"out{suffix}")
        first, second = nibabel.load(tmp_path / "in.nii.gz"), nibabel.load(tmp_path / f"out{suffix}")
        assert np.array_equal(np.float32(first.header.get_sform()), np.float32(second.header.get_sform()))
        # Reading back once more changes nothing.
        write_image(read_image(tmp_path / f"out{suffix}"), tmp_path / f"again{suffix}")
        assert (tmp_path / f"again{suffix}").read_bytes() == (tmp_path / f"out{suffix}").read_bytes()


def test_both_forms_are_written_and_agree(file):
    image = SimpleITK.GetImageFromArray(np.zeros((4, 3, 2), np.uint8))
    image.SetDirection(rotation().ravel().tolist())
    write_image(image, file)
    header = nibabel.load(file).header
    assert int(header["sform_code"]) == int(header["qform_code"]) == 1
    assert np.allclose(header.get_sform(), header.get_qform(), atol=1e-5)


def test_slightly_skewed_image_is_written_so_that_it_reads_back(file):
    image = SimpleITK.Image([400, 400, 3], SimpleITK.sitkUInt8)
    image.SetDirection((1, 9e-4, 0, 0, 1, 0, 0, 0, 1))
    write_image(image, file)
    assert np.allclose(affine_of(read_image(file)), affine_of(image), atol=1e-5)


finite = st.floats(-1e4, 1e4, width=32)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(*[st.integers(1, 6)] * 3),
    spacing=st.tuples(*[st.floats(0.31, 19)] * 3),
    origin=st.tuples(finite, finite, finite),
    seed=st.integers(0, 2**32 - 1),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
)
def test_written_image_reads_back_the_same(tmp_path, size, spacing, origin, seed, suffix):
    values = np.random.default_rng(seed).normal(size=size[::-1]).astype(np.float32)
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(rotation(seed).ravel().tolist())
    path = tmp_path / f"{suffix.count('.')}{suffix}"  # see test_sibling_of_the_same_stem_is_not_read_instead
    write_image(image, path)
    for read in (read_image(path), SimpleITK.ReadImage(str(path))):
        assert np.array_equal(values_of(read), values_of(image))
        assert np.allclose(affine_of(read), affine_of(image), rtol=1e-6, atol=1e-5)


def test_sibling_of_the_same_stem_is_not_read_instead(tmp_path):
    """Where a.nii lies beside a.nii.gz, SimpleITK 2.5.7 reads a.nii whichever of them it is given."""
    for value, name in ((1, "a.nii"), (2, "a.nii.gz")):
        write_image(SimpleITK.GetImageFromArray(np.full((3, 2, 1), value, np.uint8)), tmp_path / name)
    assert values_of(read_image(tmp_path / "a.nii")).max() == 1
    assert values_of(read_image(tmp_path / "a.nii.gz")).max() == 2


def test_equal_images_make_equal_files():
    image = SimpleITK.GetImageFromArray(np.eye(4, dtype="f4")[None])
    assert b"".join(encode_nifti(image, compressed=True)) == b"".join(encode_nifti(image, compressed=True))


@pytest.mark.skipif(not (DATA / "sts").is_dir(), reason=f"needs the real studies in {DATA} (AUTOSEGNET_DATA)")
@pytest.mark.parametrize("case", ["STS_002", "STS_025", "STS_044"])
def test_real_study_reads_as_simpleitk_reads_it(case):
    for name in ("SUV", "CTres", "SEG"):
        path = DATA / "sts" / case / f"{name}.nii.gz"
        ours, theirs = read_image(path), SimpleITK.ReadImage(str(path))
        assert ours.GetPixelID() == theirs.GetPixelID()
        assert np.array_equal(values_of(ours), values_of(theirs))
        assert np.allclose(affine_of(ours), affine_of(theirs), atol=1e-4)
    assert set(np.unique(values_of(read_mask(path)))) == {0, 1}


def test_an_origin_that_no_scanner_has_is_refused() -> None:
    grid = Grid((2, 2, 2), (4.0, 4.0, 4.0), (-3e38, 0.0, 0.0), tuple(np.eye(3).ravel()))
    with pytest.raises(InputError, match="origin is"):
        check_geometry(grid, Path("far.nii"))
