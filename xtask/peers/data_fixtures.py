"""The small files that the tests of recall-data read: lists as the benchmarks publish them.

What is in them is made up; how it is stored is what scipy, Python and numpy make of it, not what
this project believes of the formats.

    data_fixtures.py FOLDER

writes into FOLDER, which is crates/recall-data/tests/fixtures in the repository:

    cars196/cars_annos.mat      six annotations, packed, and the same ones unpacked.mat
    cars196/full_size.mat       16,185 annotations, as many in each half as in the published file
    roxford5k/lists-P.pkl       ground truth in lists, numpy-P.pkl in arrays; P is the protocol
    roxford5k/python2.pkl       as Python 2 and its numpy write it, by hand
    roxford5k/gnd.mat           the same, with places that count from 1
    rparis6k/gnd.pkl            another one

Needs numpy (made with 2.4) and scipy (1.17).
"""

import argparse
import pickle
import struct
from pathlib import Path

import numpy as np
from scipy.io import savemat

FIELDS = ["relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test"]


def cars(classes):
    """The variables of cars_annos.mat, with an image for each of `classes`."""
    names = np.empty((1, 196), object)
    for place in range(196):
        names[0, place] = f"Maker Model {place + 1}" if place else "Citroën 2CV 1948"
    annotations = np.empty((1, len(classes)), [(field, object) for field in FIELDS])
    for place, of_class in enumerate(classes):
        annotations[0, place] = (
            f"car_ims/{place + 1:06}.jpg",
            np.uint8(1 + place % 7),
            np.uint8(2 + place % 5),
            np.uint16(300 + place % 11),
            np.float64(200 + place % 13),
            np.uint8(of_class),
            np.uint8(place % 2),
        )
    return {"annotations": annotations, "class_names": names}


def write_cars(folder):
    folder.mkdir(parents=True, exist_ok=True)
    few = cars([1, 98, 99, 196, 1, 150])
    savemat(folder / "cars_annos.mat", few, do_compression=True)
    savemat(folder / "unpacked.mat", few, do_compression=False)
    first = [1 + place % 98 for place in range(8_054)]
    last = [99 + place % 98 for place in range(8_131)]
    savemat(folder / "full_size.mat", cars(first + last), do_compression=True)


OXFORD = {
    "imlist": ["hall_000001", "hall_000002", "tower_000001", "tower_000007", "café_000003"],
    "qimlist": ["hall_000009", "tower_000004"],
    "gnd": [
        {"bbx": [10.5, 21.5, 30.0, 41.7], "easy": [0, 3], "hard": [4], "junk": []},
        {"bbx": [-3.0, 0.0, 100.25, 50.0], "easy": [], "hard": [2], "junk": [0, 1]},
    ],
}

PARIS = {
    "imlist": ["gate_000001", "gate_000002"],
    "qimlist": ["gate_000005"],
    "gnd": [{"bbx": [1.0, 2.0, 3.0, 4.0], "easy": [1], "hard": [], "junk": [0]}],
}


def arrays(lists, base=0):
    """The same with arrays in the ground truth; each of another type, as they may come."""
    gnd = [
        {
            "bbx": np.array(of["bbx"], ">f8" if base == 0 else "f8"),
            "easy": np.array(of["easy"], np.int64) + base,
            "hard": np.array(of["hard"], np.int32) + base,
            "junk": np.array(of["junk"], np.uint16) + base,
        }
        for of in lists["gnd"]
    ]
    return {**lists, "gnd": gnd}


def write_oxford(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with_arrays = arrays(OXFORD)
    # Fortran order, an array of text, and a number of numpy's own.
    with_arrays["gnd"][0]["bbx"] = np.asfortranarray(np.reshape(OXFORD["gnd"][0]["bbx"], (2, 2)))
    with_arrays["gnd"][0]["hard"] = [np.int64(4)]
    with_arrays["qimlist"] = np.array(OXFORD["qimlist"])
    for protocol in range(6):
        for name, value in ("lists", OXFORD), ("numpy", with_arrays):
            path = folder / f"{name}-{protocol}.pkl"
            path.write_bytes(pickle.dumps(value, protocol=protocol))
    (folder / "python2.pkl").write_bytes(python2(OXFORD))
    savemat(folder / "gnd.mat", matlab(OXFORD), do_compression=True)


def matlab(lists):
    """Cells and structs of the lists; places count from 1."""

    def cell(names):
        cell = np.empty((len(names), 1), object)
        cell[:, 0] = names
        return cell

    keys = ["bbx", "easy", "hard", "junk"]
    gnd = np.empty((1, len(lists["gnd"])), [(key, object) for key in keys])
    for place, of in enumerate(arrays(lists, base=1)["gnd"]):
        gnd[0, place] = tuple(of[key] for key in keys)
    return {"imlist": cell(lists["imlist"]), "qimlist": cell(lists["qimlist"]), "gnd": gnd}


def python2(lists):
    """Protocol 2 of Python 2: text is bytes, and so are the numbers of an array."""

    def string(data):
        data = data.encode() if isinstance(data, str) else data
        if len(data) < 8:
            return b"U" + bytes([len(data)]) + data
        return b"T" + struct.pack("<i", len(data)) + data

    def array(values, kind):
        values = np.array(values, kind)
        made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        made += b"K\x00\x85" + string("b") + b"\x87R"
        dtype = b"cnumpy\ndtype\n" + string(kind[1:]) + b"K\x00K\x01\x87R"
        dtype += b"(K\x03" + string("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        shape = b"\x8a\x01" + bytes([len(values)]) + b"\x85"
        return made + b"(K\x01" + shape + dtype + b"\x89" + string(values.tobytes()) + b"tb"

    def dictionary(entries):
        return b"}(" + b"".join(string(key) + value for key, value in entries) + b"u"

    def sequence(values):
        return b"](" + b"".join(values) + b"e"

    kinds = {"bbx": "<f8", "easy": "<i8", "hard": "<i4", "junk": "<i8"}
    gnd = [
        dictionary((key, array(of[key], kind)) for key, kind in kinds.items())
        for of in lists["gnd"]
    ]
    names = {key: sequence(string(name) for name in lists[key]) for key in ("imlist", "qimlist")}
    return b"\x80\x02" + dictionary([("gnd", sequence(gnd)), *names.items()]) + b"."


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    write_cars(folder / "cars196")
    write_oxford(folder / "roxford5k")
    (folder / "rparis6k").mkdir(parents=True, exist_ok=True)
    (folder / "rparis6k" / "gnd.pkl").write_bytes(pickle.dumps(arrays(PARIS), protocol=4))


if __name__ == "__main__":
    main()
