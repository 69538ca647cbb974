// Data parallelism: every thread runs the same code on its own share, with barriers in between.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "share.h"

namespace chainrule {

class Barrier {
  public:
    explicit Barrier(int threads) : threads_(threads), missing_(threads) {}

    void wait() {
        if (threads_ == 1) return;
        const int round = round_.load(std::memory_order_relaxed);
        if (missing_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            missing_.store(threads_, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            return;
        }
        // The other threads arrive within microseconds, unless the system has preempted one: spin,
        // then yield.
        for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins)
            if (spins < SPINS) pause();
            else return stall(round);
    }

    // Seconds that threads have waited for a preempted one, each counted.
    double stalled() const { return double(stalled_.load(std::memory_order_relaxed)) * 1e-9; }

  private:
    static constexpr int SPINS = 2000;

    void stall(int round) {
        const auto start = std::chrono::steady_clock::now();
        while (round_.load(std::memory_order_acquire) == round) std::this_thread::yield();
        const auto waited = std::chrono::steady_clock::now() - start;
        stalled_.fetch_add(std::chrono::duration_cast<std::chrono::nanoseconds>(waited).count(),
                           std::memory_order_relaxed);
    }
    static void pause() {
#if defined(__x86_64__)
        _mm_pause();
#endif
    }
    const int threads_;
    alignas(64) std::atomic<int> missing_;
    alignas(64) std::atomic<int> round_{0};
    alignas(64) std::atomic<int64_t> stalled_{0};
};

// Whether so much of the time is lost in stalls that one thread would be faster than several: other
// programs want the cores. Measured over the last runs, since one may be short.
class Stalls {
  public:
    using Clock = std::chrono::steady_clock;

    void begin() {
        start_ = Clock::now();
        if (elapsed_ > WINDOW) stalled_ = elapsed_ = 0;
        hindered_ = false;
    }
    // Looks at the clock only after a long stall.
    bool are_many(const Barrier& barrier) {
        const double stalled = stalled_ + barrier.stalled();
        if (!hindered_ && stalled > LEAST) hindered_ = stalled > SHARE * (elapsed_ + seconds());
        return hindered_;
    }
    void end(const Barrier& barrier) {
        are_many(barrier);
        stalled_ = hindered_ ? 0 : stalled_ + barrier.stalled();
        elapsed_ = hindered_ ? 0 : elapsed_ + seconds();
    }
    bool hindered() const { return hindered_; }

  private:
    static constexpr double WINDOW = 0.2, LEAST = 0.01, SHARE = 0.3;

    double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

    Clock::time_point start_;
    double stalled_ = 0, elapsed_ = 0;
    bool hindered_ = false;
};

// Runs work(t) for t = 0, ..., threads - 1 concurrently; thread 0 is the caller.
template <class Work> void in_parallel(int threads, Work work) {
    std::vector<std::thread> others;
    others.reserve(threads > 0 ? threads - 1 : 0);
    for (int t = 1; t < threads; ++t) others.emplace_back(work, t);
    work(0);
    for (auto& other : others) other.join();
}

// Flushes subnormal numbers to zero on this thread while it lives: each costs a processor about a
// hundred cycles, and decaying moving averages are full of them.
class FlushSubnormals {
  public:
#if defined(__x86_64__)
    FlushSubnormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
    ~FlushSubnormals() { _mm_setcsr(saved_); }

  private:
    unsigned saved_;
#endif
};

}  // namespace chainrule
