/*
 * benchfs.hpp: BenchFS for C++17 and later. Header only; link with -lbenchfs. benchfs.h is the manual of what each call does.
 *
 *     benchfs::session session;
 *     benchfs::file file("/results", O_CREAT | O_RDWR, 0644);
 *     file.pwrite(benchfs::bytes_of(values), 0);
 *
 * Ownership. session, file, directory, request and memory own what they stand for and give it back when they end; they are moved, not
 * copied. An error of a close that a destructor makes is lost: call close() where it matters.
 *
 * Errors. Each call comes twice: one takes a std::error_code at the end and sets it; the other throws benchfs::error, a std::system_error
 * whose what() is benchfs_last_error(). The codes are of benchfs::category(); they compare equal to std::errc, as in
 * ec == std::errc::no_such_file_or_directory.
 *
 * Whole transfers. read and pread fill the buffer, or stop at the end of the file, and return how many bytes; write and pwrite write all, or
 * fail. Neither has C's limit of 2 GiB a call. The arguments are spans of bytes: bytes_of(x) makes one of a contiguous container or an
 * array of trivially copyable elements.
 *
 * Threads. Different objects may be used by any threads at the same time. So may one file in pread, pwrite, iread, iwrite, stat and the other
 * calls that leave the object as it is; moving, closing and assigning to an object are for one thread alone, as is everything of a
 * directory, a request or a session. read, write and seek share the file's offset: each call is whole, their order is nobody's.
 *
 * What has no form here is called as in C, with handle(): the functions of benchfs.h are included.
 */
#ifndef BENCHFS_HPP
#define BENCHFS_HPP

#include <benchfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#if __has_include(<version>)
#include <version>
#endif
#if defined(__cpp_lib_span)
#include <span>
#endif

namespace benchfs
{

#if defined(__cpp_lib_span)
using bytes = std::span<std::byte>;
using const_bytes = std::span<const std::byte>;
#else
/* The part of std::span that is used here, where there is none. */
template <typename T> class byte_span
{
  public:
    byte_span() noexcept = default;
    byte_span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    /* From writable bytes to those that are only read. */
    template <typename U, typename = std::enable_if_t<std::is_convertible_v<U (*)[], T (*)[]>>>
    byte_span(const byte_span<U> &other) noexcept : data_(other.data()), size_(other.size())
    {
    }

    T *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    T *begin() const noexcept { return data_; }
    T *end() const noexcept { return data_ + size_; }
    T &operator[](std::size_t i) const noexcept { return data_[i]; }
    byte_span first(std::size_t count) const noexcept { return {data_, count}; }
    byte_span subspan(std::size_t offset) const noexcept { return {data_ + offset, size_ - offset}; }

  private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};
using bytes = byte_span<std::byte>;
using const_bytes = byte_span<const std::byte>;
#endif

/* The memory of a vector, an array, a string, a span …, as bytes: writable if its elements are. */
template <typename Container> auto bytes_of(Container &&container) noexcept
{
    using element = std::remove_pointer_t<decltype(std::data(container))>;
    static_assert(std::is_trivially_copyable_v<element>,
                  "only the bytes of trivially copyable elements mean something elsewhere");
    if constexpr (std::is_const_v<element>) {
        return const_bytes(reinterpret_cast<const std::byte *>(std::data(container)),
                           std::size(container) * sizeof(element));
    } else {
        return bytes(reinterpret_cast<std::byte *>(std::data(container)), std::size(container) * sizeof(element));
    }
}

/* ==== Errors ==== */

/* The category of BenchFS's codes: values are those of errno, texts those of benchfs_strerror. */
inline const std::error_category &category() noexcept
{
    class benchfs_category final : public std::error_category
    {
      public:
        const char *name() const noexcept override { return "benchfs"; }
        std::string message(int code) const override { return benchfs_strerror(code); }
        std::error_condition default_error_condition(int code) const noexcept override
        {
            return {code, std::generic_category()};
        }
    };
    static const benchfs_category instance;
    return instance;
}

/* What a call that returns no error_code throws. */
class error : public std::system_error
{
  public:
    explicit error(std::error_code code) : std::system_error(code), text_(benchfs_last_error())
    {
        if (text_.empty()) {
            text_ = code.message();
        }
    }
    const char *what() const noexcept override { return text_.c_str(); }

