"""MetaImage: what SimpleITK reads from a good file is what we read; what is damaged is refused."""

import gzip
import itertools
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autosegnet.errors import InputError
from autosegnet.geometry import view_voxels
from autosegnet.io import read_image, write_image
from autosegnet.io.decoded import MAX_AXIS, MAX_VOXELS, DecodedImage, make_decoded_image
from autosegnet.io.metaimage import encode_metaimage, read_metaimage

SIZE = (2, 3, 4)
VOXELS = np.arange(24, dtype="<i2").tobytes()
# A rotation that is not symmetric, so that a missing transpose shows: x -> y, y -> z, z -> x.
ROTATION = "0 1 0 0 0 1 1 0 0"
TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


def metaimage(payload=VOXELS, newline="\n", separator=" = ", **tags):
    """Return the bytes of a file; a tag of None is left out, others replace or follow the usual ones."""
    usual = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": ROTATION,
        "Offset": "-1.5 2.25 0.1",
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": "2.0364200000000001 3 0.33333333333333331",
        "DimSize": "2 3 4",
        "ElementType": "MET_SHORT",
        **tags,
    }
    last = usual.pop("ElementDataFile", "LOCAL")
    lines = [f"{key}{separator}{value}" for key, value in usual.items() if value is not None]
    if last is not None:
        lines.append(f"ElementDataFile{separator}{last}")
    return (newline.join(lines) + newline).encode("latin-1") + payload


def compressed(payload, **tags):
    return metaimage(payload, CompressedData="True", CompressedDataSize=str(len(payload)), **tags)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "image.mha"


def same_image(ours, theirs):
    return (
        ours.GetSize() == theirs.GetSize()
        and ours.GetSpacing() == theirs.GetSpacing()
        and ours.GetOrigin() == theirs.GetOrigin()
        and ours.GetDirection() == theirs.GetDirection()
        and np.array_equal(SimpleITK.GetArrayViewFromImage(ours), SimpleITK.GetArrayViewFromImage(theirs))
    )


def refusal(file, content):
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_image(file)
    message = str(caught.value)
    assert message.isprintable()
    assert file.name in message
    return message


