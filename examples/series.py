"""series: a growing array of samples, written and read with numpy, a file of JSON beside it, and a directory that is looked through."""

import json

import numpy

import benchfs

STEPS, WIDTH = 20, 10000


def main() -> None:
    benchfs.makedirs("/series/raw")
    samples = numpy.random.default_rng(7).random((STEPS, WIDTH))

    # Arrays go out of their own memory, and into it.
    with benchfs.open("/series/raw/samples.dat", "wb") as out:
        for row in samples:
            out.write(row)
    with benchfs.open("/series/about.json", "w") as out:
        json.dump({"steps": STEPS, "width": WIDTH, "dtype": str(samples.dtype)}, out)
    with benchfs.open("/series/raw/mean.npy", "wb") as out:
        numpy.save(out, samples.mean(axis=0))

    with benchfs.open("/series/about.json") as text:
        about = json.load(text)
    back = numpy.empty((about["steps"], about["width"]), about["dtype"])
    with benchfs.open("/series/raw/samples.dat", "rb") as data:
        print("read", data.readinto(back), "bytes, the same:", bool((back == samples).all()))

    # A part of it, at an offset; several at once.
    with benchfs.File("/series/raw/samples.dat") as data:
        rows = [numpy.empty(WIDTH) for _ in range(4)]
        moved = benchfs.waitall(data.iread(row, 8 * WIDTH * i) for i, row in enumerate(rows))
        print("four rows:", moved, bool(all((row == samples[i]).all() for i, row in enumerate(rows))))
    with benchfs.open("/series/raw/mean.npy", "rb") as data:
        print("the mean is", "the same" if (numpy.load(data) == samples.mean(axis=0)).all() else "another")

    for top, directories, files in benchfs.walk("/series"):
        print(top, sorted(directories), sorted((name, benchfs.stat(f"{top}/{name}").st_size) for name in files))
    try:
        benchfs.rmdir("/series")
    except OSError as e:
        print(type(e).__name__, e.errno, e.filename)
    benchfs.rmtree("/series")
    print("left:", benchfs.listdir("/"))


if __name__ == "__main__":
    with benchfs.session():
        main()