  private:
    std::string text_;
};

namespace detail
{

/* Splits what C has returned into the value and the code. */
template <typename Value> Value settle(Value value, std::error_code &ec) noexcept
{
    if (value < 0) {
        ec.assign(static_cast<int>(-value), category());
    } else {
        ec.clear();
    }
    return value;
}

inline void raise(const std::error_code &ec)
{
    if (ec) {
        throw error(ec);
    }
}

template <typename Value> Value check(Value value)
{
    std::error_code ec;
    settle(value, ec);
    raise(ec);
    return value;
}

/* Bytes of a whole transfer; step(data, size, done) makes one call. */
template <typename Span, typename Step> std::size_t transfer(Span buffer, bool writes, std::error_code &ec, Step step)
{
    constexpr std::size_t most = 0x7ffff000; /* of one call */
    std::size_t done = 0;
    for (;;) {
        const std::size_t asked = std::min(buffer.size() - done, most);
        const ssize_t n = settle(step(buffer.data() + done, asked, static_cast<off_t>(done)), ec);
        if (n > 0) {
            done += static_cast<std::size_t>(n);
        }
        /* After a short write the next one tells why. */
        if (n == 0 && writes && asked > 0) {
            settle(-EIO, ec); /* would never end */
        }
        if (n <= 0 || done == buffer.size() || (!writes && static_cast<std::size_t>(n) < asked)) {
            return done;
        }
    }
}

/* A handle that is closed with Close. */
template <int (*Close)(int)> class owner
{
  public:
    owner() noexcept = default;
    explicit owner(int handle) noexcept : handle_(handle) {}
    owner(owner &&other) noexcept : handle_(other.release()) {}
    owner &operator=(owner &&other) noexcept
    {
        if (this != &other) {
            reset(other.release());
        }
        return *this;
    }
    owner(const owner &) = delete;
    owner &operator=(const owner &) = delete;
    ~owner() { reset(-1); }

    explicit operator bool() const noexcept { return handle_ >= 0; }
    int handle() const noexcept { return handle_; }
    int release() noexcept { return std::exchange(handle_, -1); }
    void close(std::error_code &ec) noexcept { settle(Close(release()), ec); }
    void close() { check(Close(release())); }

  protected:
    void reset(int handle) noexcept
    {
        if (handle_ >= 0) {
            Close(handle_);
        }
        handle_ = handle;
    }

  private:
    int handle_ = -1;
};

} // namespace detail

/* ==== Session ==== */

/* BenchFS in this process, from construction to destruction; they nest. */
class session
{
  public:
    session() { detail::check(benchfs_init(nullptr)); }
    explicit session(const benchfs_options &options) { detail::check(benchfs_init(&options)); }
    explicit session(std::error_code &ec) noexcept { open_ = detail::settle(benchfs_init(nullptr), ec) == 0; }
    session(const benchfs_options &options, std::error_code &ec) noexcept
    {
        open_ = detail::settle(benchfs_init(&options), ec) == 0;
    }
    session(session &&other) noexcept : open_(std::exchange(other.open_, false)) {}
    session(const session &) = delete;
    session &operator=(const session &) = delete;
    session &operator=(session &&) = delete;
    ~session()
    {
        if (open_) {
            benchfs_finalize();
        }
    }

    explicit operator bool() const noexcept { return open_; }
    /* How many handles were still open. */
    int close()
    {
        open_ = false;
        return detail::check(benchfs_finalize());
    }