GOOD = {
    "usual": metaimage(),
    "windows_line_ends": metaimage(newline="\r\n"),
    "no_blanks": metaimage(separator="="),
    "colons": metaimage(separator=": "),
    "tabs": metaimage(separator="\t=\t"),
    "local_in_lower_case": metaimage(ElementDataFile="local"),
    "blank_behind_local": metaimage(ElementDataFile="LOCAL  "),
    "comment": metaimage(Comment="a = b: c"),
    "empty_comment": metaimage(Comment=""),
    "unknown_keys": metaimage(**{"0010|0010": "Müller^A", "Segment0_Name": "lesion = 1", "empty": ""}),
    "repeated_unknown_key": b"Foo = 1\nFoo = 2\n" + metaimage(),
    "repeated_equal_key": b"NDims = 3\nDimSize = 2 3 4\n" + metaimage(),
    "empty_lines": b"\n \n" + metaimage(),
    "position": metaimage(Offset=None, Position="7 8 9"),
    "origin": metaimage(Offset=None, Origin="7 8 9"),
    "image_position": metaimage(Offset=None, ImagePosition="7 8 9"),
    "rotation": metaimage(TransformMatrix=None, Rotation=ROTATION),
    "orientation": metaimage(TransformMatrix=None, Orientation=ROTATION),
    "element_size": metaimage(ElementSpacing=None, ElementSize="1 2 3"),
    "element_size_besides_spacing": metaimage(ElementSize="1 2 3"),
    "no_object_type": metaimage(ObjectType=None),
    "no_binary_data": metaimage(BinaryData=None),
    "no_byte_order": metaimage(BinaryDataByteOrderMSB=None),
    "element_byte_order": metaimage(BinaryDataByteOrderMSB=None, ElementByteOrderMSB="True"),
    "center_of_rotation": metaimage(CenterOfRotation="5 6 7"),
    "one_channel": metaimage(ElementNumberOfChannels="1"),
    "distance_units": metaimage(DistanceUnits="mm"),
    "neutral_intensity_function": metaimage(ElementToIntensityFunctionSlope="1", ElementToIntensityFunctionOffset="0"),
    "header_size_0": metaimage(HeaderSize="0"),
    "header_size_minus_1": metaimage(HeaderSize="-1"),
    "number_forms": metaimage(ElementSpacing="+2. .4e1 3E0", Offset="1e-3 -0 123456789.12345678912345"),
    "compressed": compressed(zlib.compress(VOXELS)),
    "compressed_as_gzip": compressed(gzip.compress(VOXELS)),
    "slightly_skewed": metaimage(TransformMatrix="1 0.0005 0 0 1 0 0 0 1"),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_file_reads_as_simpleitk_reads_it(file, name):
    file.write_bytes(GOOD[name])
    assert same_image(read_image(file), SimpleITK.ReadImage(str(file)))


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", TYPES)
def test_every_scalar_type_reads_as_simpleitk_reads_it(file, name, packed, byte_order):
    values = np.arange(-12, 12).astype(TYPES[name]) * 5
    payload = values.astype(values.dtype.newbyteorder(byte_order)).tobytes()
    tags = {"ElementType": name, "BinaryDataByteOrderMSB": str(byte_order == ">")}
    file.write_bytes(compressed(zlib.compress(payload), **tags) if packed else metaimage(payload, **tags))
    decoded = read_metaimage(file)
    assert decoded.voxels.dtype == SimpleITK.GetArrayViewFromImage(SimpleITK.ReadImage(str(file))).dtype
    assert same_image(SimpleITK.Cast(SimpleITK.ReadImage(str(file)), read_image(file).GetPixelID()), read_image(file))


@pytest.mark.parametrize("byte_order", ["False", "True"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_is_read_into_the_memory_that_it_stays_in(file, packed, byte_order):
    payload = np.arange(24, dtype=">i2" if byte_order == "True" else "<i2").tobytes()
    more = {"CompressedData": "True"} if packed else {}
    file.write_bytes(
        metaimage(zlib.compress(payload) if packed else payload, BinaryDataByteOrderMSB=byte_order, **more)
    )
    decoded = read_metaimage(file)
    image = make_decoded_image(decoded)
    assert view_voxels(image).ctypes.data == decoded.voxels.ctypes.data
    assert view_voxels(image).ravel().tolist() == list(range(24))
    x, y, _ = decoded.grid.size
    part = DecodedImage(decoded.voxels[:1], decoded.grid.crop(((0, x), (0, y), (0, 1))))
    assert view_voxels(make_decoded_image(part)).ravel().tolist() == list(range(6))


def test_small_types_are_kept_and_others_become_float32(file):
    kept = {"MET_CHAR", "MET_UCHAR", "MET_SHORT", "MET_USHORT", "MET_FLOAT"}
    for name, code in TYPES.items():
        file.write_bytes(metaimage(np.zeros(24, code).tobytes(), ElementType=name))
        found = SimpleITK.GetArrayViewFromImage(read_image(file)).dtype
        assert found == (np.dtype(code) if name in kept else np.float32)


def test_direction_is_the_transpose_of_the_transform_matrix(file):
    file.write_bytes(metaimage(TransformMatrix=ROTATION))
    # The first three numbers are the first axis, which is the first column of the direction.
    assert np.array_equal(np.reshape(read_image(file).GetDirection(), (3, 3))[:, 0], [0, 1, 0])


def test_header_size_says_where_the_voxels_begin(file):
    header = len(metaimage(b"", HeaderSize="999"))
    file.write_bytes(metaimage(b"abcd" + VOXELS, HeaderSize=str(header + 4)))
    assert same_image(read_image(file), SimpleITK.ReadImage(str(file)))


def test_trailing_dimension_of_one_is_dropped(file):
    four = "0 1 0 0 0 0 1 0 1 0 0 0 0 0 0 1"
    tags = {"NDims": "4", "DimSize": "2 3 4 1", "CenterOfRotation": "0 0 0 0", "TransformMatrix": four}
    file.write_bytes(metaimage(Offset="1 2 3 4", ElementSpacing="1 2 3 1", **tags))
    assert same_image(read_image(file), SimpleITK.ReadImage(str(file))[:, :, :, 0])


def test_compressed_voxels_without_their_size_are_read(file):
    # SimpleITK inflates the header here; the file itself has one meaning only.
    file.write_bytes(metaimage(zlib.compress(VOXELS), CompressedData="True"))
    assert SimpleITK.GetArrayViewFromImage(read_image(file)).ravel().tolist() == list(range(24))


def test_inflated_bytes_that_zlib_still_holds_at_the_end_are_read(file):
    size = (97, 89, 83)
    payload = zlib.compress(np.zeros(size[0] * size[1] * size[2], "<f4").tobytes(), 9)
    file.write_bytes(compressed(payload, DimSize=" ".join(map(str, size)), ElementType="MET_FLOAT"))
    assert read_image(file).GetSize() == size


BAD = {
    "empty": (b"", "empty"),
    "not_a_header": (bytes(range(256)), "no MetaImage header"),
    "lfs_pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git-LFS pointer"),
    "cut_header": (metaimage()[:120], "header ends before"),
    "cut_voxels": (metaimage()[:-1], "47 bytes of voxels, expected 48"),
    "no_voxels": (metaimage(b""), "0 bytes of voxels"),
    "bytes_behind_voxels": (metaimage(VOXELS + b"\0"), "49 bytes of voxels, expected 48"),
    "bytes_behind_header_size_minus_1": (metaimage(b"x" + VOXELS, HeaderSize="-1"), "49 bytes"),
    "nul_in_header": (metaimage(Comment="a\0b"), "header"),
    "lone_carriage_return": (metaimage(Comment="a\rDimSize = 4 3 2"), "header"),
    "line_without_separator": (b"# a note\n" + metaimage(), "not 'key = value'"),
    "line_too_long": (b"A = " + b"x" * 5000 + b"\n" + metaimage(), "not 'key = value'"),
    "endless_header": (b"A = 1\n" * 20000, "header"),
    "dims_2": (metaimage(NDims="2"), "2 dimensions"),
    "dims_-1": (metaimage(NDims="-1"), "-1 dimensions"),
    "dims_huge": (metaimage(NDims="2147483647"), "dimensions"),
    "dims_missing": (metaimage(NDims=None), "no MetaImage header|0 dimensions"),
    "dims_late": (b"DimSize = 2 3 4\n" + metaimage(DimSize=None), "NDims comes too late"),
    "size_0": (metaimage(DimSize="2 0 4"), "2 x 0 x 4"),
    "size_negative": (metaimage(DimSize="2 -3 4"), "2 x -3 x 4"),
    "size_2_32": (metaimage(DimSize="4294967296 1 1"), "4294967296"),
    "size_overflows": (metaimage(DimSize="99999999999999999999 1 1"), "no valid DimSize"),
    "size_of_two": (metaimage(DimSize="6 4"), "no valid DimSize"),
    "size_of_four": (metaimage(DimSize="2 3 4 1"), "no valid DimSize"),
    "size_not_whole": (metaimage(DimSize="2.0 3 4"), "no valid DimSize"),
    "size_missing": (metaimage(DimSize=None), "no valid DimSize"),
    "size_twice": (b"NDims = 3\nDimSize = 4 3 2\n" + metaimage(), "DimSize twice"),
    "four_dimensional": (
        metaimage(NDims="4", DimSize="2 3 2 2", Offset="0 0 0 0", ElementSpacing="1 1 1 1"),
        "4 dimensions",
    ),
    "time_mixed_with_space": (
        metaimage(
            NDims="4",
            DimSize="2 3 4 1",
            Offset="0 0 0 0",
            ElementSpacing="1 1 1 1",
            CenterOfRotation=None,
            TransformMatrix="1 0 0 0 0 1 0 0 0 0 0 1 0 0 1 0",
        ),
        "TransformMatrix mixes",
    ),
    "vector": (metaimage(VOXELS * 3, ElementNumberOfChannels="3"), "3 channels"),
    "array_type": (metaimage(ElementType="MET_SHORT_ARRAY"), "MET_SHORT_ARRAY"),
    "unknown_type": (metaimage(ElementType="Doe^John"), "not a MetaImage type"),
    "type_missing": (metaimage(ElementType=None), "ElementType is missing"),
    "spacing_0": (metaimage(ElementSpacing="1 0 1"), "spacing is 1, 0, 1 mm"),
    "spacing_negative": (metaimage(ElementSpacing="1 -1 1"), "spacing is 1, -1, 1 mm"),
    "spacing_in_metres": (metaimage(ElementSpacing="0.002 0.002 0.003"), "spacing"),
    "spacing_too_large": (metaimage(ElementSpacing="1 1 20.001"), "spacing"),
    "spacing_nan": (metaimage(ElementSpacing="nan 1 1"), "no valid ElementSpacing"),
    "spacing_hexadecimal": (metaimage(ElementSpacing="0x2 1 1"), "no valid ElementSpacing"),
    "spacing_missing": (metaimage(ElementSpacing=None), "no valid ElementSize"),
    "spacing_with_commas": (metaimage(ElementSpacing="1, 1, 1"), "no valid ElementSpacing"),
    "origin_nan": (metaimage(Offset="nan 0 0"), "no valid Offset"),
    "origin_infinite": (metaimage(Offset="0 inf 0"), "no valid Offset"),
    "origin_overflows": (metaimage(Offset="0 1e999 0"), "too large"),
    "origin_behind_a_no_break_space": (metaimage(Offset="\xa01 2 3"), "no valid Offset"),
    "size_with_a_next_line_character": (metaimage(DimSize="2\x853\x854"), "no valid DimSize"),
    "origin_subnormal": (metaimage(Offset="0 1e-320 0"), "too small"),
    "origin_missing": (metaimage(Offset=None), "no Offset"),
    "origins_differ": (metaimage(Origin="7 8 9"), "Offset and Origin differ"),
    "directions_differ": (metaimage(Orientation="1 0 0 0 1 0 0 0 1"), "TransformMatrix and Orientation differ"),
    "direction_missing": (metaimage(TransformMatrix=None), "no TransformMatrix"),
    "direction_zero": (metaimage(TransformMatrix="0 0 0 0 0 0 0 0 0"), "perpendicular"),
    "direction_huge": (metaimage(TransformMatrix="1e308 0 0 0 1 0 0 0 1"), "direction cosines"),
    "direction_skewed": (metaimage(TransformMatrix="1 0.01 0 0 1 0 0 0 1"), "perpendicular"),
    "direction_scaled": (metaimage(TransformMatrix="1.001 0 0 0 1 0 0 0 1"), "perpendicular"),
    "byte_orders_differ": (metaimage(ElementByteOrderMSB="True"), "no clear value"),
    "byte_order_unknown": (metaimage(BinaryDataByteOrderMSB="maybe"), "no clear value"),
    "text_voxels": (metaimage(BinaryData="False"), "written as text"),
    "other_file": (metaimage(ElementDataFile="Doe.raw"), "another file"),
    "file_outside": (metaimage(ElementDataFile="../../etc/passwd"), "another file"),
    "list_of_files": (metaimage(ElementDataFile="LIST"), "another file"),
    "not_an_image": (metaimage(ObjectType="Scene"), "not of an image"),
    "other_units": (metaimage(DistanceUnits="cm"), "not mm"),
    "intensity_function": (metaimage(ElementToIntensityFunctionSlope="2"), "Slope is not 1"),
    "header_size_inside": (metaimage(HeaderSize="10"), "HeaderSize is 10"),
    "header_size_beyond": (metaimage(HeaderSize="100000"), "0 bytes of voxels"),
    "compressed_header_size_minus_1": (compressed(zlib.compress(VOXELS), HeaderSize="-1"), "HeaderSize is -1"),
    "compressed_size_alone": (metaimage(CompressedDataSize="48"), "without CompressedData"),
    "compressed_size_huge": (
        metaimage(zlib.compress(VOXELS), CompressedData="True", CompressedDataSize=str(10**15)),
        f"expected {10**15}",
    ),
    "compressed_size_0": (
        metaimage(zlib.compress(VOXELS), CompressedData="True", CompressedDataSize="0"),
        "expected 0",
    ),
    "compressed_cut": (compressed(zlib.compress(VOXELS)[:-5]), "end too early"),
    "compressed_checksum": (compressed(zlib.compress(VOXELS)[:-1] + b"\0"), "damaged"),
    "compressed_noise": (compressed(b"\x99" * 40), "damaged"),
    "compressed_too_much": (compressed(zlib.compress(VOXELS + b"\0")), "more than the 48 bytes"),
    "compressed_too_little": (compressed(zlib.compress(VOXELS[:-1])), "inflate to 47 bytes, expected 48"),
    "compressed_twice": (compressed(zlib.compress(VOXELS) * 2), "bytes after"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_refused_by_name(file, name):
    content, expected = BAD[name]
    message = refusal(file, content)
    assert any(part in message for part in expected.split("|")), message


def test_no_message_repeats_what_may_be_a_name(file):
    for key in ("ElementDataFile", "ElementType", "ObjectType", "DimSize", "BinaryData", "DistanceUnits", "Offset"):
        assert "Doe" not in refusal(file, metaimage(**{key: "Doe^John"}))


def test_size_is_refused_before_memory_is_taken(file):
    # 1 TB announced by a file of 500 bytes; numpy would fail with MemoryError, not InputError.
    assert "expected at most" in refusal(file, compressed(zlib.compress(VOXELS), DimSize=f"{MAX_AXIS} {MAX_AXIS} 7000"))
    assert MAX_VOXELS == 1_100_000_000
    allowed = compressed(zlib.compress(VOXELS), DimSize="1000 1000 1000", ElementType="MET_FLOAT")
    assert "too few for the 4000000000 bytes" in refusal(file, allowed)


def test_voxels_of_too_many_bytes_are_refused_whatever_their_number(file):
    large = compressed(zlib.compress(VOXELS), DimSize="1000 1000 1000", ElementType="MET_DOUBLE")
    assert "8000000000 bytes, expected at most 4400000000" in refusal(file, large)


def test_bomb_is_stopped_at_the_announced_size(file):
    bomb = zlib.compress(bytes(50_000_000), 9)
    assert "more than the 48 bytes" in refusal(file, compressed(bomb))


@pytest.mark.parametrize(("value", "index"), [(np.nan, 5), (np.inf, 0), (-np.inf, 23)])
def test_voxel_that_is_not_finite_is_refused_with_its_index(file, value, index):
    stored = np.zeros(24, "<f4")
    stored[[index, 23]] = value
    message = refusal(file, metaimage(stored.tobytes(), ElementType="MET_FLOAT"))
    z, y, x = np.unravel_index(index, SIZE[::-1])
    assert f"{1 + (index != 23)} voxels" in message
    assert f"({x}, {y}, {z})" in message


def test_float64_beyond_float32_is_refused(file):
    stored = np.full(24, 1e39)
    assert "3.4e38" in refusal(file, metaimage(stored.tobytes(), ElementType="MET_DOUBLE"))


def test_pipe_is_refused_at_once(tmp_path):
    import os

    os.mkfifo(tmp_path / "image.mha")
    with pytest.raises(InputError, match="not a file"):
        read_image(tmp_path / "image.mha")


def test_file_name_with_control_characters_stays_on_one_line(tmp_path):
    path = tmp_path / "a\nb\x1b.mha"
    path.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert str(caught.value).isprintable()


def orthonormal(seed):
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return rotation


finite = st.floats(-1e5, 1e5).filter(lambda value: value == 0 or abs(value) > 1e-300)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(*[st.integers(1, 6)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 20)] * 3),
    origin=st.tuples(finite, finite, finite),
    seed=st.integers(0, 2**32 - 1),
    is_mask=st.booleans(),
)
def test_written_image_reads_back_the_same_to_the_last_digit(tmp_path, size, spacing, origin, seed, is_mask):
    values = np.random.default_rng(seed).normal(size=size[::-1])
    image = SimpleITK.GetImageFromArray((values > 0).astype("u1") if is_mask else values.astype("f4"))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(orthonormal(seed).ravel().tolist())
    write_image(image, tmp_path / "image.mha")
    for read in (read_image(tmp_path / "image.mha"), SimpleITK.ReadImage(str(tmp_path / "image.mha"))):
        assert read.GetPixelID() == image.GetPixelID()
        assert same_image(read, image)


def test_all_48_orientations_survive(file):
    stored = np.arange(24, dtype="u1").reshape(4, 3, 2)
    for axes, signs in itertools.product(itertools.permutations(range(3)), itertools.product((1.0, -1.0), repeat=3)):
        image = SimpleITK.GetImageFromArray(stored)
        image.SetDirection((np.eye(3)[:, axes] * signs).ravel().tolist())
        write_image(image, file)
        assert same_image(read_image(file), image)
        assert same_image(SimpleITK.ReadImage(str(file)), image)


def test_writer_takes_no_metadata_along():
    image = SimpleITK.GetImageFromArray(np.zeros((2, 2, 2), "u1"))
    image.SetMetaData("0010|0010", "Doe^John")
    assert b"Doe" not in b"".join(encode_metaimage(image))


def test_equal_images_make_equal_files():
    image = SimpleITK.GetImageFromArray(np.eye(4, dtype="f4")[None])
    assert b"".join(encode_metaimage(image)) == b"".join(encode_metaimage(image))


def test_damage_at_any_byte_is_refused_or_harmless(file):
    """Every single-bit flip of a compressed file: refused, or the image that SimpleITK reads, or a changed header."""
    good = compressed(zlib.compress(VOXELS))
    start = good.index(b"LOCAL\n") + 6
    for position in range(start, len(good)):
        for bit in range(8):
            damaged = bytearray(good)
            damaged[position] ^= 1 << bit
            file.write_bytes(damaged)
            try:
                read = read_image(file)
            except InputError:
                continue
            # zlib ignores some bits of its own header (window size); the voxels are checked by Adler-32.
            assert SimpleITK.GetArrayViewFromImage(read).ravel().tolist() == list(range(24))


def test_reading_imports_nothing_that_was_not_asked_for():
    import subprocess
    import sys

    code = "import sys, autosegnet.io; print([m for m in ('SimpleITK', 'nibabel', 'torch') if m in sys.modules])"
    root = Path(__file__).parents[1]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
