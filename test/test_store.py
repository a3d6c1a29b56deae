"""INPUT and OUTPUT in an object store: a local server that speaks S3."""

import functools
import logging
import shutil
import time

import pydicom
import pytest
from dicom_phantoms import write_image as write_dicom
from dicom_phantoms import write_series
from test_batch import SMALL, batch, masks, never, run_apart, scaled, tree, weights, write  # noqa: F401  (fixtures)
from test_parse_once import write_dicom_studies

from autosegnet.batch.output_lock import Part
from autosegnet.batch.staging import Mirror
from autosegnet.batch.store_lock import lock_store
from autosegnet.batch.store_search import StoreSearch
from autosegnet.errors import InputError, OutputError, UsageError
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
    assert "p_s is segmented again: changed since: input" in third.log
    assert "q_t is segmented again: its mask was changed" in third.log
    assert store.cat("cohorts/out/q_t.nii.gz") == (tmp_path / "out" / "q_t.nii.gz").read_bytes()


def test_dicom_in_a_store_is_read_by_a_list(tmp_path, batch, store) -> None:  # noqa: F811
    write_dicom(SMALL.pet, tmp_path / "in" / "PT", kind="PET", slope=0.001)
    write_dicom(SMALL.ct, tmp_path / "in" / "CT", kind="CT", slope=1.0, intercept=-1024.0)
    (tmp_path / "in" / "list.csv").write_text("case,pet,ct\none,PT,CT\n")
    store.put(str(tmp_path / "in"), "cohorts/in", recursive=True)
    done = batch(source="s3://cohorts/in/list.csv")
    assert done.code == 0, done.log
    assert list(masks(tmp_path)) == ["one.nii.gz"]


def test_dicom_folders_in_a_store_give_the_masks_of_folders_on_a_disk(tmp_path, batch, store) -> None:  # noqa: F811
    source = write_dicom_studies(tmp_path / "in")
    for k, path in enumerate(sorted((source / "a" / "CT").iterdir())):  # headers around the length that is fetched
        dataset = pydicom.dcmread(path)
        dataset.private_block(0x0051, "LONG", create=True).add_new(1, "OB", bytes(60_000 + 1000 * k))
        dataset.PixelData += bytes(0)
        dataset.save_as(path)
    (source / "a" / "notes").write_bytes(b"n" * 100_000)
    (source / "a" / "empty").write_bytes(b"")
    assert batch().code == 0
    expected = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.nii.gz")}
    shutil.rmtree(tmp_path / "out")
    store.put(str(source), "cohorts/in", recursive=True)
    for options in ([], ["--jobs", 2]):
        done = batch(*options, "--overwrite", source="s3://cohorts/in", output="s3://cohorts/in/masks")
        assert done.code == 0, done.log
        assert {name: store.cat(f"cohorts/in/masks/{name}") for name in expected} == expected
    again = batch(source="s3://cohorts/in", output="s3://cohorts/in/masks", engine=never)
    assert "2 done, 0 pending, 0 failed" in again.log
    assert "left alone" not in again.log


def test_only_the_beginnings_of_slices_are_fetched_to_find_them(tmp_path, store, monkeypatch) -> None:
    def enlarge(dataset, k):
        dataset.Rows = dataset.Columns = 256
        dataset.PixelData = bytes(2 * 256 * 256)

    write_series(tmp_path / "CT", kind="CT", edit=enlarge)
    store.put(str(tmp_path / "CT"), "cohorts/in/CT", recursive=True)
    monkeypatch.setattr(RemoteFolder, "fetch", None)
    finds = StoreSearch(Mirror(tmp_path, RemoteFolder("s3://cohorts/in")))(tmp_path / "CT")
    assert [part.kinds for part in finds.parts] == [frozenset({"CT"})]
    assert finds.folder == tmp_path / "CT"


def test_an_output_that_is_the_input_of_a_store_is_refused(tmp_path, batch, store) -> None:  # noqa: F811
    store.put(str(tree(tmp_path / "in", p=1.0)), "cohorts/in", recursive=True)
    for output in ("s3://cohorts/in", "s3://cohorts"):
        done = batch(source="s3://cohorts/in", output=output)
        assert done.code == 2
        assert "must not be INPUT or contain it" in done.log


