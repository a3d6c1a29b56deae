"""INPUT and OUTPUT in an object store: a local server that speaks S3."""

import logging

import pytest
from dicom_phantoms import write_image as write_dicom
from test_batch import SMALL, batch, masks, never, rows, scaled, tree, weights, write  # noqa: F401  (fixtures)

from autosegnet.errors import InputError, UsageError
from autosegnet.io.remote import RemoteFolder

pytest.importorskip("s3fs", reason="needs autosegnet[cloud]")
moto_server = pytest.importorskip("moto.server", reason="needs moto")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def server():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def store(server, monkeypatch):
    """Return an empty bucket, and the file system that reaches it."""
    import fsspec

    for name, value in (
        ("AWS_ENDPOINT_URL", server), ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    store = fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)
    if store.exists("cohorts"):
        store.rm("cohorts", recursive=True)
    store.mkdir("cohorts")
    return store


def test_a_cohort_in_a_store_gives_the_masks_of_a_folder(tmp_path, batch, store) -> None:  # noqa: F811
    source = tree(tmp_path / "in", p_s=1.0, q_t=1.4)
    assert batch().code == 0
    store.put(str(source), "cohorts/in", recursive=True)
    done = batch(source="s3://cohorts/in", output="s3://cohorts/out")
    assert done.code == 0, done.log
    for name in ("p_s.nii.gz", "q_t.nii.gz"):
        assert store.cat(f"cohorts/out/{name}") == (tmp_path / "out" / name).read_bytes()
    listed = {name.removeprefix("cohorts/out/") for name in store.find("cohorts/out")}
    assert {"records/p_s.json", "thumbnails/p_s.png", "summary.csv", "overview.html", "tables/lesions.csv"} <= listed

    again = batch(source="s3://cohorts/in", output="s3://cohorts/out", engine=never)
    assert again.code == 0, again.log
    assert "2 done, 0 pending, 0 failed" in again.log

    write(scaled(1.5), source / "p/s/SUV.nii.gz", source / "p/s/CTres.nii.gz")
    store.put(str(source / "p/s/SUV.nii.gz"), "cohorts/in/p/s/SUV.nii.gz")
    store.pipe("cohorts/out/q_t.nii.gz", b"cut")
    third = batch(source="s3://cohorts/in", output="s3://cohorts/out")
    assert "p_s is done again: changed since: input" in third.log
    assert "q_t is done again: its mask is not the one that was written" in third.log
    assert store.cat("cohorts/out/q_t.nii.gz") == (tmp_path / "out" / "q_t.nii.gz").read_bytes()


def test_dicom_in_a_store_is_read_by_a_list(tmp_path, batch, store) -> None:  # noqa: F811
    write_dicom(SMALL.pet, tmp_path / "in" / "PT", kind="PET", slope=0.001)
    write_dicom(SMALL.ct, tmp_path / "in" / "CT", kind="CT", slope=1.0, intercept=-1024.0)
    (tmp_path / "in" / "list.csv").write_text("case,pet,ct\none,PT,CT\n")
    store.put(str(tmp_path / "in"), "cohorts/in", recursive=True)
    done = batch(source="s3://cohorts/in/list.csv")
    assert done.code == 0, done.log
    assert list(masks(tmp_path)) == ["one.nii.gz"]
    done = batch(source="s3://cohorts/in")
    assert done.code == 3
    assert "list such studies in a CSV" in done.log


def test_what_is_not_in_the_store_is_named(batch, store) -> None:  # noqa: F811
    done = batch(source="s3://cohorts/nothing")
    assert done.code == 3
    assert "found nothing at s3://cohorts/nothing" in done.log.splitlines()[-1]


def test_a_store_that_does_not_answer_is_named(store, monkeypatch) -> None:
    with pytest.raises(InputError, match="cannot list s3://absent/x"):
        RemoteFolder("s3://absent/x").list_files()


def test_a_protocol_that_does_not_exist_is_named() -> None:
    with pytest.raises(UsageError, match="nowhere://x"):
        RemoteFolder("nowhere://x").list_files()
