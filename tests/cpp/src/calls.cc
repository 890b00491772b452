// calls.cc: every part of benchfs.hpp. Works in a directory of its own, embedded and on daemons.
#include <benchfs.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>

#include <unistd.h>

namespace
{

#define CHECK(condition)                                                                                 \
    do {                                                                                                 \
        if (!(condition)) {                                                                              \
            std::fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", __FILE__, __LINE__, #condition, \
                         benchfs_last_error());                                                          \
            std::exit(1);                                                                                \
        }                                                                                                \
    } while (0)

// The call throws this error.
template <typename Call> void throws(std::errc want, const char *part, Call call)
{
    try {
        call();
    } catch (const benchfs::error &e) {
        CHECK(e.code() == want);
        CHECK(std::strstr(e.what(), part) != nullptr);
        return;
    }
    CHECK(!"nothing was thrown");
}

void errors()
{
    throws(std::errc::not_connected, "not initialised", [] { benchfs::sync(); });
    benchfs_options bad = BENCHFS_OPTIONS_INIT;
    bad.config_text = "no TOML";
    throws(std::errc::invalid_argument, "", [&] { benchfs::session session(bad); });
    std::error_code ec;
    benchfs::session none(bad, ec);
    CHECK(!none && ec == std::errc::invalid_argument);
    CHECK(ec.category() == benchfs::category() && std::strcmp(ec.category().name(), "benchfs") == 0);
    CHECK(ec.message() == benchfs_strerror(EINVAL));
    CHECK(ec != std::errc::no_such_file_or_directory);
}

void files()
{
    std::error_code ec;
    benchfs::file file("/cpp/file", O_CREAT | O_EXCL | O_RDWR, 0640);
    throws(std::errc::file_exists, "/cpp/file", [] { benchfs::file again("/cpp/file", O_CREAT | O_EXCL | O_RDWR); });
    benchfs::file again("/cpp/file", O_CREAT | O_EXCL, 0600, ec);
    CHECK(!again && ec == std::errc::file_exists);

    std::vector<double> values(300000);
    for (std::size_t i = 0; i < values.size(); i++) {
        values[i] = static_cast<double>(i) / 3;
    }
    CHECK(file.write(benchfs::bytes_of(values)) == values.size() * sizeof(double));
    CHECK(file.seek(0, SEEK_CUR) == 2400000 && file.size() == 2400000);
    std::vector<double> back(values.size() + 1, -1.0);
    CHECK(file.pread(benchfs::bytes_of(back), 0) == 2400000);
    CHECK(back.back() < 0 && std::memcmp(back.data(), values.data(), 2400000) == 0);

    const std::array<char, 3> text = {'a', 'b', 'c'};
    CHECK(file.pwrite(benchfs::bytes_of(text), off_t(5) << 30) == 3);
    CHECK(file.size() == (off_t(5) << 30) + 3);
    std::string tail(3, '?');
    CHECK(file.pread(benchfs::bytes_of(tail), off_t(5) << 30, ec) == 3 && !ec && tail == "abc");
    char room[8];
    CHECK(file.pread(benchfs::bytes_of(room), -1, ec) == 0 && ec == std::errc::invalid_argument);
    CHECK(file.write(benchfs::const_bytes()) == 0);
    file.truncate(3);
    file.seek(0);
    CHECK(file.read(benchfs::bytes_of(room)) == 3 && file.read(benchfs::bytes_of(room), ec) == 0 && !ec);
    file.sync();
    file.data_sync();
    file.allocate(0, 5000);
    file.chmod(0600);
    file.chown(static_cast<uid_t>(-1), static_cast<gid_t>(-1));
    file.set_times({timespec{1, 2}, timespec{3, 4}});
    CHECK(file.size() == 5000 && file.stat().st_mode == (S_IFREG | 0600) && file.stat().st_mtim.tv_nsec == 4);
    benchfs::set_times("/cpp/file", {timespec{5, 6}, timespec{7, 8}}, ec);
    CHECK(!ec && file.stat().st_atim.tv_sec == 5 && file.stat().st_mtim.tv_nsec == 8);
    throws(std::errc::no_such_file_or_directory, "/none", [] { benchfs::set_times("/none", {}); });
    file.chmod(0640);

    benchfs::file other = file.duplicate();
    CHECK(other.seek(0, SEEK_CUR) == 3);
    benchfs::file moved = std::move(other);
    CHECK(!other && moved && moved.handle() >= 0); // NOLINT: what is left of it is told
    moved = std::move(file);
    CHECK(moved.stat().st_mode == (S_IFREG | 0640));
    moved.close();
    throws(std::errc::bad_file_descriptor, "", [&] { moved.close(); });
    benchfs::file reader("/cpp/file");
    CHECK(reader.write(benchfs::bytes_of(text), ec) == 0 && ec == std::errc::bad_file_descriptor);
}

void requests()
{
    std::error_code ec;
    benchfs::file file("/cpp/requests", O_CREAT | O_RDWR);
    std::vector<std::vector<int>> blocks(4, std::vector<int>(10000));
    std::vector<benchfs::request> all;
    for (std::size_t i = 0; i < blocks.size(); i++) {
        blocks[i].assign(10000, static_cast<int>(i));
        all.push_back(file.iwrite(benchfs::bytes_of(blocks[i]), static_cast<off_t>(i) * 40000));
    }
    benchfs::wait_all(all);
    CHECK(all.empty() && file.size() == 160000);
    std::vector<int> back(10000);
    CHECK(file.iread(benchfs::bytes_of(back), 80000).wait() == 40000 && back == blocks[2]);
    benchfs::request request = file.iread(benchfs::bytes_of(back), 120000);
    std::size_t moved = 0;
    while (!request.test(moved, ec)) {
        CHECK(!ec);
    }
    CHECK(!ec && moved == 40000 && !request && back == blocks[3]);
    CHECK(!request.test(moved, ec) && ec == std::errc::bad_file_descriptor);
    request = file.iread(benchfs::bytes_of(back), 0);
    request.cancel();
    request.wait(ec);
    CHECK(!ec || ec == std::errc::operation_canceled);
    {
        benchfs::request dropped = file.iread(benchfs::bytes_of(back), 0);
    }
    benchfs::file writer("/cpp/requests", O_WRONLY);
    all.push_back(file.iread(benchfs::bytes_of(back), 0));
    throws(std::errc::bad_file_descriptor, "", [&] {
        all.push_back(writer.iread(benchfs::bytes_of(back), 0));
        benchfs::wait_all(all);
    });

    benchfs::memory memory(1 << 16);
    CHECK(memory.size() == 1 << 16 && memory.data()[5] == std::byte{0});
    CHECK(file.pread(memory, 40000) == 1 << 16);
    int first = 0;
    std::memcpy(&first, memory.data(), sizeof first);
    CHECK(first == 1);
    CHECK(file.pwrite(memory, 0) == 1 << 16);
    throws(std::errc::not_enough_memory, "", [] { benchfs::memory nothing(0); });
}

void names()
{
    std::error_code ec;
    benchfs::mkdir("/cpp/sub", 0755);
    benchfs::mkdir("/cpp/sub", 0755, ec);
    CHECK(ec == std::errc::file_exists);
    benchfs::rename("/cpp/file", "/cpp/sub/file");
    CHECK(benchfs::exists("/cpp/sub/file") && !benchfs::exists("/cpp/file") && !benchfs::exists("/cpp/sub/file/below"));
    benchfs::link("/cpp/sub/file", "/cpp/sub/second");
    benchfs::symlink("file", "/cpp/sub/link");
    CHECK(benchfs::readlink("/cpp/sub/link") == "file");
    CHECK(S_ISLNK(benchfs::lstat("/cpp/sub/link").st_mode) && benchfs::stat("/cpp/sub/link").st_nlink == 2);
    benchfs::chmod("/cpp/sub/file", 0600);
    benchfs::chown("/cpp/sub/file", static_cast<uid_t>(-1), static_cast<gid_t>(-1));
    benchfs::truncate("/cpp/sub/file", 1);
    CHECK(benchfs::stat("/cpp/sub/file").st_size == 1);
    {
        const benchfs::file dir("/cpp/sub", O_RDONLY | O_DIRECTORY);
        CHECK(benchfs::file(dir, "file").size() == 1);
    }
    throws(std::errc::directory_not_empty, "/cpp/sub", [] { benchfs::rmdir("/cpp/sub"); });

    std::set<std::string> found;
    for (const benchfs_direntplus &e : benchfs::directory("/cpp/sub")) {
        found.insert(e.entry.name);
        CHECK(e.entry.ino == e.st.st_ino);
    }
    CHECK((found == std::set<std::string>{"file", "link", "second"}));
    for (int i = 0; i < 200; i++) {
        benchfs::file("/cpp/sub/." + std::to_string(i), O_CREAT | O_WRONLY);
    }
    int count = 0;
    benchfs::directory directory("/cpp/sub", ec);
    while (directory.next() != nullptr) {
        count++;
    }
    CHECK(!ec && count == 203);
    benchfs::unlink("/cpp/sub/.0");
    for (directory.rewind(); directory.next() != nullptr; count--) {
    }
    CHECK(count == 1);
    benchfs::file("/cpp/sub/.0", O_CREAT | O_WRONLY);
    directory.close();
    benchfs::directory none("/nothing", ec);
    CHECK(!none && ec == std::errc::no_such_file_or_directory);
    for (int i = 0; i < 200; i++) {
        benchfs::unlink("/cpp/sub/." + std::to_string(i));
    }

    {
        benchfs::file locked("/cpp/sub/file", O_RDWR);
        struct benchfs_lock other = BENCHFS_LOCK_INIT;
        other.owner = 9;
        locked.lock();
        CHECK(!locked.try_lock(other));
        CHECK(locked.in_the_way(other).pid == getpid());
        locked.unlock();
        CHECK(locked.in_the_way(other).type == F_UNLCK);
        CHECK(locked.try_lock(other));
        locked.unlock(other);
        CHECK(locked.try_lock());
    }

    benchfs_layout layout = BENCHFS_LAYOUT_INIT;
    layout.chunk_bytes = 65536;
    layout.strategy = BENCHFS_LAYOUT_ROUND_ROBIN;
    benchfs::file("/cpp/sub", O_RDONLY | O_DIRECTORY).set_layout(layout);
    CHECK(benchfs::get_layout("/cpp/sub").chunk_bytes == 65536);
    layout.chunk_bytes = 131072;
    benchfs::set_layout("/cpp/sub", layout);
    CHECK(benchfs::get_layout("/cpp/sub").chunk_bytes == 131072);
    layout.chunk_bytes = 65536;
    benchfs::set_layout("/cpp/sub", layout);
    CHECK(benchfs::get_layout("/cpp/sub").chunk_bytes == 65536);
    benchfs::file spread("/cpp/sub/spread", O_CREAT | O_RDWR);
    CHECK(spread.layout().chunk_bytes == 65536);
    spread.truncate(40 * 65536);
    off_t covered = 0;
    for (const benchfs_extent &e : spread.locate(0, 40 * 65536)) {
        covered += e.length;
    }
    CHECK(covered == 40 * 65536);
    for (const char *name : {"file", "link", "second", "spread"}) {
        benchfs::unlink(std::string("/cpp/sub/") + name);
    }
    benchfs::rmdir("/cpp/sub");
    benchfs::unlink("/cpp/requests");
    benchfs::unlink("/cpp/requests", ec);
    CHECK(ec == std::errc::no_such_file_or_directory);
}

} // namespace

int main()
{
    errors();
    benchfs::session session;
    CHECK(session);
    benchfs::mkdir("/cpp", 0755);
    files();
    requests();
    names();
    benchfs::rmdir("/cpp");
    CHECK(benchfs::stats().find("\"open_handles\":0") != std::string::npos);
    {
        benchfs::session nested;
        (void)benchfs::is_distributed();
        CHECK(benchfs::version() == benchfs_version() && benchfs::statfs().f_bfree <= benchfs::statfs("/").f_blocks);
    }
    benchfs::sync();
    benchfs::session moved = std::move(session);
    CHECK(!session); // NOLINT: what is left of it is told
    CHECK(moved.close() == 0);
    std::error_code ec;
    benchfs::session again(ec);
    CHECK(again && !ec);
    return 0;
}
