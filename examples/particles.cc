// particles: objects of C++ into a file and back, several transfers in progress at once, errors as exceptions and as codes.
#include <benchfs.hpp>

#include <cstdio>
#include <vector>

struct particle {
    double position[3];
    double velocity[3];
    long id;
};

static std::vector<particle> make(long first, std::size_t count)
{
    std::vector<particle> all(count);
    for (particle &p : all) {
        const double x = 0.001 * static_cast<double>(first);
        p = {{x, 2 * x, 3 * x}, {-x, 0, x}, first++};
    }
    return all;
}

static int run()
{
    constexpr std::size_t groups = 8, each = 50000;
    constexpr off_t group_bytes = each * sizeof(particle);

    benchfs::session session;
    benchfs::mkdir("/run", 0755);
    benchfs::file file("/run/particles", O_CREAT | O_RDWR);

    // All groups are on their way at once; the vectors stay until they have arrived.
    std::vector<std::vector<particle>> written;
    std::vector<benchfs::request> requests;
    for (std::size_t g = 0; g < groups; g++) {
        written.push_back(make(static_cast<long>(g * each), each));
        requests.push_back(file.iwrite(benchfs::bytes_of(written[g]), static_cast<off_t>(g) * group_bytes));
    }
    benchfs::wait_all(requests);
    std::printf("%lld bytes in %zu transfers\n", static_cast<long long>(file.size()), groups);

    std::vector<particle> back(each);
    for (std::size_t g = 0; g < groups; g++) {
        file.pread(benchfs::bytes_of(back), static_cast<off_t>(g) * group_bytes);
        for (std::size_t i = 0; i < each; i++) {
            if (back[i].id != written[g][i].id || back[i].velocity[2] != written[g][i].velocity[2]) {
                std::printf("particle %zu is not what was written\n", g * each + i);
                return 1;
            }
        }
    }
    std::printf("all particles are what was written\n");

    for (const benchfs_direntplus &e : benchfs::directory("/run")) {
        std::printf("/run has %s, %lld bytes\n", e.entry.name, static_cast<long long>(e.st.st_size));
    }
    std::error_code ec;
    benchfs::rmdir("/run", ec); // with a code: no exception
    if (ec == std::errc::directory_not_empty) {
        std::printf("a directory that is not empty stays\n");
    }
    file.close();
    benchfs::unlink("/run/particles");
    benchfs::rmdir("/run");
    return 0;
}

int main()
{
    try {
        return run();
    } catch (const benchfs::error &e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
}