  private:
    bool open_ = true;
};

inline bool is_distributed()
{
    return detail::check(benchfs_is_distributed()) == 1;
}

/* Of the library, "0.1.0". */
inline std::string version()
{
    return benchfs_version();
}

/* Counters of this process, as JSON. */
inline std::string stats()
{
    std::string text(4096, '\0');
    for (;;) {
        const auto needed = static_cast<std::size_t>(detail::check(benchfs_stats(text.data(), text.size())));
        const bool all = needed < text.size();
        text.resize(all ? needed : needed + 1024);
        if (all) {
            return text;
        }
    }
}

/* ==== Requests and memory ==== */

/* A transfer that goes on beside the program. One that nobody has waited for is cancelled and waited for when it ends. */
class request
{
  public:
    request() noexcept = default;
    explicit request(int handle) noexcept : handle_(handle) {}
    request(request &&other) noexcept : handle_(other.release()) {}
    request &operator=(request &&other) noexcept
    {
        if (this != &other) {
            drop();
            handle_ = other.release();
        }
        return *this;
    }
    request(const request &) = delete;
    request &operator=(const request &) = delete;
    ~request() { drop(); }

    explicit operator bool() const noexcept { return handle_ >= 0; }
    int handle() const noexcept { return handle_; }
    int release() noexcept { return std::exchange(handle_, BENCHFS_REQUEST_NULL); }

    std::size_t wait(std::error_code &ec) noexcept
    {
        return static_cast<std::size_t>(std::max<ssize_t>(detail::settle(benchfs_wait(release()), ec), 0));
    }
    std::size_t wait() { return static_cast<std::size_t>(detail::check(benchfs_wait(release()))); }
    /* true: it has ended, and moved is how many bytes it has moved, or ec why not. */
    bool test(std::size_t &moved, std::error_code &ec) noexcept
    {
        ssize_t result = 0;
        if (detail::settle(benchfs_test(handle_, &result), ec) != 1) {
            return false;
        }
        release();
        moved = static_cast<std::size_t>(std::max<ssize_t>(detail::settle(result, ec), 0));
        return true;
    }
    void cancel(std::error_code &ec) noexcept { detail::settle(benchfs_cancel(handle_), ec); }
    void cancel() { detail::check(benchfs_cancel(handle_)); }

  private:
    void drop() noexcept
    {
        if (handle_ >= 0) {
            benchfs_cancel(handle_);
            benchfs_wait(release());
        }
    }
    int handle_ = BENCHFS_REQUEST_NULL;
};

/* Waits for all, also when some fail, and throws the first error then. */
inline void wait_all(std::vector<request> &requests)
{
    std::error_code first;
    for (request &r : requests) {
        std::error_code ec;
        if (r) {
            r.wait(ec);
        }
        if (ec && !first) {
            first = ec;
        }
    }
    requests.clear();
    detail::raise(first);
}

/* Zeroed memory that is registered with the network. */
class memory
{
  public:
    explicit memory(std::size_t size) : data_(static_cast<std::byte *>(benchfs_mem_alloc(size))), size_(size)
    {
        if (!data_) {
            throw error(std::error_code(ENOMEM, category()));
        }
    }
    std::byte *data() noexcept { return data_.get(); }
    const std::byte *data() const noexcept { return data_.get(); }
    std::size_t size() const noexcept { return data_ ? size_ : 0; }
    operator bytes() noexcept { return bytes(data(), size()); }
    operator const_bytes() const noexcept { return const_bytes(data(), size()); }

  private:
    struct free_it {
        void operator()(std::byte *address) const noexcept { benchfs_mem_free(address); }
    };
    std::unique_ptr<std::byte, free_it> data_;
    std::size_t size_;
};

/* ==== Files ==== */

/* An open file or directory. */
class file : public detail::owner<benchfs_close>
{
  public:
    file() noexcept = default;
    explicit file(int handle) noexcept : owner(handle) {}
    explicit file(const std::string &path, int flags = O_RDONLY, mode_t mode = 0666)
        : owner(detail::check(benchfs_open(path.c_str(), flags, mode)))
    {
    }
    file(const std::string &path, int flags, mode_t mode, std::error_code &ec) noexcept
        : owner(std::max(detail::settle(benchfs_open(path.c_str(), flags, mode), ec), -1))
    {
    }
    /* path starts at a directory. */
    file(const file &directory, const std::string &path, int flags = O_RDONLY, mode_t mode = 0666)
        : owner(detail::check(benchfs_openat(directory.handle(), path.c_str(), flags, mode)))
    {
    }
    /* The file or directory with this number (st_ino), whether it still has a name or not. */
    static file by_inode(std::uint64_t ino, int flags = O_RDONLY)
    {
        return file(detail::check(benchfs_open_inode(ino, flags)));
    }
    /* Another handle of the same open file, with the same offset. */
    file duplicate() const { return file(detail::check(benchfs_dup(handle()))); }

