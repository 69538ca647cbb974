// Ranks on one machine, which read each other's gradient in shared memory.
#pragma once

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

#include "ranks.h"

namespace chainrule {

// The core that this thread is on; -1 if the system does not say.
inline int this_core() {
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

// Moves this thread to another core that it may use, from where the system may move it again; false if
// there are fewer than `least`.
inline bool leave_core([[maybe_unused]] int core, [[maybe_unused]] int least) {
#if defined(__linux__)
    cpu_set_t all;
    if (sched_getaffinity(0, sizeof all, &all) || CPU_COUNT(&all) < least) return false;
    cpu_set_t others = all;
    CPU_CLR(core, &others);
    if (!CPU_COUNT(&others) || sched_setaffinity(0, sizeof others, &others)) return false;
    return !sched_setaffinity(0, sizeof all, &all);
#else
    return false;
#endif
}

// Each rank has memory that all see: a board for a few numbers, and two windows for the gradient. A
// window or a side of the board is written again only after a later meeting, to which the others come
// once they have read it: so one meeting is enough for each exchange.
template <class T> struct SharedRanks final : Ranks {
    std::vector<Range> parts;       // of the gradient, in the order in which they are finished
    std::function<bool()> pause;    // sleeps for a moment; false if this rank must give up
    std::function<bool()> failed;   // whether this rank has: then it says no more

    SharedRanks(int rank, int count) {
        this->rank = rank;
        this->count = count;
    }

    // How much memory of each rank all must see, in doubles, which are 0 at first.
    static long size(long parameters) { return (long(sizeof(Board)) + 2 * window(parameters)) / long(sizeof(double)); }

    void share(const std::vector<double*>& memory, long parameters) {
        parameters_ = parameters;
        if (int(std::thread::hardware_concurrency()) < count) spins_ = FIRST_SPINS;
        for (double* const own : memory) {
            boards_.push_back(reinterpret_cast<Board*>(own));
            char* const windows = reinterpret_cast<char*>(own) + sizeof(Board);
            for (int turn = 0; turn < 2; ++turn)
                windows_[turn].push_back(reinterpret_cast<T*>(windows + turn * window(parameters)));
        }
    }
    T* own_window(int turn) const { return windows_[turn][size_t(rank)]; }

    void add(double* numbers, long count) override {
        for (; count > 0; numbers += ROOM, count -= ROOM) {
            const long some = count < ROOM ? count : ROOM;
            if (meet(numbers, some)) add_up(numbers, some);
        }
    }
    void agree(double* numbers, long count) override {
        turn_ = 1 - turn_;
        begun_ = 0;
        agreed_ = numbers;
        agreed_count_ = count;
    }
    // The others read what is ready. A line search has a gradient of its own.
    void start(void* numbers, long count) override {
        T* const own = own_window(turn_) + parts[begun_++].from;
        if (own != numbers) std::memcpy(own, numbers, size_t(count) * sizeof(T));
    }
    void progress() override {}

    void finish(void* gradient, bool whole, int t, Barrier& barrier) override {
        T* const to = static_cast<T*>(gradient);
        if (t == 0 && meet(agreed_, agreed_count_)) add_up(agreed_, agreed_count_);
        barrier.wait();
        const bool directly = whole && is_small(parameters_);
        if (t == 0) is_new_ = !directly;
        if (directly) return sum(chainrule::share(parameters_, MAX_LANES, t, barrier.threads()), to);
        for (const Range part : parts) sum(share_of(rank, part, t, barrier), to);
        if (whole) gather(to, true, t, barrier);
    }

    bool gather(void* numbers, bool good, int t, Barrier& barrier) override {
        T* const to = static_cast<T*>(numbers);
        // The others may still read what is there, unless that was other ranks' share of the gradient.
        if (t == 0 && !is_new_) meet(nullptr, 0);
        barrier.wait();
        copy(to, windows_[turn_][size_t(rank)], rank, t, barrier);
        barrier.wait();
        double bad = !good;
        if (t == 0) {
            is_new_ = false;
            if (meet(&bad, 1)) add_up(&bad, 1);
        }
        barrier.wait();
        for (int other = 0; other < count; ++other)
            if (other != rank) copy(windows_[turn_][size_t(other)], to, other, t, barrier);
        return bad == 0;
    }

  private:
    static constexpr long ROOM = 1000;
    // How often a rank looks for the others before it lets others have the core (seldom where there are
    // fewer cores than ranks), and how many seconds before it sleeps.
    static constexpr int SPINS = 2000, FIRST_SPINS = 200;
    static constexpr double PATIENCE = 0.001;

    struct Board {
        alignas(64) std::atomic<uint64_t> meetings;  // to how many this rank has come
        std::atomic<int> core;                       // and on which core
        double few[2][3];                            // in the same cache line
        alignas(64) double sides[2][ROOM];
    };
    static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<int>::is_always_lock_free,
                  "processes share no locks");
    static constexpr long FEW = sizeof(Board::few[0]) / sizeof(double);

    long parameters_ = 0, agreed_count_ = 0;
    int spins_ = SPINS;
    double* agreed_ = nullptr;
    std::vector<Board*> boards_;
    std::vector<T*> windows_[2];
    int turn_ = 1;
    size_t begun_ = 0;
    bool is_new_ = false;
    uint64_t meetings_ = 0;

    static long window(long parameters) { return ((parameters + PADDING) * long(sizeof(T)) + 63) / 64 * 64; }
    static double* side(Board& board, uint64_t meeting, long count) {
        return count <= FEW ? board.few[meeting % 2] : board.sides[meeting % 2];
    }
    Range share_of(int rank, Range part, int t, const Barrier& barrier) const {
        const Range own = of(rank, part), some = chainrule::share(own.count(), MAX_LANES, t, barrier.threads());
        return {own.from + some.from, own.from + some.to};
    }
    void copy(const T* from, T* to, int rank, int t, const Barrier& barrier) const {
        for (const Range part : parts) {
            const Range own = share_of(rank, part, t, barrier);
            std::memcpy(to + own.from, from + own.from, size_t(own.count()) * sizeof(T));
        }
    }
    // Adds up the windows of all ranks there.
    void sum(Range r, T* __restrict to) const {
        const std::vector<T*>& windows = windows_[turn_];
        const T *__restrict first = windows[0], *__restrict second = windows[1];
        for (long i = r.from; i < r.to; ++i) to[i] = first[i] + second[i];
        for (size_t k = 2; k < windows.size(); ++k) {
            const T* __restrict next = windows[k];
            for (long i = r.from; i < r.to; ++i) to[i] += next[i];
        }
    }

    // Writes numbers to the board and waits for the other ranks to do so; false if one has failed.
    bool meet(const double* numbers, long count) {
        if (failed()) return false;
        const uint64_t meeting = ++meetings_;
        Board& own = *boards_[size_t(rank)];
        if (count) std::memcpy(side(own, meeting, count), numbers, size_t(count) * sizeof(double));
        own.core.store(this_core(), std::memory_order_relaxed);
        own.meetings.store(meeting, std::memory_order_release);
        for (const Board* const other : boards_)
            if (!wait(*other, meeting)) return false;
        return true;
    }
    // The sums of what all have written in the last meeting.
    void add_up(double* numbers, long count) {
        std::memcpy(numbers, side(*boards_[0], meetings_, count), size_t(count) * sizeof(double));
        for (size_t k = 1; k < boards_.size(); ++k) {
            const double* const theirs = side(*boards_[k], meetings_, count);
            for (long i = 0; i < count; ++i) numbers[i] += theirs[i];
        }
    }
    // The system may leave two ranks on one core, where each keeps the other from what it waits for.
    void part_from(const Board& other) const {
        const int core = this_core();
        if (core >= 0 && other.core.load(std::memory_order_relaxed) == core) leave_core(core, count);
    }
    bool wait(const Board& other, uint64_t meeting) {
        const auto is_here = [&] { return other.meetings.load(std::memory_order_acquire) >= meeting; };
        for (int spins = 0; spins < spins_; ++spins, relax()) {
            if (is_here()) return true;
            if (spins == FIRST_SPINS) part_from(other);
        }
        using Clock = std::chrono::steady_clock;
        for (const auto start = Clock::now(); Clock::now() - start < std::chrono::duration<double>(PATIENCE);) {
            if (is_here()) return true;
            std::this_thread::yield();
        }
        while (!is_here())
            if (!pause()) return false;
        return true;
    }
};

}  // namespace chainrule