def test_a_second_batch_on_an_output_in_a_store_is_refused_until_the_first_has_ended(
    tmp_path, batch, weights, store  # noqa: F811
) -> None:  # fmt: skip
    tree(tmp_path / "in", a=1.0, b=1.2, c=0.9)
    first = run_apart(tmp_path / "in", "s3://cohorts/out", "--weights", weights, engine="open_slow")
    wait_for(lambda: store.exists("cohorts/out/.batch.lock"))
    second = batch(output="s3://cohorts/out", engine=never)
    assert second.code == 2
    assert f"another batch is writing to s3://cohorts/out (process {first.pid} on" in second.log
    assert batch("--part", "1/2", output="s3://cohorts/out", engine=never).code == 2
    first.kill()
    first.communicate()
    third = batch(output="s3://cohorts/out")  # at once: that process is gone
    assert third.code == 0, third.log
    assert "a batch was killed that was writing to s3://cohorts/out" in third.log
    assert not store.exists("cohorts/out/.batch.lock")


def test_two_parts_may_write_to_one_output_in_a_store(store) -> None:
    remote = RemoteFolder("s3://cohorts/out")
    with lock_store(remote, Part(1, 2)), lock_store(remote, Part(2, 2)):
        with pytest.raises(UsageError), lock_store(remote, Part()):
            pass
        with pytest.raises(UsageError), lock_store(remote, Part(1, 3)):
            pass
    assert remote.list_hidden() == []


def test_a_batch_on_another_machine_holds_a_store_until_it_is_not_heard_of(store, monkeypatch, caplog) -> None:
    remote = RemoteFolder("s3://cohorts/out")
    store.pipe("cohorts/out/.batch.lock", b"process 7 on elsewhere 12ab")
    with pytest.raises(UsageError, match=r"process 7 on elsewhere, \d+ s ago"), lock_store(remote, Part()):
        pass
    monkeypatch.setattr("autosegnet.batch.store_lock._SECONDS_HELD", 0.0)
    with lock_store(remote, Part()):
        assert b"elsewhere" not in store.cat("cohorts/out/.batch.lock")
    assert "a batch was killed" in caplog.text


def test_a_batch_whose_output_in_a_store_was_taken_over_ends(store, monkeypatch) -> None:
    monkeypatch.setattr("autosegnet.batch.store_lock._SECONDS_BETWEEN_BEATS", 0.05)
    with lock_store(RemoteFolder("s3://cohorts/out"), Part()) as check:
        changed = store.info("cohorts/out/.batch.lock")["LastModified"]
        wait_for(lambda: store.info("cohorts/out/.batch.lock")["LastModified"] > changed)  # it beats
        check()
        other = functools.partial(store.pipe, "cohorts/out/.batch.lock", b"process 7 on elsewhere 12ab")
        with pytest.raises(OutputError, match="has taken over"):
            wait_for(lambda: (check(), other()) is None)  # the other's beats
    assert store.cat("cohorts/out/.batch.lock") == b"process 7 on elsewhere 12ab"


def wait_for(happens) -> None:
    for _ in range(600):
        if happens():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen within a minute")


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


def test_reports_and_pages_in_a_store_do_not_outlive_their_mask(tmp_path, batch, store) -> None:  # noqa: F811
    source = tree(tmp_path / "in", p_s=1.0, q_t=1.4)
    store.put(str(source), "cohorts/in", recursive=True)
    places = {"source": "s3://cohorts/in", "output": "s3://cohorts/out"}
    assert batch("--report", "--viewer", **places).code == 0
    store.pipe("cohorts/out/reports/p_s/notes.txt", b"a reader's")

    def list_stored(folder: str) -> set[str]:
        store.invalidate_cache()
        return {name.removeprefix(f"cohorts/out/{folder}") for name in store.find(f"cohorts/out/{folder}")}

    assert {"report.html", "viewer.html", "lesions.csv", "notes.txt"} <= list_stored("reports/p_s/")
    store.pipe("cohorts/out/p_s.nii.gz", b"cut")  # so that it is segmented again
    store.rm("cohorts/in/q/t/CTres.nii.gz")  # so that it cannot be
    failed = batch(**places)
    assert failed.code == 3, failed.log
    assert list_stored("reports/p_s/") == {"notes.txt"}
    assert store.exists("cohorts/out/p_s.nii.gz")
    assert list_stored("reports/q_t/") == set()
    assert not store.exists("cohorts/out/q_t.nii.gz")
    assert not store.exists("cohorts/out/thumbnails/q_t.png")