    std::size_t read(bytes buffer, std::error_code &ec) noexcept
    {
        return detail::transfer(buffer, false, ec,
                                [this](void *p, std::size_t n, off_t) { return benchfs_read(handle(), p, n); });
    }
    std::size_t read(bytes buffer)
    {
        return thrown([&](std::error_code &ec) { return read(buffer, ec); });
    }
    std::size_t pread(bytes buffer, off_t offset, std::error_code &ec) const noexcept
    {
        return detail::transfer(buffer, false, ec, [&](void *p, std::size_t n, off_t done) {
            return benchfs_pread(handle(), p, n, offset + done);
        });
    }
    std::size_t pread(bytes buffer, off_t offset) const
    {
        return thrown([&](std::error_code &ec) { return pread(buffer, offset, ec); });
    }
    std::size_t write(const_bytes buffer, std::error_code &ec) noexcept
    {
        return detail::transfer(buffer, true, ec,
                                [this](const void *p, std::size_t n, off_t) { return benchfs_write(handle(), p, n); });
    }
    std::size_t write(const_bytes buffer)
    {
        return thrown([&](std::error_code &ec) { return write(buffer, ec); });
    }
    std::size_t pwrite(const_bytes buffer, off_t offset, std::error_code &ec) noexcept
    {
        return detail::transfer(buffer, true, ec, [&](const void *p, std::size_t n, off_t done) {
            return benchfs_pwrite(handle(), p, n, offset + done);
        });
    }
    std::size_t pwrite(const_bytes buffer, off_t offset)
    {
        return thrown([&](std::error_code &ec) { return pwrite(buffer, offset, ec); });
    }
    /* The buffer must stay until the request has ended; one moves at most 2^31 - 4096 bytes. */
    request iread(bytes buffer, off_t offset) const
    {
        return request(detail::check(benchfs_iread(handle(), buffer.data(), buffer.size(), offset)));
    }
    request iwrite(const_bytes buffer, off_t offset)
    {
        return request(detail::check(benchfs_iwrite(handle(), buffer.data(), buffer.size(), offset)));
    }

