// big.cc: a read of more than one C call moves, of a file that is mostly a hole.
#include <benchfs.hpp>

#include <cstdio>
#include <vector>

int main()
{
    constexpr off_t limit = 0x7ffff000, size = limit + 5000;
    benchfs::session session;
    benchfs::file file("/big", O_CREAT | O_RDWR);
    const char mark[] = {1, 2, 3};
    file.pwrite(benchfs::bytes_of(mark), limit - 1);
    file.pwrite(benchfs::bytes_of(mark), size - 3);
    std::vector<char> all(size + 10, 9);
    const std::size_t n = file.pread(benchfs::bytes_of(all), 0);
    if (n != size || all[limit - 2] != 0 || all[limit - 1] != 1 || all[limit] != 2 || all[limit + 1] != 3 ||
        all[limit + 2] != 0 || all[size - 1] != 3 || all[size] != 9) {
        std::printf("%zu bytes, or something else was read\n", n);
        return 1;
    }
    return 0;
}