    off_t seek(off_t offset, int whence = SEEK_SET) { return detail::check(benchfs_lseek(handle(), offset, whence)); }
    struct ::stat stat() const
    {
        struct ::stat st;
        detail::check(benchfs_fstat(handle(), &st));
        return st;
    }
    off_t size() const { return stat().st_size; }
    void truncate(off_t size) { detail::check(benchfs_ftruncate(handle(), size)); }
    /* Space for a range, of which the file grows to hold it; mode as in benchfs_fallocate. */
    void allocate(off_t offset, off_t length, int mode = 0)
    {
        detail::check(benchfs_fallocate(handle(), mode, offset, length));
    }
    void chmod(mode_t mode) { detail::check(benchfs_fchmod(handle(), mode)); }
    void chown(uid_t uid, gid_t gid) { detail::check(benchfs_fchown(handle(), uid, gid)); }
    /* Of access and of modification, in this order. */
    void set_times(const std::array<struct ::timespec, 2> &times)
    {
        detail::check(benchfs_futimens(handle(), times.data()));
    }
    void sync() { detail::check(benchfs_fsync(handle())); }
    void data_sync() { detail::check(benchfs_fdatasync(handle())); }
    benchfs_layout layout() const
    {
        benchfs_layout l = BENCHFS_LAYOUT_INIT;
        detail::check(benchfs_fget_layout(handle(), &l));
        return l;
    }
    /* Of a directory: for what is made in it from then on. Of a file: as long as it is empty. */
    void set_layout(const benchfs_layout &l) { detail::check(benchfs_fset_layout(handle(), &l)); }
    /* Advisory locks: see benchfs_lock. false: somebody else has it. */
    bool try_lock(struct ::benchfs_lock lock = BENCHFS_LOCK_INIT)
    {
        const int code = benchfs_lock(handle(), BENCHFS_LOCK_TRY, &lock);
        return code != -EAGAIN && detail::check(code) == 0;
    }
    /* Waits; interrupted by a signal it throws EINTR. */
    void lock(struct ::benchfs_lock lock = BENCHFS_LOCK_INIT)
    {
        detail::check(benchfs_lock(handle(), BENCHFS_LOCK_WAIT, &lock));
    }
    void unlock(struct ::benchfs_lock lock = BENCHFS_LOCK_INIT)
    {
        lock.type = F_UNLCK;
        detail::check(benchfs_lock(handle(), BENCHFS_LOCK_TRY, &lock));
    }
    /* What is in the way of a lock; type F_UNLCK: nothing. */
    struct ::benchfs_lock in_the_way(struct ::benchfs_lock lock = BENCHFS_LOCK_INIT) const
    {
        detail::check(benchfs_lock(handle(), BENCHFS_LOCK_TEST, &lock));
        return lock;
    }
    /* The nodes that hold a range. */
    std::vector<benchfs_extent> locate(off_t offset, off_t length) const
    {
        std::vector<benchfs_extent> all(16);
        for (;;) {
            const int count =
                detail::check(benchfs_locate(handle(), offset, length, all.data(), static_cast<int>(all.size())));
            const bool enough = static_cast<std::size_t>(count) <= all.size();
            all.resize(static_cast<std::size_t>(count));
            if (enough) {
                return all;
            }
        }
    }

  private:
    template <typename Call> static std::size_t thrown(Call call)
    {
        std::error_code ec;
        const std::size_t n = call(ec);
        detail::raise(ec);
        return n;
    }
};

/* ==== Directories ==== */

/* A directory to go through: for (const benchfs_direntplus &e : benchfs::directory("/")). Without "." and "..". */
class directory : public detail::owner<benchfs_closedir>
{
  public:
    explicit directory(const std::string &path) : owner(detail::check(benchfs_opendir(path.c_str()))) {}
    directory(const std::string &path, std::error_code &ec) noexcept
        : owner(std::max(detail::settle(benchfs_opendir(path.c_str()), ec), -1))
    {
    }

    /* The next entry, nullptr after the last; good until the next call. */
    const benchfs_direntplus *next()
    {
        for (;;) {
            if (at_ == ready_) {
                entries_.resize(64);
                ready_ = static_cast<std::size_t>(
                    detail::check(benchfs_readdir_many(handle(), entries_.data(), static_cast<int>(entries_.size()))));
                at_ = 0;
                if (ready_ == 0) {
                    return nullptr;
                }
            }
            const benchfs_direntplus *e = &entries_[at_++];
            if (e->entry.name[0] != '.' ||
                (e->entry.name_size != 1 && (e->entry.name_size != 2 || e->entry.name[1] != '.'))) {
                return e;
            }
        }
    }

    /* Begin again, with what is there now. */
    void rewind()
    {
        detail::check(benchfs_rewinddir(handle()));
        at_ = ready_ = 0;
    }

    class iterator
    {
      public:
        using iterator_category = std::input_iterator_tag;
        using value_type = benchfs_direntplus;
        using difference_type = std::ptrdiff_t;
        using pointer = const benchfs_direntplus *;
        using reference = const benchfs_direntplus &;

        iterator() noexcept = default;
        explicit iterator(directory &d) : directory_(&d), entry_(d.next()) {}
        reference operator*() const noexcept { return *entry_; }
        pointer operator->() const noexcept { return entry_; }
        iterator &operator++()
        {
            entry_ = directory_->next();
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const iterator &a, const iterator &b) noexcept { return a.entry_ == b.entry_; }
        friend bool operator!=(const iterator &a, const iterator &b) noexcept { return a.entry_ != b.entry_; }

      private:
        directory *directory_ = nullptr;
        pointer entry_ = nullptr;
    };
    iterator begin() { return iterator(*this); }
    iterator end() noexcept { return {}; }

  private:
    std::vector<benchfs_direntplus> entries_;
    std::size_t at_ = 0, ready_ = 0;
};

/* ==== Names ==== */

inline struct ::stat stat(const std::string &path)
{
    struct ::stat st;
    detail::check(benchfs_stat(path.c_str(), &st));
    return st;
}
inline struct ::stat lstat(const std::string &path)
{
    struct ::stat st;
    detail::check(benchfs_lstat(path.c_str(), &st));
    return st;
}
/* Space and inodes of the whole file system. */
inline struct ::statvfs statfs(const std::string &path = "/")
{
    struct ::statvfs st;
    detail::check(benchfs_statfs(path.c_str(), &st));
    return st;
}
/* false: it is not there. Any other error is thrown. */
inline bool exists(const std::string &path)
{
    const int code = benchfs_access(path.c_str(), 0);
    return code != -ENOENT && code != -ENOTDIR && detail::check(code) == 0;
}

/* Calls that only succeed or fail, in both forms. */
#define BENCHFS_BOTH(name, parameters, call)                                \
    inline void name(BENCHFS_LIST parameters)                               \
    {                                                                       \
        detail::check(call);                                                \
    }                                                                       \
    inline void name(BENCHFS_LIST parameters, std::error_code &ec) noexcept \
    {                                                                       \
        detail::settle(call, ec);                                           \
    }
#define BENCHFS_LIST(...) __VA_ARGS__
BENCHFS_BOTH(mkdir, (const std::string &path, mode_t mode), benchfs_mkdir(path.c_str(), mode))
BENCHFS_BOTH(rmdir, (const std::string &path), benchfs_rmdir(path.c_str()))
BENCHFS_BOTH(unlink, (const std::string &path), benchfs_unlink(path.c_str()))
BENCHFS_BOTH(rename, (const std::string &from, const std::string &to), benchfs_rename(from.c_str(), to.c_str()))
BENCHFS_BOTH(link, (const std::string &from, const std::string &to), benchfs_link(from.c_str(), to.c_str()))
BENCHFS_BOTH(symlink, (const std::string &target, const std::string &path),
             benchfs_symlink(target.c_str(), path.c_str()))
BENCHFS_BOTH(truncate, (const std::string &path, off_t size), benchfs_truncate(path.c_str(), size))
BENCHFS_BOTH(chmod, (const std::string &path, mode_t mode), benchfs_chmod(path.c_str(), mode))
BENCHFS_BOTH(chown, (const std::string &path, uid_t uid, gid_t gid), benchfs_chown(path.c_str(), uid, gid))
BENCHFS_BOTH(set_times, (const std::string &path, const std::array<struct ::timespec, 2> &times),
             benchfs_utimens(path.c_str(), times.data()))
BENCHFS_BOTH(set_layout, (const std::string &path, const benchfs_layout &layout),
             benchfs_set_layout(path.c_str(), &layout))
#undef BENCHFS_BOTH
#undef BENCHFS_LIST

inline benchfs_layout get_layout(const std::string &path)
{
    benchfs_layout l = BENCHFS_LAYOUT_INIT;
    detail::check(benchfs_get_layout(path.c_str(), &l));
    return l;
}
inline std::string readlink(const std::string &path)
{
    std::string target(BENCHFS_PATH_MAX, '\0');
    target.resize(
        static_cast<std::size_t>(detail::check(benchfs_readlink(path.c_str(), target.data(), target.size()))));
    return target;
}
/* Everything that was acknowledged survives power loss, where the medium can. */
inline void sync()
{
    detail::check(benchfs_sync());
}

} // namespace benchfs

#endif /* BENCHFS_HPP */
